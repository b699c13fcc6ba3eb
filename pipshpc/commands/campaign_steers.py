"""Verbs that steer a campaign by a line in its journal; the driver reads it within seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipshpc.commands.campaign_app import DryRun, Start, Which, campaign_app, say, who
from pipshpc.commands.writing import AsJson

if TYPE_CHECKING:
    from pipshpc.view.overview import Overview, Place


@campaign_app.command("pause", epilog="Example: pipshpc campaign pause demo")
def pause(campaign: Which, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Start nothing new; what runs comes to its end.

    `pipshpc campaign resume` goes on.
    """
    place, view = _open(campaign)
    running = sum(view.counts[s] for s in ("SUBMITTED", "RUNNING", "UNKNOWN")) if view.alive else 0
    if view.course.paused:
        _note(place, "", dry_run, as_json, "paused already")
        return
    _note(place, "pause", dry_run, as_json, f"paused; {running} tasks under way come to their end, then nothing starts")


@campaign_app.command("resume", epilog="Example: pipshpc campaign resume demo --start")
def resume(campaign: Which, start: Start = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Go on after pause or cancel."""
    place, view = _open(campaign)
    halted = view.course.paused or view.course.cancelled
    said = f"resumed; {view.left} tasks are to be made" if halted else "was neither paused nor cancelled"
    _note(place, "resume" if halted else "", dry_run, as_json, said, then=lambda: _go_on(place, view, start, dry_run))


@campaign_app.command("cancel", epilog="Example: pipshpc campaign cancel demo")
def cancel(campaign: Which, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Stop a campaign; what is done stays.

    Running tasks stop at the next block border. Published files stay, finished blocks of unfinished files too;
    `pipshpc campaign resume --start` goes on from there.
    """
    from pipshpc.view.overview import COMPLETED

    place, view = _open(campaign)
    event = "" if view.course.cancelled else "cancel"

    def end() -> list[str]:
        kept = f"kept: {view.counts[COMPLETED]} tasks with their files, and finished blocks of the others"
        return [*_end_jobs(place, view, dry_run), kept, f"to go on: pipshpc campaign resume {place.folder} --start"]

    _note(place, event, dry_run, as_json, "cancelled" if event else "cancelled already", then=end)


def _end_jobs(place: Place, view: Overview, dry_run: bool) -> list[str]:
    """End what a lost driver left, and the job of a driver that still waits for its turn."""
    from pipshpc import slurm
    from pipshpc.campaign import load_campaign
    from pipshpc.commands.starter import driver_jobs
    from pipshpc.drive.takeover import block_key, driver_lock, take_over
    from pipshpc.site import load_site

    file = place.copy if place.copy.is_file() else place.file
    if view.alive or file is None:
        return []
    campaign = load_campaign(file)
    jobs = driver_jobs(place)[-1:]
    if dry_run:
        return ["what a lost driver left would be ended", *(f"job {job} would be ended" for job in jobs)]
    site = load_site(campaign.site)
    if jobs:
        slurm.cancel(slurm.Cluster(name=site.scheduler.cluster), jobs)
    with driver_lock(place.folder):
        key = block_key(campaign.campaign, place.folder)
        ended = take_over(place.folder, site, key, view.course, place.journal.write)
    return [f"ended: {', '.join(ended)}" if ended else "no driver is at work, and nothing had to be ended"]


@campaign_app.command("retry", epilog="Example: pipshpc campaign retry demo --cause truncated --start")
def retry(
    campaign: Which,
    tasks: Annotated[
        list[str] | None, typer.Argument(metavar="TASK...", help="Ids of failed tasks; their first letters will do.")
    ] = None,
    cause: Annotated[str, typer.Option(help="Those whose cause or reason holds this text.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    start: Start = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try failed tasks again, with fresh attempts.

    Choose them by id, by cause, or all; `pipshpc campaign status` lists the causes.
    """
    from pipshpc.errors import SpecError
    from pipshpc.view.causes import select_failed

    place, view = _open(campaign)
    if bool(tasks) + bool(cause) + every != 1:
        raise SpecError("say which tasks: their ids, --cause TEXT, or --all")
    chosen = select_failed(view.heard, tasks or (), cause)
    failed = view.counts["FAILED"]
    if not chosen:
        _note(place, "", dry_run, as_json, f"nothing to retry: none of the {failed} failed tasks is meant")
        return
    facts = {"tasks": "all" if len(chosen) == failed else chosen}
    said = f"{len(chosen)} of {failed} failed tasks are tried again"
    _note(place, "retry", dry_run, as_json, said, facts=facts, then=lambda: _go_on(place, view, start, dry_run))


@campaign_app.command("extend", epilog="Example: pipshpc campaign extend demo --end 2019-09-01T00:00:00Z")
def extend(
    campaign: Which,
    end: Annotated[str, typer.Option(help="New end, exclusive; later than the present one.", show_default=False)],
    start: Start = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the end of a campaign to a later day.

    Only the value of `end` changes in its file; a driver at work plans the new days at once.
    """
    from pipshpc.commands.extension import extend_file
    from pipshpc.commands.starter import stage
    from pipshpc.view.overview import find_campaign, read_overview

    place = find_campaign(campaign)
    old, new = extend_file(place.file or place.copy, end, write=not dry_run)
    said = f"{place.file or place.copy}: end moved from {old} to {new}"
    if not place.copy.is_file() and not (place.folder / "journal.jsonl").is_file():
        say(as_json, {"campaign": place.folder.name, "end": new, "noted": ""}, said)
        return
    if not dry_run:
        stage(place)
    view = read_overview(place.folder)
    _note(place, "extend", dry_run, as_json, said, facts={"end": new}, then=lambda: _go_on(place, view, start, dry_run))


def _open(campaign: str) -> tuple[Place, Overview]:
    from pipshpc.view.overview import find_campaign, read_overview

    place = find_campaign(campaign).need_begun()
    return place, read_overview(place.folder)


def _note(
    place: Place,
    event: str,
    dry_run: bool,
    as_json: bool,
    *lines: str,
    facts: dict[str, Any] | None = None,
    then: Callable[[], list[str]] = list,
) -> None:
    """Append an event to the journal, do what follows from it, and say so.

    `then` acts and returns more lines; it comes after the event, as a driver that it starts reads that.
    """
    facts = facts or {}
    if event and not dry_run:
        place.journal.write(event, by=who(), **facts)
    said = [f"{place.folder.name}: {'would be ' if dry_run and event else ''}{lines[0]}", *lines[1:]]
    said += then()
    say(as_json, {"campaign": place.folder.name, "noted": event if not dry_run else "", **facts}, *said)


def _go_on(place: Place, view: Overview, start: bool, dry_run: bool) -> list[str]:
    """Start a driver where one is wanted, or say how."""
    if view.alive:
        return ["the driver at work takes it up"]
    if start and not dry_run:
        from pipshpc.commands.starter import start_driver

        return [start_driver(place, who()).text]
    return [f"no driver is at work; start one: pipshpc submit {place.folder}"]
