"""Looking for the input of a cycling campaign: no driver is started where nothing new has come."""

from __future__ import annotations

from pipshpc.commands.starter import is_changed, stage
from pipshpc.drive.course import FAILED
from pipshpc.drive.prepare import prepare, waiting_facts
from pipshpc.view.overview import Overview, Place, plan_is_old


def look_for_input(place: Place, view: Overview, by: str, dry_run: bool = False) -> str:
    """Look what of a cycling campaign can be made now, and return why no driver is to be started; empty: one is.

    A driver at work is told of new days. Which days wait for their input, and
    which are late, is noted in the journal where it is not what it says.

    Parameters
    ----------
    place : the campaign
    view : what its state folder says
    by : who asks, for the journal
    dry_run : write nothing

    Raises
    ------
    PipshpcError
        For a faulty campaign.
    """
    changed = is_changed(place) or plan_is_old(view)
    if not dry_run:
        stage(place)
    prepared = prepare(place.file or place.copy)
    new = len({task.id for task in prepared.tasks} - {line["task"] for line in view.planned})
    if view.alive:
        if (new or changed) and not dry_run:
            place.journal.write("replan", by=by)
        return f"a driver is at work{f'; {new} new tasks can be made' if new else ''}"
    given_up = {task.id for task in view.heard if task.state == FAILED}
    if new or changed or any(task.id not in given_up for task in prepared.pending):
        return ""
    facts, course = waiting_facts(prepared), view.course
    if (facts["days"], facts["late"]) != (course.waiting_input, course.late_input) and not dry_run:
        place.journal.write("waiting for input", **facts)
    if facts["days"]:
        return f"nothing new has come; waiting for the input of {facts['days'][0]}{_more(facts)}"
    return "nothing is left to do"


def _more(facts: dict[str, list[str]]) -> str:
    others, late = len(facts["days"]) - 1, len(facts["late"])
    more = f" and {others} more days" if others else ""
    return f"{more}, {late} of them late" if late else more
