"""What a reader of one file offers, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cftime
import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.forcing import Native
from pipshpc.source.names import Quantity
from pipshpc.sourcegrid import SourceGrid

Float32Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Found:
    """A quantity found in one file.

    `read(index, scale, offset)` gives the field of one of its `times` (any
    index where `times` is None: a static field), as the grid is oriented,
    float32, NaN for missing, multiplied by `scale` and shifted by `offset`.
    """

    path: Path
    native: str
    units: str | None
    times: Times | None
    grid: SourceGrid
    read: Callable[[int, float, float], Float32Array]
    mean_s: int = 0  # length of the averaging window that ends at `times`; 0 for instants
    cell_methods: str = ""


class Reader(Protocol):
    """One open file."""

    path: Path
    keyed: bool  # quantities are told by GRIB keys, not by names of variables

    def find(self, quantity: Quantity, stated: Native | None) -> list[Found]:
        """All finds of a quantity, the preferred first; empty where the file does not hold it."""
        ...

    def inventory(self) -> list[str]:
        """What is there, in the file's own names, for error messages."""
        ...

    def validate(self) -> None:
        """Raise `InputError` where the file is cut short or damaged; cheap, reads headers only."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def decode_times(numbers: npt.NDArray[Any], units: str | None, calendar: str | None, where: str) -> Times:
    """Turn a CF time coordinate into UTC seconds.

    Parameters
    ----------
    numbers : values of the coordinate
    units : for example ``"hours since 1900-01-01 00:00:00"``
    calendar : CF calendar; "standard" where the file has none
    where : file and variable, the start of error messages
    """
    if not units or " since " not in units:
        raise InputError(f"{where}: time units are {units!r}; '<unit> since <date>' is wanted")
    values: npt.NDArray[np.float64] = np.ma.filled(np.ma.asarray(numbers, dtype=float), np.nan)
    if not np.all(np.isfinite(values)):
        raise InputError(f"{where}: the time axis holds missing values")
    try:
        dates = cftime.num2date(values, units, calendar or "standard", only_use_cftime_datetimes=True)
        texts = [f"{d.year:04d}-{d.month:02d}-{d.day:02d}T{d.hour:02d}:{d.minute:02d}:{d.second:02d}" for d in dates]
        stamps = np.array(texts, dtype="datetime64[s]")
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: time axis in '{units}', calendar '{calendar}' cannot be read: {error}") from error
    # Days held as floats come out a second short; whole seconds are what forcing means.
    parts = np.array([d.microsecond for d in dates])
    return np.asarray(stamps + (parts >= 500_000).astype("timedelta64[s]"))


def same_grid(a: SourceGrid, b: SourceGrid) -> bool:
    """Whether two grids have the same cell centres (to a thousandth of a step) and projection."""
    if a.shape != b.shape or (a.crs or "") != (b.crs or ""):
        return False
    step_y = np.min(np.diff(a.y)) if a.y.size > 1 else 1.0
    step_x = np.min(np.diff(a.x)) if a.x.size > 1 else 1.0
    return bool(np.max(np.abs(a.y - b.y)) < 1e-3 * step_y and np.max(np.abs(a.x - b.x)) < 1e-3 * step_x)
