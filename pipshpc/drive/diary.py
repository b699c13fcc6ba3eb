"""A driver's own view of the journal: what it writes it also knows."""

from __future__ import annotations

import time

from pipshpc.drive.course import Course, fold
from pipshpc.drive.journal import Journal


class Diary:
    """The journal of a campaign and the course that follows from it, kept in step.

    Parameters
    ----------
    journal : of the campaign; what it holds so far is taken in
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.course: Course = fold(journal.news())

    def write(self, event: str, **facts: object) -> None:
        """Write an event and take it into the course."""
        self.journal.write(event, **facts)
        fold([{"time": time.time(), "event": event, **facts}], self.course)
