"""Commands about late data: impact, revisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipshpc.commands.inventory import Home, open_inventory
from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_table
from pipshpc.errors import SpecError

if TYPE_CHECKING:
    from pipshpc.drive.impact import Applied, Impact

app = typer.Typer(**OPTIONS)


@app.command("impact", epilog="Example: pipshpc impact input/era_2019-02-03.nc --apply")
def tell_impact(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH...]", help="Granules that changed.", show_default=False)
    ] = None,
    since: Annotated[str | None, typer.Option(help="All that came, changed or was withdrawn since then.")] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="The granules must not be used any more; with --apply they are renamed.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Make again what is touched, as new revisions.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell, as without --apply.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Tell what late, replaced or withdrawn granules touch.

    Lists the products, and of each the windows; without paths and --since for all inputs that are not what products
    were made of. With --apply just these are made again; the old revisions are kept.
    """
    from pipshpc.drive import impact as late

    if withdraw and not paths:
        raise SpecError("--withdraw needs the paths of the granules; name them")
    with open_inventory(home) as stock:
        acting = apply and not dry_run
        if withdraw and not acting:
            changes = [late.Change(path=str(path.absolute()), what="withdrawn") for path in paths or []]
            changes = [late.with_spans(stock, change) for change in changes]
        else:
            for path in paths or [] if withdraw else []:
                late.hide(stock, path)
            changes = late.find_changes(stock, paths or [], since)
        found = late.find_impact(stock, changes)
        done = late.apply_impact(stock, found) if acting else None
    if as_json:
        write_json({"impact": found, "applied": done})
    else:
        _show(found)
        if done is not None:
            _show_done(done)
    if done is not None and done.failed:
        raise typer.Exit(1)


def _show(found: Impact) -> None:
    for change in found.changes:
        typer.echo(f"{change.what}: {change.path}")
    if not found.changes:
        typer.echo("all inputs are what the products were made of")
    if found.touched:
        words = {"again": "again", "first": "for the first time"}
        rows = [
            (Path(t.path).name, f"{len(t.windows)} of {t.total}", t.windows[0], t.windows[-1], words[t.action],
             ", ".join(Path(b).name for b in t.by))
            for t in found.touched
        ]  # fmt: skip
        write_table(("product", "windows", "first", "last", "to be made", "because of"), rows)
        typer.echo(f"{len(found.touched)} files touched, {found.untouched} of the same campaigns not")
    elif found.changes:
        typer.echo("no product is touched")
    for note in found.notes:
        typer.secho(note, fg="yellow")


def _show_done(done: Applied) -> None:
    typer.echo(f"{len(done.made)} made again, {len(done.withdrawn)} withdrawn, {len(done.failed)} failed")
    for path in done.withdrawn:
        typer.echo(f"  withdrawn: {path}")
    for path in done.kept:
        typer.echo(f"  kept: {path}")
    for path, why in done.failed.items():
        typer.secho(f"  failed: {path}: {why}", fg="yellow")


@app.command("revisions", epilog="Example: pipshpc revisions rlds_0.05deg_3h_20060401.nc --as-of 2026-07-01")
def list_revisions(
    file: Annotated[str, typer.Argument(metavar="FILE", help="File, or id of an item.", show_default=False)],
    as_of: Annotated[str | None, typer.Option("--as-of", help="Only the one that was known then.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List the revisions of a file, and where each is.

    With --as-of the path of the one that was known at that date; exit code 1 where there was none.
    """
    from pipshpc.inventory.revisions import known_then

    with open_inventory(home) as stock:
        then = known_then(stock, file, as_of) if as_of else None
        found = ([then] if then else []) if as_of else stock.revisions(file)
    if as_json:
        write_json(found)
    elif as_of and found:
        typer.echo(found[0].path)
    elif found:
        rows = [
            (str(i.revision), f"{i.created:%Y-%m-%d %H:%M:%S}", "withdrawn" if i.withdrawn else "", i.digest, i.path)
            for i in found
        ]
        write_table(("revision", "known since", "state", "digest", "path"), rows)
    if not found:
        typer.echo(f"{file}: no revision" + (f" was known on {as_of}" if as_of else " is known"), err=True)
        raise typer.Exit(1)
