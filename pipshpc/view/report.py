"""What a campaign took, by the ranks' own counters in the journal and by sacct, as plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from pipshpc.drive.course import COMPLETED
from pipshpc.drive.estimate import RANGE_SHARE, Score, score
from pipshpc.slurm import Cluster
from pipshpc.view.accounts import Account, read_accounts
from pipshpc.view.causes import count_attempts, group_failures
from pipshpc.view.overview import Overview

Record = Mapping[str, Any]
UNDER_WAY = ("RUNNING", "COMPLETING", "PENDING", "CONFIGURING", "UNKNOWN")


def _cluster(view: Overview) -> Cluster:
    """Return the cluster that the last driver worked on."""
    named = [str(e.get("cluster", "")) for e in view.events if e.get("event") == "driver started" and "cluster" in e]
    return Cluster(name=named[-1] if named else "")


def make_report(view: Overview, accounting: bool = True) -> dict[str, Any]:
    """Return the report of a campaign as plain data; None stands for what nobody counted.

    Parameters
    ----------
    view : the campaign
    accounting : whether to ask sacct
    """
    lines = {line["task"]: line for line in view.planned}
    made = [
        (lines[t.id], t.report) for t in view.tasks if t.state == COMPLETED and float(t.report.get("seconds") or 0) > 0
    ]
    jobs = {str(e["job"]) for e in view.events if e.get("event") in ("block", "started") and e.get("job")}
    accounts, unknown = read_accounts(jobs, _cluster(view)) if accounting else ([], "sacct was not asked")
    attempts = [e for e in view.events if e.get("event") == "attempt ended"]
    return {
        "campaign": view.name,
        "tasks": len(view.planned),
        "counts": view.counts,
        "made_here": len(made),
        "drivers": view.course.drivers,
        "wall_s": wall_seconds(view.events, view.now),
        "chains": [chain_figures(group) for group in _by_chain(made)],
        "hours": hours(view, made, accounts),
        "accounting": {
            "unknown": unknown,
            "jobs": [msgspec.to_builtins(a) for a in accounts if not a.is_step],
            "steps": step_figures(accounts),
        },
        "attempts": count_attempts(view.events),
        "attempts_charged": sum(bool(e.get("charged")) for e in attempts),
        "blocks_lost": sum(int(e.get("blocks_lost") or 0) for e in view.events if e.get("event") == "completed"),
        "missing_states": sorted({s for _, report in made for s in report.get("missing_states") or []}),
        "failures": [msgspec.to_builtins(c) for c in group_failures(view.heard)],
        "forecasts": forecast_figures(view),
    }


def _by_chain(made: Iterable[tuple[Record, Record]]) -> list[list[tuple[Record, Record]]]:
    groups: dict[int, list[tuple[Record, Record]]] = defaultdict(list)
    for line, report in made:
        groups[int(line.get("chain", 0))].append((line, report))
    return [groups[chain] for chain in sorted(groups)]


def wall_seconds(events: Sequence[Record], now: float) -> float:
    """Return for how long drivers were at work; one that was killed counts until its last word."""
    total, begin, last = 0.0, 0.0, 0.0
    for event in events:
        kind, time = event.get("event"), float(event.get("time", 0.0))
        if kind == "driver started":
            total += max(0.0, last - begin) if begin else 0.0
            begin = last = time
        elif kind == "driver ended":
            total, begin = total + (time - begin if begin else 0.0), 0.0
        elif begin and "by" not in event:
            last = time
    return round(total + (max(0.0, min(last, now) - begin) if begin else 0.0), 3)


def chain_figures(made: Sequence[tuple[Record, Record]]) -> dict[str, Any]:
    """Return the figures of the completed tasks of one chain: time, memory, bytes, efficiency, stages."""
    reports = [report for _, report in made]
    seconds = [float(r["seconds"]) for r in reports]
    rank_s = sum(s * _ranks(line, r) for s, (line, r) in zip(seconds, made, strict=True))
    counted = [(line, r) for line, r in made if r.get("cpu_s")]
    cpu_s = sum(float(r["cpu_s"]) for _, r in counted)
    counted_s = sum(float(r["seconds"]) * _cores(line, r) for line, r in counted)
    stages: dict[str, float] = defaultdict(float)
    for report in reports:
        for name, value in (report.get("stages") or {}).items():
            stages[name] += float(value)
    fields = sum(int(line.get("fields") or 0) for line, _ in made)
    return {
        "products": sorted({p for line, _ in made for p in line.get("products", [])}),
        "tasks": len(made),
        "fields": fields,
        "seconds": round(sum(seconds), 3),
        "seconds_median": round(median(seconds), 3),
        "seconds_most": round(max(seconds), 3),
        "rank_seconds": round(rank_s, 3),
        "cpu_s": round(cpu_s, 3) if counted else None,
        "efficiency": round(cpu_s / counted_s, 4) if counted_s else None,
        "peak_mib": _over(reports, "peak_mib", max),
        "read_bytes": _over(reports, "read_bytes", sum),
        "written_bytes": _over(reports, "written_bytes", sum),
        "wait_s_median": _over(reports, "wait_s", median),
        "startup_s_median": _over(reports, "startup_s", median),
        "stages": {
            name: {"rank_seconds": round(value, 3), "share": round(value / rank_s, 4)}
            for name, value in sorted(stages.items(), key=lambda pair: -pair[1])
        },
    }


def _ranks(line: Record, report: Record) -> int:
    return max(1, int(report.get("ranks") or line.get("ranks") or 1))


def _cores(line: Record, report: Record) -> int:
    return _ranks(line, report) * max(1, int(report.get("threads") or line.get("threads") or 1))


def _over(reports: Iterable[Record], key: str, combine: Any) -> float | None:
    """Combine the values of those that have one; None where none has."""
    found = [float(r[key]) for r in reports if r.get(key) is not None]
    return round(combine(found), 3) if found else None


def hours(view: Overview, made: Sequence[tuple[Record, Record]], accounts: Sequence[Account]) -> dict[str, Any]:
    """Return core-hours held and computed, and the share of the held ones that stood idle.

    Held are those of the pilot jobs as sacct has them; else by their nodes' time in the journal; None on a machine
    without jobs.
    """
    computed = sum(float(r["seconds"]) * _cores(line, r) for line, r in made) / 3600
    blocks = set(view.course.blocks)
    known = [a for a in accounts if not a.is_step and a.job in blocks and a.cores and a.elapsed_s is not None]
    core_hours = sum((a.cores or 0) * (a.elapsed_s or 0) for a in known) / 3600 if known else None
    node_hours = sum((a.nodes or 1) * (a.elapsed_s or 0) for a in known) / 3600 if known else block_hours(view)
    return {
        "core_hours_computed": round(computed, 5),
        "core_hours_held": round(core_hours, 5) if core_hours is not None else None,
        "node_hours_held": round(node_hours, 5) if node_hours is not None else None,
        "idle_share": round(max(0.0, 1.0 - computed / core_hours), 4) if core_hours else None,
        "told_by": "sacct" if known else "journal" if node_hours is not None else "nobody",
    }


def block_hours(view: Overview) -> float | None:
    """Return node-hours of pilot jobs by the journal: from the word RUNNING to the next that ends it."""
    begun: dict[str, tuple[float, int]] = {}
    total, seen = 0.0, False
    for event in view.events:
        if event.get("event") != "block":
            continue
        job, state, time = str(event["job"]), event.get("state"), float(event["time"])
        if state == "RUNNING":
            begun.setdefault(job, (time, count_nodes(str(event.get("nodes", "")))))
            seen = True
        elif state not in UNDER_WAY and job in begun:
            start, nodes = begun.pop(job)
            total += (time - start) * nodes
    # Of a block that nobody saw end, what is sure is the time until the last word of the journal.
    last = view.now if view.alive else max((float(e.get("time", 0.0)) for e in view.events), default=0.0)
    total += sum((last - start) * nodes for start, nodes in begun.values())
    return total / 3600 if seen else None


def count_nodes(text: str) -> int:
    """Return how many nodes a Slurm list such as ``n[1-3,7],m2`` names; at least one."""
    import re

    total = 0
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\])?", text):
        inner = re.search(r"\[([^\]]*)\]", part)
        for piece in inner[1].split(",") if inner else [""]:
            first, _, last = piece.partition("-")
            total += int(last) - int(first) + 1 if last.isdigit() and first.isdigit() else 1
    return max(total, 1)


def step_figures(accounts: Iterable[Account]) -> dict[str, Any]:
    """Return what sacct says of the steps in which ranks ran; Slurm's own steps (batch, extern) are left out."""
    steps = [a for a in accounts if a.is_step and a.id.rpartition(".")[2].isdigit()]
    held = [(a, a.cores * a.elapsed_s) for a in steps if a.cores and a.elapsed_s]
    timed = [(a, core_s) for a, core_s in held if a.cpu_s]
    return {
        "steps": len(steps),
        "core_hours": round(sum(core_s for _, core_s in held) / 3600, 5) if held else None,
        "cpu_hours": round(sum(a.cpu_s or 0.0 for a, _ in timed) / 3600, 5) if timed else None,
        "efficiency": round(sum(a.cpu_s or 0.0 for a, _ in timed) / sum(c for _, c in timed), 4) if timed else None,
        "peak_mib": max((a.peak_mib for a in steps if a.peak_mib), default=None),
    }


def forecast_figures(view: Overview) -> dict[str, Any]:
    """Return how good the forecasts of each finished stretch of work were, the last one last."""
    stretches: list[Score] = []
    told: list[Record] = []
    for event in view.events:
        kind = event.get("event")
        if kind == "driver started":
            told = []
        elif kind == "forecast":
            told.append(event)
        elif kind == "driver ended" and event.get("why") == "done" and told:
            stretches.append(score(told, float(event["time"])))
    last = stretches[-1] if stretches else None
    return {
        "stretches": len(stretches),
        "errors": {f"{mark:.0%}": round(error, 4) for mark, error in last.errors.items()} if last else {},
        "inside": round(last.inside, 4) if last and last.inside is not None else None,
        "scored": last.forecasts if last else 0,
        "meant_inside": RANGE_SHARE,
    }
