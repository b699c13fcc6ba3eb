"""Stacks as they are declared: one YAML file each, the locks that it names, and the digest of it all.

The digest stands for what a stack computes with: the declaration, the hashed
locks, Python, MPI, HDF5 and compiler with their versions, the processor that
is compiled for, and the sources of pipshpc. Where things lie is not in it, so
two sites of one kind get the same.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pipshpc.errors import SiteError, SpecError
from pipshpc.schema import Record, load_yaml
from pipshpc.stack.modulefile import NAME, VARIABLE

HERE = Path(__file__).parents[1]
SUFFIXES = (".py", ".pyx", ".pxd", ".pxi", ".c", ".h", ".yaml", ".sh", ".in", ".json", ".txt")
Origin = Literal["system", "module", "build", "wheel"]


class Component(Record, frozen=True, rename={"origin": "from"}):
    """Where a part of the foundation comes from.

    "system": what is on the machine, on Debian installed by apt where root
    deploys. "module": the module of the site that is named `module`, or the
    site's own `modules` where none is. "build": from `source`, an archive
    with ``configure``, by its `sha256`, with the options `configure`.
    "wheel": it comes inside a Python package (netCDF only).
    """

    origin: Origin
    module: str = ""
    source: str = ""
    sha256: str = ""
    configure: list[str] = []


class Tool(Record, frozen=True):
    """A program of the system: the words that make it tell its version, and the Debian packages that have it."""

    command: list[str]
    debian: list[str] = []


class Stack(Record, frozen=True):
    """A declared stack; see ``docs/stacks.md``.

    Parameters
    ----------
    name, version, title : of the module
    compilers, mpi, hdf5, netcdf : where they come from; left out where the stack needs none
    python : oldest version that does
    locks : files of hashed requirements, installed as wheels
    built : locks of what is built here against MPI and HDF5 (h5py)
    pipshpc : whether pipshpc and its kernels are part of it
    march : GCC's name of the processor that kernels are compiled for, by machine; "native" is the present one
    tools : programs of the system, checked and, on Debian, installed
    imports : modules that must import, beside those that are known to matter
    environment, conflicts : of the module; ``{prefix}`` stands for the folder of the stack
    """

    name: str
    version: str
    python: str
    locks: list[str]
    title: str = ""
    compilers: Component | None = None
    mpi: Component | None = None
    hdf5: Component | None = None
    netcdf: Component | None = None
    built: list[str] = []
    pipshpc: bool = False
    march: dict[str, str] = {}
    tools: dict[str, Tool] = {}
    imports: list[str] = []
    environment: dict[str, str] = {}
    conflicts: list[str] = []

    @property
    def parts(self) -> dict[str, Component]:
        """The parts of the foundation that the stack needs, without those that come in wheels."""
        named = {"compilers": self.compilers, "mpi": self.mpi, "hdf5": self.hdf5, "netcdf": self.netcdf}
        return {name: part for name, part in named.items() if part is not None and part.origin != "wheel"}


class Locked(NamedTuple):
    """One entry of a lock: a package, its version, the hashes that do, and the condition under which it is wanted."""

    name: str
    version: str
    hashes: frozenset[str]
    marker: str


class Declaration(Record, frozen=True):
    """A stack with the texts that its file names."""

    stack: Stack
    path: str
    locks: dict[str, str]  # name of the file -> its text
    built: dict[str, str]


def search_path(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders where stacks are looked for: those of ``PIPSHPC_STACKS``, then ``envs/stacks``."""
    named = [Path(p) for p in environ.get("PIPSHPC_STACKS", "").split(os.pathsep) if p]
    return [*named, HERE.parent / "envs" / "stacks"]


def list_stacks(folders: Iterable[Path] | None = None) -> dict[str, Path]:
    """Return {name: file} of all declared stacks; the first of a name counts."""
    found: dict[str, Path] = {}
    for folder in search_path() if folders is None else folders:
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def read_stack(name: str, folders: Iterable[Path] | None = None) -> Declaration:
    """Read a stack by its name or the path of its file, with its locks.

    Raises
    ------
    SpecError
        No such stack (the known ones are named), a key, type or value that
        does not do, a lock that is missing or has an entry without a hash.
    """
    path = _find(name, folders)
    stack = load_yaml(path, Stack)
    try:
        _check(stack, path)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    texts = [{Path(lock).name: _read_lock(path, lock) for lock in locks} for locks in (stack.locks, stack.built)]
    return Declaration(stack=stack, path=str(path), locks=texts[0], built=texts[1])


def _find(name: str, folders: Iterable[Path] | None) -> Path:
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    known = list_stacks(folders)
    if name not in known:
        raise SpecError(
            f"unknown stack '{name}'; known stacks: {', '.join(known) or 'none'}; "
            "give the path of a stack's file, or put its folder into PIPSHPC_STACKS"
        )
    return known[name]


def _check(stack: Stack, path: Path) -> None:
    if stack.name != path.stem:
        raise SpecError(f"key 'name': found '{stack.name}', wanted '{path.stem}' as the file is called")
    for key, text in (("name", stack.name), ("version", stack.version)):
        if not NAME.fullmatch(text):
            raise SpecError(f"key '{key}': found '{text}', wanted letters, digits and ._+-")
    if not re.fullmatch(r"\d+\.\d+", stack.python):
        raise SpecError(f"key 'python': found '{stack.python}', wanted a version such as 3.11")
    for name in stack.environment:
        if not VARIABLE.fullmatch(name):
            raise SpecError(f"key 'environment': found '{name}', wanted letters, digits and _")
    _check_parts(stack)


def _check_parts(stack: Stack) -> None:
    for key in ("compilers", "mpi", "hdf5", "netcdf"):
        part: Component | None = getattr(stack, key)
        if part is None:
            continue
        if part.origin == "wheel" and key != "netcdf":
            raise SpecError(f"key '{key}.from': found 'wheel', wanted system, module or build")
        if part.origin == "build" and not (part.source and re.fullmatch("[0-9a-f]{64}", part.sha256)):
            raise SpecError(
                f"key '{key}': found 'from: build', wanted 'source' (an archive) and its 'sha256' beside it"
            )
        if part.origin == "build" and key == "compilers":
            raise SpecError("key 'compilers.from': found 'build', wanted system or module")
    if stack.built and (stack.mpi is None or stack.hdf5 is None or stack.compilers is None):
        raise SpecError("key 'built': wanted compilers, mpi and hdf5, which h5py is built against")
    if stack.pipshpc and (stack.compilers is None or not march_of(stack)):
        raise SpecError(f"key 'pipshpc': wanted compilers, and key 'march' with an entry for {platform.machine()}")


def _read_lock(path: Path, lock: str) -> str:
    file = path.parent / lock
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"{path}: lock {file.resolve()} cannot be read ({error.strerror}); `make lock` writes those of envs/*.in, "
            "`uv pip compile --generate-hashes IN -o LOCK` any other"
        ) from error
    entries = parse_lock(text, str(file))
    if not entries:
        raise SpecError(f"{file}: is empty; `make lock` writes it")
    return text


def parse_lock(text: str, origin: str) -> list[Locked]:
    """Return the entries of a lock.

    Raises
    ------
    SpecError
        An entry without an exact version or without a hash.
    """
    entries = []
    for lines in re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip()):
        match = re.match(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(?:;([^\\\n]*))?", lines)
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", lines))
        if lines and (match is None or not hashes):
            raise SpecError(f"{origin}: found '{lines.splitlines()[0]}', wanted NAME==VERSION with --hash=sha256:...")
        if match:
            name = re.sub(r"[-_.]+", "-", match.group(1)).lower()
            entries.append(Locked(name, match.group(2), hashes, (match.group(3) or "").strip()))
    return entries


def march_of(stack: Stack, machine: str = "") -> str:
    """Return what the kernels are compiled for on a machine of this kind; empty where the stack does not say."""
    return stack.march.get(machine or platform.machine(), "")


# ---- digests


def source_files(root: Path) -> list[Path]:
    """Return the files of a source tree that pipshpc is built from, in order; stacks and locks are counted apart."""
    folders = [root / "pipshpc", root / "cext", root / "envs"]
    found = [root / "setup.py", root / "pyproject.toml"]
    for folder in folders:
        found += [p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES and "__pycache__" not in p.parts]
    own = [p for p in found if (root / "envs" / "stacks") not in p.parents and p.parent != root / "envs"]
    return sorted([*own, *(root / "envs").glob("*.yaml"), *(root / "envs").glob("*.sh")])


def source_digest(root: Path) -> str:
    """Return the digest of the sources below a root.

    Raises
    ------
    SiteError
        There are none, as where pipshpc itself was deployed.
    """
    if not (root / "setup.py").is_file() or not (root / "cext").is_dir():
        raise SiteError(
            f"{root}: has no sources of pipshpc to build its kernels from; run pipshpc of a source tree, "
            "or deploy an archive that was exported from one: pipshpc stack deploy STACK --from ARCHIVE"
        )
    state = hashlib.sha256()
    for path in source_files(root):
        state.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return state.hexdigest()


def stack_digest(declared: Declaration, facts: Mapping[str, str], source: str = "") -> str:
    """Return the digest of a stack on a kind of machine.

    Parameters
    ----------
    facts : versions of what it stands on, from `Foundation.facts`
    source : digest of the sources of pipshpc; empty where they are not part of it
    """
    locks = {**declared.locks, **declared.built}
    # Where locks lie does not matter, what is in them does.
    told = {
        "stack": {**msgspec.to_builtins(declared.stack), "locks": [*declared.locks], "built": [*declared.built]},
        "locks": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in locks.items()},
        "facts": dict(facts),
        "source": source if declared.stack.pipshpc else "",
    }
    return hashlib.sha256(msgspec.json.encode(told, order="sorted")).hexdigest()
