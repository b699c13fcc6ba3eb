"""What the verbs of `pipshpc campaign` share: the group, their argument, who asks."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Annotated, Any

import typer

from pipshpc.commands.writing import OPTIONS

campaign_app = typer.Typer(
    help="Campaigns: start, look, steer; they outlive terminals.", no_args_is_help=True, **OPTIONS
)
Which = Annotated[
    str,
    typer.Argument(
        metavar="CAMPAIGN",
        help="Campaign file, state folder (<output>/.pipshpc/<name>), or name of a campaign below this folder.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Start = Annotated[bool, typer.Option("--start", help="Start a driver where none is at work.")]
Here = Annotated[bool, typer.Option("--here", help="On this machine, detached, also where the site is a cluster.")]


def who() -> str:
    """Return who asks, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def say(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Write what a verb did: as JSON, or as lines."""
    from pipshpc.commands.writing import write_json, write_lines

    if as_json:
        write_json({**facts, "said": list(lines)})
    else:
        write_lines(lines)
