"""The inventory with millions of scenes: search and ingest beside a table scan, Hilbert ranges and pystac."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Section, Settings
from benchmarks.scenes import Question, make_questions, make_scenes
from pipshpc.inventory import Inventory
from pipshpc.inventory.boxes import overlap, split_box
from pipshpc.inventory.stac import to_stac

SCENES = 3_300_000
QUICK = 20_000
IN_MEMORY = 50_000  # what pystac holds: some 10 KiB each would be 30 GiB for all
ASKED = 400  # searches of the inventory
SCANNED = 12  # searches of what reads every row
LEVELS = 10  # of the quadtree of Hilbert keys: cells of 180, 90, ... degrees


def measure(settings: Settings) -> Section:
    """Fill every contestant with the same scenes and ask all the same questions; the answers have to be equal."""
    count = QUICK if settings.quick else SCENES
    section = Section("inventory", f"{count:,} scenes: search by box, time and sensor; ingest")
    own = _filled(settings.folder / f"inventory-{count}.sqlite", count, section)
    questions = make_questions(ASKED)
    try:
        _search(own, questions, section)
        few = questions[:SCANNED]
        truth = [_names(own, q) for q in few]
        plain = settings.folder / f"plain-{count}.sqlite"
        section.facts["plain table"] = _scan(plain, own, few, truth, section)
        section.facts["Hilbert ranges"] = _hilbert(plain, questions, [_names(own, q) for q in questions], section)
        section.facts["pystac"] = _pystac(min(IN_MEMORY, count), count, few, section)
    finally:
        own.close()
        for left in settings.folder.glob(f"*-{count}.sqlite*"):
            left.unlink()
    section.facts["command line"] = _from_outside(settings, section)
    section.notes.append("Plain table: one SQLite table, no index, the same conditions. Questions: boxes of 1 to 20")
    section.notes.append(
        "degrees, one in ten over the date line, 1 to 30 days, one of three sensors; the same for all."
    )
    return section


def _filled(path: Path, count: int, section: Section) -> Inventory:
    """Return an inventory of so many scenes; making them up is not counted."""
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()
    begin = time.perf_counter()
    for _ in make_scenes(count):
        pass
    idle = time.perf_counter() - begin
    own = Inventory.open(path)
    begin = time.perf_counter()
    own.add(make_scenes(count))
    spent = time.perf_counter() - begin - idle
    rate = section.add("ingest, one process", [count / spent], "items/s", f"{path.stat().st_size / 2**20:,.0f} MiB")
    section.judge("ingest", rate, 5000.0, unit="items/s")
    again = list(itertools.islice(make_scenes(count), min(count, 100_000)))
    begin = time.perf_counter()
    assert own.add(again).same == len(again)
    section.add("ingest of what is known", [len(again) / (time.perf_counter() - begin)], "items/s")
    return own


def _names(own: Inventory, q: Question) -> set[str]:
    return {item.id for item in own.search(box=q.box, time=q.time, sensor=q.sensor)}


def _timed(asked: Iterable[Any], ask: Callable[[Any], Any]) -> tuple[list[float], list[Any]]:
    taken, found = [], []
    for q in asked:
        begin = time.perf_counter()
        found.append(ask(q))
        taken.append(1000.0 * (time.perf_counter() - begin))
    return taken, found


def _search(own: Inventory, questions: list[Question], section: Section) -> None:
    first, found = _timed(questions, lambda q: own.search(box=q.box, time=q.time, sensor=q.sensor))
    taken, _ = _timed(questions, lambda q: own.search(box=q.box, time=q.time, sensor=q.sensor))
    sizes = [len(f) for f in found]
    note = f"{np.mean(sizes):.0f} items on average, at most {max(sizes)}"
    section.add("search, median", [float(np.median(taken))], "ms", note)
    p95 = section.add("search, p95", [float(np.percentile(taken, 95))], "ms")
    section.add("search, p95 of the first time", [float(np.percentile(first, 95))], "ms")
    section.judge("search p95", p95, 20.0, at_least=False, unit="ms")
    section.facts["search"] = {"ms": [round(t, 3) for t in taken], "items": sizes}


def _scan(path: Path, own: Inventory, few: list[Question], truth: list[set[str]], section: Section) -> dict[str, Any]:
    """Ask a plain table, which reads every row."""
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path)
    base.execute("ATTACH ? AS own", (str(own.path),))
    columns = "i.id, s.sensor, i.west, i.south, i.east, i.north, i.start, i.stop"
    base.execute(f"CREATE TABLE scene AS SELECT {columns} FROM own.item i JOIN own.stream s ON s.code = i.stream")
    base.commit()
    base.execute("DETACH own")
    text = "SELECT id, west, south, east, north FROM scene WHERE sensor = ? AND start < ? AND (stop > ? OR start >= ?)"

    def ask(q: Question) -> set[str]:
        begin, end = (_micro(t) for t in q.time)
        rows = base.execute(text, (q.sensor, end, begin, begin))
        return {row[0] for row in rows if overlap(row[1:], q.box)}

    taken, found = _timed(few, ask)
    base.close()
    assert found == truth, "the table scan finds something else"
    section.add("plain table, p95", [float(np.percentile(taken, 95))], "ms", f"{len(few)} searches")
    return {"ms": [round(t, 1) for t in taken]}


def _hilbert(path: Path, questions: list[Question], truth: list[set[str]], section: Section) -> dict[str, Any]:
    """Ask an index over Hilbert keys: each scene in the cell of its middle, on the level that its size asks for."""
    base = sqlite3.connect(path)
    base.execute(
        "CREATE TABLE cell (level INTEGER, hilbert INTEGER, start INTEGER, stop INTEGER, sensor TEXT, row INTEGER)"
    )
    rows = base.execute("SELECT rowid, sensor, west, south, east, north, start, stop FROM scene")
    made = ((*_cell(box), start, stop, sensor, row) for row, sensor, *box, start, stop in rows)
    base.executemany("INSERT INTO cell VALUES (?, ?, ?, ?, ?, ?)", made)
    base.execute("CREATE INDEX cell_key ON cell (sensor, level, hilbert, start)")
    base.commit()
    levels = [level for (level,) in base.execute("SELECT DISTINCT level FROM cell")]
    text = (
        "SELECT id, west, south, east, north FROM cell CROSS JOIN scene ON scene.rowid = cell.row WHERE "
        "cell.sensor = ? AND level = ? AND hilbert BETWEEN ? AND ? AND cell.start < ? "
        "AND (cell.stop > ? OR cell.start >= ?)"
    )

    def ask(q: Question) -> set[str]:
        begin, end = (_micro(t) for t in q.time)
        found = set()
        for level in levels:
            for low, high in _ranges(q.box, level):
                for row in base.execute(text, (q.sensor, level, low, high, end, begin, begin)):
                    if overlap(row[1:], q.box):
                        found.add(row[0])
        return found

    taken, found = _timed(questions, ask)
    base.close()
    assert found == truth, "the Hilbert ranges find something else"
    section.add("Hilbert ranges, median", [float(np.median(taken))], "ms")
    section.add("Hilbert ranges, p95", [float(np.percentile(taken, 95))], "ms", "the other design; see the decision")
    return {"ms": [round(t, 2) for t in taken]}


def _cell(box: list[float]) -> tuple[int, int]:
    """Return level and Hilbert key of the cell that holds the middle of a box and is at least as large."""
    west, south, east, north = box
    wide = east - west if east >= west else east - west + 360.0
    level = 0
    while level < LEVELS and 180.0 / 2 ** (level + 1) >= max(wide, north - south):
        level += 1
    middle = (west + wide / 2 + 180.0) % 360.0
    size = 180.0 / 2**level
    return level, hilbert(int(middle / size), min(int(((south + north) / 2 + 90.0) / size), 2**level - 1), level + 1)


def _ranges(box: tuple[float, float, float, float], level: int) -> list[tuple[int, int]]:
    """Return the runs of Hilbert keys of all cells whose scenes may reach into a box."""
    size = 180.0 / 2**level
    across, up = 2 ** (level + 1), 2**level
    keys = set()
    for west, south, east, north in split_box(box):
        # Scenes on the coarsest level may be larger than a cell.
        reach = 1 if level else 2
        for x in range(int((west + 180.0) // size) - reach, int((east + 180.0) // size) + reach + 1):
            for y in range(max(0, int((south + 90.0) // size) - 1), min(up - 1, int((north + 90.0) // size) + 1) + 1):
                keys.add(hilbert(x % across, y, level + 1))
    runs: list[list[int]] = []
    for key in sorted(keys):
        if runs and key == runs[-1][1] + 1:
            runs[-1][1] = key
        else:
            runs.append([key, key])
    return [(low, high) for low, high in runs]


def hilbert(x: int, y: int, order: int) -> int:
    """Return the place of a cell on the Hilbert curve over 2**order cells squared."""
    key, side = 0, 2 ** (order - 1)
    while side:
        right, upper = bool(x & side), bool(y & side)
        key += side * side * ((3 * right) ^ upper)
        if not upper:
            if right:
                x, y = 2**order - 1 - x, 2**order - 1 - y
            x, y = y, x
        side //= 2
    return key


def _pystac(held: int, count: int, few: list[Question], section: Section) -> dict[str, Any]:
    """Ask a list of pystac items, as small catalogues are searched."""
    items = [to_stac(item) for item in itertools.islice(make_scenes(count), held)]

    def ask(q: Question) -> set[str]:
        found = set()
        for item in items:
            if q.sensor not in (item.properties.get("instruments") or ()):
                continue
            start = item.datetime or item.common_metadata.start_datetime
            end = item.datetime or item.common_metadata.end_datetime
            if start < q.time[1] and (end > q.time[0] or start >= q.time[0]) and overlap(item.bbox, q.box):
                found.add(item.id)
        return found

    taken, _ = _timed(few, ask)
    p95 = float(np.percentile(taken, 95))
    section.add(
        f"pystac in memory, {held:,} scenes, p95", [p95], "ms", f"scaled to {count:,}: {p95 * count / held:,.0f} ms"
    )
    return {"held": held, "ms": [round(t, 1) for t in taken]}


def _micro(time: datetime) -> int:
    from pipshpc.inventory.item import to_micro

    return to_micro(time)


def _from_outside(settings: Settings, section: Section) -> dict[str, Any]:
    """Time the command itself, start of Python included, on a small inventory."""
    home = settings.folder / "inventory-home"
    home.mkdir(exist_ok=True)
    with Inventory.open(home / "inventory.sqlite") as small:
        small.add(make_scenes(2000))
    words = [sys.executable, "-m", "pipshpc", "search", "--sensor", "MODIS", "--box", "0", "0", "90", "90", "--json"]
    taken = []
    for _ in range(settings.times(5)):
        begin = time.perf_counter()
        done = subprocess.run(
            words, check=True, capture_output=True, env={**os.environ, "PIPSHPC_HOME": str(home)}, text=True
        )
        taken.append(time.perf_counter() - begin)
    section.add("pipshpc search, whole command", taken, "s", f"{len(json.loads(done.stdout))} items of 2,000")
    return {"s": taken}
