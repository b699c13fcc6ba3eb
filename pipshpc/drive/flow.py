"""The Parsl program: one driver, one engine, until nothing is left; whoever comes next goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from pipshpc.drive.course import COMPLETED, FAILED, RUNNING, SUBMITTED, UNKNOWN
from pipshpc.drive.diary import Diary
from pipshpc.drive.driver import Desk, Driver, EngineLost, Status, describe
from pipshpc.drive.engine import Engine, Shape, need_engine_programs
from pipshpc.drive.journal import Journal
from pipshpc.drive.launches import files_of
from pipshpc.drive.prepare import Prepared, check_space, output_folder, prepare, write_plan
from pipshpc.drive.software import pinned_stack, stated_stack
from pipshpc.drive.takeover import block_key, driver_lock, remove_leftovers, take_over
from pipshpc.errors import PipshpcError, SiteError
from pipshpc.notes import Beat, read_note
from pipshpc.storage import stripe
from pipshpc.task import Task

UNDER_WAY = (SUBMITTED, RUNNING, UNKNOWN)
# What a signal says: Slurm sends the second, as the driver's job asks it to, before the time of the job is up.
STOPS = {signal.SIGTERM: "told to stop", signal.SIGUSR1: "time is up"}
ENGINE_STARTS = 5  # times that a lost message server is replaced


def run_campaign(prepared: Prepared, watch: Callable[[Status], None] | None = None, again: bool = True) -> Status:
    """Run all pending tasks through Parsl and return the final status.

    Parameters
    ----------
    prepared : from `prepare`
    watch : called a few times a second with the current status
    again : also try what an earlier driver gave up; a driver that a clock
        starts leaves that to the verb `retry`

    Raises
    ------
    PipshpcError
        Before anything starts, where space or locking do not allow it, and
        where no block can be had. A task that fails does not raise: it is in
        ``Status.failed``.
    """
    status = Status(total=len(prepared.tasks), done=len(prepared.tasks) - len(prepared.pending))
    if not prepared.pending and not prepared.folder.exists():
        return status
    check_space(prepared)
    need_engine_programs()
    with driver_lock(prepared.folder):
        for name in ("tasks", "launches", "parsl"):
            (prepared.folder / name).mkdir(parents=True, exist_ok=True)
        diary = Diary(Journal(prepared.folder / "journal.jsonl"))
        driven = _Campaign(prepared, diary, status, watch or (lambda _: None))
        driven.begin(again)
        driven.drive()
        driven.end()
    return status


class _Campaign:
    """A driver's life: take over, drive, tidy up."""

    def __init__(self, prepared: Prepared, diary: Diary, status: Status, watch: Callable[[Status], None]) -> None:
        self.prepared, self.diary, self.status, self.watch = prepared, diary, status, watch
        self.course, self.write = diary.course, diary.write
        self.key = block_key(prepared.campaign.campaign, prepared.folder)
        self.why = "done"

    def begin(self, again: bool) -> None:
        """End what the driver before left, and bring the journal up to what the files say."""
        prepared, course = self.prepared, self.course
        if course.drivers:
            ended = take_over(prepared.folder, prepared.site, self.key, course, self.write)
            self._note_lost()
            if ended:
                self.write("taken over", ended=ended)
        site = {"site": prepared.site.name, "cluster": prepared.site.scheduler.cluster}
        sizes = {"tasks": len(prepared.tasks), "pending": len(prepared.pending)}
        self.write("driver started", campaign=str(prepared.path), **describe(), **site, **sizes)
        self._pin_stack()
        pending = {t.id for t in prepared.pending}
        for task in prepared.tasks:
            if task.id not in pending and course.task(task.id).state != COMPLETED:
                self.write("completed", task=task.id, found=True)
        if again and course.count("FAILED"):
            self.write("retry", tasks="all", by="driver")
        if again and (course.paused or course.cancelled):
            self.write("resume", by="driver")
        remove_leftovers(prepared.pending)

    def _pin_stack(self) -> None:
        """Stay with the software that an earlier driver ran with, whatever became the default since."""
        campaign, site = self.prepared.campaign, self.prepared.site
        stated = stated_stack(campaign, site)
        stack = pinned_stack(stated, site, self.course.stacks)
        if stack and stated not in self.course.stacks:
            self.write("stack", stated=stated, module=stack)
        self.prepared = replace(self.prepared, stack=stack)

    def _note_lost(self) -> None:
        """Write down how far the tasks were that the driver before had under way."""
        by_name = {t.id: t for t in self.prepared.pending}
        for name, known in list(self.course.tasks.items()):
            if known.state not in UNDER_WAY or name not in by_name:
                continue
            beat = read_note(files_of(self.prepared.folder, by_name[name])["progress"], Beat)
            facts = {"cause": "DRIVER_LOST", "reason": "its driver was lost", "next": "again", "charged": False}
            done = beat.done if beat else 0
            self.write("attempt ended", task=name, launch=known.launch, blocks_done=done, **facts)

    def drive(self) -> None:
        """Drive to the end; a message server that dies is replaced."""
        prepared, course = self.prepared, self.course
        write_plan(prepared, self.write)
        striped = stripe(prepared.site.storage, output_folder(prepared.campaign))
        if striped:
            self.write("striped", what=striped)
        given_up = {name: t.reason for name, t in course.tasks.items() if t.state == FAILED and name in self.names}
        self.status.failed |= given_up
        keep = [t for t in prepared.pending if t.id not in given_up]
        prepared.pending[:] = keep
        if not keep:
            return
        for start in range(ENGINE_STARTS):
            engine = self.engine()
            driver: Driver | None = None
            try:
                with _told_to_stop() as told:
                    engine.start()
                    self.write("interchange started", pid=engine.interchange, host=describe()["host"])
                    driver = Driver(Desk(prepared, engine, self.diary, self.status), self.watch)
                    told.append(lambda why, driver=driver: setattr(driver, "stop_asked", why))  # type: ignore[misc]
                    driver.run()
                    self.why = driver.stop_asked
                    return
            except EngineLost as error:
                self.write("engine lost", reason=str(error))
                if start + 1 == ENGINE_STARTS:
                    raise SiteError(f"{error}, {ENGINE_STARTS} times; look at {prepared.folder / 'parsl'}") from error
                self._begin_again(driver)
            except PipshpcError as error:
                self.write("driver ended", done=self.status.done, failed=len(self.status.failed), why=str(error))
                raise
            finally:
                engine.stop()

    @property
    def names(self) -> set[str]:
        """Ids of the tasks that are to be made."""
        return {t.id for t in self.prepared.pending}

    def _begin_again(self, driver: Driver | None) -> None:
        """End what runs without a message server, and take up what is left."""
        take_over(self.prepared.folder, self.prepared.site, self.key, self.course, self.write)
        done = {name for name, t in self.course.tasks.items() if t.state in (COMPLETED, FAILED)}
        self.prepared.pending[:] = [t for t in self.prepared.pending if t.id not in done]
        self.write("driver started", **describe(), pending=len(self.prepared.pending))

    def engine(self) -> Engine:
        """Return an engine for this campaign, not started yet."""
        prepared = self.prepared
        cores = [r.ranks * r.threads for r in map(prepared.resources, _one_per_chain(prepared))]
        shape = Shape(least_cores=min(cores, default=1), most_cores=max(cores, default=1))
        return Engine(prepared.site, prepared.folder, self.key, shape, prepared.stack)

    def end(self) -> None:
        """Tidy up and say why the driver ends."""
        done = [t for t in self.prepared.tasks if self.course.task(t.id).state == COMPLETED]
        remove_leftovers([], done)
        self.write("driver ended", done=self.status.done, failed=len(self.status.failed), why=self.why)


def _one_per_chain(prepared: Prepared) -> list[Task]:
    seen: dict[int, Task] = {}
    for task in prepared.pending:
        seen.setdefault(prepared.chain_of.get(task.id, 0), task)
    return list(seen.values())


@contextmanager
def _told_to_stop() -> Iterator[list[Callable[[str], None]]]:
    """Call what is in the list with the reason when the driver is told to stop: by a person, or by its own walltime."""
    listeners: list[Callable[[str], None]] = []

    def hear(number: int, *_: object) -> None:
        for listener in listeners:
            listener(STOPS[signal.Signals(number)])

    with suppress(ValueError):  # not in the main thread: nobody can signal
        before = {number: signal.signal(number, hear) for number in STOPS}
    try:
        yield listeners
    finally:
        with suppress(ValueError, UnboundLocalError):
            for number, handler in before.items():
                signal.signal(number, handler)


__all__ = ["PipshpcError", "Prepared", "Status", "check_space", "prepare", "run_campaign"]
