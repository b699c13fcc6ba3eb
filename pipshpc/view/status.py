"""The status of a campaign as plain data and as lines."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipshpc.drive.course import PENDING, RUNNING, SUBMITTED, Course
from pipshpc.drive.estimate import Estimate, estimate
from pipshpc.view.causes import Cause, group_failures
from pipshpc.view.overview import Overview, ago, span, tell_driver

LIVE_BLOCKS = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "UNKNOWN")


def describe_status(view: Overview) -> dict[str, Any]:
    """Return the status of a campaign as plain data."""
    course, tasks = view.course, view.heard
    guess = estimate(course, view.planned, view.now, view.running)
    return {
        "campaign": view.name,
        "folder": str(view.folder),
        "tasks": len(view.planned),
        "counts": view.counts,
        "driver": {
            "alive": view.alive,
            "pid": course.driver.pid,
            "host": course.driver.host,
            "number": course.drivers,
            "said": tell_driver(view),
        },
        "paused": course.paused,
        "cancelled": course.cancelled,
        "finished": course.finished or None,
        "blocks": {job: block for job, block in course.blocks.items() if _may_live(view, block)},
        "blocks_over": dict(
            Counter(b.get("state", "") for b in course.blocks.values() if b.get("state") not in LIVE_BLOCKS)
        ),
        "excluded_nodes": {node: until for node, until in course.excluded.items() if until > view.now},
        "waiting_for_input": course.waiting_input,
        "late_input": course.late_input,
        "waiting": dict(Counter(t.reason for t in tasks if t.state == PENDING and t.next and t.reason)),
        "failures": [msgspec.to_builtins(c) for c in group_failures(tasks)],
        "estimate": msgspec.to_builtins(guess) if guess else None,
    }


def _may_live(view: Overview, block: dict[str, Any]) -> bool:
    """Say whether a pilot job may be there still: a driver that takes over ends those of the one before."""
    own = float(block.get("time", view.now)) >= view.course.driver.started
    return block.get("state") in LIVE_BLOCKS and own and not view.course.finished


def tell_status(view: Overview) -> list[str]:
    """Return the status of a campaign in words, one line each."""
    found, course = describe_status(view), view.course
    counts = ", ".join(f"{number} {state}" for state, number in found["counts"].items() if number) or "none"
    lines = [f"{view.name}: {len(view.planned)} tasks: {counts}", f"driver: {tell_driver(view)}"]
    if course.cancelled:
        lines.append("cancelled; 'pipshpc campaign resume' takes that back")
    elif course.paused:
        lines.append("paused: nothing new is started; 'pipshpc campaign resume' goes on")
    lines += [
        f"block {job}: {block['state']}{_of(' on ', block.get('nodes'))}{_of(', ', block.get('reason'))}"
        + ("" if view.alive else ", as it was last heard of")
        for job, block in found["blocks"].items()
    ]
    if found["blocks_over"]:
        over = ", ".join(f"{number} {state}" for state, number in found["blocks_over"].items())
        lines.append(f"blocks that are over: {over}")
    lines += [
        f"node {node}: left alone for {span(until - view.now)} more" for node, until in found["excluded_nodes"].items()
    ]
    if course.waiting_input:
        lines += tell_waiting(course)
    lines += [f"{_tasks(number)}: {reason}" for reason, number in found["waiting"].items()]
    lines += [line for cause in found["failures"] for line in tell_cause(Cause(**cause))]
    if course.finished and not view.left:
        ended = ago(view.now - course.finished)
        lines.append(f"all whose input has come was made, {ended}" if course.waiting_input else f"finished {ended}")
    else:
        lines.append(tell_estimate(Estimate(**found["estimate"]) if found["estimate"] else None, view))
    return lines


def tell_waiting(course: Course) -> list[str]:
    """Return in words which days of a cycling campaign wait for their input, which are late, and why the first is."""
    days, late = course.waiting_input, course.late_input
    number = "1 day" if len(days) == 1 else f"{len(days)} days"
    more = f" and {len(late) - 2} more" if len(late) > 2 else ""
    tardy = f"; late: {', '.join(late[:2])}{more}" if late else ""
    return [f"waiting for input: {number}, first {days[0]}{tardy}", f"  {course.why_waiting or 'it did not say why'}"]


def tell_estimate(guess: Estimate | None, view: Overview) -> str:
    """Return the estimate in words."""
    counts = view.counts
    if not view.planned:
        return "time left: not known, there is no plan yet"
    if guess is None:
        return "time left: not known before the first tasks are done"
    if not view.left:
        return "time left: none, nothing is left to do"
    idle = "" if view.alive else ", once a driver is at work again"
    idle = idle or ("" if counts[RUNNING] or counts[SUBMITTED] else ", once nodes are had")
    return (
        f"time left: about {span(guess.left_s)} ({span(guess.low_s)} to {span(guess.high_s)} in four of five cases), "
        f"from {guess.tasks} {'task' if guess.tasks == 1 else 'tasks'}{idle}"
    )


def tell_cause(cause: Cause) -> list[str]:
    """Return one cause of failures: how many tasks, since when, where, why, what to do."""
    number = len(cause.tasks)
    tasks = "1 task" if number == 1 else f"{number} tasks"
    where = f" on {cause.node}" if cause.node else ""
    when = f" at {clock(cause.first)}" if cause.first else ""
    log = f" (launches/{cause.launch:06d}.log)" if cause.launch else ""
    return [
        f"failed: {tasks}, 1 cause ({cause.cause}), first{where}{when}{log}: {cause.reason}",
        f"  do this: {cause.advice}",
    ]


def clock(time: float) -> str:
    """Return a unix time as day and minute, UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _of(lead: str, text: Any) -> str:
    return f"{lead}{text}" if text else ""


def _tasks(number: int) -> str:
    return "1 task waits" if number == 1 else f"{number} tasks wait"
