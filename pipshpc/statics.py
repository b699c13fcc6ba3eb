"""Static fields of the globe: terrain, land mask, land cover, Linke turbidity.

The fields are in packages of the Debian and Python registries (see
``envs/statics.yaml``). ``python -m pipshpc.statics fetch`` takes them once,
checks them, and keeps them as small chunked HDF5 files in
``$PIPSHPC_STATICS`` (by default ``~/.cache/pipshpc/statics``).

============ ========================================== ======== ==================
name         quantity                                   stored   grid
============ ========================================== ======== ==================
`orog`       terrain height in m, sea 0                 int16    2161 x 4320, 5', centres on the poles
`land`       1 on land, 0 on sea                        uint8    21600 x 43200, 30"
`landcover`  IGBP class, 0 water to 16 barren           uint8    3600 x 7200, 0.05 degrees
`linke`      Linke turbidity of 12 months               uint8/20 2160 x 4320, 5'
`ndvi_min`   lowest vegetation index of the year        int16    3600 x 7200, 0.05 degrees
`ndvi_max`   highest vegetation index of the year       int16    3600 x 7200, 0.05 degrees
============ ========================================== ======== ==================

All have rows from south to north and are periodic in longitude.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.cache import cache_folder
from pipshpc.errors import SiteError, SpecError
from pipshpc.sourcegrid import SourceGrid

NAMES: tuple[str, ...] = ("land", "orog", "landcover", "linke", "ndvi_min", "ndvi_max")
CLASSES = ("land", "landcover")  # not to be interpolated: a pixel takes the nearest
WHOLE_CELLS = 1 << 24  # of a field that is kept in memory whole; of a larger one each block reads its own part
CACHE_BYTES = 24 << 20  # of decoded chunks of a large field: a row of the land mask's, so that neighbours find them
LAYOUT = 2  # of the kept files; a change makes them anew
MID_MONTHS = np.array([15.5, 45.0, 74.5, 105.0, 135.5, 166.0, 196.5, 227.5, 258.0, 288.5, 319.0, 349.5])
TILE = 30  # cells of the land mask along one side of a counted tile

Float32Array = npt.NDArray[np.float32]
Window = tuple[int, int, int, int]


def folder() -> Path:
    """Folder of the kept fields."""
    return Path(os.environ.get("PIPSHPC_STATICS") or cache_folder() / "statics")


def static_path(name: str) -> Path:
    """File of a static field, there or not."""
    if name not in NAMES:
        raise SpecError(f"unknown static field '{name}'; known are: {', '.join(NAMES)}")
    return folder() / f"{name}-{LAYOUT}.h5"


def open_static(name: str) -> Static:
    """Open a static field.

    Raises
    ------
    SpecError
        No static field is called `name`.
    SiteError
        The field has not been fetched on this machine, or its file is damaged.
    """
    import h5py

    path = static_path(name)
    if not path.is_file():
        raise SiteError(
            f"static field '{name}' is not on this machine ({path}); run 'python -m pipshpc.statics fetch', "
            "or point PIPSHPC_STATICS to a folder that holds it"
        )
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = file["data"]
            attrs = {k: v.decode() if isinstance(v, bytes) else v for k, v in data.attrs.items()}
            grid = SourceGrid(file["y"][()], file["x"][()], None, True)
            return Static(name, path, grid, str(attrs["units"]), str(attrs["title"]), str(attrs["identity"]),
                          float(attrs["scale_factor"]), data.ndim == 3)  # fmt: skip
    except (OSError, KeyError) as error:
        raise SiteError(f"{path}: damaged ({error}); delete it and run 'python -m pipshpc.statics fetch'") from error


@dataclass(frozen=True)
class Static:
    """A static field of the globe.

    Attributes
    ----------
    grid : cell centres, rows from south to north
    units, title : for metadata
    identity : hex digest of the values
    monthly : has 12 months
    """

    name: str
    path: Path
    grid: SourceGrid
    units: str
    title: str
    identity: str
    scale: float
    monthly: bool

    def stored(self, month: int | None = None, window: Window | None = None) -> npt.NDArray[Any]:
        """Values as stored: (rows, columns) of int16 or uint8.

        Parameters
        ----------
        month : 1 to 12, for a monthly field
        window : first and last-plus-one row and column; all by default
        """
        import h5py

        if self.monthly != (month is not None) or not 1 <= (month or 1) <= 12:
            wanted = "month 1 to 12 is wanted" if self.monthly else "it has no months"
            raise SpecError(f"static field '{self.name}', month {month}: {wanted}")
        y0, y1, x0, x1 = window or (0, self.grid.y.size, 0, self.grid.x.size)
        with h5py.File(self.path, "r", locking=False) as file:
            data = file["data"]
            values = data[month - 1, y0:y1, x0:x1] if month is not None else data[y0:y1, x0:x1]
        return np.asarray(values)

    def read(self, month: int | None = None, day: float | None = None, window: Window | None = None) -> Float32Array:
        """Values in `units`, float32 (rows, columns).

        Parameters
        ----------
        month : 1 to 12, for a monthly field: the mean of that month
        day : day of the year from 1, in place of `month`: linear between the
            middles of the two months around it (day 15.5 of January, 45.0 in
            February, ...; December and January are neighbours)
        window : first and last-plus-one row and column; all by default
        """
        if day is None or not self.monthly:
            return self.stored(month, window).astype(np.float32) * np.float32(self.scale)
        first, second, weight = months_of(day)
        one, two = (self.stored(m, window).astype(np.float32) for m in (first, second))
        return ((1.0 - weight) * one + weight * two).astype(np.float32) * np.float32(self.scale)

    def sample(self, lat: npt.ArrayLike, lon: npt.ArrayLike, day: float | None = None) -> Float32Array:
        """Bilinear values at places (degrees, broadcast against each other), of a `day` of the year where monthly."""
        lat, lon = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
        fy, fx = self.grid.locate(lat, lon)
        values = self._values(day)
        ny, nx = self.grid.shape
        j = np.minimum(fy.astype(int), ny - 2)
        i = fx.astype(int)
        right = (i + 1) % nx
        wy, wx = fy - j, fx - i
        low = values[j, i] * (1 - wx) + values[j, right] * wx
        high = values[j + 1, i] * (1 - wx) + values[j + 1, right] * wx
        return np.asarray(low * (1 - wy) + high * wy, dtype=np.float32)

    def mean_over(self, grid: SourceGrid, day: float | None = None) -> Float32Array:
        """Mean over the cells of another grid, weighted by area: float32 (ny, nx).

        For terrain: the orography that a coarse forcing is taken to assume where it brings
        none. Cells smaller than those of this field take the bilinear value
        at their centre. The sums run in a fixed order in double precision, so
        the result is the same on every machine.
        """
        if grid.crs is not None:
            return self._mean_projected(grid, day)
        fine = np.median(np.diff(grid.y)) < np.median(np.diff(self.grid.y)) if grid.y.size > 1 else True
        if fine:
            return self.sample(grid.y[:, None], grid.x[None, :], day)
        rows = _edges(grid.y)
        columns = _edges(grid.x)
        if grid.periodic:
            columns = np.append(columns[:-1], columns[0] + 360.0)
        across = _integrate_columns(self._values(day).astype(np.float64), self.grid.x, columns)
        # Area of a latitude belt goes with the sine of latitude.
        own = np.sin(np.deg2rad(np.clip(_edges(self.grid.y), -90.0, 90.0)))
        target = np.sin(np.deg2rad(np.clip(rows, -90.0, 90.0)))
        total = np.zeros((own.size, across.shape[1]))
        np.cumsum(across * np.diff(own)[:, None], axis=0, out=total[1:])
        at = np.interp(target, own, np.arange(own.size, dtype=float))
        k = np.minimum(at.astype(int), own.size - 2)
        there = total[k] + (at - k)[:, None] * (total[k + 1] - total[k])
        return np.asarray(np.diff(there, axis=0) / np.diff(target)[:, None], dtype=np.float32)

    @property
    def large(self) -> bool:
        """Whether the field is read block by block, not whole."""
        return self.grid.y.size * self.grid.x.size > WHOLE_CELLS and not self.monthly

    def tile_counts(self) -> npt.NDArray[np.int32]:
        """Land cells in each tile of 30 x 30 cells of the land mask: (720, 1440), south to north."""
        import h5py

        if self.name != "land":
            raise SpecError(f"static field '{self.name}' has no tile counts; only 'land' has")
        with h5py.File(self.path, "r", locking=False) as file:
            return np.asarray(file["tiles"][()], dtype=np.int32)

    @cached_property
    def _whole(self) -> Float32Array:
        return self.read()

    def _values(self, day: float | None) -> Float32Array:
        return self.read(day=day) if self.monthly else self._whole

    def _mean_projected(self, grid: SourceGrid, day: float | None) -> Float32Array:
        """Mean of bilinear samples, spread evenly over each cell about 5 arc-minutes apart."""
        size = max(grid.y[1] - grid.y[0], grid.x[1] - grid.x[0])
        n = max(1, int(np.ceil(size / 9000.0)))
        offsets = ((np.arange(n) + 0.5) / n - 0.5) if n > 1 else np.zeros(1)
        step_y, step_x = grid.y[1] - grid.y[0], grid.x[1] - grid.x[0]
        total = np.zeros(grid.shape)
        for dy in offsets:
            for dx in offsets:
                lat, lon = grid.geographic(grid.y[:, None] + dy * step_y, grid.x[None, :] + dx * step_x)
                total += self.sample(lat, lon, day)
        return np.asarray(total / n**2, dtype=np.float32)


class Reader:
    """A large field, kept open: parts of it by first row and column and size, columns counted past the date line.

    Decoded chunks stay in a cache, so that blocks that lie side by side decode
    each chunk about once.
    """

    def __init__(self, field: Static) -> None:
        import h5py

        self._scale, self._columns = np.float32(field.scale), field.grid.x.size
        self._file = h5py.File(field.path, "r", locking=False, rdcc_nbytes=CACHE_BYTES, rdcc_nslots=5003, rdcc_w0=0.0)
        self._data = self._file["data"]
        self._lock = threading.Lock()

    def part(self, row: int, rows: int, column: int, columns: int) -> Float32Array:
        """Values in the field's units, float32 (rows, columns); columns beyond the last go on from the first."""
        first = column % self._columns
        until = min(first + columns, self._columns)
        with self._lock:
            pieces = [self._data[row : row + rows, first:until]]
            while sum(p.shape[1] for p in pieces) < columns:
                missing = columns - sum(p.shape[1] for p in pieces)
                pieces.append(self._data[row : row + rows, : min(missing, self._columns)])
        values = np.concatenate(pieces, axis=1) if len(pieces) > 1 else pieces[0]
        return np.asarray(values.astype(np.float32) * self._scale)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def months_of(day: float) -> tuple[int, int, float]:
    """The two months (1 to 12) whose middles lie around a day of the year, and the weight of the second."""
    after = int(np.searchsorted(MID_MONTHS, day, side="right"))
    first, second = (after - 1) % 12, after % 12
    span = (MID_MONTHS[second] - MID_MONTHS[first]) % 365.0
    return first + 1, second + 1, float(((day - MID_MONTHS[first]) % 365.0) / span)


def _edges(axis: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cell edges half way between centres."""
    middle = (axis[1:] + axis[:-1]) / 2
    return np.concatenate([[2 * axis[0] - middle[0]], middle, [2 * axis[-1] - middle[-1]]])


def _integrate_columns(
    values: npt.NDArray[np.float64], x: npt.NDArray[np.float64], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean along a closed row between `edges` (degrees, ascending, less than a turn)."""
    n = x.size
    step = 360.0 / n
    place = (edges - (x[0] - step / 2)) / step  # in cells from the first edge
    turns, within = np.divmod(place, n)
    total = np.zeros((values.shape[0], n + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    k = np.minimum(within.astype(int), n - 1)
    there = total[:, k] + (within - k) * values[:, k] + turns * total[:, -1:]
    return np.asarray(np.diff(there, axis=1) / np.diff(place))


if __name__ == "__main__":
    from pipshpc.fetch import main

    raise SystemExit(main())
