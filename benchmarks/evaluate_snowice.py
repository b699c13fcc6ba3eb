"""Snow and ice on real fields: OISST's ice on a polar grid, MOD10A2 against our composite; pictures for the docs.

``python -m benchmarks.evaluate_snowice SHARED [--images FOLDER] [--out FOLDER]``

There are no brightness temperatures at hand, so those of the sea ice are
idealised: OISST's concentration mixed from the tie points of F17, with noise
of 1 K. The file says so. What comes back shows that grid, algorithms and sums
work together; it is no evidence for the algorithms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pipshpc import compute
from pipshpc.amount import measure_ice
from pipshpc.kernel import evaluate_series
from pipshpc.polar import find_grid, write_polar
from pipshpc.product import find_card
from pipshpc.seaice import correct_coast, correct_spill_over, find_tiepoints, make_shore

IDEAL = (
    "Idealised brightness temperatures: OISST ice concentration of 2022-09-13 mixed from NASA Team tie points of F17, "
    "noise of 1 K; no satellite measured them."
)


def sea_ice(shared: Path, images: Path, out: Path) -> None:
    """Make concentration on the 25 km grid of the north, and a picture."""
    import matplotlib
    import rasterio

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with rasterio.open(shared / "data/global/oisst-avhrr-v02r01.20220913-ice.tif") as ice:
        percent = ice.read(1).astype(float)
        left, top = ice.transform.c, ice.transform.f
    with rasterio.open(shared / "data/global/oisst-avhrr-v02r01.20220913-sst.tif") as sst:
        sea = sst.read(1) != sst.nodata
    grid = find_grid("psn25wgs84")
    lat, lon = grid.geographic()
    row = np.clip(((top - lat) / 0.25).astype(int), 0, 719)
    column = ((lon - left) % 360 / 0.25).astype(int) % 1440
    land = ~sea[row, column]
    truth = np.where(land, np.nan, np.clip(percent[row, column], 0, 100) / 100)
    tie = find_tiepoints("f17", "north")
    rng = np.random.default_rng(0)
    tb = {}
    for name, (water, first, _) in {"tb19h": tie.h19, "tb19v": tie.v19, "tb37v": tie.v37}.items():
        tb[name] = (water + truth * (first - water) + rng.normal(0, 1, truth.shape)).astype(np.float32)
    tb["tb22v"] = tb["tb19v"] + np.float32(3.0)
    raw = compute("sicraw", "nasateam", **tb)
    found = correct_spill_over(raw, make_shore(land), np.full(raw.shape, 0.2, np.float32))
    found = correct_coast(found, land)
    area = grid.cell_area()
    covers = [measure_ice(a.astype(np.float32), area) for a in (truth, found)]
    print(f"extent {covers[0].extent / 1e6:.3f} Mkm2 of OISST, {covers[1].extent / 1e6:.3f} found")
    print(f"area   {covers[0].area / 1e6:.3f} Mkm2 of OISST, {covers[1].area / 1e6:.3f} found")
    card = find_card("siconc")
    attributes = {"units": card.units, "standard_name": card.standard_name, "long_name": card.long_name}
    about = {"title": "Sea ice concentration, NASA Team, 25 km polar stereographic", "comment": IDEAL}
    out.mkdir(parents=True, exist_ok=True)
    path = str(out / "siconc_psn25_20220913.nc")
    write_polar(path, grid, {"siconc": found}, {"siconc": attributes}, about, "2022-09-13T12:00:00")
    figure, axes = plt.subplots(1, 2, figsize=(7, 5.2))
    for axis, values, title in zip(axes, (truth, found), ("OISST", "NASA Team from idealised TB"), strict=True):
        axis.imshow(np.where(land, np.nan, values), cmap="Blues_r", vmin=0, vmax=1)
        axis.set_facecolor("0.6")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(images / "seaice_oisst.png", dpi=90)


def snow(shared: Path, images: Path) -> None:
    """Hold our class of the period against a real tile of MOD10A2."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from pyhdf.SD import SD

    tile = SD(str(shared / "data/tiles/MOD10A2.A2022033.h09v05.061.2022042050729.hdf"))
    extent, days = tile.select("Maximum_Snow_Extent")[:], tile.select("Eight_Day_Snow_Cover")[:]
    other = np.where(extent == 200, 25, extent).astype(np.float32)
    daily = np.stack([np.where(days >> bit & 1, np.float32(200), other).ravel() for bit in range(8)])
    found = evaluate_series(find_card("sncclass").algorithms[0], {"snowcode": daily})["sncclass"].reshape(extent.shape)
    print(f"snow in the tile {np.mean(extent == 200):.5f}, ours {np.mean(found == 200):.5f}")
    apart = np.sum((days > 0) != (extent == 200))
    print(f"codes agree in {np.mean(found == extent):.6f}; the tile's days and its extent are apart in {apart} pixels")
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.7))
    for axis, values, title in zip(axes, (extent, found), ("MOD10A2", "sncclass from its days"), strict=True):
        axis.imshow(values[::6, ::6], cmap="Blues_r", vmin=0, vmax=200)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(images / "snow_mod10a2.png", dpi=90)


def main() -> None:
    """Run both and leave the pictures."""
    parser = argparse.ArgumentParser(description="Snow and ice on real fields.")
    parser.add_argument("shared", type=Path)
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--out", type=Path, default=Path("build/snowice"))
    options = parser.parse_args()
    sea_ice(options.shared, options.images, options.out)
    snow(options.shared, options.images)


if __name__ == "__main__":
    main()
