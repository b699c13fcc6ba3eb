"""Daemons of the lab: started detached, known again by pid file, never confused with others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipshpc.errors import SiteError

MARK = "PIPSHPC_LAB_OF"  # in the environment of all that a lab starts, with the folder of the lab


class Daemon(NamedTuple):
    """A daemon of a lab: its pid file holds pid and start time."""

    folder: Path  # of the lab
    name: str  # of the pid file
    program: str  # a word of its command line

    @property
    def pid_file(self) -> Path:
        """Where its pid is kept; Slurm's daemons write pid files of their own elsewhere."""
        return self.folder / "run" / f"{self.name}.id"

    @property
    def log(self) -> Path:
        """What it says before it opens its own log."""
        return self.folder / "log" / f"{self.name}.out"

    @property
    def pid(self) -> int | None:
        """Its pid, or None where it does not run.

        A pid counts only where the process has the start time that was
        noted, the mark of this lab, and the program in its command line:
        pids are used again by others.
        """
        try:
            pid, started = (int(word) for word in self.pid_file.read_text().split())
        except (OSError, ValueError):
            return None
        while start_time(pid) == started:
            environment, command = read_environment(pid), read_command(pid)
            if environment and command:
                ours = environment.get(MARK) == str(self.folder) and self.program in command
                return pid if ours else None
            time.sleep(0.001)  # both are empty for a moment while a process becomes another program
        return None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Start it in a session of its own, and return its pid."""
        for folder in (self.pid_file.parent, self.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**clean_environment(), **(environment or {}), MARK: str(self.folder)},
            )
        _children.append(process)
        self.pid_file.write_text(f"{process.pid} {start_time(process.pid)}\n")
        return process.pid

    def stop(self, number: int = signal.SIGTERM, patience_s: float = 8.0) -> bool:
        """End it, by SIGKILL where it does not go in time; return whether it ran."""
        if (pid := self.pid) is None:
            self.pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, number)
        if not wait_until(lambda: self.pid is None, patience_s):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.pid is None, 2.0)
        self.pid_file.unlink(missing_ok=True)
        return True

    def tail(self, lines: int = 3) -> str:
        """Return the last words of its log."""
        try:
            return " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-lines:])
        except OSError:
            return ""


# Kept, so that those which end while this process lives are reaped and do not look alive.
_children: list[subprocess.Popen[bytes]] = []


def clean_environment() -> dict[str, str]:
    """Return the environment without what belongs to a job or to another cluster."""
    strange = ("SLURM", "SBATCH", "SQUEUE", "SINFO", "SACCT", "PMIX", "OMPI", "PRTE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(strange)}
    paths = kept.get("PATH", "").split(":")
    return {
        **kept,
        "PATH": ":".join([*paths, *(p for p in ("/usr/sbin", "/sbin", "/usr/bin", "/bin") if p not in paths)]),
    }


def start_time(pid: int) -> int | None:
    """Return when a process started (clock ticks since boot), None where it has ended or is a zombie."""
    for child in _children:
        if child.pid == pid:
            child.poll()
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in "ZX" else int(words[19])


def read_command(pid: int) -> str:
    """Return the command line of a process, words separated by spaces; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def read_environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty where it has ended."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(line.partition("=")[::2] for line in text.split("\0") if "=" in line)


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below one, parents before children."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if words[0] not in "ZX":
                children.setdefault(int(words[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += sorted(children.get(one, []))
    return found[1:]


def wait_until(what: object, patience_s: float, step_s: float = 0.02) -> bool:
    """Wait until `what()` is true; False where it is not in time."""
    assert callable(what)
    end = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


def run(command: Sequence[str], text: str | None = None, timeout_s: float = 20.0, **settings: str) -> str:
    """Run a program to its end and return what it wrote.

    Raises
    ------
    SiteError
        It failed, is not there, or took too long; with its own words.
    """
    try:
        done = subprocess.run(
            command,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**clean_environment(), **settings},
        )
    except subprocess.TimeoutExpired as error:
        raise SiteError(f"'{' '.join(command)}' gave no answer in {timeout_s:g} s") from error
    except OSError as error:
        raise SiteError(f"'{command[0]}' cannot be run ({error.strerror}); see envs/lab/install.sh") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise SiteError(f"'{' '.join(command)}' ended with code {done.returncode}: {said}")
    return done.stdout
