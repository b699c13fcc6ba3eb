"""What the parts of a driver share: the campaign, its course, the queue, and what is under way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipshpc.drive.course import COMPLETED
from pipshpc.drive.diary import Diary
from pipshpc.drive.launches import Launch, Sizes
from pipshpc.drive.mode import PLAIN, Mode, Way, choose_modes
from pipshpc.drive.prepare import Prepared, is_done
from pipshpc.errors import SiteError
from pipshpc.notes import Report
from pipshpc.task import Task

if TYPE_CHECKING:
    from pipshpc.drive.jobs import Block
    from pipshpc.drive.single import Ask


class EngineLike(Protocol):
    """What the driver needs of an engine."""

    jobs: Any  # Jobs on a cluster, else None

    @property
    def cores(self) -> int:
        """Cores of all blocks that there can be."""

    @property
    def trouble(self) -> str:
        """Why no block can be had, where that is for good."""

    def alive(self) -> bool:
        """Whether anything can be heard of launches."""

    def submit(
        self, command: list[str], log: Path, threads: int, needs_s: float, priority: int
    ) -> Future[dict[str, Any]]:
        """Hand a command line to the next free worker."""

    def submit_job(self, ask: Ask) -> Future[dict[str, Any]]:
        """Run a launch as a job of its own."""

    def tend(self, cores_wanted: int) -> list[Any]:
        """Scale blocks with the work; return those whose state changed."""


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
    note: str = ""  # paused, cancelled, waiting for a block

    @property
    def share(self) -> float:
        """Share of the work that is done, 0..1."""
        return (self.done + sum(self.running.values())) / max(self.total, 1)


class EngineLost(SiteError):
    """Parsl's message server is gone; everything under way is to be started again."""


class Desk:
    """The state of one run of a driver; its parts read it, and write by `write` and `enqueue`.

    Parameters
    ----------
    prepared : the campaign
    engine : started
    diary : journal and course of the campaign
    status : kept up to date for the watcher
    finished : says whether a task is published
    """

    def __init__(
        self,
        prepared: Prepared,
        engine: EngineLike,
        diary: Diary,
        status: Status,
        finished: Callable[[Task], bool] = is_done,
    ) -> None:
        self.prepared, self.engine, self.status, self.finished = prepared, engine, status, finished
        self.journal, self.course, self.write = diary.journal, diary.course, diary.write
        self.tasks = {t.id: t for t in prepared.tasks}
        self.sizes = Sizes(prepared)
        self.queue: list[tuple[int, int, str]] = []  # (-priority, order, task)
        self.held: list[tuple[float, str]] = []  # (not before, task): waits for another try
        self.running: dict[int, Launch] = {}
        self.modes: dict[int, Mode] = {}
        self._order: dict[str, int] = {}
        self._followers: dict[str, list[Task]] = {}  # task -> those that take what it leaves

    def enqueue(self, task: Task) -> None:
        """Put a task into the queue; one that was there before gets its old place, one that follows another waits."""
        if task.before in self.tasks and self.course.task(task.before).state != COMPLETED:
            self._followers.setdefault(task.before, []).append(task)
            return
        order = self._order.setdefault(task.id, len(self._order))
        heappush(self.queue, (-(self.prepared.chain(task).priority or 0), order, task.id))

    def release(self, task: Task) -> None:
        """Let those go on that wait for a task that is there now."""
        for follower in self._followers.pop(task.id, []):
            self.enqueue(follower)

    def give_up_followers(self, task: Task) -> None:
        """Note that what follows a task that failed is not made either."""
        for follower in self._followers.pop(task.id, []):
            reason = f"it follows task {task.id} ({task.windows[0][:10]}), which failed"
            self.status.failed[follower.id] = reason
            self.write("failed", task=follower.id, cause="PREDECESSOR", reason=reason)
            self.give_up_followers(follower)

    def choose_modes(self) -> None:
        """Choose how the launches of each chain get their nodes, and say so where it is another way than before."""
        chosen = choose_modes(self.prepared, self.course)
        for chain, mode in chosen.items():
            if mode not in (PLAIN, self.modes.get(chain)):
                self.write("mode", chain=chain, mode=mode.way, reason=mode.reason)
        self.modes = chosen

    def mode(self, task: Task) -> Way:
        """Return the way that a launch of a task goes."""
        mode = self.modes.get(self.prepared.chain_of.get(task.id, 0))
        return mode.way if mode else "pilot"

    def job(self, launch: Launch) -> Block | None:
        """Return what is known of the job that a launch runs in; None where there is none, or it is not known yet."""
        found: Block | None = self.engine.jobs.blocks.get(launch.job) if self.engine.jobs is not None else None
        return found

    def job_over(self, launch: Launch) -> bool:
        """Whether Slurm says that the job of a launch is over."""
        block = self.job(launch)
        return bool(block and block.state.ended)

    def job_state(self, launch: Launch) -> str:
        """Return Slurm's word for the job that a launch ran in, where it is over."""
        block = self.job(launch)
        return str(block.state.state) if block and block.state.ended else ""
