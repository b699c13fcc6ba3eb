"""What a pixel of each algorithm costs: nanoseconds on one thread, kept in ``pipshpc/data/costs.yaml``.

``python -m benchmarks.costs [--pixels N] [--repeats N]``

Inputs are the worked example of the card, a little different in each pixel,
in arrays that are larger than the caches; the best of several runs counts.
"""

from __future__ import annotations

import argparse
import datetime
import time
from typing import Any

import numpy as np

from benchmarks.machine import describe
from pipshpc.kernel import evaluate, evaluate_series
from pipshpc.product import Algorithm, Card, load_cards
from pipshpc.productdoc import COSTS

SERIES_PIXELS = 20  # times fewer pixels where each has a whole series


def inputs_of(card: Card, algorithm: Algorithm, pixels: int) -> tuple[dict[str, Any], Any] | None:
    """Return arrays around the worked example, and the days of a series; None where it has no example."""
    example = next((c for c in card.checks if c.algorithm == algorithm.name), None)
    if example is None:
        return None
    rng = np.random.default_rng(0)
    values = {}
    for name in [*algorithm.inputs, *algorithm.state]:
        middle = np.asarray(example.inputs[name], np.float32)
        spread = 0.01 if name != "landtype" else 0.0  # a class is a class
        if middle.ndim:
            jitter = 1 + spread * rng.standard_normal((middle.size, pixels // SERIES_PIXELS), np.float32)
            values[name] = middle[:, None] * jitter
        else:
            values[name] = middle * (1 + spread * rng.standard_normal(pixels, np.float32))
    return values, example.inputs.get("day")


def cost(card: Card, algorithm: Algorithm, pixels: int, repeats: int) -> float | None:
    """Return nanoseconds a pixel, or None where the algorithm is not a function of arrays."""
    if algorithm.by or algorithm.loop not in ("pointwise", "stateful", "series"):
        return None
    made = inputs_of(card, algorithm, pixels)
    if made is None:
        return None
    values, day = made
    best = np.inf
    for _ in range(repeats):
        begin = time.perf_counter()
        if algorithm.loop == "series":
            evaluate_series(algorithm, values, day)
        else:
            evaluate(algorithm, values)
        best = min(best, time.perf_counter() - begin)
    return float(f"{1e9 * best / next(iter(values.values())).shape[-1]:.3g}")


def main() -> None:
    """Measure all algorithms and write the file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description="Measure the cost of a pixel.")
    parser.add_argument("--pixels", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    facts = describe(COSTS.parent, quick=True)
    text = [
        "# ns a pixel on one thread, by product and algorithm; written by `python -m benchmarks.costs`.",
        f'machine: "{facts["cpu"]}"',
        f'measured: "{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"',
        "ns:",
    ]
    for card in load_cards().values():
        found = {a.name: cost(card, a, options.pixels, options.repeats) for a in card.algorithms}
        kept = ", ".join(f'"{name}": {ns:g}' for name, ns in found.items() if ns is not None)
        if kept:
            text.append(f'  "{card.id}": {{{kept}}}')
    part = COSTS.with_suffix(".part")
    part.write_text("\n".join(text) + "\n", encoding="utf-8")
    part.replace(COSTS)


if __name__ == "__main__":
    main()
