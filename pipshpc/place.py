"""Where the pixels of a block lie in coarse and large fields: indices and weights of bilinear interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.sourcegrid import SourceGrid

LANES = 16
GATHER = 4  # times as many cells as a block's own: then only the cells that its pixels touch are kept

SAME = 1e-4  # of a cell: how near to a cell's centre a pixel is that cell

Doubles = npt.NDArray[np.float64]
Index = npt.NDArray[np.int32]
Weight = npt.NDArray[np.float32]
ReadPart = Callable[[int, int, int, int], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Part:
    """What one block needs of a large field: values, and where its pixels lie in them."""

    place: Any
    values: npt.NDArray[np.float32]


def place_block(grid: SourceGrid, stride: int, lat: Doubles, lon: Doubles, nearest: bool = False) -> Any:
    """Return where the pixels of a block lie in a coarse grid, for bilinear interpolation.

    Parameters
    ----------
    grid : source grid, coordinates ascending
    stride : columns of its fields in memory (one more than the grid has where it is periodic)
    lat, lon : (rows,), (columns,) degrees, pixel centres; (rows, columns) each of a block of a projected grid
    nearest : take the nearest value: weights are 0 or 1

    Notes
    -----
    Pixels outside the grid get a weight of NaN and so become missing. A block
    of a projected grid whose pixels are cells of the source takes these cells
    as they are, whatever is missing beside them.
    """
    from pipshpc._chain import Placement

    if lat.ndim == 2:
        return _place_projected(grid, stride, padded(lat), padded(lon), nearest)
    columns = padded(lon)
    if grid.crs is None:
        fy, fx = grid.locate(lat, columns)
        iy, wy = _split(_whole(fy) if nearest else fy, grid.y.size - 2)
        ix, wx = _split(_whole(fx) if nearest else fx, stride - 2)
        return Placement(stride, iy, wy, ix, wx)
    lat2, lon2 = np.broadcast_arrays(lat[:, None], columns[None, :])
    fy, fx = grid.locate(lat2, lon2)
    iy, wy = _split(fy, grid.y.size - 2)
    ix, wx = _split(fx, stride - 2)
    return Placement(stride, np.zeros(1, np.int32), wy, iy * stride + ix, wx)


def _place_projected(grid: SourceGrid, stride: int, lat: Doubles, lon: Doubles, nearest: bool) -> Any:
    """Place a block of a projected grid; the rows in memory have a column more than the source has."""
    from pipshpc._chain import Placement

    fy, fx = grid.locate(lat, lon)
    row, column = np.broadcast_to(_whole(fy[:, :1]), fy.shape), np.broadcast_to(_whole(fx[:1]), fx.shape)
    if np.all(np.abs(fy - row) < SAME) and np.all(np.abs(fx - column) < SAME):
        iy, ix = row[:, 0].astype(np.int32), column[0].astype(np.int32)
        return Placement(stride, iy, np.zeros(iy.size, np.float32), ix, np.zeros(ix.size, np.float32))
    iy, wy = _split(_whole(fy) if nearest else fy, grid.y.size - 2)
    ix, wx = _split(_whole(fx) if nearest else fx, grid.x.size - 2 + grid.periodic)
    return Placement(stride, np.zeros(1, np.int32), wy, iy * stride + ix, wx)


def read_part(read: ReadPart, grid: SourceGrid, lat: Doubles, lon: Doubles, nearest: bool = False) -> Part:
    """Read what a block needs of a field that is too large to be held whole.

    Indices and weights are those of `place_block`, so that the result has
    the same bits as with the whole field.

    Parameters
    ----------
    read : gives a part by first row, rows, first column and columns (past the last column: from the first on)
    grid : of the field: latitude and longitude, periodic
    lat, lon, nearest : as for `place_block`
    """
    from pipshpc._chain import Placement

    fy, fx = grid.locate(lat, padded(lon))
    iy, wy = _split(_whole(fy) if nearest else fy, grid.y.size - 2)
    ix, wx = _split(_whole(fx) if nearest else fx, grid.x.size - 1)
    # East of the date line of the field the columns begin anew: count on.
    ix = ix + grid.x.size * np.concatenate([[0], np.cumsum(np.diff(ix) < 0)]).astype(np.int32)
    row, column = int(iy.min()), int(ix.min())
    rows, columns = int(iy.max()) - row + 2, int(ix.max()) - column + 2
    if rows * columns <= GATHER * iy.size * ix.size:
        return Part(Placement(columns, iy - row, wy, ix - column, wx), read(row, rows, column, columns))
    # A block of a coarser grid: of each pixel the four cells about it.
    pairs = np.stack([ix - column, ix - column + 1], axis=1).ravel()
    values = np.empty((2 * iy.size, 2 * ix.size), np.float32)
    for k, first in enumerate(iy):
        values[2 * k : 2 * k + 2] = read(int(first), 2, column, columns)[:, pairs]
    two_y, two_x = (2 * np.arange(n, dtype=np.int32) for n in (iy.size, ix.size))
    return Part(Placement(2 * ix.size, two_y, wy, two_x, wx), values)


def _whole(position: Doubles) -> Doubles:
    """The nearest whole number, halves upward."""
    return np.asarray(np.floor(position + 0.5))


def _split(position: Doubles, last: int) -> tuple[Index, Weight]:
    """Split fractional indices into a lower index (at most `last`) and the weight of the next."""
    inside = np.where(np.isfinite(position), position, 0.0)
    index = np.clip(np.floor(inside), 0, last).astype(np.int32)
    return index, (position - index).astype(np.float32)


def padded(values: Doubles) -> Doubles:
    """Lengthen a row, or each of several, to whole vectors by repeating its last value."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % LANES)], mode="edge")
