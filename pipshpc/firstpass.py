"""The first of two passes on the ranks: count all pixels of a batch, add the counts, hand on what follows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.chain import run_block
from pipshpc.domain import Blocks
from pipshpc.exchange import add_up
from pipshpc.grid import AnyWindow
from pipshpc.inputs import Batch, Inputs
from pipshpc.passes import Counts, Pass, cut_steps


class FirstPass:
    """Counts the pixels of a task's blocks, batch by batch.

    Parameters
    ----------
    passes : from `find_passes`
    inputs : with the batch in memory
    window, blocks : of the task
    threads : of this rank
    """

    def __init__(self, passes: list[Pass], inputs: Inputs, window: AnyWindow, blocks: Blocks, threads: int) -> None:
        self.passes, self.inputs, self.window, self.blocks, self.threads = passes, inputs, window, blocks, threads
        self.told: dict[str, list[Any]] = {one.name: [] for one in passes}  # of each time step, for the files

    def run(self, comm: Any, batch: Batch, mine: list[tuple[int, int]]) -> None:
        """Count this rank's blocks, add up over all ranks, set the numbers of the second pass (collective).

        All blocks of the batch are counted, also those that an earlier
        attempt has finished: what follows is then the same.
        """
        for one in self.passes:
            tables = np.zeros((batch.home.size, *one.reduction.shape), np.int64)
            addresses = self.inputs.addresses(one.chain, batch)
            if self.threads == 1:
                for block in mine:
                    self._count(one, batch, addresses, block, tables)
            else:
                with ThreadPoolExecutor(self.threads) as pool:
                    shares = [mine[k :: self.threads] for k in range(self.threads)]
                    for part in pool.map(partial(self._share, one, batch, addresses), shares):
                        tables += part
            add_up(comm, tables)
            self.told[one.name] += one.tell(tables)
            self.inputs.set_numbers(one.gives, one.results(tables))

    def _share(
        self, one: Pass, batch: Batch, addresses: npt.NDArray[np.uint64], share: list[tuple[int, int]]
    ) -> Counts:
        tables = np.zeros((batch.home.size, *one.reduction.shape), np.int64)
        for block in share:
            self._count(one, batch, addresses, block, tables)
        return tables

    def _count(
        self, one: Pass, batch: Batch, addresses: npt.NDArray[np.uint64], at: tuple[int, int], tables: Counts
    ) -> None:
        """Add the pixels of one block, some time steps at a time."""
        block = self.blocks.block(*at)
        lat, lon = self.window.place(block.start, block.count)
        places, parts = self.inputs.places(one.chain, lat, lon), self.inputs.parts(one.chain, lat, lon)
        for first, last in cut_steps(batch.home.size):
            shape = (last - first, *self.blocks.chunk)
            fields = [np.full(shape, np.nan, np.float32) for _ in one.reads]
            counts = [np.zeros(shape, np.uint8) for _ in one.reads]
            each = np.arange(last - first + 1, dtype=np.int32)
            run_block(
                one.chain, lat, lon, shape[2], places, addresses[first:last], each, batch.sun[first:last], fields,
                counts, parts,
            )  # fmt: skip
            inside = (slice(None), slice(0, block.count[0]), slice(0, block.count[1]))
            tables[first:last] += one.count([field[inside] for field in fields])
