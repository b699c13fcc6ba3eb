"""A map of what a search found: the boxes of items over coastlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipshpc.errors import InputError, OutputError
from pipshpc.inventory.boxes import split_box

if TYPE_CHECKING:
    from pipshpc.inventory import Item

MARGIN = 0.08  # of the extent, around all boxes
WIDE = 300.0  # degrees: a box that wide is drawn as its outline only
KINDS = 10  # collections that get a colour of their own


def draw_items(items: Sequence[Item], out: Path, box: Sequence[float] | None = None, width: int = 1400) -> Path:
    """Draw the boxes of items on a map, one colour for each collection.

    Parameters
    ----------
    items : those without a box are left out
    out : picture (PNG)
    box : what was asked for, drawn as a dashed line
    width : of the picture, pixels

    Raises
    ------
    InputError
        Where no item has a box.
    OutputError
        Where the picture cannot be written.
    """
    placed = [item for item in items if item.bbox is not None]
    if not placed:
        raise InputError("nothing to draw: no item that was found says where it lies; search for something else")
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    from pipshpc.coast import coastlines

    bounds = _bounds([part for item in placed for part in split_box(item.bbox or ())], box)
    west, south, east, north = bounds
    height = max(0.35, min(1.2, (north - south) / (east - west))) * width + 120
    figure, axes = plt.subplots(figsize=(width / 100, height / 100), dpi=100, layout="constrained")
    axes.set_facecolor("#eef3f7")
    axes.add_collection(LineCollection(coastlines(bounds, (east - west) / width), colors="#5b6770", linewidths=0.6))
    _draw_boxes(axes, placed)
    for part in split_box(box) if box is not None else []:
        axes.add_patch(_rectangle(part, fill=False, edgecolor="black", linestyle="--", linewidth=1.4, zorder=4))
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_xlabel("longitude, degrees east")
    axes.set_ylabel("latitude, degrees north")
    axes.set_title(_title(placed), loc="left", fontsize=11)
    axes.grid(color="white", linewidth=0.8)
    axes.set_axisbelow(True)
    try:
        figure.savefig(out, format="png")
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); name another file") from error
    finally:
        plt.close(figure)
    return out


def _draw_boxes(axes: Any, placed: Sequence[Item]) -> None:
    import matplotlib as mpl
    from matplotlib.collections import PatchCollection

    names = list(dict.fromkeys(item.collection or "no collection" for item in placed))
    colours = [mpl.colormaps["tab10"](k)[:3] for k in range(KINDS)]
    # Many boxes on top of each other show how often a place is seen.
    alpha = max(0.02, min(0.45, 12 / len(placed)))
    for k, name in enumerate(names):
        group = [item for item in placed if (item.collection or "no collection") == name]
        parts = [_rectangle(part) for item in group for part in split_box(item.bbox or ())]
        colour = colours[min(k, KINDS - 1)]
        faces = [(*colour, 0.0 if part.get_width() >= WIDE else alpha) for part in parts]  # the globe would hide all
        axes.add_collection(PatchCollection(parts, facecolor=faces, edgecolor=(*colour, 0.9), linewidth=0.7))
        if k < KINDS:
            label = f"{name}, {len(group)}" if k < KINDS - 1 or len(names) <= KINDS else "others"
            axes.plot([], [], "s", color=colour, label=label)
    axes.legend(loc="lower left", fontsize=8, framealpha=0.9)


def _rectangle(part: tuple[float, float, float, float], **style: Any) -> Any:
    from matplotlib.patches import Rectangle

    west, south, east, north = part
    return Rectangle((west, south), east - west, north - south, **style)


def _bounds(
    parts: Sequence[tuple[float, float, float, float]], box: Sequence[float] | None
) -> tuple[float, float, float, float]:
    """Return what the map shows: all boxes with a margin, within the globe."""
    everything = [*parts, *(split_box(box) if box is not None else [])]
    west, south = (min(part[k] for part in everything) for k in (0, 1))
    east, north = (max(part[k] for part in everything) for k in (2, 3))
    pad = max(1.0, MARGIN * max(east - west, north - south))
    return max(-180.0, west - pad), max(-90.0, south - pad), min(180.0, east + pad), min(90.0, north + pad)


def _title(placed: Sequence[Item]) -> str:
    times = [t for item in placed for t in (item.start, item.end) if t is not None]
    period = f", {min(times):%Y-%m-%d %H:%M} to {max(times):%Y-%m-%d %H:%M} UTC" if times else ""
    return f"{len(placed)} items{period}"
