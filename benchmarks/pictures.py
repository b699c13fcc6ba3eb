"""Small pictures of products for the docs: of a real Landsat scene, and of a campaign's files.

``python -m benchmarks.pictures --scene FOLDER --globe FOLDER``

A product is drawn from the scene where all that one of its algorithms needs is
in it, one product made of others; else from the product files of a coarse
global campaign.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np

from pipshpc.classify import classify, train_gaussian
from pipshpc.granule import read_landsat8
from pipshpc.kernel import compute
from pipshpc.product import Card, load_cards

DOCS = Path(__file__).parents[1] / "docs"
SCENE_FAMILIES = ("vegetation", "water", "minerals")
BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")


def scene_products(folder: Path) -> dict[str, Any]:
    """Return all products that follow from a scene's reflectances, in the order in which they can be made."""
    scene = read_landsat8(folder).fields
    have: dict[str, Any] = {f"sr_{b}": scene[f"sr_{b}"] for b in BANDS}
    mndwi = compute("mndwi", sr_green=have["sr_green"], sr_swir1=have["sr_swir1"])
    have["rho_w"] = np.where(mndwi > 0, have["sr_red"], np.nan)  # the reflectance of water is that of water only
    made: dict[str, Any] = {}
    cards = [c for c in load_cards().values() if c.family in SCENE_FAMILIES]
    for _ in range(3):  # products of products
        for card in cards:
            for algorithm in card.algorithms:
                known = {**have, **made}
                if card.id not in made and algorithm.loop == "pointwise" and set(algorithm.inputs) <= set(known):
                    made[card.id] = compute(card.id, algorithm.name, **{n: known[n] for n in algorithm.inputs})
    return {**have, **made}


def draw(values: Any, card: Card, path: Path) -> None:
    """Draw one small picture with a colour bar; rows run from south to north."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seen = values[np.isfinite(values)]
    if seen.size < 0.1 * values.size:
        return  # a scene without water says nothing of what is in it
    classes = card.packing.dtype == "uint8" and card.packing.scale_factor == 1.0
    low, high = card.valid_range if classes else np.percentile(seen, [1, 99])
    figure, axes = pyplot.subplots(figsize=(3.2, 1.9), dpi=75)
    colours = pyplot.get_cmap(card.cmap).copy()
    colours.set_bad("0.85")
    kind: dict[str, Any] = {"vmin": low, "vmax": max(high, low + 1e-12), "cmap": colours, "interpolation": "nearest"}
    shown = axes.imshow(np.ma.masked_invalid(values), origin="lower", **kind)
    axes.set_axis_off()
    bar = figure.colorbar(shown, fraction=0.04, pad=0.02)
    bar.ax.tick_params(labelsize=6)
    figure.tight_layout(pad=0.2)
    save(figure, path)
    pyplot.close(figure)


def save(figure: Any, path: Path) -> None:
    """Save a figure with few colours: a third of the size."""
    from PIL import Image

    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    Image.open(memory).convert("RGB").quantize(64).save(path, optimize=True)


def seeds(x: dict[str, Any]) -> tuple[list[str], Any]:
    """Return names of classes and the class of pixels that are surely of one; 255 elsewhere."""
    names = ["dense plants", "plants", "sparse plants", "bare or built"]
    found = np.full(x["ndvi"].shape, 255, np.uint8)
    for k, (low, high) in enumerate(((0.75, 1.0), (0.55, 0.62), (0.32, 0.40), (-0.1, 0.2))):
        found[(x["ndvi"] > low) & (x["ndvi"] < high) & (x["mndwi"] < -0.1)] = k
    return names, found


def classes_of(x: dict[str, Any]) -> tuple[list[str], Any]:
    """Train a Gaussian model on seeds of the scene itself and apply it to all of it."""
    names, found = seeds(x)
    sure = found < 255
    bands = [f"sr_{b}" for b in BANDS]
    samples = np.stack([x[b][sure] for b in bands], axis=1)
    model = train_gaussian(samples, found[sure], bands, names, priors=[1.0] * len(names))
    return names, classify(model, {b: x[b] for b in bands})[0]


def overview(x: dict[str, Any], path: Path) -> None:
    """Draw six views of the scene side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.colors import ListedColormap

    names, labels = classes_of(x)
    figure, axes = pyplot.subplots(2, 3, figsize=(9.6, 5.2), dpi=80)
    natural = np.clip(np.stack([x[f"sr_{b}"] for b in ("red", "green", "blue")], axis=-1) / 0.25, 0, 1)
    axes[0, 0].imshow(np.nan_to_num(natural), origin="lower")
    axes[0, 0].set_title("red, green, blue", fontsize=9)
    views = (("ndvi", "YlGn", -0.2, 0.9), ("evi", "YlGn", -0.2, 0.9), ("ndmi", "BrBG", -0.5, 0.5),
             ("mndwi", "RdBu", -0.8, 0.8))  # fmt: skip
    for axis, (name, cmap, low, high) in zip(axes.flat[1:5], views, strict=True):
        shown = axis.imshow(np.ma.masked_invalid(x[name]), origin="lower", cmap=cmap, vmin=low, vmax=high)
        axis.set_title(name, fontsize=9)
        figure.colorbar(shown, ax=axis, fraction=0.035, pad=0.02).ax.tick_params(labelsize=6)
    colours = ListedColormap(["#0b5d1e", "#52a447", "#c7d36f", "#b5835a"])
    shown = axes[1, 2].imshow(np.ma.masked_equal(labels, 255), origin="lower", cmap=colours, vmin=-0.5, vmax=3.5)
    axes[1, 2].set_title("maximum likelihood", fontsize=9)
    bar = figure.colorbar(shown, ax=axes[1, 2], fraction=0.035, pad=0.02, ticks=range(4))
    bar.ax.set_yticklabels(names, fontsize=6)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.tight_layout(pad=0.4)
    save(figure, path)
    pyplot.close(figure)


def globe_products(folder: Path) -> dict[str, Any]:
    """Return the first window of each product file of a folder, rows from south to north."""
    import h5py

    found = {}
    for path in sorted(folder.rglob("*.nc")):
        product = path.name.split("_")[0]
        with h5py.File(path) as file:
            if product not in file:
                continue
            data = file[product]
            raw = data[0].astype(np.float64)
            raw[data[0] == data.attrs["_FillValue"]] = np.nan
            values = raw * data.attrs.get("scale_factor", 1.0) + data.attrs.get("add_offset", 0.0)
            found[product] = values[::-1] if file["lat"][0] > file["lat"][-1] else values
    return found


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description="Draw pictures for the docs.")
    parser.add_argument("--scene", type=Path, help="folder of a Landsat 8 scene with surface reflectances")
    parser.add_argument("--globe", type=Path, help="folder of product files of a coarse global campaign")
    options = parser.parse_args()
    target, cards = DOCS / "images" / "products", load_cards()
    target.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {}
    if options.globe:
        made |= globe_products(options.globe)
    if options.scene:
        scene = scene_products(options.scene)
        overview(scene, DOCS / "images" / "landsat_indices.png")
        made |= scene
    for name, values in made.items():
        if name in cards:
            draw(values, cards[name], target / f"{name}.png")


if __name__ == "__main__":
    main()
