"""Files that are open for reading: few at a time, however many a forcing has."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEEP = 64


class Handles:
    """Open files of all readers of this process; the one unused for longest is closed for a new one."""

    def __init__(self, keep: int = KEEP) -> None:
        self.keep = keep
        self._open: OrderedDict[int, tuple[weakref.ref[Any], Any]] = OrderedDict()

    def take(self, owner: object, start: Callable[[], Any]) -> Any:
        """Return the open file of `owner`; `start` opens it where it is not."""
        key = id(owner)
        known, handle = self._open.get(key, (None, None))
        if known is not None and known() is owner:
            self._open.move_to_end(key)
            return handle
        self._close(key)  # of an owner that went without closing, and left its number to this one
        handle = start()
        self._open[key] = weakref.ref(owner), handle
        while len(self._open) > self.keep:
            self._close(next(iter(self._open)))
        return handle

    def drop(self, owner: object) -> None:
        """Close the file of `owner`."""
        known, _ = self._open.get(id(owner), (None, None))
        if known is not None and known() is owner:
            self._close(id(owner))

    def _close(self, key: int) -> None:
        _, handle = self._open.pop(key, (None, None))
        if handle is not None:
            handle.close()

    def __len__(self) -> int:
        return len(self._open)


HANDLES = Handles()
