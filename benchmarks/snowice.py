"""Snow and ice on plain arrays, one thread: our loops against plain NumPy on the same pixels.

``python -m benchmarks.snowice [--pixels N] [--repeats N] [--out FILE.json]``

Peers are NumPy formulations in the manner of the public packages: sea ice
with masks on whole fields, Snow-17 with ``np.where``. Snobal has no peer that
can be built here, so it is given as time of a point-step. What peers compute
is held against ours before it is timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipshpc.kernel import evaluate
from pipshpc.product import find_card
from pipshpc.seaice import find_bootstrap, nasateam_parameters
from pipshpc.tiepoints import fixed_points

Arrays = dict[str, Any]
TIMES = 20.0  # faster than the packages, as promised


def nasateam_numpy(x: Arrays, c: dict[str, float]) -> Any:
    """NASA Team with whole-field masks, double precision."""
    pr = (x["tb19v"] - x["tb19h"]) / (x["tb19v"] + x["tb19h"])
    gr = (x["tb37v"] - x["tb19v"]) / (x["tb37v"] + x["tb19v"])
    gr22 = (x["tb22v"] - x["tb19v"]) / (x["tb22v"] + x["tb19v"])
    both = pr * gr
    under = c["e"] + c["f"] * pr + c["g"] * gr + c["h"] * both
    under[under == 0] = 0.01
    first = c["a"] + c["b"] * pr + c["c"] * gr + c["d"] * both
    older = c["i"] + c["j"] * pr + c["k"] * gr + c["l"] * both
    conc = (first + older) / under
    conc[conc < 0] = 0
    conc[(gr > c["gr3719_most"]) | (gr22 > c["gr2219_most"])] = 0
    conc[conc > 1] = 1
    return conc


def bootstrap_numpy(x: Arrays) -> Any:
    """Bootstrap with whole-field intersections and masks, double precision."""
    numbers = find_bootstrap("north")
    p = fixed_points(numbers)

    def share(tbx: Any, tby: Any, wtp: tuple[float, float], itp: tuple[float, float], line: tuple[float, float]) -> Any:
        offset, slope = line
        own = (tby - wtp[1]) / (tbx - wtp[0])
        start = tby - own * tbx
        cut = (start - offset) / (slope - own)
        length = np.sqrt((tbx - wtp[0]) ** 2 + (tby - wtp[1]) ** 2)
        found = length / np.sqrt((cut - wtp[0]) ** 2 + (start + own * cut - wtp[1]) ** 2)
        found[found > 1] = 1
        rise = (itp[1] - wtp[1]) / (itp[0] - wtp[0])
        begin = wtp[1] - wtp[0] * rise
        at = (begin - offset) / (slope - rise)
        whole = np.sqrt((at - wtp[0]) ** 2 + (slope * at + offset - wtp[1]) ** 2)
        under = tby < rise * tbx + begin
        found[under] = np.minimum(length[under] / whole, 1)
        return found

    ice = numbers.ice
    line37, line19 = (p.offset37h, p.slope37h), (p.offset19v, p.slope19v)
    a = share(x["tb37v"], x["tb37h"], (p.wtp37v, p.wtp37h), (ice["v37"], ice["h37"]), line37)
    b = share(x["tb37v"], x["tb19v"], (p.wtp37v, p.wtp19v), (ice["v37"], ice["v19"]), line19)
    low = x["tb37h"] <= p.offset37h - p.below + p.slope37h * x["tb37v"]
    a[low] = b[low]
    offset, slope, most = numbers.wet_winter
    wet = (slope * x["tb22v"] + offset > x["tb19v"]) | (x["tb22v"] - x["tb19v"] > most)
    above, rise = numbers.above_h37
    a[wet & ((rise * x["tb37v"] + above > x["tb37h"]) | (x["tb37v"] >= 230))] = 0
    a[a < 0.1] = 0
    return a


def snow17_numpy(x: Arrays, c: dict[str, float]) -> Any:
    """One day of Snow-17 with np.where, double precision; the mass of the pack."""
    t, days = x["tas"] - 273.15, c["step"] / 86400
    quarters, fall = 4 * days, x["pr"] * c["step"]
    liquid = np.clip((t - c["pxtemp"] + 1) / 2, 0, 1)
    rain, snow = fall * liquid, fall * (1 - liquid) * c["scf"]
    season = np.sin((x["doy"] - 81 + np.where(x["lat"] >= 0, 0, 183)) * 2 * np.pi / 365)
    factor = ((c["mfmax"] + c["mfmin"]) / 2 + (c["mfmax"] - c["mfmin"]) / 2 * season) * quarters
    ice = x["ice"] + snow
    curve = [c[f"a{k}"] for k in range(11)]
    cover = np.interp(np.clip((ice + x["water"]) / c["si"], 0, 1), np.linspace(0, 1, 11), curve)
    dry = factor * np.maximum(t - c["mbase"], 0) * cover
    on_rain = np.maximum(0, c["uadj"] * quarters * (t - c["mbase"])) + 0.0125 * rain * np.maximum(t, 0)
    melt = np.where(rain > 0.3 * days, np.maximum(dry, on_rain), dry)
    melt = np.where(t > c["mbase"], melt, 0) + c["daygm"] * days * cover
    melt = np.minimum(np.where(ice > 0, melt, 0), ice)
    below = np.maximum(c["mbase"] - t, 0)
    cold = np.where(
        t < 0, x["deficit"] + c["nmf"] * quarters * below * cover, np.maximum(0, x["deficit"] - melt * 0.33)
    )
    cold = np.where(ice > 0, cold, x["deficit"])
    warmed = np.where((cold > 0) & (melt > 0) & (ice > 0), np.minimum(melt, cold), 0)
    melt = melt - warmed
    ice = ice - melt
    water = x["water"] + melt + rain
    water = np.minimum(water, c["plwhc"] * ice)
    frozen = np.where((t < c["mbase"]) & (water > 0), np.minimum(water, c["nmf"] * quarters * below), 0)
    return np.maximum(ice + frozen, 0) + np.maximum(water - frozen, 0)


def fields(n: int) -> Arrays:
    """Return brightness temperatures of the polar seas and days of a winter, float32."""
    rng = np.random.default_rng(1)
    made = {"tb19v": rng.uniform(175, 265, n), "tas": rng.normal(271, 8, n), "pr": rng.uniform(0, 3e-4, n)}
    made |= {"tb19h": made["tb19v"] - rng.uniform(5, 70, n), "tb22v": made["tb19v"] + rng.uniform(-3, 18, n)}
    made |= {"tb37v": made["tb19v"] + rng.uniform(-30, 25, n), "doy": rng.uniform(1, 365, n)}
    made |= {"tb37h": made["tb37v"] - rng.uniform(5, 70, n), "lat": rng.uniform(-70, 70, n)}
    made |= {"ice": rng.uniform(0, 300, n), "water": rng.uniform(0, 5, n), "deficit": rng.uniform(0, 5, n)}
    made |= {"ati": rng.uniform(-10, 0, n)}
    return {k: v.astype(np.float32) for k, v in made.items()}


def best_of(run: Callable[[], Any], repeats: int) -> float:
    """Return the shortest of several runs, s."""
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return min(found)


def snobal_step(n: int, repeats: int) -> float:
    """Return the time of a point-step of Snobal, s: an hour of packs of all weights."""
    rng = np.random.default_rng(2)
    algorithm = find_card("snw").algorithm("snobal")
    mass = 10 ** rng.uniform(0.3, 2.7, n)
    x: Arrays = {"rss": 120.0, "rlds": 260.0, "tas": rng.normal(268, 5, n), "vap": 320.0, "sfcWind": 3.5, "tsl": 272.5}
    x |= {"pr": 0.0, "snowshare": 1.0, "newdensity": 100.0, "tpr": 268.0, "ps": 8e4}
    state: Arrays = dict.fromkeys(algorithm.state, 0.0) | {"mass": mass, "depth": mass / 250.0, "cold_upper": -4.0}
    state |= {"cold_lower": -2.0, "cold_mean": -3.0, "tsl_before": 272.5, "ps_before": 8e4}
    state |= {f"{a}_before": x[b] for a, b in (("rss", "rss"), ("rlds", "rlds"), ("tas", "tas"), ("vap", "vap"))}
    state |= {"wind_before": 3.5, "share_before": 1.0, "density_before": 100.0, "tpr_before": 268.0}
    state.pop("ps_before")
    given = {k: np.full(n, v, np.float32) if np.ndim(v) == 0 else np.float32(v) for k, v in (x | state).items()}
    return best_of(lambda: evaluate(algorithm, given), repeats) / n


def compare(pixels: int, repeats: int) -> list[dict[str, Any]]:
    """Time ours and the peers; raise where they do not agree."""
    x = fields(pixels)
    double = {k: v.astype(np.float64) for k, v in x.items()}
    team = nasateam_parameters("f17", "north")
    snow = find_card("snw").algorithm("snow17")
    contests = (
        ("siconc", "nasateam", "siconc", lambda: nasateam_numpy(double, team), 1e-4),
        ("siconc", "bootstrap", "siconc", lambda: bootstrap_numpy(double), 1e-3),
        ("snw", "snow17", "snw", lambda: snow17_numpy(double, snow.parameters), 1e-2),
    )
    results = []
    for product, name, output, peer, tolerance in contests:
        algorithm = find_card(product).algorithm(name)
        given = {n: x[n] for n in (*algorithm.inputs, *algorithm.state)}
        ours = evaluate(algorithm, given)[output]
        off = np.abs(ours - peer())
        if np.quantile(off[np.isfinite(off)], 0.999) > tolerance:
            raise ValueError(f"{name}: differs from its peer by {np.quantile(off, 0.999):g}, wanted {tolerance:g}")
        mine, theirs = best_of(lambda a=algorithm, g=given: evaluate(a, g), repeats), best_of(peer, repeats)
        results.append(
            {"name": name, "ours_mpixel_s": pixels / mine / 1e6, "numpy_mpixel_s": pixels / theirs / 1e6}
            | {"times": theirs / mine, "wanted": TIMES}
        )
    return results


def main() -> None:
    """Print and, if asked, write the figures."""
    parser = argparse.ArgumentParser(description="Snow and ice against plain NumPy, one thread.")
    parser.add_argument("--pixels", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = compare(options.pixels, options.repeats)
    point_step = snobal_step(min(options.pixels, 100_000), options.repeats)
    for r in results:
        ours, theirs = r["ours_mpixel_s"], r["numpy_mpixel_s"]
        print(f"{r['name']:12s} {ours:8.1f} Mpixel/s, NumPy {theirs:6.2f}: {r['times']:.0f} times")
    print(f"snobal       {point_step * 1e9:8.0f} ns a point-step of an hour, packs of 2 to 500 kg m-2")
    if options.out:
        options.out.write_text(json.dumps({"arrays": results, "snobal_point_step_s": point_step}, indent=1))


if __name__ == "__main__":
    main()
