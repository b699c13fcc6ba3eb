"""Commands that look at product files, and at the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipshpc.commands.writing import OPTIONS, AsJson, File, write_json, write_lines, write_table

app = typer.Typer(**OPTIONS)


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
        write_json({"file": str(file), "picture": str(picture)})
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
        write_json({str(f): digest(f) for f in files})
        return
    for file in files:
        typer.echo(f"{digest(file)}  {file}")


@app.command("diff", epilog="Example: pipshpc diff one.nc other.nc")
def print_difference(
    first: Annotated[Path, typer.Argument(metavar="A", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two files, and why.

    First what they were made of and by: inputs, cards, algorithms, kernels, software. Then each dataset and
    attribute; exit code 1 where any differs.
    """
    from pipshpc.digest import difference
    from pipshpc.inventory.compare import reasons

    lines = difference(first, second)
    why = reasons(first, second)
    if as_json:
        write_json({"equal": not lines, "reasons": why, "differences": lines})
    else:
        write_lines([*why, *(lines or ["no difference in what the files say"])])
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
        write_json(
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
    elif east - west == 360.0:
        place = f"all longitudes, {degrees(south, 'NS')} to {degrees(north, 'NS')}"
    typer.secho(f"{about.long_name} ({about.variable})", bold=True)
    size = file.stat().st_size / 2**20
    typer.echo(f"  {times} windows of {rows} × {columns} cells, {place}, {size:.1f} MiB")
    write_lines(["", *tell_lineage(about), ""], indent="  ")
    write_table(
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
        write_json(findings)
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
