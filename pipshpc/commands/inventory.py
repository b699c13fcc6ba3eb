"""Commands of the inventory: take folders in, search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_table
from pipshpc.errors import SpecError

if TYPE_CHECKING:
    from pipshpc.inventory import Inventory, Item

app = typer.Typer(**OPTIONS)
Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of the inventory; $PIPSHPC_HOME or ~/.local/share/pipshpc if not given.",
        show_default=False,
    ),
]
SHOWN = 50  # rows of a table on a terminal, unless more are asked for


def open_inventory(home: Path | None, create: bool = False) -> Inventory:
    """Open the inventory that the options name."""
    from pipshpc.inventory import Inventory, inventory_path

    return Inventory.open(inventory_path(home), create=create)


@app.command("ingest", epilog="Example: pipshpc ingest /archive/MOD11A1")
def ingest_folders(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", show_default=False)],
    home: Home = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not read files whole to take their digests.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw items whose files are gone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look, but leave the inventory as it is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the data files of folders into the inventory.

    GRIB, netCDF, HDF5, HDF-EOS, GeoTIFF, tiles of MODIS and VIIRS, scenes of Landsat, and our own products by their
    STAC items. It may be ended and called again; what is known is passed over, and a damaged file is told of once.
    """
    if dry_run:
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            told = _ingest(folders, Path(scratch), quick, withdraw=False)
    else:
        told = _ingest(folders, home, quick, withdraw)
    if as_json:
        write_json(told)
        return
    for folder, counts in told.items():
        parts = [f"{counts.added} added", f"{counts.revised} replaced", f"{counts.same} as known"]
        parts += [f"{counts.other} other files"] if counts.other else []
        parts += [f"{counts.withdrawn} withdrawn"] if counts.withdrawn else []
        parts += [f"{counts.known_damaged} damaged as before"] if counts.known_damaged else []
        gone = len(counts.missing) - counts.withdrawn
        parts += [f"{gone} gone, which --withdraw would withdraw"] if gone else []
        typer.echo(f"{folder}: {', '.join(parts)}")
        for reason in counts.damaged.values():
            typer.secho(f"  not taken in: {reason}", fg="yellow")


def _ingest(folders: list[Path], home: Path | None, quick: bool, withdraw: bool) -> dict[str, Any]:
    with open_inventory(home, create=True) as stock:
        return {str(folder): stock.ingest(folder, digests=not quick, withdraw=withdraw) for folder in folders}


@app.command(
    "search", epilog="Example: pipshpc search --sensor MODIS --region Germany --start 2019-07-01 --end 2019-07-08"
)
def search_items(
    product: Annotated[list[str] | None, typer.Option(help="Product; may be repeated, as may all words.")] = None,
    collection: Annotated[list[str] | None, typer.Option(help="Collection, for example MOD11A1.061.")] = None,
    sensor: Annotated[list[str] | None, typer.Option(help="Sensor, for example MODIS.")] = None,
    satellite: Annotated[
        list[str] | None, typer.Option("--satellite", "--platform", help="Satellite, for example Terra.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="source, interim or product.")] = None,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="West south east north, degrees; west > east crosses the date line.", show_default=False),
    ] = None,
    region: Annotated[str | None, typer.Option(help="Name of a country, sea or region, instead of a box.")] = None,
    start: Annotated[str | None, typer.Option(help="Start of the period, UTC, ISO 8601.")] = None,
    end: Annotated[str | None, typer.Option(help="End of the period, which it excludes.")] = None,
    quality: Annotated[list[str] | None, typer.Option(help="good, suspect or bad.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="What was known at that time.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most items; 0 for all.")] = 0,
    picture: Annotated[Path | None, typer.Option("--map", help="Draw what was found on a map (PNG).")] = None,
    as_stac: Annotated[bool, typer.Option("--stac", help="Write a STAC FeatureCollection.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Search the inventory for source data and products.

    Exit code 1 where nothing is found.
    """
    from pipshpc.inventory.regions import find_region

    if box is not None and region is not None:
        raise SpecError("--box and --region exclude each other; drop one")
    place = box if region is None else find_region(region).box
    with open_inventory(home) as stock:
        found = stock.search(
            product=product,
            collection=collection,
            sensor=sensor,
            platform=satellite,
            box=place,
            time=(start, end) if start or end else None,
            quality=quality,
            limit=limit,
            kind=kind,
            as_of=as_of,
        )
    if picture is not None:
        from pipshpc.view.findmap import draw_items

        draw_items(found, picture, place)
    if as_stac:
        _write_stac(found)
    elif as_json:
        write_json(found)
    else:
        _show(found, limit)
        if picture is not None:
            typer.echo(picture)
    if not found:
        raise typer.Exit(1)


def _write_stac(found: list[Item]) -> None:
    from pipshpc.inventory.stac import to_stac

    features = [to_stac(item).to_dict(include_self_link=False) for item in found]
    write_json({"type": "FeatureCollection", "features": features})


def _show(found: list[Item], limit: int) -> None:
    rows = [
        (item.id, item.collection, _moment(item), _place(item), " ".join((item.platform, item.sensor)).strip(),
         item.quality, item.path)
        for item in found[: limit or SHOWN]
    ]  # fmt: skip
    write_table(("id", "collection", "time", "place", "satellite", "quality", "path"), rows)
    more = len(found) - len(rows)
    typer.echo(f"{len(found)} items" + (f", {more} of them not shown; --limit or --json shows more" if more else ""))


def _moment(item: Item) -> str:
    if item.start is None:
        return ""
    return f"{item.start:%Y-%m-%d %H:%M}" + ("" if item.start == item.end else f" to {item.end:%Y-%m-%d %H:%M}")


def _place(item: Item) -> str:
    return "" if item.bbox is None else " ".join(f"{v:g}" for v in (round(x, 2) for x in item.bbox))
