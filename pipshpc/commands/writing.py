"""What all commands share: their options, and how they write."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines instead of text.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Product file (netCDF-4).", show_default=False)]

# Plain help: the decorated one needs a library that takes longer to load than all the rest.
OPTIONS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}


def write_json(data: Any) -> None:
    """Write anything as JSON, indented."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode())


def write_lines(lines: Iterable[str], indent: str = "") -> None:
    """Write paragraphs, wrapped to the terminal; all but the first indented."""
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size((110, 24)).columns, 120) if sys.stdout.isatty() else 1000
    for k, line in enumerate(lines):
        lead = indent if k else ""
        hang = lead + " " * (len(line) - len(line.lstrip()) + 2)
        typer.echo("\n".join(textwrap.wrap(line, width, initial_indent=lead, subsequent_indent=hang)) or "")


def write_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Iterable[int] = ()
) -> None:
    """Write a table; into a pipe a line is a row, and nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=title or None, title_justify="left", title_style="")
    for k, head in enumerate(heads):
        table.add_column(head, justify="right" if k in set(right) else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    (console if console.is_terminal else Console(width=400)).print(table)
