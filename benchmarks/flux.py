"""Fluxes on plain arrays, one thread and two: our loops against packages, plain NumPy and Numba on the same pixels.

``python -m benchmarks.flux [--pixels N] [--repeats N] [--out FILE.json]``

Every contestant runs in turn, in one process; peers have one thread, which is
all they use. What they compute is held against ours before. A peer that is not
installed is left out, and it is said.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pipshpc._apply import apply
from pipshpc._loops import LOOPS

from benchmarks.measure import Section, Settings, interleave, seconds
from benchmarks.peers import flux_numpy, flux_packages
from benchmarks.peers.flux_packages import Peer
from pipshpc.product import find_card

Arrays = dict[str, Any]
PACKAGES, NUMBA = 20.0, 5.0  # times faster than these, as promised
FLOOR = 0.7  # or this share of the bandwidth of a copy
PIXELS = 2_000_000  # more than the caches hold


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
        "tas_night": tas - 6,
        "landtype": rng.integers(1, 13, n).astype(float),
    }
    made["rn_night"] = -0.3 * made["rn"]
    made["vap_night"] = np.minimum(made["vap"], 0.95 * flux_numpy.saturation(tas - 6))
    return {name: values.astype(np.float32) for name, values in made.items()}


class Ours:
    """One compiled loop with its arrays; several states (day and night) are computed one after another."""

    def __init__(self, product: str, algorithm: str, *states: Arrays) -> None:
        self.card = find_card(product).algorithm(algorithm)
        self.loop = LOOPS[self.card.kernel]
        self.names = self.loop.rows
        self.rows = [[x[n] for n in self.names] for x in states]
        self.outs = [[np.zeros_like(rows[0]) for _ in self.loop.outputs] for rows in self.rows]
        self.pixels = len(states) * self.rows[0][0].size
        self.moved = 4 * self.pixels * (len(self.names) + len(self.loop.outputs))

    def __call__(self, threads: int = 1, **changed: float) -> None:
        given = {**self.card.parameters, **changed}
        parameters = np.array([given[n] for n in self.loop.parameters], np.float32)
        for rows, outs in zip(self.rows, self.outs, strict=True):
            apply(self.loop.address, rows, parameters, outs, threads)

    def plain(self, name: str) -> Peer:
        """The same in plain NumPy."""
        formula = getattr(flux_numpy, name)

        def run() -> Any:
            return [formula(**dict(zip(self.names, rows, strict=True))) for rows in self.rows]

        def value(results: Any) -> Any:
            return results[0][0] if isinstance(results[0], tuple) else results[0]

        return Peer(run, value, 0.01, 0.0 if name == "et0_hourly" else 0.5)


Case = tuple[Ours, dict[str, Callable[[], Peer]], str]


def cases(n: int) -> dict[str, Case]:
    """Return {title: (ours, peers that may raise ImportError when made, name of the Numba loop)}.

    The pointwise ones have `n` pixels, so that nothing stays in the caches; iterating ones, which
    compute and do not wait for memory, and whose peers take their time, have a tenth or less.
    """
    x = fields(n)
    few = {k: v[: n // 10].copy() for k, v in x.items()}
    day = {**x, "hfdsl": np.zeros_like(x["tas"])}
    night = {**day, "rn": x["rn_night"], "tas": x["tas_night"], "vap": x["vap_night"], "rsds": day["hfdsl"]}
    table: dict[str, Case] = {}
    for title, product, algorithm, states, name, package in (
        ("PT-JPL", "hfls", "ptjpl2008", (x,), "ptjpl", ("PTJPL", flux_packages.ptjpl)),
        ("MOD16", "hfls", "mod16", (day, night), "mod16", ("mod16", flux_packages.mod16)),
        ("ET0", "et0", "asce2005-hourly", (x,), "et0_hourly", ("refet", flux_packages.refet)),
        ("sea", "hfss", "coare36", (few,), "coare36", ("pycoare", flux_packages.coare)),
        ("SEBS", "hfss", "sebs2002", (few,), "sebs", None),
    ):
        ours = Ours(product, algorithm, *states)
        peers: dict[str, Callable[[], Peer]] = {"NumPy": lambda ours=ours, name=name: ours.plain(name)}  # type: ignore[misc]
        if package:
            peers[package[0]] = lambda make=package[1], x=states[0]: make(x)  # type: ignore[misc]
        table[title] = (ours, peers, name)
    height = {"wind": few["sfcWind"], "height_wind": 50 + few["d0"], "height_air": 50 + few["d0"]}
    single = {**few, **height}
    table["one source"] = (
        Ours("hfss", "one-source", single),
        {"pyTSEB": lambda: flux_packages.one_source(few)},
        "one_source",
    )
    crops = crop_fields({k: v[: max(n // 80, 1000)].copy() for k, v in x.items()})
    table["two sources"] = (
        Ours("hfss", "tseb-pt", crops),
        {"pyTSEB": lambda: flux_packages.two_sources(crops)},
        "two_sources",
    )
    return table


def crop_fields(x: Arrays) -> Arrays:
    """Return the state with a canopy of 1 m and its light."""
    same = np.ones_like(x["tas"])
    more = {"hc": same, "z0m": 0.125 * same, "d0": 0.65 * same, "vza": 20 * x["fapar"], "wind": x["sfcWind"]}
    more |= {"fveg": x["fapar"], "sn_canopy": 0.5 * x["rsds"], "sn_soil": 0.3 * x["rsds"], "rlds": 0.5 * x["ts"] + 180}
    return {**x, **more, "height_wind": 11 * same, "height_air": 11 * same}


def bandwidth(n: int) -> dict[int, float]:
    """Bytes a second of a copy of arrays too large for the caches, by one thread and by two."""
    source, target = np.ones((2, 3 * n), np.float32), np.zeros((2, 3 * n), np.float32)
    best = {}
    with ThreadPoolExecutor(2) as pool:
        copies: dict[int, Callable[[], Any]] = {
            1: lambda: np.copyto(target, source),
            2: lambda: list(pool.map(np.copyto, target, source)),
        }
        for threads, act in copies.items():
            best[threads] = 2 * source.nbytes / min(seconds(act)() for _ in range(9))
    return best


def measure(settings: Settings) -> Section:
    """Race all members of the family."""
    return race(100_000 if settings.quick else PIXELS, settings.times(5))


def race(n: int, repeats: int) -> Section:
    """Measure on `n` pixels; every contestant `repeats` times in turn."""
    section = Section("flux", f"Fluxes on {n / 1e6:g} million pixels (iterating ones fewer), one thread and two")
    try:
        from benchmarks.peers.flux_numba import compile_all

        jitted = compile_all()
    except ImportError as missing:
        jitted = {}
        section.notes.append(f"Numba is not installed ({missing}): not measured")
    section.notes += [
        "MOD16 is day and night, two calls of ours; MOD16-JPL 1.1.0 cannot be called: it asks for LAI before it has it",
        "SEBS: no package on arrays; plain NumPy instead. pyfao56 takes one number at a time: refet instead",
    ]
    copied = bandwidth(n)
    section.facts |= {f"copy, GB/s, {k} threads": v / 1e9 for k, v in copied.items()}
    for title, (ours, makers, name) in cases(n).items():
        contestants: dict[str, Callable[[], Any]] = {"ours": ours, "ours, two threads": lambda ours=ours: ours(2)}
        for peer, make in makers.items():
            try:
                made = make()
            except ImportError as missing:
                section.notes.append(f"{title}: {peer} is not installed ({missing}): not measured")
                continue
            _agree(section, f"{title}: {peer}", ours, made)
            contestants[peer] = made.run
        if name in jitted:
            outs = [[np.zeros_like(o) for o in each] for each in ours.outs]

            def numba(run: Any = jitted[name], ours: Ours = ours, outs: Any = outs) -> None:
                for rows, out in zip(ours.rows, outs, strict=True):
                    run(*rows, *out)

            absolute = 0.0 if title == "ET0" else 0.5
            made = Peer(numba, lambda _, outs=outs: outs[0][0], 0.01, absolute)
            _agree(section, f"{title}: Numba", ours, made)  # it compiles meanwhile
            contestants["Numba"] = numba
        _record(section, title, ours, interleave({k: seconds(v) for k, v in contestants.items()}, repeats), copied)
    return section


def _agree(section: Section, what: str, ours: Ours, peer: Peer) -> None:
    """Run both once and say on which share of the pixels they agree."""
    ours(**peer.parameters)
    value = np.asarray(peer.value(peer.run()))
    found, value = ours.outs[0][0][peer.among], value[peer.among]
    share = float((np.abs(found - value) <= peer.absolute + peer.relative * np.abs(value)).mean())
    section.facts[f"{what}: share of pixels that agree"] = share
    within = f"{100 * peer.relative:g} %" + (f" + {peer.absolute:g}" if peer.absolute else "")
    reason = f" ({peer.note})" if peer.note else ""
    section.notes.append(f"{what} and ours agree within {within} on {100 * share:.2f} % of the pixels{reason}")


def _record(section: Section, title: str, ours: Ours, times: dict[str, list[float]], copied: dict[int, float]) -> None:
    """Add rows and facts, and judge; the share of the bandwidth is that of the best run, as the copy's is."""
    middle = {k: section.add(f"{title}: {k}", [1e3 * t for t in taken], "ms") for k, taken in times.items()}
    for threads, who in ((1, "ours"), (2, "ours, two threads")):
        share = ours.moved / min(times[who]) / copied[threads]
        section.facts[f"{title}: {who}: Mpixel/s"] = ours.pixels / middle[who] / 1e3
        section.facts[f"{title}: {who}: MB moved"] = ours.moved / 1e6
        section.facts[f"{title}: {who}: share of copy bandwidth"] = share
        for peer in middle:
            if peer in ("ours", "ours, two threads"):
                continue
            ratio = middle[peer] / middle[who]
            section.facts[f"{title}: {who}: times {peer}"] = ratio
            # The target speaks of packages; plain NumPy counts where there is none.
            if peer != "Numba" and (peer != "NumPy" or len(set(middle) - {"Numba"}) == 3):
                section.judge(f"{title}: {who}: times {peer}", ratio, PACKAGES)
    if "Numba" in middle:
        ratio, share = (section.facts[f"{title}: ours: {k}"] for k in ("times Numba", "share of copy bandwidth"))
        section.judge(f"{title}: 5 x Numba or 70 % of a copy's bandwidth", max(ratio / NUMBA, share / FLOOR), 1.0)


def main() -> None:
    """Print ratios, and the section as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flux", description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=PIXELS)
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
