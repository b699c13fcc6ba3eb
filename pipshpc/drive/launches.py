"""Launches: which tasks start together, on how many ranks, and what their files say."""

from __future__ import annotations

import math
import statistics
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipshpc.campaign import Resources
from pipshpc.drive.course import Course, TaskCourse
from pipshpc.drive.mode import Way
from pipshpc.drive.software import python_of
from pipshpc.notes import Beat
from pipshpc.site import launch_command
from pipshpc.task import Task

if TYPE_CHECKING:
    from pipshpc.drive.prepare import Prepared
    from pipshpc.notes import Report

STARTUP_S = 2.0  # to start ranks, until it was measured
STARTUP_SHARE = 0.1  # of the time of a launch that starting may take
LONGEST_LAUNCH_S = 600.0
MEMORY_STEP = 1.5
LOG_BYTES = 64 << 10
SMALLEST_BATCH_MIB = 12


@dataclass
class Launch:
    """Some tasks on their way in one start of the ranks."""

    number: int
    tasks: list[Task]
    ranks: int
    threads: int
    nodes: int
    memory_mib: int
    batch_mib: int
    priority: int
    needs_s: float
    mode: Way = "pilot"
    log: Path = Path()
    future: Future[dict[str, Any]] | None = None
    heard: bool = False
    silent: bool = False
    job: str = ""
    step: str = ""
    nodes_used: str = ""
    job_over_since: float = 0.0
    progress: tuple[Any, ...] = ()  # what its heartbeats last said of stage and blocks
    progress_since: float = 0.0
    ended_for: str = ""  # why the driver ended it
    step_state: str | None = None  # how Slurm says that its step ended; None: not asked, empty: it does not know

    @property
    def cores(self) -> int:
        """Cores that it takes."""
        return self.ranks * self.threads

    def meet(self, beat: Beat) -> None:
        """Learn from a heartbeat where it runs."""
        self.heard = True
        self.job, self.step, self.nodes_used = beat.job, beat.step, beat.nodes or beat.host


@dataclass
class _Known:
    """What the finished tasks of one chain have shown."""

    seconds: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)


class Sizes:
    """How large launches are made; learns from the tasks that end."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._known: dict[int, _Known] = {}
        self._grown: dict[str, int] = {}  # task -> times that its memory was not enough

    def _chain(self, task: Task) -> int:
        return self.prepared.chain_of.get(task.id, 0)

    def cores(self, task: Task) -> int:
        """Cores that a launch of a task takes."""
        resources = self.prepared.resources(task)
        return resources.ranks * resources.threads

    def same(self, one: Task, other: Task, course: Course) -> bool:
        """Whether two tasks may start together: of one chain, and neither has made trouble before."""
        fresh = all(course.task(t.id).attempts.charged == 0 and t.id not in self._grown for t in (one, other))
        return fresh and self._chain(one) == self._chain(other)

    def seconds(self, task: Task) -> float | None:
        """Seconds that a task of this chain takes, as far as is known."""
        known = self._known.get(self._chain(task))
        return statistics.median(known.seconds[-50:]) if known and known.seconds else None

    def startup(self, task: Task) -> float:
        """Seconds that starting the ranks takes, as far as is known."""
        known = self._known.get(self._chain(task))
        return statistics.median(known.startup_s[-50:]) if known and known.startup_s else STARTUP_S

    def tasks_per_launch(self, task: Task, course: Course, queued: int, cores: int) -> int:
        """Return how many tasks to start together.

        As many as keep the start below a tenth of the launch, but so few that
        all cores have work until near the end and a launch stays short.
        """
        if course.task(task.id).attempts.charged or task.id in self._grown:
            return 1  # what made trouble is tried alone
        stated = self.prepared.resources(task).tasks_per_launch
        seconds = self.seconds(task)
        if stated or seconds is None:
            return max(1, stated)
        wanted = math.ceil(self.startup(task) * (1 / STARTUP_SHARE - 1) / max(seconds, 1e-3))
        at_once = max(1, cores // self.cores(task))
        fair = math.ceil((queued + 1) / (2 * at_once))
        longest = int(self._longest() / max(seconds, 1e-3))
        return max(1, min(wanted, fair, longest))

    def _longest(self) -> float:
        walltime = self.prepared.site.scheduler.time_s
        return min(LONGEST_LAUNCH_S, walltime / 4) if walltime else LONGEST_LAUNCH_S

    def launch(self, number: int, tasks: list[Task], course: Course) -> Launch:
        """Return a launch of some tasks of one chain."""
        first = tasks[0]
        resources: Resources = self.prepared.resources(first)
        seconds = self.seconds(first)
        needs = (self.startup(first) + 1.2 * seconds * len(tasks)) if seconds is not None else 0.0
        memory, batch = self._memory(first, resources)
        walltime = self.prepared.site.scheduler.time_s
        return Launch(
            number=number,
            tasks=tasks,
            ranks=resources.ranks,
            threads=resources.threads,
            nodes=resources.nodes,
            memory_mib=memory,
            batch_mib=batch,
            priority=self.prepared.chain(first).priority or 0,
            # A task longer than half a block is started anyhow: it is stopped at a block border and goes on later.
            needs_s=min(needs, walltime / 2) if walltime else 0.0,
        )

    def _memory(self, task: Task, resources: Resources) -> tuple[int, int]:
        """Return memory per rank and the bound of a batch of forcing (MiB; 0: as usual) after what was not enough."""
        times = self._grown.get(task.id, 0)
        if not times:
            return resources.memory_mib, 0
        site = self.prepared.site
        share = site.memory_bytes // (site.core_count << 20) * resources.threads
        wanted = int((resources.memory_mib or share) * MEMORY_STEP**times)
        # Memory first; where the node has no more, smaller batches of forcing.
        most = int(0.95 * site.memory_bytes) >> 20
        ranks_on_node = math.ceil(resources.ranks / max(1, resources.nodes))
        within = max(1, most // max(1, min(ranks_on_node, site.core_count)))
        return min(wanted, within), 0 if wanted <= within else max(SMALLEST_BATCH_MIB, 96 >> times)

    def grow(self, task: Task) -> None:
        """Take note that the memory of a task was not enough."""
        self._grown[task.id] = self._grown.get(task.id, 0) + 1

    def learn(self, task: Task, report: Report, before: TaskCourse) -> dict[str, Any]:
        """Take in the report of a finished task; return what the journal keeps of it."""
        known = self._known.setdefault(self._chain(task), _Known())
        forecast = self.seconds(task)
        known.seconds.append(report.seconds)
        plain = msgspec.to_builtins(report)
        if plain.get("startup_s"):
            known.startup_s.append(float(plain["startup_s"]))
        stages: dict[str, float] = {}
        for rank in report.stages:
            for name, seconds in rank.items():
                stages[name] = round(stages.get(name, 0.0) + seconds, 4)
        facts = {k: plain[k] for k in ("blocks", "blocks_kept", "missing_states", "fields", "ranks", "threads")}
        counters = ("startup_s", "cpu_s", "read_bytes", "written_bytes", "job", "step", "stack")
        facts |= {k: plain[k] for k in counters if plain.get(k)}
        lost = max(0, before.blocks_done - report.blocks_kept)
        return facts | {
            "seconds": round(report.seconds, 3),
            "forecast_s": None if forecast is None else round(forecast, 3),
            "blocks_lost": lost,
            "peak_mib": max(report.peak_mib),
            "stages": stages,
        }


def command_of(prepared: Prepared, launch: Launch) -> list[str]:
    """Return the words that start a launch."""
    files = [str(files_of(prepared.folder, task)["task"]) for task in launch.tasks]
    argv = [python_of(prepared.stack), "-m", "pipshpc.run", *files, "--threads", str(launch.threads)]
    argv += ["--notes", "--attempt", f"L{launch.number}"]
    argv += ["--batch-mib", str(launch.batch_mib)] if launch.batch_mib else []
    return launch_command(
        prepared.site, launch.ranks, launch.threads, argv, nodes=launch.nodes, memory_mib=launch.memory_mib
    )


def files_of(folder: Path, task: Task) -> dict[str, Path]:
    """Return where a task's own files are."""
    return {
        name: folder / "tasks" / f"{task.id}.{suffix}"
        for name, suffix in (("task", "json"), ("progress", "progress"), ("report", "report"), ("failed", "failed"))
    }


def tail(path: Path) -> str:
    """Return the end of what a launch printed."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - LOG_BYTES))
            return handle.read().decode(errors="replace")
    except OSError:
        return ""
