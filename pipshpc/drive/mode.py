"""How launches get their nodes: packed into pilot jobs, or each as a job of its own. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from pipshpc.drive.course import COMPLETED, FAILED, Course
from pipshpc.drive.prepare import Prepared
from pipshpc.task import Task

Way = Literal["pilot", "job"]
PILOT_START_S = 30.0  # that a pilot costs until the first launch runs in it
LONG_SHARE = 0.25  # of a walltime, from which on a launch is long


@dataclass(frozen=True)
class Mode:
    """The way that the launches of a chain go, and why."""

    way: Way
    reason: str


PLAIN = Mode("pilot", "no scheduler")


def choose_modes(prepared: Prepared, course: Course) -> dict[int, Mode]:
    """Return {index of chain: its mode} for the chains that have tasks.

    Parameters
    ----------
    prepared : the campaign
    course : what its journal says: which tasks are done, and how long they took
    """
    pending = {task.id for task in prepared.pending}
    first: dict[int, Task] = {}
    left: dict[int, int] = {}
    seconds: dict[int, list[float]] = {}
    for task in prepared.tasks:
        chain = prepared.chain_of.get(task.id, 0)
        first.setdefault(chain, task)
        known = course.tasks.get(task.id)
        left.setdefault(chain, 0)
        left[chain] += task.id in pending and (known is None or known.state not in (COMPLETED, FAILED))
        if known is not None and known.report.get("seconds"):
            seconds.setdefault(chain, []).append(float(known.report["seconds"]))
    return {
        chain: choose_mode(prepared, task, left[chain], statistics.median(seconds[chain]) if chain in seconds else None)
        for chain, task in sorted(first.items())
    }


def choose_mode(prepared: Prepared, task: Task, left: int, seconds: float | None) -> Mode:
    """Return the mode of one chain.

    Parameters
    ----------
    task : one of the chain
    left : how many tasks of it are to be made
    seconds : that one takes; None where it is not known
    """
    site, resources = prepared.site, prepared.resources(task)
    own, stated = site.scheduler, resources.mode
    if own.kind != "slurm":
        return PLAIN
    if stated != "auto":
        return Mode(stated, "key 'resources.mode' says so")
    cores, block = resources.ranks * resources.threads, site.core_count * own.block_nodes
    bundle = max(1, resources.tasks_per_launch)
    launches, at_once = math.ceil(left / bundle), max(1, block // cores)
    if cores >= block or resources.nodes > own.block_nodes:
        return Mode("job", f"a launch fills a block of {own.block_nodes} nodes: nothing could be packed beside it")
    if seconds is not None and own.time_s and seconds * bundle > LONG_SHARE * own.time_s:
        return Mode("job", f"a launch takes {seconds * bundle:.0f} s, more than a quarter of the walltime {own.time}")
    if launches < at_once:
        return Mode("job", f"{launches} launches do not fill a block, in which {at_once} run at once")
    busy = None if seconds is None else launches * bundle * seconds / at_once
    if busy is not None and busy < PILOT_START_S:
        return Mode("job", f"{launches} launches keep a block busy for {busy:.0f} s, less than it costs to start")
    return Mode("pilot", f"{launches} launches are packed, {at_once} at a time in each block")
