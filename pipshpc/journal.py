"""The append-only record of a campaign: one JSON line per event, readable by any process at any time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """Events of one campaign in one file.

    A line is written by one system call in append mode, so lines of several
    writers do not mix; a line cut by a crash is skipped by readers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **facts: object) -> None:
        """Append one event with the time (seconds since 1970, UTC)."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts}, default=str) + "\n"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def read(self) -> Iterator[dict[str, object]]:
        """Yield the events in order of writing."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict):
                yield event
