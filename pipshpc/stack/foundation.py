"""What a stack stands on: compilers, MPI, HDF5 and Python of the system, of a module, or built here from an archive."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pipshpc.errors import SiteError
from pipshpc.schema import Record
from pipshpc.site import Site
from pipshpc.stack.loading import load_lines
from pipshpc.stack.spec import HERE, Component, Stack, march_of

STEPS = HERE.parent / "envs" / "steps.sh"
DEBIAN = {
    "compilers": ("gcc", "g++", "make"),
    "python": ("python3-venv", "python3-dev"),
    "mpi": ("openmpi-bin", "libopenmpi-dev"),
    "hdf5": ("libhdf5-openmpi-dev", "hdf5-tools"),
    "netcdf": ("libnetcdf-mpi-dev",),
}
VARIABLES = {"compilers": "CC", "python": "PYTHON", "mpi": "MPICC", "hdf5": "HDF5_DIR"}


class Foundation(Record, frozen=True):
    """What was found: paths and versions, as `envs/steps.sh` names them, and the environment in which it was found."""

    found: dict[str, str]
    march: str
    environment: dict[str, str]
    modules: list[str] = []

    @property
    def facts(self) -> dict[str, str]:
        """What the digest of a stack takes: kinds and versions, no paths."""
        names = {"compiler": "compiler", "python": "python_version", "mpi": "mpi", "hdf5": "hdf5_version"}
        told = {fact: self.found[key] for fact, key in names.items() if key in self.found}
        return {"machine": platform.machine(), "march": self.march, **told}


def find_foundation(stack: Stack, site: Site, folder: Path, install: bool, again: str) -> Foundation:
    """Look for what a stack stands on; install or build what is missing, where that is allowed.

    Parameters
    ----------
    site : gives the modules
    folder : prefix of the stacks, below which what is built is kept
    install : whether Debian packages may be installed and archives built
    again : the command that asked, for advice

    Raises
    ------
    SiteError
        Something is missing; the message says how to get it.
    """
    modules = wanted_modules(stack, site)
    environment = module_environment(site, modules)
    parts = ["python", *stack.parts]
    for key, part in stack.parts.items():
        if part.origin == "build":
            environment |= _built(key, part, folder, environment, install)
    found = _find(stack, parts, environment, install, again)
    if tuple(map(int, found["python_version"].split(".")[:2])) < tuple(map(int, stack.python.split("."))):
        raise SiteError(
            f"found Python {found['python_version']} ({found['python']}), wanted {stack.python} or later; "
            f"name it: PYTHON=/path/to/python3 {again}"
        )
    march = march_of(stack)
    if march and "cc" in found:
        march = resolve_march(found["cc"], march, again)
    return Foundation(found=found, march=march, environment=environment, modules=modules)


def wanted_modules(stack: Stack, site: Site) -> list[str]:
    """Return the modules that must be loaded before the stack: those that its parts name, or else the site's own."""
    parts = [part for part in stack.parts.values() if part.origin == "module"]
    named = [part.module for part in parts if part.module]
    if any(not part.module for part in parts):
        named = [*site.modules, *named]
    return list(dict.fromkeys(named))


def module_environment(site: Site, modules: Sequence[str]) -> dict[str, str]:
    """Return the environment of a shell that has loaded modules.

    Raises
    ------
    SiteError
        There is no command ``module``, or it does not know one of them.
    """
    if not modules:
        return dict(os.environ)

    bare = msgspec.structs.replace(site, modules=[], stack="")
    script = "\n".join([*load_lines(bare, modules), "exec env -0 1>&3"])
    # What the modules say goes to stderr; the environment has a way of its own.
    done = subprocess.run(
        ["bash", "-c", f"exec 3>&1 1>&2\n{script}"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        said = re.sub(r"^error: [^:]*: ", "", (done.stderr.strip().splitlines() or ["the shell ended"])[-1])
        said = said.replace("in this job", "on this machine").replace("on the nodes", "here and on the nodes")
        raise SiteError(f"{said}; or write 'from: system' for it in the stack's file")
    return dict(pair.split("=", 1) for pair in done.stdout.split("\0") if "=" in pair)


def debian_packages(stack: Stack, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return the Debian packages of the parts that come from the system and that no variable names otherwise."""
    origins = {"python": "system", **{key: part.origin for key, part in stack.parts.items()}}
    parts = [key for key, origin in origins.items() if origin == "system" and not environ.get(VARIABLES.get(key, ""))]
    tools = [package for tool in stack.tools.values() for package in tool.debian]
    return list(dict.fromkeys([*(p for part in parts for p in DEBIAN[part]), *tools]))


def _find(stack: Stack, parts: list[str], environment: dict[str, str], install: bool, again: str) -> dict[str, str]:
    forbid = {} if install else {"PIPSHPC_NO_APT": "1"}
    done = run_step(["find", " ".join(parts), *debian_packages(stack)], {**environment, **forbid, "again": again})
    if done.returncode:
        lines = [line.partition(": ")[2] or line for line in done.stderr.strip().splitlines()]
        raise SiteError("; ".join(" ".join(line.split()) for line in lines[-6:]))
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    missing = [name for name, tool in stack.tools.items() if shutil.which(tool.command[0]) is None]
    if missing and install:
        packages = " ".join(p for name in missing for p in stack.tools[name].debian)
        raise SiteError(
            f"found no {', '.join(stack.tools[name].command[0] for name in missing)} on the PATH; Debian, Ubuntu: "
            f"sudo apt-get install --no-install-recommends {packages}; on a cluster: load its module first"
        )
    return found


def run_step(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a verb of ``envs/steps.sh`` and return how it ended.

    Raises
    ------
    SiteError
        The script is not there.
    """
    if not STEPS.is_file():
        raise SiteError(f"{STEPS}: is missing; run pipshpc of a source tree, or of a deployed stack")
    return subprocess.run(
        ["bash", str(STEPS), *words], env=dict(environment), capture_output=True, text=True, check=False
    )


def resolve_march(compiler: str, march: str, again: str) -> str:
    """Return the processor that a compiler is told, checked, and with a name in the place of "native".

    Raises
    ------
    SiteError
        The compiler does not work, or does not know the processor.
    """
    words = [compiler, f"-march={march}", "-O1", "-fopenmp", "-Q", "--help=target"]
    told = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    trial = [compiler, f"-march={march}", "-fopenmp", "-x", "c", "-c", "-o", os.devnull, "-"]
    built = subprocess.run(trial, input="int main(void) { return 0; }\n", capture_output=True, text=True, check=False)
    if built.returncode:
        said = (built.stderr.strip().splitlines() or [f"exit code {built.returncode}"])[0]
        raise SiteError(
            f"compiler {compiler} cannot compile for '{march}' ({said}); wanted GCC 11 or later: "
            f"CC=/path/to/gcc {again}, or another key 'march' in the stack's file"
        )
    match = re.search(r"^\s*-march=\s+(\S+)", told.stdout, re.MULTILINE)
    return match.group(1) if match and march == "native" else march


# ---- built from an archive


def _built(key: str, part: Component, folder: Path, environment: Mapping[str, str], install: bool) -> dict[str, str]:
    """Return the variables by which what was built from an archive is found; build it where it is not there."""
    text = " ".join([key, part.sha256, *part.configure])
    target = folder / "base" / f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    if install and not target.is_dir():
        _build(part, target, environment)
    path = f"{target / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    return {"mpi": {"MPICC": str(target / "bin" / "mpicc"), "PATH": path}, "hdf5": {"HDF5_DIR": str(target)}}.get(
        key, {"PATH": path}
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive; without files outside the folder, where this Python knows how (3.11.4 and later)."""
    with tarfile.open(archive) as opened:
        if hasattr(tarfile, "data_filter"):
            opened.extraction_filter = tarfile.data_filter
        opened.extractall(folder)


def _build(part: Component, target: Path, environment: Mapping[str, str]) -> None:
    """Configure, make and install an archive, into its final folder by one rename."""
    archive = Path(part.source).expanduser()
    try:
        with archive.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise SiteError(
            f"source {archive} cannot be read ({error.strerror}); fetch it, or mend key 'source'"
        ) from error
    if digest != part.sha256:
        raise SiteError(f"source {archive} has SHA-256 {digest}, wanted {part.sha256}; fetch it again")
    work = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    try:
        unpack(archive, work / "source")
        sources = [p.parent for p in (work / "source").glob("*/configure")] or [work / "source"]
        options = shlex.join([f"--prefix={target}", *part.configure])
        script = (
            f"./configure {options} && make -j{os.cpu_count()} && make install DESTDIR={shlex.quote(str(work / 'out'))}"
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=sources[0], env=dict(environment), capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise SiteError(f"{archive} could not be built ({said}); its configure options are key 'configure'")
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{work / 'out'}{target}").rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
