"""Failures grouped by their cause, with what a person can do about each. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipshpc.drive.course import FAILED, TaskCourse

# What differs between tasks that fail for one and the same reason.
_VARYING = (
    (re.compile(r"\b[0-9a-f]{16}\b"), "TASK"),
    (re.compile(r"\b\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?"), "TIME"),
    (re.compile(r"[\w./+-]*/[\w.+-]+"), "FILE"),
    (re.compile(r"\b[\w+-]+(\.[\w+-]+)*\.(nc4?|grb2?|grib2?|h5|hdf5?|part)\b"), "FILE"),
    (re.compile(r"\b(on|node|host) [A-Za-z][\w-]*\d+\b"), r"\1 NODE"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
)

# (pattern over "cause: reason", what to do); the first that fits counts.
_ADVICE = (
    (r"^INPUT.*(truncated|ends after|checksum|damaged|cannot be (opened|decoded))",
     "get the named files again, check them with 'pipshpc campaign validate', then 'pipshpc campaign retry'"),
    (r"^INPUT.*(does not exist|no such file|not there)",
     "bring the named files to where 'forcing.paths' looks, then 'pipshpc campaign retry'"),
    (r"^INPUT.*(changed|not what was planned)",
     "the input is not what was planned with; 'pipshpc submit' plans anew with what is there now"),
    (r"^INPUT", "correct the input or the campaign file as the sentence says, then 'pipshpc submit' and 'retry'"),
    (r"^OUT_OF_MEMORY",
     "give each rank more ('resources.memory_mib'), or fewer ranks per node ('nodes'), then 'pipshpc campaign retry'"),
    (r"^I/O.*(quota)", "raise the quota or remove what is not needed, then 'pipshpc campaign retry'"),
    (r"^I/O", "free space where 'output' lies (df shows how much), then 'pipshpc campaign retry'"),
    (r"^CONTROLLER", "ask the site whether slurmctld is up ('scontrol ping'), then 'pipshpc campaign retry'"),
    (r"^(TIME|DUE TO TIME)",
     "blocks are kept, yet it never came to an end: ask for a longer 'time' in the site file or more ranks"),
    (r"^(NODE_FAIL|NODE_FAILURE|BOOT_FAIL|LOST)",
     "see 'sinfo -R' and tell the site which nodes; 'pipshpc campaign retry' when they are back"),
    (r"^PREEMPT", "choose a partition or QOS that is not preempted, then 'pipshpc campaign retry'"),
    (r"^STOPPED", "nothing is lost; 'pipshpc campaign retry' goes on"),
)  # fmt: skip
OTHER = "read the end of the log that is named, mend the reason, then 'pipshpc campaign retry'"


@dataclass(frozen=True)
class Cause:
    """Tasks that failed for one reason.

    `reason` is that of the first one; `first` its unix time and `node` where it ran.
    """

    cause: str
    reason: str
    tasks: list[str]
    first: float
    node: str
    launch: int
    advice: str


def fingerprint(cause: str, reason: str) -> str:
    """Return what is the same in all failures of one reason: names, times and numbers are left out."""
    text = " ".join(reason.split())
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return f"{cause}: {text}"


def advise(cause: str, reason: str) -> str:
    """Return what a person can do about a failure, in one sentence."""
    text = f"{cause}: {' '.join(reason.split())}"
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, text, re.IGNORECASE)), OTHER)


def group_failures(tasks: Iterable[TaskCourse]) -> list[Cause]:
    """Return the causes of all tasks that failed for good, the one with most tasks first."""
    groups: dict[str, list[TaskCourse]] = {}
    for task in tasks:
        if task.state == FAILED:
            groups.setdefault(fingerprint(task.cause, task.reason), []).append(task)
    found = []
    for members in groups.values():
        first = min(members, key=lambda t: t.ended)
        found.append(
            Cause(
                first.cause,
                first.reason,
                [t.id for t in members],
                first.ended,
                first.nodes,
                first.launch,
                advise(first.cause, first.reason),
            )
        )
    return sorted(found, key=lambda c: (-len(c.tasks), c.first))


def count_attempts(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return {cause: attempts that ended by it without a finished file}, the most frequent first."""
    found = Counter(str(e.get("cause", "")) for e in events if e.get("event") == "attempt ended")
    return dict(found.most_common())


def select_failed(tasks: Iterable[TaskCourse], ids: Sequence[str] = (), text: str = "") -> list[str]:
    """Return the ids of failed tasks: those named (the start of an id will do), or whose cause or reason holds `text`.

    With neither, all.
    """
    failed = [t for t in tasks if t.state == FAILED]
    if ids:
        failed = [t for t in failed if t.id.startswith(tuple(ids))]
    if text:
        failed = [t for t in failed if text.casefold() in f"{t.cause}: {t.reason}".casefold()]
    return [t.id for t in failed]
