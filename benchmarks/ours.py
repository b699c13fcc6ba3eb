"""The job as pipshpc does it: plan, start ranks, read the report."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pipshpc.campaign import Campaign
from pipshpc.forcing import Forcing
from pipshpc.notes import Report
from pipshpc.plan import plan
from pipshpc.site import launch_command, load_site
from pipshpc.survey import survey
from pipshpc.task import Task, write_task

ALGORITHM = "prata1996-konzelmann1994"


@dataclass(frozen=True)
class Run:
    """One run of a job: seconds of the whole process, seconds without start-up, and its output."""

    wall: float
    seconds: float
    output: Path
    report: Report | None = None


def make_task(forcing: Path, steps: int, grid: str, output: Path) -> Task:
    """Plan one task of `steps` hourly fields of `rlds`."""
    campaign = Campaign(
        campaign="benchmark",
        products=["rlds"],
        algorithms={"rlds": ALGORITHM},
        grid=grid,
        period="1h",
        start="2019-02-02T00:00:00Z",
        end=f"2019-02-02T{steps:02d}:00:00Z" if steps < 24 else "2019-02-03T00:00:00Z",
        forcing=Forcing(kind="files", paths=[str(forcing)], downscale=False),
        output=str(output),
    )
    (task,) = plan(campaign, survey(campaign, forcing.parent), str(forcing.parent))
    return task


def run_task(task: Task, ranks: int, folder: Path) -> Run:
    """Run a task on ranks of this machine as a campaign would; its output is made anew."""
    path = folder / f"{task.id}.{ranks}.json"
    write_task(task, path)
    report = path.with_suffix(".report")
    report.unlink(missing_ok=True)
    output = task.path(task.products[0])
    for product in task.products:
        task.path(product).unlink(missing_ok=True)
    argv = [sys.executable, "-m", "pipshpc.run", str(path), "--notes"]
    begin = time.perf_counter()
    subprocess.run(
        launch_command(load_site("local"), ranks, 1, argv),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ,
    )
    wall = time.perf_counter() - begin
    facts = msgspec.json.decode(report.read_bytes(), type=Report)
    return Run(wall, facts.seconds, output, facts)
