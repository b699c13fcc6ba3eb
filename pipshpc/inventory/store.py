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

from pipshpc.errors import InputError, OutputError, SpecError
from pipshpc.inventory import query
from pipshpc.inventory.boxes import split_box
from pipshpc.inventory.item import Item, as_time, to_micro
from pipshpc.inventory.tables import BUSY_S, connect
from pipshpc.inventory.writing import ASKED, Added, Writer

if TYPE_CHECKING:
    from pipshpc.inventory.harvest import Counts

BATCH = 5000  # items of one transaction: others get their turn in between


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
    def open(cls, path: str | Path | None = None, create: bool = True, patience_s: float = BUSY_S) -> Inventory:
        """Open the inventory at `path` (that of `inventory_path` if not given).

        `patience_s` is how long to wait for another process that writes.

        Raises
        ------
        InputError
            Where it is not there and `create` is not set, or is no inventory.
        OutputError
            Where it cannot be made.
        """
        path = Path(path) if path is not None else inventory_path()
        return cls(path, connect(path, create, patience_s))

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

    def with_digest(self, digest: str) -> list[Item]:
        """Return all revisions of all items of some content, the newest first."""
        text = (
            f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.digest = :d AND i.digest <> '' ORDER BY i.created DESC"
        )
        return self._items(text, {"d": digest})

    def revisions(self, path: str | Path) -> list[Item]:
        """Return all revisions of what lies at a path, or has it as its id; oldest first."""
        at = self.at(path)
        text = f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.id = :id ORDER BY i.revision"
        return self._items(text, {"id": at.id if at else str(path)})

    def move(self, item: Item, path: str | Path) -> None:
        """Note that the file of one revision of an item lies elsewhere now."""
        with self.writing() as base:
            text = "UPDATE item SET path = ? WHERE id = ? AND revision = ?"
            base.execute(text, (os.path.abspath(path), item.id, item.revision))  # noqa: PTH100

    def stale(self) -> list[Item]:
        """Return the current products with an input that was replaced or withdrawn since."""
        text = (
            f"SELECT DISTINCT {query.COLUMNS} FROM edge e CROSS JOIN item i ON i.key = e.child CROSS JOIN stream s "
            "ON s.code = i.stream CROSS JOIN item p ON p.id = e.parent WHERE p.until IS NULL AND i.until IS NULL "
            "AND i.withdrawn IS NULL AND (p.digest <> e.digest OR p.withdrawn IS NOT NULL) ORDER BY i.start, i.id"
        )
        return self._items(text, {})

    def changed_since(self, since: str | datetime) -> list[Item]:
        """Return the newest revision of all that came, was replaced or was withdrawn since then."""
        text = (
            f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.until IS NULL AND (i.created >= :since "
            "OR i.withdrawn >= :since) ORDER BY i.start, i.id"
        )
        return self._items(text, {"since": query.as_micro(since)})

    def after(self, key: int, most: int) -> list[tuple[int, Item]]:
        """Return what was added after some item, in the order of adding: its key and the item."""
        text = f"SELECT {query.COLUMNS} {query.FROM_ITEM} WHERE i.key > :key ORDER BY i.key LIMIT :most"
        given = {"key": key, "most": most}
        with self._lock:
            keys = [
                k for (k,) in self.base.execute("SELECT key FROM item WHERE key > ? ORDER BY key LIMIT ?", (key, most))
            ]
            return list(zip(keys, self._items(text, given), strict=True))

    def note_campaign(self, file: str | Path, name: str, output: str | Path) -> None:
        """Note a campaign file, so that late data can be brought to it."""
        row = os.path.abspath(file), name, os.path.abspath(output)  # noqa: PTH100
        with self.writing() as base:
            base.execute("INSERT OR REPLACE INTO campaign VALUES (?, ?, ?)", row)

    def campaigns(self) -> list[tuple[str, str, str]]:
        """Return file, name and output folder of the campaigns that are known."""
        return list(self.base.execute("SELECT file, name, output FROM campaign ORDER BY file"))

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

    def add_in(self, batch: Sequence[Item]) -> Added:
        """Add some items inside a block of `writing`, together with whatever else it writes."""
        return Writer(self.base, self._streams).add(batch)
