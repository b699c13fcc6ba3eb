"""What anybody can know of a campaign from its state folder: journal, plan, heartbeats, lock. Opens no input."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pipshpc.drive.course import (
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    STATES,
    SUBMITTED,
    UNKNOWN,
    Course,
    TaskCourse,
    fold,
)
from pipshpc.drive.journal import Journal
from pipshpc.drive.takeover import driver_alive
from pipshpc.errors import SpecError

FRESH_S = 15.0  # a heartbeat comes every 2 s; an older one is told with its age
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a campaign is: its state folder, and its file as the user wrote it, where that is known."""

    folder: Path
    file: Path | None = None

    @property
    def copy(self) -> Path:
        """What the driver runs."""
        return self.folder / "campaign.yaml"

    @property
    def journal(self) -> Journal:
        """The campaign's journal."""
        return Journal(self.folder / "journal.jsonl")

    def need_begun(self) -> Place:
        """Return itself, or raise `SpecError` where nothing was ever submitted or run here."""
        if not (self.folder / "journal.jsonl").is_file() and not self.copy.is_file():
            raise SpecError(
                f"{self.folder}: no campaign was started here; start it with 'pipshpc submit', or, where it was "
                "started in another folder, go there or give its state folder"
            )
        return self


def find_campaign(word: str | Path, here: Path | None = None) -> Place:
    """Find a campaign by its file, its state folder, or its name.

    Parameters
    ----------
    word : path of a campaign file or of a state folder; or the name of a campaign whose output lies in this
        folder, or in one or two folders below
    here : folder to look from; the present one if None

    Raises
    ------
    SpecError
        Where there is no such campaign, or several; with what there is.
    """
    here = here or Path.cwd()
    path = here / word
    if path.is_dir():
        return _folder_place(path)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        if path.parent.parent.name == ".pipshpc":
            return _folder_place(path.parent)
        from pipshpc.campaign import load_campaign

        campaign = load_campaign(path)
        return Place(here / campaign.output / ".pipshpc" / campaign.campaign, path.resolve())
    known = [p for depth in ("", "*/", "*/*/") for p in here.glob(f"{depth}.pipshpc/*/") if _holds_campaign(p)]
    found = sorted({p.resolve() for p in known if p.name == str(word)})
    if len(found) == 1:
        return _folder_place(found[0])
    if found:
        raise SpecError(f"'{word}' is the name of {len(found)} campaigns; give one folder of {_list(found)}")
    names = sorted({p.name for p in known})
    raise SpecError(
        f"'{word}': no such file, folder or campaign; "
        + (f"known here: {', '.join(names)}" if names else "give the path of a campaign file")
    )


def _list(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def _holds_campaign(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("journal.jsonl", "campaign.yaml", "plan.jsonl"))


def _folder_place(folder: Path) -> Place:
    if not _holds_campaign(folder):
        inner = [p for p in sorted((folder / ".pipshpc").glob("*/")) if _holds_campaign(p)]
        if len(inner) != 1:
            raise SpecError(
                f"{folder}: is not the state folder of a campaign; "
                + (f"give one of {_list(inner)}" if inner else "it is <output>/.pipshpc/<campaign>")
            )
        folder = inner[0]
    file = _origin(folder)
    return Place(folder.resolve(), file if file and file.is_file() else None)


def _origin(folder: Path) -> Path | None:
    """Return the user's campaign file: as it was submitted, else as the last driver had it."""
    try:
        return Path(json.loads((folder / "origin.json").read_text())["file"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    started = [e for e in read_lines(folder / "journal.jsonl") if e.get("event") == "driver started"]
    named = next((str(e["campaign"]) for e in reversed(started) if e.get("campaign")), "")
    return Path(named) if named and Path(named) != folder.resolve() / "campaign.yaml" else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines, fast where it is whole; lines that a crash cut are passed over."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        found = msgspec.json.Decoder(dict[str, Any]).decode_lines(text)
        return list(found)
    except msgspec.DecodeError:
        return [dict(event) for event in Journal(path).read()]


@dataclass
class Overview:
    """A campaign at one moment."""

    name: str
    folder: Path
    now: float
    course: Course
    planned: list[dict[str, Any]]  # lines of plan.jsonl, in order of time
    beats: dict[str, dict[str, Any]] = field(default_factory=dict)  # task -> its last heartbeat
    alive: bool = False  # whether a driver holds the lock
    events: list[dict[str, Any]] = field(default_factory=list)
    news: Journal | None = None  # where `refresh` reads on
    _unheard: dict[str, TaskCourse] = field(default_factory=dict)

    @property
    def tasks(self) -> list[TaskCourse]:
        """The course of each planned task; those never heard of are PENDING."""
        known = self.course.tasks
        for line in self.planned:
            if line["task"] not in self._unheard and line["task"] not in known:
                self._unheard[line["task"]] = TaskCourse(line["task"])
        return [known.get(p["task"]) or self._unheard[p["task"]] for p in self.planned]

    @property
    def heard(self) -> list[TaskCourse]:
        """The course of those planned tasks that the journal names."""
        known = self.course.tasks
        return [known[p["task"]] for p in self.planned if p["task"] in known]

    @property
    def counts(self) -> dict[str, int]:
        """How many planned tasks are in each state."""
        known = self.course.tasks
        found = Counter(known[p["task"]].state if p["task"] in known else PENDING for p in self.planned)
        return {state: found[state] for state in STATES}

    @property
    def running(self) -> dict[str, float]:
        """{task under way: share of it that is done}."""
        return {task: share_done(beat) for task, beat in self.beats.items()}

    @property
    def left(self) -> int:
        """Tasks that are neither completed nor failed for good."""
        counts = self.counts
        return len(self.planned) - counts[COMPLETED] - counts[FAILED]


def plan_is_old(view: Overview) -> bool:
    """Say whether a new plan was asked for that no driver has made yet."""
    for event in reversed(view.events):
        if event.get("event") in ("extend", "replan"):
            return True
        if event.get("event") == "planned":
            return False
    return False


def share_done(beat: Record) -> float:
    """Return the share of its blocks that a running task has done, 0..1."""
    try:
        return min(1.0, max(0.0, float(beat["done"]) / max(float(beat["total"]), 1.0)))
    except (KeyError, TypeError, ValueError):
        return 0.0


def read_overview(folder: Path, now: float | None = None, journal: Journal | None = None) -> Overview:
    """Read what the state folder of a campaign says now.

    Parameters
    ----------
    folder : state folder
    now : unix time; the clock's if None
    journal : where `refresh` shall read on later; not needed to look once
    """
    with _no_collection():
        events = [dict(e) for e in journal.news()] if journal else read_lines(folder / "journal.jsonl")
        course = fold_patiently(events)
        planned = _plan(folder, course)
    view = Overview(folder.name, folder, time.time() if now is None else now, course, planned)
    view.events, view.news = events, journal
    _look(view)
    return view


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from searching hundreds of thousands of new records for cycles, which is most of the time else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()  # what was read stays as long as this process
            gc.enable()


def refresh(view: Overview) -> Overview:
    """Return the campaign as it is now, reading only what came since."""
    if view.news is None:
        return read_overview(view.folder, journal=Journal(view.folder / "journal.jsonl"))
    events = [dict(e) for e in view.news.news()]
    for event in events:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            fold([event], view.course)
    if any(e.get("event") in ("planned", "driver started") for e in events):
        view.planned = _plan(view.folder, view.course)
    view.events += events
    view.now, view.beats = time.time(), {}
    _look(view)
    return view


def _plan(folder: Path, course: Course) -> list[dict[str, Any]]:
    """Return the plan; of a driver that wrote none, what is heard of is what there is."""
    return read_lines(folder / "plan.jsonl") or [{"task": name} for name in course.tasks]


def _look(view: Overview) -> None:
    """Look for the driver and for the heartbeats of what is under way."""
    view.alive = driver_alive(view.folder)
    wanted = {p["task"] for p in view.planned}
    for task in view.course.tasks.values():
        if task.state in (SUBMITTED, RUNNING, UNKNOWN) and task.id in wanted and (beat := read_beat(view.folder, task)):
            view.beats[task.id] = beat


def fold_patiently(events: list[dict[str, Any]]) -> Course:
    """Fold a journal; an event that lacks what it should say (another version's, or damaged) is passed over."""
    try:
        return fold(events)
    except (KeyError, TypeError, ValueError):
        course = Course()
    for event in events:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            fold([event], course)
    return course


def read_beat(folder: Path, task: TaskCourse) -> dict[str, Any] | None:
    """Return the heartbeat of the present attempt of a task; an older one, of an attempt before, does not count."""
    try:
        beat = msgspec.json.decode((folder / "tasks" / f"{task.id}.progress").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    if not isinstance(beat, dict) or float(beat.get("time", 0.0)) < task.submitted:
        return None
    return beat


def tell_driver(view: Overview) -> str:
    """Say in words whether a driver is at work, where, or how the last one ended."""
    driver = view.course.driver
    where = f"process {driver.pid} on {driver.host or 'a host that it did not name'}" if driver.pid else ""
    if view.alive:
        return f"at work ({where})" if where else "starting"
    if job := _queued_job(view.events):
        return f"job {job}, which has not begun; 'squeue --jobs={job} --start' tells when and why"
    if not view.course.drivers:
        return "never started"
    if driver.ended:
        return f"ended {ago(view.now - driver.ended)} ({driver.why or 'no reason given'})"
    if driver.host and driver.host != socket.gethostname():
        return f"not heard of: {where} holds no lock that can be seen from here"
    return f"gone without a word ({where}); 'pipshpc submit' starts the next, which goes on from there"


def _queued_job(events: list[dict[str, Any]]) -> str:
    """Return the job of a driver that was submitted after the last one began; empty where there is none."""
    for event in reversed(events):
        if event.get("event") == "driver started":
            return ""
        if event.get("event") == "driver wanted":
            return str(event["number"]) if event.get("how") == "job" else ""
    return ""


def ago(seconds: float) -> str:
    """Return a time span in the past in words."""
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """Return a length of time with two units at most, as in ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


__all__ = ["COMPLETED", "FAILED", "PENDING", "RUNNING", "SUBMITTED", "UNKNOWN", "Overview", "Place", "TaskCourse"]
