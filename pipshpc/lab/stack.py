"""The stack `rs-core` of a source tree: what `make setup` installed and built, as a module for the lab's jobs.

A deployed stack is built from wheels, which takes minutes for each change of
a kernel. The lab is where kernels are changed. So its stack is put together
from what is here already: the locked packages of this environment, file by
file as their records list them, and the package with its kernels as they are
in the source tree. Its digest is that of all of these, so a tree that changed
is another stack, and one that did not is found again by every lab.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pipshpc
from pipshpc.cache import cache_folder
from pipshpc.errors import SiteError
from pipshpc.lab.layout import template
from pipshpc.stack.info import StackInfo
from pipshpc.stack.intact import write_record
from pipshpc.stack.modulefile import module_of, remove_modulefiles, switch_default, version_of, write_modulefiles

NAME = "rs-core"
KEPT, KEPT_S = 3, 2 * 86400.0  # stacks of earlier states of the tree: how many, or for how long
SETTINGS = {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
# Started as a script of the shell, which starts the Python beside it: the stack can be copied to anywhere.
SCRIPT = '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python3" "$0" "$@"\n\' \'\'\'\n'


class OwnStack(NamedTuple):
    """A stack that is there: its module, the folder of its modulefiles, its prefix, and whether it was made now."""

    module: str
    modulepath: Path
    prefix: Path
    made: bool


def own_stack(folder: Path | None = None) -> OwnStack:
    """Return the stack of this source tree and environment, made where it is not there yet.

    Parameters
    ----------
    folder : where the stacks of source trees are kept; ``stacks/lab`` of the cache if None

    Raises
    ------
    SiteError
        pipshpc was installed without its source tree, a package of the lock
        is missing, the kernels are not built, or the stack does not work.
    """
    folder = (folder or cache_folder() / "stacks" / "lab").absolute()
    packages = locked_packages(template("install.sh").parents[1] / "requirements.lock")
    digest = digest_of_tree(packages)
    info = StackInfo(
        name=NAME,
        version=pipshpc.__version__,
        digest=digest,
        prefix=str(folder / NAME / f"{pipshpc.__version__}-{digest[:12]}"),
        environment=SETTINGS,
        prepend={"PATH": [str(folder / NAME / f"{pipshpc.__version__}-{digest[:12]}" / "bin")]},
        description="pipshpc and what it runs with, from a source tree",
    )
    prefix, modules = Path(info.prefix), folder / "modulefiles"
    with _lock(folder):
        made = not prefix.is_dir()
        if made:
            _build(prefix, packages, info)
        os.utime(prefix)
        write_modulefiles(modules, info)
        switch_default(modules, module_of(info))
        _prune(folder, keep=version_of(info))
    return OwnStack(module_of(info), modules, prefix, made)


def locked_packages(lock: Path) -> list[Distribution]:
    """Return the packages of a lock as they are installed here, and h5py, which has a lock of its own.

    Raises
    ------
    SiteError
        One that this machine needs is not installed.
    """
    names = re.findall(r"^([a-z0-9][\w.-]*)==\S+(.*)$", lock.read_text(encoding="utf-8"), re.MULTILINE)
    found: dict[str, Distribution] = {}
    for name, condition in [*names, ("h5py", "")]:
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as error:
            if ";" not in condition:
                raise SiteError(f"{sys.executable} lacks {name} of {lock.name}; run `make setup`") from error
    return [found[name] for name in sorted(found)]


def digest_of_tree(packages: list[Distribution]) -> str:
    """Return the digest of a stack's content: the records of its packages, the files of pipshpc, the Python."""
    state = hashlib.sha256(f"{sys.version} {sysconfig.get_platform()} {SCRIPT}".encode())
    for package in packages:
        state.update(f"\n{package.name} {package.version} {package.read_text('RECORD')}".encode())
    for path in _own_files():
        state.update(f"\n{path.relative_to(_tree())} ".encode())
        state.update(hashlib.sha256(path.read_bytes()).digest())
    return state.hexdigest()


def _tree() -> Path:
    return Path(pipshpc.__file__).parents[1]


def _own_files() -> list[Path]:
    """Return the files of the package and of envs, which it reads sites and templates from."""
    folders = (_tree() / "pipshpc", _tree() / "envs")
    files = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
    own = [p for p in files if "__pycache__" not in p.parts]
    if not any(p.suffix == ".so" for p in own):
        raise SiteError(f"{_tree()}: the kernels are not built; run `make build`")
    return own


def _build(prefix: Path, packages: list[Distribution], info: StackInfo) -> None:
    """Make a prefix, whole or not at all."""
    part = prefix.with_name(f".{prefix.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # of one that was interrupted: the lock is ours
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = part / "lib" / version / "site-packages"
    site_packages.mkdir(parents=True)
    (part / "bin").mkdir()
    base = Path(sys.base_prefix) / "bin" / version
    (part / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    for name in ("python3", "python", version):
        (part / "bin" / name).symlink_to(base if name == "python3" else "python3")
    for package in packages:
        for file in package.files or ():
            _place(Path(str(file.locate())), file.parts, part, site_packages)
    for path in _own_files():
        target = site_packages / path.relative_to(_tree())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    _write_script(part / "bin" / "pipshpc", "from pipshpc.cli import main\n\nmain()\n")
    _prove(part, site_packages)
    write_record(part, info)
    part.replace(prefix)


def _place(source: Path, parts: tuple[str, ...], part: Path, site_packages: Path) -> None:
    """Put one file of a package to its place: scripts beside Python, the rest among the packages."""
    if not source.is_file():
        return  # records list compiled files that were never made
    if parts[0] != "..":
        target = site_packages.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return  # packages of one namespace may list the same file
        # A name more for the same file, as installers replace files and do not change them; else a copy.
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    elif parts[-2:-1] == ("bin",):
        text = source.read_bytes()
        if text.startswith(b"#!") and b"python" in text.partition(b"\n")[0]:
            _write_script(part / "bin" / parts[-1], text.partition(b"\n")[2].decode())


def _write_script(path: Path, text: str) -> None:
    path.write_text(SCRIPT + text, encoding="utf-8")
    path.chmod(0o755)


def _prove(part: Path, site_packages: Path) -> None:
    """Compile what is not compiled, and let the stack's own Python load what jobs need.

    Raises
    ------
    SiteError
    """
    trial = "import pipshpc.kernel, pipshpc.drive.worker, h5py, mpi4py, parsl; assert h5py.get_config().mpi"
    python = [str(part / "bin" / "python3"), "-I"]
    # Nobody compiles later, as jobs write nothing here. Some packages hold files that no Python of today can read.
    subprocess.run([*python, "-m", "compileall", "-q", str(site_packages)], capture_output=True, check=False)
    done = subprocess.run([*python, "-c", trial], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SiteError(f"the stack of {_tree()} does not work ({said}); run `make setup`, then `pipshpc doctor`")


def _prune(folder: Path, keep: str) -> None:
    """Remove stacks of trees that are no more: not the latest ones, and not lately used."""
    others = [p for p in (folder / NAME).iterdir() if p.name != keep and not p.name.startswith(".")]
    others.sort(key=lambda p: p.stat().st_mtime, reverse=True)
    for path in others[KEPT:]:
        if time.time() - path.stat().st_mtime > KEPT_S:
            remove_modulefiles(folder / "modulefiles", f"{NAME}/{path.name}")
            with suppress(OSError):
                shutil.rmtree(path)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    (folder / NAME).mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
