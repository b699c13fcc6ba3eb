"""The watch as a picture: calendar, map of blocks, table. The same facts as at the terminal, for pages and mails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipshpc.coast import coastlines
from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING, SUBMITTED, UNKNOWN
from pipshpc.errors import OutputError
from pipshpc.view.blockmap import BlockMap, read_blocks
from pipshpc.view.daymap import AWAITED, LATE, NOTABLE, WORDS, DayMap
from pipshpc.view.overview import Overview, span
from pipshpc.view.status import clock, tell_status
from pipshpc.view.watch import calendar_of, chain_rows, running_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart by people who do not see red and green as different, and in grey.
COLOURS = {
    COMPLETED: "#2a7f62",
    RUNNING: "#35b6e6",
    SUBMITTED: "#27408b",
    UNKNOWN: "#f2b134",
    FAILED: "#d1345b",
    PENDING: "#d9dde2",
    AWAITED: "#f0ecdf",
    LATE: "#e5772e",
}
DPI = 110
MOST_WORDS = 9  # lines above the pictures


def draw_watch(view: Overview, path: Path) -> Path:
    """Draw a campaign as it stands into a PNG file, and return its path.

    Raises
    ------
    OutputError
        Where the file cannot be written.
    """
    figure = compose(view)
    try:
        figure.savefig(path, dpi=DPI, format="png")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); name another file") from error
    return path


def compose(view: Overview) -> Figure:
    """Return the figure: words above, calendar and map side by side, table below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    days = calendar_of(view, most_rows=36)
    under_way = [row["task"] for row in running_rows(view) if row["state"] in (RUNNING, UNKNOWN)]
    found = read_blocks(view.folder, under_way)
    rows = chain_rows(view)
    words = [_short(line) for line in tell_status(view)[1:]]
    if len(words) > MOST_WORDS:
        words[MOST_WORDS - 1 : -1] = []  # how long it takes is the last line
    heights = [0.30 + 0.22 * len(words), max(2.9, 0.2 * len(days.rows) + 0.9), 0.6 + 0.28 * len(rows)]
    figure = Figure((13, sum(heights) + 0.5), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2 if found else 1, height_ratios=heights)
    figure.suptitle(f"{view.name}, {clock(view.now)}", x=0.012, ha="left", fontsize=14, fontweight="bold")
    top = figure.add_subplot(grid[0, :])
    top.set_axis_off()
    top.text(0, 1, "\n".join(words), va="top", ha="left", fontsize=9, transform=top.transAxes, linespacing=1.5)
    _calendar(figure.add_subplot(grid[1, 0]), days, view)
    if found:
        _map(figure, figure.add_subplot(grid[1, 1]), found)
    _table(figure.add_subplot(grid[2, :]), rows)
    return figure


def _short(line: str, most: int = 170) -> str:
    """Return a line without the folders of long paths, cut where it is too long all the same."""
    line = re.sub(r"(?<!\S)(?=\S{40})/\S*/(?=[^/\s])", "…/", line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _calendar(axes: Axes, days: DayMap, view: Overview) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    rank = {state: k for k, state in enumerate(NOTABLE)}
    cells = np.full((max(len(days.rows), 1), max(days.columns, 1)), np.nan)
    for y, (_, states) in enumerate(days.rows):
        for x, state in enumerate(states):
            if state:
                cells[y, x] = rank[state]
    colours = ListedColormap([COLOURS[state] for state in NOTABLE])
    axes.pcolormesh(cells, cmap=colours, vmin=-0.5, vmax=len(NOTABLE) - 0.5, edgecolors="white", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_aspect("equal" if days.zoom == "day" else "auto", anchor="NW")
    axes.set_yticks(np.arange(len(days.rows)) + 0.5, [label for label, _ in days.rows])
    heads = {"day": "day of the month", "week": "week of the year", "month": "month of five years", "year": "year"}
    columns = np.arange(0, days.columns, 5)
    axes.set_xticks(columns + 0.5, [str(c + 1) for c in columns])
    axes.set_xlabel(heads[days.zoom], fontsize=8)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    late = len(view.course.late_input)
    counts = view.counts | {LATE: late, AWAITED: len(view.course.waiting_input) - late}
    patches = [Patch(color=COLOURS[s], label=f"{WORDS[s]} {counts[s]}") for s in WORDS if counts[s]]
    axes.legend(handles=patches, ncols=6, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.0))


def _map(figure: Figure, axes: Axes, found: BlockMap) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    west, south, east, north = found.bounds
    colours = LinearSegmentedColormap.from_list("done", ["#eef1f4", COLOURS[COMPLETED]])
    drawn = axes.imshow(
        found.shares, cmap=colours, vmin=0, vmax=1, extent=(west, east, south, north), interpolation="nearest"
    )
    for line in coastlines(found.bounds, (east - west) / 600):
        axes.plot(line[:, 0], line[:, 1], color="#30343a", linewidth=0.5)
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect("auto" if (east - west) / (north - south) > 4 else "equal")
    number = len(found.tasks)
    axes.set_title(f"blocks of {number} {'task' if number == 1 else 'tasks'} under way", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.7, pad=0.02, format=lambda share, _: f"{share:.0%}")
    bar.ax.tick_params(labelsize=8)


def _table(axes: Axes, rows: list[dict[str, Any]]) -> None:
    axes.set_axis_off()
    heads = ["products", "tasks", *(WORDS[s] for s in (COMPLETED, RUNNING, UNKNOWN, FAILED)), "waiting", "time left"]
    lines = []
    for row in rows:
        guess = row["estimate"]
        over = row[COMPLETED] + row[FAILED] == row["tasks"]
        left = f"{span(guess['left_s'])} ({span(guess['low_s'])} – {span(guess['high_s'])})" if guess else "not known"
        numbers = [str(row[s]) for s in ("tasks", COMPLETED, RUNNING, UNKNOWN, FAILED)]
        lines.append([", ".join(row["products"]), *numbers, str(row[PENDING] + row[SUBMITTED]), "–" if over else left])
    if not lines:
        return
    widths = [0.28, *[0.075] * 6, 0.27]
    table = axes.table(lines, colLabels=heads, colWidths=widths, loc="upper left", cellLoc="right", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (_, column), cell in table.get_celld().items():
        cell.set_edgecolor("#d9dde2")
        cell.set_text_props(ha="left" if column == 0 else "right")
