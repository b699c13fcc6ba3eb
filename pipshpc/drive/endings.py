"""What judges the launches that end: by the verified output first, then by what is known of the attempt."""

from __future__ import annotations

import time
from heapq import heappush
from pathlib import Path
from typing import Any

from pipshpc.drive import course as states
from pipshpc.drive.desk import Desk
from pipshpc.drive.launches import Launch, files_of, tail
from pipshpc.drive.prepare import is_full
from pipshpc.drive.verdict import Ending, judge
from pipshpc.ledger import remove_parts
from pipshpc.notes import Beat, Failure, Report, read_note
from pipshpc.task import Task


class Endings:
    """Concludes launches: notes what is published, and what is to be tried again, later, or never."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def conclude(self, launch: Launch) -> None:
        """Judge each task of a finished launch, by its verified output first."""
        left = [task for task in launch.tasks if not self.collect_done(launch, task)]
        if not left:
            return
        error = launch.future.exception() if launch.future and launch.future.done() else None
        outcome = launch.future.result() if launch.future and launch.future.done() and not error else {}
        launch.job = launch.job or str(outcome.get("job", ""))
        log = tail(launch.log)
        word = self.desk.job_state(launch)
        reached = False
        for task in left:
            note = read_note(files_of(self.desk.prepared.folder, task)["failed"], Failure)
            beat = read_note(files_of(self.desk.prepared.folder, task)["progress"], Beat)
            if note is None and (reached or (beat is None and launch.heard)):
                # The launch ended before it came to this task.
                self._put_back(task)
                continue
            reached = reached or note is None
            ending = Ending(
                exit_code=outcome.get("exit_code"),
                error=f"{type(error).__name__}: {error}" if error else "",
                log=log,
                task_code=note.exit_code if note else None,
                said=note.message if note else "",
                state=word,
                started=bool(outcome.get("started", True)),
                ended_for=launch.ended_for if note is None else "",
                heard=launch.heard or beat is not None,
                disk_full=is_full(Path(task.output_dir)),
            )
            self.judge(launch, task, ending, beat.done if beat else 0)

    def _put_back(self, task: Task) -> None:
        launch = self.desk.course.task(task.id).launch
        facts = {"cause": "NOT_REACHED", "reason": "its launch ended before", "next": "again", "charged": False}
        self.desk.write("attempt ended", task=task.id, launch=launch, blocks_done=0, **facts)
        self.desk.enqueue(task)

    def judge(self, launch: Launch, task: Task, ending: Ending, done: int) -> None:
        """Say what an attempt means for its task, and see to what follows; `done` counts the blocks that are kept."""
        verdict = judge(ending, self.desk.course.task(task.id).attempts, self.desk.prepared.campaign.retry)
        self.desk.write(
            "attempt ended",
            task=task.id,
            launch=launch.number,
            exit_code=ending.exit_code if ending.task_code is None else ending.task_code,
            cause=verdict.cause,
            reason=verdict.reason,
            next=verdict.next,
            charged=verdict.charged,
            blocks_done=done,
            nodes=launch.nodes_used,
        )
        if verdict.cause == "OUT_OF_MEMORY":
            self.desk.sizes.grow(task)
        if verdict.next == "never":
            self.desk.status.failed[task.id] = verdict.reason
            remove_parts(task)
            self.desk.write("failed", task=task.id, cause=verdict.cause, reason=verdict.reason, nodes=launch.nodes_used)
            return
        heappush(self.desk.held, (time.monotonic() + verdict.wait_s, task.id))

    def collect_done(self, launch: Launch, task: Task) -> bool:
        """Note what a finished task reports; the report may be missing where its job died after the files were out."""
        if self.desk.course.task(task.id).state == states.COMPLETED:
            return True
        if not self.desk.finished(task):
            return False
        before = self.desk.course.task(task.id)
        self.desk.status.done += 1
        facts: dict[str, Any] = {"wait_s": round(max(0.0, before.started - before.submitted), 3)}
        report = read_note(files_of(self.desk.prepared.folder, task)["report"], Report)
        if report is not None:
            self.desk.status.reports.append(report)
            facts |= self.desk.sizes.learn(task, report, before)
        self.desk.write("completed", task=task.id, launch=launch.number, **facts)
        return True
