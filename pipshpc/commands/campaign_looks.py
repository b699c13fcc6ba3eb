"""Verbs that look at a campaign and change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipshpc.commands.campaign_app import Which, campaign_app, say
from pipshpc.commands.writing import AsJson, write_json, write_lines


@campaign_app.command("validate", epilog="Example: pipshpc campaign validate jobs/campaigns/demo.yaml")
def validate(campaign: Which, as_json: AsJson = False) -> None:
    """Check a campaign, its forcing and the space for it.

    Every key, every input file that it needs, and whether the products fit where they shall lie. Nothing is made.
    """
    from pipshpc.drive.prepare import check_space, prepare

    prepared = prepare(_file(campaign))
    check_space(prepared)
    tasks, pending = len(prepared.tasks), len(prepared.pending)
    days = len({one.day for one in prepared.waiting})
    name = prepared.campaign.campaign
    facts = {"campaign": name, "valid": True, "tasks": tasks, "pending": pending, "days_waiting": days}
    waits = f"; {days} days wait for their input" if days else ""
    say(as_json, facts, f"{name}: valid; {tasks} tasks, {pending} of them to be made{waits}")


@campaign_app.command("plan", epilog="Example: pipshpc campaign plan jobs/campaigns/demo.yaml --json")
def plan(campaign: Which, as_json: AsJson = False) -> None:
    """Say what a campaign would make, why, and its cost.

    Tasks, algorithms with those turned down, launches, pilot jobs, node-hours, bytes, memory; and where these figures
    come from. Nothing is computed.
    """
    print_plan(_file(campaign), as_json)


def _file(campaign: str) -> Path:
    """Return the file of a campaign however it is named: the user's, else the copy that the driver runs."""
    from pipshpc.view.overview import find_campaign

    place = find_campaign(campaign)
    return place.file or place.copy


def print_plan(campaign: Path, as_json: bool) -> None:
    """Write plan and cost of a campaign."""
    from pipshpc.drive.course import fold
    from pipshpc.drive.mode import choose_modes
    from pipshpc.drive.prepare import prepare
    from pipshpc.view.cost import tell_cost
    from pipshpc.view.overview import read_lines
    from pipshpc.view.progress import tell_modes, tell_plan

    prepared = prepare(campaign)
    cost = _cost(prepared)
    modes = choose_modes(prepared, fold(read_lines(prepared.folder / "journal.jsonl")))
    if as_json:
        write_json(
            {
                "campaign": prepared.campaign,
                "tasks": prepared.tasks,
                "pending": [t.id for t in prepared.pending],
                "cost": cost,
                "modes": modes,
            }
        )
    else:
        write_lines([*tell_plan(prepared), *tell_modes(modes), *tell_cost(cost)])


def _cost(prepared: Any) -> Any:
    from pipshpc.drive.prepare import plan_lines
    from pipshpc.site import choose_partition
    from pipshpc.view.cost import read_history, reckon

    own = prepared.campaign
    site = choose_partition(prepared.site, own.partition)
    output = prepared.folder.parents[2]
    folders = sorted({*prepared.folder.parent.glob("*/"), *output.glob("*/.pipshpc/*/")})
    chains = enumerate(own.chain_list())
    per_launch = {k: (chain.resources or own.resources).tasks_per_launch for k, chain in chains}
    pending = {task.id for task in prepared.pending}
    return reckon(plan_lines(prepared), pending, site, read_history(folders, site.name), per_launch)


@campaign_app.command("status", epilog="Example: pipshpc campaign status jobs/campaigns/demo.yaml")
def status(campaign: Which, as_json: AsJson = False) -> None:
    """Say how far a campaign is and what holds it up.

    Tasks by state, the driver, pilot jobs, nodes that are left alone, failures by cause, the time left. It reads the
    journal, the plan and heartbeats only.
    """
    from pipshpc.view.overview import find_campaign, read_overview
    from pipshpc.view.status import describe_status, tell_status

    view = read_overview(find_campaign(campaign).need_begun().folder)
    if as_json:
        write_json(describe_status(view))
    else:
        write_lines(tell_status(view))


@campaign_app.command("watch", epilog="Example: pipshpc campaign watch demo --once")
def watch(
    campaign: Which,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and leave; for logs.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two pictures.", min=0.2)] = 2.0,
    png: Annotated[Path | None, typer.Option(help="Draw the picture into this file (PNG) and leave.")] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a campaign: table, calendar and map, live.

    What is done, running, failed, waiting, by chain and by day, the blocks of running tasks on a map, the time left.
    Ctrl-C leaves the watch; the campaign goes on.
    """
    from pipshpc.view.overview import find_campaign, read_overview
    from pipshpc.view.status import describe_status

    folder = find_campaign(campaign).need_begun().folder
    if as_json:
        from pipshpc.view.watch import describe_watch

        view = read_overview(folder)
        write_json({**describe_status(view), **describe_watch(view)})
    elif png is not None:
        from pipshpc.view.picture import draw_watch

        typer.echo(draw_watch(read_overview(folder), png))
    else:
        from pipshpc.view.watch import follow

        follow(folder, every, once)


@campaign_app.command("report", epilog="Example: pipshpc campaign report demo --json")
def report(
    campaign: Which,
    accounting: Annotated[
        bool, typer.Option("--accounting/--no-accounting", help="Ask sacct for pilot jobs and steps.")
    ] = True,
    html: Annotated[Path | None, typer.Option(help="Write the report into this file (HTML), too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report what a campaign took, and where it went.

    Time, memory, bytes and efficiency by products and stage, node-hours used and computed, attempts and failures by
    cause, how good the estimates were.
    """
    from pipshpc.view.overview import find_campaign, read_overview
    from pipshpc.view.report import make_report
    from pipshpc.view.reportpage import print_report

    view = read_overview(find_campaign(campaign).need_begun().folder)
    found = make_report(view, accounting)
    if html is not None:
        print_report(found, html)
    if as_json:
        write_json(found)
    else:
        print_report(found)
