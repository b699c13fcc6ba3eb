"""Radiation products on plain arrays: compiled loops against NumPy, pvlib and plain Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pipshpc._apply import apply
from pipshpc._loops import LOOPS

from benchmarks.measure import Section, Settings, interleave, seconds
from benchmarks.peers import radiation_formulas as plain
from pipshpc.brdf import invert
from pipshpc.product import find_card

PIXELS = 2_000_000
LOOKS = 16

Act = Callable[[], Any]


def ready(product: str, algorithm: str, inputs: dict[str, Any], out: Any, spare: Any = None, threads: int = 1) -> Act:
    """A compiled loop with its arrays at hand; `out` takes the product, `spare` other outputs of the function."""
    chosen = find_card(product).algorithm(algorithm)
    loop = LOOPS[chosen.kernel]
    par = np.array([chosen.parameters[n] for n in loop.parameters], np.float32)
    outs = [out if n in (chosen.output, "result") else spare for n in loop.outputs]
    rows = [inputs[n] for n in loop.rows]
    return lambda: apply(loop.address, rows, par, outs, threads)


def arrays(n: int) -> dict[str, Any]:
    """State of sky and surface, at random within what is usual."""
    rng = np.random.default_rng(1)
    ends = {
        "rsds": (0, 1100), "albedo": (0.05, 0.8), "rlds": (150, 450), "emis": (0.9, 1.0), "ts": (240, 330),
        "bt11": (280, 310), "emis11": (0.95, 0.99), "emis12": (0.95, 0.99), "prw": (2, 55), "ndvi": (-0.1, 0.9),
        "sr_red": (0, 0.4), "sza": (15, 65), "vza": (0, 60), "raa": (0, 180), "cosz": (0.1, 1), "linke": (2, 6),
        "orog": (0, 2000), "ps": (7e4, 1.02e5), "od550aer": (0.02, 0.5), "angstrom": (0.5, 1.8), "ozone": (0.25, 0.4),
    }  # fmt: skip
    state = {name: rng.uniform(*e, n).astype(np.float32) for name, e in ends.items()}
    state["bt12"] = state["bt11"] - rng.uniform(0, 3, n).astype(np.float32)
    state["toa_normal"] = np.full(n, 1361.1, np.float32)
    return state


def measure(settings: Settings) -> Section:
    """Race the formulas on arrays."""
    n = PIXELS // (20 if settings.quick else 1)
    section = Section("radiation", f"Radiation formulas on {n / 1e6:.1f} million pixels, one thread")
    x = arrays(n)
    source, target = np.tile(x["ts"], 3), np.zeros(3 * n, np.float32)
    times = settings.times(7)
    # As many bytes as the formulas move: a smaller copy would stay in the cache.
    copied = interleave({"copy": seconds(lambda: np.copyto(target, source))}, times)["copy"]
    bandwidth = 8 * target.size / section.add("copy of three arrays", [1e3 * t for t in copied], "ms")
    try:
        numba: dict[str, Callable[..., Any]] = plain.with_numba()
    except ImportError:
        numba = {}
        section.notes.append("Numba is not installed: not measured")
    _pointwise(section, x, n, numba, bandwidth, times)
    _clear_sky(section, x, n, times)
    _inversion(section, n // 10, times)
    return section


def _pointwise(
    section: Section, x: dict[str, Any], n: int, numba: dict[str, Callable[..., Any]], bandwidth: float, times: int
) -> None:
    """Formulas that NumPy and Numba can have word for word."""
    mine, other, second = (np.empty(n, np.float32) for _ in range(3))
    races = {
        "rn": ("rn", "components", ("rsds", "albedo", "rlds", "emis", "ts"), plain.rn_numpy),
        "ts": ("ts", "sobrino2003", ("bt11", "bt12", "emis11", "emis12", "prw"), plain.ts_numpy),
        "emis": ("emis11", "ndvi-threshold", ("ndvi", "sr_red"), plain.emis_numpy),
    }
    for name, (product, algorithm, names, formula) in races.items():
        given = [x[i] for i in names]
        acts = {"loop": ready(product, algorithm, x, mine), "NumPy": lambda f=formula, g=given: f(*g)}
        if name in numba:
            acts["Numba"] = lambda f=numba[name], g=given: f(*g, other)
        _race(section, name, acts, times, bandwidth, 4 * n * (len(names) + 1))
        reference = formula(*given)
        section.facts[f"difference {name}"] = float(np.nanmax(np.abs(mine - reference)))
    vol, geo = ready("kvol", "ross-li", x, mine), ready("kgeo", "ross-li", x, second)
    angles = [x[i] for i in ("sza", "vza", "raa")]
    acts = {"loop": lambda: (vol(), geo()), "NumPy": lambda: plain.kernels_numpy(*angles)}
    if numba:
        acts["Numba"] = lambda: numba["kernels"](*angles, other, other)
    _race(section, "BRDF kernels", acts, times, bandwidth, 4 * n * 8)
    section.facts["difference BRDF kernels"] = float(np.abs(second - plain.kernels_numpy(*angles)[1]).max())


def _clear_sky(section: Section, x: dict[str, Any], n: int, times: int) -> None:
    """Clear-sky sunlight: the models that pvlib has too, and REST2 beside them."""
    try:
        from pvlib import clearsky
    except ImportError:
        section.notes.append("pvlib is not installed: not measured")
        return
    mine, spare = np.empty(n, np.float32), np.empty(n, np.float32)
    zenith = np.degrees(np.arccos(x["cosz"].astype(float)))
    inverse = 1 / (x["cosz"] + 0.15 * (93.885 - zenith) ** -1.253)
    d = {k: v.astype(float) for k, v in x.items()}

    def bird() -> Any:
        return clearsky.bird(
            zenith, inverse, d["od550aer"] * 1.5, d["od550aer"], 0.1 * d["prw"], d["ozone"], d["ps"], 1361.1, 0.85, 0.2
        )

    def ineichen() -> Any:
        mass = inverse * d["ps"] / 101325
        return clearsky.ineichen(zenith, mass, d["linke"], altitude=500.0, dni_extra=1361.1)

    def loops(algorithm: str) -> dict[str, Act]:
        names = {"loop": 1, "loop, two threads": 2}
        return {name: ready("rsdscs", algorithm, x, mine, spare, k) for name, k in names.items()}

    for name, peer, algorithm in (
        ("Bird clear sky", bird, "bird1981"),
        ("Ineichen clear sky", ineichen, "ineichen2002"),
    ):
        _race(section, name, {**loops(algorithm), "pvlib": peer}, times)
    try:
        from rest2 import rest2 as package
    except ImportError:
        section.notes.append("nlr-rest2 is not installed: not measured")
        return

    def rest2() -> Any:
        same = [np.full((n, 1), v) for v in (0.92, 0.7, 1.0)]
        columns = {k: d[k][:, None] for k in ("ps", "albedo", "angstrom", "od550aer", "ozone", "prw")}
        beta = columns["od550aer"] * 0.55 ** columns["angstrom"]
        return package.rest2(
            0.01 * columns["ps"],
            columns["albedo"],
            same[0],
            same[1],
            zenith[:, None],
            same[2],
            columns["angstrom"],
            beta,
            columns["ozone"],
            0.1 * columns["prw"],
        )

    _race(section, "REST2 clear sky", {**loops("rest2"), "nlr-rest2": rest2}, max(1, times // 3))
    section.facts["difference REST2"] = float(np.abs(mine - rest2().ghi[:, 0] * 1361.1 / 1361.2).max())


def _inversion(section: Section, n: int, times: int) -> None:
    """Weights from 16 looks at each pixel, kernels and solution."""
    rng = np.random.default_rng(2)
    ends = {"sza": (25, 55), "vza": (0, 62), "raa": (0, 180)}
    angles = {k: rng.uniform(*e, (LOOKS, n)).astype(np.float32) for k, e in ends.items()}
    y = (0.3 + rng.normal(0, 0.02, (LOOKS, n))).astype(np.float32)
    acts = {
        "loop": lambda: invert(y, **angles),
        "NumPy": lambda: plain.invert_numpy(y, *plain.kernels_numpy(*angles.values())),
    }
    _race(section, f"BRDF inversion ({LOOKS} looks, {n / 1e6:g} million pixels)", acts, max(1, times // 2))
    found, wanted = invert(y, **angles), acts["NumPy"]()
    section.facts["difference BRDF inversion"] = float(np.abs(found.iso - wanted[:, 0]).max())


def _race(
    section: Section, name: str, acts: dict[str, Act], times: int, bandwidth: float = 0.0, moved: int = 0
) -> None:
    """Run contestants in turn, add rows, judge the loop against packages and Numba."""
    for act in acts.values():
        act()  # warm-up and compilation
    taken = interleave({k: seconds(a) for k, a in acts.items()}, times)
    middle = {k: section.add(f"{name}: {k}", [1e3 * t for t in v], "ms") for k, v in taken.items()}
    for peer in ("NumPy", "pvlib", "nlr-rest2"):
        if peer in middle:
            ratio = middle[peer] / middle["loop"]
            section.facts[f"{name}: times {peer}"] = ratio
            if peer != "NumPy":  # the target speaks of packages
                section.judge(f"{name}: times {peer}", ratio, 20.0)
                section.judge(f"{name}: times {peer}, two threads", middle[peer] / middle["loop, two threads"], 20.0)
            else:
                section.notes.append(f"{name}: {ratio:.1f} times as fast as NumPy")
    if "Numba" in middle:
        ratio, share = middle["Numba"] / middle["loop"], moved / middle["loop"] / bandwidth
        section.facts[f"{name}: times Numba"], section.facts[f"{name}: share of copy bandwidth"] = ratio, share
        section.judge(f"{name}: 5 x Numba or 70 % of a copy's bandwidth", max(ratio / 5, share / 0.7), 1.0)
