"""What every source of forcing offers, files or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.offer import Holdings
from pipshpc.source.reader import Float32Array, Times
from pipshpc.sourcegrid import SourceGrid


@dataclass(frozen=True)
class FieldInfo:
    """Where a variable of a source comes from, for metadata and reports."""

    name: str
    units: str
    long_name: str
    native: str
    cell_methods: str
    mean_s: int = 0  # length of the averaging window that ends at each time; 0 for instants
    static: bool = False


class Source(ABC):
    """Forcing as named variables in SI units on one grid at given times.

    Attributes
    ----------
    variables : canonical names that `read` gives
    fields : what is known of each
    times : datetime64[s], UTC, ascending, evenly spaced
    step : spacing of `times`, None for a single one
    grid : cell centres, ascending along both axes
    identity : hex digest of what the input holds
    title, comment : plain words for metadata
    hold : one state for all times
    holdings : which file gives what; empty where there are none
    states : variables that change with the season only, so that a task takes them once, for its middle
    """

    variables: tuple[str, ...]
    fields: dict[str, FieldInfo]
    times: Times
    step: np.timedelta64 | None
    grid: SourceGrid
    identity: str
    title: str
    comment: str
    hold: bool = False
    holdings: Holdings = Holdings()
    states: tuple[str, ...] = ()

    @abstractmethod
    def read(self, name: str, index: int) -> Float32Array:
        """Return variable `name` at ``times[index]``: float32 (ny, nx), canonical units, NaN where missing.

        A static field is the same at every index.

        Raises
        ------
        InputError
            The source does not give `name`, or its data are damaged.
        """

    @abstractmethod
    def need(self, *names: str) -> None:
        """Raise `InputError` where one of `names` is not there: what was looked for and what is there."""

    def close(self) -> None:
        """Close what is open. Reading afterwards is an error."""
        return

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def select(self, start: np.datetime64, end: np.datetime64) -> npt.NDArray[np.intp]:
        """Indices of the times in [start, end); ``[0]`` for a source that holds one state.

        Raises
        ------
        InputError
            The times do not cover the period: its start is not among them
            (to within one step) or they stop more than one step before its end.
        """
        if self.hold:
            return np.array([0])
        start, end = start.astype("datetime64[s]"), end.astype("datetime64[s]")
        if end <= start:
            raise InputError(f"the period {start} to {end} is empty; its end has to be later")
        chosen = np.flatnonzero((self.times >= start) & (self.times < end))
        step = self.step if self.step is not None else np.timedelta64(0, "s")
        asked = f"{self.title} does not cover the period {start} to {end} (end exclusive): "
        has = f"it holds {self.times[0]} to {self.times[-1]}" + (f" every {minutes(step)}" if self.step else "")
        hint = "; give the missing files, shorten the period" + (
            ", or set 'hold: true' to hold the one state over the period" if self.times.size == 1 else ""
        )
        if not chosen.size:
            raise InputError(asked + has + hint)
        first, last = self.times[chosen[0]], self.times[chosen[-1]]
        if first - start >= max(step, np.timedelta64(1, "s")) or (end - last > step and self.step is not None):
            raise InputError(asked + has + hint)
        if self.step is None and end - start > np.timedelta64(1, "h"):
            raise InputError(asked + has + hint)
        return chosen


def minutes(step: np.timedelta64) -> str:
    """A time step in words."""
    seconds = int(step / np.timedelta64(1, "s"))
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
