"""What the forcing and the static fields offer to a campaign: the last look at files before the plan."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from pipshpc.calendar import read_span
from pipshpc.campaign import Campaign, read_box, read_time
from pipshpc.errors import InputError
from pipshpc.grid import AnyWindow, Grid, find_window, parse_grid
from pipshpc.offer import Offer
from pipshpc.source import Source, open_source


def survey(campaign: Campaign, base: Path) -> Offer:
    """Open the forcing, check it, and say what the plan can draw on.

    Raises
    ------
    InputError
        For all that is wrong with the input files. Where the campaign waits
        for its input, what is missing or not yet whole is no error.
    """
    from pipshpc.kernel import kernel_digest
    from pipshpc.statics import NAMES, open_static, static_path

    try:
        source = _open(campaign, base)
    except InputError as error:
        if campaign.cycle is None:
            raise
        none = np.array([], "datetime64[s]")
        title = ", ".join(campaign.forcing.paths[:3])
        return Offer((), none, 0.0, "", title, "", {}, kernel_digest(), nothing=str(error))
    box = read_box(campaign.box)
    with source:
        grid = parse_grid(campaign.grid)
        if isinstance(grid, Grid):
            source.grid.need_cover(box.west, box.south, box.west + box.width, box.north, title=source.title)
        else:
            _need_overlap(source, find_window(grid, box), grid.name)
        statics = {name: open_static(name).identity for name in NAMES if static_path(name).is_file()}
        if "orog" in statics and "orog" not in source.variables:
            statics["orog_in"] = statics["orog"]
        rows, columns = source.grid.shape
        return Offer(
            variables=tuple(source.variables),
            times=source.times,
            step_s=float(source.step / np.timedelta64(1, "s")) if source.step is not None else 0.0,
            identity=source.identity,
            title=source.title,
            comment=source.comment,
            statics=statics,
            kernels=kernel_digest(),
            absent=_absent(source),
            holdings=source.holdings,
            cells=rows * (columns + bool(source.grid.periodic)),
            states=source.states,
        )


def _need_overlap(source: Source, window: AnyWindow, name: str) -> None:
    """Hold that the forcing has something on a projected grid, of which the corners need not be covered."""
    lat, lon = window.place((0, 0), window.shape)
    if not np.any(np.isfinite(source.grid.locate(lat, lon)[0]) & np.isfinite(source.grid.locate(lat, lon)[1])):
        raise InputError(
            f"{source.title} does not cover any cell of the grid {name} in the box: it covers {source.grid.describe()};"
            " give a forcing of that region"
        )


def _open(campaign: Campaign, base: Path) -> Source:
    """Open the forcing: all of its period, or, where the campaign waits for it, what is there."""
    start = as_utc64(read_time("start", campaign.start))
    if campaign.end != "open":
        end = as_utc64(read_time("end", campaign.end))
    else:
        # Of use to an idealised forcing only, which has no end either.
        end = max(start, np.datetime64("now", "s")) + np.timedelta64(1, "D")
    cycling = campaign.cycle is not None
    # Of a window of many days a day that is missing costs that day only.
    gaps = cycling or not read_span(campaign.period).short
    return open_source(campaign.forcing, base, start, end, gaps=gaps, pass_over=cycling)


def _absent(source: Source) -> dict[str, str]:
    """Say of each known quantity that the forcing does not give what was looked for and what is there."""
    from pipshpc.source.names import quantities

    reasons = {}
    for name in quantities():
        try:
            source.need(name)
        except InputError as error:
            reasons[name] = str(error)
    return reasons


def as_utc64(time: datetime) -> np.datetime64:
    """Return a UTC time as NumPy has it."""
    return np.datetime64(time.replace(tzinfo=None), "s")
