"""A campaign as one looks on: table, running tasks, calendar, map of blocks. Made of what the state folder says."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING, SUBMITTED, UNKNOWN
from pipshpc.drive.estimate import estimate
from pipshpc.view.blockmap import BlockMap, coast_characters, frame_size, read_blocks, sample_shares
from pipshpc.view.daymap import AWAITED, LATE, LETTERS, WORDS, DayMap, map_days
from pipshpc.view.overview import FRESH_S, Overview, read_overview, refresh, span
from pipshpc.view.status import tell_status

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

COLOURS = {
    COMPLETED: "green",
    RUNNING: "bright_cyan",
    SUBMITTED: "blue",
    UNKNOWN: "yellow",
    FAILED: "bright_red",
    PENDING: "bright_black",
    AWAITED: "bright_black",
    LATE: "yellow",
}
RATE_WINDOW_S = 900.0  # over which the present pace is taken
MOST_CHAINS = 4  # that get rows of their own in the calendar
MOST_RUNNING = 8  # tasks that are listed one by one


def describe_watch(view: Overview) -> dict[str, Any]:
    """Return table and running tasks as plain data."""
    return {"chains": chain_rows(view), "running": running_rows(view)}


def chain_rows(view: Overview) -> list[dict[str, Any]]:
    """Return one record per chain: products, tasks by state, pace, time left at that pace."""
    chains: dict[int, list[tuple[dict[str, Any], Any]]] = defaultdict(list)
    for line, task in zip(view.planned, view.tasks, strict=True):
        chains[int(line.get("chain", 0))].append((line, task))
    rows = []
    for chain, members in sorted(chains.items()):
        states = [task.state for _, task in members]
        since = max(view.now - RATE_WINDOW_S, view.course.driver.started)
        late = [task for _, task in members if task.state == COMPLETED and task.ended > since and not _found(task)]
        minutes = (view.now - since) / 60
        guess = estimate(view.course, [line for line, _ in members], view.now, view.running)
        rows.append(
            {
                "chain": chain,
                "products": sorted({p for line, _ in members for p in line.get("products", [])}),
                "tasks": len(members),
                **{state: states.count(state) for state in (COMPLETED, RUNNING, SUBMITTED, UNKNOWN, FAILED, PENDING)},
                "tasks_per_minute": round(len(late) / minutes, 3) if late and minutes > 0 else None,
                "estimate": msgspec.to_builtins(guess) if guess else None,
            }
        )
    return rows


def _found(task: Any) -> bool:
    return bool(task.report.get("found"))


def running_rows(view: Overview) -> list[dict[str, Any]]:
    """Return one record per task under way: day, stage, share, node, age of its heartbeat."""
    lines = {line["task"]: line for line in view.planned}
    rows = []
    for task in view.tasks:
        beat = view.beats.get(task.id, {})
        if task.state not in (RUNNING, UNKNOWN) and not beat:
            continue
        rows.append(
            {
                "task": task.id,
                "start": lines[task.id].get("start", ""),
                "products": lines[task.id].get("products", []),
                "state": task.state,
                "stage": beat.get("stage", ""),
                "share": round(view.running.get(task.id, 0.0), 4),
                "nodes": beat.get("nodes") or task.nodes or beat.get("host", ""),
                "job": beat.get("job") or task.job,
                "heard_s": round(view.now - float(beat["time"]), 1) if beat else None,
                "reason": task.reason if task.state == UNKNOWN else "",
            }
        )
    return rows


def follow(folder: Path, every_s: float = 2.0, once: bool = False) -> None:
    """Show a campaign until it is done or Ctrl-C; with `once`, one picture.

    Parameters
    ----------
    folder : state folder
    every_s : seconds between two pictures
    once : print one picture and come back
    """
    from rich.console import Console
    from rich.live import Live

    console = Console()
    view = read_overview(folder)
    if once or not console.is_terminal:
        # Into a log or a pipe: as wide as a page, so that nothing is cut.
        console = console if console.is_terminal else Console(width=120)
        console.print(make_frame(view, console.width, coloured=console.is_terminal and not console.no_color))
        return
    coloured = not console.no_color
    try:
        with Live(make_frame(view, console.width, coloured), console=console, auto_refresh=False) as live:
            while view.alive or view.left:
                time.sleep(every_s)
                view = refresh(view)
                live.update(make_frame(view, console.width, coloured, console.height), refresh=True)
    except KeyboardInterrupt:
        console.print("the watch is over; the campaign goes on")


def make_frame(view: Overview, width: int, coloured: bool, height: int = 60) -> Group:
    """Return one picture of a campaign.

    Parameters
    ----------
    view : the campaign now
    width, height : of the terminal, characters
    coloured : False: states are told by letters alone
    """
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(line, overflow="fold") for line in tell_status(view)]
    parts += [Text(), _table(view)]
    running = running_rows(view)
    if running:
        parts += [Text(), _running_table(running)]
    days = calendar_of(view, max(6, height // 3))
    calendar = _calendar(days, coloured)
    found = read_blocks(view.folder, [row["task"] for row in running if row["state"] in (RUNNING, UNKNOWN)])
    room = width - days.columns - days.margin - 4
    if found is None:
        parts += [Text(), calendar]
    elif room >= 40:
        parts += [
            Text(),
            _side_by_side(calendar, _map(found, room, max(8, height // 3), coloured), days.columns + days.margin + 2),
        ]
    else:
        parts += [Text(), calendar, Text(), _map(found, width, max(8, height // 3), coloured)]
    return Group(*parts)


def calendar_of(view: Overview, most_rows: int) -> DayMap:
    """Return the calendar of a campaign: its tasks, and the days that wait for their input; a row for each chain."""
    chains: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line, task in zip(view.planned, view.tasks, strict=True):
        if line.get("start"):
            chains[_name_of(line)].append((line["start"], task.state))
    late, awaited = set(view.course.late_input), view.course.waiting_input
    for tasks in chains.values() if chains else [chains[""]]:
        planned = {start[:10] for start, _ in tasks}
        tasks += [(day, LATE if day in late else AWAITED) for day in awaited if day not in planned]
    apart = {name: map_days(tasks, most_rows // len(chains)) for name, tasks in chains.items()}
    if 1 < len(chains) <= MOST_CHAINS and len({days.zoom for days in apart.values()}) == 1:
        # The sort is stable: of each month the chains stand in their own order.
        rows = [(label, name, cells) for name, days in apart.items() for label, cells in days.rows]
        rows.sort(key=lambda row: row[0])
        return DayMap(next(iter(apart.values())).zoom, [(f"{label} {name}", cells) for label, name, cells in rows])
    return map_days([pair for tasks in chains.values() for pair in tasks], most_rows)


def _name_of(line: dict[str, Any]) -> str:
    """Return what the tasks of a chain are called where there is little room."""
    products = line.get("products") or [""]
    return f"{products[0]}{', …' if len(products) > 1 else ''}"


def _side_by_side(left: Text, right: Text, width: int) -> Table:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=width)
    grid.add_column()
    grid.add_row(left, right)
    return grid


def _table(view: Overview) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("products")
    for head in ("tasks", "done", "running", "silent", "failed", "waiting", "a minute", "time left at this pace"):
        table.add_column(head, justify="right")
    for row in chain_rows(view):
        guess, left = row["estimate"], row["tasks"] - row[COMPLETED] - row[FAILED]
        ending = "–" if left else "none"
        if guess and left:
            ending = f"{span(guess['left_s'])} ({span(guess['low_s'])}–{span(guess['high_s'])})"
        pace = row["tasks_per_minute"]
        table.add_row(
            ", ".join(row["products"]) or "all",
            *(str(row[key]) for key in ("tasks", COMPLETED, RUNNING, UNKNOWN, FAILED)),
            str(row[PENDING] + row[SUBMITTED]),
            f"{pace:.3g}" if pace else "–",
            ending,
        )
    return table


def _running_table(rows: list[dict[str, Any]]) -> Table:
    from rich import box
    from rich.table import Table

    more = f" ({len(rows) - MOST_RUNNING} more are not shown)" if len(rows) > MOST_RUNNING else ""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in (f"under way{more}", "products", "stage", "", "share", "node", "last heard"):
        table.add_column(head, justify="right" if head == "share" else "left")
    for row in sorted(rows, key=lambda r: -r["share"])[:MOST_RUNNING]:
        filled = round(row["share"] * 12)
        age = row["heard_s"]
        heard = "never" if age is None else "now" if age < FRESH_S else f"{span(age)} ago"
        table.add_row(
            row["start"][:10] or row["task"],
            ", ".join(row["products"]),
            row["stage"] or row["state"].lower(),
            "█" * filled + "·" * (12 - filled),
            f"{row['share']:.0%}",
            str(row["nodes"]),
            heard if row["state"] != UNKNOWN else f"{heard}: silent, {row['reason']}".rstrip(", "),
        )
    return table


def _calendar(days: DayMap, coloured: bool) -> Text:
    """Return the calendar: one cell a day (a week, a month), by colour and letter."""
    from rich.text import Text

    text = Text()
    heads = {
        "day": "1   5    10   15   20   25   30",
        "week": "weeks of the year",
        "month": "months of five years",
        "year": "years of a century",
    }
    text.append(f"{'':{days.margin}}{heads[days.zoom]}\n" if days.rows else "no tasks yet\n", style="dim")
    for label, cells in days.rows:
        text.append(f"{label:<{days.margin}}")
        for state in cells:
            style = f"{COLOURS[state]}{' reverse' if state == COMPLETED else ''}" if coloured and state else ""
            text.append(" " if coloured and state == COMPLETED else LETTERS[state], style=style)
        text.append("\n")
    shown = {state for _, cells in days.rows for state in cells}
    for state in [state for state in WORDS if state in shown]:
        style = f"{COLOURS[state]}{' reverse' if state == COMPLETED else ''}" if coloured else ""
        text.append(" " if coloured and state == COMPLETED else LETTERS[state], style=style)
        text.append(f"\u00a0{WORDS[state].replace(' ', chr(0xA0))}  ")  # it breaks between states only
    return text


def _map(found: BlockMap, most_columns: int, most_rows: int, coloured: bool) -> Text:
    """Return the map of blocks: what is done is bright (or #), shores are drawn in dots."""
    from rich.text import Text

    columns, rows = frame_size(found.bounds, most_columns, most_rows)
    shares, coast = sample_shares(found, columns, rows), coast_characters(found.bounds, columns, rows)
    number = len(found.tasks)
    tasks = "1 task" if number == 1 else f"{number} tasks"
    text = Text(f"blocks of {tasks} under way, {found.shares.mean():.0%} done\n", style="dim")
    for y in range(rows):
        for x in range(columns):
            share, mark = float(shares[y, x]), coast[y][x]
            if coloured:
                text.append(mark, style=f"white on {_shade(share)}")
            else:
                text.append("#" if share >= 1.0 else "+" if share > 0.0 else mark)
        text.append("\n")
    text.append("bright: done" if coloured else "# done   + in part", style="dim")
    return text


def _shade(share: float) -> str:
    """Return a colour between dark blue (nothing) and green (all)."""
    dark, bright = (18, 24, 48), (30, 140, 80)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(dark, bright, strict=True))
