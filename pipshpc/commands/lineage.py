"""Commands about where files come from: trace, rebuild."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipshpc.commands.inventory import Home, open_inventory
from pipshpc.commands.writing import OPTIONS, AsJson, write_json
from pipshpc.errors import SpecError

if TYPE_CHECKING:
    from pipshpc.inventory import Inventory

app = typer.Typer(**OPTIONS)
Named = Annotated[str, typer.Argument(metavar="FILE", help="Product file, or id of an item.", show_default=False)]


def open_if_there(home: Path | None) -> Inventory | None:
    """Open the inventory where there is one; much can be told without."""
    from pipshpc.inventory import inventory_path

    return open_inventory(home) if inventory_path(home).is_file() else None


@app.command("trace", epilog="Example: pipshpc trace rlds_0.05deg_3h_20060401.nc --up")
def trace_file(
    file: Named,
    up: Annotated[bool, typer.Option("--up", help="What it was made of; so without --down too.")] = False,
    down: Annotated[bool, typer.Option("--down", help="What was made of it.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read every input again and compare its digest.")] = False,
    prov: Annotated[Path | None, typer.Option("--prov", help="Write W3C PROV-JSON into this file.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show long lists of files whole.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Trace a file up to its inputs or down to its uses.

    Up: task, input files with their digests, static fields, cards, kernels, software, job and nodes. Down: the
    products that were made of it.
    """
    from pipshpc.inventory.lineage import trace_down, trace_up

    if up and down:
        raise SpecError("--up and --down exclude each other; trace twice")
    stock = open_inventory(home) if down else open_if_there(home)
    try:
        node = trace_down(stock, file) if down and stock is not None else trace_up(stock, file, verify)
    finally:
        if stock is not None:
            stock.close()
    if prov is not None:
        _write_prov(prov, node, down)
    if as_json:
        write_json(node)
        return
    from rich.console import Console

    from pipshpc.view.tracetree import draw_tree

    console = Console()
    (console if console.is_terminal else Console(width=400)).print(draw_tree(node, everything))
    if prov is not None:
        typer.echo(prov)


def _write_prov(path: Path, node: Any, down: bool) -> None:
    import msgspec

    from pipshpc.errors import OutputError
    from pipshpc.inventory.prov import to_prov

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(to_prov(node, down)), indent=2) + b"\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); name another file") from error


@app.command("rebuild", epilog="Example: pipshpc rebuild rlds_0.05deg_3h_20060401.nc --scratch /scratch/me")
def rebuild_file(
    file: Named,
    scratch: Annotated[Path, typer.Option(help="Folder for the new file.")] = Path("rebuilt"),
    ranks: Annotated[int, typer.Option(min=1, help="MPI ranks; the result does not depend on it.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it could be made again.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a product file again from its own record.

    Compares it bit for bit, or says which input, kernel, static field or software differs. Exit code 1 where it is
    not the same.
    """
    from pipshpc.inventory.rebuild import rebuild

    stock = open_if_there(home)
    try:
        result = rebuild(stock, file, scratch, 0 if dry_run else ranks)
    finally:
        if stock is not None:
            stock.close()
    if as_json:
        write_json(result)
    else:
        if result.same is None and not result.differs:
            typer.echo(f"{result.file}: could be made again; task {result.task}, nothing differs")
        elif result.same is None:
            typer.secho(f"{result.file}: cannot be made again as it was", fg="yellow")
        elif result.same:
            typer.secho(f"{result.made}: says the same as the original, bit for bit ({result.digest})", fg="green")
        else:
            typer.secho(f"{result.made}: differs; {result.digest}, recorded was {result.recorded}", fg="red")
        for line in result.differs:
            typer.echo(f"  {line}")
    if not result.same and (result.differs or not dry_run):
        raise typer.Exit(1)
