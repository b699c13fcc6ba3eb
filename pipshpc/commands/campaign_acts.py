"""Verbs that start a campaign and keep it going."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipshpc.commands.campaign_app import DryRun, Here, Which, campaign_app, say, who
from pipshpc.commands.writing import OPTIONS, AsJson

if TYPE_CHECKING:
    from pipshpc.view.overview import Overview, Place

app = typer.Typer(**OPTIONS)


@app.command("submit", epilog="Example: pipshpc submit jobs/campaigns/demo.yaml")
@campaign_app.command("submit", epilog="Example: pipshpc campaign submit jobs/campaigns/demo.yaml")
def submit(campaign: Which, here: Here = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Start a campaign and come back at once.

    A driver makes it from now on: as a small Slurm job where the site is a cluster, else as a process of its own that
    outlives the terminal. Where one is at work, it is told of changes in the campaign file.
    """
    from pipshpc.commands.starter import start_driver
    from pipshpc.errors import SpecError
    from pipshpc.view.overview import find_campaign, read_overview

    place = find_campaign(campaign)
    if dry_run:
        from pipshpc.commands.campaign_looks import print_plan

        print_plan(place.file or place.copy, as_json)
        return
    course = read_overview(place.folder).course
    if course.cancelled or course.paused:
        word = "cancelled" if course.cancelled else "paused"
        raise SpecError(f"{place.folder.name}: is {word}; 'pipshpc campaign resume {place.folder} --start' goes on")
    started = start_driver(place, who(), here)
    facts = {"campaign": place.folder.name, "folder": str(place.folder), "how": started.how, "number": started.number}
    from pipshpc.campaign import load_campaign

    look = f"look: pipshpc campaign status {place.folder}"
    cycling = load_campaign(place.copy).cycle is not None
    later = f"it makes what has come; for each new day: pipshpc campaign schedule {place.folder}"
    say(as_json, facts, started.text, look, *([later] if cycling else []))


@campaign_app.command("drive", epilog="Example: pipshpc campaign drive jobs/campaigns/demo.yaml")
def drive(
    campaign: Which,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Drive a campaign in the foreground till nothing is left.

    What `submit` starts; for services and for looking closely. It may be stopped or killed: the next one goes on.
    Of a cycling campaign it makes what has come; `tick` looks for more.
    """
    from pipshpc.view.overview import find_campaign

    place = find_campaign(campaign)
    if dry_run:
        from pipshpc.commands.campaign_looks import print_plan

        print_plan(place.file or place.copy, as_json)
        return
    _drive(place, as_json)


def _drive(place: Place, as_json: bool) -> None:
    """Run the driver in this process; exit code 1 where tasks failed for good."""
    from pipshpc.commands.starter import requeue_own_job, stage
    from pipshpc.drive.flow import prepare, run_campaign
    from pipshpc.slurm import Cluster
    from pipshpc.view.overview import read_overview

    stage(place)
    # What was given up, paused or cancelled stays so: a person takes that back, not a clock.
    prepared = prepare(place.copy)
    status = run_campaign(prepared, again=False)
    cluster = Cluster(name=prepared.site.scheduler.cluster)
    if read_overview(place.folder).course.driver.why == "time is up" and requeue_own_job(cluster=cluster):
        say(as_json, {"campaign": place.folder.name, "requeued": True}, "time is up: queued again")
        return
    facts = {"campaign": place.folder.name, "done": status.done, "tasks": status.total, "failed": len(status.failed)}
    say(as_json, facts, f"{place.folder.name}: {status.done} of {status.total} tasks done, {len(status.failed)} failed")
    if status.failed:
        raise typer.Exit(1)


@campaign_app.command("tick", epilog="Example: pipshpc campaign tick jobs/campaigns/demo.yaml")
def tick(campaign: Which, here: Here = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Look after a campaign once; for cron and scrontab.

    Where a driver is at work, or nothing is to do, it says so and leaves. Else it drives in the foreground; on a
    cluster, outside of a job, it submits the driver instead, unless told --here.
    """
    from pipshpc.view.overview import find_campaign, read_overview

    place = find_campaign(campaign)
    view = read_overview(place.folder)
    reason = _idle(place, view, dry_run)
    facts: dict[str, Any] = {"campaign": place.folder.name, "started": not reason and not dry_run}
    if reason or dry_run:
        say(as_json, facts, f"{place.folder.name}: {reason or 'a driver would be started'}")
        return
    from pipshpc.campaign import load_campaign
    from pipshpc.site import load_site

    site = load_site(load_campaign(place.file or place.copy).site)
    if site.scheduler.kind == "slurm" and not here and "SLURM_JOB_ID" not in os.environ:
        from pipshpc.commands.starter import start_driver

        say(as_json, facts, start_driver(place, who()).text)
        return
    _drive(place, as_json)


def _idle(place: Place, view: Overview, dry_run: bool) -> str:
    """Return why there is nothing to start; empty where there is something to do."""
    if view.course.cancelled:
        return "cancelled; 'pipshpc campaign resume' takes that back"
    if view.course.paused:
        return "paused; 'pipshpc campaign resume' goes on"
    from pipshpc.campaign import load_campaign
    from pipshpc.commands.cycling import look_for_input
    from pipshpc.commands.starter import is_changed
    from pipshpc.view.overview import plan_is_old

    if load_campaign(place.file or place.copy).cycle is not None:
        return look_for_input(place, view, who(), dry_run)
    if view.alive:
        return "a driver is at work"
    changed = is_changed(place) or plan_is_old(view)
    if view.planned and not view.left and not changed and view.course.drivers:
        return "nothing is left to do"
    return ""


@campaign_app.command("schedule", epilog="Example: pipshpc campaign schedule demo.yaml --every 10min")
def schedule(
    campaign: Which,
    every: Annotated[str, typer.Option(help="'10min', 'hourly', 'daily', or the five fields of cron.")] = "10min",
    remove: Annotated[bool, typer.Option("--remove", help="Take the entry out.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Show the entry that is there.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have a campaign looked after by cron or scrontab.

    One entry that calls `pipshpc campaign tick`: it starts the next driver where one was lost, and each new day of a
    cycling campaign. Other lines of your table stay as they are.
    """
    from pipshpc.campaign import load_campaign
    from pipshpc.commands.schedule import choose_program, find_entry, read_table, with_entry, without, write_table
    from pipshpc.site import load_site
    from pipshpc.view.overview import find_campaign

    place = find_campaign(campaign)
    site = load_site(load_campaign(place.file or place.copy).site)
    program = choose_program(site.scheduler.kind == "slurm")
    table, key = read_table(program), str(place.folder)
    entry = _entry(place, site, program, every)
    new = without(table, key) if remove else with_entry(table, entry)
    lines = find_entry(table if show or remove else new, key)
    facts = {"campaign": place.folder.name, "program": program, "entry": lines, "changed": new != table and not show}
    if show:
        say(as_json, facts, *(lines or [f"no entry of {place.folder.name} in {program}"]))
        return
    if not dry_run and new != table:
        if not remove:
            from pipshpc.commands.starter import stage

            stage(place)
        write_table(program, new)
    word = "would be " if dry_run else ""
    if remove:
        say(as_json, facts, *([f"{word}removed from {program}:", *lines] if lines else ["there was no entry"]))
    else:
        say(as_json, facts, f"{word}in {program}:", *lines)


def _entry(place: Place, site: Any, program: str, every: str) -> Any:
    from pipshpc.commands.schedule import Entry, tick_line

    words = [sys.executable, "-m", "pipshpc", "campaign", "tick", str(place.folder)]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **{name: os.environ[name] for name in ("SLURM_CONF", "PIPSHPC_CACHE", "PIPSHPC_SITES") if name in os.environ},
    }
    options: list[str] = []
    if program == "scrontab":
        own = site.scheduler.driver
        given = {"partition": own.partition, "time": own.time, "qos": own.qos, "account": site.scheduler.account}
        options = [f"--{name}={value}" for name, value in given.items() if value]
        options += [f"--mem={own.memory_mib}M", f"--job-name=pipshpc-{place.folder.name}"]
    log = str(place.folder / "tick.log")
    return Entry(str(place.folder), every, tick_line(words, environment, log), tuple(options))
