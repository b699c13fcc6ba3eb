"""The command line: it prints, picks exit codes, and does nothing that the library does not do.

What is heavy is imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipshpc.errors import PipshpcError
from pipshpc.lab.cli import app as lab_app

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines instead of text.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Product file (netCDF-4).", show_default=False)]
CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="Campaign file.", show_default=False)]

# Plain help: the decorated one needs a library that takes longer to load than all the rest.
OPTIONS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
app = typer.Typer(
    name="pipshpc", help="Global remote-sensing products on Slurm clusters.", no_args_is_help=True, **OPTIONS
)
products_app = typer.Typer(help="The products that can be made.", **OPTIONS)
app.add_typer(products_app, name="products")
app.add_typer(lab_app, name="lab")
_settings = {"debug": False}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: an error that pipshpc raised is one line on stderr and an exit code.

    Typer itself turns Ctrl-C into exit code 130 and wrong usage into 2.
    """
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="pipshpc")
    except PipshpcError as error:
        if _settings["debug"]:
            raise
        typer.secho(f"error: {' '.join(str(error).split())}", fg="red", err=True)
        sys.exit(error.exit_code)


@app.callback(epilog="Example: pipshpc products show rlds")
def begin(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="PIPSHPC_DEBUG", help="Show where an error came from.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    """Make global and regional remote-sensing products, look at them, and tell how they came to be."""
    from pipshpc import __version__

    _settings["debug"] = debug
    if version:
        typer.echo(__version__)
        raise typer.Exit


# ---- products


@products_app.callback(invoke_without_command=True, epilog="Example: pipshpc products --json")
def list_products(context: typer.Context, as_json: AsJson = False) -> None:
    """List the products; `pipshpc products show ID` tells all about one."""
    if context.invoked_subcommand:
        return
    from pipshpc.product import load_cards

    cards = load_cards().values()
    if as_json:
        _write_json(list(cards))
        return
    _write_table(
        ("product", "name", "units", "version", "algorithms, preferred first"),
        [(c.id, c.long_name, c.units, str(c.version), ", ".join(a.name for a in c.algorithms)) for c in cards],
    )


@products_app.command("show", epilog="Example: pipshpc products show rlds")
def show_product(
    product: Annotated[str, typer.Argument(metavar="ID", help="Id of a product.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Tell all about one product.

    Inputs, algorithms, references, evidence, and its examples worked now.
    """
    from pipshpc.product import find_card
    from pipshpc.prose import tell_algorithm, tell_card, tell_checks

    card = find_card(product)
    if as_json:
        _write_json(card)
        return
    _write_lines([typer.style(card.id, bold=True), *tell_card(card)], indent="  ")
    for place, algorithm in enumerate(card.algorithms):
        typer.echo()
        _write_lines([*tell_algorithm(algorithm, place), *tell_checks(card, algorithm)], indent="  ")


# ---- campaigns


@app.command("plan", epilog="Example: pipshpc plan jobs/campaigns/demo.yaml")
def plan_campaign(campaign: CampaignFile, as_json: AsJson = False) -> None:
    """Say what a campaign would do, and why.

    Tasks, algorithms with those turned down, what is done already; nothing is computed.
    """
    from pipshpc.flow import prepare
    from pipshpc.progress import tell_plan

    prepared = prepare(campaign)
    if as_json:
        _write_json(
            {"campaign": prepared.campaign, "tasks": prepared.tasks, "pending": [t.id for t in prepared.pending]}
        )
    else:
        _write_lines(tell_plan(prepared))


@app.command("run", epilog="Example: pipshpc run jobs/campaigns/demo.yaml")
def run_campaign(
    campaign: CampaignFile,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and check only, as `pipshpc plan` does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the products of a campaign.

    What is there already is not made again: the same command goes on after a stop.
    """
    if dry_run:
        plan_campaign(campaign, as_json)
        return
    from pipshpc.flow import prepare
    from pipshpc.progress import follow, summarise_run, tell_run

    prepared = prepare(campaign)
    try:
        status = follow(prepared, quiet=as_json)
    except KeyboardInterrupt:
        typer.secho("stopped; what is published stays, run the same command to go on", fg="yellow", err=True)
        raise typer.Exit(130) from None
    summary = summarise_run(prepared, status)
    if as_json:
        _write_json(summary)
    else:
        _write_lines(tell_run(summary))
    if summary["failed"]:
        raise typer.Exit(1)


# ---- product files


@app.command(
    "quicklook", epilog="Example: pipshpc quicklook rlds_0.05deg_3h_20060401.nc --time 2006-04-01T12:00 -o noon.png"
)
def draw_quicklook(
    file: File,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture (PNG); beside the file if not given.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Number of a window, or a time in it; all if not given.")] = None,
    variable: Annotated[str | None, typer.Option(help="Variable; the product if not given.")] = None,
    width: Annotated[int, typer.Option(help="Width of the picture in pixels.")] = 1600,
    as_json: AsJson = False,
) -> None:
    """Draw a map of a product file with coastlines."""
    from pipshpc.quicklook import draw

    picture = draw(file, variable, time, out, width)
    if as_json:
        _write_json({"file": str(file), "picture": str(picture)})
    else:
        typer.echo(picture)


@app.command("digest", epilog="Example: pipshpc digest products/*.nc")
def print_digest(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="HDF5 or netCDF-4 files.", show_default=False)],
    of_bytes: Annotated[bool, typer.Option("--bytes", help="Digest of the file's bytes, not of its content.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the digest of what files say.

    It is equal for equal content, however that is compressed.
    """
    from pipshpc.digest import content_digest, file_digest

    digest = file_digest if of_bytes else content_digest
    if as_json:
        _write_json({str(f): digest(f) for f in files})
        return
    for file in files:
        typer.echo(f"{digest(file)}  {file}")


@app.command("diff", epilog="Example: pipshpc diff one.nc other.nc")
def print_difference(
    first: Annotated[Path, typer.Argument(metavar="A", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two files.

    Names each dataset and attribute; exit code 1 where any differs.
    """
    from pipshpc.digest import difference

    lines = difference(first, second)
    if as_json:
        _write_json({"equal": not lines, "differences": lines})
    else:
        _write_lines(lines or ["no difference in what the files say"])
    if lines:
        raise typer.Exit(1)


@app.command("info", epilog="Example: pipshpc info rlds_0.05deg_3h_20060401.nc")
def print_info(
    file: File,
    variable: Annotated[str | None, typer.Option(help="Variable; the product if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a file is and how it came to be.

    With minimum, mean weighted by area, maximum and missing share of each window.
    """
    from pipshpc.dataset import describe, summarise
    from pipshpc.prose import tell_lineage
    from pipshpc.quicklook import degrees, unit_text, window_text

    about, statistics = describe(file, variable), summarise(file, variable)
    if as_json:
        _write_json(
            {
                "file": str(file),
                "variable": about.variable,
                "units": about.units,
                "shape": about.shape,
                "bounds": about.bounds,
                "attributes": {k: v for k, v in about.attributes.items() if k != "lineage"},
                "lineage": about.lineage,
                "windows": statistics,
            }
        )
        return
    west, south, east, north = about.bounds
    times, rows, columns = about.shape
    place = f"{degrees(west, 'EW')} to {degrees(east, 'EW')}, {degrees(south, 'NS')} to {degrees(north, 'NS')}"
    if (east - west, north - south) == (360.0, 180.0):
        place = "the globe"
    typer.secho(f"{about.long_name} ({about.variable})", bold=True)
    size = file.stat().st_size / 2**20
    typer.echo(f"  {times} windows of {rows} × {columns} cells, {place}, {size:.1f} MiB")
    _write_lines(["", *tell_lineage(about), ""], indent="  ")
    _write_table(
        ("window", "minimum", "mean", "maximum", "missing"),
        [
            (window_text(*window), *_numbers(s.minimum, s.mean, s.maximum), f"{s.missing:.2%}")
            for window, s in zip(about.windows, statistics, strict=True)
        ],
        title=f"{about.variable}, {unit_text(about.units)}; the mean is weighted by area",
        right=range(1, 5),
    )


def _numbers(*values: float) -> list[str]:
    return ["–" if v != v else f"{v:.6g}" for v in values]


# ---- the machine


@app.command("doctor", epilog="Example: pipshpc doctor --path /scratch/products")
def examine_machine(
    path: Annotated[list[Path] | None, typer.Option(help="Folder for products, to be tried; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try what is needed on this machine.

    Says what works, what does not and what to do; exit code 4 where work would stop.
    """
    from pipshpc.doctor import examine

    findings = examine(path or ())
    if as_json:
        _write_json(findings)
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        wide = max(len(f.name) for f in findings)
        for finding in findings:
            typer.secho(f"{finding.state:<5}", fg=colours[finding.state], nl=False)
            typer.echo(f"{finding.name:<{wide}}  {finding.found}")
            if finding.action:
                typer.echo(f"     {'':<{wide}}  → {finding.action}")
    if any(f.state == "fail" for f in findings):
        raise typer.Exit(4)


# ---- writing


def _write_json(data: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode())


def _write_lines(lines: Iterable[str], indent: str = "") -> None:
    """Write paragraphs, wrapped to the terminal; all but the first indented."""
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size((110, 24)).columns, 120) if sys.stdout.isatty() else 1000
    for k, line in enumerate(lines):
        lead = indent if k else ""
        hang = lead + " " * (len(line) - len(line.lstrip()) + 2)
        typer.echo("\n".join(textwrap.wrap(line, width, initial_indent=lead, subsequent_indent=hang)) or "")


def _write_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", right: Iterable[int] = ()
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=title or None, title_justify="left", title_style="")
    for k, head in enumerate(heads):
        table.add_column(head, justify="right" if k in set(right) else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    # Into a pipe nothing is cut: a line is a row.
    (console if console.is_terminal else Console(width=400)).print(table)


if __name__ == "__main__":
    main()
