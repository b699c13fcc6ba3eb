"""What the driver costs a task on top of plain Parsl: tasks that do nothing, side by side."""

from __future__ import annotations

import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.measure import Section, Settings
from pipshpc.campaign import Campaign, Resources
from pipshpc.drive.course import COMPLETED, fold
from pipshpc.drive.diary import Diary
from pipshpc.drive.driver import Desk, Driver, Status
from pipshpc.drive.engine import Engine, Shape
from pipshpc.drive.journal import Journal
from pipshpc.drive.prepare import Prepared, write_plan
from pipshpc.forcing import Forcing
from pipshpc.plan import Plan
from pipshpc.site import load_site
from pipshpc.survey import survey

TASKS = 2000


def nothing(*_: Any, **__: Any) -> dict[str, Any]:
    """Do what a task does at least."""
    return {"exit_code": 0, "started": True, "left_s": 0.0}


def measure(settings: Settings) -> Section:
    """Run tasks that do nothing through Parsl alone, and through the driver."""
    count = 100 if settings.quick else TASKS
    section = Section("overhead", f"{count} tasks that do nothing: Parsl alone, and through the driver")
    prepared = _campaign(count, settings.folder / "overhead")
    plain, ours = [], []
    for _ in range(settings.times(3)):
        plain.append(1e3 * _run(prepared, _plain) / count)
        ours.append(1e3 * _run(prepared, _driven) / count)
    first = section.add("Parsl alone", plain, "ms", "per task; all submitted at once")
    second = section.add("through the driver", ours, "ms", "per task; with journal, task file and heartbeat files")
    section.judge("overhead per task", second - first, 10.0, at_least=False, unit="ms")
    return section


def _campaign(count: int, folder: Path) -> Prepared:
    """Plan a campaign of many days."""
    campaign = Campaign(
        campaign="overhead",
        products=["rlds"],
        grid="0.5deg",
        period="3h",
        start="2001-01-01T00:00:00Z",
        end=str(2001 + count // 365 + 1) + "-01-01T00:00:00Z",
        forcing=Forcing(kind="idealised", downscale=False),
        resources=Resources(ranks=1, tasks_per_launch=1),
        output=str(folder),
    )
    made = Plan(msgspec.structs.replace(campaign, output=str(folder)), survey(campaign, folder))
    ready = list(islice(made, count))
    tasks = [task for _, task in ready]
    planned = [made.describe(chain, task) for chain, task in ready]
    return Prepared(folder, campaign, load_site("local"), tasks, list(tasks), folder / "state", planned=planned)


def _run(prepared: Prepared, way: Any) -> float:
    """Return the seconds that one way takes, after the workers are up."""
    shutil.rmtree(prepared.folder, ignore_errors=True)
    for name in ("tasks", "launches", "parsl"):
        (prepared.folder / name).mkdir(parents=True)
    engine = Engine(prepared.site, prepared.folder, "overhead", Shape(1, 1), runner=nothing)
    engine.start()
    try:
        engine.tend(1)
        engine.submit([], Path("/dev/null"), 1, 0.0, 0).result()
        begin = time.perf_counter()
        way(prepared, engine)
        return time.perf_counter() - begin
    finally:
        engine.stop()


def _plain(prepared: Prepared, engine: Engine) -> None:
    futures = [engine.submit([], Path("/dev/null"), 1, 0.0, 0) for _ in prepared.tasks]
    for future in futures:
        future.result()


def _driven(prepared: Prepared, engine: Engine) -> None:
    journal = Journal(prepared.folder / "journal.jsonl")
    status = Status(total=len(prepared.tasks))
    desk = Desk(prepared, engine, Diary(journal), status, finished=lambda _: True)
    driver = Driver(desk, lambda _: None)
    write_plan(prepared, journal.write)
    driver.run()
    if fold(journal.read()).count(COMPLETED) != len(prepared.tasks):
        raise RuntimeError(f"{status.done} of {len(prepared.tasks)} tasks came back")
