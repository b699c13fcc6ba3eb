"""The driver of a campaign: hands launches to the engine, follows them, judges what fails, and may die at any time.

Truth about a task has three sources, in this order: its published files with
their items; what Slurm says of the job it runs in; its heartbeat. Where all
are silent the task is UNKNOWN, and nothing is concluded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop
from queue import Empty
from typing import Any

from pipshpc.drive import course as states
from pipshpc.drive.course import fold
from pipshpc.drive.desk import Desk, EngineLost, Status
from pipshpc.drive.dispatch import Dispatch
from pipshpc.drive.endings import Endings
from pipshpc.drive.estimate import estimate
from pipshpc.drive.hearing import Hearing
from pipshpc.drive.prepare import plan_lines, prepare, write_plan
from pipshpc.errors import PipshpcError, SiteError

LOOK_S = 0.5  # between two looks at heartbeats, verbs and blocks
FORECAST_S = 10.0


class Driver:
    """One run of the driver over a campaign.

    Parameters
    ----------
    desk : campaign, engine (started), journal
    watch : called about twice a second
    """

    def __init__(self, desk: Desk, watch: Callable[[Status], None]) -> None:
        self.desk, self.watch = desk, watch
        self.endings = Endings(self.desk)
        self.hearing = Hearing(self.desk, self.endings)
        self.dispatch = Dispatch(self.desk, self.endings)
        self.begin = time.monotonic()
        self.stop_asked = ""  # why the driver should end
        self.replans = desk.course.replans
        self.planned = plan_lines(desk.prepared)
        self._next_look = self._next_forecast = 0.0
        desk.choose_modes()
        for task in desk.prepared.pending:
            desk.enqueue(task)

    # ---- the loop

    def run(self) -> None:
        """Work until nothing is left that could be done, or somebody asked to end.

        Raises
        ------
        EngineLost
            Parsl's message server is gone; start another engine and go on.
        SiteError
            No block can be had.
        """
        while not self._is_over():
            self.dispatch.submit_all()
            self._wait()
            if time.monotonic() >= self._next_look:
                self._look()
                self._next_look = time.monotonic() + LOOK_S
        for block in self.desk.engine.tend(0):
            self.hearing.note_block(block)
        self.endings.close()
        self.desk.journal.write("forecast", left_s=0.0, done=self.desk.status.done, total=self.desk.status.total)

    def _is_over(self) -> bool:
        if self.stop_asked:
            return True
        if self.desk.course.cancelled:
            self.stop_asked = "cancelled"
            return True
        if self._is_left():
            return False
        self._hear_verbs()  # somebody may have asked for more since the last look
        if self.desk.course.cancelled or self._is_left():
            return self._is_over()
        self.stop_asked = "paused" if self.desk.queue or self.desk.held else "done"
        return True

    def _is_left(self) -> bool:
        """Whether anything is under way, or could be."""
        return bool(self.desk.running) or bool((self.desk.queue or self.desk.held) and not self.desk.course.paused)

    def _wait(self) -> None:
        """Wait for launches to end, for as long as there is nothing else to do."""
        timeout = max(0.0, min(LOOK_S, self._next_look - time.monotonic()))
        try:
            number = self.dispatch.ended.get(timeout=timeout)
        except Empty:
            return
        while True:
            if number in self.desk.running:
                self.endings.conclude(self.desk.running.pop(number))
            try:
                number = self.dispatch.ended.get_nowait()
            except Empty:
                return

    def _look(self) -> None:
        """Look at verbs, blocks, heartbeats, and tell the watcher."""
        desk = self.desk
        if not desk.engine.alive():
            raise EngineLost("the message server of Parsl is gone")
        self._hear_verbs()
        while desk.held and desk.held[0][0] <= time.monotonic():
            desk.enqueue(desk.tasks[heappop(desk.held)[1]])
        queued = (desk.tasks[name] for _, _, name in desk.queue[: 4 * desk.engine.cores])
        waiting = sum(desk.sizes.cores(task) for task in queued if desk.mode(task) == "pilot")
        under_way = sum(launch.cores for launch in desk.running.values() if launch.mode == "pilot")
        for block in desk.engine.tend(under_way + (0 if desk.course.paused else waiting)):
            self.hearing.note_block(block)
        if desk.engine.trouble and not any(launch.heard for launch in desk.running.values()):
            raise SiteError(desk.engine.trouble)
        for launch in list(desk.running.values()):
            self.hearing.listen(launch)
        self._tell()

    # ---- verbs, watchers

    def _hear_verbs(self) -> None:
        """Take in what others wrote into the journal."""
        news = [e for e in self.desk.journal.news() if e.get("by", "driver") != "driver"]
        if not news:
            return
        fold(news, self.desk.course)
        if self.desk.course.replans != self.replans:
            self._replan()
        for name, known in self.desk.course.tasks.items():
            if known.state == states.PENDING and name in self.desk.status.failed:
                del self.desk.status.failed[name]
                self.desk.enqueue(self.desk.tasks[name])

    def _replan(self) -> None:
        """Plan again from the campaign file, as somebody asked; what runs goes on."""
        self.replans = self.desk.course.replans
        try:
            prepared = replace(prepare(self.desk.prepared.path), stack=self.desk.prepared.stack)
        except PipshpcError as error:
            # The campaign as it was is still good; who asked learns of it from the journal.
            self.desk.write("not planned again", reason=str(error))
            return
        self.desk.prepared = prepared
        self.desk.sizes.prepared = prepared
        known = set(self.desk.tasks)
        self.desk.tasks |= {t.id: t for t in prepared.tasks}
        self.desk.status.total = len(self.desk.tasks)
        for task in prepared.pending:
            if task.id not in known:
                self.desk.enqueue(task)
        self.planned = write_plan(prepared, self.desk.write)
        self.desk.choose_modes()

    def _tell(self) -> None:
        """Tell the watcher, and now and then the journal, how far the campaign is."""
        status, now = self.desk.status, time.monotonic()
        names = {task.id for launch in self.desk.running.values() for task in launch.tasks}
        status.running = {name: share for name, share in status.running.items() if name in names}
        status.waiting = {name: self.desk.course.task(name).reason for _, name in self.desk.held}
        status.seconds = now - self.begin
        status.note = self._note()
        if now >= self._next_forecast and status.share > 0:
            self._next_forecast = now + FORECAST_S
            told = estimate(self.desk.course, self.planned, time.time(), status.running)
            if told is not None:
                self.desk.write("forecast", **told.facts(), done=status.done, total=status.total)
        self.watch(status)

    def _note(self) -> str:
        if self.desk.course.paused:
            return "paused"
        jobs = self.desk.engine.jobs
        if jobs is None or any(launch.heard for launch in self.desk.running.values()):
            return ""
        waiting = [b for b in jobs.live() if b.state.state != "RUNNING"]
        return f"waiting for a block ({waiting[0].state.state}: {waiting[0].state.reason})" if waiting else ""


def describe(host: str | None = None) -> dict[str, Any]:
    """Return who drives."""
    return {"pid": os.getpid(), "host": host or os.uname().nodename}


__all__ = ["Desk", "Driver", "EngineLost", "Status", "describe"]
