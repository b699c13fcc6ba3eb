"""What hears signs of life: heartbeats of tasks, and what Slurm says of the jobs that they run in."""

from __future__ import annotations

import time
from typing import Any

from pipshpc.drive import course as states
from pipshpc.drive.desk import Desk
from pipshpc.drive.endings import Endings
from pipshpc.drive.launches import Launch, files_of
from pipshpc.drive.takeover import end_launch
from pipshpc.notes import Beat, read_note
from pipshpc.task import Task

SILENT_S = 30.0  # without a heartbeat for so long, a task is UNKNOWN
ABANDON_S = 20.0  # after Slurm says that its job is over, a launch is waited for so long


class Hearing:
    """Follows the launches that are under way; silence concludes nothing."""

    def __init__(self, desk: Desk, endings: Endings) -> None:
        self.desk, self.endings = desk, endings

    def listen(self, launch: Launch) -> None:
        """Read the heartbeats of a launch; one that is silent is looked for among the published files, and at Slurm."""
        newest, progress = 0.0, []
        for task in launch.tasks:
            known = self.desk.course.task(task.id)
            if known.state == states.COMPLETED:
                continue
            files = files_of(self.desk.prepared.folder, task)
            beat = read_note(files["progress"], Beat)
            if beat is None and files["failed"].exists():
                continue
            if beat is None:
                break  # tasks of a launch are made one after another
            newest = max(newest, beat.time)
            self.desk.status.running[task.id] = beat.done / max(beat.total, 1)
            if known.state == states.SUBMITTED:
                self._hear(launch, task, beat)
            # The report comes right after; without it nobody would learn from the task.
            if beat.stage == "done" and files["report"].exists():
                self.endings.collect_done(launch, task)
                self.desk.status.running.pop(task.id, None)
            progress.append((task.id, beat.stage, beat.done))
        if newest:
            # Of all its tasks at once: one that failed keeps its last heartbeat.
            self._note_progress(launch, tuple(progress))
            self._note_silence(launch, time.time() - newest)
        if launch.silent or self.desk.job_over(launch):
            self._seek(launch)

    def _hear(self, launch: Launch, task: Task, beat: Beat) -> None:
        """Take note of the first heartbeat of a task."""
        launch.meet(beat)
        job = self.desk.job(launch)
        if job is not None:
            job.used = True
        self.desk.write(
            "started",
            task=task.id,
            launch=launch.number,
            job=launch.job,
            step=launch.step,
            nodes=launch.nodes_used,
        )

    def _note_progress(self, launch: Launch, progress: tuple[tuple[str, str, int], ...]) -> None:
        """End a launch that lives but does not get on: a rank may be gone without the others knowing."""
        now, limit = time.monotonic(), self.desk.prepared.campaign.retry.stalled_s
        if progress != launch.progress:
            launch.progress, launch.progress_since = progress, now
        elif now - launch.progress_since > limit and not launch.ended_for:
            launch.ended_for = f"it got on with no block for {limit:.0f} s, in stage '{progress[-1][1]}'"
            end_launch(self.desk.prepared.site, launch.log, launch.job, launch.step)

    def _note_silence(self, launch: Launch, seconds: float) -> None:
        if (seconds > SILENT_S) == launch.silent:
            return
        launch.silent = seconds > SILENT_S
        for task in launch.tasks:
            if self.desk.course.task(task.id).state in (states.RUNNING, states.UNKNOWN):
                if launch.silent:
                    why = f"no heartbeat for {seconds:.0f} s, last on {launch.nodes_used or 'an unknown node'}"
                    self.desk.write("silent", task=task.id, launch=launch.number, why=why)
                else:
                    self.desk.write("heard", task=task.id, launch=launch.number)

    def _seek(self, launch: Launch) -> None:
        """End a silent launch whose files are published after all, or whose job Slurm says is over."""
        done = all(self.endings.collect_done(launch, task) for task in launch.tasks)
        if self.desk.job_over(launch):
            launch.job_over_since = launch.job_over_since or time.monotonic()
        gone = launch.job_over_since and time.monotonic() - launch.job_over_since > ABANDON_S
        if (done or gone) and launch.number in self.desk.running:
            # Parsl may never hear of it; whatever it says later is not waited for.
            self.endings.conclude(self.desk.running.pop(launch.number))

    def note_block(self, block: Any) -> None:
        """Write down what Slurm says of a block; leave a node that failed alone for a while."""
        state = block.state
        self.desk.write("block", job=block.job, state=state.state, nodes=state.nodes, reason=state.reason)
        if state.state in ("NODE_FAIL", "BOOT_FAIL"):
            until = time.time() + self.desk.prepared.campaign.retry.exclude_node_s
            for node in self.desk.engine.jobs.bad_nodes(state.nodes):
                self.desk.write("node excluded", node=node, until=until, reason=f"{state.state} of job {block.job}")
