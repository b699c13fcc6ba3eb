"""One entry of the inventory, and the names and times in it."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import xxhash

from pipshpc.errors import SpecError
from pipshpc.schema import Record

Kind = Literal["source", "interim", "product"]
Bounds = tuple[float, float, float, float]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Item(Record, frozen=True):
    """One file: what it is, where it lies in space and time, what it was made from.

    Parameters
    ----------
    id : name that stays the same when the file is replaced by a newer revision
    collection : what it belongs to, for example ``MOD11A1.061``
    kind : "source" (came from outside), "interim" (may be deleted and made again) or "product"
    path : absolute path
    digest : of the content for products, of the bytes for all else; hex
    bbox : west, south, east, north in degrees; west > east across the date line; None where it is not known
    start, end : UTC, end exclusive; equal for an instant; None for what has no time
    product, grid, sensor, platform, recipe : empty where they do not apply
    quality : one of "good", "suspect", "bad", or a word of the provider; empty where nothing is said
    size : bytes
    properties : further facts, as STAC properties
    inputs : id of each input, and its digest as it was used
    created : since when it is known; `Inventory.add` says "now" where it is not given
    revision : 1 for the first; given by the inventory
    withdrawn : since when it must not be used any more
    """

    id: str
    collection: str = ""
    kind: Kind = "source"
    path: str = ""
    digest: str = ""
    bbox: Bounds | None = None
    start: datetime | None = None
    end: datetime | None = None
    product: str = ""
    grid: str = ""
    sensor: str = ""
    platform: str = ""
    quality: str = ""
    recipe: str = ""
    size: int = 0
    properties: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    created: datetime | None = None
    revision: int = 0
    withdrawn: datetime | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("an item needs an id")
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
                raise ValueError(f"item {self.id}: bbox {self.bbox} is not west, south, east, north in degrees")
        for time in (self.start, self.end, self.created, self.withdrawn):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"item {self.id}: time {time} has no zone; UTC is wanted")
        if (self.start is None) != (self.end is None) or (self.start and self.end and self.end < self.start):
            raise ValueError(f"item {self.id}: start {self.start} and end {self.end} do not make a period")


def path_id(path: str | Path) -> str:
    """Return the id of a file that has no name of its own by which the world knows it: name and place."""
    absolute = os.path.abspath(path)  # noqa: PTH100 (symbolic links are part of how a file is called)
    return f"{Path(absolute).stem}.{xxhash.xxh32_hexdigest(os.fsencode(absolute))}"


def as_time(time: str | date | datetime) -> datetime:
    """Return a time in UTC from ISO 8601 text, a date or a datetime; without a zone it is UTC.

    Raises
    ------
    SpecError
        Where the text is not a time.
    """
    if isinstance(time, str):
        try:
            found = datetime.fromisoformat(time)
        except ValueError as error:
            raise SpecError(f"time '{time}': wanted ISO 8601, for example 2019-07-01 or 2019-07-01T06:00Z") from error
    elif isinstance(time, datetime):
        found = time
    else:
        found = datetime(time.year, time.month, time.day)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def to_micro(time: datetime) -> int:
    """Return microseconds since 1970."""
    return (time - EPOCH) // MICROSECOND


def from_micro(value: int) -> datetime:
    """Return the time of `to_micro`."""
    return EPOCH + value * MICROSECOND
