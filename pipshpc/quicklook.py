"""Pictures of a product file: maps that a person can judge."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipshpc.coast import coastlines
from pipshpc.dataset import Description, WindowStatistics, block_mean, describe, open_hdf5, summarise
from pipshpc.errors import OutputError, SpecError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float32]

# The picture is laid out on a sheet this wide; max_width sets its resolution. So text keeps its proportion.
TITLE_LETTERS = 48  # of the name that fit beside the time
SHEET_WIDTH = 12.0
MOST_PANELS = 12
MARGINS = {"left": 0.62, "right": 0.3, "top": 1.12, "bottom": 1.22, "column": 0.3, "row": 0.42}
COAST, HALO, GAP, INK, PALE = "#101010", "#ffffff", "#b4b4b4", "#1a1a1a", "#5c5c5c"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(
    path: str | Path,
    variable: str | None = None,
    time: int | str | None = None,
    out: str | Path | None = None,
    max_width: int = 1600,
    caption: str = "",
) -> Path:
    """Draw a map of a product file as PNG.

    Parameters
    ----------
    path : product file with dimensions time, lat, lon
    variable : one of its variables; the product if not given
    time : index of a window, or an ISO 8601 time in it; all windows (at most 12) as a panel if not given
    out : the picture; beside the file with the ending ``.png`` if not given
    max_width : width of the picture, pixels
    caption : name of the campaign for the subtitle

    Returns
    -------
    pathlib.Path
        The picture, which replaces an older one only when it is whole.

    Raises
    ------
    InputError, SpecError, OutputError
        The file cannot be read; there is no such window; the picture cannot be written.
    """
    about = describe(path, variable)
    if max_width < 400:
        raise SpecError(f"width {max_width}: a map with readable labels takes at least 400 pixels")
    times = _choose_times(about, time)
    columns = _panel_columns(len(times), _aspect(about))
    factor = max(1, about.lon.size // max(1, round(0.96 * max_width / columns)))
    with open_hdf5(path) as handle:
        fields = [block_mean(handle[about.variable], about, k, factor) for k in times]
    means = [_mean(about, f, factor) for f in fields]
    figure = _compose(about, times, fields, means, columns, caption)
    target = Path(out) if out else about.path.with_suffix(".png")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, format="png", dpi=max_width / SHEET_WIDTH, metadata={"Software": None})
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written ({error}); check the folder and its free space") from error
    return target


def _choose_times(about: Description, time: int | str | None) -> list[int]:
    count = about.shape[0]
    if time is None:
        # A month of windows does not fit on a sheet; an even choice still shows its course.
        return sorted({round(k) for k in np.linspace(0, count - 1, min(count, MOST_PANELS))})
    if isinstance(time, str) and time.lstrip("-").isdigit():
        time = int(time)
    if isinstance(time, int):
        if not -count <= time < count:
            raise SpecError(f"window {time}: {about.path} has {count} windows, wanted 0 to {count - 1}")
        return [time % count]
    try:
        moment = np.datetime64(time.removesuffix("Z"), "s")
    except ValueError as error:
        raise SpecError(f"time '{time}': wanted the number of a window or a time such as '2006-04-01T03:00'") from error
    start, end = about.windows[:, 0], about.windows[:, 1]
    inside = np.flatnonzero((start <= moment) & ((moment < end) | (start == end) & (moment == start)))
    if not inside.size:
        raise SpecError(f"time '{time}': {about.path} covers {start[0]}Z to {end[-1]}Z; choose a time in it")
    return [int(inside[0])]


def _aspect(about: Description) -> float:
    """Width over height of the map: true to shape at the middle latitude of a box, plate carrée for the globe."""
    west, south, east, north = about.edges
    if about.epsg:
        return float(np.clip((east - west) / (north - south), 0.2, 8.0))
    stretch = 1.0 if north - south > 90 else float(np.cos(np.radians((south + north) / 2)))
    return float(np.clip((east - west) / (north - south) * max(stretch, 0.2), 0.2, 8.0))


def _panel_columns(panels: int, aspect: float) -> int:
    """Choose the number of columns that makes the sheet closest to 4:3 with few empty places."""

    def ugliness(columns: int) -> float:
        rows = -(-panels // columns)
        return float(abs(np.log(columns * aspect / rows / 1.33)) + 1.2 * (rows * columns - panels) / panels)

    return min(range(1, min(panels, 6) + 1), key=ugliness)


def _compose(
    about: Description,
    times: Sequence[int],
    fields: Sequence[FloatArray],
    means: Sequence[float],
    columns: int,
    caption: str,
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    m = MARGINS
    rows = -(-len(times) // columns)
    inner = SHEET_WIDTH - m["left"] - m["right"] - (columns - 1) * m["column"]
    # A tall box fills the height, not the width, and is centred.
    tallest = 8.2 if rows == 1 else 12.4
    width = min(inner / columns, (tallest - (rows - 1) * m["row"]) / rows * _aspect(about))
    height = width / _aspect(about)
    sheet = m["top"] + rows * height + (rows - 1) * m["row"] + m["bottom"]
    indent = m["left"] + (inner - columns * width) / 2
    figure = Figure((SHEET_WIDTH, sheet), facecolor="white")
    FigureCanvasAgg(figure)
    colours = _colours(about, fields)
    lines = _coast(about, width)
    for k, (time, field) in enumerate(zip(times, fields, strict=True)):
        row, column = divmod(k, columns)
        x = indent + column * (width + m["column"])
        y = sheet - m["top"] - height - row * (height + m["row"])
        axes = figure.add_axes((x / SHEET_WIDTH, y / sheet, width / SHEET_WIDTH, height / sheet))
        below = k + columns >= len(times)
        _panel(axes, about, field, colours, lines, labels=(column == 0, below))
        _panel_title(axes, about, times, time, means[k])
    _sheet_title(figure, about, times, caption, sheet)
    span = min(0.62, columns * width / SHEET_WIDTH)
    bar = figure.add_axes((0.5 - span / 2, 0.56 / sheet, span, 0.17 / sheet))
    colorbar = figure.colorbar(
        ScalarMappable(colours["norm"], colours["cmap"]), cax=bar, orientation="horizontal", extend=colours["extend"]
    )
    colorbar.set_label(f"{about.long_name} ({unit_text(about.units)})", fontsize=11, color=INK)
    colorbar.ax.tick_params(labelsize=10, colors=INK)
    if any(np.isnan(f).any() for f in fields):
        figure.text(
            0.5 + span / 2 + 0.035,
            0.645 / sheet,
            "no data",
            fontsize=10,
            color=INK,
            va="center",
            bbox={"boxstyle": "square,pad=0.35", "facecolor": GAP, "edgecolor": PALE, "linewidth": 0.6},
        )
    return figure


def _coast(about: Description, width: float) -> list[FloatArray]:
    """Shores in the coordinates of the map, which is `width` inches wide."""
    west, south, east, north = about.bounds
    if not about.epsg:
        return coastlines(about.bounds, (east - west) / (width * 130))
    from pyproj import CRS, Transformer

    crs = CRS.from_epsg(about.epsg)
    project = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform
    left, _, right, _ = about.edges
    lines = coastlines(
        (west, max(south - 1, -90.0), east, min(north + 1, 90.0)), (right - left) / 111e3 / (width * 130)
    )
    placed = [np.stack(project(line[:, 0], line[:, 1]), axis=1).astype(np.float32) for line in lines]
    return [line for line in placed if np.isfinite(line).all()]


def _colours(about: Description, fields: Sequence[FloatArray]) -> dict[str, Any]:
    """Choose colour map and limits: those of the card, between round numbers that hold all but 1 % of the values."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    from pipshpc.product import load_cards

    card = load_cards().get(about.variable)
    name = card.cmap if card and card.cmap in colormaps else "viridis"
    cmap = colormaps[name].with_extremes(bad=GAP)
    values = np.concatenate([f[np.isfinite(f)] for f in fields])
    if not values.size:
        return {"cmap": cmap, "norm": Normalize(0, 1), "extend": "neither"}
    lowest, highest = float(values.min()), float(values.max())
    low, high = (float(v) for v in np.percentile(values, [0.5, 99.5]))
    if high - low < 1e-6 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    ticks = MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    bottom, top = float(ticks[0]), float(ticks[-1])
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    return {"cmap": cmap, "norm": Normalize(bottom, top), "extend": extend[lowest < bottom, highest > top]}


def _panel(
    axes: Axes,
    about: Description,
    field: FloatArray,
    colours: dict[str, Any],
    lines: Sequence[FloatArray],
    labels: tuple[bool, bool],
) -> None:
    """Draw one map; `labels` says whether latitudes and longitudes are written at its edges."""
    from matplotlib.collections import LineCollection

    west, south, east, north = about.edges
    image = field if about.lat[0] >= about.lat[-1] else field[::-1]
    axes.imshow(
        image,
        extent=(west, east, south, north),
        origin="upper",
        aspect="auto",
        interpolation="nearest",
        cmap=colours["cmap"],
        norm=colours["norm"],
    )
    # A dark line on a pale one is seen on both ends of any colour map.
    axes.add_collection(LineCollection(lines, colors=HALO, linewidths=1.4, alpha=0.5), autolim=False)
    axes.add_collection(LineCollection(lines, colors=COAST, linewidths=0.55), autolim=False)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    if about.epsg:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=PALE, linewidth=0.7)
        return
    across = graticule(west, east, min(12.0, axes.bbox.width / axes.figure.dpi * 1.4))
    along = graticule(south, north, min(7.0, axes.bbox.height / axes.figure.dpi * 2.8))
    axes.set_xticks(across, [degrees(v, "EW") for v in across])
    axes.set_yticks(along, [degrees(v, "NS") for v in along])
    # Labels at the very edge stay inside, or they would run into those of the next map.
    for value, label in zip(across, axes.get_xticklabels(), strict=True):
        label.set_horizontalalignment("left" if value == west else "right" if value == east else "center")
    axes.grid(color="white", linewidth=0.5, alpha=0.45, linestyle=(0, (4, 3)))
    axes.tick_params(labelsize=9, labelcolor=INK, color=PALE, length=3, labelleft=labels[0], labelbottom=labels[1])
    axes.spines[:].set(color=PALE, linewidth=0.7)


def graticule(low: float, high: float, most: float) -> list[float]:
    """Return the round degrees between `low` and `high`, about `most` of them at the most."""
    steps = (60, 30, 20, 15, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    step = next((s for s in reversed(steps) if (high - low) / s <= max(2.0, most)), steps[0])
    first = np.ceil(low / step - 1e-9)
    return [float(np.round(v * step, 6)) for v in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def degrees(value: float, letters: str) -> str:
    """Write a longitude or latitude, e.g. ``170°W`` for 190 with the letters ``EW``."""
    turned = (value + 180.0) % 360.0 - 180.0 if letters == "EW" else value
    size = f"{abs(turned):.6g}°"
    return size if turned in (0.0, -180.0) else size + letters[int(turned < 0)]


def unit_text(units: str) -> str:
    """Write UDUNITS text for a person: ``W m-2`` becomes ``W m⁻²``, the unit one says that there is none."""
    if units in ("1", ""):
        return "dimensionless"
    return " ".join(
        word.rstrip("-0123456789") + word[len(word.rstrip("-0123456789")) :].translate(SUPERSCRIPT)
        for word in units.split()
    )


def _panel_title(axes: Axes, about: Description, times: Sequence[int], time: int, mean: float) -> None:
    """Write window and mean above a map; what the sheet's title says already or what has no room is left out."""
    first, last = about.windows[times[0], 0], about.windows[times[-1], 1] - np.timedelta64(1, "s")
    width = axes.bbox.width / axes.figure.dpi
    if len(times) > 1:
        text = window_text(*about.windows[time])
        if first.astype("M8[D]") == last.astype("M8[D]") or width < 2.4:
            text = text.partition(" ")[2]
        axes.set_title(text, loc="left", fontsize=10, color=INK, pad=4)
    if width > 2.4 or len(times) == 1:
        text = "no data" if np.isnan(mean) else f"mean {mean:#.4g}"
        axes.set_title(text, loc="right", fontsize=10, color=PALE, pad=4)


def _mean(about: Description, field: FloatArray, factor: int) -> float:
    """Mean of a map of block means, weighted by area; where blocks have gaps, `summarise` has the exact one."""
    bands = np.add.reduceat(about.area_weights, np.arange(0, about.lat.size, factor))
    if bands.ndim == 2:
        blocks = np.add.reduceat(bands, np.arange(0, about.lon.size, factor), axis=1)
        there = np.isfinite(field)
        return float((blocks[there] * field[there]).sum() / blocks[there].sum()) if there.any() else np.nan
    weights = np.where(np.isfinite(field), bands[:, None], 0.0)
    # The last block of a row may be narrower.
    weights[:, -1] *= (about.lon.size - factor * (field.shape[1] - 1)) / factor
    total = float(weights.sum())
    return float((np.nan_to_num(field) * weights).sum() / total) if total else np.nan


def window_text(start: np.datetime64, end: np.datetime64) -> str:
    """Write a time window, e.g. ``2006-04-01 03:00–06:00 UTC``."""
    first, last = (np.datetime_as_string(t, unit="m").replace("T", " ") for t in (start, end))
    if start == end:
        return f"{first} UTC"
    if last.endswith("00:00") and end - start <= np.timedelta64(1, "D"):
        last = "24:00" if (end - np.timedelta64(1, "s")).astype("M8[D]") == start.astype("M8[D]") else last
    return f"{first}–{last.removeprefix(first[:10]).strip()} UTC"


def _sheet_title(figure: Figure, about: Description, times: Sequence[int], caption: str, sheet: float) -> None:
    left, top = MARGINS["left"] / SHEET_WIDTH, sheet - 0.44
    # A long name leaves room for the time at the other end.
    size = min(17.0, 17.0 * TITLE_LETTERS / max(len(about.long_name), 1))
    figure.text(left, top / sheet, about.long_name, fontsize=size, fontweight="bold", color=INK, va="baseline")
    span = window_text(about.windows[times[0], 0], about.windows[times[-1], 1])
    shown = f", {len(times)} of {about.shape[0]} windows" if 1 < len(times) < about.shape[0] else ""
    figure.text(1 - MARGINS["right"] / SHEET_WIDTH, top / sheet, span + shown, fontsize=12, color=INK, ha="right")
    algorithm = about.fact("pipshpc_algorithm", "algorithm")
    product = about.fact("pipshpc_product", "product") or about.variable
    parts = [f"{product} by {algorithm}" if algorithm else str(product), _grid_text(about)]
    forcing = about.lineage.get("forcing")
    if isinstance(forcing, dict) and forcing.get("title"):
        parts.append(f"from {forcing['title']}{', held' if forcing.get('hold') else ''}")
    parts.append(caption or str(about.fact("pipshpc_campaign", "campaign")))
    text = "  ·  ".join(p for p in parts if p)
    figure.text(left, (top - 0.28) / sheet, text if len(text) < 130 else text[:128] + "…", fontsize=11, color=PALE)


def _grid_text(about: Description) -> str:
    west, _, east, _ = about.edges
    if about.epsg:
        return f"{(east - west) / about.lon.size / 1000:.6g} km grid, {about.lat.size} × {about.lon.size} cells"
    return f"{(east - west) / about.lon.size:.6g}° grid, {about.lat.size} × {about.lon.size} cells"


__all__ = ["WindowStatistics", "degrees", "draw", "graticule", "summarise", "unit_text", "window_text"]
