"""Fluxes on plain arrays, one thread: our loops against packages, plain NumPy and Numba on the same pixels.

``python -m benchmarks.flux [--pixels N] [--repeats N] [--out FILE.json]``

Every contestant runs in turn, in one process. A peer that is not installed is
left out, and it is said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pipshpc._apply import apply
from pipshpc._loops import LOOPS

from benchmarks.measure import Section, Settings, interleave, seconds
from benchmarks.peers import flux_numpy
from pipshpc.product import find_card

Arrays = dict[str, Any]
PACKAGES, NUMBA = 20.0, 5.0  # times faster than these, as promised
FLOOR = 0.7  # or this share of the bandwidth of a copy


def fields(n: int) -> Arrays:
    """Return the state of land and sea by day, float32."""
    rng = np.random.default_rng(1)
    tas = rng.uniform(265, 310, n)
    z0m = 10 ** rng.uniform(-3, 0.3, n)
    made = {
        "tas": tas,
        "ts": tas + rng.uniform(-5, 20, n),
        "vap": rng.uniform(0.2, 0.95, n) * flux_numpy.saturation(tas),
        "ps": rng.uniform(7e4, 1.02e5, n),
        "sfcWind": 15 * rng.uniform(0.03, 1, n) ** 1.5,
        "rn": rng.uniform(50, 700, n),
        "hfdsl": rng.uniform(0, 50, n),
        "z0m": z0m,
        "d0": 5 * z0m,
        "z0h": 0.01 * z0m,
        "ndvi": rng.uniform(0.1, 0.9, n),
        "fapar_max": rng.uniform(0.3, 0.95, n),
        "topt": rng.uniform(285, 303, n),
        "rsds": rng.uniform(100, 900, n),
        "tasmin": tas - 8,
        "lai": rng.uniform(0.1, 6, n),
        "fapar": rng.uniform(0.1, 0.9, n),
        "landtype": rng.integers(1, 13, n).astype(float),
    }
    return {name: values.astype(np.float32) for name, values in made.items()}


class Ours:
    """One compiled loop with its arrays."""

    def __init__(self, product: str, algorithm: str, x: Arrays) -> None:
        card = find_card(product).algorithm(algorithm)
        self.loop = LOOPS[card.kernel]
        self.names = self.loop.rows
        self.rows = [x[n] for n in self.names]
        self.parameters = np.array([card.parameters[n] for n in self.loop.parameters], np.float32)
        self.outs = [np.zeros(self.rows[0].size, np.float32) for _ in self.loop.outputs]

    def __call__(self) -> None:
        apply(self.loop.address, self.rows, self.parameters, self.outs, 1)


def one_source_package(x: Arrays) -> Callable[[], Any]:
    """pyTSEB's one-source solver with its own stop rule, float32 in and out."""
    sys.modules.setdefault("pypro4sail", types.ModuleType("pypro4sail"))
    stub = types.ModuleType("pypro4sail.four_sail")  # used by its leaf optics only
    stub.foursail = None  # type: ignore[attr-defined]
    sys.modules.setdefault("pypro4sail.four_sail", stub)
    from pyTSEB import TSEB

    height = 50.0 + x["d0"]
    args = [x["ts"], x["tas"], x["sfcWind"], x["vap"] / 100, x["ps"] / 100, x["rn"], 0.0 * x["rn"], 1.0 + 0 * x["rn"]]
    args += [x["z0m"], x["d0"], height, height]
    return lambda: TSEB.OSEB(*args, calcG_params=[[0], x["hfdsl"]], kB=float(np.log(100)))


def two_source_package(x: Arrays) -> Callable[[], Any]:
    """pyTSEB's two-source solver with its own stop rule."""
    one_source_package(x)  # its imports
    from pyTSEB import TSEB

    height, hc = 10.0 + x["hc"], x["hc"]
    args = [x["ts"], x["vza"], x["tas"], x["sfcWind"], x["vap"] / 100, x["ps"] / 100, x["sn_canopy"], x["sn_soil"]]
    args += [x["rlds"], x["lai"], hc, 0.98 + 0 * hc, 0.95 + 0 * hc, x["z0m"], x["d0"], height, height]
    return lambda: TSEB.TSEB_PT(*args, f_c=x["fveg"])


def refet_package(x: Arrays) -> Callable[[], Any]:
    """refet's combination equation alone, its inputs in its units already."""
    from refet import calcs

    t = x["tas"] - np.float32(273.15)

    def run() -> Any:
        es = calcs.sat_vapor_pressure(t)
        slope, wind = calcs.es_slope(t), calcs.wind_height_adjust(x["sfcWind"], 10.0)
        energy, ground = x["rn"] * np.float32(0.0036), x["hfdsl"] * np.float32(0.0036)
        dry, psy = calcs.vpd(es, x["vap"] / 1000), np.float32(0.000665) * x["ps"] / 1000
        cd = np.where(x["rn"] > 0, 0.24, 0.96)
        return calcs.etsz(rn=energy, g=ground, tmean=t, u2=wind, vpd=dry, es_slope=slope, psy=psy, cn=37.0, cd=cd)

    return run


def pycoare_package(x: Arrays) -> Callable[[], Any]:
    """pycoare 3.6 with its usual ten iterations."""
    from pycoare import coare_36

    t = (x["tas"] - 273.15).astype(float)
    rh = 100.0 * x["vap"] / flux_numpy.saturation(x["tas"])
    args = {"u": x["sfcWind"].astype(float), "t": t, "rh": rh.astype(float), "ts": (x["ts"] - 273.15).astype(float)}
    return lambda: coare_36(**{k: v.copy() for k, v in args.items()}, p=x["ps"] / 100.0, zu=10, zt=2, zq=2, jcool=0)


def cases(x: Arrays) -> dict[str, tuple[Ours, dict[str, Callable[..., Any]], str]]:
    """Return {title: (ours, peers that may raise ImportError when made, name of the Numba loop)}."""
    height = {"wind": x["sfcWind"], "height_wind": 50 + x["d0"], "height_air": 50 + x["d0"]}

    def plain(name: str, case: Ours) -> Callable[[], Callable[[], Any]]:
        return lambda: lambda: getattr(flux_numpy, name)(**dict(zip(case.names, case.rows, strict=True)))

    table = {}
    for title, product, algorithm, name in (
        ("SEBS", "hfss", "sebs2002", "sebs"),
        ("PT-JPL", "hfls", "ptjpl2008", "ptjpl"),
        ("MOD16", "hfls", "mod16", "mod16"),
        ("ET0", "et0", "asce2005-hourly", "et0_hourly"),
        ("sea", "hfls", "coare36", "coare36"),
    ):
        case = Ours(product, algorithm, x)
        table[title] = (case, {"NumPy": plain(name, case)}, name)
    table["ET0"][1]["refet"] = lambda: refet_package(x)
    table["sea"][1]["pycoare"] = lambda: pycoare_package(x)
    crops = {"hc": 1.0 + 0 * x["z0m"], "z0m": 0.125 + 0 * x["z0m"], "d0": 0.65 + 0 * x["z0m"], "vza": 20 * x["fapar"]}
    crops |= {"fveg": x["fapar"], "sn_canopy": 0.5 * x["rsds"], "sn_soil": 0.3 * x["rsds"], "rlds": 0.5 * x["ts"] + 180}
    crops = {**x, **crops, "wind": x["sfcWind"], "height_wind": 11 + 0 * x["z0m"], "height_air": 11 + 0 * x["z0m"]}
    crops = {k: v[: max(v.size // 20, 1000)].copy() for k, v in crops.items()}  # the package takes its time
    table["two sources"] = (Ours("hfss", "tseb-pt", crops), {"pyTSEB": lambda: two_source_package(crops)}, "")
    table["one source"] = (Ours("hfss", "one-source", {**x, **height}), {"pyTSEB": lambda: one_source_package(x)}, "")
    return table


def measure(settings: Settings) -> Section:
    """Race all members of the family."""
    return race(100_000 if settings.quick else 1_000_000, settings.times(5))


def race(n: int, repeats: int) -> Section:
    """Measure on `n` pixels; every contestant `repeats` times in turn."""
    section = Section("flux", f"Fluxes on {n / 1e6:g} million pixels, one thread")
    x = fields(n)
    try:
        from benchmarks.peers.flux_numba import compile_all

        jitted = compile_all()
    except ImportError:
        jitted = {}
        section.notes.append("Numba is not installed: not measured")
    scratch = [np.zeros(n, np.float32), np.zeros(n, np.float32)]
    copied = statistics.median(seconds(lambda: np.copyto(scratch[0], x["tas"]))() for _ in range(7))
    for title, (ours, peers, name) in cases(x).items():
        contestants: dict[str, Callable[[], Any]] = {"ours": ours}
        for peer, make in peers.items():
            try:
                contestants[peer] = make()
            except ImportError as missing:
                section.notes.append(f"{title}: {peer} is not installed ({missing}): not measured")
        if name in jitted:
            outs = scratch[: len(ours.outs)]
            contestants["Numba"] = lambda run=jitted[name], rows=ours.rows, outs=outs: run(*rows, *outs)
        for act in contestants.values():  # warm-up, and Numba compiles
            act()
        if "Numba" in contestants:
            section.facts[f"{title}: median difference from Numba"] = float(
                np.median(np.abs(scratch[0] - ours.outs[0]))
            )
        _record(section, title, ours, interleave({k: seconds(v) for k, v in contestants.items()}, repeats), copied)
    return section


def _record(section: Section, title: str, ours: Ours, times: dict[str, list[float]], copied: float) -> None:
    n = ours.rows[0].size
    middle = {k: section.add(f"{title}: {k}", [1e3 * t for t in taken], "ms") for k, taken in times.items()}
    share = (len(ours.rows) + len(ours.outs)) / 2 * copied * 1e3 / middle["ours"]
    section.facts[f"{title}: Mpixel/s"] = n / middle["ours"] / 1e3
    section.facts[f"{title}: share of copy bandwidth"] = share
    for peer, taken in middle.items():
        if peer not in ("ours", "Numba"):
            section.judge(f"{title}: times {peer}", taken / middle["ours"], PACKAGES)
    if "Numba" in middle:
        ratio = middle["Numba"] / middle["ours"]
        section.facts[f"{title}: times Numba"] = ratio
        section.judge(
            f"{title}: times Numba, or 5 where the bandwidth is reached",
            max(ratio, 5.0 if share >= FLOOR else 0),
            NUMBA,
        )


def main() -> None:
    """Print ratios, and the section as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flux", description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    section = race(options.pixels, options.repeats)
    for row in section.rows:
        print(f"{row.name:32s} {row.median:10.2f} {row.unit}  ({row.low:.2f} to {row.high:.2f})")
    for verdict in section.verdicts:
        print(
            f"{verdict.name:60s} {verdict.found:8.1f}  wanted {verdict.wanted:g}  {'met' if verdict.met else 'missed'}"
        )
    for name, value in section.facts.items():
        print(f"{name:60s} {value:10.3g}")
    print(*section.notes, sep="\n")
    if options.out:
        record = {"title": section.title, "rows": [vars(r) for r in section.rows], "facts": section.facts}
        record["targets"] = [{**vars(v), "met": v.met} for v in section.verdicts]
        options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
