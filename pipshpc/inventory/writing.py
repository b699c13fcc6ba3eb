"""How items get into the tables: new ones, new revisions, and those that are known as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from pipshpc.inventory import query
from pipshpc.inventory.item import Item, to_micro
from pipshpc.schema import Record

ASKED = 500  # values in one list of a statement


class Added(Record, frozen=True):
    """What `Inventory.add` did: new items, new revisions of known ones, and those that were known as they are."""

    added: int = 0
    revised: int = 0
    same: int = 0


class Writer:
    """Adds items inside a transaction of the caller's.

    Parameters
    ----------
    base : connection
    streams : codes that are known already, by what the stream is; kept up to date
    """

    def __init__(self, base: sqlite3.Connection, streams: dict[tuple[str, ...], int]) -> None:
        self.base, self._streams = base, streams

    def add(self, batch: Sequence[Item]) -> Added:
        """Add some items."""
        known = self._known(item.id for item in batch)
        fresh: list[tuple[int, Item]] = []
        revised: dict[str, None] = {}
        same, now = 0, to_micro(datetime.now(UTC))
        key = int(self.base.execute("SELECT coalesce(max(key), 0) FROM item").fetchone()[0])
        for item in batch:
            history = known.setdefault(item.id, [])
            if _is_known(history, item):
                same += 1
                self._move(history[-1], item)
                continue
            key += 1
            if history:
                revised[item.id] = None
            history.append((key, item.digest, item.path))
            fresh.append((key, item))
        self._insert(fresh, now)
        for ident in revised:
            self._renumber(ident)
        return Added(added=len(fresh) - len(revised), revised=len(revised), same=same)

    def _stream(self, item: Item) -> int:
        key = tuple(str(getattr(item, name)) for name in query.STREAM)
        code = self._streams.get(key)
        if code is None:
            names = ", ".join(query.STREAM)
            self.base.execute(f"INSERT OR IGNORE INTO stream ({names}) VALUES (?, ?, ?, ?, ?, ?)", key)
            where = " AND ".join(f"{name} = ?" for name in query.STREAM)
            code = self._streams[key] = int(
                self.base.execute(f"SELECT code FROM stream WHERE {where}", key).fetchone()[0]
            )
        return code

    def _known(self, idents: Iterable[str]) -> dict[str, list[tuple[int, str, str]]]:
        """Return key, digest and path of all revisions of some items, oldest first."""
        known: dict[str, list[tuple[int, str, str]]] = {}
        names = list(dict.fromkeys(idents))
        for first in range(0, len(names), ASKED):
            part = names[first : first + ASKED]
            marks = ", ".join("?" * len(part))
            text = f"SELECT id, key, digest, path FROM item WHERE id IN ({marks}) ORDER BY revision"
            for ident, *row in self.base.execute(text, part):
                known.setdefault(ident, []).append((row[0], row[1], row[2]))
        return known

    def _move(self, newest: tuple[int, str, str], item: Item) -> None:
        key, digest, path = newest
        if digest == item.digest and path != item.path:
            self.base.execute("UPDATE item SET path = ? WHERE key = ?", (item.path, key))

    def _insert(self, fresh: list[tuple[int, Item]], now: int) -> None:
        rows, places, edges = [], [], []
        for key, item in fresh:
            stream = self._stream(item)
            start, stop = (to_micro(t) if t else None for t in (item.start, item.end))
            created = to_micro(item.created) if item.created else now
            withdrawn = to_micro(item.withdrawn) if item.withdrawn else None
            properties = msgspec.json.encode(item.properties, order="sorted", enc_hook=str).decode()
            place = item.bbox or (None, None, None, None)
            head = key, item.id, stream, item.path, item.digest, item.size
            tail = item.quality, item.recipe, properties, created, 1, None, withdrawn
            rows.append((*head, *place, start, stop, *tail))
            places += query.place_rows(key, item, stream)
            edges += [(key, parent, digest) for parent, digest in item.inputs.items()]
        self.base.executemany(f"INSERT INTO item VALUES ({', '.join('?' * 19)})", rows)
        self.base.executemany(f"INSERT INTO place VALUES ({', '.join('?' * 9)})", places)
        self.base.executemany("INSERT INTO edge VALUES (?, ?, ?)", edges)

    def _renumber(self, ident: str) -> None:
        """Order the revisions of an item by when they came; each ends where the next begins."""
        rows = self.base.execute(
            "SELECT key, created FROM item WHERE id = ? ORDER BY created, key", (ident,)
        ).fetchall()
        for number, (key, _) in enumerate(rows, start=1):
            until = rows[number][1] if number < len(rows) else None
            self.base.execute("UPDATE item SET revision = ?, until = ? WHERE key = ?", (number, until, key))


def _is_known(history: list[tuple[int, str, str]], item: Item) -> bool:
    """Say whether an item is one of the revisions that are there: the newest, or an old one at a place of its own."""
    if not history:
        return False
    _, digest, path = history[-1]
    return digest == item.digest or any(
        (old, where) == (item.digest, item.path) and where != path for _, old, where in history[:-1]
    )
