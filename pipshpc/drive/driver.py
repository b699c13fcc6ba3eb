"""The driver of a campaign: hands launches to the engine, follows them, judges what fails, and may die at any time.

Truth about a task has three sources, in this order: its published files with
their items; what Slurm says of the job it runs in; its heartbeat. Where all
are silent the task is UNKNOWN, and nothing is concluded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import msgspec

from pipshpc.drive import course as states
from pipshpc.drive.course import Course, fold
from pipshpc.drive.estimate import estimate
from pipshpc.drive.journal import Journal
from pipshpc.drive.launches import Launch, Sizes, command_of, files_of, tail
from pipshpc.drive.prepare import Prepared, is_done, is_full, plan_lines, prepare, waiting_facts
from pipshpc.drive.takeover import end_launch
from pipshpc.drive.verdict import Ending, judge
from pipshpc.errors import OutputError, PipshpcError, SiteError
from pipshpc.ledger import remove_parts
from pipshpc.notes import Beat, Failure, Report, read_note
from pipshpc.task import Task, write_task

SILENT_S = 30.0  # without a heartbeat for so long, a task is UNKNOWN
ABANDON_S = 20.0  # after Slurm says that its job is over, a launch is waited for so long
LOOK_S = 0.5  # between two looks at heartbeats, verbs and blocks
FORECAST_S = 10.0
LOOKAHEAD = 2  # launches that wait at the workers


def write_plan(prepared: Prepared, write: Callable[..., None]) -> list[dict[str, Any]]:
    """Write the plan for everybody to read, whole or not at all, and tell of it by `write`; return its lines.

    Raises
    ------
    OutputError
        The disk does not take it.
    """
    path = prepared.folder / "plan.jsonl"
    part = path.with_suffix(".part")
    lines = plan_lines(prepared)
    try:
        with part.open("wb") as handle:
            for line in lines:
                handle.write(msgspec.json.encode(line) + b"\n")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free some space") from error
    write("planned", tasks=len(prepared.tasks))
    if prepared.waiting:
        write("waiting for input", **waiting_facts(prepared))
    return lines


class EngineLike(Protocol):
    """What the driver needs of an engine."""

    blocks: Any

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


class Driver:
    """One run of the driver over a campaign.

    Parameters
    ----------
    prepared : the campaign
    engine : started
    journal : of the campaign; its events so far are in `course`
    course : the fold of the journal
    status : kept up to date for `watch`
    watch : called about twice a second
    finished : says whether a task is published
    """

    def __init__(
        self,
        prepared: Prepared,
        engine: EngineLike,
        journal: Journal,
        course: Course,
        status: Status,
        watch: Callable[[Status], None],
        finished: Callable[[Task], bool] = is_done,
    ) -> None:
        self.prepared, self.engine, self.journal, self.course = prepared, engine, journal, course
        self.status, self.watch, self.finished = status, watch, finished
        self.begin = time.monotonic()
        self.stop_asked = ""  # why the driver should end
        self.tasks = {t.id: t for t in prepared.tasks}
        self.sizes = Sizes(prepared)
        self.queue: list[tuple[int, int, str]] = []  # (-priority, order, task)
        self.held: list[tuple[float, str]] = []  # (not before, task): waits for another try
        self.running: dict[int, Launch] = {}
        self.ended: SimpleQueue[int] = SimpleQueue()
        self.order: dict[str, int] = {}
        self.replans = course.replans
        self.planned = plan_lines(prepared)
        self._next_look = self._next_forecast = 0.0
        self._told_once: set[str] = set()
        for task in prepared.pending:
            self._enqueue(task)

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
            self._submit_all()
            self._wait()
            if time.monotonic() >= self._next_look:
                self._look()
                self._next_look = time.monotonic() + LOOK_S
        self.journal.write("forecast", left_s=0.0, done=self.status.done, total=self.status.total)

    def _is_over(self) -> bool:
        if self.stop_asked:
            return True
        if self.course.cancelled:
            self.stop_asked = "cancelled"
            return True
        left = bool(self.running) or ((self.queue or self.held) and not self.course.paused)
        if not left:
            self.stop_asked = "paused" if self.queue or self.held else "done"
        return not left

    def _wait(self) -> None:
        """Wait for launches to end, for as long as there is nothing else to do."""
        timeout = max(0.0, min(LOOK_S, self._next_look - time.monotonic()))
        try:
            number = self.ended.get(timeout=timeout)
        except Empty:
            return
        while True:
            if number in self.running:
                self._conclude(self.running.pop(number))
            try:
                number = self.ended.get_nowait()
            except Empty:
                return

    def _look(self) -> None:
        """Look at verbs, blocks, heartbeats, and tell the watcher."""
        if not self.engine.alive():
            raise EngineLost("the message server of Parsl is gone")
        self._hear_verbs()
        while self.held and self.held[0][0] <= time.monotonic():
            self._enqueue(self.tasks[heappop(self.held)[1]])
        waiting = sum(self.sizes.cores(self.tasks[name]) for _, _, name in self.queue[: 4 * self.engine.cores])
        under_way = sum(launch.cores for launch in self.running.values())
        for block in self.engine.tend(under_way + (0 if self.course.paused else waiting)):
            self._note_block(block)
        if self.engine.trouble and not any(launch.heard for launch in self.running.values()):
            raise SiteError(self.engine.trouble)
        for launch in list(self.running.values()):
            self._listen(launch)
        self._tell()

    # ---- submission

    def _enqueue(self, task: Task) -> None:
        order = self.order.setdefault(task.id, len(self.order))
        heappush(self.queue, (-(self.prepared.chain(task).priority or 0), order, task.id))

    def _submit_all(self) -> None:
        """Hand out launches for as many cores as blocks can have, and a few more, so that none waits for work."""
        while self.queue and not self.course.paused:
            under_way = sum(launch.cores for launch in self.running.values())
            task = self.tasks[self.queue[0][2]]
            # A few wait at the workers, so that none of these waits for the driver.
            ahead = self.engine.cores + max(self.engine.cores // 4, LOOKAHEAD * self.sizes.cores(task))
            if self.running and under_way + self.sizes.cores(task) > ahead:
                return
            self._submit(self._take_launch())

    def _take_launch(self) -> Launch:
        """Take the tasks of one launch from the queue: as many of one chain and kind as go together."""
        first = self.tasks[heappop(self.queue)[2]]
        names = [first]
        most = self.sizes.tasks_per_launch(first, self.course, len(self.queue), self.engine.cores)
        while len(names) < most and self.queue:
            following = self.tasks[self.queue[0][2]]
            if not self.sizes.same(first, following, self.course):
                break
            names.append(self.tasks[heappop(self.queue)[2]])
        self.course.launches += 1
        return self.sizes.launch(self.course.launches, names, self.course)

    def _submit(self, launch: Launch) -> None:
        try:
            self._write_tasks(launch)
        except OSError as error:
            # A full disk, most of the time: it is waited for like one that a task met.
            for task in launch.tasks:
                self._judge(launch, task, Ending(OutputError.exit_code, log=f"error: {error}"), 0)
            return
        excluded = [node for node, until in self.course.excluded.items() if until > time.time()]
        self._write(
            "submitted",
            launch=launch.number,
            tasks=[t.id for t in launch.tasks],
            ranks=launch.ranks,
            threads=launch.threads,
            nodes=launch.nodes,
            memory_mib=launch.memory_mib,
        )
        if self.engine.blocks is not None:
            self.engine.blocks.excluded = excluded
        launch.log = self.prepared.folder / "launches" / f"{launch.number:06d}.log"
        command = command_of(self.prepared, launch)
        future = self.engine.submit(command, launch.log, launch.threads, launch.needs_s, launch.priority)
        launch.future = future
        self.running[launch.number] = launch
        future.add_done_callback(lambda _, number=launch.number: self.ended.put(number))  # type: ignore[misc]

    def _write_tasks(self, launch: Launch) -> None:
        """Write what a launch reads, and remove what its tasks left behind the last time."""
        for task in launch.tasks:
            files = files_of(self.prepared.folder, task)
            for name in ("progress", "report", "failed"):
                files[name].unlink(missing_ok=True)
            if not files["task"].exists():
                write_task(task, files["task"])

    # ---- the end of a launch

    def _conclude(self, launch: Launch) -> None:
        """Judge each task of a finished launch, by its verified output first."""
        left = [task for task in launch.tasks if not self._collect_done(launch, task)]
        if not left:
            return
        error = launch.future.exception() if launch.future and launch.future.done() else None
        outcome = launch.future.result() if launch.future and launch.future.done() and not error else {}
        log = tail(launch.log)
        word = self._job_state(launch)
        reached = False
        for task in left:
            note = read_note(files_of(self.prepared.folder, task)["failed"], Failure)
            beat = read_note(files_of(self.prepared.folder, task)["progress"], Beat)
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
                ended_for=launch.ended_for,
                heard=launch.heard or beat is not None,
                disk_full=is_full(Path(task.output_dir)),
            )
            self._judge(launch, task, ending, beat.done if beat else 0)

    def _put_back(self, task: Task) -> None:
        self._write("attempt ended", task=task.id, launch=self.course.task(task.id).launch, cause="NOT_REACHED",
                    reason="its launch ended before", next="again", charged=False, blocks_done=0)  # fmt: skip
        self._enqueue(task)

    def _judge(self, launch: Launch, task: Task, ending: Ending, done: int) -> None:
        verdict = judge(ending, self.course.task(task.id).attempts, self.prepared.campaign.retry)
        self._write(
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
            self.sizes.grow(task)
        if verdict.next == "never":
            self.status.failed[task.id] = verdict.reason
            remove_parts(task)
            self._write("failed", task=task.id, cause=verdict.cause, reason=verdict.reason, nodes=launch.nodes_used)
            return
        heappush(self.held, (time.monotonic() + verdict.wait_s, task.id))

    def _collect_done(self, launch: Launch, task: Task) -> bool:
        """Note what a finished task reports; the report may be missing where its job died after the files were out."""
        if self.course.task(task.id).state == states.COMPLETED:
            return True
        if not self.finished(task):
            return False
        before = self.course.task(task.id)
        self.status.done += 1
        facts: dict[str, Any] = {"wait_s": round(max(0.0, before.started - before.submitted), 3)}
        report = read_note(files_of(self.prepared.folder, task)["report"], Report)
        if report is not None:
            self.status.reports.append(report)
            facts |= self.sizes.learn(task, report, before)
        self._write("completed", task=task.id, launch=launch.number, **facts)
        return True

    # ---- signs of life

    def _listen(self, launch: Launch) -> None:
        """Read the heartbeats of a launch; one that is silent is looked for among the published files, and at Slurm."""
        newest = 0.0
        for task in launch.tasks:
            known = self.course.task(task.id)
            if known.state == states.COMPLETED:
                continue
            files = files_of(self.prepared.folder, task)
            beat = read_note(files["progress"], Beat)
            if beat is None and files["failed"].exists():
                continue
            if beat is None:
                break  # tasks of a launch are made one after another
            newest = max(newest, beat.time)
            self.status.running[task.id] = beat.done / max(beat.total, 1)
            if known.state == states.SUBMITTED:
                self._hear(launch, task, beat)
            # The report comes after the last word of the heartbeat; without it nothing is learned from the task.
            if beat.stage == "done" and files["report"].exists():
                self._collect_done(launch, task)
                self.status.running.pop(task.id, None)
            self._note_progress(launch, (task.id, beat.stage, beat.done))
        if newest:
            self._note_silence(launch, time.time() - newest)
        if launch.silent or self._job_over(launch):
            self._seek(launch)

    def _hear(self, launch: Launch, task: Task, beat: Beat) -> None:
        """Take note of the first heartbeat of a task."""
        launch.heard = True
        launch.job, launch.step, launch.nodes_used = beat.job, beat.step, beat.nodes or beat.host
        if self.engine.blocks is not None and launch.job in self.engine.blocks.blocks:
            self.engine.blocks.blocks[launch.job].used = True
        self._write(
            "started",
            task=task.id,
            launch=launch.number,
            job=launch.job,
            step=launch.step,
            nodes=launch.nodes_used,
        )

    def _note_progress(self, launch: Launch, progress: tuple[str, str, int]) -> None:
        """End a launch that lives but does not get on: a rank may be gone without the others knowing."""
        now, limit = time.monotonic(), self.prepared.campaign.retry.stalled_s
        if progress != launch.progress:
            launch.progress, launch.progress_since = progress, now
        elif now - launch.progress_since > limit and not launch.ended_for:
            launch.ended_for = f"it got on with no block for {limit:.0f} s, in stage '{progress[1]}'"
            end_launch(self.prepared.site, launch.log, launch.job, launch.step)

    def _note_silence(self, launch: Launch, seconds: float) -> None:
        if (seconds > SILENT_S) == launch.silent:
            return
        launch.silent = seconds > SILENT_S
        for task in launch.tasks:
            if self.course.task(task.id).state in (states.RUNNING, states.UNKNOWN):
                if launch.silent:
                    why = f"no heartbeat for {seconds:.0f} s, last on {launch.nodes_used or 'an unknown node'}"
                    self._write("silent", task=task.id, launch=launch.number, why=why)
                else:
                    self._write("heard", task=task.id, launch=launch.number)

    def _job_over(self, launch: Launch) -> bool:
        blocks = self.engine.blocks
        block = blocks.blocks.get(launch.job) if blocks is not None else None
        return bool(block and block.state.ended)

    def _job_state(self, launch: Launch) -> str:
        """Return Slurm's word for the job that a launch ran in, where it is over."""
        return str(self.engine.blocks.blocks[launch.job].state.state) if self._job_over(launch) else ""

    def _seek(self, launch: Launch) -> None:
        """End a silent launch whose files are published after all, or whose job Slurm says is over."""
        done = all(self._collect_done(launch, task) for task in launch.tasks)
        if self._job_over(launch):
            launch.job_over_since = launch.job_over_since or time.monotonic()
        gone = launch.job_over_since and time.monotonic() - launch.job_over_since > ABANDON_S
        if (done or gone) and launch.number in self.running:
            # Parsl may never hear of it; whatever it says later is not waited for.
            self._conclude(self.running.pop(launch.number))

    def _note_block(self, block: Any) -> None:
        """Write down what Slurm says of a block; leave a node that failed alone for a while."""
        state = block.state
        self._write("block", job=block.job, state=state.state, nodes=state.nodes, reason=state.reason)
        if state.state in ("NODE_FAIL", "BOOT_FAIL"):
            until = time.time() + self.prepared.campaign.retry.exclude_node_s
            for node in self.engine.blocks.bad_nodes(state.nodes):
                self._write("node excluded", node=node, until=until, reason=f"{state.state} of job {block.job}")

    # ---- verbs, watchers

    def _hear_verbs(self) -> None:
        """Take in what others wrote into the journal."""
        news = [e for e in self.journal.news() if e.get("by", "driver") != "driver"]
        if not news:
            return
        fold(news, self.course)
        if self.course.replans != self.replans:
            self._replan()
        for name, known in self.course.tasks.items():
            if known.state == states.PENDING and name in self.status.failed:
                del self.status.failed[name]
                self._enqueue(self.tasks[name])

    def _replan(self) -> None:
        """Plan again from the campaign file, as somebody asked; what runs goes on."""
        self.replans = self.course.replans
        try:
            prepared = prepare(self.prepared.path)
        except PipshpcError as error:
            # The campaign as it was is still good; who asked learns of it from the journal.
            self._write("not planned again", reason=str(error))
            return
        self.prepared = prepared
        self.sizes.prepared = prepared
        known = set(self.tasks)
        self.tasks |= {t.id: t for t in prepared.tasks}
        self.status.total = len(self.tasks)
        for task in prepared.pending:
            if task.id not in known:
                self._enqueue(task)
        self.planned = write_plan(prepared, self._write)

    def _tell(self) -> None:
        """Tell the watcher, and now and then the journal, how far the campaign is."""
        status, now = self.status, time.monotonic()
        names = {task.id for launch in self.running.values() for task in launch.tasks}
        status.running = {name: share for name, share in status.running.items() if name in names}
        status.waiting = {name: self.course.task(name).reason for _, name in self.held}
        status.seconds = now - self.begin
        status.note = self._note()
        if now >= self._next_forecast and status.share > 0:
            self._next_forecast = now + FORECAST_S
            told = estimate(self.course, self.planned, time.time(), status.running)
            if told is not None:
                self._write("forecast", **told.facts(), done=status.done, total=status.total)
        self.watch(status)

    def _note(self) -> str:
        if self.course.paused:
            return "paused"
        blocks = self.engine.blocks
        if blocks is None or any(launch.heard for launch in self.running.values()):
            return ""
        waiting = [b for b in blocks.live() if b.state.state != "RUNNING"]
        return f"waiting for a block ({waiting[0].state.state}: {waiting[0].state.reason})" if waiting else ""

    def _write(self, event: str, **facts: object) -> None:
        """Write an event and take it into the course."""
        self.journal.write(event, **facts)
        fold([{"time": time.time(), "event": event, **facts}], self.course)


def describe(host: str | None = None) -> dict[str, Any]:
    """Return who drives."""
    return {"pid": os.getpid(), "host": host or os.uname().nodename}
