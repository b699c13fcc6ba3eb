"""The course of a campaign: what its journal says, folded into the state of each task. Pure; reads no clock.

The journal is the only channel between the driver and everybody else: verbs
append what they want, the driver appends what happens, and whoever wants to
know folds the events. A new driver starts from the same fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipshpc.drive.verdict import Attempts

Event = Mapping[str, Any]

PENDING = "PENDING"  # known, and not handed to the engine
SUBMITTED = "SUBMITTED"  # handed to the engine, no sign of it yet
RUNNING = "RUNNING"
UNKNOWN = "UNKNOWN"  # was running, and nothing is heard
COMPLETED = "COMPLETED"  # published and registered
FAILED = "FAILED"  # not tried again by itself
NOT_TRIED = ("BLOCK_ENDS", "NOT_REACHED")  # causes of attempts that never came to their task
STATES = (PENDING, SUBMITTED, RUNNING, UNKNOWN, COMPLETED, FAILED)


@dataclass
class TaskCourse:
    """What is known of one task."""

    id: str
    state: str = PENDING
    launch: int = 0
    job: str = ""
    step: str = ""
    nodes: str = ""
    attempts: Attempts = field(default_factory=Attempts)
    cause: str = ""  # of the last attempt that did not finish
    reason: str = ""
    next: str = ""
    submitted: float = 0.0  # of the last launch, unix time; 0: never
    started: float = 0.0
    ended: float = 0.0
    blocks_done: int = 0  # when the last attempt ended
    report: dict[str, Any] = field(default_factory=dict)  # the facts of "completed"


@dataclass
class Driver:
    """The driver that was last heard of."""

    pid: int = 0
    host: str = ""
    started: float = 0.0
    ended: float = 0.0
    why: str = ""
    interchanges: list[tuple[int, str]] = field(default_factory=list)  # (pid, host) of its message servers


@dataclass
class Course:
    """The campaign so far."""

    tasks: dict[str, TaskCourse] = field(default_factory=dict)
    blocks: dict[str, dict[str, Any]] = field(default_factory=dict)  # pilot jobs: state, nodes, reason
    excluded: dict[str, float] = field(default_factory=dict)  # node -> until, unix time
    driver: Driver = field(default_factory=Driver)
    drivers: int = 0
    launches: int = 0  # the highest number given out
    paused: bool = False
    cancelled: bool = False
    replans: int = 0  # how often a new plan was asked for, or the end was moved
    waiting_input: list[str] = field(default_factory=list)  # days of a cycling campaign
    late_input: list[str] = field(default_factory=list)  # those of them whose input should be there by now
    why_waiting: str = ""  # of the first of them
    forecasts: list[tuple[float, float]] = field(default_factory=list)  # (when, seconds left as then foretold)
    finished: float = 0.0  # when the last driver found nothing left to do
    stacks: dict[str, str] = field(default_factory=dict)  # module as stated -> with version and digest

    def task(self, name: str) -> TaskCourse:
        """Return the course of a task, new where it was not heard of."""
        return self.tasks.setdefault(name, TaskCourse(name))

    def count(self, *states: str) -> int:
        """Return how many tasks are in one of the states."""
        return sum(t.state in states for t in self.tasks.values())


def fold(events: Iterable[Event], course: Course | None = None) -> Course:
    """Fold events, in order of writing, into a course; one given is carried on with.

    An event of a kind that is not known is passed over, so that an older
    reader can follow a newer driver.
    """
    course = course or Course()
    for event in events:
        step = _STEPS.get(str(event.get("event", "")))
        if step is not None:
            step(course, event)
    return course


def _driver_started(course: Course, event: Event) -> None:
    course.driver = Driver(int(event.get("pid", 0)), str(event.get("host", "")), float(event["time"]))
    course.drivers += 1
    course.finished = 0.0
    for task in course.tasks.values():
        # Whatever the driver before had under way is ended before this one begins.
        if task.state in (SUBMITTED, RUNNING, UNKNOWN):
            task.state, task.next = PENDING, "again"


def _interchange_started(course: Course, event: Event) -> None:
    course.driver.interchanges.append((int(event["pid"]), str(event["host"])))


def _driver_ended(course: Course, event: Event) -> None:
    course.driver.ended, course.driver.why = float(event["time"]), str(event.get("why", ""))
    if course.driver.why == "done":
        course.finished = float(event["time"])


def _planned(course: Course, event: Event) -> None:
    course.waiting_input, course.late_input, course.why_waiting = [], [], ""


def _waiting(course: Course, event: Event) -> None:
    course.waiting_input = [str(day) for day in event.get("days", [])]
    course.late_input = [str(day) for day in event.get("late", [])]
    course.why_waiting = str(event.get("why", ""))


def _submitted(course: Course, event: Event) -> None:
    course.launches = max(course.launches, int(event["launch"]))
    for name in event["tasks"]:
        task = course.task(name)
        task.state, task.launch, task.submitted = SUBMITTED, int(event["launch"]), float(event["time"])
        task.started, task.job, task.step, task.nodes, task.next = 0.0, "", "", "", ""


def _started(course: Course, event: Event) -> None:
    task = course.task(event["task"])
    task.state, task.started = RUNNING, float(event["time"])
    task.job, task.step = str(event.get("job", "")), str(event.get("step", ""))
    task.nodes = str(event.get("nodes", ""))


def _silent(course: Course, event: Event) -> None:
    task = course.task(event["task"])
    task.state, task.reason = UNKNOWN, str(event.get("why", ""))


def _heard(course: Course, event: Event) -> None:
    course.task(event["task"]).state = RUNNING


def _completed(course: Course, event: Event) -> None:
    task = course.task(event["task"])
    if task.state == COMPLETED and event.get("found"):
        return
    task.state, task.ended, task.next = COMPLETED, float(event["time"]), ""
    task.report = {k: v for k, v in event.items() if k not in ("time", "event", "task")}


def _attempt_ended(course: Course, event: Event) -> None:
    task = course.task(event["task"])
    task.state, task.ended = PENDING, float(event["time"])
    task.cause, task.reason = str(event.get("cause", "")), str(event.get("reason", ""))
    task.next, task.blocks_done = str(event.get("next", "")), int(event.get("blocks_done", 0))
    before, charged = task.attempts, bool(event.get("charged"))
    tried = task.cause not in NOT_TRIED
    task.attempts = Attempts(
        before.charged + charged,
        before.uncharged + (task.next == "again" and not charged and tried),
        before.waited + (task.next == "wait"),
    )


def _failed(course: Course, event: Event) -> None:
    task = course.task(event["task"])
    task.state, task.ended, task.next = FAILED, float(event["time"]), "never"
    task.cause, task.reason = str(event.get("cause", "")), str(event.get("reason", ""))


def _block(course: Course, event: Event) -> None:
    course.blocks[str(event["job"])] = {k: event[k] for k in ("state", "nodes", "reason", "time") if k in event}


def _excluded(course: Course, event: Event) -> None:
    course.excluded[str(event["node"])] = float(event["until"])


def _forecast(course: Course, event: Event) -> None:
    course.forecasts.append((float(event["time"]), float(event["left_s"])))


def _pause(course: Course, _: Event) -> None:
    course.paused = True


def _resume(course: Course, _: Event) -> None:
    course.paused = course.cancelled = False


def _cancel(course: Course, _: Event) -> None:
    course.cancelled = True


def _retry(course: Course, event: Event) -> None:
    wanted = event.get("tasks", "all")
    for task in course.tasks.values():
        if task.state == FAILED and (wanted == "all" or task.id in wanted):
            course.tasks[task.id] = TaskCourse(task.id)


def _stack(course: Course, event: Event) -> None:
    course.stacks[str(event["stated"])] = str(event["module"])


def _replan(course: Course, _: Event) -> None:
    course.replans += 1


_STEPS = {
    "driver started": _driver_started,
    "interchange started": _interchange_started,
    "driver ended": _driver_ended,
    "planned": _planned,
    "waiting for input": _waiting,
    "submitted": _submitted,
    "started": _started,
    "silent": _silent,
    "heard": _heard,
    "completed": _completed,
    "attempt ended": _attempt_ended,
    "failed": _failed,
    "block": _block,
    "node excluded": _excluded,
    "forecast": _forecast,
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "retry": _retry,
    "stack": _stack,
    "extend": _replan,
    "replan": _replan,
}
