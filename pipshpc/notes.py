"""What a launch leaves beside a task file while it runs and when it ends: heartbeat, report, failure.

``TASK.progress`` is rewritten at least every `BEAT_S` seconds by a thread of the
first rank, so it also comes in long reads and writes. ``TASK.report`` says what
came out, ``TASK.failed`` why nothing did. All are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

import msgspec

from pipshpc.schema import Record

BEAT_S = 0.5  # between two heartbeats; watchers may count on 2 s
SPARE_S = 0.05  # at least between two
T = TypeVar("T")
Stage = Literal["open", "read", "compute", "write", "publish", "done"]


class Report(Record, frozen=True):
    """What came out of a task; the same on all ranks.

    Parameters
    ----------
    files : path -> content digest
    blocks, blocks_kept : all of the task, and those taken over from an earlier attempt
    missing_states : times of the forcing that could not be read
    peak_mib, stages : per rank: largest memory of the process, seconds by stage
    cpu_s : user and system time, summed over the ranks
    read_bytes, written_bytes : from and to storage as Linux counts them, summed over the ranks; 0 where it does not
    startup_s : from the launch (the task's turn, for the later ones of a launch) to the first block computed
    job, step, nodes : in Slurm's words; empty elsewhere
    stack : module of the software stack that was loaded, with its digest; empty where none was
    """

    task: str
    files: dict[str, str]
    seconds: float
    fields: int
    pixels: int
    blocks: int
    blocks_kept: int
    missing_states: list[str]
    ranks: int
    threads: int
    peak_mib: list[float]
    stages: list[dict[str, float]]
    attempt: str = ""
    cpu_s: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    startup_s: float = 0.0
    job: str = ""
    step: str = ""
    nodes: str = ""
    stack: str = ""


class Beat(Record, frozen=True):
    """One heartbeat; `done`, `kept` and `total` count blocks.

    `done` are those that an attempt after this one can keep: they are in the
    ledgers of all products. It includes `kept`, those that this attempt took
    over.
    """

    task: str
    attempt: str
    stage: Stage
    done: int
    kept: int
    total: int
    time: float
    started: float
    host: str
    pid: int
    job: str = ""
    step: str = ""
    nodes: str = ""


class Failure(Record, frozen=True):
    """Why the last attempt of a task ended without its files."""

    exit_code: int
    message: str
    attempt: str = ""
    time: float = 0.0


def note_path(task_file: Path, kind: Literal["progress", "report", "failed"]) -> Path:
    """Return where a note of a task file is."""
    return task_file.with_suffix(f".{kind}")


def write_note(path: Path, note: msgspec.Struct) -> None:
    """Write a note whole or not at all; ranks of several nodes may do so at once.

    Raises
    ------
    OSError
        Where the disk takes no more.
    """
    part = path.with_name(f"{path.name}.{os.uname().nodename}.{os.getpid()}.part")
    try:
        part.write_bytes(msgspec.json.encode(note))
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def read_note(path: Path, kind: type[T]) -> T | None:
    """Read a note; None where there is none, or not yet a whole one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def slurm_names() -> dict[str, str]:
    """Return job, step and nodes as Slurm tells its processes; empty text elsewhere."""
    names = {"job": ("SLURM_JOB_ID",), "step": ("SLURM_STEP_ID",), "nodes": ("SLURM_STEP_NODELIST", "SLURM_NODELIST")}
    return {key: next((os.environ[n] for n in found if n in os.environ), "") for key, found in names.items()}


class Heartbeat:
    """Tells the watcher how far a task is; without a path it only keeps count.

    Parameters
    ----------
    task : id
    attempt : as in the names of unfinished files
    path : file to rewrite; None on all ranks but the first, and where nobody watches
    """

    def __init__(self, task: str, attempt: str, path: Path | None) -> None:
        self.done = self.kept = self.total = 0
        self._stage: Stage = "open"
        self._path = path
        self._wake, self._end = threading.Event(), threading.Event()
        self._fixed = {
            "task": task,
            "attempt": attempt,
            "started": time.time(),
            "host": os.uname().nodename,
            "pid": os.getpid(),
            **slurm_names(),
        }
        self._thread = threading.Thread(target=self._go, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        if self._path is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def stage(self) -> Stage:
        """What the task is at; a change is told at once."""
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        if stage != self._stage:
            self._stage = stage
            self._wake.set()

    def _go(self) -> None:
        while True:
            ended = self._end.is_set()  # asked before the last beat, which tells the last stage
            # A watcher takes silence for trouble, not for the end: a full disk must not stop the work.
            with contextlib.suppress(OSError):
                self._tell()
            if ended:
                return
            self._end.wait(SPARE_S)  # many small batches are no reason for many beats
            self._wake.wait(BEAT_S)
            self._wake.clear()

    def _tell(self) -> None:
        assert self._path is not None
        beat = Beat(
            stage=self._stage,
            done=self.done,
            kept=self.kept,
            total=self.total,
            time=time.time(),
            **self._fixed,  # type: ignore[arg-type]
        )
        write_note(self._path, beat)
