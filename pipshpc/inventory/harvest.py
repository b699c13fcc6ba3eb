"""Folders into the inventory: each file looked at once, damaged ones told of once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import xxhash

from pipshpc.catalogue import item_path
from pipshpc.errors import InputError, PipshpcError
from pipshpc.inventory.eos import describe_scene, scene_files
from pipshpc.inventory.formats import ENDINGS, describe_file
from pipshpc.inventory.granules import LANDSAT, LANDSAT_OLD
from pipshpc.inventory.item import Item
from pipshpc.inventory.stac import is_stac, read_stac
from pipshpc.schema import Record
from pipshpc.source.identity import file_digest

if TYPE_CHECKING:
    from pipshpc.inventory.store import Inventory

BATCH = 200  # files between two commits: what a run that is ended has to look at again, at most
NO_DATA = "no data"  # what is noted of a file that is not damaged, but no item
STATES = ".pipshpc"  # folder of the campaigns' journals, beside the products
REVISIONS = ".revisions"  # folder of replaced product files


class Counts(Record, frozen=True):
    """What a harvest found.

    Parameters
    ----------
    added, revised, same : items; `same` counts those of files that were known as they are
    other : files that are no data
    withdrawn : items whose files are gone, where that was asked for
    missing : paths of items whose files are gone
    damaged : path -> reason, told of for the first time
    known_damaged : files that are damaged as they were before
    """

    added: int = 0
    revised: int = 0
    same: int = 0
    other: int = 0
    withdrawn: int = 0
    missing: list[str] = []
    damaged: dict[str, str] = {}
    known_damaged: int = 0


class Harvest:
    """One walk over a folder.

    Parameters
    ----------
    stock : the inventory
    folder : what is walked over; hidden folders but that of revisions are left out
    digests : take the digest of each source file, which reads all of it once
    watch : called with the path of each file that is looked at
    """

    def __init__(
        self, stock: Inventory, folder: Path, digests: bool = True, watch: Callable[[str], None] | None = None
    ) -> None:
        self.stock, self.folder, self.digests = stock, Path(os.path.abspath(folder)), digests  # noqa: PTH100
        self.watch = watch or (lambda _: None)
        self.added = self.revised = self.same = self.other = self.known_damaged = 0
        self.damaged: dict[str, str] = {}

    def run(self, withdraw: bool = False) -> Counts:
        """Look at every file that is new or changed; `withdraw` items whose files are gone.

        Raises
        ------
        InputError
            Where the folder cannot be read.
        """
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: is no folder; name the one that holds the files")
        known = self._known()
        waiting: list[tuple[str, os.stat_result]] = []
        self._note_campaigns()
        for path in self._files():
            found = _stat(path)
            if found is None:
                continue
            before = known.get(str(path))
            if before is not None and before[:2] == (found.st_size, found.st_mtime_ns):
                self.known_damaged += before[2] not in ("", NO_DATA)
                self.same += before[2] == ""
                self.other += before[2] == NO_DATA
                continue
            waiting.append((str(path), found))
            if len(waiting) >= BATCH:
                self._take(waiting)
                waiting = []
        self._take(waiting)
        missing = self._missing()
        return Counts(
            added=self.added,
            revised=self.revised,
            same=self.same,
            other=self.other,
            withdrawn=self._withdraw(missing) if withdraw else 0,
            missing=[path for _, path in missing],
            damaged=self.damaged,
            known_damaged=self.known_damaged,
        )

    def _note_campaigns(self) -> None:
        """Note the campaigns whose output folder this is, as their journals tell."""
        for place, folders, _ in os.walk(self.folder):
            journals = sorted((Path(place) / STATES).glob("*/journal.jsonl")) if STATES in folders else []
            folders[:] = [f for f in folders if not f.startswith(".")]
            for journal in journals:
                if file := _campaign_file(journal):
                    self.stock.note_campaign(file, journal.parent.name, place)

    def _known(self) -> dict[str, tuple[int, int, str]]:
        low, high = f"{self.folder}{os.sep}", f"{self.folder}{chr(ord(os.sep) + 1)}"
        rows = self.stock.base.execute("SELECT * FROM seen WHERE path >= ? AND path < ?", (low, high))
        return {path: (size, mtime, trouble) for path, size, mtime, trouble in rows}

    def _files(self) -> Iterator[Path]:
        """Yield the files that stand for items: data, the MTL files of scenes, STAC items; sorted."""
        for place, folders, names in os.walk(self.folder):
            folders[:] = sorted(f for f in folders if not f.startswith(".") or f == REVISIONS)
            here, there = Path(place), set(names)
            scenes = [n.removesuffix("_MTL.txt") for n in names if n.endswith("_MTL.txt")]
            for name in sorted(names):
                path = here / name
                if name.startswith(".") or ".part" in name:
                    continue
                if name.endswith("_MTL.txt") and (LANDSAT.match(name) or LANDSAT_OLD.match(name)):
                    yield path
                elif any(name.startswith(scene) for scene in scenes):
                    continue  # a band: the scene is the item
                elif path.suffix.casefold() == ".json" or (
                    path.suffix.casefold() in ENDINGS and item_path(path).name not in there
                ):
                    yield path
                elif path.suffix.casefold() not in ENDINGS:
                    self.other += 1

    def _take(self, files: list[tuple[str, os.stat_result]]) -> None:
        """Describe some files and commit items and notes together."""
        items: list[Item] = []
        notes: list[tuple[str, int, int, str]] = []
        for name, found in files:
            self.watch(name)
            trouble = ""
            try:
                item = self.describe(Path(name), found)
                if item is None:
                    self.other += 1
                    trouble = NO_DATA
                else:
                    items.append(item)
            except (PipshpcError, OSError) as error:
                trouble = " ".join(str(error).split())
                self.damaged[name] = trouble
            notes.append((name, found.st_size, found.st_mtime_ns, trouble))
        with self.stock.writing() as base:
            done = self.stock.add_in(items)
            base.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", notes)
        self.added += done.added
        self.revised += done.revised
        self.same += done.same

    def describe(self, path: Path, found: os.stat_result) -> Item | None:
        """Return the item of a file, None where it is no data."""
        if path.suffix.casefold() == ".json":
            try:
                raw = msgspec.json.decode(path.read_bytes())
            except msgspec.DecodeError:
                return None
            return read_stac(path) if is_stac(raw) else None
        if path.name.endswith("_MTL.txt"):
            parts = scene_files(path)
            facts: dict[str, Any] = describe_scene(path)
            size = sum(part.stat().st_size for part in parts)
            facts["properties"]["files"] = [part.name for part in parts]
            digest = _joined(parts) if self.digests else ""
        else:
            facts, size = describe_file(path), found.st_size
            digest = file_digest(path) if self.digests else ""
        return Item(**facts, path=str(path), size=size, digest=digest or f"unread-{size}-{found.st_mtime_ns}")

    def _missing(self) -> list[tuple[str, str]]:
        """Return id and path of current items under the folder whose files are gone."""
        low, high = f"{self.folder}{os.sep}", f"{self.folder}{chr(ord(os.sep) + 1)}"
        text = "SELECT id, path FROM item WHERE path >= ? AND path < ? AND until IS NULL AND withdrawn IS NULL"
        return [(ident, path) for ident, path in self.stock.base.execute(text, (low, high)) if not Path(path).exists()]

    def _withdraw(self, missing: list[tuple[str, str]]) -> int:
        for ident, path in missing:
            self.stock.withdraw(ident)
            with self.stock.writing() as base:
                base.execute("DELETE FROM seen WHERE path = ?", (path,))
        return len(missing)


def _campaign_file(journal: Path) -> str:
    """Return the campaign file that a journal tells of last; empty where it tells of none."""
    found = ""
    with contextlib.suppress(OSError), journal.open("rb") as lines:
        for line in lines:
            if b'"driver started"' in line:
                with contextlib.suppress(msgspec.DecodeError):
                    found = msgspec.json.decode(line).get("campaign", "") or found
    return found


def _joined(parts: list[Path]) -> str:
    """Return one digest for the files of a scene, their names included."""
    text = "\n".join(f"{part.name} {file_digest(part)}" for part in parts)
    return xxhash.xxh3_128_hexdigest(text.encode())


def _stat(path: Path) -> os.stat_result | None:
    """Return size and time of a file, None for one that is gone; a scene has those of all of its files."""
    try:
        found = path.stat()
        if not path.name.endswith("_MTL.txt"):
            return found
        stats = [part.stat() for part in scene_files(path)]
    except OSError:
        return None
    values = list(found)
    values[6] = sum(one.st_size for one in stats)
    newest = max(stats, key=lambda one: one.st_mtime_ns)
    return os.stat_result(values, {"st_mtime_ns": newest.st_mtime_ns})
