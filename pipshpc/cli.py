"""The command line: it prints, picks exit codes, and does nothing that the library does not do.

The commands themselves are in `commands`, by what they are about.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from pipshpc.commands import campaign_acts, campaign_app, campaign_steers, files, inventory, late, lineage, runs
from pipshpc.commands.products import products_app
from pipshpc.commands.stack import stack_app
from pipshpc.commands.subscribe import subscribe_app
from pipshpc.commands.writing import OPTIONS
from pipshpc.errors import PipshpcError
from pipshpc.lab.cli import app as lab_app

app = typer.Typer(
    name="pipshpc", help="Global remote-sensing products on Slurm clusters.", no_args_is_help=True, **OPTIONS
)
app.add_typer(products_app, name="products")
for commands in (runs, campaign_acts, files, inventory, lineage, late):
    app.registered_commands += commands.app.registered_commands
assert campaign_steers  # its commands are in the group
app.add_typer(campaign_app.campaign_app, name="campaign")
app.add_typer(stack_app, name="stack")
app.add_typer(lab_app, name="lab")
app.add_typer(subscribe_app, name="subscribe")
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


if __name__ == "__main__":
    main()
