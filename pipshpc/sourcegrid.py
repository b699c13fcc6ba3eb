"""The grid of a forcing or static field, and where a place lies on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError

Float64Array = npt.NDArray[np.float64]

CLOSED = 1e-3  # of a step: how near to 360 degrees a row of longitudes closes on itself


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """Cell centres of a rectilinear grid, ascending along both axes.

    Parameters
    ----------
    y, x : float64, 1-D, ascending
        Latitudes and longitudes in degrees where `crs` is None, else
        coordinates of the projection in metres. Longitudes may pass 180 or
        360; they are only ever compared modulo 360.
    crs : PROJ string or WKT of the projection, None for latitude and longitude
    periodic : the row of longitudes goes once round the globe, so that the
        neighbour of the last column is the first

    Raises
    ------
    InputError
        Axes that are not 1-D, not ascending, or longer than the globe.
    """

    y: Float64Array
    x: Float64Array
    crs: str | None = None
    periodic: bool = False

    def __post_init__(self) -> None:
        for name, axis in (("y", self.y), ("x", self.x)):
            if axis.ndim != 1 or axis.size < 1:
                raise InputError(
                    f"grid axis {name} has shape {axis.shape}; one dimension of 1 or more points is wanted"
                )
            if not np.all(np.isfinite(axis)) or (axis.size > 1 and not np.all(np.diff(axis) > 0)):
                raise InputError(f"grid axis {name} does not ascend strictly or holds missing values")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.y.size, self.x.size

    @cached_property
    def edges(self) -> tuple[float, float, float, float]:
        """Outer edges of the cells: y low, y high, x low, x high.

        The half cell beyond the outermost centres belongs to the grid. A
        latitude axis that ends within 1.5 steps of a pole reaches the pole.
        """
        y_low, y_high = _outer(self.y)
        x_low, x_high = _outer(self.x)
        if self.crs is None:
            step = float(np.median(np.diff(self.y))) if self.y.size > 1 else 0.0
            y_low = -90.0 if y_low - step <= -90.0 else y_low
            y_high = 90.0 if y_high + step >= 90.0 else y_high
        return y_low, y_high, x_low, x_high

    def locate(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Fractional indices of places on this grid, for bilinear interpolation.

        Parameters
        ----------
        lat, lon : array_like
            Degrees. On a latitude-longitude grid each keeps its own shape
            (rows of `lat`, columns of `lon`); on a projected grid they are
            broadcast against each other (give ``lat[:, None], lon[None, :]``).

        Returns
        -------
        fy, fx : float64
            Index along `y` and along `x`; 2.25 lies a quarter of the way
            from centre 2 to centre 3. `fy` is in [0, ny - 1]; `fx` is in
            [0, nx - 1], and in [0, nx) where the grid is periodic (past
            nx - 1 the right neighbour is column 0). Places in the half cell
            beyond the outermost centres, and between the last row and a
            pole, take the outermost index. NaN where the grid does not cover.
        """
        if self.crs is None:
            return self._locate_rows(np.asarray(lat, float)), self._locate_columns(np.asarray(lon, float))
        px, py = self._projection.transform(*np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float)))
        fy, fx = _index(self.y, np.asarray(py)), _index(self.x, np.asarray(px))
        inside = np.isfinite(fy) & np.isfinite(fx)
        return np.where(inside, fy, np.nan), np.where(inside, fx, np.nan)

    def covers(self, west: float, south: float, east: float, north: float) -> bool:
        """Whether all of a box (degrees, cell edges; east may be below west) lies on the grid."""
        if west >= east:
            east += 360.0
        if self.crs is None:
            y_low, y_high, x_low, x_high = self.edges
            slack = 1e-6 * max(1.0, y_high - y_low)
            start = x_low + (west - x_low + slack) % 360.0 - slack
            in_x = self.periodic or (start >= x_low - slack and start + (east - west) <= x_high + slack)
            return bool(in_x and south >= y_low - slack and north <= y_high + slack)
        # A straight edge of the box is curved in the projection: walk along it.
        along = np.linspace(0.0, 1.0, 65)
        lon, lat = west + along * (east - west), south + along * (north - south)
        walk_lon = np.concatenate([lon, lon, np.full(65, west), np.full(65, east)])
        walk_lat = np.concatenate([np.full(65, south), np.full(65, north), lat, lat])
        return bool(np.all(np.isfinite(self.locate(walk_lat, walk_lon)[0])))

    def need_cover(self, west: float, south: float, east: float, north: float, title: str) -> None:
        """Raise `InputError` where the box is not covered, naming what is covered and what was asked."""
        if self.covers(west, south, east, north):
            return
        raise InputError(
            f"{title} does not cover the box: it covers {self.describe()}, "
            f"asked for west {west:g}, south {south:g}, east {east:g}, north {north:g} (degrees); "
            "make the box smaller or give a forcing that covers it"
        )

    def describe(self) -> str:
        """Extent and size in plain words."""
        ny, nx = self.shape
        if self.crs is None:
            y_low, y_high, x_low, x_high = self.edges
            across = "all longitudes" if self.periodic else f"longitude {x_low:g} to {x_high:g}"
            return f"latitude {y_low:g} to {y_high:g}, {across} ({ny} x {nx} cells)"
        corners = [(x, y) for y in (self.y[0], self.y[-1]) for x in (self.x[0], self.x[-1])]
        lon, lat = self._projection.transform([c[0] for c in corners], [c[1] for c in corners], direction="INVERSE")
        return (
            f"about latitude {min(lat):.2f} to {max(lat):.2f}, longitude {min(lon):.2f} to {max(lon):.2f} "
            f"({ny} x {nx} cells of a projected grid)"
        )

    def geographic(self, y: npt.ArrayLike, x: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
        """Latitude and longitude (degrees) of places given in coordinates of the grid, broadcast."""
        ys, xs = np.broadcast_arrays(np.asarray(y, float), np.asarray(x, float))
        if self.crs is None:
            return ys, xs
        lon, lat = self._projection.transform(xs, ys, direction="INVERSE")
        return np.asarray(lat), np.asarray(lon)

    @cached_property
    def _projection(self) -> Any:
        import pyproj

        crs = pyproj.CRS.from_user_input(self.crs)
        # Through the projection's own globe: forecast models mean geographic
        # coordinates on their sphere, not a shift from WGS 84.
        geographic = crs.geodetic_crs
        return pyproj.Transformer.from_crs(geographic, crs, always_xy=True)

    def _locate_rows(self, lat: Float64Array) -> Float64Array:
        low, high, _, _ = self.edges
        rows = _index(self.y, lat)
        if low <= -90.0:
            rows = np.where((lat < self.y[0]) & (lat >= -90.0), 0.0, rows)
        if high >= 90.0:
            rows = np.where((lat > self.y[-1]) & (lat <= 90.0), float(self.y.size - 1), rows)
        return rows

    def _locate_columns(self, lon: Float64Array) -> Float64Array:
        if not self.periodic:
            low = self.edges[2]
            return _index(self.x, low + (lon - low) % 360.0)
        turned = self.x[0] + (lon - self.x[0]) % 360.0
        closed = np.append(self.x, self.x[0] + 360.0)
        columns = np.interp(turned, closed, np.arange(closed.size, dtype=float))
        columns = np.where(columns >= self.x.size, 0.0, columns)
        return np.where(np.isfinite(lon), columns, np.nan)


def lonlat_grid(lat: npt.ArrayLike, lon: npt.ArrayLike) -> tuple[SourceGrid, bool, int]:
    """Make a `SourceGrid` of the axes of a file, and say how its fields must be turned.

    Parameters
    ----------
    lat : degrees, ascending or descending
    lon : degrees, eastward in any range, also one that wraps within the row

    Returns
    -------
    grid : SourceGrid
    flip : rows run from north to south in the file
    columns : number of columns to keep (one less where the last repeats the first)

    Raises
    ------
    InputError
        Latitudes outside -90..90, axes that do not run one way.
    """
    y, x = np.array(lat, float), np.array(lon, float)
    flip = bool(y.size > 1 and y[0] > y[-1])
    y = y[::-1].copy() if flip else y
    if y.size and (y[0] < -90.001 or y[-1] > 90.001):
        raise InputError(f"latitudes run from {y[0]:g} to {y[-1]:g}; -90 to 90 degrees is wanted")
    y = np.clip(y, -90.0, 90.0)
    if x.size > 1:
        # 0, 1, ... 180, -179, ... -1 becomes one ascending row.
        x = np.concatenate([x[:1], x[0] + np.cumsum(np.diff(x) % 360.0)])
    columns, periodic = x.size, False
    if x.size > 2:
        step = float(np.median(np.diff(x)))
        if abs(x[-1] - x[0] - 360.0) < CLOSED * step:
            columns = x.size - 1
            x = x[:columns]
        # Axes kept as float32 are off by up to 3e-5 degrees.
        periodic = abs(x[-1] - x[0] + step - 360.0) < max(0.02 * step, 1e-4)
    return SourceGrid(y, x, None, periodic), flip, columns


def _outer(axis: Float64Array) -> tuple[float, float]:
    """Edges half a step beyond the ends; a single point stands for itself alone."""
    if axis.size == 1:
        return float(axis[0]), float(axis[0])
    return float(axis[0] - (axis[1] - axis[0]) / 2), float(axis[-1] + (axis[-1] - axis[-2]) / 2)


def _index(axis: Float64Array, places: Float64Array) -> Float64Array:
    """Fractional index with the outer half cells clamped and NaN beyond them."""
    low, high = _outer(axis)
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    index = np.interp(places, axis, np.arange(axis.size, dtype=float))
    return np.where((places >= low - slack) & (places <= high + slack), index, np.nan)
