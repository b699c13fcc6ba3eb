"""Projected grids of the polar caps: NSIDC's polar stereographic grids and EASE-2, 25 km.

Rows go from the top (largest y) down, as the files of NSIDC do. Geometry is
arithmetic; the projection itself is PROJ's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PolarGrid:
    """Square cells of `size` m in a projection: `shape` rows and columns, outer corner at (`left`, `top`) m."""

    name: str
    epsg: int
    shape: tuple[int, int]
    left: float
    top: float
    size: float

    @property
    def slug(self) -> str:
        """The name as it stands in file names."""
        return self.name

    @property
    def x(self) -> Doubles:
        """Cell centres along the projection's x, m, ascending."""
        return np.asarray(self.left + (np.arange(self.shape[1]) + 0.5) * self.size)

    @property
    def y(self) -> Doubles:
        """Cell centres along the projection's y, m, descending."""
        return np.asarray(self.top - (np.arange(self.shape[0]) + 0.5) * self.size)

    @cached_property
    def _projection(self) -> Any:
        from pyproj import CRS, Transformer

        crs = CRS.from_epsg(self.epsg)
        return Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)

    def geographic(self, rows: slice = slice(None), columns: slice = slice(None)) -> tuple[Doubles, Doubles]:
        """Latitudes and longitudes, degrees, of the centres of a block of cells: (rows, columns) each."""
        x, y = np.meshgrid(self.x[columns], self.y[rows])
        lon, lat = self._projection.transform(x, y)
        return np.asarray(lat), np.asarray(lon)

    def cell_area(self, rows: slice = slice(None), columns: slice = slice(None)) -> Doubles:
        """Areas on the ellipsoid, km2, of a block of cells: their size over the projection's area scale at the centre.

        EASE-2 is equal-area: all are 625. The scale at the centre is that of
        the whole cell to 2e-5.
        """
        from pyproj import Proj

        lat, lon = self.geographic(rows, columns)
        factors = Proj(f"EPSG:{self.epsg}").get_factors(lon, lat)
        return np.asarray((self.size * 1e-3) ** 2 / factors.areal_scale)

    def grid_mapping(self) -> dict[str, Any]:
        """Return the attributes of the CF grid mapping variable, with the WKT that GDAL reads."""
        from pyproj import CRS

        return dict(CRS.from_epsg(self.epsg).to_cf())

    def locate(self, lat: npt.ArrayLike, lon: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row and column of the cells that hold places; -1 where none does."""
        px, py = self._projection.transform(
            *np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float)), direction="INVERSE"
        )
        column, row = np.floor((px - self.left) / self.size), np.floor((self.top - py) / self.size)
        rows, columns = self.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return np.where(inside, row, -1).astype(np.int64), np.where(inside, column, -1).astype(np.int64)


GRIDS = {
    grid.name: grid
    for grid in (
        PolarGrid("psn25", 3411, (448, 304), -3850000.0, 5850000.0, 25000.0),
        PolarGrid("pss25", 3412, (332, 316), -3950000.0, 4350000.0, 25000.0),
        PolarGrid("psn25wgs84", 3413, (448, 304), -3850000.0, 5850000.0, 25000.0),
        PolarGrid("pss25wgs84", 3976, (332, 316), -3950000.0, 4350000.0, 25000.0),
        PolarGrid("ease2n25", 6931, (720, 720), -9000000.0, 9000000.0, 25000.0),
        PolarGrid("ease2s25", 6932, (720, 720), -9000000.0, 9000000.0, 25000.0),
        # 1388 cells of 25025.26 m span the whole circle.
        PolarGrid("ease2g25", 6933, (584, 1388), -17367530.44, 7307375.92, 25025.26),
    )
}


def find_grid(name: str) -> PolarGrid:
    """Return the grid called `name`, or raise `SpecError` naming the known ones."""
    if name not in GRIDS:
        raise SpecError(f"grid '{name}': known projected grids are {', '.join(GRIDS)}")
    return GRIDS[name]


def write_polar(
    path: str,
    grid: PolarGrid,
    fields: dict[str, npt.NDArray[np.float32]],
    attributes: dict[str, dict[str, Any]],
    about: dict[str, str],
    time: str,
) -> None:
    """Write fields of one time on a projected grid as CF netCDF: x and y, latitude and longitude, areas, grid mapping.

    Parameters
    ----------
    path : of the file; it appears when it is whole
    fields : (y, x) each, NaN where missing
    attributes : of each field (``units``, ``long_name``, ``standard_name``, ...)
    about : global attributes
    time : ISO 8601, UTC
    """
    import netCDF4

    lat, lon = grid.geographic()
    with netCDF4.Dataset(f"{path}.part", "w") as file:
        file.setncatts({"Conventions": "CF-1.11", **about})
        file.createDimension("time", 1)
        rows, columns = grid.shape
        for name, axis, letter in (("y", grid.y, "Y"), ("x", grid.x, "X")):
            file.createDimension(name, axis.size)
            variable = file.createVariable(name, "f8", (name,))
            variable.setncatts(
                {"standard_name": f"projection_{name}_coordinate", "units": "m", "axis": letter, "long_name": name}
            )
            variable[:] = axis
        when = file.createVariable("time", "f8", ("time",))
        when.setncatts({"standard_name": "time", "units": f"hours since {time}", "axis": "T", "calendar": "standard"})
        when[:] = 0.0
        file.createVariable("crs", "i4").setncatts(grid.grid_mapping())
        plain = {"lat": ("latitude", "degrees_north", lat), "lon": ("longitude", "degrees_east", lon)}
        plain["areacello"] = ("cell_area", "km2", grid.cell_area())
        for name, (standard, units, values) in plain.items():
            variable = file.createVariable(name, "f8", ("y", "x"), zlib=True, complevel=1)
            variable.setncatts({"standard_name": standard, "units": units, "grid_mapping": "crs"})
            variable[:] = values
        for name, field in fields.items():
            if field.shape != (rows, columns):
                raise SpecError(
                    f"field '{name}': found the shape {field.shape}, wanted {(rows, columns)} of {grid.name}"
                )
            variable = file.createVariable(name, "f4", ("time", "y", "x"), zlib=True, complevel=1, fill_value=np.nan)
            variable.setncatts({"grid_mapping": "crs", "coordinates": "lat lon", "cell_measures": "area: areacello"})
            variable.setncatts(attributes.get(name, {}))
            variable[0] = field
    Path(f"{path}.part").replace(path)
