"""The folder of deployed stacks: who may build there, what is there, which version is the default, and which was.

Below a prefix lie ``NAME/VERSION-DIGEST``, the stacks; ``modulefiles``, by
which they are loaded; and in ``NAME`` a lock and the history of defaults.
What is being built has a name that begins with a dot, and no modulefile.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipshpc.errors import SiteError
from pipshpc.schema import Record
from pipshpc.site import Site
from pipshpc.stack.info import StackInfo
from pipshpc.stack.modulefile import (
    default_of,
    module_of,
    remove_modulefiles,
    switch_default,
    versions_of,
    write_modulefiles,
)

LOCK, HISTORY, BUILDING, VERIFIED = ".lock", ".history.jsonl", ".building.", "verified.json"


def default_prefix(site: Site, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the stacks of a site are: beside its first folder of modulefiles, or as the environment says."""
    for folder in map(Path, site.modulepath):
        if folder.name == "modulefiles":
            return folder.parent
    data = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(environ.get("PIPSHPC_STACK_ROOT") or Path(data) / "pipshpc" / "stacks")


class Switch(Record, frozen=True):
    """One change of the default."""

    at: str
    who: str
    version: str
    before: str
    back: bool = False


class Shelf:
    """The deployed versions of one stack below a prefix."""

    def __init__(self, prefix: Path, name: str) -> None:
        self.prefix, self.name = prefix.absolute(), name
        self.folder, self.modulefiles = self.prefix / name, self.prefix / "modulefiles"

    @contextmanager
    def lock(self, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keep others from changing anything here; one who comes later waits, and is told for whom.

        Raises
        ------
        SiteError
            The folder cannot be written, or its file system has no locks.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self.folder / LOCK).open("a+")
        except OSError as error:
            raise SiteError(
                f"{self.folder}: cannot be written ({error.strerror}); name another folder: --prefix PREFIX"
            ) from error
        with handle:
            _take(handle.fileno(), self.folder, lambda: waiting(_holder(self.folder / LOCK)) if waiting else None)
            handle.truncate(0)
            handle.write(f"{getpass.getuser()} on {os.uname().nodename}, process {os.getpid()}")
            handle.flush()
            yield

    def clean(self) -> list[str]:
        """Remove what interrupted deployments left; only who has the lock may. Returns what was removed."""
        left = [p for p in self.folder.iterdir() if p.name.startswith((BUILDING, ".removing."))]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        return [p.name for p in left]

    def building(self) -> Path:
        """Return a new folder to build in, on the file system of its final place."""
        return self.folder / f"{BUILDING}{os.uname().nodename}.{os.getpid()}"

    def versions(self) -> list[str]:
        """Return the versions that are deployed, oldest first."""
        try:
            found = [p for p in self.folder.iterdir() if (p / "stack.json").is_file() and not p.name.startswith(".")]
        except OSError:
            return []
        return [p.name for p in sorted(found, key=lambda p: (p / "stack.json").stat().st_mtime)]

    def active(self) -> str:
        """Return the version that ``module load NAME`` takes; empty where there is none."""
        return default_of(self.modulefiles, self.name)

    def find(self, text: str = "") -> str:
        """Return the version that a person means: all of it, its digest, the beginning of either, or the default.

        Raises
        ------
        SiteError
            None or several are meant.
        """
        known = self.versions()
        if not text:
            if self.active() in known:
                return self.active()
            text = known[-1] if len(known) == 1 else ""
        fitting = [v for v in known if text and (v.startswith(text) or v.rpartition("-")[2].startswith(text[:12]))]
        if text in known or len(fitting) == 1:
            return text if text in known else fitting[0]
        there = ", ".join(known) or "none"
        raise SiteError(
            f"{self.folder}: found {'several' if fitting else 'no'} version '{text}' of {self.name} (there: {there}); "
            f"`pipshpc stack list --prefix {self.prefix}` tells more, `pipshpc stack deploy {self.name}` makes one"
        )

    def publish(self, built: Path, info: StackInfo) -> None:
        """Give a whole and proven stack its name, then its modulefiles; the default stays what it was."""
        final = Path(info.prefix)
        old = final.with_name(f".removing.{final.name}.{os.getpid()}")
        if final.exists():
            final.rename(old)
        built.rename(final)
        write_modulefiles(self.modulefiles, info)
        shutil.rmtree(old, ignore_errors=True)

    def activate(self, version: str, back: bool = False) -> str:
        """Make a deployed version the default; return the one before.

        Raises
        ------
        SiteError
            It has no modulefile.
        """
        before = switch_default(self.modulefiles, f"{self.name}/{version}")
        if before != version:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            switch = Switch(at=now, who=getpass.getuser(), version=version, before=before, back=back)
            with (self.folder / HISTORY).open("ab") as handle:
                handle.write(msgspec.json.encode(switch) + b"\n")
        return before

    def history(self) -> list[Switch]:
        """Return the changes of the default, oldest first."""
        try:
            lines = (self.folder / HISTORY).read_bytes().splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=Switch))
            except msgspec.DecodeError:  # of a machine that went down while it was written
                continue
        return found

    def earlier(self) -> str:
        """Return the version that was the default before the present one, and is still there.

        Raises
        ------
        SiteError
            There is none.
        """
        now, there = self.active(), set(self.versions())
        for switch in reversed(self.history()):
            if switch.version == now and not switch.back and switch.before:
                now = switch.before
                if now in there:
                    return now
        raise SiteError(
            f"{self.folder}: found no earlier default of {self.name} that is still deployed; "
            f"`pipshpc stack activate {self.name} --version VERSION` takes any of: {', '.join(sorted(there)) or 'none'}"
        )

    def remove(self, version: str) -> None:
        """Remove a version: first nobody can load it, then its files go."""
        remove_modulefiles(self.modulefiles, f"{self.name}/{version}")
        gone = self.folder / f".removing.{version}.{os.getpid()}"
        (self.folder / version).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        shutil.rmtree(self.prefix / "images" / self.name / version, ignore_errors=True)

    def is_loadable(self, info: StackInfo) -> bool:
        """Say whether a stack has its modulefile."""
        return module_of(info).partition("/")[2] in versions_of(self.modulefiles, self.name)


def _take(descriptor: int, folder: Path, waiting: Callable[[], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise SiteError(
                f"{folder}: its file system has no locks ({error.strerror}), which keep two deployments apart; "
                "mount it with flock, or name another folder: --prefix PREFIX"
            ) from error
    waiting()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            time.sleep(0.2)


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "somebody"
    except OSError:
        return "somebody"
