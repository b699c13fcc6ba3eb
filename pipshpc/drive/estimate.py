"""How long a campaign will still take, with an honest range, and how good such words were. Pure; reads no clock.

The work that is left is reckoned in core-seconds, by the usual rate of each
chain; it is divided by the cores that were really kept busy of late, so that
starting, waiting for nodes and gaps are in it. The range covers the truth in
about four of five cases where the past is a guide to the future; `score` says
afterwards whether it did.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from pipshpc.drive.course import COMPLETED, FAILED, RUNNING, SUBMITTED, UNKNOWN, Course, TaskCourse

Record = Mapping[str, Any]
RANGE_SHARE = 0.8  # of the truths that the range is meant to hold
_SPREADS = 1.28  # standard deviations on each side that hold it
_MAD = 1.4826  # standard deviation of a normal distribution in units of its median deviation
_LEAST_SPREAD = 0.05  # of the rate between tasks, which few tasks do not show
_MACHINE_SPREAD = 0.08  # of the cores that will be had: the weather of the machine
_ENOUGH = 0.1  # share of a running task from which on its pace tells its length
_OUTLIER = 3.0  # times the median; what is longer counts as this long
MARKS = (0.25, 0.5, 0.75)  # of the work, where forecasts are scored


@dataclass(frozen=True)
class Estimate:
    """Seconds until nothing is left to do: the middle, and a range; `tasks` is what it rests on."""

    left_s: float
    low_s: float
    high_s: float
    tasks: int

    def facts(self) -> dict[str, float]:
        """Return it as facts of a "forecast" event."""
        return {key: round(value, 1) for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Score:
    """How good the forecasts of a campaign were.

    Parameters
    ----------
    errors : {share of the work: (foretold - true) / true} at `MARKS`, where there was a forecast
    inside : share of forecasts whose range held the truth; None where none had a range
    forecasts : how many were scored
    """

    errors: dict[float, float]
    inside: float | None
    forecasts: int


def estimate(course: Course, planned: Sequence[Record], now: float, running: Mapping[str, float]) -> Estimate | None:
    """Say how long the campaign will still take.

    Parameters
    ----------
    course : what the journal says
    planned : lines of the plan: task, chain, pixels, ranks, threads
    now : unix time, s
    running : {task under way: share of it that is done, 0..1}

    Returns
    -------
    Estimate; None as long as nothing was measured to say it by.
    """
    lines = {line["task"]: line for line in planned}
    known = {name: task for name, task in course.tasks.items() if name in lines}
    rates, spread, rested = _rates(known.values(), lines, running, now)
    left = [line for name, line in lines.items() if not _over(known.get(name))]
    if not left:
        return Estimate(0.0, 0.0, 0.0, rested)
    cores = _cores_busy(course, known.values(), lines, now)
    if not rates or cores <= 0:
        return None
    usual = median(rates.values())
    work = longest = waiting = 0.0
    for line in left:
        whole, share = rates.get(int(line.get("chain", 0)), usual) * _pixels(line), running.get(line["task"], 0.0)
        task = known.get(line["task"])
        if task is not None and share > _ENOUGH and task.started:
            whole = max(now - task.started, 0.1) / share * _cores(line)  # a long one is known to be long
        rest = whole * (1.0 - share)
        work += rest
        longest = max(longest, rest / _cores(line))  # no task ends sooner for others being done
        waiting = max(waiting, 0.0 if share else whole / _cores(line))
    # In the end some cores have nothing to do while the last tasks run: half a task on average.
    tail = 0.5 * waiting * max(0.0, 1.0 - max(map(_cores, left)) / cores)
    middle = max(work / cores + tail, longest) + _wait_for_nodes(known.values(), running, now)
    error = math.sqrt(spread**2 * (1 / len(left) + 1 / max(rested, 1)) + _MACHINE_SPREAD**2 * (1 + 4 / max(rested, 1)))
    factor = math.exp(_SPREADS * error)
    return Estimate(middle, middle / factor, middle * factor, rested)


def score(forecasts: Sequence[Record], end: float) -> Score:
    """Compare forecasts with what came to pass.

    Parameters
    ----------
    forecasts : "forecast" events: time, left_s, done, total, and low_s, high_s where there was a range
    end : unix time when nothing was left
    """
    truths = [(event, end - float(event["time"])) for event in forecasts]
    scored = [(event, truth) for event, truth in truths if truth > 1.0]
    errors = {}
    for mark in MARKS:
        near = [(e, t) for e, t in scored if abs(_share(e) - mark) <= 0.15]
        if near:
            event, truth = min(near, key=lambda pair: abs(_share(pair[0]) - mark))
            errors[mark] = (float(event["left_s"]) - truth) / truth
    ranged = [(e, t) for e, t in scored if "low_s" in e and "high_s" in e]
    hits = sum(float(e["low_s"]) <= t <= float(e["high_s"]) for e, t in ranged)
    return Score(errors, hits / len(ranged) if ranged else None, len(scored))


def _share(event: Record) -> float:
    return float(event.get("done", 0)) / max(float(event.get("total", 0)), 1.0)


def _over(task: TaskCourse | None) -> bool:
    return task is not None and task.state in (COMPLETED, FAILED)


def _cores(line: Record) -> int:
    return max(1, int(line.get("ranks", 1)) * int(line.get("threads", 1)))


def _pixels(line: Record) -> float:
    return float(line.get("pixels") or 1.0)


def seconds_of(task: TaskCourse) -> float:
    """Return how long the last attempt of a completed task took, s; 0 where nobody measured it."""
    return 0.0 if task.report.get("found") else float(task.report.get("seconds") or 0.0)


def _rates(
    tasks: Iterable[TaskCourse], lines: Mapping[str, Record], running: Mapping[str, float], now: float
) -> tuple[dict[int, float], float, int]:
    """Return {chain: core-seconds per pixel}, how far tasks differ from it, and of how many tasks it is known."""
    found: dict[int, list[float]] = defaultdict(list)
    guesses: dict[int, list[float]] = defaultdict(list)
    for task in tasks:
        line = lines[task.id]
        chain, share = int(line.get("chain", 0)), running.get(task.id, 0.0)
        scale = _cores(line) / _pixels(line)
        if task.state == COMPLETED and (seconds := seconds_of(task)):
            blocks, kept = float(task.report.get("blocks") or 0), float(task.report.get("blocks_kept") or 0)
            made = 1.0 - kept / blocks if blocks else 1.0
            if made > 0.5:  # else mostly the work of an earlier attempt
                found[chain].append(seconds / made * scale)
        elif task.state in (RUNNING, UNKNOWN) and share > _ENOUGH and task.started:
            guesses[chain].append(max(now - task.started, 0.1) / share * scale)
    rates = {chain: _usual(values) for chain, values in found.items()}
    rates |= {chain: _usual(values) for chain, values in guesses.items() if chain not in rates}
    middles = {chain: median(values) for chain, values in found.items()}
    deviations = [abs(v / middles[chain] - 1.0) for chain, values in found.items() for v in values]
    spread = max(_MAD * median(deviations), _LEAST_SPREAD) if len(deviations) > 2 else 0.5
    return rates, spread, sum(map(len, found.values()))


def _usual(values: Sequence[float]) -> float:
    """Return the mean of all but the outliers: sums follow the mean, and one hanging task must not spoil it."""
    most = _OUTLIER * median(values)
    return sum(min(value, most) for value in values) / len(values)


def _cores_busy(course: Course, tasks: Iterable[TaskCourse], lines: Mapping[str, Record], now: float) -> float:
    """Return how many cores this driver kept busy on average of late; the driver before where this one is young."""
    spans = []
    for task in tasks:
        if task.state == COMPLETED and (seconds := seconds_of(task)):
            spans.append((task.ended - seconds, task.ended, _cores(lines[task.id])))
        elif task.state in (RUNNING, UNKNOWN) and task.started:
            spans.append((task.started, now, _cores(lines[task.id])))
    mine = [span for span in spans if span[1] >= course.driver.started]
    # While nothing runs, time passes without saying anything about the machine.
    idle = bool(course.driver.ended) or not any(end == now for _, end, _ in mine)
    mine = mine or spans
    if not mine:
        return 0.0
    last = max(end for _, end, _ in mine) if idle else now
    usual = median([end - start for start, end, _ in mine])
    first = max(min(start for start, _, _ in mine), last - max(10.0 * usual, 120.0))
    busy = sum(max(0.0, min(end, last) - max(start, first)) * cores for start, end, cores in mine)
    return busy / max(last - first, 0.1)


def _wait_for_nodes(tasks: Iterable[TaskCourse], running: Mapping[str, float], now: float) -> float:
    """Return how long it may take until a first task starts, where none runs: the usual wait less what has passed."""
    waits: dict[int, tuple[float, float]] = {}
    waiting = []
    for task in tasks:
        if task.state == RUNNING or task.id in running:
            return 0.0
        if task.state == SUBMITTED:
            waiting.append(task.submitted)
        if task.started and task.submitted:
            first = waits.get(task.launch, (task.started, 0.0))[0]
            waits[task.launch] = min(first, task.started), task.submitted
    if not waits:
        return 0.0
    usual = median([max(0.0, start - submitted) for start, submitted in waits.values()])
    return max(0.0, usual - (now - min(waiting) if waiting else 0.0))
