"""The blocks of one task on one rank: read a batch, compute, hand to the writers; stop at a block border."""

from __future__ import annotations

import resource
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pipshpc import store
from pipshpc.chain import compile_chain, run_block
from pipshpc.domain import Blocks, cut
from pipshpc.errors import SpecError, Stopped
from pipshpc.exchange import Chunks, Counter, Funnel, Slots, together
from pipshpc.firstpass import FirstPass
from pipshpc.inputs import Batch, Inputs, make_batches
from pipshpc.ledger import Kept
from pipshpc.notes import Heartbeat
from pipshpc.passes import find_passes
from pipshpc.product import Card
from pipshpc.schema import convert
from pipshpc.task import BATCH_MIB, Task
from pipshpc.timed import Timed

WAKE = 3000  # tag: a rank of a task that is held was told to stop
HeldStage = Literal["read", "compute", "write", "publish"]


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


@dataclass(frozen=True)
class Usage:
    """What this process has used since it began."""

    cpu_s: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0

    @classmethod
    def now(cls) -> Usage:
        """Read the counters of the system; bytes are 0 where it keeps none."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        counts: dict[str, int] = {}
        with suppress(OSError, ValueError):
            lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
            counts = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        return cls(spent.ru_utime + spent.ru_stime, counts.get("read_bytes", 0), counts.get("write_bytes", 0))


@dataclass(frozen=True)
class Hold:
    """A sleep of all ranks in one stage of the first batch: a tool of fault tests and trials.

    With it a test strikes exactly there, and the heartbeat says when. In
    "read" nothing is read, in "compute" each rank has computed a block that
    no writer has, in "write" each rank's first block is in the ledger and the
    others are not made, in "publish" all blocks are there and no file has its
    name. SIGTERM and SIGUSR1 end it, and the task then stops as it always does.

    With a folder instead of a stage, a file in it named after the task, else
    one named ``all``, holds the name of the stage; the sleep ends when it
    says something else.
    """

    stage: HeldStage | None
    seconds: float = 3600.0
    folder: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Hold:
        """Read ``STAGE:SECONDS`` or ``@FOLDER``, or raise `SpecError`."""
        if text.startswith("@"):
            return cls(None, folder=Path(text[1:]))
        stage, _, seconds = text.partition(":")
        with suppress(ValueError):
            if stage in get_args(HeldStage) and float(seconds) >= 0:
                return cls(stage, float(seconds))  # type: ignore[arg-type]
        stages = "|".join(get_args(HeldStage))
        raise SpecError(f"--hold: found '{text}', wanted {stages} and seconds, such as compute:20")

    def wanted(self, stage: HeldStage, task: str) -> bool:
        """Whether a task is to sleep in a stage now."""
        if self.folder is None:
            return self.stage == stage
        for name in (task, "all"):
            with suppress(OSError):
                return (self.folder / name).read_text().strip() == stage
        return False

    def sleep(
        self, stage: HeldStage, task: str, comm: Any, stop: Stop, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Sleep until the time is up, nobody wants it any more, or a rank of the task is told to stop."""
        from mpi4py import MPI

        end = time.monotonic() + self.seconds
        while time.monotonic() < end and not stop.told and self.wanted(stage, task):
            meanwhile()
            if comm.Iprobe(MPI.ANY_SOURCE, WAKE):
                stop.told = True
                return
            time.sleep(0.01)
        if stop.told:
            for other in range(comm.size):
                if other != comm.rank:
                    comm.Isend([b"", MPI.BYTE], other, WAKE).Wait()


@dataclass(frozen=True)
class Manner:
    """How a task is run; nothing here affects its result.

    Parameters
    ----------
    threads : worker threads of each rank
    attempt : part of the names of unfinished files
    progress : file that the first rank rewrites with its heartbeat
    batch_mib : forcing that is in the memory of a node at a time; one window is always taken
    hold : where to sleep, for fault tests
    launched : unix time at which the launcher was started, for the first task of a launch; else 0
    """

    threads: int = 1
    attempt: str = "local"
    progress: Path | None = None
    batch_mib: float = BATCH_MIB
    hold: Hold | None = None
    launched: float = 0.0


class Work:
    """The blocks of one task on one rank."""

    def __init__(
        self, task: Task, comm: Any, node: Any, inputs: Inputs, clock: Clock, manner: Manner, stop: Stop
    ) -> None:
        self.task, self.comm, self.node, self.inputs, self.clock = task, comm, node, inputs, clock
        self.manner, self.stop, self.hold = manner, stop, manner.hold
        self.window = task.window
        self.blocks = Blocks(self.window.shape, task.chunk)
        self.cards = {name: convert(card, Card, f"task {task.id}: card '{name}'") for name, card in task.cards.items()}
        self.first: FirstPass | None = None
        self.timed = Timed(task, self.cards, inputs) if task.steps else None
        if self.timed is not None:
            self.chain = self.timed.chain
        else:
            self.chain = compile_chain(task.recipe, self.cards, inputs.chain_grids)
            passes = find_passes(task.recipe, self.cards, inputs.chain_grids)
            self.first = FirstPass(passes, inputs, self.window, self.blocks, manner.threads) if passes else None
        self.packings = [self.cards[p].packing for p in task.products]
        self.local = threading.local()
        self.blocks_total = self.blocks_kept = 0
        self.first_block = float("inf")  # unix time at which this rank had its first block
        self._shared: list[Counter | Slots] = []

    def execute(self, writers: list[int], files: dict[int, store.ProductFile], beat: Heartbeat) -> None:
        """Make all blocks of all batches and hand them to the writers.

        Raises
        ------
        Stopped
            On all ranks, where one of them was told to stop; the blocks that are done are in the files.
        """
        curve = self.blocks.order()
        batches = make_batches(self.task, self.inputs.state_bytes(self.chain), self.manner.batch_mib)
        self.inputs.reserve(self.chain, batches, self.timed.still if self.timed else None)
        beat.total = self.blocks_total = len(curve) * len(batches)
        kept = self._go_on(curve, batches, files)
        beat.kept = beat.done = self.blocks_kept
        order: list[tuple[int, int]] = []
        windows: list[int] = []

        def write(product: int, item: int, chunks: Chunks) -> None:
            with self.clock.stage("write"):
                files[product].write(order[item], windows, chunks)

        # The noise that is stored as it is keeps a block below its raw size; anything larger goes by message.
        most = max(len(batch.windows) for batch in batches) * int(np.prod(self.task.chunk)) * 3
        slots, counter = Slots(self.comm, self.node, most), Counter(self.node)
        self._shared = [slots, counter]
        funnel = Funnel(self.comm, writers, write, slots)
        for batch, there in zip(batches, kept, strict=True):
            order[:] = [block for block in map(tuple, curve.tolist()) if block not in there]
            windows[:] = batch.windows
            if not order and self.first is None:
                continue
            before = beat.done
            beat.stage = "read"
            self._sleep("read", beat)
            with self.clock.stage("read"):
                together(self.comm, lambda batch=batch: self.inputs.load(self.chain, batch))  # type: ignore[misc]
            beat.stage = "compute"
            if self.first is not None:
                self._count(batch, curve)
                if not order:
                    continue
            made = self._make(order, counter, batch, funnel, beat)
            beat.stage = "write"
            with self.clock.stage("wait"):
                stopped = funnel.finish(made, self.stop.told)
                counter.reset()  # nobody takes any more; all meet before the next batch is read
            if stopped:
                error = Stopped(f"task {self.task.id} stopped at a block border; the next attempt goes on from there")
                error.collective = True
                raise error
            beat.done = before + len(order)
            self.hold = None

        if self.first is not None:
            numbers = {step.name for step in self.task.recipe.steps if step.kind == "reduced"}
            takers = {s.source for s in self.task.recipe.steps if numbers & set(s.inputs.values())}
            for file in files.values():
                if file.card.id in takers:
                    file.tell(self.first.told)

    def _count(self, batch: Batch, curve: npt.NDArray[np.int64]) -> None:
        """Run the first pass over all blocks of a batch."""
        assert self.first is not None
        share = self._share_of_node(len(curve))[self.node.rank :: self.node.size]
        mine = [(int(row), int(column)) for row, column in curve[share.start : share.stop : share.step]]
        with self.clock.stage("count"):
            self.first.run(self.comm, batch, mine)

    def free(self) -> None:
        """Give shared memory back (collective over the node)."""
        for part in self._shared:
            part.free() if isinstance(part, Counter) else part.release()
        self._shared = []

    def _make(
        self, order: list[tuple[int, int]], counter: Counter, batch: Batch, funnel: Funnel, beat: Heartbeat
    ) -> int:
        """Compute this rank's share of a batch and hand it in; return how many blocks that were."""
        made, before = 0, beat.done

        def pass_on() -> None:
            funnel.progress()
            beat.done = before + funnel.safe

        for item, products in self._results(order, counter, batch):
            made += 1
            self.first_block = min(self.first_block, time.time())
            if made == 1:
                self._sleep("compute", beat)
            for product, chunks in enumerate(products):
                funnel.put(product, item, chunks)
            pass_on()
            if made == 1:
                self._sleep("write", beat, pass_on)
        return made

    def _sleep(self, stage: HeldStage, beat: Heartbeat, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Sleep here once, where a fault test asked for it."""
        if self.hold is not None and self.hold.wanted(stage, self.task.id):
            back = beat.stage
            beat.stage = stage
            self.hold.sleep(stage, self.task.id, self.comm, self.stop, meanwhile)
            beat.stage = back
            if self.hold.folder is None:
                self.hold = None

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

        if self.manner.threads == 1:
            yield from map(make, items())
            return
        with ThreadPoolExecutor(self.manner.threads) as pool:
            pending: list[Future[tuple[int, list[Chunks]]]] = []
            for item in items():
                pending.append(pool.submit(make, item))
                if len(pending) > self.manner.threads:
                    yield pending.pop(0).result()
            for future in pending:
                yield future.result()

    def _block(self, row: int, column: int, batch: Batch, addresses: npt.NDArray[np.uint64]) -> list[Chunks]:
        """Compute and encode one block: per product, per window, its values and counts."""
        if self.timed is not None:
            return self._timed_block(row, column, batch, addresses)
        with self.clock.stage("compute"):
            block, chunk, windows = self.blocks.block(row, column), self.task.chunk, len(batch.windows)
            values, counts = self._buffers(windows, full=block.count == tuple(chunk))
            lat, lon = self.window.place(block.start, block.count)
            places = self.inputs.places(self.chain, lat, lon)
            with self.clock.stage("part"):
                parts = self.inputs.parts(self.chain, lat, lon)
            run_block(self.chain, lat, lon, chunk[1], places, addresses, batch.bounds, batch.sun, values, counts, parts)
        return self._encode(values, counts, block.count, windows)

    def _timed_block(self, row: int, column: int, batch: Batch, addresses: npt.NDArray[np.uint64]) -> list[Chunks]:
        """Compute and encode one block of what is made over many steps."""
        assert self.timed is not None
        block = self.blocks.block(row, column)
        with self.clock.stage("compute"):
            values, counts = self.timed.block(block.start, block.count, batch, addresses)
        return self._encode(values, counts, block.count, 1)

    def _encode(
        self, values: list[npt.NDArray[Any]], counts: list[npt.NDArray[np.uint8]], extent: tuple[int, int], windows: int
    ) -> list[Chunks]:
        """Encode the windows of one block, product by product."""
        with self.clock.stage("encode"):
            return [
                [store.make_chunk(v[w], c[w], extent, store.FILL[p.dtype]) for w in range(windows)]
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
