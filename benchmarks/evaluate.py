"""Compare our radiation with the forecast model's own, on the model's grid: bias, RMSE, r.

    python benchmarks/evaluate.py FLUX_FILE.grb [--json evaluate.json]

Made for NCEP's surface flux files (GRIB 1: state at 24 h, cloud and fluxes
as means over the 6 h before): temperature, humidity, pressure and cloud go
in, the file's own downward fluxes are the reference. The state at the end of
the window stands for the window. All cells count the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import pipshpc
from pipshpc import sun
from pipshpc.errors import PipshpcError
from pipshpc.forcing import Forcing
from pipshpc.product import Algorithm, load_cards
from pipshpc.source import Source, open_source
from pipshpc.statics import open_static

GEOMETRY = ("cosz", "toa_normal")


def inputs_of(source: Source) -> dict[str, Any]:
    """State of the model near the surface, on its own terrain."""
    state = {n: source.read(n, 0) for n in source.variables}
    if "tdps" in state:
        state["vap"] = pipshpc.compute("vap_in", "dewpoint", tdps_in=state["tdps"])
    elif "huss" in state:
        state["vap"] = pipshpc.compute("vap_in", "specific-humidity", huss_in=state["huss"], ps_in=state["ps"])
    day = float((source.times[0] - source.times[0].astype("datetime64[Y]")) / np.timedelta64(1, "D")) + 1
    try:
        state["linke"] = open_static("linke").mean_over(source.grid, day)
    except PipshpcError as error:
        print(f"without Linke turbidity: {error}")
    return state


def sunlit_mean(product: str, algorithm: Algorithm, state: dict[str, Any], source: Source, hours: float) -> Any:
    """Mean over the `hours` before the source's time, with the sun moving and the state held."""
    lat, lon = source.grid.y[:, None], source.grid.x[None, :]
    total, steps = np.zeros(source.grid.shape), max(1, round(hours / 3))
    for step in range(steps):  # three-point quadrature is exact enough for 3 h
        width = hours / steps
        begin = source.times[0] - np.timedelta64(round((hours - step * width) * 3600), "s")
        middle = sun.ephemeris(begin + np.timedelta64(round(width * 1800), "s"))
        first = sun.hour_angle(begin, lon, middle.equation_of_time)
        pieces = sun.lit_pieces(first, np.radians(15 * width), sun.sunset_hour_angle(lat, middle.declination))
        angles, weights = sun.lit_nodes(*pieces, np.radians(15 * width))
        normal = sun.toa_normal(begin + np.timedelta64(round(width * 1800), "s"))
        held = {n: state[n] for n in algorithm.inputs if n not in GEOMETRY}
        for angle, weight in zip(angles.reshape(-1, *total.shape), weights.reshape(-1, *total.shape), strict=True):
            cosz = sun.cos_zenith(lat, middle.declination, angle)
            lit = weight > 0
            # As the block machine does: where it is night the kernel's answer has no weight.
            flux = pipshpc.compute(product, algorithm.name, cosz=np.where(lit, cosz, 0.5), toa_normal=normal, **held)
            total += np.where(lit, weight * flux, 0.0) / steps
    return total


def scores(
    product: str, algorithm: str, reference: str, ours: Any, theirs: Any, where: Any, region: str
) -> dict[str, Any]:
    """Scores over the cells of a region where both have values."""
    use = where & np.isfinite(ours) & np.isfinite(theirs)
    a, b = ours[use].astype(float), theirs[use].astype(float)
    return {
        "product": product,
        "algorithm": algorithm,
        "reference": reference,
        "region": region,
        "cells": int(use.sum()),
        "mean": float(b.mean()),
        "bias": float((a - b).mean()),
        "rmse": float(np.sqrt(np.mean((a - b) ** 2))),
        "r": float(np.corrcoef(a, b)[0, 1]),
    }


def evaluate(path: Path) -> list[dict[str, Any]]:
    """Scores of every algorithm that the file's variables allow."""
    rows: list[dict[str, Any]] = []
    with open_source(Forcing(paths=[str(path)], hold=True)) as source:
        state = inputs_of(source)
        land = state["sftlf"] > 0.5 if "sftlf" in state else np.ones(source.grid.shape, bool)
        regions = {"all": np.ones_like(land), "land": land, "sea": ~land}
        for product in ("rlds", "rsds"):
            mean = f"{product}_mean" if f"{product}_mean" in state else product
            hours = source.fields[mean].mean_s / 3600 or 1.0
            for algorithm in load_cards()[product].algorithms if product in load_cards() else ():
                if not all(n in state or n in GEOMETRY for n in algorithm.inputs):
                    continue
                if algorithm.integrate == "sunlit":
                    ours = sunlit_mean(product, algorithm, state, source, hours)
                    references = [mean]
                else:
                    ours = pipshpc.compute(product, algorithm.name, **{n: state[n] for n in algorithm.inputs})
                    references = list(dict.fromkeys([mean, product]))
                for reference in references:
                    for region, where in regions.items():
                        rows.append(scores(product, algorithm.name, reference, ours, state[reference], where, region))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The scores as text."""
    head = f"{'product':8} {'algorithm':26} {'reference':10} {'region':6} "
    head += f"{'cells':>6} {'mean':>7} {'bias':>7} {'rmse':>7} {'r':>6}"
    lines = [
        f"{r['product']:8} {r['algorithm']:26} {r['reference']:10} {r['region']:6} {r['cells']:6d} "
        f"{r['mean']:7.1f} {r['bias']:+7.1f} {r['rmse']:7.1f} {r['r']:6.3f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main() -> None:
    """Evaluate a file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--json", type=Path, help="write the scores here too")
    options = parser.parse_args()
    rows = evaluate(options.file)
    print(table(rows))
    if options.json:
        options.json.write_text(
            json.dumps({"file": options.file.name, "units": "W m-2", "scores": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
