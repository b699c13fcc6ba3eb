"""What ranks share: forcing fields in node memory, a counter of blocks, and the way of chunks to the writer."""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pipshpc.errors import PipshpcError

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

    def __init__(self, node: Any, shape: tuple[int, ...]) -> None:
        from mpi4py import MPI

        nbytes = 4 * int(np.prod(shape))
        self._window = MPI.Win.Allocate_shared(nbytes if node.rank == 0 else 0, 4, comm=node)
        memory, _ = self._window.Shared_query(0)
        self.array: npt.NDArray[np.float32] = np.asarray(memory, np.uint8)[:nbytes].view(np.float32).reshape(shape)

    def free(self) -> None:
        """Give the memory back (collective)."""
        del self.array
        self._window.Free()


class Counter:
    """Hands out 0, 1, 2, … to the ranks of a node, each number once, without anybody serving it."""

    def __init__(self, node: Any) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._window = MPI.Win.Allocate(8 if node.rank == 0 else 0, 8, comm=node)
        self._step = np.ones(1, np.int64)
        self._got = np.zeros(1, np.int64)
        if node.rank == 0:
            np.asarray(self._window.tomemory(), np.uint8).view(np.int64)[:] = 0
        self._window.Fence()

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


def pack_message(item: int, chunks: Chunks) -> bytes:
    """Put the encoded chunks of one block into one message."""
    parts = [struct.pack("<qq", item, len(chunks))]
    parts += [struct.pack("<qq", len(c.values), len(c.counts)) + c.values_digest + c.counts_digest for c in chunks]
    for chunk in chunks:
        parts += [chunk.values, chunk.counts]  # type: ignore[list-item]
    return b"".join(parts)


def unpack_message(message: bytes | bytearray) -> tuple[int, Chunks]:
    """Undo `pack_message`, without copying the chunks."""
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


class Funnel:
    """Brings the chunks of all ranks to the writer of each product, in the order of the blocks.

    Parameters
    ----------
    comm : communicator of all ranks of the task
    writers : rank that writes each product
    write : called as ``write(product, item, chunks)`` on the writer, items in ascending order
    limit_bytes : where more than this waits for an earlier block, it is written out of order
    """

    def __init__(
        self,
        comm: Any,
        writers: Sequence[int],
        write: Callable[[int, int, Chunks], None],
        limit_bytes: int = 256 << 20,
    ) -> None:
        from mpi4py import MPI

        self._mpi, self._comm, self._writers, self._write, self._limit = MPI, comm, writers, write, limit_bytes
        self._mine = [p for p, rank in enumerate(writers) if rank == comm.rank]
        self._waiting: dict[int, dict[int, tuple[int, Chunks]]] = {p: {} for p in self._mine}
        self._next = dict.fromkeys(self._mine, 0)
        self.received = dict.fromkeys(self._mine, 0)
        self.written = dict.fromkeys(self._mine, 0)
        self._sent: deque[tuple[Any, bytes]] = deque()

    def put(self, product: int, item: int, chunks: Chunks) -> None:
        """Hand in the chunks of one block."""
        if self._writers[product] == self._comm.rank:
            self._arrive(product, item, chunks)
            return
        message = pack_message(item, chunks)
        self._sent.append((self._comm.Isend([message, self._mpi.BYTE], self._writers[product], product), message))
        while len(self._sent) > 8:  # the writer is behind: do not pile up memory
            self.progress()
            if len(self._sent) > 8:
                time.sleep(0.0002)

    def progress(self) -> None:
        """Take in what has arrived and forget what has been delivered."""
        while self._sent and self._sent[0][0].Test():
            self._sent.popleft()
        for product in self._mine:
            status = self._mpi.Status()
            while self._comm.Iprobe(self._mpi.ANY_SOURCE, product, status):
                message = bytearray(status.Get_count(self._mpi.BYTE))
                self._comm.Recv([message, self._mpi.BYTE], status.Get_source(), product)
                item, chunks = unpack_message(message)
                self._arrive(product, item, chunks)

    def _arrive(self, product: int, item: int, chunks: Chunks) -> None:
        waiting = self._waiting[product]
        waiting[item] = sum(len(c.values) + len(c.counts) for c in chunks), chunks
        self.received[product] += 1
        while self._next[product] in waiting:
            self._write_one(product, self._next[product])
            self._next[product] += 1
        while waiting and sum(size for size, _ in waiting.values()) > self._limit:
            self._write_one(product, min(waiting))

    def _write_one(self, product: int, item: int) -> None:
        self._write(product, item, self._waiting[product].pop(item)[1])
        self.written[product] += 1

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
        while not told or self._sent or any(count < everybody[0] for count in self.received.values()):
            told = told or request.Test()
            self.progress()
            if stopped:
                self.rescue()
            time.sleep(0.0001)
        for product, waiting in self._waiting.items():
            for item in sorted(waiting):  # after an overflow, or where a stop left holes
                self._write_one(product, item)
            self._next[product] = self.received[product] = self.written[product] = 0
        return bool(everybody[1])


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
