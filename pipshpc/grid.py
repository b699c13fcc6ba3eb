"""Output grids and boxes: regular latitude/longitude, rows from north to south, or projected ones by name.

Geometry is arithmetic: nothing here reads a file or knows of ranks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError
from pipshpc.polar import GRIDS, PolarGrid

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A region in degrees; ``west > east`` means that it crosses the date line.

    The whole globe is ``Box(-180, -90, 180, 90)``.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if not -90 <= self.south < self.north <= 90:
            raise SpecError(f"box {self}: wanted -90 <= south < north <= 90")
        if not (-180 <= self.west <= 180 and -180 <= self.east <= 360):
            raise SpecError(f"box {self}: wanted -180 <= west <= 180 and -180 <= east <= 360")
        if self.west == self.east:
            raise SpecError(f"box {self}: west equals east, which is an empty box; for the globe write -180 -90 180 90")
        if self.width > 360:
            raise SpecError(f"box {self}: is {self.width:g} degrees wide, wanted at most 360")

    @property
    def width(self) -> float:
        """Extent in longitude, degrees, in (0, 360]."""
        return self.east - self.west if self.east > self.west else self.east - self.west + 360.0

    def __str__(self) -> str:
        return f"[{self.west:g}, {self.south:g}, {self.east:g}, {self.north:g}] (west, south, east, north)"


GLOBE = Box(-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True)
class Grid:
    """A global regular grid of square cells, `per_degree` cells to a degree."""

    per_degree: Fraction

    @classmethod
    def parse(cls, text: str) -> Grid:
        """Read ``"0.05deg"`` or ``"1/120deg"``; the cells must divide 180 degrees evenly."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\d+/\d+)\s*deg\s*", text)
        if not match or Fraction(match.group(1)) <= 0:
            raise SpecError(
                f"grid '{text}': wanted a cell size such as '0.05deg' or '1/120deg', or one of {', '.join(GRIDS)}"
            )
        per_degree = 1 / Fraction(match.group(1))
        if (180 * per_degree).denominator != 1:
            raise SpecError(f"grid '{text}': 180 degrees are not a whole number of cells")
        return cls(per_degree)

    @property
    def name(self) -> str:
        """Text that `parse` reads back, e.g. ``0.05deg``."""
        step = 1 / self.per_degree
        decimal = f"{float(step):.10g}"
        return f"{decimal}deg" if Fraction(decimal) == step else f"{step}deg"

    @property
    def slug(self) -> str:
        """The name as it stands in file names."""
        return self.name.replace("/", "_")

    @property
    def step(self) -> float:
        """Cell size, degrees."""
        return float(1 / self.per_degree)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole globe."""
        return int(180 * self.per_degree), int(360 * self.per_degree)

    def window(self, box: Box) -> Window:
        """Return the cells whose centres lie in `box`.

        Raises
        ------
        SpecError
            Where the box is so small that it holds no cell centre.
        """
        k = float(self.per_degree)
        ny, nx = self.shape
        row0 = int(np.ceil((90.0 - box.north) * k - 0.5 - 1e-9))
        row1 = int(np.floor((90.0 - box.south) * k - 0.5 + 1e-9)) + 1
        col0 = int(np.ceil((box.west + 180.0) * k - 0.5 - 1e-9))
        col1 = int(np.floor((box.west + box.width + 180.0) * k - 0.5 + 1e-9)) + 1
        row1, col1 = min(row1, ny), min(col1, col0 + nx)
        if row1 <= row0 or col1 <= col0:
            raise SpecError(f"box {box}: holds no cell centre of the {self.name} grid; make it larger")
        return Window(self, (row0, col0), (row1 - row0, col1 - col0))


@dataclass(frozen=True)
class Window:
    """A rectangle of a grid: `start` (row, column) and `count`, as in HDF5.

    Columns may pass the date line (column >= columns of the globe): then
    longitudes go on beyond 180 degrees.
    """

    grid: Grid
    start: tuple[int, int]
    count: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.count

    def lat(self, first: int = 0, count: int | None = None) -> DoubleArray:
        """Latitudes of cell centres, degrees north, north to south."""
        n = self.count[0] - first if count is None else count
        rows = self.start[0] + first + np.arange(n)
        return np.asarray(90.0 - (rows + 0.5) / float(self.grid.per_degree), np.float64)

    def lon(self, first: int = 0, count: int | None = None) -> DoubleArray:
        """Longitudes of cell centres, degrees east, ascending (beyond 180 past the date line)."""
        n = self.count[1] - first if count is None else count
        columns = self.start[1] + first + np.arange(n)
        return np.asarray((columns + 0.5) / float(self.grid.per_degree) - 180.0, np.float64)

    def place(self, start: tuple[int, int], count: tuple[int, int]) -> tuple[DoubleArray, DoubleArray]:
        """Return the (rows,) latitudes and (columns,) longitudes of a block of cells."""
        return self.lat(start[0], count[0]), self.lon(start[1], count[1])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north edges in degrees (east may pass 180)."""
        k = float(self.grid.per_degree)
        north = 90.0 - self.start[0] / k
        west = self.start[1] / k - 180.0
        return west, north - self.count[0] / k, west + self.count[1] / k, north


@dataclass(frozen=True)
class PolarWindow:
    """A rectangle of a projected grid: `start` (row, column) and `count`."""

    grid: PolarGrid
    start: tuple[int, int]
    count: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.count

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the whole grid that it takes."""
        (row, column), (rows, columns) = self.start, self.count
        return slice(row, row + rows), slice(column, column + columns)

    def place(self, start: tuple[int, int], count: tuple[int, int]) -> tuple[DoubleArray, DoubleArray]:
        """Return the (rows, columns) latitudes and longitudes of a block of cells."""
        row, column = self.start[0] + start[0], self.start[1] + start[1]
        return self.grid.geographic(slice(row, row + count[0]), slice(column, column + count[1]))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of its cells' centres, degrees; all longitudes where it holds a pole."""
        lat, lon = self.grid.geographic(*self.slices)
        return geographic_bounds(lat, lon)


def geographic_bounds(lat: DoubleArray, lon: DoubleArray) -> tuple[float, float, float, float]:
    """Return west, south, east, north of places; the whole circle where their longitudes leave no gap of 30 degrees."""
    south, north = float(lat.min()), float(lat.max())
    turned = np.sort(np.mod(lon.ravel(), 360.0))
    gaps = np.diff(np.append(turned, turned[0] + 360.0))
    widest = int(np.argmax(gaps))
    if gaps[widest] < 30.0:
        around = 88.0  # a window about a pole holds it, also where no centre does
        return -180.0, -90.0 if south < -around else south, 180.0, 90.0 if north > around else north
    west = float(turned[(widest + 1) % turned.size])
    east = float(turned[widest])
    west = west - 360.0 if west >= 180.0 else west
    return west, south, east + 360.0 * float(np.ceil((west - east) / 360.0)), north


AnyGrid = Grid | PolarGrid
AnyWindow = Window | PolarWindow


def parse_grid(text: str) -> AnyGrid:
    """Read the name of a grid: a cell size in degrees, or a projected grid of `pipshpc.polar`."""
    return GRIDS[text.strip()] if text.strip() in GRIDS else Grid.parse(text)


def window_of(grid: AnyGrid, start: tuple[int, int], count: tuple[int, int]) -> AnyWindow:
    """Return a rectangle of a grid."""
    return Window(grid, start, count) if isinstance(grid, Grid) else PolarWindow(grid, start, count)


def find_window(grid: AnyGrid, box: Box) -> AnyWindow:
    """Return the cells of a box; of a projected grid the smallest rectangle that holds all centres in it.

    Raises
    ------
    SpecError
        Where no centre lies in it.
    """
    if isinstance(grid, Grid):
        return grid.window(box)
    if box == GLOBE:
        return PolarWindow(grid, (0, 0), grid.shape)
    lat, lon = grid.geographic()
    inside = (lat >= box.south) & (lat <= box.north) & (np.mod(lon - box.west, 360.0) <= box.width)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        raise SpecError(
            f"box {box}: holds no cell centre of the {grid.name} grid; give another box, or 'globe' for all"
        )
    first = int(rows[0]), int(columns[0])
    return PolarWindow(grid, first, (int(rows[-1]) - first[0] + 1, int(columns[-1]) - first[1] + 1))
