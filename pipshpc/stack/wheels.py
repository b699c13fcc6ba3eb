"""Wheels: fetched by hash into a pool, or built here and kept by what they were built from; then installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipshpc.errors import OutputError, SiteError
from pipshpc.stack.foundation import Foundation, run_step
from pipshpc.stack.spec import source_digest, source_files

QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1"}
UNSET = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSAFEPATH", "PIP_REQUIRE_HASHES")


class Workshop:
    """Where the wheels of one deployment come from.

    Parameters
    ----------
    cache : folder for wheels; those built here are shared with ``envs/setup.sh``
    python : of the stack that is being built
    foundation : what it stands on
    logs : folder for the output of pip and compilers
    offline : take only what is in the cache
    again : the command that asked, for advice
    """

    def __init__(
        self, cache: Path, python: Path, foundation: Foundation, logs: Path, offline: bool = False, again: str = ""
    ) -> None:
        self.cache, self.python, self.foundation, self.logs = cache, python, foundation, logs
        self.offline, self.again = offline, again
        self.pool = cache / "pool"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of pip and compilers."""
        found = self.foundation.found
        named = {"cc": "CC", "mpicc": "MPICC", "hdf5": "HDF5_DIR"}
        kept = {key: value for key, value in self.foundation.environment.items() if key not in UNSET}
        own = {variable: found[key] for key, variable in named.items() if key in found}
        return {**kept, **QUIET, **own, "PIPSHPC_CACHE": str(self.cache), "PIPSHPC_NO_APT": "1"}

    def pip(self, *words: str) -> list[str]:
        """Return the words of a pip command that works on the stack's Python, which has no pip of its own."""
        return self._pip_words(self.python, *words)

    def _pip_words(self, python: Path, *words: str) -> list[str]:
        return [str(self._pip_python()), "-m", "pip", "--python", str(python), *words]

    def _pip_python(self) -> Path:
        """Return a Python with a pip that can serve another Python (23 or later): this one's, or one made here."""
        own = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
        match = re.match(r"pip (\d+)", own.stdout)
        if match and int(match.group(1)) >= 23:
            return Path(sys.executable)
        made = self.python.parents[1].with_name(f"{self.python.parents[1].name}.pip")
        if not (made / "bin" / "python3").exists():
            call([self.foundation.found["python"], "-m", "venv", str(made)], self.environment, "pip", self)
        return made / "bin" / "python3"

    # ---- fetched

    def has_lock(self, text: str) -> bool:
        """Say whether the pool holds all wheels of a lock."""
        listed = self._listed(text)
        return bool(listed) and all((self.pool / name).is_file() for name in listed)

    def fetch(self, name: str, text: str) -> list[str]:
        """Bring the wheels of a lock into the pool, each with a hash that the lock has; return what was mended.

        Raises
        ------
        SiteError
            One cannot be had, or the pool cannot hold it.
        """
        self.pool.mkdir(parents=True, exist_ok=True)
        with _locked(self.pool / ".lock"):
            listed = self._listed(text)
            bad = [file for file, digest in listed.items() if _sha256(self.pool / file) != digest]
            if listed and not bad:
                return []
            if self.offline:
                what = f"found {', '.join(bad)} damaged or missing" if bad else f"found no wheels of {name}"
                raise SiteError(
                    f"{self.pool}: {what}, and nothing may be fetched; copy the archive again, or leave --offline out"
                )
            for file in bad:
                (self.pool / file).unlink(missing_ok=True)
            self._download(name, text)
        return bad if listed else []

    def _download(self, name: str, text: str) -> None:
        lock, fresh = self.logs / name, self.pool / f".fresh.{os.getpid()}"
        lock.write_text(text, encoding="utf-8")
        for leftover in self.pool.glob(".fresh.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir()
        words = self._pip_words(
            Path(self.foundation.found["python"]),
            "download",
            "--no-deps",
            "--require-hashes",
            "--no-binary=:none:",
            "-r",
            str(lock),
            "-d",
            str(fresh),
        )
        try:
            call([*words, "--find-links", str(self.pool)], self.environment, f"fetch-{name}", self)
            lines = []
            for path in sorted(fresh.iterdir()):
                lines.append(f"{_sha256(path)}  {path.name}\n")
                path.replace(self.pool / path.name)
            self._list_path(text).write_text("".join(lines), encoding="utf-8")
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _list_path(self, text: str) -> Path:
        key = f"{text}{sys.platform}{self.foundation.facts}"
        return self.pool / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.list"

    def _listed(self, text: str) -> dict[str, str]:
        """Return {file: SHA-256} of a lock that was fetched."""
        try:
            lines = self._list_path(text).read_text(encoding="utf-8").splitlines()
        except OSError:
            return {}
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}

    def files_of(self, text: str) -> list[Path]:
        """Return the files of a lock in the pool, and the list of them."""
        return [self._list_path(text), *(self.pool / name for name in self._listed(text))]

    def install_lock(self, name: str, text: str) -> None:
        """Install the wheels of a lock into the stack, each checked against its hashes again."""
        lock = self.logs / name
        lock.write_text(text, encoding="utf-8")
        common = ["--no-index", "--find-links", str(self.pool), "--no-deps", "--require-hashes", "-r", str(lock)]
        if (uv := shutil.which("uv")) is not None:
            words = [uv, "pip", "install", "--quiet", "--offline", "--link-mode", "copy", "--python", str(self.python)]
            done = subprocess.run([*words, *common], env=self.environment, capture_output=True, check=False)
            if done.returncode == 0:
                return
        # Either there is no uv, or it is pip whose words are understood where something is wrong.
        call(self.pip("install", "--no-compile", *common), self.environment, f"install-{name}", self)

    def install_wheel(self, wheel: Path) -> None:
        """Install one wheel that was built here."""
        words = self.pip("install", "--no-index", "--no-deps", "--no-compile", "--force-reinstall", str(wheel))
        call(words, self.environment, f"install-{wheel.name.partition('-')[0]}", self)

    # ---- built

    def native_key(self) -> str:
        """Return the key of wheels that are built against MPI and HDF5; ``envs/setup.sh`` uses the same."""
        base = self.foundation.found["python"]
        done = run_step(["key", base], {**self.environment, "again": self.again})
        if done.returncode:
            raise SiteError(done.stderr.strip().partition(": ")[2] or "no key")
        return done.stdout.strip()

    def build_native(self, name: str, lock_name: str, text: str) -> Path:
        """Return the wheel of h5py or mpi4py for this MPI and HDF5: the kept one, or a new one."""
        key, lock = self.native_key(), self.logs / lock_name
        lock.write_text(text, encoding="utf-8")
        more = {"logs": str(self.logs), "again": self.again, "pip_python": str(self._pip_python())}
        if self.offline:
            more |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.pool)}
        done = run_step(["wheel", name, str(lock), key, str(self.python)], {**self.environment, **more})
        explain(done.returncode, done.stdout + done.stderr, f"build of {name}", self.logs / f"build-{name}.log", self)
        return Path(done.stdout.strip().splitlines()[-1])

    def own_key(self, source: str, locks: Mapping[str, str]) -> str:
        """Return the key of the wheel of pipshpc: its sources, packages, compiler and processor."""
        text = repr([source, self.foundation.facts, sorted(locks.items())])
        return f"own-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def own_wheel(self, key: str) -> Path | None:
        """Return the kept wheel of pipshpc, if it is there and as it was built."""
        for wheel in (self.cache / "wheels" / key).glob("*.whl"):
            note = wheel.with_name(f"{wheel.name}.sha256")
            if note.is_file() and note.read_text().split()[0] == _sha256(wheel):
                return wheel
        return None

    def build_own(self, key: str, root: Path, locks: Mapping[str, str], source: str) -> Path:
        """Return the wheel of pipshpc with its kernels: the kept one, or a new one."""
        folder = self.cache / "wheels" / key
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / ".lock"):
            if (wheel := self.own_wheel(key)) is not None:
                return wheel
            shutil.rmtree(folder / "new", ignore_errors=True)
            # In a copy: the tree has kernels of its own, and others may be building there.
            copy_sources(root, folder / "new" / "source")
            if source_digest(folder / "new" / "source") != source:
                raise SiteError(f"{root}: the sources changed while the stack was being made; then: {self.again}")
            words = self.pip("wheel", "--no-build-isolation", "--no-deps", "--no-cache-dir", "--no-index")
            words += ["-w", str(folder / "new" / "out"), str(folder / "new" / "source")]
            own = {"PIPSHPC_MARCH": self.foundation.march, "PIPSHPC_KERNELS": str(self._kernels(root, locks))}
            call(words, {**self.environment, **own}, "build-pipshpc", self)
            fresh = next((folder / "new" / "out").glob("*.whl"))
            wheel = folder / fresh.name
            digest = _sha256(fresh)
            fresh.replace(wheel)
            wheel.with_name(f"{wheel.name}.sha256").write_text(f"{digest}\n")
            shutil.rmtree(folder / "new", ignore_errors=True)
            return wheel

    def _kernels(self, root: Path, locks: Mapping[str, str]) -> Path:
        """Return where compiled kernels are kept, which are the same while only Python changes."""
        folders = ("cext", "pipshpc/products")
        files = [root / "setup.py", *(p for folder in folders for p in sorted((root / folder).rglob("*.*")))]
        told = {str(p.relative_to(root)): _sha256(p) for p in files if "__pycache__" not in p.parts}
        key = self.own_key(repr(told), locks)
        return self.cache / "kernels" / key


def copy_sources(root: Path, target: Path) -> None:
    """Copy what pipshpc is built from, without what was built."""
    for path in [*source_files(root), *(root / name for name in ("README.md", "LICENSE"))]:
        if path.is_file():
            (target / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / path.relative_to(root))


# ---- calling, and saying what went wrong


def call(words: Sequence[str], environment: Mapping[str, str], what: str, shop: Workshop) -> None:
    """Run a command with its output in a log.

    Raises
    ------
    SiteError
        It failed; the message says why, as far as its output tells, and what to do.
    OutputError
        There is no space left.
    """
    log = shop.logs / f"{what}.log"
    with log.open("w") as handle:
        done = subprocess.run(
            list(words), env=dict(environment), stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, check=False
        )
    explain(done.returncode, log.read_text(errors="replace"), what, log, shop)


def explain(code: int, text: str, what: str, log: Path, shop: Workshop) -> None:
    """Raise an error in words for a command that failed; nothing where it did not."""
    if code == 0:
        return
    if "No space left on device" in text or "Disk quota exceeded" in text:
        raise full_disk(shop.python.parent, shop.cache)
    if code < 0 or code > 128 or re.search(r"signal (9|15)\b|Killed", text):
        signal = -code if code < 0 else code - 128 if code > 128 else 9
        raise SiteError(
            f"{what} was killed (signal {signal}), as happens where memory runs out or a session ends; nothing was "
            f"activated, what is built is kept; run the same again on a machine with 4 GiB free: {shop.again}"
        )
    if match := re.search(r"\n\s+(\S+) from (\S+):\n\s+Expected sha256 .*?\n\s+Got\s+(\S+)", text, re.DOTALL):
        where = match.group(2).removeprefix("file://").partition("#")[0]
        raise SiteError(
            f"{where} is damaged or was replaced: its SHA-256 {match.group(3)} is not one that the lock has for "
            f"{match.group(1)}; "
            f"remove it, and run the same again: rm -f {where}; {shop.again}"
        )
    if match := re.search(r"(?:No matching distribution found for|Could not find a version.*requirement) (\S+)", text):
        raise SiteError(
            f"{match.group(1)} of the lock cannot be had from the package index (see {log}); set pip's index "
            "(pip config set global.index-url URL), or deploy an archive that holds it: --from ARCHIVE"
        )
    said = next((line.strip() for line in reversed(text.splitlines()) if re.search("error|Error", line)), "")
    kept = shop.cache / "logs" / log.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text)
    raise SiteError(f"{what} failed ({said or f'exit code {code}'}); its output is in {kept}; then: {shop.again}")


def full_disk(prefix: Path, cache: Path) -> OutputError:
    """Return the error of a full disk, with what is free where."""
    free = {folder: shutil.disk_usage(_existing(folder)).free >> 20 for folder in (prefix, cache)}
    told = ", ".join(f"{_existing(folder)} has {mib} MiB free" for folder, mib in free.items())
    return OutputError(
        f"no space left ({told}; a stack takes about 1 GiB, its cache another); nothing was activated; free some, "
        "or name other folders: --prefix PREFIX, PIPSHPC_CACHE=FOLDER"
    )


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents) if p.is_dir())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return ""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
