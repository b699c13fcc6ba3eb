"""The ranks of the write benchmark: ``mpiexec -n 2 python -m benchmarks.writing FIELD TASK FOLDER REPEATS OUT``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from mpi4py import MPI

from benchmarks.measure import interleave
from pipshpc import store
from pipshpc.domain import Blocks
from pipshpc.exchange import Chunks, Counter, Funnel
from pipshpc.task import Task, read_task

Field = npt.NDArray[np.int16]


def wait_for_all(comm: Any) -> None:
    """Meet without spinning: a rank that waits leaves its core to the others."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.0005)


def sync(path: Path) -> None:
    """Make a file durable."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Ours:
    """As a job writes: chunks in the order of the curve, encoded where they are made, one writer."""

    def __init__(self, comm: Any, field: Field, task: Task, path: Path) -> None:
        self.comm, self.task, self.path = comm, task, path
        self.blocks = Blocks(field.shape, task.chunk)
        self.order = self.blocks.order()
        self.parts, self.extents = [], []
        for row, column in self.order:  # a job finds its values in this shape
            block = self.blocks.block(int(row), int(column))
            part = np.full(task.chunk, store.FILL["int16"], np.int16)
            (y, x), (ny, nx) = block.start, block.count
            part[:ny, :nx] = field[y : y + ny, x : x + nx]
            self.parts.append(part)
            self.extents.append(block.count)
        self.counts = np.ones(task.chunk, np.uint8)

    def __call__(self) -> None:
        """Write, check, make durable, rename."""
        file = store.ProductFile(self.path, self.task, "rlds", "bench") if self.comm.rank == 0 else None

        def write(_: int, item: int, chunks: Chunks) -> None:
            assert file is not None
            file.write((int(self.order[item][0]), int(self.order[item][1])), [0], chunks)

        funnel = Funnel(self.comm, [0], write)
        counter, made = Counter(self.comm), 0
        while (item := counter.take()) < len(self.order):
            chunk = store.make_chunk(self.parts[item], self.counts, self.extents[item], store.FILL["int16"])
            made += 1
            funnel.put(0, item, [chunk])
            funnel.progress()
        funnel.finish(made, False)
        counter.free()
        if file:
            file.publish()


def write_collective(comm: Any, field: Field, path: Path, **layout: Any) -> None:
    """Write with MPI-IO, each rank its rows, all in one collective call."""
    share = field.shape[0] // comm.size
    rows = slice(comm.rank * share, (comm.rank + 1) * share if comm.rank + 1 < comm.size else field.shape[0])
    with h5py.File(path, "w", driver="mpio", comm=comm) as file:
        data = file.create_dataset("rlds", field.shape, "i2", **layout)
        with data.collective:
            data[rows] = field[rows]
    if comm.rank == 0:
        sync(path)


def write_serial(comm: Any, field: Field, path: Path, **layout: Any) -> None:
    """Write from one rank through HDF5's own filters."""
    if comm.rank == 0:
        with h5py.File(path, "w") as file:
            file.create_dataset("rlds", data=field, **layout)
        sync(path)


def main() -> None:
    """Write in all ways in turn; the first rank puts seconds, sizes and whether the values agree into a file."""
    field_path, task_path, folder, repeats, out = sys.argv[1:6]
    comm = MPI.COMM_WORLD
    field, task, where = np.load(field_path), read_task(Path(task_path)), Path(folder)
    deflated = {"chunks": tuple(task.chunk), "compression": "gzip", "compression_opts": store.LEVEL, "shuffle": True}
    paths = {way: where / f"write_{way}.nc" for way in ("pipshpc", "plain", "collective", "serial")}
    ways: dict[str, Callable[[], None]] = {
        "pipshpc": Ours(comm, field, task, paths["pipshpc"]),
        "plain": lambda: write_collective(comm, field, paths["plain"]),
        "collective": lambda: write_collective(comm, field, paths["collective"], **deflated),
        "serial": lambda: write_serial(comm, field, paths["serial"], **deflated),
    }

    def timed(way: str) -> float:
        if comm.rank == 0:
            paths[way].unlink(missing_ok=True)
            os.sync()
        wait_for_all(comm)
        begin = time.perf_counter()
        ways[way]()
        wait_for_all(comm)
        return time.perf_counter() - begin

    taken = interleave({way: lambda way=way: timed(way) for way in ways}, int(repeats))  # type: ignore[misc]
    if comm.rank == 0:
        Path(out).write_text(json.dumps({way: _judge(paths[way], field, taken[way]) for way in ways}))
        for path in paths.values():
            path.unlink()


def _judge(path: Path, field: Field, taken: list[float]) -> dict[str, Any]:
    with h5py.File(path) as file:
        stored = file["rlds"][0] if file["rlds"].ndim == 3 else file["rlds"][()]
    return {"seconds": taken, "bytes": path.stat().st_size, "same": bool(np.array_equal(stored, field))}


if __name__ == "__main__":
    main()
