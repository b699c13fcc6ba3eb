"""Lengths of time as campaigns write them: parts of a day, days, months and years, and the windows they make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipshpc.errors import SpecError

DAY = timedelta(days=1)
UNITS: tuple[tuple[str, Literal["min", "h", "d", "mon", "y"]], ...] = (
    ("min", "min"), ("mon", "mon"), ("h", "h"), ("d", "d"), ("y", "y"),
)  # fmt: skip
WANTED = "a length such as '3h', '30min', '1d', '8d', '1mon' or '1y'"


@dataclass(frozen=True)
class Span:
    """A length of time.

    Windows of several days are counted from 1 January, and the last of a year
    ends with it, as composites of satellites are; months and years are those
    of the calendar, and a number of months divides the year.
    """

    number: int
    unit: Literal["min", "h", "d", "mon", "y"]

    @property
    def short(self) -> bool:
        """Whether it is a day or less, so that several windows make one task."""
        return self.unit in ("min", "h") or (self.unit == "d" and self.number == 1)

    @property
    def length(self) -> timedelta:
        """Length of a short one."""
        return self.number * {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": DAY}[self.unit]

    def next_border(self, time: datetime) -> datetime:
        """Return the end of the long window that holds `time`."""
        new_year = datetime(time.year + 1, 1, 1, tzinfo=UTC)
        if self.unit == "y":
            first = time.year - time.year % self.number
            return datetime(first + self.number, 1, 1, tzinfo=UTC)
        if self.unit == "mon":
            month = (time.month - 1) // self.number * self.number + self.number
            return new_year if month >= 12 else datetime(time.year, month + 1, 1, tzinfo=UTC)
        begun = datetime(time.year, 1, 1, tzinfo=UTC)
        whole = (time - begun) // (self.number * DAY) + 1
        return min(begun + whole * self.number * DAY, new_year)

    def is_border(self, time: datetime) -> bool:
        """Say whether a long window begins at `time`."""
        return self.next_border(time - timedelta(seconds=1)) == time

    def windows(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield start and end of the long windows from `start` to `end`."""
        while start < end:
            stop = self.next_border(start)
            yield start, stop
            start = stop


def read_span(text: str) -> Span:
    """Read ``"3h"``, ``"30min"``, ``"1d"``, ``"8d"``, ``"1mon"`` or ``"1y"``.

    Raises
    ------
    SpecError
        Anything else, and months that do not divide a year.
    """
    for suffix, unit in UNITS:
        number = text.removesuffix(suffix)
        if number != text and number.isdigit() and int(number) > 0:
            span = Span(int(number), unit)
            if unit == "mon" and 12 % span.number:
                raise SpecError(f"key 'period': found '{text}', wanted months that divide a year")
            if (unit == "d" and span.number > 366) or (unit == "h" and span.number > 24):
                break
            return span
    raise SpecError(f"key 'period': found '{text}', wanted {WANTED}")
