"""Weighted land-only blocks of a 1 km grid over 1 .. 4096 ranks, as arithmetic."""

from __future__ import annotations

import time

from benchmarks.measure import Section, Settings
from pipshpc.domain import Blocks, cut, imbalance, running_total
from pipshpc.errors import SiteError
from pipshpc.statics import TILE, open_static

SHAPE = 21600, 43200
MOST = 4096


def measure(settings: Settings) -> Section:
    """Cut the land of the globe for many numbers of ranks."""
    section = Section("decomposition", f"Land-only blocks of {SHAPE[0]} x {SHAPE[1]} pixels over 1 to {MOST} ranks")
    try:
        weights = open_static("land").tile_counts()
    except SiteError as error:
        section.notes.append(f"not measured: {error}")
        return section
    orders, cuts = [], []
    for _ in range(settings.times(3)):
        begin = time.perf_counter()
        order = Blocks(SHAPE, (TILE, TILE)).order(weights)
        along = weights[order[:, 0], order[:, 1]]
        orders.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        total = running_total(along)
        worst = max((imbalance(along, cut(along, n, total), total), n) for n in range(1, MOST + 1))
        cuts.append(time.perf_counter() - begin)
    first = section.add("blocks in the order of the curve", orders, "s", f"{along.size} land blocks of {TILE} x {TILE}")
    second = section.add(f"cuts for each of 1 .. {MOST} ranks", cuts, "s", f"worst with {worst[1]} ranks")
    section.judge("imbalance (max/mean)", worst[0], 1.05, at_least=False)
    section.judge("order and all cuts", first + second, 2.0, at_least=False, unit="s")
    return section
