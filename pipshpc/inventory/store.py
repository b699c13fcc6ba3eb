"""The inventory: what exists, what it was made from, and what was known when."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from pipshpc.errors import InputError, OutputError, SpecError
from pipshpc.inventory import query
from pipshpc.inventory.boxes import split_box
from pipshpc.inventory.item import Item, as_time, to_micro
from pipshpc.inventory.tables import connect
from pipshpc.schema import Record

if TYPE_CHECKING:
    from pipshpc.inventory.harvest import Counts

BATCH = 5000  # items of one transaction: others get their turn in between
ASKED = 500  # values in one list of a statement


class Added(Record, frozen=True):
    """What `Inventory.add` did: new items, new revisions of known ones, and those that were known as they are."""

    added: int = 0
    revised: int = 0
    same: int = 0


def inventory_path(home: str | Path | None = None) -> Path:
    """Return where the inventory is: in `home`, ``$PIPSHPC_HOME``, or ``~/.local/share/pipshpc``."""
    folder = home or os.environ.get("PIPSHPC_HOME")
    if not folder:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "pipshpc"
    return Path(folder) / "inventory.sqlite"


class Inventory:
    """Items in one SQLite file, which several processes may read and write at once.

    Use `open`; it is a context manager. Searches see what is current unless
    they are asked for what was known at an earlier date.
    """

    def __init__(self, path: Path, base: sqlite3.Connection) -> None:
        self.path, self.base = path, base
        self._lock = threading.RLock()
        self._streams: dict[tuple[str, ...], int] = {}

    @classmethod
    def open(cls, path: str | Path | None = None, create: bool = True) -> Inventory:
        """Open the inventory at `path` (that of `inventory_path` if not given).

        Raises
        ------
        InputError
            Where it is not there and `create` is not set, or is no inventory.
        OutputError
            Where it cannot be made.
        """
        path = Path(path) if path is not None else inventory_path()
        return cls(path, connect(path, create))

    def __enter__(self) -> Inventory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self.base.execute("SELECT count(*) FROM item").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self.base.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the right to write: all of the block's changes become visible together, or none."""
        with self._lock:
            try:
                self.base.execute("BEGIN IMMEDIATE")
                try:
                    yield self.base
                    self.base.execute("COMMIT")
                except BaseException:
                    if self.base.in_transaction:
                        self.base.execute("ROLLBACK")
                    self._streams.clear()  # what was rolled back may be among them
                    raise
            except sqlite3.OperationalError as error:
                raise OutputError(
                    f"{self.path}: cannot be written ({error}); check the disk and who else writes"
                ) from (error)

    def add(self, items: Iterable[Item]) -> Added:
        """Add items; whatever is known as it is stays as it is.

        An item whose id is known with another digest becomes a new revision;
        the old one stays for those who ask what was known before. A withdrawn
        file stays withdrawn until its content changes.

        Raises
        ------
        OutputError
            Where the inventory cannot be written; earlier batches of 5000 are in it.
        """
        total = Added()
        remaining = iter(items)
        while batch := list(islice(remaining, BATCH)):
            with self.writing():
                done = self.add_in(batch)
            total = Added(
                added=total.added + done.added, revised=total.revised + done.revised, same=total.same + done.same
            )
        return total

    def ingest(
        self,
        folder: str | Path,
        digests: bool = True,
        withdraw: bool = False,
        watch: Callable[[str], None] | None = None,
    ) -> Counts:
        """Take in all data files of a folder and those below it; see `pipshpc.inventory.harvest`.

        It may be ended at any time and called again: what is known as it is, is passed over.

        Parameters
        ----------
        digests : take the digest of each source file, which reads all of it once
        withdraw : withdraw the items whose files are gone
        watch : called with the path of each file that is looked at

        Raises
        ------
        InputError
            Where the folder cannot be read.
        """
        from pipshpc.inventory.harvest import Harvest

        return Harvest(self, Path(folder), digests, watch).run(withdraw)

    def search(
        self,
        product: str | Iterable[str] | None = None,
        collection: str | Iterable[str] | None = None,
        sensor: str | Iterable[str] | None = None,
        platform: str | Iterable[str] | None = None,
        box: Sequence[float] | None = None,
        region: str | None = None,
        time: Sequence[Any] | None = None,
        quality: str | Iterable[str] | None = None,
        limit: int | None = None,
        *,
        kind: str | Iterable[str] | None = None,
        grid: str | Iterable[str] | None = None,
        as_of: str | datetime | None = None,
    ) -> list[Item]:
        """Return the items that fit all that is asked, in order of time and id.

        Parameters
        ----------
        product, collection, sensor, platform, kind, grid : a word, or several of which one has to fit
        box : west, south, east, north in degrees; west > east crosses the date line; edges belong to it
        region : name of a region, see `regions`; instead of `box`
        time : start and end (exclusive), ISO 8601 or datetime; None for open. What has no time always fits
        quality : as `product`
        limit : most results
        as_of : what was known at that time, instead of now

        Raises
        ------
        SpecError
            Where a box, region or time cannot be understood.
        """
        if box is not None and region is not None:
            raise SpecError("a search takes a box or a region, found both; drop one")
        if region is not None:
            from pipshpc.inventory.regions import find_region

            box = find_region(region).box
        words = dict(zip(query.STREAM, (collection, kind, product, grid, sensor, platform), strict=True))
        streams = self._fitting({name: query.as_words(word) for name, word in words.items() if word is not None})
        if streams == ():
            return []
        asked = query.Query(
            streams=streams,
            parts=tuple(split_box(box)) if box is not None else (),
            period=query.as_period(time),
            quality=query.as_words(quality),
            as_of=query.as_micro(as_of),
            limit=limit or 0,
        )
        return self._items(*asked.sql())

    def get(self, ident: str, as_of: str | datetime | None = None) -> Item | None:
        """Return the newest revision of an item (as known at `as_of`), withdrawn or not; None where there is none."""
        known = query.as_micro(as_of)
        given: dict[str, Any] = {"id": ident}
        where = "i.id = :id"
        if known is not None:
            given["known"] = known
            where += " AND i.created <= :known AND (i.withdrawn IS NULL OR i.withdrawn > :known)"
        order = "ORDER BY i.revision DESC LIMIT 1"
        found = self._items(f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE {where} {order}", given)
        return found[0] if found else None

    def withdraw(self, ident: str, at: str | datetime | None = None) -> Item:
        """Mark the newest revision of an item as not to be used any more, and return it.

        Raises
        ------
        InputError
            Where there is no such item.
        """
        moment = to_micro(as_time(at) if at is not None else datetime.now(UTC))
        with self.writing() as base:
            base.execute(
                "UPDATE item SET withdrawn = ? WHERE id = ? AND until IS NULL AND withdrawn IS NULL", (moment, ident)
            )
        found = self.get(ident)
        if found is None:
            raise InputError(f"item '{ident}' is not in {self.path}; 'pipshpc search' lists what is")
        return found

    def parents(self, ident: str) -> list[Item]:
        """Return the inputs of an item as far as they are known here, each in the revision that was used."""
        item = self.get(ident)
        found = []
        for parent, digest in (item.inputs if item else {}).items():
            revisions = self.revisions(parent)
            fitting = [r for r in revisions if r.digest == digest] or revisions
            found += fitting[-1:]
        return found

    def children(self, ident: str) -> list[Item]:
        """Return what was made from an item (any of its revisions) and is current."""
        text = (
            f"SELECT {query.COLUMNS} FROM edge e CROSS JOIN item i ON i.key = e.child CROSS JOIN stream s "
            "ON s.code = i.stream WHERE e.parent = :id AND i.until IS NULL AND i.withdrawn IS NULL "
            "ORDER BY i.start, i.id"
        )
        return self._items(text, {"id": ident})

    def at(self, path: str | Path) -> Item | None:
        """Return the newest item at a path, or None."""
        text = f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.path = :path ORDER BY i.created DESC LIMIT 1"
        found = self._items(text, {"path": os.path.abspath(path)})  # noqa: PTH100
        return found[0] if found else None

    def revisions(self, path: str | Path) -> list[Item]:
        """Return all revisions of what lies at a path, or has it as its id; oldest first."""
        at = self.at(path)
        text = f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.id = :id ORDER BY i.revision"
        return self._items(text, {"id": at.id if at else str(path)})

    def _items(self, text: str, given: dict[str, Any]) -> list[Item]:
        with self._lock:
            rows = self.base.execute(text, given).fetchall()
            inputs: dict[int, dict[str, str]] = {}
            keys = [row[0] for row in rows]
            for first in range(0, len(keys), ASKED):
                part = ", ".join(map(str, keys[first : first + ASKED]))
                for child, parent, digest in self.base.execute(
                    f"SELECT child, parent, digest FROM edge WHERE child IN ({part})"
                ):
                    inputs.setdefault(child, {})[parent] = digest
        return [query.make_item(row, inputs.get(row[0], {})) for row in rows]

    def _fitting(self, words: dict[str, tuple[str, ...]]) -> tuple[int, ...] | None:
        """Return the codes of the streams that fit; None where nothing is asked of them."""
        if not words:
            return None
        given = {f"{name}{k}": word for name, several in words.items() for k, word in enumerate(several)}
        where = [
            f"{name} IN ({', '.join(f':{name}{k}' for k in range(len(several)))})" for name, several in words.items()
        ]
        text = f"SELECT code FROM stream WHERE {' AND '.join(where)}"
        with self._lock:
            return tuple(code for (code,) in self.base.execute(text, given))

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

    def add_in(self, batch: Sequence[Item]) -> Added:
        """Add some items inside a block of `writing`, together with whatever else it writes."""
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
