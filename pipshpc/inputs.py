"""The coarse fields of one task: in node memory, static ones once and forcing batch by batch; large ones by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.chain import CONSTANT, Chain, sun_table
from pipshpc.errors import InputError
from pipshpc.exchange import NodeArray
from pipshpc.grid import PolarWindow
from pipshpc.place import Part, place_block, read_part
from pipshpc.source import Source, open_source
from pipshpc.source.identity import file_digest
from pipshpc.sourcegrid import SourceGrid
from pipshpc.statics import CLASSES, Reader, Static, open_static
from pipshpc.task import BATCH_MIB, Sample, Task, group_windows

WHOLE_BYTES = 1 << 30  # of the forcing of a batch; more goes to a file on the node's scratch


@dataclass(frozen=True)
class Batch:
    """Windows whose forcing is in memory together.

    Parameters
    ----------
    windows : positions in the task
    bounds : (windows + 1,) samples of each window
    states : distinct states of the atmosphere to read
    home : (samples,) which state each sample uses
    sun : (samples, 6) see `pipshpc.chain.sun_table`
    """

    windows: list[int]
    bounds: npt.NDArray[np.int32]
    states: list[Sample]
    home: npt.NDArray[np.int64]
    sun: npt.NDArray[np.float32]


def make_batch(task: Task, windows: list[int]) -> Batch:
    """Collect the samples of some windows; a state that is held is read once."""
    samples = [s for w in windows for s in task.samples[w]]
    keys = [s.state for s in samples]
    distinct = list(dict.fromkeys(keys))
    return Batch(
        windows=windows,
        bounds=np.concatenate([[0], np.cumsum([len(task.samples[w]) for w in windows])]).astype(np.int32),
        states=[samples[keys.index(key)] for key in distinct],
        home=np.array([distinct.index(key) for key in keys]),
        sun=sun_table(samples, task.step_s or task.period_s),
    )


def make_batches(task: Task, state_bytes: int, batch_mib: float = BATCH_MIB) -> list[Batch]:
    """Group a task's windows so that the forcing of a group stays below the limit; at least one window each.

    The grouping decides the order of blocks in a file, and with that the
    place of its bytes; not their content.
    """
    return [make_batch(task, group) for group in group_windows(task.samples, state_bytes, batch_mib)]


def fill_periodic(to: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> None:
    """Copy a field; where `to` has one more column, repeat the first at the end so that 360 degrees close."""
    to[:, : values.shape[1]] = values
    if to.shape[1] > values.shape[1]:
        to[:, -1] = values[:, 0]


def day_of_year(time: str) -> float:
    """Return the day of the year of an ISO time, 1.0 at the start of the first of January."""
    when = np.datetime64(time.rstrip("Z"), "s")
    return float((when - when.astype("datetime64[Y]")) / np.timedelta64(86400, "s")) + 1.0


def open_planned(task: Task, check: bool) -> Source:
    """Open the forcing of a task, as it was planned.

    Raises
    ------
    InputError
        Where a file cannot be opened, or where `check` is set and what is in
        it is not what was planned with.
    """
    first = min(np.datetime64(s.first.rstrip("Z"), "s") for w in task.samples for s in w)
    last = max(np.datetime64(s.second.rstrip("Z"), "s") for w in task.samples for s in w)
    wanted = list(dict.fromkeys(s.source for s in task.recipe.steps if s.kind in ("forcing", "state")))
    source = open_source(task.forcing, task.base_dir, first, last + np.timedelta64(1, "s"), wanted or None, gaps=True)
    if check and source.identity != task.forcing_identity:
        source.close()
        raise InputError(
            f"{_changed(task, source)} not what task {task.id} was planned with; put back what was there, "
            "or plan again: what is made of the new content gets another task id"
        )
    return source


def _changed(task: Task, source: Source) -> str:
    """Name what differs from the plan."""
    planned = set(task.forcing_digests)
    holdings = source.holdings
    new = [path for path, digest in zip(holdings.paths, holdings.digests, strict=True) if digest not in planned]
    if not new or not planned:
        return f"the forcing ({source.title}) is"
    more = f" and {len(new) - 1} more have" if len(new) > 1 else " has"
    return f"{new[0]}{more} changed since the plan and {'are' if len(new) > 1 else 'is'}"


def _stamps(source: Source) -> dict[Path, tuple[int, int] | None]:
    """Return size and time of change of the files of a source; None for one that is gone."""
    stamps: dict[Path, tuple[int, int] | None] = {}
    for path in map(Path, source.holdings.paths):
        try:
            stat = path.stat()
            stamps[path] = stat.st_size, stat.st_mtime_ns
        except OSError:
            stamps[path] = None
    return stamps


class Inputs:
    """Opened forcing and static fields of a task; nothing here waits for another rank until `share`.

    Parameters
    ----------
    task : what is made
    node : communicator of the ranks that share memory
    check : compare the content of the forcing with what was planned (one rank is enough)

    Raises
    ------
    InputError
        Where an input cannot be opened or is not what was planned with.
    """

    def __init__(self, task: Task, node: Any, check: bool) -> None:
        self._node = node
        self.source = open_planned(task, check)
        self._projected = isinstance(task.window, PolarWindow)
        self.grids: list[Any] = [self.source.grid]
        self.static_grid: dict[str, int] = {}
        self._fields: dict[str, Any] = {}
        self._statics: dict[str, NodeArray] = {}
        self._readers: dict[str, Reader] = {}
        self.nearest: list[bool] = [task.forcing.kind == "granules"]  # of `grids`: pixels take the nearest value
        self._memory: NodeArray | None = None
        self.missing: dict[str, str] = {}  # times that could not be read, and why
        self._planned = set(task.forcing_digests)
        self._stamps = _stamps(self.source) if check else {}
        self._day = day_of_year(task.windows[len(task.windows) // 2])
        for name in (s.source for s in task.recipe.steps if s.kind == "static"):
            on_source = name.endswith("_in")  # a static field averaged over the forcing's cells
            field = self._fields[name] = open_static(name.removesuffix("_in"))
            self.static_grid[name] = 0 if on_source else len(self.grids)
            if not on_source:
                self.grids.append(field.grid)
                self.nearest.append(name in CLASSES)
        self._reduced = [s.name for s in task.recipe.steps if s.kind == "reduced"]
        self._numbers: NodeArray | None = None  # (samples, reduced) as fields that are the same everywhere
        self._order: list[str] = []  # of the forcing's variables in memory
        self.chain_grids = dict(self.static_grid)
        if self._reduced:
            self.chain_grids[CONSTANT] = len(self.grids)
            self.grids.append(SourceGrid(np.array([-60.0, 0.0, 60.0]), np.array([0.0, 90.0, 180.0, 270.0]), None, True))
            self.nearest.append(True)
        self._states = [s.source for s in task.recipe.steps if s.kind == "state"]
        begin = np.datetime64(task.windows[0].rstrip("Z"), "s")
        self._middle = begin + np.timedelta64(len(task.windows) * task.period_s // 2, "s")

    def share(self) -> None:
        """Take node memory for the static fields (collective over the node)."""
        for name, number in self.static_grid.items():
            if self._by_block(name):
                self._readers[name] = Reader(self._fields[name])
            else:
                self._statics[name] = NodeArray(self._node, self._shape(self.grids[number]))
        for name in self._states:
            self._statics[name] = NodeArray(self._node, self._shape(self.source.grid))

    def _by_block(self, name: str) -> bool:
        """Whether a static field is too large to be held whole."""
        field: Static = self._fields[name]
        return field.large and self.static_grid[name] > 0

    def fill(self) -> None:
        """Read the static fields on the first rank of the node."""
        if self._node.rank:
            return
        for name in self._states:
            fill_periodic(self._statics[name].array, self._read(name, self._at_middle()))
        for name, field in self._fields.items():
            if name in self._readers:
                continue
            when = self._day if field.monthly else None
            on_source = name.endswith("_in")
            values = field.mean_over(self.source.grid, day=when) if on_source else field.read(day=when)
            fill_periodic(self._statics[name].array, values)

    def _at_middle(self) -> str:
        """The time of the forcing that stands for the whole task: the last one up to its middle."""
        index = max(int(np.searchsorted(self.source.times, self._middle, side="right")) - 1, 0)
        return f"{self.source.times[index]}Z"

    def parts(self, chain: Chain, lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> dict[int, Part]:
        """Read what a block needs of the large fields.

        Parameters
        ----------
        lat, lon : (rows,), (columns,) degrees, pixel centres

        Returns
        -------
        dict
            By the number of the field in the chain.
        """
        return {
            k: read_part(self._readers[field.name].part, self.grids[field.grid], lat, lon, self.nearest[field.grid])
            for k, field in enumerate(chain.fields)
            if field.kind == "static" and field.name in self._readers
        }

    def whole(self, chain: Chain) -> set[int]:
        """Return the grids of which some field is in memory whole."""
        return {f.grid for f in chain.fields if f.kind != "static" or f.name not in self._readers}

    def places(self, chain: Chain, lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> list[Any]:
        """Place a block on the grids whose fields a chain reads whole; None for the others.

        Parameters
        ----------
        lat, lon : (rows,), (columns,) degrees, pixel centres
        """
        whole = self.whole(chain)
        return [
            place_block(grid, stride, lat, lon, nearest) if k in whole else None
            for k, (grid, stride, nearest) in enumerate(zip(self.grids, self.strides(), self.nearest, strict=True))
        ]

    def _shape(self, grid: Any) -> tuple[int, int]:
        """Rows and columns in memory: the first column once more where it follows the last, or to read beside it."""
        return grid.y.size, grid.x.size + (bool(grid.periodic) or self._projected)

    def strides(self) -> list[int]:
        """Columns in memory of a field on each of `grids`."""
        return [self._shape(grid)[1] for grid in self.grids]

    def state_bytes(self, chain: Chain) -> int:
        """Memory that one state of the atmosphere takes."""
        return 4 * int(np.prod(self._shape(self.source.grid))) * len(self._forcing(chain))

    @staticmethod
    def _forcing(chain: Chain) -> list[str]:
        return [f.name for f in chain.fields if f.kind == "forcing"]

    def reserve(self, chain: Chain, batches: Sequence[Batch], beside: Chain | None = None) -> None:
        """Take the memory for the largest batch of what a chain reads, and one beside it (collective over the node)."""
        states = max(len(b.states) for b in batches)
        both = self._forcing(chain) + (self._forcing(beside) if beside else [])
        self._order = list(dict.fromkeys(both))
        names = max(len(self._order), 1)
        if self._reduced:
            shape = self._shape(self.grids[self.chain_grids[CONSTANT]])
            self._numbers = NodeArray(self._node, (max(b.home.size for b in batches), len(self._reduced), *shape))
        self._memory = NodeArray(self._node, (states, names, *self._shape(self.source.grid)), most=WHOLE_BYTES)

    def load(self, chain: Chain, batch: Batch) -> None:
        """Decode a batch into node memory, each rank of the node its share."""
        assert self._memory is not None
        jobs = [(k, n, s) for k, s in enumerate(batch.states) for n in range(len(self._order))]
        failed: Exception | None = None
        for at, number, state in jobs[self._node.rank :: self._node.size]:
            name = self._order[number]
            try:
                values = self._read(name, state.first)
                if state.weight:
                    values = values + np.float32(state.weight) * (self._read(name, state.second) - values)
            except InputError as error:
                # One bad step costs that step: it is missing in the mean and in the count of samples.
                self.missing[state.first] = str(error)
                values = np.full(self._shape(self.source.grid), np.nan, np.float32)[:, : self.source.grid.x.size]
            except Exception as error:
                failed = error  # the others of the node wait below
                break
            fill_periodic(self._memory.array[at, number], values)
        if failed is None:
            failed = self._changed_meanwhile()
        lost = {time: why for part in self._node.allgather(self.missing) for time, why in part.items()}
        if failed is not None:
            raise failed
        if lost.keys() >= {s.first for s in batch.states}:
            raise InputError(f"no time step can be read: {next(iter(lost.values()))}")

    def _changed_meanwhile(self) -> InputError | None:
        """Say which file is not what it was when it was opened: what was read of it is of no use."""
        now = _stamps(self.source) if self._stamps else {}
        for path, stamp in now.items():
            if stamp != self._stamps[path] and (stamp is None or file_digest(path) not in self._planned):
                return InputError(
                    f"{path}: changed while it was read; get the file again as it was, then have the task tried again"
                )
        return None

    def _read(self, name: str, time: str) -> npt.NDArray[np.float32]:
        when = np.datetime64(time.rstrip("Z"), "s")
        index = int(np.searchsorted(self.source.times, when))
        if index >= self.source.times.size or self.source.times[index] != when:
            raise InputError(f"{self.source.title}: holds no '{name}' for {time}")
        return self.source.read(name, index)

    def addresses(self, chain: Chain, batch: Batch) -> npt.NDArray[np.uint64]:
        """Return where in memory each sample finds each field: (samples, fields)."""
        assert self._memory is not None
        table = np.empty((batch.home.size, len(chain.fields)), np.uint64)
        for k, field in enumerate(chain.fields):
            if field.kind in ("static", "state"):
                whole = self._statics.get(field.name)
                # What is read by block has no address yet.
                table[:, k] = whole.array.ctypes.data if whole is not None else 0
                continue
            memory, home, number = self._memory.array, batch.home, 0
            if field.kind == "reduced":
                assert self._numbers is not None
                memory, home = self._numbers.array, np.arange(batch.home.size)
                number = self._reduced.index(field.name)
            else:
                number = self._order.index(field.name)
            table[:, k] = memory.ctypes.data + home * memory.strides[0] + number * memory.strides[1]
        return table

    def set_numbers(self, names: Sequence[str], values: npt.NDArray[np.float32]) -> None:
        """Set what a first pass gave: (samples, names), the same for all pixels (collective over the node)."""
        assert self._numbers is not None
        if self._node.rank == 0:
            for k, name in enumerate(names):
                self._numbers.array[: len(values), self._reduced.index(name)] = values[:, k, None, None]
        self._node.Barrier()

    def free(self) -> None:
        """Close the files and give the node memory back (collective over the node)."""
        self.source.close()
        for array in (self._memory, self._numbers, *self._statics.values()):
            if array is not None:
                array.free()
        for reader in self._readers.values():
            reader.close()
        self._memory = self._numbers = None
        self._statics, self._readers = {}, {}
