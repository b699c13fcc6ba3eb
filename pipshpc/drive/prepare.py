"""A campaign made concrete: its input opened and checked, its tasks planned, what is done found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from pipshpc import catalogue
from pipshpc.campaign import Campaign, Chain, Resources, load_campaign
from pipshpc.drive.software import pinned_stack, stated_stack
from pipshpc.errors import OutputError
from pipshpc.plan import Plan, Planned, Waiting, plan_ready
from pipshpc.site import Site, choose_partition, load_site
from pipshpc.survey import survey
from pipshpc.task import Task

FULL_BYTES = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """A campaign made concrete."""

    path: Path  # of the campaign file
    campaign: Campaign
    site: Site
    tasks: list[Task]
    pending: list[Task]
    folder: Path  # journal, plan, task files, logs
    chain_of: dict[str, int] = field(default_factory=dict)  # task id -> index of its chain; absent: the first
    planned: list[Planned] = field(default_factory=list)  # one for each task
    waiting: list[Waiting] = field(default_factory=list)  # days of a cycling campaign whose input is not there
    stack: str = ""  # module that the jobs load; empty: they run with what the driver runs with

    def chain(self, task: Task) -> Chain:
        """Return the chain that a task belongs to."""
        return self.campaign.chain_list()[self.chain_of.get(task.id, 0)]

    def resources(self, task: Task) -> Resources:
        """Return what a task gets, with the number of ranks filled in."""
        wanted = self.chain(task).resources or self.campaign.resources
        ranks = wanted.ranks or max(1, self.site.core_count // wanted.threads) * max(1, wanted.nodes)
        return msgspec.structs.replace(wanted, ranks=ranks)

    @property
    def ranks(self) -> int:
        """MPI ranks of the first task; of a task of one chain."""
        return self.resources(self.tasks[0]).ranks

    @property
    def output_bytes(self) -> int:
        """Upper estimate of what the pending tasks will write: two bytes a pixel, uncompressed."""
        return sum(2 * len(t.windows) * len(t.products) * t.count[0] * t.count[1] for t in self.pending)


def prepare(path: str | Path) -> Prepared:
    """Read a campaign, check its input, plan its tasks, find what is already done."""
    path = Path(path).resolve()
    campaign = load_campaign(path)
    site = choose_partition(load_site(campaign.site), campaign.partition)
    placed = msgspec.structs.replace(campaign, output=str(output_folder(campaign)))
    offer = survey(placed, path.parent)
    waiting: list[Waiting] = []
    whole: Plan | None = None
    if campaign.cycle is not None:
        ready, waiting = plan_ready(placed, offer, str(path.parent), datetime.now(UTC))
        whole = Plan(placed, offer, str(path.parent)) if ready else None
    else:
        whole = Plan(placed, offer, str(path.parent))
        ready = list(whole)
    tasks = [task for _, task in ready]
    return Prepared(
        path=path,
        campaign=campaign,
        site=site,
        tasks=tasks,
        pending=[t for t in tasks if not is_done(t)],
        folder=state_folder(campaign),
        chain_of={task.id: chain for chain, task in ready if chain},
        planned=[whole.describe(chain, task) for chain, task in ready] if whole else [],
        waiting=waiting,
        stack=pinned_stack(stated_stack(campaign, site), site),
    )


def output_folder(campaign: Campaign) -> Path:
    """Return where the products go."""
    output = Path(campaign.output)
    return output if output.is_absolute() else Path.cwd() / output


def state_folder(campaign: Campaign) -> Path:
    """Return where journal, plan, task files and logs of a campaign are."""
    return output_folder(campaign) / ".pipshpc" / campaign.campaign


def is_done(task: Task) -> bool:
    """Say whether all files of a task are published: the first of the three sources of truth, and the last word."""
    return all(catalogue.is_complete(task.path(p), task.id) for p in task.products)


def is_full(folder: Path) -> bool:
    """Say whether a folder's file system has no room left, not even for a log."""
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def check_space(prepared: Prepared) -> None:
    """Refuse to start where the products cannot fit, or the folder cannot be written to.

    Raises
    ------
    OutputError
    """
    if not prepared.pending:
        return
    folder = Path(prepared.pending[0].output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(
            f"key 'output': {folder}: cannot be used ({error.strerror}); name a folder you can write to"
        ) from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"key 'output': {folder}: cannot be written to; name another folder")
    if prepared.output_bytes > free:
        raise OutputError(
            f"key 'output': {folder}: has {free / 2**30:.1f} GiB free, the campaign may need up to "
            f"{prepared.output_bytes / 2**30:.1f} GiB; free some space, name another folder or shorten the campaign"
        )


def plan_lines(prepared: Prepared) -> list[dict[str, Any]]:
    """Return the plan as plain data, one record a task: what `plan.jsonl` holds."""
    lines = []
    for task, planned in zip(prepared.tasks, prepared.planned, strict=True):
        resources = prepared.resources(task)
        sizes = {"ranks": resources.ranks, "threads": resources.threads, "nodes": resources.nodes}
        lines.append(msgspec.to_builtins(planned) | sizes | {"priority": prepared.chain(task).priority or 0})
    return lines


def write_plan(prepared: Prepared, write: Callable[..., None]) -> list[dict[str, Any]]:
    """Write the plan for everybody to read, whole or not at all, and tell of it by `write`; return its lines.

    Raises
    ------
    OutputError
        The disk does not take it.
    """
    path = prepared.folder / "plan.jsonl"
    part = path.with_suffix(".part")
    lines = plan_lines(prepared)
    try:
        with part.open("wb") as handle:
            for line in lines:
                handle.write(msgspec.json.encode(line) + b"\n")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free some space") from error
    write("planned", tasks=len(prepared.tasks))
    if prepared.waiting:
        write("waiting for input", **waiting_facts(prepared))
    return lines


def waiting_facts(prepared: Prepared) -> dict[str, Any]:
    """Return which days wait for their input, which of them are late, and why the first does."""
    waiting = prepared.waiting
    return {
        "days": sorted({one.day for one in waiting}),
        "late": sorted({one.day for one in waiting if one.late}),
        "why": next((one.why for one in waiting if one.late), waiting[0].why if waiting else ""),
    }
