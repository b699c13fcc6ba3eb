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
from pipshpc.errors import InputError, OutputError, PipshpcError, SiteError, Stopped
from pipshpc.journal import Journal
from pipshpc.ledger import remove_parts
from pipshpc.plan import Offer, plan
from pipshpc.run import Report
from pipshpc.site import Site, launch_command, launch_environment, load_site
from pipshpc.source import Source
from pipshpc.task import Task, write_task


@dataclass
class Status:
    """How far a campaign is; handed to the watcher."""

    total: int
    done: int = 0
    running: dict[str, float] = field(default_factory=dict)  # task id -> share done
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
        with _parsl(prepared) as submit:
            _drive(prepared, submit, status, journal, watch or (lambda _: None), begin)
        status.seconds = time.monotonic() - begin
        journal.write("driver ended", done=status.done, failed=len(status.failed))
    return status


@contextmanager
def _parsl(prepared: Prepared) -> Iterator[Callable[[list[str], Path], Future[int]]]:
    """Start Parsl on the site and yield a function that submits one command line."""
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.launchers import SimpleLauncher
    from parsl.providers import LocalProvider

    executor = HighThroughputExecutor(
        label="pipshpc",
        address="127.0.0.1",
        max_workers_per_node=1,  # a task takes all cores of the block itself
        cpu_affinity="none",
        encrypted=False,  # loopback only
        provider=LocalProvider(init_blocks=1, max_blocks=1, launcher=SimpleLauncher()),  # type: ignore[no-untyped-call]
    )
    config = Config(
        executors=[executor],
        run_dir=str(prepared.folder / "parsl"),
        strategy="none",
        initialize_logging=False,
        usage_tracking=0,
    )
    kernel = parsl.load(config)

    environment = launch_environment(prepared.site, prepared.campaign.resources.threads)

    def launch_task(command: list[str], log: str) -> int:
        import os
        import subprocess

        with open(log, "wb") as handle:  # noqa: PTH123 - runs on a worker, with plain imports only
            return subprocess.run(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                check=False,
            ).returncode

    app = parsl.python_app(launch_task, data_flow_kernel=kernel)
    try:
        yield lambda command, log: app(command, str(log))
    finally:
        kernel.cleanup()
        parsl.clear()


def _drive(
    prepared: Prepared,
    submit: Callable[[list[str], Path], Future[int]],
    status: Status,
    journal: Journal,
    watch: Callable[[Status], None],
    begin: float,
) -> None:
    """Submit all pending tasks, follow them, collect their reports."""
    resources = prepared.campaign.resources
    ranks = resources.ranks or max(1, prepared.site.core_count // resources.threads)
    futures: dict[Future[int], Task] = {}
    for task in prepared.pending:
        files = _files(prepared.folder, task)
        write_task(task, files["task"])
        for name in ("progress", "report"):
            files[name].unlink(missing_ok=True)
        argv = [sys.executable, "-m", "pipshpc.run", str(files["task"]), "--threads", str(resources.threads)]
        argv += ["--progress", str(files["progress"]), "--report", str(files["report"])]
        argv += ["--attempt", f"{os.uname().nodename}.{os.getpid()}"]
        command = launch_command(prepared.site, ranks, resources.threads, argv)
        futures[submit(command, files["log"])] = task
        journal.write("submitted", task=task.id, windows=task.windows[0], products=task.products)
    while futures:
        finished, _ = wait(futures, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            _conclude(prepared, futures.pop(future), future, status, journal)
        status.running = {t.id: p for t in futures.values() if (p := _share(_files(prepared.folder, t)["progress"]))}
        status.seconds = time.monotonic() - begin
        watch(status)


def _conclude(prepared: Prepared, task: Task, future: Future[int], status: Status, journal: Journal) -> None:
    """Judge a finished task by its verified output, then by its exit code."""
    files = _files(prepared.folder, task)
    if all(catalogue.is_complete(task.path(p), task.id) for p in task.products):
        status.done += 1
        report = msgspec.json.decode(files["report"].read_bytes(), type=Report)
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
        return
    error = future.exception()
    text = files["log"].read_text(errors="replace").strip() if files["log"].exists() else ""
    said = [line for line in text.splitlines() if line.startswith("error: ")]
    code = None if error else future.result()
    reason = (
        said[0].removeprefix("error: ")
        if said
        else f"exit code {code}, see {files['log']}"
        if error is None
        else str(error)
    )
    status.failed[task.id] = reason
    if code != Stopped.exit_code:
        remove_parts(task)
    journal.write("failed", task=task.id, exit_code=code, reason=reason)


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
