"""What judges the launches that end: by the verified output first, then by what is known of the attempt."""

from __future__ import annotations

import time
from dataclasses import replace
from heapq import heappush
from pathlib import Path
from typing import Any

from pipshpc import slurm
from pipshpc.drive import course as states
from pipshpc.drive.desk import Desk
from pipshpc.drive.launches import Launch, files_of, tail
from pipshpc.drive.prepare import is_full, output_folder
from pipshpc.drive.verdict import Ending, Verdict, cancelled_from_outside, judge
from pipshpc.inventory.registrar import Registrar
from pipshpc.ledger import remove_parts
from pipshpc.notes import Beat, Failure, Report, read_note
from pipshpc.task import Task

STEP_S = 5.0  # that an answer about a step is waited for


class Endings:
    """Concludes launches: notes what is published, and what is to be tried again, later, or never."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        campaign = desk.prepared.campaign
        self.registrar = Registrar((desk.prepared.path, campaign.campaign, output_folder(campaign)))

    def close(self) -> None:
        """Register what could not be registered before; called when nothing is under way any more."""
        self._note(self.registrar.finish())

    def _note(self, trouble: str) -> None:
        if trouble:
            self.desk.write("not registered", reason=trouble)

    def conclude(self, launch: Launch) -> None:
        """Judge each task of a finished launch, by its verified output first."""
        left = [task for task in launch.tasks if not self.collect_done(launch, task)]
        if not left:
            return
        common, reached = self._ending(launch), False
        for task in left:
            files = files_of(self.desk.prepared.folder, task)
            note, beat = read_note(files["failed"], Failure), read_note(files["progress"], Beat)
            if beat is not None and not launch.heard:
                launch.meet(beat)  # it ended before anybody looked
            if note is None and (reached or (beat is None and launch.heard)):
                # The launch ended before it came to this task.
                self._put_back(task)
                continue
            reached = reached or note is None
            own: dict[str, Any] = {}
            if note:
                own = {"task_code": note.exit_code, "said": note.message, "ended_for": ""}
            full, heard = is_full(Path(task.output_dir)), launch.heard or beat is not None
            ending = replace(common, disk_full=full, heard=heard, **own)
            self.judge(launch, task, self._ask_of_step(launch, task, ending), beat.done if beat else 0)

    def _ending(self, launch: Launch) -> Ending:
        """Return what is known of the end of a launch, whatever its tasks say."""
        over = launch.future if launch.future and launch.future.done() else None
        error = over.exception() if over else None
        outcome = over.result() if over and not error else {}
        launch.job = launch.job or str(outcome.get("job", ""))
        return Ending(
            exit_code=outcome.get("exit_code"),
            error=f"{type(error).__name__}: {error}" if error else "",
            log=tail(launch.log),
            state=self.desk.job_state(launch),
            started=bool(outcome.get("started", True)),
            ended_for=launch.ended_for,
        )

    def _verdict(self, task: Task, ending: Ending) -> Verdict:
        return judge(ending, self.desk.course.task(task.id).attempts, self.desk.prepared.campaign.retry)

    def _ask_of_step(self, launch: Launch, task: Task, ending: Ending) -> Ending:
        """Where it looks as if a task failed by itself, ask Slurm once how its step ended, which knows more."""
        site = self.desk.prepared.site
        known = launch.job and launch.step and site.scheduler.kind == "slurm"
        if not known or ending.task_code is not None or self._verdict(task, ending).cause != "FAILED":
            return ending
        if launch.step_state is None:
            cluster = slurm.Cluster(name=site.scheduler.cluster, timeout_s=STEP_S)
            launch.step_state = slurm.step_state(cluster, launch.job, launch.step)
        cancelled = cancelled_from_outside(ending.log)
        if launch.step_state == "CANCELLED" and not cancelled:
            return ending
        if not launch.step_state and cancelled:
            return replace(ending, state="CANCELLED")  # accounts come seconds later; srun has said it already
        return replace(ending, state=launch.step_state or ending.state)

    def _put_back(self, task: Task) -> None:
        launch = self.desk.course.task(task.id).launch
        facts = {"cause": "NOT_REACHED", "reason": "its launch ended before", "next": "again", "charged": False}
        self.desk.write("attempt ended", task=task.id, launch=launch, blocks_done=0, **facts)
        self.desk.enqueue(task)

    def judge(self, launch: Launch, task: Task, ending: Ending, done: int) -> None:
        """Say what an attempt means for its task, and see to what follows; `done` counts the blocks that are kept."""
        verdict = self._verdict(task, ending)
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
            self.desk.give_up_followers(task)
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
        self.desk.release(task)
        self._note(self.registrar.register([task.path(product) for product in task.products]))
        return True
