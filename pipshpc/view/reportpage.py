"""The report of a campaign in words and tables, at the terminal or as HTML."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipshpc.errors import OutputError
from pipshpc.view.causes import Cause
from pipshpc.view.cost import size
from pipshpc.view.overview import span
from pipshpc.view.status import tell_cause


def print_report(report: Mapping[str, Any], html: Path | None = None) -> None:
    """Write a report at the terminal, or into an HTML file.

    Raises
    ------
    OutputError
        Where the file cannot be written.
    """
    if html is None:
        console = Console()
        _write(report, console if console.is_terminal else Console(width=200))
        return
    console = Console(width=150, record=True, file=io.StringIO())
    _write(report, console)
    try:
        html.write_text(console.export_html(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{html}: cannot be written ({error.strerror}); name another file") from error


def _write(report: Mapping[str, Any], console: Console) -> None:
    for line in tell_report(report):
        console.print(line, markup=False, highlight=False)
    if report["chains"]:
        console.print()
        console.print(_chain_table(report["chains"]))
        console.print()
        console.print(_stage_table(report["chains"]))


def tell_report(report: Mapping[str, Any]) -> list[str]:
    """Return what is said of the campaign as a whole, one line each."""
    counts = ", ".join(f"{number} {state}" for state, number in report["counts"].items() if number) or "none"
    found, own = report["hours"], report["accounting"]
    lines = [
        f"{report['campaign']}: {report['tasks']} tasks: {counts}; {report['made_here']} made by its drivers",
        f"drivers: {report['drivers']}, at work for {span(report['wall_s'])}",
        f"computed: {found['core_hours_computed']:.4g} core-hours{_held(found)}",
    ]
    steps = own["steps"]
    if steps["steps"]:
        efficiency = f", efficiency {steps['efficiency']:.0%}" if steps["efficiency"] is not None else ""
        memory = f", at most {steps['peak_mib']:.0f} MiB a process" if steps["peak_mib"] else ", memory was not sampled"
        lines.append(f"by sacct: {steps['steps']} steps, {steps['core_hours'] or 0:.4g} core-hours{efficiency}{memory}")
    lines += [f"not in these figures: {own['unknown'][:160]}"] if own["unknown"] else []
    if report["attempts"]:
        causes = ", ".join(f"{number} {cause}" for cause, number in report["attempts"].items())
        charged = report["attempts_charged"]
        lines.append(f"attempts that ended early: {causes}; {charged} of them charged to the task")
    lines.append(f"block-steps computed twice: {report['blocks_lost']}")
    if report["missing_states"]:
        states = report["missing_states"]
        lines.append(f"time steps that could not be read: {len(states)}, first {states[0]}")
    lines += [line for cause in report["failures"] for line in tell_cause(_as_cause(cause))]
    return lines + _tell_forecasts(report["forecasts"])


def _held(found: Mapping[str, Any]) -> str:
    if found["told_by"] == "nobody":
        return ""
    nodes = f"; {found['node_hours_held']:.4g} node-hours were held (told by the {found['told_by']})"
    idle = f", {found['idle_share']:.0%} of the cores' time stood idle" if found["idle_share"] is not None else ""
    return nodes.replace("the sacct", "sacct") + idle


def _as_cause(plain: Mapping[str, Any]) -> Any:
    return Cause(**plain)


def _tell_forecasts(found: Mapping[str, Any]) -> list[str]:
    if not found["scored"]:
        return ["forecasts: none to be scored"]
    errors = ", ".join(f"{error:+.0%} at {mark} of the work" for mark, error in found["errors"].items())
    inside = ""
    if found["inside"] is not None:
        inside = f"; the truth lay in the range {found['inside']:.0%} of the time (meant: {found['meant_inside']:.0%})"
    return [f"forecasts of the time left: off by {errors or 'an amount that no mark shows'}{inside}"]


def _chain_table(chains: Sequence[Mapping[str, Any]]) -> Any:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("products")
    heads = ("tasks", "fields", "task, median", "longest", "CPU", "efficiency", "MiB a rank", "read", "written")
    for head in (*heads, "wait", "start-up"):
        table.add_column(head, justify="right")
    for chain in chains:
        table.add_row(
            ", ".join(chain["products"]) or "all",
            str(chain["tasks"]),
            str(chain["fields"]),
            _seconds(chain["seconds_median"]),
            _seconds(chain["seconds_most"]),
            "–" if chain["cpu_s"] is None else span(chain["cpu_s"]),
            "–" if chain["efficiency"] is None else f"{chain['efficiency']:.0%}",
            "–" if chain["peak_mib"] is None else f"{chain['peak_mib']:.0f}",
            "–" if chain["read_bytes"] is None else size(chain["read_bytes"]),
            "–" if chain["written_bytes"] is None else size(chain["written_bytes"]),
            _seconds(chain["wait_s_median"]),
            _seconds(chain["startup_s_median"]),
        )
    return table


def _stage_table(chains: Sequence[Mapping[str, Any]]) -> Any:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    names = list(dict.fromkeys(name for chain in chains for name in chain["stages"]))
    table.add_column("share of the ranks' time")
    for name in names:
        table.add_column(name, justify="right")
    for chain in chains:
        shares = [chain["stages"].get(name) for name in names]
        table.add_row(
            ", ".join(chain["products"]) or "all", *("–" if s is None else f"{s['share']:.1%}" for s in shares)
        )
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s" if value < 60 else span(value)
