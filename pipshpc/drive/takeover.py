"""One driver at a time, and what the one before left: its message server, its launches, its blocks, its half files."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import xxhash

from pipshpc import slurm
from pipshpc.drive.course import Course
from pipshpc.errors import SiteError
from pipshpc.ledger import SUFFIX, belongs_to, remove
from pipshpc.site import Site
from pipshpc.task import Task

PATIENCE_S = 30.0  # for ranks to stop at a block border, and for jobs to end


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
        # What the driver starts must not hold the lock after its death.
        os.set_inheritable(handle.fileno(), False)
        yield


def driver_alive(folder: Path) -> bool:
    """Say whether a driver holds the lock of a campaign."""
    try:
        with (folder / "lock").open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def block_key(campaign: str, folder: Path) -> str:
    """Return what the comments of all jobs of a campaign begin with; campaigns of one name differ by their folder."""
    return f"pipshpc:{campaign[:60]}:{xxhash.xxh3_64_hexdigest(os.fsencode(folder.resolve()))[:8]}"


def take_over(
    folder: Path, site: Site, key: str, course: Course, write: Callable[..., None] = lambda *_, **__: None
) -> list[str]:
    """End what an earlier driver left running and return what was ended, in words.

    The order matters: first those that would start more, then what runs.
    The caller holds the lock; `write` takes an event for each job. Ranks that are told to stop do so at a block
    border and leave what is done to the next attempt.
    """
    ended = _end_servers(folder, course)
    if site.scheduler.kind == "slurm":
        ended += _end_jobs(slurm.Cluster(name=site.scheduler.cluster), key, write)
    ended += _end_launches(folder)
    return ended


def _end_servers(folder: Path, course: Course) -> list[str]:
    """Kill the message server and the local worker pools of the driver before."""
    ended = []
    for pid, host in course.driver.interchanges:
        if host == os.uname().nodename and "interchange.py" in _command_line(pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                ended.append(f"message server {pid}")
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        with contextlib.suppress(psutil.Error):
            if "process_worker_pool" in line and str(folder / "parsl") in line:
                # Its workers would wait for it for ever; what they launched is told to stop by their death.
                workers = [child for child in process.children(recursive=True) if _is_worker(child)]
                for one in (process, *workers):
                    one.kill()
                ended.append(f"worker pool {process.pid}")
            elif _is_worker(process) and process.cwd() == str(folder) and process.ppid() == 1:
                process.kill()  # of a pool that was gone before
    return ended


def _is_worker(process: psutil.Process) -> bool:
    """Whether a process is one of those that a worker pool of Parsl starts."""
    return "from multiprocessing." in " ".join(process.cmdline())


def _end_jobs(cluster: slurm.Cluster, key: str, write: Callable[..., None]) -> list[str]:
    """Cancel all jobs whose comment begins with `key`, pilots and launches, and wait until their ranks are gone."""
    nodes: dict[str, str] = {}
    pause = 1.0
    end = time.monotonic() + 10 * PATIENCE_S
    while time.monotonic() < end:
        try:
            jobs = find_live(cluster, key)
            if not jobs:
                break
            new = [job for job in jobs if job not in nodes]
            if new:
                slurm.cancel(cluster, new)
            nodes |= {job: state.nodes for job, state in jobs.items() if job in new}
            pause = 0.5
        except slurm.Silence:
            pause = min(2 * pause, 20.0)
        time.sleep(pause)
    for job, where in nodes.items():
        write("block", job=job, state="CANCELLED", nodes=where, reason="its driver was lost")
    return [f"job {job}" for job in nodes]


def find_live(cluster: slurm.Cluster, key: str) -> dict[str, slurm.State]:
    """Return the jobs that are not over and whose comment begins with `key`, by their ids.

    Raises
    ------
    Silence
        Slurm did not answer.
    """
    said = cluster.ask("squeue", "--noheader", "--all", f"--user={os.getuid()}", f"--format={slurm.SQUEUE_FORMAT}")
    return {job: state for job, state in slurm.parse_squeue(said).items() if state.key.startswith(f"{key}/")}


def _end_launches(folder: Path) -> list[str]:
    """Tell launches that run on this machine to stop; kill those that do not listen."""
    running = []
    for note in (folder / "launches").glob("*.pid"):
        try:
            told = json.loads(note.read_text())
            process = psutil.Process(int(told["pid"]))
            # The number may have been given to another process since.
            ours = told["host"] == os.uname().nodename and abs(process.create_time() - float(told["started"])) < 5.0
        except (OSError, ValueError, KeyError, psutil.Error):
            ours = False
        if ours:
            running.append(process)
        note.unlink(missing_ok=True)
    for process in running:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=PATIENCE_S)
    for process in stubborn:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    return [f"launch {p.pid}" for p in running]


def end_launch(site: Site, log: Path, job: str, step: str) -> None:
    """End one launch that does not get on: its step where Slurm runs it, else its processes on this machine."""
    if job and step:
        with contextlib.suppress(SiteError):
            slurm.Cluster(name=site.scheduler.cluster).ask("scancel", f"{job}.{step}")
        return
    try:
        pid = int(json.loads(Path(f"{log}.pid").read_text())["pid"])
        os.killpg(pid, signal.SIGKILL)
    except (OSError, ValueError, KeyError):
        return


def _command_line(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def remove_leftovers(pending: Iterable[Task], done: Iterable[Task] = ()) -> int:
    """Remove unfinished files that no pending task can go on with; return how many there were.

    Only files of these tasks' products are looked at; each folder is read once.
    """
    wanted = {task.path(product): task.id for task in pending for product in task.products}
    wanted |= {task.path(product): "" for task in done for product in task.products}
    removed = 0
    for folder in {path.parent for path in wanted}:
        for part in folder.glob("*.part"):
            final = part.with_name(part.name.rsplit(".nc.", 1)[0] + ".nc")
            if final in wanted and not belongs_to(part, wanted[final]):
                remove(part)
                removed += 1
        for ledger in folder.glob(f"*.part{SUFFIX}"):
            if not ledger.with_name(ledger.name.removesuffix(SUFFIX)).exists():
                ledger.unlink(missing_ok=True)
    return removed
