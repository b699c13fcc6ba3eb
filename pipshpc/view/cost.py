"""What a campaign takes, said before it runs: launches, node-hours, bytes, memory; by earlier runs where there are any.

`reckon` is pure: plan lines, site and history in, figures out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from pipshpc.site import Site
from pipshpc.view.overview import read_lines

Record = Mapping[str, Any]

# Used where no earlier run tells better: measured on 2 cores (AMD EPYC) with global 5 km radiation.
PIXELS_PER_CORE_SECOND = 40e6
STARTUP_S = 3.0  # interpreter, MPI and imports of one launch
BYTES_PER_PIXEL = 0.92  # packed in two bytes, compressed
MOST_BYTES_PER_PIXEL = 3.0  # two bytes of value and one of count, incompressible
PEAK_MIB = 320.0  # of a rank
STARTUP_SHARE = 0.1  # of a launch, at most; several tasks follow each other to keep it


@dataclass
class History:
    """What earlier tasks of a site took.

    `rates` are core-seconds per pixel by the products made together.
    """

    rates: dict[tuple[str, ...], list[float]] = field(default_factory=dict)
    bytes_per_pixel: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    campaigns: set[str] = field(default_factory=set)

    @property
    def tasks(self) -> int:
        """Of how many tasks the rate is known."""
        return sum(map(len, self.rates.values()))

    def rate(self, products: Sequence[str]) -> float:
        """Return core-seconds per pixel for products made together: of the same ones, of any, or built in."""
        same = self.rates.get(tuple(sorted(products)))
        any_other = [r for rates in self.rates.values() for r in rates]
        return median(same or any_other or [1.0 / PIXELS_PER_CORE_SECOND])


@dataclass(frozen=True)
class Cost:
    """Figures of a campaign; bytes and hours are those of the tasks that are still to be made."""

    tasks: int
    pending: int
    launches: int
    blocks: int  # of the grid, over all pending tasks
    fields: int
    pilot_blocks: int  # jobs of the scheduler in which tasks are packed; 0: none are needed
    pilot_nodes: int  # of each
    core_hours: float
    node_hours: float
    wall_s: float  # without waiting for nodes
    bytes_most: int
    bytes_expected: int
    bytes_parts: int  # most that lies in unfinished files at one time, beside the products
    peak_mib: float  # of a rank
    basis: str


def read_history(folders: Iterable[Path], site: str) -> History:
    """Read the journals of earlier campaigns on a site.

    Parameters
    ----------
    folders : state folders
    site : its name; a journal whose drivers name another one is left out
    """
    history = History()
    for folder in folders:
        events = read_lines(folder / "journal.jsonl")
        sites = {e.get("site") for e in events if e.get("event") == "driver started"} - {None, ""}
        if sites and site not in sites:
            continue
        lines = {line.get("task"): line for line in read_lines(folder / "plan.jsonl")}
        for event in events:
            if event.get("event") == "completed" and event.get("task") in lines and not event.get("found"):
                _learn(history, lines[event["task"]], event, folder.name)
    return history


def _learn(history: History, line: Record, event: Record, campaign: str) -> None:
    """Add what one completed task took; what an earlier attempt had made half of tells nothing."""
    pixels, seconds = float(line.get("pixels") or 0), float(event.get("seconds") or 0)
    if not pixels or not seconds or 2 * float(event.get("blocks_kept") or 0) > float(event.get("blocks") or 0):
        return
    products = tuple(sorted(line.get("products", [])))
    history.rates.setdefault(products, []).append(seconds * cores_of(line) / pixels)
    history.campaigns.add(campaign)
    for value, found in (
        (float(event.get("written_bytes") or 0) / pixels, history.bytes_per_pixel),
        (float(event.get("peak_mib") or 0), history.peak_mib),
        (float(event.get("startup_s") or 0), history.startup_s),
    ):
        if value > 0:
            found.append(value)


def cores_of(line: Record) -> int:
    """Return the cores that a task of the plan keeps busy."""
    return max(1, int(line.get("ranks") or 1) * int(line.get("threads") or 1))


def reckon(
    planned: Sequence[Record], pending: set[str], site: Site, history: History, per_launch: Mapping[int, int]
) -> Cost:
    """Reckon what the pending tasks of a plan will take on a site.

    Parameters
    ----------
    planned : lines of the plan
    pending : ids of the tasks that are to be made
    site : in the partition of the campaign
    history : of earlier runs
    per_launch : {chain: tasks in one launch, 0: as many as keep starting below a tenth}
    """
    todo = [line for line in planned if line["task"] in pending]
    startup = median(history.startup_s) if history.startup_s else STARTUP_S
    launches, core_s, longest = 0, 0.0, 0.0
    for chain in sorted({int(line.get("chain", 0)) for line in todo}):
        mine = [line for line in todo if int(line.get("chain", 0)) == chain]
        seconds = [history.rate(line["products"]) * line["pixels"] / cores_of(line) for line in mine]
        at_once = max(1, site.scheduler.max_nodes * site.core_count // cores_of(mine[0]))
        several = per_launch.get(chain, 0) or _tasks_per_launch(startup, median(seconds), len(mine), at_once)
        number = math.ceil(len(mine) / several)
        launches += number
        core_s += sum(s * cores_of(line) for s, line in zip(seconds, mine, strict=True))
        core_s += number * startup * cores_of(mine[0])
        longest = max(longest, startup + sum(sorted(seconds)[-several:]))
    pixels = sum(int(line["pixels"]) for line in todo)
    cores = max(map(cores_of, todo), default=1)
    nodes = max(1, min(site.scheduler.max_nodes, math.ceil(launches * cores / site.core_count)))
    wall_s = max(core_s / (nodes * site.core_count), longest) if todo else 0.0
    blocks, block_nodes, nodes = _pilots(site, nodes, wall_s) if todo else (0, 0, 0)
    at_once = max(1, nodes * site.core_count // cores)
    largest = max((int(line["pixels"]) for line in todo), default=0)
    return Cost(
        tasks=len(planned),
        pending=len(todo),
        launches=launches,
        blocks=sum(int(line["blocks"]) for line in todo),
        fields=sum(int(line["fields"]) for line in todo),
        pilot_blocks=blocks,
        pilot_nodes=block_nodes,
        core_hours=core_s / 3600,
        node_hours=nodes * wall_s / 3600,
        wall_s=wall_s,
        bytes_most=round(pixels * MOST_BYTES_PER_PIXEL),
        bytes_expected=round(pixels * median(history.bytes_per_pixel or [BYTES_PER_PIXEL])),
        bytes_parts=round(min(at_once, len(todo)) * largest * MOST_BYTES_PER_PIXEL),
        peak_mib=max(history.peak_mib, default=PEAK_MIB),
        basis=_basis(history),
    )


def _tasks_per_launch(startup: float, seconds: float, tasks: int, at_once: int) -> int:
    """Return how many tasks one launch makes: starting takes less than `STARTUP_SHARE`, and no core runs dry early."""
    wanted = math.ceil(startup * (1 - STARTUP_SHARE) / (STARTUP_SHARE * max(seconds, 0.01)))
    return max(1, min(wanted, math.ceil(tasks / (2 * at_once))))


def _pilots(site: Site, nodes: int, wall_s: float) -> tuple[int, int, int]:
    """Return pilot jobs, nodes of each, and nodes at one time; one job follows another where its time is too short."""
    if site.scheduler.kind != "slurm":
        return 0, 0, 1
    each = site.scheduler.block_nodes
    at_once = max(1, math.ceil(nodes / each))
    limit = site.scheduler.time_s
    return at_once * (math.ceil(wall_s / limit) if limit else 1), each, at_once * each


def _basis(history: History) -> str:
    if not history.tasks:
        return (
            f"built-in rates ({PIXELS_PER_CORE_SECOND / 1e6:.0f} million pixels per core and second), as no run of "
            "this site is known here; they may be wrong by a factor of three"
        )
    return f"the medians of {history.tasks} tasks made here before ({', '.join(sorted(history.campaigns))})"


def tell_cost(cost: Cost) -> list[str]:
    """Return the figures in words, one line each."""
    from pipshpc.view.overview import span

    if not cost.pending:
        return ["nothing is left to do"]
    pilots = f"{cost.pilot_blocks} pilot jobs of {cost.pilot_nodes} nodes" if cost.pilot_blocks else "no pilot jobs"
    return [
        f"{cost.launches} launches of ranks, {pilots}; {cost.blocks:,} blocks, {cost.fields:,} fields",
        f"about {cost.node_hours:.2f} node-hours ({cost.core_hours:.2f} core-hours), {span(cost.wall_s)} of wall time "
        "without waiting for nodes",
        f"about {size(cost.bytes_expected)} will be written, at most {size(cost.bytes_most)}; unfinished files hold at "
        f"most {size(cost.bytes_parts)} at a time, in the same folder; no other scratch space is needed",
        f"about {cost.peak_mib:.0f} MiB per rank",
        f"these figures rest on {cost.basis}",
    ]


def size(number: float) -> str:
    """Return bytes with a unit."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(number) < 1024 or unit == "TiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError
