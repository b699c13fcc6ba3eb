"""The append-only record of a campaign: one JSON line per event, readable by any process at any time."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path


class Journal:
    """Events of one campaign in one file.

    A line is written by one system call in append mode, so lines of several
    writers do not mix; a line cut by a crash is skipped by readers. Where the
    disk takes no more, events wait in memory and are written, in order, with
    the next one that can be: a full disk must not end a driver.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = b""
        self._offset = 0  # how far `news` has read
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **facts: object) -> None:
        """Append one event with the time (seconds since 1970, UTC)."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts}, default=str) + "\n"
        self._unwritten += line.encode()
        with contextlib.suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        """Write what waits, as far as the disk takes it."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            # A crash, or a full disk, may have cut the last line; a new one must not become part of it.
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                os.write(fd, b"\n")
            while self._unwritten:
                whole = self._unwritten.index(b"\n") + 1
                if os.write(fd, self._unwritten[:whole]) < whole:
                    return
                self._unwritten = self._unwritten[whole:]
        finally:
            os.close(fd)

    def read(self) -> Iterator[dict[str, object]]:
        """Yield all events in order of writing."""
        yield from _events(self._bytes(0))

    def news(self) -> list[dict[str, object]]:
        """Return the events since the last call (at first: all), whoever wrote them; a half line is left for later."""
        text = self._bytes(self._offset)
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        return list(_events(text[:whole]))

    def _bytes(self, offset: int) -> bytes:
        try:
            with self.path.open("rb") as handle:
                handle.seek(offset)
                return handle.read()
        except FileNotFoundError:
            return b""


def _events(text: bytes) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        try:
            event = json.loads(line.decode(errors="replace"))
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield event
