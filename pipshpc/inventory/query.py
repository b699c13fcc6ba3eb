"""What a search asks for, as SQL over the tables of an inventory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipshpc.inventory.boxes import Rectangle, split_box
from pipshpc.inventory.item import Item, as_time, from_micro, to_micro

STREAM = ("collection", "kind", "product", "grid", "sensor", "platform")
COLUMNS = (
    "i.key, i.id, s.collection, s.kind, i.path, i.digest, i.west, i.south, i.east, i.north, i.start, i.stop, "
    "s.product, s.grid, s.sensor, s.platform, i.quality, i.recipe, i.size, i.properties, i.created, i.revision, "
    "i.withdrawn"
)
FROM_ITEM = "FROM item i CROSS JOIN stream s ON s.code = i.stream"
MICRO_PER_DAY = 86_400_000_000
AGES = 200_000.0  # days: what has no time lies between minus and plus this
INSIDE = "(i.west <= :e{k} AND i.east >= :w{k})"
ACROSS = "(i.west > i.east AND (i.west <= :e{k} OR i.east >= :w{k}))"


@dataclass(frozen=True)
class Query:
    """A search in numbers.

    Parameters
    ----------
    streams : codes that fit; None for all
    parts : rectangles of the box, one or two; empty for everywhere
    period : start, end (exclusive) in microseconds; None for always
    quality : words that will do; empty for all
    as_of : what was known then, microseconds; None for now
    limit : of the results; 0 for all
    """

    streams: tuple[int, ...] | None = None
    parts: tuple[Rectangle, ...] = ()
    period: tuple[int, int] | None = None
    quality: tuple[str, ...] = ()
    as_of: int | None = None
    limit: int = 0

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Return the statement and its values."""
        given: dict[str, Any] = {}
        where = [*self._known(given), *self._exact(given)]
        source = FROM_ITEM
        if self.parts or self.period:
            # CROSS JOIN holds SQLite to this order: candidates from the tree, then their rows.
            source = f"FROM ({self._candidates(given)}) p CROSS JOIN item i ON i.key = p.key {FROM_ITEM[11:]}"
        text = f"SELECT {COLUMNS} {source} WHERE {' AND '.join(where)} ORDER BY i.start, i.id, i.revision"
        if self.limit:
            text += f" LIMIT {int(self.limit)}"
        return text, given

    def _candidates(self, given: dict[str, Any]) -> str:
        """Return what asks the tree: a selection for each rectangle."""
        bounds = []
        if self.period:
            given["first"], given["last"] = self.period[0] / MICRO_PER_DAY, self.period[1] / MICRO_PER_DAY
            bounds.append("first <= :last AND last >= :first")
        if self.streams:
            given["low"], given["high"] = min(self.streams), max(self.streams)
            bounds.append("low >= :low AND high <= :high")
        asked = []
        for k, (west, south, east, north) in enumerate(self.parts or ((-180.0, -90.0, 180.0, 90.0),)):
            given |= {f"w{k}": west, f"s{k}": south, f"e{k}": east, f"n{k}": north}
            place = f"west <= :e{k} AND east >= :w{k} AND south <= :n{k} AND north >= :s{k}"
            asked.append(f"SELECT part >> 1 AS key FROM place WHERE {' AND '.join([place, *bounds])}")
        # Not "UNION ALL": what crosses the date line has two parts, and may be found by both.
        return " UNION ".join(asked) if len(asked) > 1 else asked[0].replace("SELECT", "SELECT DISTINCT", 1)

    def _known(self, given: dict[str, Any]) -> list[str]:
        if self.as_of is None:
            return ["i.until IS NULL", "i.withdrawn IS NULL"]
        given["known"] = self.as_of
        open_ended = [f"(i.{name} IS NULL OR i.{name} > :known)" for name in ("until", "withdrawn")]
        return ["i.created <= :known", *open_ended]

    def _exact(self, given: dict[str, Any]) -> list[str]:
        """Return the conditions on the numbers themselves; those of the tree are rounded outwards."""
        where = []
        if self.streams is not None:
            where.append(f"i.stream IN ({', '.join(map(str, self.streams))})")
        if self.parts:
            boxes = []
            for k in range(len(self.parts)):
                east_west = f"(i.west <= i.east AND {INSIDE} OR {ACROSS})".format(k=k)
                boxes.append(f"({east_west} AND i.south <= :n{k} AND i.north >= :s{k})")
            where.append(f"({' OR '.join(boxes)})")
        if self.period:
            given["begin"], given["end"] = self.period
            # An instant counts where it is not the excluded end.
            where.append("(i.start IS NULL OR i.start < :end AND (i.stop > :begin OR i.start >= :begin))")
        if self.quality:
            given |= {f"q{k}": word for k, word in enumerate(self.quality)}
            where.append(f"i.quality IN ({', '.join(f':q{k}' for k in range(len(self.quality)))})")
        return where


def as_period(time: Sequence[Any] | None) -> tuple[int, int] | None:
    """Return a pair of times (either may be None) in microseconds."""
    if time is None:
        return None
    start, end = time
    low = to_micro(as_time(start)) if start is not None else int(-AGES * MICRO_PER_DAY)
    high = to_micro(as_time(end)) if end is not None else int(AGES * MICRO_PER_DAY)
    return low, high


def as_words(words: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return one word or several as a tuple."""
    return () if words is None else (words,) if isinstance(words, str) else tuple(words)


def as_micro(time: str | datetime | None) -> int | None:
    """Return a time in microseconds, None as it is."""
    return None if time is None else to_micro(as_time(time))


def make_item(row: Sequence[Any], inputs: dict[str, str]) -> Item:
    """Return the item of a row of `COLUMNS`."""
    import msgspec

    (
        _, ident, collection, kind, path, digest, west, south, east, north, start, stop,
        product, grid, sensor, platform, quality, recipe, size, properties, created, revision, withdrawn,
    ) = row  # fmt: skip
    return Item(
        id=ident,
        collection=collection,
        kind=kind,
        path=path,
        digest=digest,
        bbox=None if west is None else (west, south, east, north),
        start=None if start is None else from_micro(start),
        end=None if stop is None else from_micro(stop),
        product=product,
        grid=grid,
        sensor=sensor,
        platform=platform,
        quality=quality,
        recipe=recipe,
        size=size,
        properties=msgspec.json.decode(properties) if properties != "{}" else {},
        inputs=inputs,
        created=from_micro(created),
        revision=revision,
        withdrawn=None if withdrawn is None else from_micro(withdrawn),
    )


def place_rows(key: int, item: Item, stream: int) -> list[tuple[float, ...]]:
    """Return the rows of an item in the tree: two where it crosses the date line."""
    first = to_micro(item.start) / MICRO_PER_DAY if item.start else -AGES
    last = to_micro(item.end) / MICRO_PER_DAY if item.end else AGES
    parts = split_box(item.bbox) if item.bbox else [(-180.0, -90.0, 180.0, 90.0)]
    return [(2 * key + k, w, e, s, n, first, last, stream, stream) for k, (w, s, e, n) in enumerate(parts)]
