"""Forcing: any input format as named variables in SI units on a known grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipshpc.errors import InputError
from pipshpc.forcing import Forcing, Native
from pipshpc.source.base import FieldInfo, Source
from pipshpc.sourcegrid import SourceGrid

__all__ = ["FieldInfo", "Forcing", "Native", "Source", "SourceGrid", "check", "open_source"]


def open_source(
    spec: Forcing,
    base_dir: str | Path = ".",
    start: np.datetime64 | str | None = None,
    end: np.datetime64 | str | None = None,
    wanted: Sequence[str] | None = None,
    gaps: bool = False,
    pass_over: bool = False,
) -> Source:
    """Open the forcing of a campaign.

    Parameters
    ----------
    spec : what the campaign says about its forcing
    base_dir : folder that relative paths start from: that of the campaign file
    start, end : the period that must be covered, end exclusive; without it
        files are not tested, and an idealised forcing has no times
    wanted : canonical names that must be there, on one grid and at the same
        times; without it every variable that the first one's grid and times
        allow is offered
    gaps, pass_over : of `FileSource`: times may be missing, and the period is
        not tested; files that cannot be read are passed over

    Returns
    -------
    Source

    Raises
    ------
    InputError
        A file is missing, cut short or damaged; a wanted variable is missing
        or has no or wrong units; times repeat or have gaps; the period is not
        covered; `hold` is set and there is more than one time.
    SpecError
        `spec` names quantities that do not exist.
    """
    if spec.kind == "idealised":
        from pipshpc.source.idealised import IdealisedSource

        if start is None or end is None:
            raise InputError("an idealised forcing needs a period; give start and end")
        source: Source = IdealisedSource(_seconds(start), _seconds(end), hold=spec.hold, step_h=spec.step_h)
        if wanted:
            source.need(*wanted)
        return source
    if spec.kind == "granules":
        from pipshpc.source.granules import GranuleSource

        return GranuleSource(spec, Path(base_dir), wanted)
    from pipshpc.source.files import FileSource

    files = FileSource(spec, Path(base_dir), wanted, gaps, pass_over)
    try:
        if spec.hold and files.times.size != 1:
            raise InputError(
                f"{files.title} holds {files.times.size} times, but 'hold: true' holds one state over the period; "
                "give a file of one time, or drop 'hold'"
            )
        if start is not None and end is not None and not gaps:
            files.select(_seconds(start), _seconds(end))
    except InputError:
        files.close()
        raise
    return files


def check(
    spec: Forcing,
    base_dir: str | Path = ".",
    start: np.datetime64 | str | None = None,
    end: np.datetime64 | str | None = None,
    box: tuple[float, float, float, float] | None = None,
    wanted: Sequence[str] | None = None,
) -> str:
    """Look for everything that can be wrong with a forcing before any job starts.

    Opens all files (which compares their sizes with their headers and walks
    over every GRIB message), finds the wanted variables with their units,
    tests times, period and coverage, and reads one field of each wanted
    variable, which has to hold numbers.

    Parameters
    ----------
    box : west, south, east, north in degrees
    wanted, start, end : as for `open_source`

    Returns
    -------
    str
        Identity of the input.

    Raises
    ------
    InputError, SpecError
        As `open_source`, and where the box is not covered.
    """
    with open_source(spec, base_dir, start, end, wanted) as source:
        if box is not None:
            source.grid.need_cover(*box, title=source.title)
        for name in wanted or ():
            if not np.any(np.isfinite(source.read(name, 0))):
                raise InputError(f"{source.title}: '{name}' at {source.times[0]} holds no valid number")
        return source.identity


def _seconds(time: np.datetime64 | str) -> np.datetime64:
    """A time as datetime64[s]."""
    return np.datetime64(str(time), "s")
