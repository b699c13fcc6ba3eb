"""Run tasks on MPI ranks, one after another: where forcing, chain and store meet.

Started by the launcher as ``python -m pipshpc.run TASK.json [TASK.json ...]``;
every rank runs `run` for each task. A block is the unit of work; ranks of a
node take blocks from a shared counter, so nobody waits for a slow one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from pipshpc import catalogue, store
from pipshpc.errors import OutputError, PipshpcError, SiteError, Stopped
from pipshpc.exchange import together
from pipshpc.inputs import Inputs
from pipshpc.ledger import remove_parts
from pipshpc.notes import Failure, Heartbeat, Report, note_path, slurm_names, write_note
from pipshpc.record import record
from pipshpc.task import BATCH_MIB, Task, read_task
from pipshpc.timed import check_before
from pipshpc.work import Clock, Hold, Manner, Stop, Usage, Work

ENDS_LAUNCH = (SiteError, OutputError, Stopped)  # what the next task of the launch would meet as well


def run(task: Task, comm: Any = None, manner: Manner | None = None, stop: Stop | None = None) -> Report:
    """Make all products of a task.

    Parameters
    ----------
    task : what to do
    comm : mpi4py communicator; COMM_WORLD where not given
    manner : threads, names, memory; the result does not depend on it
    stop : set by a signal; the task then stops at the next block border

    Raises
    ------
    PipshpcError
        On every rank alike, before any file exists, where the input cannot be
        opened or is not what was planned with.
    Stopped
        On every rank, where `stop` was set on one; what is done is kept.
    """
    from mpi4py import MPI

    comm, manner, stop = comm or MPI.COMM_WORLD, manner or Manner(), stop or Stop()
    # The first task of a launch bears the cost of starting.
    before = Usage() if manner.launched else Usage.now()
    begin, clock = time.perf_counter(), Clock()
    started = manner.launched or time.time()
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    with Heartbeat(task.id, manner.attempt, manner.progress if comm.rank == 0 else None) as beat:
        with clock.stage("open"):
            together(comm, lambda: check_before(task))
            inputs = together(comm, lambda: Inputs(task, node, check=comm.rank == 0))
        try:
            with clock.stage("open"):
                inputs.share()
                together(comm, inputs.fill)
            work, digests = _make(task, comm, node, inputs, clock, manner, stop, beat)
            missing = sorted({t for part in comm.allgather(inputs.missing) for t in part})
        except PipshpcError as error:
            if error.collective:
                inputs.free()
            raise
        inputs.free()
        node.Free()
        facts = _account(comm, work, clock, before, started)
        report = Report(
            task=task.id,
            files={path: digest for part in comm.allgather(digests) for path, digest in part.items()},
            seconds=time.perf_counter() - begin,
            fields=len(task.windows) * len(task.products),
            pixels=len(task.windows) * len(task.products) * task.count[0] * task.count[1],
            missing_states=missing,
            threads=manner.threads,
            attempt=manner.attempt,
            stack=os.environ.get("PIPSHPC_STACK", ""),
            **facts,
        )
        together(comm, lambda: _register(task, report, digests))
        if comm.rank == 0:
            remove_parts(task)  # only now: an attempt that died before would have left its blocks
        beat.stage = "done"
    return report


def _account(comm: Any, work: Work, clock: Clock, before: Usage, started: float) -> dict[str, Any]:
    """Return what all ranks together have spent (collective)."""
    from mpi4py import MPI

    spent = Usage.now()
    first_block = min(comm.allreduce(work.first_block, MPI.MIN), time.time())
    return {
        "blocks": work.blocks_total,
        "blocks_kept": work.blocks_kept,
        "ranks": comm.size,
        "peak_mib": comm.allgather(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)),
        "stages": comm.allgather({k: round(v, 4) for k, v in clock.seconds.items()}),
        "cpu_s": round(comm.allreduce(spent.cpu_s - before.cpu_s), 3),
        "read_bytes": comm.allreduce(spent.read_bytes - before.read_bytes),
        "written_bytes": comm.allreduce(spent.written_bytes - before.written_bytes),
        "startup_s": round(max(0.0, first_block - started), 3),
        **slurm_names(),
    }


def _make(
    task: Task, comm: Any, node: Any, inputs: Inputs, clock: Clock, manner: Manner, stop: Stop, beat: Heartbeat
) -> tuple[Work, dict[str, str]]:
    """Make the files of a task; return what was done, and the content digests of the files of this rank."""
    # Spread over the ranks, so that the writers of several products are on several nodes.
    writers = [k * comm.size // len(task.products) for k in range(len(task.products))]
    files: dict[int, store.ProductFile] = {}
    work: Work | None = None
    try:
        with clock.stage("create"):
            together(comm, lambda: _create(task, writers, comm.rank, manner.attempt, files))
        work = together(comm, lambda: Work(task, comm, node, inputs, clock, manner, stop))
        work.execute(writers, files, beat)
        beat.stage = "publish"
        if manner.hold is not None and manner.hold.wanted("publish", task.id):
            manner.hold.sleep("publish", task.id, comm, stop)
        with clock.stage("publish"):
            digests = together(comm, lambda: {str(file.path): file.finish() for file in files.values()})
            together(comm, lambda: _reveal(files))
    except PipshpcError as error:
        for file in files.values():
            # Before any block is made there is nothing to keep.
            file.suspend() if isinstance(error, OutputError | Stopped) and file.sizes else file.abandon()
        if error.collective and work is not None:
            work.free()
        raise
    except BaseException:
        for file in files.values():
            file.abandon()
        raise
    work.free()
    return work, digests


def _reveal(files: dict[int, store.ProductFile]) -> None:
    for file in files.values():
        file.reveal()


def _register(task: Task, report: Report, digests: dict[str, str]) -> None:
    """Write the catalogue items of the files of this rank: the last act, which makes them count as done."""
    facts = {
        "ranks": report.ranks,
        "threads": report.threads,
        "seconds": round(report.seconds, 3),
        "peak_mib": max(report.peak_mib),
        "host": os.uname().nodename,
        **({"nodes": report.nodes} if report.nodes else {}),
        **{key.lower(): os.environ[key] for key in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT") if key in os.environ},
    }
    for path, digest in digests.items():
        catalogue.publish(path, facts, digest, record(task))


def _create(task: Task, writers: list[int], rank: int, attempt: str, files: dict[int, store.ProductFile]) -> None:
    for k, product in enumerate(task.products):
        if writers[k] == rank:
            files[k] = store.ProductFile(task.path(product), task, product, attempt)


class Launch:
    """Several tasks one after another on the same ranks.

    Parameters
    ----------
    comm : communicator of all ranks
    manner : for each task, apart from where its heartbeat goes
    notes : leave heartbeat, report and failure beside each task file
    stop : set by a signal
    """

    def __init__(self, comm: Any, manner: Manner, notes: bool, stop: Stop) -> None:
        self.comm, self.manner, self.notes, self.stop = comm, manner, notes, stop

    def run_all(self, paths: list[Path]) -> int:
        """Run the tasks; return the exit code: the worst of them, or what ended the launch early.

        Raises
        ------
        PipshpcError
            Which only this rank met: the others wait for it, and only an
            abort ends them.
        """
        from mpi4py import MPI

        codes = [0]
        for path in paths:
            if self.comm.allreduce(self.stop.told, MPI.LOR):
                if self.comm.rank == 0:
                    _say(f"stopped before {path.name}; the next attempt makes it")
                return Stopped.exit_code
            try:
                self._run_one(path)
            except PipshpcError as error:
                if self.comm.rank == 0 or not error.collective:
                    _say(str(error))
                    self.note_failure(path, error.exit_code, str(error))
                if not error.collective:
                    raise
                if isinstance(error, ENDS_LAUNCH):
                    return error.exit_code
                codes.append(error.exit_code)
            except BaseException as error:
                self.note_failure(path, 70, f"rank {self.comm.rank}: {type(error).__name__}: {error}")
                raise
        return max(codes)

    def _run_one(self, path: Path) -> None:
        """Make one task, unless it is complete already."""
        task = together(self.comm, lambda: read_task(path))
        first = self.comm.rank == 0
        if self.comm.bcast(first and all(catalogue.is_complete(task.path(p), task.id) for p in task.products), 0):
            if first:
                remove_parts(task)
            return
        manner = self.manner
        if self.notes:
            manner = dataclasses.replace(manner, progress=note_path(path, "progress"))
            if first:
                for kind in ("report", "failed"):
                    note_path(path, kind).unlink(missing_ok=True)
        self.manner = dataclasses.replace(self.manner, launched=0.0)
        report = run(task, self.comm, manner, self.stop)
        if self.notes:
            together(self.comm, lambda: self._note_report(path, report))

    def _note_report(self, path: Path, report: Report) -> None:
        try:
            if self.comm.rank == 0:
                write_note(note_path(path, "report"), report)
        except OSError as error:
            raise OutputError(f"{note_path(path, 'report')}: cannot be written ({error}); is the disk full?") from error

    def note_failure(self, path: Path, code: int, message: str) -> None:
        """Leave a note of why a task failed, where notes are wanted and the disk takes it."""
        if self.notes:
            note = Failure(exit_code=code, message=message, attempt=self.manner.attempt, time=time.time())
            with contextlib.suppress(OSError):
                write_note(note_path(path, "failed"), note)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run tasks one after another; start it with mpiexec or srun.")
    parser.add_argument("tasks", type=Path, nargs="+", metavar="TASK.json")
    parser.add_argument("--threads", type=int, default=1, help="of each rank")
    parser.add_argument("--attempt", default=f"{os.uname().nodename}.{os.getppid()}", help="name of this attempt")
    parser.add_argument("--notes", action="store_true", help="leave .progress, .report, .failed beside each task file")
    parser.add_argument("--batch-mib", type=float, default=BATCH_MIB, help="forcing in the memory of a node at a time")
    parser.add_argument(
        "--hold",
        default=os.environ.get("PIPSHPC_HOLD", ""),
        metavar="STAGE:SECONDS|@FOLDER",
        help="for fault tests: sleep in read, compute, write or publish of each task's first batch; "
        "a folder says it anew for each task",
    )
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"error: {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Run task files on all ranks of MPI_COMM_WORLD."""
    options = _options()
    launched = float(os.environ.get("PIPSHPC_LAUNCHED", 0)) or time.time()

    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    try:
        hold = together(comm, lambda: Hold.parse(options.hold) if options.hold else None)
        attempt = comm.bcast(options.attempt, root=0)
        manner = Manner(options.threads, attempt, None, options.batch_mib, hold, launched)
        stop = Stop()
        stop.listen()
        sys.exit(Launch(comm, manner, options.notes, stop).run_all(options.tasks))
    except PipshpcError as error:
        if error.collective:  # before the first task; those of tasks are told where they are met
            if comm.rank == 0:
                _say(str(error))
            sys.exit(error.exit_code)
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(error.exit_code)  # the other ranks wait for this one
        sys.exit(error.exit_code)
    except Exception:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(70)


if __name__ == "__main__":
    main()
