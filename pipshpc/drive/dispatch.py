"""What hands out launches: takes tasks that go together from the queue, and gives them to the engine."""

from __future__ import annotations

import time
from concurrent.futures import Future
from heapq import heappop
from queue import SimpleQueue
from typing import Any

from pipshpc.drive.desk import Desk
from pipshpc.drive.endings import Endings
from pipshpc.drive.launches import Launch, command_of, files_of
from pipshpc.drive.single import Ask
from pipshpc.drive.verdict import Ending
from pipshpc.errors import OutputError
from pipshpc.task import write_task

LOOKAHEAD = 2  # launches that wait at the workers


class Dispatch:
    """Hands out launches; the number of each that ends is put into `ended`."""

    def __init__(self, desk: Desk, endings: Endings) -> None:
        self.desk, self.endings = desk, endings
        self.ended: SimpleQueue[int] = SimpleQueue()

    def submit_all(self) -> None:
        """Hand out launches for as many cores as blocks can have, and a few more, so that none waits for work."""
        while self.desk.queue and not self.desk.course.paused:
            under_way = sum(launch.cores for launch in self.desk.running.values())
            task = self.desk.tasks[self.desk.queue[0][2]]
            # A few wait at the workers, so that none of these waits for the driver.
            ahead = self.desk.engine.cores + max(self.desk.engine.cores // 4, LOOKAHEAD * self.desk.sizes.cores(task))
            if self.desk.running and under_way + self.desk.sizes.cores(task) > ahead:
                return
            self._submit(self._take_launch())

    def _take_launch(self) -> Launch:
        """Take the tasks of one launch from the queue: as many of one chain and kind as go together."""
        first = self.desk.tasks[heappop(self.desk.queue)[2]]
        names = [first]
        most = self.desk.sizes.tasks_per_launch(first, self.desk.course, len(self.desk.queue), self.desk.engine.cores)
        while len(names) < most and self.desk.queue:
            following = self.desk.tasks[self.desk.queue[0][2]]
            if not self.desk.sizes.same(first, following, self.desk.course):
                break
            names.append(self.desk.tasks[heappop(self.desk.queue)[2]])
        self.desk.course.launches += 1
        launch = self.desk.sizes.launch(self.desk.course.launches, names, self.desk.course)
        launch.mode = self.desk.mode(first)
        return launch

    def _submit(self, launch: Launch) -> None:
        try:
            self._write_tasks(launch)
        except OSError as error:
            # A full disk, most of the time: it is waited for like one that a task met.
            for task in launch.tasks:
                self.endings.judge(launch, task, Ending(OutputError.exit_code, log=f"error: {error}"), 0)
            return
        excluded = [node for node, until in self.desk.course.excluded.items() if until > time.time()]
        self.desk.write(
            "submitted",
            launch=launch.number,
            tasks=[t.id for t in launch.tasks],
            ranks=launch.ranks,
            threads=launch.threads,
            nodes=launch.nodes,
            memory_mib=launch.memory_mib,
            mode=launch.mode,
        )
        if self.desk.engine.jobs is not None:
            self.desk.engine.jobs.excluded = excluded
        launch.log = self.desk.prepared.folder / "launches" / f"{launch.number:06d}.log"
        future = launch.future = self._start(launch)
        self.desk.running[launch.number] = launch
        future.add_done_callback(lambda _, number=launch.number: self.ended.put(number))  # type: ignore[misc]

    def _start(self, launch: Launch) -> Future[dict[str, Any]]:
        command = command_of(self.desk.prepared, launch)
        if launch.mode == "pilot":
            return self.desk.engine.submit(command, launch.log, launch.threads, launch.needs_s, launch.priority)
        sizes = {"ranks": launch.ranks, "threads": launch.threads, "nodes": launch.nodes}
        ask = Ask(launch.number, command, launch.log, memory_mib=launch.memory_mib, **sizes)
        return self.desk.engine.submit_job(ask)

    def _write_tasks(self, launch: Launch) -> None:
        """Write what a launch reads, and remove what its tasks left behind the last time."""
        for task in launch.tasks:
            files = files_of(self.desk.prepared.folder, task)
            for name in ("progress", "report", "failed"):
                files[name].unlink(missing_ok=True)
            if not files["task"].exists():
                write_task(task, files["task"])
