"""Run one task on MPI ranks: where forcing, chain and store meet.

Started by the launcher as ``python -m pipshpc.run TASK.json``; every rank
runs `run`. A block is the unit of work; ranks of a node take blocks from a
shared counter, so nobody waits for a slow one.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from pipshpc import catalogue, store
from pipshpc.chain import compile_chain, place_block, run_block
from pipshpc.domain import Blocks, cut
from pipshpc.errors import OutputError, PipshpcError, Stopped
from pipshpc.exchange import Chunks, Counter, Funnel, Slots, together
from pipshpc.inputs import Batch, Inputs, make_batches
from pipshpc.ledger import Kept
from pipshpc.product import Card
from pipshpc.schema import Record, convert
from pipshpc.task import Task, read_task


class Report(Record, frozen=True):
    """What came out of a task; the same on all ranks."""

    task: str
    files: dict[str, str]  # path -> content digest
    seconds: float
    fields: int
    pixels: int
    blocks: int
    blocks_kept: int  # taken over from an earlier attempt
    missing_states: list[str]  # times of the forcing that could not be read
    ranks: int
    threads: int
    peak_mib: list[float]
    stages: list[dict[str, float]]  # per rank: seconds by stage


class Stop:
    """Whether this rank was told to stop."""

    def __init__(self) -> None:
        self.told = False

    def listen(self) -> None:
        """Take SIGTERM (preemption, requeue, scancel) and SIGUSR1 (time is nearly up) as the word to stop."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._hear)

    def _hear(self, *_: object) -> None:
        self.told = True


class Clock:
    """Seconds that this rank spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the time of the block to `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begin


def run(
    task: Task,
    comm: Any = None,
    threads: int = 1,
    attempt: str = "local",
    progress: Path | None = None,
    stop: Stop | None = None,
) -> Report:
    """Make all products of a task.

    Parameters
    ----------
    task : what to do
    comm : mpi4py communicator; COMM_WORLD where not given
    threads : worker threads per rank; the result does not depend on it
    attempt : part of the temporary file names
    progress : file that the first rank rewrites with blocks done and total
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

    begin = time.perf_counter()
    comm = MPI.COMM_WORLD if comm is None else comm
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    clock = Clock()
    # Spread over the ranks, so that the writers of several products are on several nodes.
    writers = [k * comm.size // len(task.products) for k in range(len(task.products))]
    files: dict[int, store.ProductFile] = {}
    with clock.stage("open"):
        inputs = together(comm, lambda: Inputs(task, node, check=comm.rank == 0))
    try:
        with clock.stage("create"):
            together(comm, lambda: _create(task, writers, comm.rank, attempt, files))
        work = _Work(task, comm, node, inputs, clock, threads, progress, stop or Stop())
        work.execute(writers, files)
        with clock.stage("publish"):
            digests = together(comm, lambda: {str(file.path): file.publish() for file in files.values()})
    except PipshpcError as error:
        for file in files.values():
            # Before any block is made there is nothing to keep.
            file.suspend() if isinstance(error, OutputError | Stopped) and file.sizes else file.abandon()
        raise
    except BaseException:
        for file in files.values():
            file.abandon()
        raise
    inputs.free()
    report = Report(
        task=task.id,
        files={path: digest for part in comm.allgather(digests) for path, digest in part.items()},
        seconds=time.perf_counter() - begin,
        fields=len(task.windows) * len(task.products),
        pixels=len(task.windows) * len(task.products) * task.count[0] * task.count[1],
        blocks=work.blocks_total,
        blocks_kept=work.blocks_kept,
        missing_states=sorted({t for part in comm.allgather(inputs.missing) for t in part}),
        ranks=comm.size,
        threads=threads,
        peak_mib=comm.allgather(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)),
        stages=comm.allgather({k: round(v, 4) for k, v in clock.seconds.items()}),
    )
    together(comm, lambda: _register(report, digests))
    return report


def _register(report: Report, digests: dict[str, str]) -> None:
    """Write the catalogue items of the files of this rank: the last act, which makes them count as done."""
    facts = {
        "ranks": report.ranks,
        "threads": report.threads,
        "seconds": round(report.seconds, 3),
        "peak_mib": max(report.peak_mib),
        "host": os.uname().nodename,
        **{key.lower(): os.environ[key] for key in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT") if key in os.environ},
    }
    for path, digest in digests.items():
        catalogue.publish(path, facts, digest)


def _create(task: Task, writers: list[int], rank: int, attempt: str, files: dict[int, store.ProductFile]) -> None:
    for k, product in enumerate(task.products):
        if writers[k] == rank:
            files[k] = store.ProductFile(task.path(product), task, product, attempt)


class _Work:
    """The blocks of one task on one rank."""

    def __init__(
        self,
        task: Task,
        comm: Any,
        node: Any,
        inputs: Inputs,
        clock: Clock,
        threads: int,
        progress: Path | None,
        stop: Stop,
    ) -> None:
        self.task, self.comm, self.node, self.inputs, self.clock = task, comm, node, inputs, clock
        self.threads, self.progress, self.last_beat = threads, progress, 0.0
        self.window = task.window
        self.blocks = Blocks(self.window.shape, task.chunk)
        self.cards = {name: convert(card, Card, f"task {task.id}: card '{name}'") for name, card in task.cards.items()}
        self.chain = compile_chain(task.recipe, self.cards, inputs.static_grid)
        self.packings = [self.cards[p].packing for p in self.chain.outputs]
        self.local = threading.local()
        self.stop = stop
        self.blocks_total = self.blocks_done = self.blocks_kept = 0

    def execute(self, writers: list[int], files: dict[int, store.ProductFile]) -> None:
        """Make all blocks of all batches and hand them to the writers.

        Raises
        ------
        Stopped
            On all ranks, where one of them was told to stop; the blocks that are done are in the files.
        """
        curve = self.blocks.order()
        batches = make_batches(self.task, self.inputs.state_bytes(self.chain))
        self.inputs.reserve(self.chain, batches)
        self.blocks_total = len(curve) * len(batches)
        kept = self._go_on(curve, batches, files)
        order: list[tuple[int, int]] = []
        windows: list[int] = []

        def write(product: int, item: int, chunks: Chunks) -> None:
            with self.clock.stage("write"):
                files[product].write(order[item], windows, chunks)

        # The noise that is stored as it is keeps a block below its raw size; anything larger goes by message.
        most = max(len(batch.windows) for batch in batches) * int(np.prod(self.task.chunk)) * 3
        slots = Slots(self.comm, self.node, most)
        funnel = Funnel(self.comm, writers, write, slots)
        counter = Counter(self.node)
        for batch, there in zip(batches, kept, strict=True):
            order[:] = [block for block in map(tuple, curve.tolist()) if block not in there]
            windows[:] = batch.windows
            self.blocks_done += len(there)
            if not order:
                continue
            with self.clock.stage("read"):
                together(self.comm, lambda batch=batch: self.inputs.load(self.chain, batch))  # type: ignore[misc]
            made = 0
            for item, products in self._results(order, counter, batch):
                made += 1
                for product, chunks in enumerate(products):
                    funnel.put(product, item, chunks)
                funnel.progress()
                self._beat(self.blocks_done + funnel.written.get(0, 0))
            with self.clock.stage("wait"):
                stopped = funnel.finish(made, self.stop.told)
                counter.reset()  # nobody takes any more; all meet before the next batch is read
            if stopped:
                error = Stopped(f"task {self.task.id} stopped at a block border; the next attempt goes on from there")
                error.collective = True
                raise error
            self.blocks_done += len(order)
        self._beat(self.blocks_total, force=True)

    def _go_on(
        self, curve: npt.NDArray[np.int64], batches: list[Batch], files: dict[int, store.ProductFile]
    ) -> list[set[tuple[int, int]]]:
        """Copy what an earlier attempt left into the new files; return the finished blocks of each batch.

        A block counts only where it is there for all products.
        """
        left = {k: Kept(file.path, self.task.id) for k, file in files.items()}
        mine = {k: [kept.blocks(batch.windows) for batch in batches] for k, kept in left.items()}
        everybody = [found for part in self.comm.allgather(mine) for found in part.values()]
        done = [set.intersection(*(found[b] for found in everybody)) for b in range(len(batches))]
        for k, kept in left.items():
            for batch, there in zip(batches, done, strict=True):
                for block in (b for b in map(tuple, curve.tolist()) if b in there):
                    files[k].write(block, batch.windows, [kept.take_chunk(w, block) for w in batch.windows])
            kept.close()
        self.blocks_kept = sum(map(len, done))
        return done

    def _results(
        self, order: list[tuple[int, int]], counter: Counter, batch: Batch
    ) -> Iterator[tuple[int, list[Chunks]]]:
        """Yield finished blocks as this rank makes them, on one or several threads."""
        addresses = self.inputs.addresses(self.chain, batch)
        share = self._share_of_node(len(order))

        def make(item: int) -> tuple[int, list[Chunks]]:
            return item, self._block(*order[item], batch, addresses)

        def items() -> Iterator[int]:
            while not self.stop.told and (k := counter.take()) < len(share):
                yield share[k]
            if self.stop.told:
                counter.take(1 << 40)  # the others of this node need not wait for their own signal

        if self.threads == 1:
            yield from map(make, items())
            return
        with ThreadPoolExecutor(self.threads) as pool:
            pending: list[Future[tuple[int, list[Chunks]]]] = []
            for item in items():
                pending.append(pool.submit(make, item))
                if len(pending) > self.threads:
                    yield pending.pop(0).result()
            for future in pending:
                yield future.result()

    def _block(self, row: int, column: int, batch: Batch, addresses: npt.NDArray[np.uint64]) -> list[Chunks]:
        """Compute and encode one block: per product, per window, its values and counts."""
        with self.clock.stage("compute"):
            block, chunk, windows = self.blocks.block(row, column), self.task.chunk, len(batch.windows)
            values, counts = self._buffers(windows, full=block.count == tuple(chunk))
            lat = self.window.lat(block.start[0], block.count[0])
            lon = self.window.lon(block.start[1], block.count[1])
            places = [
                place_block(grid, stride, lat, lon)
                for grid, stride in zip(self.inputs.grids, self.inputs.strides(), strict=True)
            ]
            run_block(self.chain, lat, lon, chunk[1], places, addresses, batch.bounds, batch.sun, values, counts)
        with self.clock.stage("encode"):
            return [
                [store.make_chunk(v[w], c[w], block.count, store.FILL[p.dtype]) for w in range(windows)]
                for v, c, p in zip(values, counts, self.packings, strict=True)
            ]

    def _buffers(self, windows: int, full: bool) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[np.uint8]]]:
        """Return this thread's arrays for one block; refilled only where the block does not cover them."""
        kept = getattr(self.local, "buffers", None)
        if kept is None or kept[0][0].shape[0] != windows:
            shape = (windows, *self.task.chunk)
            kept = [np.empty(shape, p.dtype) for p in self.packings], [np.empty(shape, np.uint8) for _ in self.packings]
            self.local.buffers = kept
        if not full:
            for value, count, packing in zip(*kept, self.packings, strict=True):
                value[...] = store.FILL[packing.dtype]
                count[...] = 0
        return kept

    def _share_of_node(self, blocks: int) -> range:
        """Return the run of the curve that this rank's node works on, in proportion to its ranks."""
        leader = self.node.bcast(self.comm.rank, root=0)
        leaders = sorted(self.comm.allgather(leader))
        first = leaders.index(leader)
        bounds = cut(np.ones(blocks), self.comm.size)
        return range(int(bounds[first]), int(bounds[first + self.node.size]))

    def _beat(self, done: int, force: bool = False) -> None:
        """Tell the watcher how far the task is, as the writer of the first product knows it."""
        now = time.time()
        if self.progress is None or self.comm.rank or (now - self.last_beat < 0.25 and not force):
            return
        self.last_beat = now
        part = self.progress.with_suffix(".part")
        part.write_text(json.dumps({"task": self.task.id, "done": done, "total": self.blocks_total, "time": now}))
        part.replace(self.progress)


def main() -> None:
    """Run a task file on all ranks of MPI_COMM_WORLD and leave a report beside it."""
    parser = argparse.ArgumentParser(description="Run one task; start it with mpiexec or srun.")
    parser.add_argument("task", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attempt", default=f"{os.uname().nodename}.{os.getppid()}")
    parser.add_argument("--progress", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()

    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    try:
        task = together(comm, lambda: read_task(options.task))
        attempt = comm.bcast(options.attempt, root=0)
        stop = Stop()
        stop.listen()
        report = run(task, comm, options.threads, attempt, options.progress, stop)
        if comm.rank == 0 and options.report:
            part = options.report.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(report))
            part.replace(options.report)
    except PipshpcError as error:
        if comm.rank == 0 or not error.collective:
            print(f"error: {error}", file=sys.stderr, flush=True)
        if not error.collective and comm.size > 1:
            comm.Abort(error.exit_code)  # the other ranks wait for this one
        sys.exit(error.exit_code)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(70)


if __name__ == "__main__":
    main()
