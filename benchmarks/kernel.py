"""`rlds` on plain arrays, one thread: our compiled loop against NumPy and against copying."""

from __future__ import annotations

import numpy as np
from pipshpc._apply import apply
from pipshpc._loops import LOOPS

import pipshpc
from benchmarks.measure import Section, Settings, interleave, seconds
from benchmarks.ours import ALGORITHM
from benchmarks.peers import numba_formula, numexpr_formula, numpy_formula
from pipshpc.product import find_card

PIXELS = 3600 * 7200
TOLERANCE = 0.005  # W m-2, between float32 evaluations of one formula


def measure(settings: Settings) -> Section:
    """Race the formula on arrays."""
    n = PIXELS // (25 if settings.quick else 1)
    section = Section("kernel", f"Longwave formula on {n / 1e6:.0f} million pixels, one thread")
    rng = np.random.default_rng(1)
    tas, vap, clt = (rng.uniform(*ends, n).astype(np.float32) for ends in ((230, 310), (100, 3000), (0, 1)))
    loop = LOOPS[find_card("rlds").algorithm(ALGORITHM).kernel]
    inputs = [{"tas": tas, "vap": vap, "clt": clt}[name] for name in loop.rows]
    none = np.array([], np.float32)
    mine, theirs = np.zeros(n, np.float32), np.zeros(n, np.float32)
    in_place = numpy_formula.InPlace(n)
    contestants = {
        "pipshpc loop": lambda: apply(loop.address, inputs, none, [mine], 1),
        "pipshpc.compute()": lambda: pipshpc.compute("rlds", ALGORITHM, tas=tas, vap=vap, clt=clt),
        "copy": lambda: np.copyto(theirs, tas),
        "NumPy": lambda: numpy_formula.plain(tas, vap, clt),
        "NumPy, in place": lambda: in_place(tas, vap, clt, theirs),
        "NumPy, in blocks": lambda: numpy_formula.blocked(tas, vap, clt, theirs),
    }
    for name, peer in (("Numba", numba_formula), ("numexpr", numexpr_formula)):
        try:
            contestants[name] = peer.make(tas, vap, clt, theirs)
        except ImportError:
            section.notes.append(f"{name} is not installed: not measured")
    contestants["pipshpc loop"]()
    for name in ("NumPy, in place", "NumPy, in blocks", "Numba", "numexpr"):
        if name in contestants:  # also the warm-up
            contestants[name]()
            _compare(section, name, theirs, mine)
    _compare(section, "NumPy", numpy_formula.plain(tas, vap, clt), mine)
    times = interleave({name: seconds(act) for name, act in contestants.items()}, settings.times(9))
    median = {name: section.add(name, [1e3 * t for t in taken], "ms") for name, taken in times.items()}
    ours = median["pipshpc loop"]
    moved, copied = 4 * n * (len(inputs) + 1), 2 * 4 * n
    section.facts["gb_s"] = {"loop": moved / ours / 1e6, "copy": copied / median["copy"] / 1e6}
    for name in median:
        if name not in ("pipshpc loop", "copy"):
            section.facts[f"times {name}"] = median[name] / ours
    # Whole-array NumPy without temporaries is the peer: the plain expression mostly measures page faults.
    section.judge("times NumPy (in place)", median["NumPy, in place"] / ours, 6.0)
    share = moved / ours / (copied / median["copy"])
    section.judge("share of the copy bandwidth", share, 0.40)
    section.notes.append(
        f"Bytes: {len(inputs)} inputs and 1 output for the loop, 1 and 1 for the copy. The loop is "
        f"{median['NumPy'] / ours:.1f} times as fast as the plain NumPy expression and "
        f"{median['NumPy, in blocks'] / ours:.1f} times as NumPy in hand-made cache blocks; "
        f"compute() also takes memory for its result, {(median['pipshpc.compute()'] - ours):.0f} ms."
    )
    return section


def _compare(section: Section, name: str, theirs: np.ndarray, ours: np.ndarray) -> None:
    difference = float(np.abs(theirs - ours).max())
    section.facts[f"difference {name}"] = difference
    if difference > TOLERANCE:
        section.notes.append(f"{name} differs by {difference:g} W m-2")
