"""The chain of fluxes at a kilometre: pixels and time steps a second on land and on the sea, one rank and two."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks import ours
from benchmarks.measure import Section, Settings, interleave
from pipshpc.campaign import load_campaign
from pipshpc.plan import plan
from pipshpc.survey import survey
from pipshpc.task import Task

CAMPAIGN = Path(__file__).parents[1] / "jobs" / "campaigns" / "flux_1km.yaml"
BOXES = {"land": [18.0, 2.0, 30.0, 14.0], "sea": [-150.0, -30.0, -138.0, -18.0]}  # 8 blocks each, and but one surface
SMALL = {"land": [18.0, 8.0, 24.0, 14.0], "sea": [-150.0, -30.0, -144.0, -24.0]}
WANTED = 20.0  # million land pixels a second on two cores


def measure(settings: Settings) -> Section:
    """Make a day of fluxes of a piece of land and a piece of sea; count the time of computing alone."""
    section = Section("chain", "Fluxes at 30 arc-seconds, eight time steps of three hours")
    tasks = {name: _task(box, settings.folder) for name, box in (SMALL if settings.quick else BOXES).items()}
    runs = interleave(
        {
            f"{name}, {ranks} rank{'s' * (ranks > 1)}": (
                lambda task=task, ranks=ranks: ours.run_task(task, ranks, settings.folder)
            )
            for name, task in tasks.items()
            for ranks in (1, 2)
        },
        settings.times(3),
        settle=True,
    )
    rates = {}
    for name, several in runs.items():
        task = tasks[name.partition(",")[0]]
        steps = task.count[0] * task.count[1] * sum(map(len, task.samples)) / 1e6
        # Ranks compute at the same time: the longest counts.
        seconds = [max(stages["compute"] for stages in run.report.stages) for run in several]
        rates[name] = section.add(name, [steps / s for s in seconds], "million pixel steps a second")
        section.add(f"{name}: peak memory of a rank", [max(run.report.peak_mib) for run in several], "MiB")
    section.judge("land pixels in a time step, 2 ranks", rates["land, 2 ranks"], WANTED, unit="million a second")
    section.facts["stages"] = {name: several[-1].report.stages for name, several in runs.items()}
    for task in tasks.values():
        for product in task.products:
            task.path(product).unlink(missing_ok=True)
    return section


def _task(box: list[float], folder: Path) -> Task:
    campaign = msgspec.structs.replace(load_campaign(CAMPAIGN), box=box, output=str(folder / "flux"))
    (task,) = plan(campaign, survey(campaign, folder))
    return task
