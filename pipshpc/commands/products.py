"""Commands that tell what can be made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_lines, write_table

products_app = typer.Typer(help="The products that can be made.", **OPTIONS)


@products_app.callback(invoke_without_command=True, epilog="Example: pipshpc products --json")
def list_products(context: typer.Context, as_json: AsJson = False) -> None:
    """List the products; `pipshpc products show ID` tells all about one."""
    if context.invoked_subcommand:
        return
    from pipshpc.product import load_cards

    cards = load_cards().values()
    if as_json:
        write_json(list(cards))
        return
    write_table(
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
        write_json(card)
        return
    write_lines([typer.style(card.id, bold=True), *tell_card(card)], indent="  ")
    for place, algorithm in enumerate(card.algorithms):
        typer.echo()
        write_lines([*tell_algorithm(algorithm, place), *tell_checks(card, algorithm)], indent="  ")


@products_app.command("doc", epilog="Example: pipshpc products doc --out docs/products.md")
def write_page(
    out: Annotated[Path, typer.Option("--out", "-o", help="Page to write.")] = Path("docs/products.md"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether the page is up to date.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the page of all products from their cards.

    Inputs, algorithms, sources, evidence, cost, and the pictures that lie in
    images/products beside the page. With --dry-run nothing is written, and
    the exit code is 1 where the page is not up to date.
    """
    from pipshpc.productdoc import products_page

    text = products_page(out.parent)
    same = out.is_file() and out.read_text(encoding="utf-8") == text
    if not dry_run and not same:
        part = out.with_name(out.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    if as_json:
        write_json({"page": str(out), "up_to_date": same, "written": not dry_run and not same})
    else:
        typer.echo(f"{out} {'is up to date' if same else 'would change' if dry_run else 'is written'}")
    if dry_run and not same:
        raise typer.Exit(1)
