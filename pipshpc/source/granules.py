"""Forcing from satellite granules: tiles and scenes on grids of their own, brought to the campaign's pixels.

A granule stands for the day of its time. Granules of one day make one field:
in order of their file names, then of their folders, each fills what those
before it left missing, so the result does not depend on the order in which
they are named. What all of them miss stays missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.errors import InputError
from pipshpc.forcing import Forcing
from pipshpc.granule import Granule, read_granule
from pipshpc.grid import GLOBE, Box, Grid, Window
from pipshpc.offer import NOWHERE, Holdings
from pipshpc.source.base import FieldInfo, Source
from pipshpc.source.files import expand
from pipshpc.source.identity import file_digest
from pipshpc.source.reader import Float32Array
from pipshpc.sourcegrid import SourceGrid

DAY = np.timedelta64(86400, "s")
MOST_CELLS = 120_000_000  # of the campaign's box, each of which a granule's fields fill in memory
# Other sensors' bands at 11 and 12 um have other filters than MODIS' 31 and 32.
RENAMED = {"emis11": "emis31", "emis12": "emis32"}


@dataclass(frozen=True)
class _Known:
    """What is kept of a granule after it was looked at."""

    path: Path
    day: np.datetime64
    units: dict[str, str]
    digest: str


class GranuleSource(Source):
    """Granules as a forcing of daily fields on the campaign's own pixels.

    Parameters
    ----------
    spec : what the campaign says; `grid` and `box` are set
    base : folder that relative paths start from
    wanted : names that must be there

    Raises
    ------
    InputError
        A granule that is not there, cut short, or of a kind that is not known; a wanted name that none gives; a box
        with too many pixels.
    """

    def __init__(self, spec: Forcing, base: Path, wanted: Sequence[str] | None = None) -> None:
        self._spec = spec
        self._window = Grid.parse(spec.grid).window(GLOBE if isinstance(spec.box, str) else Box(*spec.box))
        rows, columns = self._window.count
        if rows * columns > MOST_CELLS:
            raise InputError(
                f"a forcing of granules over {rows} x {columns} pixels does not fit into memory; "
                f"at most {MOST_CELLS:,} pixels are wanted: make the box smaller"
            )
        paths = sorted(expand(spec.paths, base), key=lambda p: (p.name, str(p)))
        self._known = [self._look(path) for path in paths]
        self.times = np.unique(np.array([g.day for g in self._known]))
        self.step = DAY
        self.grid = _grid_of(self._window)
        units = {name: unit for g in self._known for name, unit in g.units.items()}
        self.variables = tuple(sorted(units))
        self.fields = {
            n: FieldInfo(n, u, f"{n} of the granules", n, "time: point", 0, False) for n, u in sorted(units.items())
        }
        digests = [g.digest for g in self._known]
        self.identity = xxhash.xxh3_128_hexdigest(" ".join(sorted(digests)).encode())
        self.hold = spec.hold
        self.holdings = self._holdings(digests)
        self.title = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
        how = "nearest pixel" if spec.resample == "nearest" else "mean of the pixels in a cell"
        self.comment = f"satellite granules, clear looks only, brought to the grid by {how}; a day's own time of pass"
        self._memory: tuple[np.datetime64, dict[str, Float32Array]] | None = None
        if wanted:
            self.need(*wanted)

    def need(self, *names: str) -> None:
        """Raise `InputError` where one of `names` is not there: what was looked for and what is there."""
        for name in names:
            if name not in self.variables:
                raise InputError(
                    f"'{name}' is in none of the granules ({self.title}); they give: {', '.join(self.variables)}"
                )

    def read(self, name: str, index: int) -> Float32Array:
        """Return variable `name` at ``times[index]``: float32 (ny, nx), south up, NaN where missing."""
        self.need(name)
        day = self.times[index]
        if self._memory is None or self._memory[0] != day:
            self._memory = day, self._mosaic(day)
        if name not in self._memory[1]:
            raise InputError(f"{self.title}: holds no '{name}' for {day}")
        return _with_margin(self._memory[1][name], self.grid.shape)

    def close(self) -> None:
        """Let go of what is in memory."""
        self._memory = None

    def _look(self, path: Path) -> _Known:
        """Read a granule once: it has to be whole, on the day it says, and on a grid that is known."""
        granule = _named(read_granule(path, self._spec.worst_error_k))
        pieces = sorted(path.parent.glob("*.[tT][iI][fF]")) if path.name.endswith("_MTL.txt") else []
        digests = " ".join([file_digest(path), *(f"{p.name} {file_digest(p)}" for p in pieces)])
        digest = file_digest(path) if not pieces else xxhash.xxh3_128_hexdigest(digests.encode())
        return _Known(path, granule.time.astype("datetime64[D]").astype("datetime64[s]"), granule.units, digest)

    def _holdings(self, digests: list[str]) -> Holdings:
        at_once = tuple(tuple(k for k, g in enumerate(self._known) if g.day == day) for day in self.times)
        holders = {
            name: np.array(
                [next((k for k in those if name in self._known[k].units), NOWHERE) for those in at_once], np.int32
            )
            for name in self.variables
        }
        return Holdings(tuple(str(g.path) for g in self._known), tuple(digests), holders, {}, at_once)

    def _mosaic(self, day: np.datetime64) -> dict[str, Float32Array]:
        """Bring all granules of a day to the pixels; the first that has a value gives it."""
        found: dict[str, Float32Array] = {}
        for known in (g for g in self._known if g.day == day):
            granule = _named(read_granule(known.path, self._spec.worst_error_k))
            placed = Placed(granule.grid, self._window)
            for name, values in granule.fields.items():
                here = placed.nearest(values) if self._spec.resample == "nearest" else placed.mean(values)
                if name in found:
                    np.copyto(found[name], here, where=np.isnan(found[name]))
                else:
                    found[name] = here
        return found


class Placed:
    """Where the pixels of a granule lie among those of a window, and the other way round.

    Parameters
    ----------
    grid : of the granule
    window : pixels that are wanted
    """

    def __init__(self, grid: SourceGrid, window: Window) -> None:
        self._grid, self._window = grid, window

    def nearest(self, values: Float32Array) -> Float32Array:
        """Return the granule's pixel in which the centre of each cell lies: (rows, columns), south up."""
        rows, columns, inside = self._cells
        return np.where(inside, values[rows, columns], np.float32(np.nan))

    def mean(self, values: Float32Array) -> Float32Array:
        """Return the mean of the granule's pixels whose centres lie in each cell, of those that are there.

        A cell in which no centre lies, of a grid finer than the granule, takes the nearest pixel. Sums in double
        precision, in the order of the granule's pixels.
        """
        at, size = self._bins, self._window.count[0] * self._window.count[1]
        flat = values.ravel()
        there = (at >= 0) & np.isfinite(flat)
        count = np.bincount(at[there], minlength=size)
        total = np.bincount(at[there], weights=flat[there].astype(np.float64), minlength=size)
        empty = np.bincount(at[at >= 0], minlength=size) == 0
        with np.errstate(invalid="ignore"):
            mean = (total / np.where(count, count, np.nan)).astype(np.float32).reshape(self._window.count)
        return np.where(empty.reshape(self._window.count), self.nearest(values), mean)

    @cached_property
    def _cells(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Row and column of the granule for each cell, and whether there is one."""
        lat, lon = self._window.lat()[::-1, None], self._window.lon()[None, :]
        fy, fx = self._grid.locate(lat, lon)
        inside = np.isfinite(fy) & np.isfinite(fx)
        rows, columns = (np.floor(np.where(inside, f, 0.0) + 0.5).astype(np.intp) for f in (fy, fx))
        return rows, columns, inside

    @cached_property
    def _bins(self) -> npt.NDArray[np.intp]:
        """Number of the cell of each pixel of the granule, south up; -1 outside."""
        lat, lon = self._grid.geographic(self._grid.y[:, None], self._grid.x[None, :])
        west, south, _, _ = self._window.bounds
        per, (ny, nx) = float(self._window.grid.per_degree), self._window.count
        row = np.floor((lat - south) * per)
        column = np.floor(((lon - west) % 360.0) * per)
        inside = (row >= 0) & (row < ny) & (column < nx)  # beside the globe of its projection a pixel has no place
        return np.where(inside, row * nx + column, -1).astype(np.intp).ravel()


def _named(granule: Granule) -> Granule:
    """Give MODIS' emissivities the names of their bands, and numbers of a whole scene a field."""
    names = RENAMED if "ts_day" in granule.fields else {}
    fields = {names.get(n, n): v for n, v in granule.fields.items()}
    units = {names.get(n, n): u for n, u in granule.units.items()}
    for name, number in granule.scene.items():
        fields[name] = np.full(granule.grid.shape, number, np.float32)
        units[name] = "h" if name == "hour" else "degree"
    return Granule(granule.title, granule.time, granule.grid, fields, units, granule.scene)


def _grid_of(window: Window) -> SourceGrid:
    """Return the pixels of a window, with one more row and column that stay missing, as the grid of a forcing.

    So no pixel is the last one, and each takes its own value with the whole weight.
    """
    lat, lon, step = window.lat()[::-1], window.lon(), window.grid.step
    around = window.count[1] == window.grid.shape[1]
    return SourceGrid(np.append(lat, lat[-1] + step), lon if around else np.append(lon, lon[-1] + step), None, around)


def _with_margin(values: Float32Array, shape: tuple[int, int]) -> Float32Array:
    """Return a copy of a field with what `_grid_of` adds."""
    out = np.full(shape, np.nan, np.float32)
    out[: values.shape[0], : values.shape[1]] = values
    return out
