"""The short commands: plan and run a campaign in the foreground, submit it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipshpc.commands.campaign_looks import print_plan
from pipshpc.commands.writing import OPTIONS, AsJson, write_json, write_lines

app = typer.Typer(**OPTIONS)
CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.yaml", help="Campaign file.", show_default=False)]


@app.command("plan", epilog="Example: pipshpc plan jobs/campaigns/demo.yaml")
def plan_campaign(campaign: CampaignFile, as_json: AsJson = False) -> None:
    """Say what a campaign would do, and why.

    Tasks, algorithms with those turned down, what is done already, and what the rest will cost; nothing is computed.
    """
    print_plan(campaign, as_json)


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
        print_plan(campaign, as_json)
        return
    from pipshpc.drive.flow import prepare
    from pipshpc.view.progress import follow, summarise_run, tell_run

    prepared = prepare(campaign)
    try:
        status = follow(prepared, quiet=as_json)
    except KeyboardInterrupt:
        typer.secho("stopped; what is published stays, run the same command to go on", fg="yellow", err=True)
        raise typer.Exit(130) from None
    summary = summarise_run(prepared, status)
    if as_json:
        write_json(summary)
    else:
        write_lines(tell_run(summary))
    if summary["failed"]:
        raise typer.Exit(1)
