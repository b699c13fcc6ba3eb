"""The Parsl program: what is still to do goes to blocks of the site, what is done stays.

Truth about a task is its published files with their catalogue items; the
journal tells the story. The driver may die at any time: the next one looks at
the files and goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipshpc import catalogue
from pipshpc.campaign import Campaign, load_campaign, read_box, read_time
from pipshpc.engine import Submit, start_engine
from pipshpc.errors import InputError, OutputError, PipshpcError, SiteError
from pipshpc.journal import Journal
from pipshpc.ledger import remove_parts
from pipshpc.notes import Report
from pipshpc.plan import Offer, plan
from pipshpc.site import Site, launch_command, load_site
from pipshpc.source import Source
from pipshpc.task import Task, write_task
from pipshpc.verdict import Attempts, judge


@dataclass
class Status:
    """How far a campaign is; handed to the watcher."""

    total: int
    done: int = 0
    running: dict[str, float] = field(default_factory=dict)  # task id -> share done
    waiting: dict[str, str] = field(default_factory=dict)  # task id -> what the next attempt waits for
    failed: dict[str, str] = field(default_factory=dict)  # task id -> reason
    reports: list[Report] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """Share of the work that is done, 0..1."""
        return (self.done + sum(self.running.values())) / max(self.total, 1)


@dataclass(frozen=True)
class Prepared:
    """A campaign made concrete."""

    campaign: Campaign
    site: Site
    tasks: list[Task]
    pending: list[Task]
    folder: Path  # journal, task files, logs

    @property
    def ranks(self) -> int:
        """MPI ranks of a task: as ordered, or one for each core of a node."""
        resources = self.campaign.resources
        return resources.ranks or max(1, self.site.core_count // resources.threads)

    @property
    def at_once(self) -> int:
        """Tasks that fit into one block at a time."""
        cores = self.site.core_count * self.site.scheduler.block_nodes
        return max(1, cores // (self.ranks * self.campaign.resources.threads))

    @property
    def output_bytes(self) -> int:
        """Upper estimate of what the pending tasks will write: two bytes a pixel, uncompressed."""
        return sum(2 * len(t.windows) * len(t.products) * t.count[0] * t.count[1] for t in self.pending)


def survey(campaign: Campaign, base: Path) -> Offer:
    """Open the forcing, check it, and say what the plan can draw on.

    Raises
    ------
    InputError
        For all that is wrong with the input files.
    """
    from pipshpc.kernel import kernel_digest
    from pipshpc.source import open_source
    from pipshpc.statics import CONTINUOUS, open_static, static_path

    start, end = read_time("start", campaign.start), read_time("end", campaign.end)
    box = read_box(campaign.box)
    source = open_source(campaign.forcing, base, as_utc64(start), as_utc64(end))
    source.grid.need_cover(box.west, box.south, box.west + box.width, box.north, title=source.title)
    statics = {name: open_static(name).identity for name in CONTINUOUS if static_path(name).is_file()}
    if "orog" in statics and "orog" not in source.variables:
        statics["orog_in"] = statics["orog"]
    return Offer(
        variables=tuple(source.variables),
        times=source.times,
        step_s=float(source.step / np.timedelta64(1, "s")) if source.step is not None else 0.0,
        identity=source.identity,
        title=source.title,
        comment=source.comment,
        statics=statics,
        kernels=kernel_digest(),
        absent=_absent(source),
    )


def _absent(source: Source) -> dict[str, str]:
    """Say of each known quantity that the forcing does not give what was looked for and what is there."""
    from pipshpc.source.names import quantities

    reasons = {}
    for name in quantities():
        try:
            source.need(name)
        except InputError as error:
            reasons[name] = str(error)
    return reasons


def as_utc64(time: datetime) -> np.datetime64:
    """Return a UTC time as NumPy has it."""
    return np.datetime64(time.replace(tzinfo=None), "s")


def prepare(path: str | Path) -> Prepared:
    """Read a campaign, check its input, plan its tasks, find what is already done."""
    path = Path(path).resolve()
    campaign = load_campaign(path)
    site = load_site(campaign.site)
    output = Path(campaign.output)
    output = output if output.is_absolute() else Path.cwd() / output
    tasks = plan(campaign, survey(campaign, path.parent), str(path.parent))
    tasks = [msgspec.structs.replace(t, output_dir=str(output)) for t in tasks]
    pending = [t for t in tasks if not all(catalogue.is_complete(t.path(p), t.id) for p in t.products)]
    return Prepared(campaign, site, tasks, pending, output / ".pipshpc" / campaign.campaign)


def check_space(prepared: Prepared) -> None:
    """Refuse to start where the products cannot fit, or files cannot be locked.

    Raises
    ------
    OutputError, SiteError
    """
    if not prepared.pending:
        return
    folder = Path(prepared.pending[0].output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"key 'output': {folder}: cannot be used ({error.strerror}); name a folder you can write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"key 'output': {folder}: cannot be written to; name another folder")
    if prepared.output_bytes > free:
        raise OutputError(
            f"key 'output': {folder}: has {free / 2**30:.1f} GiB free, the campaign may need up to "
            f"{prepared.output_bytes / 2**30:.1f} GiB; free some space, name another folder or shorten the campaign"
        )


@contextmanager
def driver_lock(folder: Path) -> Iterator[None]:
    """Let one driver at a time work on a campaign.

    Raises
    ------
    SiteError
        Where another driver is at work, or the file system does not lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SiteError(f"{folder}: another driver is working on this campaign; wait for it or stop it") from error
        except OSError as error:
            raise SiteError(
                f"{folder}: the file system does not lock files ({error.strerror}); "
                "put 'output' on one that does (see 'pipshpc doctor --path')"
            ) from error
        yield


def run_campaign(prepared: Prepared, watch: Callable[[Status], None] | None = None) -> Status:
    """Run all pending tasks through Parsl and return the final status.

    Parameters
    ----------
    prepared : from `prepare`
    watch : called a few times a second with the current status

    Raises
    ------
    PipshpcError
        Before anything starts, where space or locking do not allow it. A task
        that fails does not raise: it is in ``Status.failed``.
    """
    status = Status(total=len(prepared.tasks), done=len(prepared.tasks) - len(prepared.pending))
    if not prepared.pending:
        return status
    check_space(prepared)
    with driver_lock(prepared.folder):
        journal = Journal(prepared.folder / "journal.jsonl")
        journal.write("driver started", tasks=len(prepared.tasks), pending=len(prepared.pending), pid=os.getpid())
        for task in prepared.pending:
            remove_parts(task, keep_resumable=True)  # the driver's lock says that nobody is writing
        begin = time.monotonic()
        key = f"pipshpc:{prepared.campaign.campaign}"
        at_once, threads = prepared.at_once, prepared.campaign.resources.threads
        with start_engine(prepared.site, prepared.folder, key, at_once, threads) as submit:
            _drive(prepared, submit, status, journal, watch or (lambda _: None), begin)
        status.seconds = time.monotonic() - begin
        journal.write("driver ended", done=status.done, failed=len(status.failed))
    return status


@dataclass
class _Attempt:
    """A task on its way."""

    task: Task
    attempts: Attempts = field(default_factory=Attempts)
    not_before: float = 0.0
    reason: str = ""  # why it waits


def _drive(
    prepared: Prepared, submit: Submit, status: Status, journal: Journal, watch: Callable[[Status], None], begin: float
) -> None:
    """Submit all pending tasks, follow them, judge what fails, collect the reports."""
    waiting = [_Attempt(task) for task in prepared.pending]
    running: dict[Future[int], _Attempt] = {}
    for one in waiting:
        write_task(one.task, _files(prepared.folder, one.task)["task"])
    while waiting or running:
        for one in [w for w in waiting if w.not_before <= time.monotonic()]:
            waiting.remove(one)
            running[_submit(prepared, one, submit, journal)] = one
        finished = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)[0] if running else set()
        if not running:
            time.sleep(0.2)
        judged = (_conclude(prepared, running.pop(future), future, status, journal) for future in finished)
        waiting += [one for one in judged if one]
        status.waiting = {one.task.id: one.reason for one in waiting if one.reason}
        tasks = [one.task for one in running.values()]
        status.running = {t.id: p for t in tasks if (p := _share(_files(prepared.folder, t)["progress"]))}
        status.seconds = time.monotonic() - begin
        watch(status)


def _submit(prepared: Prepared, one: _Attempt, submit: Submit, journal: Journal) -> Future[int]:
    """Hand one attempt to Parsl."""
    resources, task = prepared.campaign.resources, one.task
    files = _files(prepared.folder, task)
    for name in ("progress", "report", "log"):
        files[name].unlink(missing_ok=True)
    number = one.attempts.charged + one.attempts.uncharged + one.attempts.waited + 1
    argv = [sys.executable, "-m", "pipshpc.run", str(files["task"]), "--threads", str(resources.threads)]
    argv += ["--notes"]
    argv += ["--attempt", f"{os.uname().nodename}.{os.getpid()}.{number}"]
    command = launch_command(prepared.site, prepared.ranks, resources.threads, argv)
    journal.write("submitted", task=task.id, attempt=number, windows=task.windows[0], products=task.products)
    return submit(command, files["log"])


def _conclude(
    prepared: Prepared, one: _Attempt, future: Future[int], status: Status, journal: Journal
) -> _Attempt | None:
    """Judge a finished attempt by its verified output first; return what is to be tried again."""
    task, files = one.task, _files(prepared.folder, one.task)
    if all(catalogue.is_complete(task.path(p), task.id) for p in task.products):
        status.done += 1
        _collect(task, files["report"], status, journal)
        return None
    error = future.exception()
    log = files["log"].read_text(errors="replace") if files["log"].exists() else ""
    code = None if error else future.result()
    verdict = judge(code, f"{type(error).__name__}: {error}" if error else "", log, one.attempts)
    journal.write(
        "attempt ended",
        task=task.id,
        exit_code=code,
        cause=verdict.cause,
        reason=verdict.reason,
        next=verdict.next,
        charged=verdict.charged,
    )
    if verdict.next == "never":
        status.failed[task.id] = verdict.reason
        remove_parts(task)
        journal.write("failed", task=task.id, cause=verdict.cause, reason=verdict.reason)
        return None
    return _Attempt(task, verdict.count(one.attempts), time.monotonic() + verdict.wait_s, verdict.reason)


def _collect(task: Task, path: Path, status: Status, journal: Journal) -> None:
    """Note what a finished task reports; the report may be missing where its job died after the files were out."""
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        journal.write("completed", task=task.id)
        return
    status.reports.append(report)
    journal.write(
        "completed",
        task=task.id,
        seconds=round(report.seconds, 3),
        peak_mib=max(report.peak_mib),
        blocks=report.blocks,
        blocks_kept=report.blocks_kept,
        missing_states=report.missing_states,
    )


def _files(folder: Path, task: Task) -> dict[str, Path]:
    """Return where a task's own files are."""
    tasks = folder / "tasks"
    tasks.mkdir(parents=True, exist_ok=True)
    return {
        name: tasks / f"{task.id}.{suffix}"
        for name, suffix in (("task", "json"), ("progress", "progress"), ("report", "report"), ("log", "log"))
    }


def _share(path: Path) -> float:
    """Read how much of a running task is done."""
    try:
        beat: dict[str, Any] = json.loads(path.read_text())
        return float(beat["done"]) / max(float(beat["total"]), 1)
    except (OSError, ValueError, KeyError):
        return 0.0


__all__ = ["PipshpcError", "Prepared", "Status", "check_space", "prepare", "run_campaign", "survey"]
