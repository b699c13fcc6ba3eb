"""What ranks share: forcing fields in node memory, a counter of blocks, and the way of chunks to the writer."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pipshpc.errors import OutputError, PipshpcError

T = TypeVar("T")
DIGEST_BYTES = 16


class Chunk(NamedTuple):
    """One block and window of one product, as stored, with the digests of what is in it."""

    values: bytes | bytearray | memoryview
    counts: bytes | bytearray | memoryview
    values_digest: bytes
    counts_digest: bytes


Chunks = list[Chunk]  # one per window


class NodeArray:
    """An array in memory that all ranks of a node see; one copy per node.

    Parameters
    ----------
    node : communicator of the ranks that share memory
    shape : of the float32 array
    """

    def __init__(self, node: Any, shape: tuple[int, ...], most: int = 0) -> None:
        from mpi4py import MPI

        nbytes = 4 * int(np.prod(shape))
        self._window: Any = None
        self.array: npt.NDArray[np.float32]
        if most and nbytes > most:
            self.array = _array_in_file(node, shape)
            return
        self._window = MPI.Win.Allocate_shared(nbytes if node.rank == 0 else 0, 4, comm=node)
        memory, _ = self._window.Shared_query(0)
        self.array = np.asarray(memory, np.uint8)[:nbytes].view(np.float32).reshape(shape)

    def free(self) -> None:
        """Give the memory back (collective)."""
        del self.array
        if self._window is not None:
            self._window.Free()


def _array_in_file(node: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return an array in a file that has no name any more once all ranks of the node have it.

    The system keeps in memory what is used of it, and writes the rest out;
    whatever ends the ranks gives the space back.
    """
    path, error = "", None
    if node.rank == 0:
        folder = os.environ.get("PIPSHPC_SCRATCH") or tempfile.gettempdir()
        try:
            handle, path = tempfile.mkstemp(prefix="pipshpc-", suffix=".fields", dir=folder)
            os.posix_fallocate(handle, 0, 4 * int(np.prod(shape)))
            os.close(handle)
        except OSError as failed:
            size = 4 * int(np.prod(shape)) / 2**30
            error = f"{folder}: has no room for {size:.1f} GiB of fields ({failed.strerror}); set PIPSHPC_SCRATCH"
            if path:
                Path(path).unlink()
    path, error = node.bcast((path, error), 0)
    if error is not None:
        raise OutputError(error)
    array = np.memmap(path, np.float32, "r+", shape=shape)
    node.Barrier()
    if node.rank == 0:
        Path(path).unlink()
    return array


class Counter:
    """Hands out 0, 1, 2, … to the ranks of a node, each number once, without anybody serving it."""

    def __init__(self, node: Any) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._first = node.rank == 0
        self._window = MPI.Win.Allocate(8 if self._first else 0, 8, comm=node)
        self._step = np.ones(1, np.int64)
        self._got = np.zeros(1, np.int64)
        self.reset()
        node.Barrier()

    def reset(self) -> None:
        """Begin again at 0; all ranks of the node must be done with the numbers, and meet before the next `take`."""
        if self._first:
            self._window.Lock(0, self._mpi.LOCK_EXCLUSIVE)
            np.asarray(self._window.tomemory(), np.uint8).view(np.int64)[:] = 0
            self._window.Unlock(0)

    def take(self, count: int = 1) -> int:
        """Return the next number, and skip `count` numbers."""
        self._step[0] = count
        self._window.Lock(0, self._mpi.LOCK_SHARED)
        self._window.Fetch_and_op(self._step, self._got, 0, 0, self._mpi.SUM)
        self._window.Unlock(0)
        return int(self._got[0])

    def free(self) -> None:
        """Give the memory back (collective)."""
        self._window.Free()


def message_parts(item: int, chunks: Chunks) -> list[Any]:
    """Return the buffers that make the message of one block: a head, then the chunks as they are."""
    head = [struct.pack("<qq", item, len(chunks))]
    head += [struct.pack("<qq", len(c.values), len(c.counts)) + c.values_digest + c.counts_digest for c in chunks]
    return [b"".join(head), *(part for c in chunks for part in (c.values, c.counts) if len(part))]


def unpack_message(message: Any) -> tuple[int, Chunks]:
    """Read a message of `message_parts` from one buffer, without copying the chunks."""
    view = memoryview(message)
    item, count = struct.unpack_from("<qq", view, 0)
    head = 16 + 2 * DIGEST_BYTES
    at = 16 + head * count
    chunks = []
    for k in range(count):
        first, second, one, two = struct.unpack_from(f"<qq{DIGEST_BYTES}s{DIGEST_BYTES}s", view, 16 + head * k)
        chunks.append(Chunk(view[at : at + first], view[at + first : at + first + second], one, two))
        at += first + second
    return item, chunks


class Slots:
    """Places in node memory where ranks put finished blocks for a writer on the same node.

    Parameters
    ----------
    comm : communicator of all ranks of the task
    node : communicator of the ranks that share memory
    slot_bytes : size of one slot; larger blocks go by message
    count : slots of each rank
    """

    def __init__(self, comm: Any, node: Any, slot_bytes: int, count: int = 4) -> None:
        from mpi4py import MPI

        self.slot_bytes = slot_bytes
        self._window = MPI.Win.Allocate_shared(slot_bytes * count, 1, comm=node)
        self.count, self.free = count, list(range(count))
        # Rank of each rank of this node in `comm` -> its slots.
        ranks = node.allgather(comm.rank)
        self._memory = {r: np.asarray(self._window.Shared_query(k)[0], np.uint8) for k, r in enumerate(ranks)}

    def reaches(self, rank: int) -> bool:
        """Say whether a rank is on this node."""
        return rank in self._memory

    def view(self, rank: int, slot: int, size: int) -> npt.NDArray[np.uint8]:
        """Return the first bytes of a slot of a rank."""
        return self._memory[rank][slot * self.slot_bytes :][:size]

    def release(self) -> None:
        """Give the memory back (collective over the node)."""
        self._memory.clear()
        self._window.Free()


BY_SLOT, TAKEN, WRITTEN = 1000, 2000, 4000  # tags: a block lies in a slot (plus product); a slot may be used again;
# a writer tells the first rank how many blocks it has written
TELL_S = 0.25  # between two such words


class Funnel:
    """Brings the chunks of all ranks to the writer of each product, in the order of the blocks.

    Parameters
    ----------
    comm : communicator of all ranks of the task
    writers : rank that writes each product
    write : called as ``write(product, item, chunks)`` on the writer, items in ascending order
    slots : memory for blocks whose writer is on the same node
    limit_bytes : where more than this waits for an earlier block, it is written out of order
    """

    _batches = 0  # of all funnels of this process, the same on all ranks: tells old words from new ones

    def __init__(
        self,
        comm: Any,
        writers: Sequence[int],
        write: Callable[[int, int, Chunks], None],
        slots: Slots | None = None,
        limit_bytes: int = 256 << 20,
    ) -> None:
        from mpi4py import MPI

        self._mpi, self._comm, self._writers, self._write, self._limit = MPI, comm, writers, write, limit_bytes
        self._slots = slots
        self._mine = [p for p, rank in enumerate(writers) if rank == comm.rank]
        self._waiting: dict[int, dict[int, tuple[int, Chunks, tuple[int, int] | None]]] = {p: {} for p in self._mine}
        self._next = dict.fromkeys(self._mine, 0)
        self.received = dict.fromkeys(self._mine, 0)
        self.written = dict.fromkeys(self._mine, 0)
        self._heard: dict[int, int] = {}  # on the first rank: what the writers elsewhere have written
        self._told, self._told_at = 0, 0.0
        self._sent: deque[tuple[Any, bytes]] = deque()  # request, and its buffer kept alive

    @property
    def safe(self) -> int:
        """On the first rank: blocks of this batch that are written for all products, as far as it has heard."""
        return min(self.written.get(p, self._heard.get(p, 0)) for p in range(len(self._writers)))

    def put(self, product: int, item: int, chunks: Chunks) -> None:
        """Hand in the chunks of one block."""
        if self._writers[product] == self._comm.rank:
            self._arrive(product, item, chunks)
            return
        parts, writer = message_parts(item, chunks), self._writers[product]
        size = sum(map(len, parts))
        if self._slots is not None and self._slots.reaches(writer) and size <= self._slots.slot_bytes:
            self._put_into_slot(product, writer, parts, size)
            return
        # One joined buffer: a derived datatype that gathers the parts saves a copy here and costs five in MPI.
        self._send(b"".join(parts), writer, product)
        while len(self._sent) > 8:  # the writer is behind: do not pile up memory
            self.progress()
            if len(self._sent) > 8:
                time.sleep(0.0002)

    def _send(self, message: bytes, to: int, tag: int) -> None:
        self._sent.append((self._comm.Isend([message, self._mpi.BYTE], to, tag), message))

    def _put_into_slot(self, product: int, writer: int, parts: list[Any], size: int) -> None:
        """Copy a block into a slot and tell the writer; this is the only copy on its way to the file."""
        assert self._slots is not None
        while not self._slots.free:  # the writer is behind
            self.progress()
            if not self._slots.free:
                time.sleep(0.0002)
        slot, at = self._slots.free.pop(), 0
        target = self._slots.view(self._comm.rank, slot, size).data
        for part in parts:
            target[at : at + len(part)] = part
            at += len(part)
        self._send(struct.pack("<qq", slot, size), writer, BY_SLOT + product)

    def progress(self) -> None:
        """Take in what has arrived and forget what has been delivered."""
        status = self._mpi.Status()
        while self._sent and self._sent[0][0].Test():
            self._sent.popleft()
        while self._slots is not None and self._comm.Iprobe(self._mpi.ANY_SOURCE, TAKEN, status):
            note = bytearray(8)
            self._comm.Recv([note, self._mpi.BYTE], status.Get_source(), TAKEN)
            self._slots.free.append(struct.unpack("<q", note)[0])
        for product in self._mine:
            while self._slots is not None and self._comm.Iprobe(self._mpi.ANY_SOURCE, BY_SLOT + product, status):
                note, source = bytearray(16), status.Get_source()
                self._comm.Recv([note, self._mpi.BYTE], source, BY_SLOT + product)
                slot, size = struct.unpack("<qq", note)
                item, chunks = unpack_message(self._slots.view(source, slot, size).data)
                self._arrive(product, item, chunks, (source, slot))
            while self._comm.Iprobe(self._mpi.ANY_SOURCE, product, status):
                message = np.empty(status.Get_count(self._mpi.BYTE), np.uint8)
                self._comm.Recv([message, self._mpi.BYTE], status.Get_source(), product)
                item, chunks = unpack_message(message)
                self._arrive(product, item, chunks)
        self._tell_written()

    def _tell_written(self) -> None:
        """Tell the first rank how far this writer is, or hear it there."""
        status, note = self._mpi.Status(), bytearray(24)
        while self._comm.rank == 0 and self._comm.Iprobe(self._mpi.ANY_SOURCE, WRITTEN, status):
            self._comm.Recv([note, self._mpi.BYTE], status.Get_source(), WRITTEN)
            batch, product, count = struct.unpack("<qqq", note)
            if batch == Funnel._batches:
                self._heard[product] = count
        total = sum(self.written.values())
        if self._comm.rank == 0 or total == self._told or time.monotonic() - self._told_at < TELL_S:
            return
        self._told, self._told_at = total, time.monotonic()
        for product, count in self.written.items():
            self._send(struct.pack("<qqq", Funnel._batches, product, count), 0, WRITTEN)

    def _arrive(self, product: int, item: int, chunks: Chunks, slot: tuple[int, int] | None = None) -> None:
        waiting = self._waiting[product]
        waiting[item] = sum(len(c.values) + len(c.counts) for c in chunks), chunks, slot
        self.received[product] += 1
        while self._next[product] in waiting:
            self._write_one(product, self._next[product])
            self._next[product] += 1
        while waiting and sum(entry[0] for entry in waiting.values()) > self._limit:
            self._write_one(product, min(waiting))

    def _write_one(self, product: int, item: int) -> None:
        _, chunks, slot = self._waiting[product].pop(item)
        self._write(product, item, chunks)
        self.written[product] += 1
        if slot is not None:
            self._send(struct.pack("<q", slot[1]), slot[0], TAKEN)

    def _lent(self) -> bool:
        """Say whether a writer still holds a slot of this rank."""
        return self._slots is not None and len(self._slots.free) < self._slots.count

    def rescue(self) -> None:
        """Write what waits for an earlier block at once: this rank may be killed any moment."""
        for product, waiting in self._waiting.items():
            for item in sorted(waiting):
                self._write_one(product, item)

    def finish(self, made: int, stopped: bool) -> bool:
        """Wait until what all ranks have made is written; return whether any of them was told to stop.

        Parameters
        ----------
        made : blocks that this rank has handed in since the last call
        stopped : whether this rank stopped before there were no blocks left
        """
        mine, everybody = np.array([made, int(stopped)], np.int64), np.zeros(2, np.int64)
        request = self._comm.Iallreduce(mine, everybody, self._mpi.SUM)
        told = False
        while not told or self._sent or self._lent() or any(n < everybody[0] for n in self.received.values()):
            told = told or request.Test()
            self.progress()
            if stopped:
                self.rescue()
            time.sleep(0.0001)
        for product, waiting in self._waiting.items():
            for item in sorted(waiting):  # after an overflow, or where a stop left holes
                self._write_one(product, item)
            self._next[product] = self.received[product] = self.written[product] = 0
        self._heard, self._told = {}, 0
        Funnel._batches += 1
        return bool(everybody[1])


def add_up(comm: Any, table: npt.NDArray[np.int64]) -> None:
    """Add the tables of all ranks, in place (collective); whole numbers, so the order does not matter."""
    from mpi4py import MPI

    comm.Allreduce(MPI.IN_PLACE, table, op=MPI.SUM)


def together(comm: Any, act: Callable[[], T]) -> T:
    """Run `act` on all ranks and let all of them go on, or raise the first rank's error on all of them.

    Raises
    ------
    PipshpcError
        The error of the lowest rank that had one, on every rank.
    """
    result: T | None = None
    error: Exception | None = None
    try:
        result = act()
    except PipshpcError as caught:
        error = caught
    except Exception as caught:
        error = PipshpcError(f"rank {comm.rank}: {type(caught).__name__}: {caught}")
        error.__cause__ = caught
    for found in comm.allgather(error):
        if found is not None:
            found.collective = True
            raise found from error
    return result  # type: ignore[return-value]
