"""The vegetation family written plainly in NumPy from the papers, float64: indices, a day of MOD17, a curve.

Nothing here is shared with the compiled point functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def _cut(upper: Array, lower: Array, least: float) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(lower) < least, np.nan, np.clip(upper / lower, -1, 1))


def evi(x: dict[str, Array]) -> Array:
    """Enhanced index; without blue where that is bright."""
    blue, red, nir = x["sr_blue"], x["sr_red"], x["sr_nir"]
    two = _cut(2.5 * (nir - red), nir + 2.4 * red + 1, 1e-3)
    return np.where(blue > 0.2, two, _cut(2.5 * (nir - red), nir + 6 * red - 7.5 * blue + 1, 1e-3))


def arvi(x: dict[str, Array]) -> Array:
    """Atmospherically resistant index."""
    blue, red, nir = x["sr_blue"], x["sr_red"], x["sr_nir"]
    both = red - (blue - red)
    return _cut(nir - both, nir + both, 1e-4)


def difference(first: str, second: str) -> Any:
    """Return the formula of a normalised difference."""
    return lambda x: _cut(x[first] - x[second], x[first] + x[second], 1e-4)


INDICES = {
    "ndvi": difference("sr_nir", "sr_red"),
    "evi": evi,
    "arvi": arvi,
    "ndmi": difference("sr_nir", "sr_swir1"),
    "ndwi": difference("sr_green", "sr_nir"),
    "mndwi": difference("sr_green", "sr_swir1"),
}

# By IGBP class from 1: efficiency, temperatures of shut and open, deficits of open and shut, leaf area of a mass,
# roots and living wood to leaves, upkeep of leaves, roots and wood.
BIOMES = np.array([
    [0.001211, -8, 8.31, 650, 3000, 15.0, 1.2, 0.182, 0.00604, 0.00519, 0.00397],
    [0.001405, -8, 9.09, 1000, 4000, 26.9, 1.1, 0.162, 0.00604, 0.00519, 0.00397],
    [0.001227, -8, 10.44, 650, 3500, 16.9, 1.7, 0.165, 0.00815, 0.00519, 0.00397],
    [0.001526, -6, 9.94, 650, 2900, 24.7, 1.1, 0.203, 0.00778, 0.00519, 0.00371],
    [0.001226, -7, 9.50, 650, 2900, 22.6, 1.1, 0.203, 0.00778, 0.00519, 0.00371],
    [0.001495, -8, 8.61, 650, 4300, 9.4, 1.0, 0.079, 0.00869, 0.00519, 0.00436],
    [0.001027, -8, 8.80, 650, 4400, 12.0, 1.3, 0.040, 0.00519, 0.00519, 0.00218],
    [0.001498, -8, 11.39, 650, 3500, 28.8, 1.8, 0.091, 0.00869, 0.00519, 0.00312],
    [0.001454, -8, 11.39, 650, 3600, 28.9, 1.8, 0.051, 0.00869, 0.00519, 0.001],
    [0.001215, -8, 12.02, 650, 4200, 38.0, 2.6, 0.0, 0.0098, 0.00819, 0.0],
    [0.001215, -8, 12.02, 650, 4200, 38.0, 2.6, 0.0, 0.0098, 0.00819, 0.0],
    [0.001300, -8, 12.02, 650, 4500, 38.0, 2.0, 0.0, 0.0098, 0.00819, 0.0],
]).T  # fmt: skip


def mod17_day(
    fapar: Array, tasmin: Array, vpd: Array, rsds: Array, lai: Array, tas: Array, landtype: Array, psn_sum: Array,
    warm_sum: Array, lai_max: Array,
) -> dict[str, Array]:  # fmt: skip
    """One day of MOD17: the state after it, and net production so far, kg m-2."""
    rows = BIOMES[:, landtype - 1]
    efficiency, shut, opened, moist, dry, area, roots, wood, of_leaf, of_root, of_wood = rows
    cold = np.clip((tasmin - 273.15 - shut) / (opened - shut), 0, 1)
    air = np.clip((dry - vpd) / (dry - moist), 0, 1)
    gross = efficiency * cold * air * fapar * 0.45 * rsds * 0.0864
    t = tas - 273.15
    leaf = lai / area
    warm = 2.0 ** ((t - 20) / 10)
    upkeep = leaf * of_leaf * (3.22 - 0.046 * t) ** ((t - 20) / 10) + leaf * roots * of_root * warm
    total, days, most = psn_sum + gross - upkeep, warm_sum + warm, np.maximum(lai, lai_max)
    npp = np.maximum(0.8 * (total - wood * of_wood / area * most * days), 0)
    return {"next_psn_sum": total, "next_warm_sum": days, "next_lai_max": most, "npp": npp}


def two_logistics(t: Array, base: float, top: float, rise: float, fast: float, fall: float, slow: float) -> Array:
    """A season: one logistic curve up, one down."""
    return base + (top - base) * (1 / (1 + np.exp(-fast * (t - rise))) - 1 / (1 + np.exp(-slow * (t - fall))))
