"""Millions of made-up scenes with footprints as real sensors have them, and the questions that people ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from pipshpc.inventory import Item
from pipshpc.inventory.boxes import wrap
from pipshpc.inventory.granules import tile_box

START = datetime(2015, 1, 1, tzinfo=UTC)
DAYS = 1826
# Sensors with their share of all scenes and the kind of their footprint.
STREAMS = (
    ("MOD11A1.061", "MODIS", "Terra", "tile", 0.13),
    ("MYD11A1.061", "MODIS", "Aqua", "tile", 0.13),
    ("VNP13A2.001", "VIIRS", "Suomi-NPP", "tile", 0.12),
    ("MOD021KM.061", "MODIS", "Terra", "swath", 0.10),
    ("VNP02MOD.002", "VIIRS", "Suomi-NPP", "swath", 0.08),
    ("LC08_L2SP_02", "OLI_TIRS", "Landsat-8", "scene", 0.22),
    ("LC09_L2SP_02", "OLI_TIRS", "Landsat-9", "scene", 0.18),
    ("ERA5", "", "", "globe", 0.04),
)
BATCH = 5000


@dataclass(frozen=True)
class Question:
    """A box, a period and a sensor."""

    box: tuple[float, float, float, float]
    time: tuple[datetime, datetime]
    sensor: str


def make_scenes(count: int, seed: int = 7) -> Iterator[Item]:
    """Yield so many scenes, in the order of time as they would arrive."""
    rng = np.random.default_rng(seed)
    tiles = [box for h in range(36) for v in range(18) if (box := tile_box(h, v))]
    shares = np.array([s[-1] for s in STREAMS]) / sum(s[-1] for s in STREAMS)
    for first in range(0, count, BATCH):
        n = min(BATCH, count - first)
        which = rng.choice(len(STREAMS), n, p=shares)
        draws = rng.random((n, 4))
        for k in range(n):
            collection, sensor, platform, kind, _ = STREAMS[which[k]]
            u = draws[k]
            day = DAYS * (first + k) / count
            box, hours = _footprint(kind, u, tiles)
            start = START + timedelta(days=int(day) if hours >= 24 else day + 0.02 * u[2])
            number = first + k
            yield Item(
                id=f"{collection}.A{start:%Y%j}.{number:08d}", collection=collection, kind="source",
                path=f"/archive/{collection}/{start:%Y/%j}/{number:08d}.hdf", digest=f"{number:032x}", bbox=box,
                start=start, end=start + timedelta(hours=hours), sensor=sensor, platform=platform,
                quality="good" if u[3] < 0.9 else "suspect", size=2_000_000, created=start,
            )  # fmt: skip


def _footprint(kind: str, u: np.ndarray, tiles: list) -> tuple[tuple[float, float, float, float], float]:
    """Return a box and how long the scene lasts, hours."""
    if kind == "globe":
        return (-180.0, -90.0, 180.0, 90.0), 24.0
    if kind == "tile":
        return tiles[int(u[0] * len(tiles))], 24.0
    # Sun-synchronous orbits: latitudes as a circle at 98 degrees passes them, more often near the poles.
    lat = float(np.degrees(np.arcsin(np.sin(2 * np.pi * u[0]) * np.sin(np.radians(98.2)))))
    lon = float(360.0 * u[1] - 180.0)
    high, across, hours = (1.0, 185.0, 0.0) if kind == "scene" else (10.0, 2330.0, 5 / 60)
    south, north = max(-90.0, lat - high), min(90.0, lat + high)
    wide = across / 2 / 111.2 / max(0.02, float(np.cos(np.radians(max(abs(south), abs(north))))))
    if wide >= 175.0:
        return (-180.0, south, 180.0, north), hours
    return (wrap(lon - wide), south, wrap(lon + wide, upper=True), north), hours


def make_questions(count: int, seed: int = 11) -> list[Question]:
    """Return searches of the usual kinds: boxes of 1 to 20 degrees, some over the date line, over 1 to 30 days."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        size = float(10 ** rng.uniform(0.0, 1.3))
        west = 175.0 if k % 10 == 0 else float(rng.uniform(-180.0, 180.0 - size))
        south = float(rng.uniform(-70.0, 80.0 - size))
        start = START + timedelta(days=float(rng.uniform(0, DAYS - 31)))
        days = float(rng.choice([1, 3, 8, 30]))
        sensor = ("MODIS", "VIIRS", "OLI_TIRS")[k % 3]
        box = (west, south, wrap(west + size, upper=True), south + size)
        found.append(Question(box, (start, start + timedelta(days=days)), sensor))
    return found
