"""What the names of granules say: MODIS and VIIRS tiles and swaths, Landsat scenes; and where sinusoidal tiles lie."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from pipshpc.inventory.item import Bounds

SPHERE_M = 6371007.181  # radius of the sphere of the sinusoidal grid
TILES = 36, 18  # columns, rows of the grid
STEPS = 65  # rows of a tile at which its edges are looked at
PLATFORMS = {
    "MOD": "Terra", "MYD": "Aqua", "MCD": "Terra+Aqua",
    "VNP": "Suomi-NPP", "VJ1": "NOAA-20", "VJ2": "NOAA-21",
}  # fmt: skip
MODIS = re.compile(
    r"(?P<product>(?P<head>MOD|MYD|MCD|VNP|VJ1|VJ2)\w+)\.A(?P<day>\d{7})(?:\.(?P<clock>\d{4}))?"
    r"(?:\.h(?P<h>\d\d)v(?P<v>\d\d))?\.(?P<version>\d{3})(?:\.(?P<made>\d{13,14}))?(?:\.|$)"
)
LANDSAT = re.compile(
    r"L(?P<letter>[COTEM])0(?P<number>\d)_(?P<level>\w{4})_(?P<path>\d{3})(?P<row>\d{3})_(?P<day>\d{8})_"
    r"(?P<made>\d{8})_(?P<collection>\d\d)_(?P<tier>RT|T1|T2)"
)
LANDSAT_OLD = re.compile(
    r"L(?P<letter>[COTEM])(?P<number>\d)(?P<path>\d{3})(?P<row>\d{3})(?P<day>\d{7})(?P<station>[A-Z]{3})(?P<made>\d\d)"
)
SWATH = timedelta(minutes=5)  # that a granule of a swath lasts
# Days that a tile stands for, by the letters and digits that end the name of its product; else one day.
SPANS = {"A2": 8, "A3": 16, "C2": 8, "H": 1}


@dataclass(frozen=True)
class Name:
    """What a name says: `ident` leaves out when the granule was processed, so that a new processing replaces it."""

    ident: str
    collection: str
    sensor: str
    platform: str
    start: datetime
    end: datetime
    tile: tuple[int, int] | None = None


def read_name(name: str) -> Name | None:
    """Return what the name of a file says, or None where it is not one of those known here."""
    if match := MODIS.match(name):
        return _modis(match)
    if match := LANDSAT.match(name):
        day = datetime.strptime(match["day"], "%Y%m%d").replace(tzinfo=UTC)
        head = f"L{match['letter']}0{match['number']}_{match['level']}"
        ident = f"{head}_{match['path']}{match['row']}_{match['day']}_{match['collection']}"
        return _landsat(match, ident, f"{head}_{match['collection']}", day)
    if match := LANDSAT_OLD.match(name):
        day = datetime.strptime(match["day"], "%Y%j").replace(tzinfo=UTC)
        head = f"L{match['letter']}{match['number']}"
        return _landsat(match, f"{head}{match['path']}{match['row']}{match['day']}", head, day)
    return None


def _modis(match: re.Match[str]) -> Name:
    product, clock, tile = match["product"], match["clock"], None
    start = datetime.strptime(match["day"], "%Y%j").replace(tzinfo=UTC)
    ident = f"{product}.A{match['day']}"
    if clock:
        start += timedelta(hours=int(clock[:2]), minutes=int(clock[2:]))
        ident += f".{clock}"
    if match["h"]:
        tile = int(match["h"]), int(match["v"])
        ident += f".h{match['h']}v{match['v']}"
    days = next((n for tail, n in SPANS.items() if product.endswith(tail)), 1)
    return Name(
        ident=f"{ident}.{match['version']}",
        collection=f"{product}.{match['version']}",
        sensor="MODIS" if match["head"].startswith("M") else "VIIRS",
        platform=PLATFORMS[match["head"]],
        start=start,
        end=start + (SWATH if clock and not tile else timedelta(days=days)),
        tile=tile,
    )


def _landsat(match: re.Match[str], ident: str, collection: str, day: datetime) -> Name:
    number = int(match["number"])
    sensors = {"C": "OLI_TIRS", "O": "OLI", "T": "TIRS" if number >= 8 else "TM", "E": "ETM+", "M": "MSS"}
    return Name(ident, collection, sensors[match["letter"]], f"Landsat-{number}", day, day + timedelta(days=1))


def tile_box(h: int, v: int) -> Bounds | None:
    """Return the box around a tile of the sinusoidal grid; None for one that lies beside the globe.

    Parameters
    ----------
    h, v : column from the west, row from the north, from 0

    Notes
    -----
    The grid has 36 x 18 tiles of 10 degrees on a sphere of 6371007.181 m; a
    point at (x, y) metres has latitude y / R and longitude x / (R cos latitude).
    """
    size = 2 * math.pi / TILES[0]  # in units of the radius
    return sinusoidal_box((h - TILES[0] // 2) * size, (TILES[1] // 2 - v - 1) * size, size, size)


def sinusoidal_box(west: float, south: float, width: float, height: float) -> Bounds | None:
    """Return the box around a rectangle of the sinusoidal projection; units of the sphere's radius."""
    lat = np.linspace(south, south + height, STEPS)
    lat = np.clip(lat, -math.pi / 2, math.pi / 2)
    narrow = np.maximum(np.cos(lat), 1e-12)
    left, right = west / narrow, (west + width) / narrow
    seen = (left < math.pi - 1e-9) & (right > 1e-9 - math.pi)  # touching the rim in a point is not enough
    if not seen.any():
        return None
    lon = np.degrees(np.clip([left[seen].min(), right[seen].max()], -math.pi, math.pi))
    rows = np.degrees(lat[seen])
    # Between the rows looked at the edge of the globe may run through the tile; a row more on each side has it.
    step = math.degrees(height) / (STEPS - 1)
    low, high = math.degrees(south), math.degrees(south + height)
    ends = max(rows.min() - step, low), min(rows.max() + step, high)
    return tuple(round(float(x), 9) for x in (lon[0], ends[0], lon[1], ends[1]))  # type: ignore[return-value]
