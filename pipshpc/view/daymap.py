"""A calendar of tasks, one cell a day; a week, a month or a year where there are too many. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING, SUBMITTED, UNKNOWN

# No states of tasks: days that cannot be planned before their input has come.
LATE, AWAITED = "LATE", "AWAITED"
# What a cell shows where its tasks are in several states: that which asks for attention first.
NOTABLE = (FAILED, LATE, UNKNOWN, RUNNING, SUBMITTED, PENDING, AWAITED, COMPLETED)
LETTERS = {
    COMPLETED: "#",
    RUNNING: "r",
    SUBMITTED: "s",
    UNKNOWN: "?",
    FAILED: "F",
    PENDING: ".",
    AWAITED: "i",
    LATE: "!",
    "": " ",
}
WORDS = {
    COMPLETED: "done",
    RUNNING: "running",
    SUBMITTED: "submitted",
    UNKNOWN: "silent",
    FAILED: "failed",
    PENDING: "waiting",
    AWAITED: "input to come",
    LATE: "input late",
}
# Cells of a row: the days of a month, the weeks of a year, the months of five years, the years of a century.
WIDTHS = {"day": 31, "week": 53, "month": 60, "year": 100}


@dataclass(frozen=True)
class DayMap:
    """States of cells by time.

    Parameters
    ----------
    zoom : what a cell is: one of `WIDTHS`
    rows : label and states of the cells of each row, in order of time; "" where there is no task
    """

    zoom: str
    rows: list[tuple[str, list[str]]]

    @property
    def margin(self) -> int:
        """Characters that the labels take, with a space."""
        return max((len(label) + 1 for label, _ in self.rows), default=8)

    @property
    def columns(self) -> int:
        """Cells of the longest row."""
        return max((len(cells) for _, cells in self.rows), default=0)


def map_days(tasks: Iterable[tuple[str, str]], most_rows: int = 24) -> DayMap:
    """Put tasks on a calendar.

    Parameters
    ----------
    tasks : start (ISO 8601) and state of each
    most_rows : rows at most; cells become weeks and months where days would take more
    """
    by_day: dict[date, str] = {}
    rank = {state: k for k, state in enumerate(NOTABLE)}
    for start, state in tasks:
        day = date.fromisoformat(start[:10])
        known = by_day.get(day)
        if known is None or rank[state] < rank[known]:
            by_day[day] = state
    if not by_day:
        return DayMap("day", [])
    first, last = min(by_day), max(by_day)
    zoom, labels = "year", _labels(first, last, "year")
    for finer in ("day", "week", "month"):
        found = _labels(first, last, finer)
        if len(found) <= most_rows:
            zoom, labels = finer, found
            break
    cells: dict[str, dict[int, str]] = {}
    for day, state in by_day.items():
        row, column = _place(day, zoom)
        known = cells.setdefault(row, {}).get(column)
        if known is None or rank[state] < rank[known]:
            cells[row][column] = state
    return DayMap(zoom, [(label, [cells.get(label, {}).get(k, "") for k in range(WIDTHS[zoom])]) for label in labels])


def _place(day: date, zoom: str) -> tuple[str, int]:
    """Return the row of a day and its column in it."""
    if zoom == "day":
        return day.strftime("%Y-%m"), day.day - 1
    if zoom == "week":
        return f"{day.year:04d}", (day.timetuple().tm_yday - 1) // 7
    if zoom == "month":
        return f"{day.year // 5 * 5:04d}–", day.year % 5 * 12 + day.month - 1
    return f"{day.year // 100 * 100:04d}s", day.year % 100


def _labels(first: date, last: date, zoom: str) -> list[str]:
    """Return the labels of all rows between two days, those without tasks too."""
    found: dict[str, None] = {}
    day = first
    while day <= last:
        found[_place(day, zoom)[0]] = None
        day += timedelta(days=27)
    found[_place(last, zoom)[0]] = None
    return list(found)
