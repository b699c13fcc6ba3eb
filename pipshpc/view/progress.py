"""A campaign as it is seen at a terminal: its plan, its course, its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pipshpc.drive.mode import PLAIN
from pipshpc.errors import PipshpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipshpc.drive.flow import Prepared, Status
    from pipshpc.drive.mode import Mode


def tell_plan(prepared: Prepared) -> list[str]:
    """Return what a campaign would do and why, one line each."""
    from pipshpc.plan import explain

    campaign, tasks = prepared.campaign, prepared.tasks
    windows = sum(len(t.windows) for t in tasks)
    done = len(tasks) - len(prepared.pending)
    lines = [
        f"{campaign.campaign}: {', '.join(campaign.products)} on {campaign.grid}, {campaign.period} windows, "
        f"{campaign.start} to {campaign.end}",
        f"{len(tasks)} tasks, {windows * len(campaign.products)} fields; {done} done, {len(prepared.pending)} to do",
    ]
    if tasks:
        lines += [f"forcing: {tasks[0].forcing_title}", *explain(tasks[0].recipe)]
    if prepared.waiting:
        days = sorted({one.day for one in prepared.waiting})
        lines.append(f"{len(days)} days wait for their input, first {days[0]}: {prepared.waiting[0].why}")
    if prepared.pending:
        lines.append(f"at most {prepared.output_bytes / 2**30:.2f} GiB will be written to {tasks[0].output_dir}")
    return lines


def tell_modes(modes: Mapping[int, Mode]) -> list[str]:
    """Say how the launches of each chain get their nodes, where there is a choice."""
    words = {"pilot": "packed into pilot jobs", "job": "jobs of their own"}
    chosen = {chain: mode for chain, mode in modes.items() if mode != PLAIN}
    name = "launches of chain {} are" if len(modes) > 1 else "launches are"
    return [f"{name.format(chain + 1)} {words[mode.way]}: {mode.reason}" for chain, mode in chosen.items()]


def follow(prepared: Prepared, quiet: bool = False) -> Status:
    """Run a campaign with a progress bar on stderr, where that is a terminal and `quiet` is not set."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from pipshpc.drive.flow import run_campaign

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    hidden = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=hidden, transient=True) as bar:
        line = bar.add_task(prepared.campaign.campaign, total=1.0)

        def watch(status: Status) -> None:
            failed = f", {len(status.failed)} failed" if status.failed else ""
            if status.waiting:
                failed += f", {len(status.waiting)} waiting: {next(iter(status.waiting.values()))}"
            text = f"{prepared.campaign.campaign}: {status.done} of {status.total} tasks{failed}"
            bar.update(line, completed=status.share, description=text)

        return run_campaign(prepared, watch)


def summarise_run(prepared: Prepared, status: Status) -> dict[str, Any]:
    """Return the end of a campaign in figures, with a quicklook of the first file of each product."""
    fields = sum(r.fields for r in status.reports)
    return {
        "campaign": prepared.campaign.campaign,
        "tasks": status.total,
        "done": status.done,
        "made_now": len(status.reports),
        "failed": dict(status.failed),
        "seconds": round(status.seconds, 2),
        "fields": fields,
        "fields_per_second": round(fields / status.seconds, 2) if fields and status.seconds else None,
        "peak_mib_per_rank": max((m for r in status.reports for m in r.peak_mib), default=None),
        "files": [str(t.path(p)) for t in prepared.tasks for p in t.products if t.path(p).is_file()],
        "quicklooks": _draw(prepared),
    }


def _draw(prepared: Prepared) -> list[str]:
    """Draw the first day of each product; a picture that fails is no reason to call the products failed."""
    from pipshpc.quicklook import draw

    pictures = []
    for product in prepared.campaign.products:
        path = next((t.path(product) for t in prepared.tasks if t.path(product).is_file()), None)
        if path is None:
            continue
        picture = path.with_suffix(".png")
        try:
            if not picture.is_file() or picture.stat().st_mtime < path.stat().st_mtime:
                picture = draw(path, caption=prepared.campaign.campaign)
            pictures.append(str(picture))
        except PipshpcError as error:
            pictures.append(f"none of {path.name}: {error}")
    return pictures


def tell_run(summary: dict[str, Any]) -> list[str]:
    """Return the end of a campaign in words, one line each."""
    lines = [f"{summary['campaign']}: {summary['done']} of {summary['tasks']} tasks done"]
    if not summary["made_now"] and not summary["failed"]:
        lines[0] += ", nothing was left to do"
    if summary["made_now"]:
        lines.append(
            f"{summary['fields']} fields in {summary['seconds']:.1f} s, {summary['fields_per_second']} a second, "
            f"at most {summary['peak_mib_per_rank']:.0f} MiB per rank"
        )
    lines += [f"failed: {task}: {reason}" for task, reason in summary["failed"].items()]
    files = summary["files"]
    lines += [f"file: {f}" for f in files[:10]]
    if len(files) > 10:
        lines.append(f"and {len(files) - 10} more files beside them")
    return lines + [f"quicklook: {p}" for p in summary["quicklooks"]]
