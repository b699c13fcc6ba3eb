"""Run the suite: ``python -m benchmarks``, or ``make bench``.

Prints tables and writes one JSON file. A missed target is said, it is not an
error.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import (
    chain,
    decomposition,
    flux,
    inventory,
    job,
    kernel,
    overhead,
    planning,
    radiation,
    scaling,
    startup,
    vegetation,
    write,
)
from benchmarks.machine import describe
from benchmarks.measure import Section, Settings, Verdict
from pipshpc import __version__

REPO = Path(__file__).parents[1]
SECTIONS = {
    module.__name__.rpartition(".")[2]: module.measure
    for module in (
        kernel,
        radiation,
        flux,
        vegetation,
        chain,
        decomposition,
        planning,
        inventory,
        write,
        scaling,
        job,
        overhead,
        startup,
    )
}


def main() -> None:
    """Measure, print, keep."""
    options = _options()
    folder = options.dir / ("quick" if options.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    # Ranks and peers are started as modules of this tree, from wherever the suite was called.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPO), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings = Settings(folder.resolve(), options.quick, options.repeats)
    console = Console()
    machine = describe(folder, options.quick)
    console.print(facts_table(machine))
    sections = []
    for name in options.only or SECTIONS:
        begin = time.perf_counter()
        section = SECTIONS[name](settings)
        section.facts["section_s"] = round(time.perf_counter() - begin, 1)
        sections.append(section)
        show(console, section, options.quick)
    machine["load_after"] = [round(x, 2) for x in os.getloadavg()]
    out = options.out or REPO / "benchmarks" / "results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(as_record(machine, settings, sections), indent=1) + "\n")
    missed = [f"{s.name}: {v.name}" for s in sections for v in s.verdicts if not v.met]
    if not options.quick:
        console.print(f"[bold]Missed:[/] {'; '.join(missed)}" if missed else "[bold]All targets met.[/]")
    console.print(f"Results: {out}", soft_wrap=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure pipshpc beside its peers.")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="run this section; may be repeated")
    parser.add_argument("--quick", action="store_true", help="coarse grids, one repeat: to see that it works")
    parser.add_argument("--repeats", type=int, help="rounds per section instead of each section's own number")
    parser.add_argument("--out", type=Path, help="JSON file (default: benchmarks/results/TIME.json)")
    parser.add_argument("--dir", type=Path, default=REPO / "build" / "bench", help="folder on a real disk for files")
    return parser.parse_args()


def as_record(machine: dict[str, Any], settings: Settings, sections: list[Section]) -> dict[str, Any]:
    """Return all that was measured as plain data."""
    return {
        "pipshpc": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": settings.quick,
        "repeats": settings.repeats,
        "machine": machine,
        "sections": {
            s.name: {
                "title": s.title,
                "rows": [asdict(row) for row in s.rows],
                "targets": [{**asdict(v), "verdict": word(v, settings.quick)} for v in s.verdicts],
                "notes": s.notes,
                "facts": s.facts,
            }
            for s in sections
        },
    }


def facts_table(machine: dict[str, Any]) -> Table:
    """Return the machine as a table."""
    table = Table(title="Machine", show_header=False, title_justify="left")
    for name, value in machine.items():
        table.add_row(name, str(value))
    return table


def word(verdict: Verdict, quick: bool) -> str:
    """Return the verdict; the targets do not speak of coarse grids, so a quick run has none."""
    return "quick run" if quick else "met" if verdict.met else "missed"


def show(console: Console, section: Section, quick: bool) -> None:
    """Print the figures of a section, its targets and its notes."""
    table = Table(title=f"{section.name}: {section.title}", title_justify="left")
    for name in ("what", "median", "min", "max", "unit", "note"):
        table.add_column(name, justify="right" if name in ("median", "min", "max") else "left")
    for row in section.rows:
        table.add_row(row.name, *(f"{x:.4g}" for x in (row.median, row.low, row.high)), row.unit, row.note)
    console.print(table)
    verdicts = Table(show_header=True)
    for name in ("target", "found", "wanted", "verdict"):
        verdicts.add_column(name)
    for v in section.verdicts:
        wanted = f"{'>=' if v.at_least else '<='} {v.wanted:g} {v.unit}"
        said = word(v, quick)
        style = {"met": "green", "missed": "red"}.get(said, "dim")
        verdicts.add_row(v.name, f"{v.found:.4g}", wanted, f"[{style}]{said}[/]")
    console.print(verdicts)
    for note in section.notes:
        console.print(f"  {note}", highlight=False)
    console.print()


if __name__ == "__main__":
    main()
