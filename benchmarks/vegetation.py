"""Vegetation on plain arrays: our loops against MOD17 in NumPy, scipy's smoothing, indices in NumPy, scikit-learn.

``python -m benchmarks --only vegetation``. One thread each; peers that are not
installed are left out, and it is said. What they compute is held against ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.flux import Ours
from benchmarks.measure import Section, Settings, interleave, seconds
from benchmarks.peers import vegetation_numpy as plain
from pipshpc.classify import classify, train_gaussian
from pipshpc.kernel import compute, evaluate_series
from pipshpc.product import find_card

Contestants = dict[str, Callable[[], Any]]
TIMES = 20.0  # faster than these, as promised
PIXELS = 2_000_000
DAYS = np.arange(0.0, 365.0, 8.0, dtype=np.float32)


def measure(settings: Settings) -> Section:
    """Race all parts of the family."""
    n = 50_000 if settings.quick else PIXELS
    section = Section("vegetation", f"Vegetation on {n / 1e6:g} million pixels (series and classes fewer), one thread")
    for title, make in (("indices", indices), ("MOD17 day", mod17), ("smoothing", smoothing), ("classes", classes)):
        try:
            contestants, pixels, agree = make(n)
        except ImportError as missing:
            section.notes.append(f"{title}: not measured, not installed ({missing})")
            continue
        if not agree:
            section.notes.append(f"{title}: the peer's values DIFFER from ours")
        _record(section, title, interleave({k: seconds(v) for k, v in contestants.items()}, settings.times(5)), pixels)
    fit = fits(max(n // 1000, 64))
    _record(
        section, "double logistic", interleave({k: seconds(v) for k, v in fit[0].items()}, settings.times(3)), fit[1]
    )
    return section


def _record(section: Section, title: str, took: dict[str, list[float]], pixels: dict[str, int]) -> None:
    """Add rows in ns a pixel, and the verdict against each peer."""
    figures = {
        name: section.add(f"{title}: {name}", [1e9 * t / pixels.get(name, pixels["ours"]) for t in times], "ns/pixel")
        for name, times in took.items()
    }
    for name, figure in figures.items():
        if name != "ours":
            section.judge(f"{title}: times {name}", figure / figures["ours"], TIMES)


def indices(n: int) -> tuple[Contestants, dict[str, int], bool]:
    """Six indices of six bands, one after another, as an index package computes them: float64 NumPy expressions."""
    rng = np.random.default_rng(0)
    x = {f"sr_{b}": rng.uniform(0.02, 0.5, n).astype(np.float32) for b in ("blue", "green", "red", "nir", "swir1")}
    loops = [Ours(name, find_card(name).algorithms[0].name, x) for name in plain.INDICES]
    wide = {name: values.astype(np.float64) for name, values in x.items()}

    def ours() -> Any:
        for loop in loops:
            loop()
        return [loop.outs[0][0] for loop in loops]

    def peer() -> Any:
        return [formula(wide) for formula in plain.INDICES.values()]

    agree = all(np.allclose(a, b, atol=1e-5, equal_nan=True) for a, b in zip(ours(), peer(), strict=True))
    return {"ours": ours, "NumPy": peer}, {"ours": n}, agree


def mod17(n: int) -> tuple[Contestants, dict[str, int], bool]:
    """One day of net production with its state."""
    rng = np.random.default_rng(1)
    x = {"fapar": rng.uniform(0, 0.95, n), "tasmin": rng.uniform(255, 295, n), "vpd": rng.uniform(0, 4000, n)}
    x |= {"rsds": rng.uniform(20, 350, n), "lai": rng.uniform(0, 6, n), "tas": rng.uniform(265, 305, n)}
    x |= {"landtype": rng.integers(1, 13, n), "psn_sum": rng.uniform(0, 1, n), "warm_sum": rng.uniform(0, 300, n)}
    x |= {"lai_max": rng.uniform(0, 6, n)}
    narrow = {name: values.astype(np.float32) for name, values in x.items()}
    ours = Ours("npp", "mod17", narrow)
    ours()

    def peer() -> Any:
        return plain.mod17_day(**x)

    agree = np.allclose(ours.outs[0][-1], peer()["npp"], rtol=1e-4, atol=1e-5)
    return {"ours": ours, "NumPy": peer}, {"ours": n}, agree


def series(pixels: int) -> Any:
    """Return a year of indices with noise, (46, pixels) float32."""
    rng = np.random.default_rng(2)
    rise, fall = rng.uniform(90, 150, pixels), rng.uniform(250, 300, pixels)
    t = DAYS[:, None]
    wave = 1 / (1 + np.exp(-0.07 * (t - rise))) - 1 / (1 + np.exp(-0.05 * (t - fall)))
    return (0.15 + 0.6 * wave + rng.normal(0, 0.02, (DAYS.size, pixels))).astype(np.float32)


def smoothing(n: int) -> tuple[Contestants, dict[str, int], bool]:
    """Running parabolas over seven values of a year of 46; scipy has its pixels in the order that it likes best."""
    from scipy.signal import savgol_filter

    pixels = n // 20
    ndvi = series(pixels)
    rows = np.ascontiguousarray(ndvi.T)
    card = find_card("ndvismooth").algorithm("savgol")

    def ours() -> Any:
        return evaluate_series(card, {"ndvi": ndvi}, DAYS)["smooth"]

    def peer() -> Any:
        return savgol_filter(rows, 7, 2, axis=1)

    return {"ours": ours, "scipy": peer}, {"ours": pixels}, np.allclose(ours(), peer().T, atol=1e-5)


def classes(n: int) -> tuple[Contestants, dict[str, int], bool]:
    """Maximum likelihood of eight classes in six bands."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    pixels = n // 20
    rng = np.random.default_rng(3)
    y = rng.integers(0, 8, 4000)
    centre = rng.uniform(0.05, 0.5, (8, 6))
    samples = centre[y] + 0.05 * rng.standard_normal((4000, 6))
    bands = [f"b{k}" for k in range(6)]
    model = train_gaussian(samples, y, bands, [str(k) for k in range(8)])
    other = QuadraticDiscriminantAnalysis(tol=0.0).fit(samples, y)
    x = (centre[rng.integers(0, 8, pixels)] + 0.05 * rng.standard_normal((pixels, 6))).astype(np.float32)
    fields = {name: np.ascontiguousarray(x[:, k]) for k, name in enumerate(bands)}

    def ours() -> Any:
        return classify(model, fields)[0]

    def peer() -> Any:
        return other.predict(x)

    return {"ours": ours, "scikit-learn": peer}, {"ours": pixels}, bool((ours() == peer()).mean() > 0.999)


def fits(pixels: int) -> tuple[Contestants, dict[str, int]]:
    """Two logistic curves; scipy fits a few of the pixels, one after another."""
    from scipy.optimize import curve_fit

    ndvi = series(pixels)
    few = ndvi[:, :20].astype(float)
    start = (0.15, 0.75, 120.0, 0.06, 275.0, 0.06)

    def ours() -> Any:
        return compute("sos", "double-logistic", ndvi=ndvi, day=DAYS, period=0.0)

    def peer() -> Any:
        return [curve_fit(plain.two_logistics, DAYS, few[:, k], start)[0] for k in range(few.shape[1])]

    return {"ours": ours, "scipy curve_fit": peer}, {"ours": pixels, "scipy curve_fit": few.shape[1]}
