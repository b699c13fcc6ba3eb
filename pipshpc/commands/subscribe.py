"""Commands about subscriptions: products delivered as they appear."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pipshpc.commands.inventory import Home, open_inventory
from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_table
from pipshpc.errors import SpecError

subscribe_app = typer.Typer(help="Deliver products as they appear.", no_args_is_help=True, **OPTIONS)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the subscription.", show_default=False)]


@subscribe_app.command("add", epilog="Example: pipshpc subscribe add alps --product rlds --box 5 43 17 49 --folder out")
def add_subscription(
    name: Name,
    product: Annotated[list[str] | None, typer.Option(help="Product; may be repeated; all if not given.")] = None,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(help="West south east north, degrees; everywhere if not given.", show_default=False),
    ] = None,
    region: Annotated[str | None, typer.Option(help="Name of a region, instead of a box.")] = None,
    quality: Annotated[list[str] | None, typer.Option(help="good, suspect or bad; may be repeated.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Put the files into this folder.")] = None,
    hard: Annotated[bool, typer.Option("--link", help="By hard link instead of a copy.")] = False,
    command: Annotated[str, typer.Option(help="Call this; {path}, {id}, {product}, {digest} are filled in.")] = "",
    webhook: Annotated[str, typer.Option(help="Post the STAC item to this address.")] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Also deliver all that is there.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe to products, by box and quality.

    They go to a folder, a command or a webhook, at least once each; what was missed is delivered later.
    """
    from pipshpc.inventory.regions import find_region
    from pipshpc.inventory.subscription import Subscription, subscribe
    from pipshpc.product import find_card

    if box is not None and region is not None:
        raise SpecError("--box and --region exclude each other; drop one")
    for one in product or []:
        find_card(one)
    try:
        wanted = Subscription(
            name=name,
            products=product or [],
            box=box if region is None else find_region(region).box,
            quality=quality or [],
            folder=str(folder.absolute()) if folder else "",
            hard=hard,
            command=command,
            webhook=webhook,
        )
    except ValueError as error:
        raise SpecError(f"{error}; give one of --folder, --command, --webhook") from error
    with open_inventory(home, create=True) as stock:
        subscribe(stock, wanted, from_start)
    write_json(wanted) if as_json else typer.echo(f"{name}: {_where(wanted.folder, command, webhook)}")


def _where(folder: str, command: str, webhook: str) -> str:
    return f"folder {folder}" if folder else f"command {command}" if command else f"webhook {webhook}"


@subscribe_app.command("list", epilog="Example: pipshpc subscribe list")
def list_subscriptions(home: Home = None, as_json: AsJson = False) -> None:
    """List subscriptions and how far they are."""
    from collections import Counter

    from pipshpc.inventory.subscription import ledger, subscriptions

    with open_inventory(home) as stock:
        found, lines = subscriptions(stock), ledger(stock)
    if as_json:
        write_json({"subscriptions": found, "deliveries": lines})
        return
    rows = []
    for one in found:
        states = Counter(line.state for line in lines if line.subscription == one.name)
        box = " ".join(f"{v:g}" for v in one.box) if one.box else "everywhere"
        counts = (str(states[state]) for state in ("done", "waiting", "failed"))
        rows.append(
            (one.name, ", ".join(one.products) or "all", box, _where(one.folder, one.command, one.webhook), *counts)
        )
    write_table(("name", "products", "box", "to", "delivered", "waiting", "failed"), rows, right=range(4, 7))
    for line in lines:
        if line.state in ("waiting", "failed") and line.note:
            typer.secho(f"{line.subscription}, {line.item}: {line.tries} tries, {line.note}", fg="yellow")


@subscribe_app.command("remove", epilog="Example: pipshpc subscribe remove alps")
def remove_subscription(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Remove a subscription; what was delivered stays."""
    from pipshpc.inventory.subscription import unsubscribe

    with open_inventory(home) as stock:
        unsubscribe(stock, name)
    write_json({"removed": name}) if as_json else typer.echo(f"{name}: removed")


@subscribe_app.command("retry", epilog="Example: pipshpc subscribe retry alps")
def retry_deliveries(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Try again what was given up."""
    from pipshpc.inventory.subscription import retry

    with open_inventory(home) as stock:
        count = retry(stock, name)
    write_json({"again": count}) if as_json else typer.echo(f"{name}: {count} deliveries will be tried again")


@subscribe_app.command("deliver", epilog="Example: pipshpc subscribe deliver --follow 60")
def deliver_now(
    follow: Annotated[float, typer.Option(min=0, help="Go on, looking every so many seconds; 0: once.")] = 0.0,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what is due.

    A driver does so too while it runs; call this from cron, or with --follow, to be independent of drivers. Exit code
    1 where something could not be delivered.
    """
    from pipshpc.inventory.subscription import deliver

    failed = False
    while True:
        with open_inventory(home) as stock:
            changed = deliver(stock)
        failed = failed or any(line.state in ("waiting", "failed") for line in changed)
        if as_json:
            write_json(changed)
        else:
            for line in changed:
                typer.echo(f"{line.subscription}: {line.item} revision {line.revision}: {line.state}, {line.note}")
        if not follow:
            break
        time.sleep(follow)
    if failed:
        raise typer.Exit(1)
