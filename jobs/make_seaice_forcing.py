"""Write idealised brightness temperatures of sea ice on a polar grid, from a real or a made ice concentration.

``python jobs/make_seaice_forcing.py OUT.nc [--ice OISST-ICE.tif --sea OISST-SST.tif] [--grid psn25wgs84]``

NASA Team's tie points of F17 are mixed by the concentration, which is what
the algorithm takes apart again; noise of 1 K comes on top, and about the pole
a hole that no orbit sees. No satellite measured these temperatures, and the
file says so: it is there to try the machine, not the algorithm. Without
rasters the concentration is a cap of ice with a soft edge.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipshpc.polar import PolarGrid, find_grid, write_polar
from pipshpc.seaice import find_tiepoints

Doubles = npt.NDArray[np.float64]
ABOVE_19 = 3.0  # K: 22 GHz over 19 GHz, so that the weather filter lets the pixel through


def take_ice(grid: PolarGrid, ice: Path, sea: Path) -> Doubles:
    """Return OISST's concentration at the grid's centres, 0..1, NaN on land."""
    import rasterio

    with rasterio.open(ice) as file:
        percent, place = file.read(1).astype(float), file.transform
    with rasterio.open(sea) as file:
        water = file.read(1) != file.nodata
    lat, lon = grid.geographic()
    row = np.clip(((place.f - lat) / -place.e).astype(int), 0, percent.shape[0] - 1)
    column = np.clip(((lon - place.c) % 360 / place.a).astype(int), 0, percent.shape[1] - 1)
    return np.where(water[row, column], np.clip(percent[row, column], 0, 100) / 100, np.nan)


def make_ice(grid: PolarGrid) -> Doubles:
    """Return a cap of ice: full beyond 80 degrees, none before 70."""
    return np.asarray(np.clip((np.abs(grid.geographic()[0]) - 70.0) / 10.0, 0.0, 1.0))


def mix(ice: Doubles, hemisphere: str, noise: float, seed: int) -> dict[str, npt.NDArray[np.float32]]:
    """Return brightness temperatures, K, of open water and first-year ice in the shares of `ice`."""
    tie, rng = find_tiepoints("f17", hemisphere), np.random.default_rng(seed)
    fields = {}
    for name, (water, first, _) in {"tb19h": tie.h19, "tb19v": tie.v19, "tb37v": tie.v37}.items():
        fields[name] = (water + ice * (first - water) + rng.normal(0.0, noise, ice.shape)).astype(np.float32)
    fields["tb22v"] = fields["tb19v"] + np.float32(ABOVE_19)
    return fields


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--ice", type=Path, help="raster of OISST's ice concentration, percent")
    parser.add_argument("--sea", type=Path, help="raster of OISST's sea temperature, which has no value on land")
    parser.add_argument("--grid", default="psn25wgs84")
    parser.add_argument("--time", default="2022-09-13T12:00:00")
    parser.add_argument("--noise", type=float, default=1.0, help="K")
    parser.add_argument("--hole", type=float, default=89.18, help="latitude from which nothing is seen")
    options = parser.parse_args()
    grid = find_grid(options.grid)
    real = options.ice is not None and options.sea is not None
    ice = take_ice(grid, options.ice, options.sea) if real else make_ice(grid)
    lat = grid.geographic()[0]
    ice = np.where(np.abs(lat) >= options.hole, np.nan, ice)
    origin = f"the concentration of {options.ice.name}" if real else "a made cap of ice"
    about = {
        "title": f"Idealised brightness temperatures on {grid.name}",
        "comment": f"Mixed from NASA Team tie points of F17 by {origin}, noise of {options.noise:g} K; "
        "no satellite measured them.",
        "source": "idealised, inverse of the tie-point mixing",
    }
    names = {"tb19v": "19 GHz, vertical", "tb19h": "19 GHz, horizontal", "tb22v": "22 GHz", "tb37v": "37 GHz, vertical"}
    attributes = {k: {"units": "K", "long_name": f"brightness temperature, {v}"} for k, v in names.items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    hemisphere = "north" if lat.mean() > 0 else "south"
    write_polar(str(options.out), grid, mix(ice, hemisphere, options.noise, 0), attributes, about, options.time)


if __name__ == "__main__":
    main()
