"""Planning of a million task-steps: seconds, and whether memory stays where it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measure import Section, Settings
from pipshpc.campaign import Campaign
from pipshpc.forcing import Forcing
from pipshpc.plan import Plan
from pipshpc.survey import survey

STEPS = 1_000_000
KINDS = {"3 h windows": "3h", "1 h windows": "1h"}
START = datetime(1700, 1, 1, tzinfo=UTC)


def measure(settings: Settings) -> Section:
    """Plan campaigns over centuries of an idealised forcing on 0.05 degrees, each in a process of its own."""
    steps = STEPS // (20 if settings.quick else 1)
    section = Section("planning", f"{steps:,} task-steps (windows of a product) of a 0.05 degree campaign")
    for name, period in KINDS.items():
        runs = [_run(steps, period, settings.folder) for _ in range(settings.times(1))]
        tenth = _run(steps // 10, period, settings.folder)
        section.facts[name] = {"runs": runs, "tenth": tenth}
        taken = [r["seconds"] for r in runs]
        median = section.add(name, taken, "s", f"{runs[0]['tasks']:,} tasks, {runs[0]['peak_mib']:.0f} MiB at most")
        section.judge(f"planning, {name}", median, 60.0 * steps / STEPS, at_least=False, unit="s")
        # What is kept is one small record a task; the tasks themselves come and go.
        grown = (runs[0]["peak_mib"] - tenth["peak_mib"]) * 1024 / (runs[0]["tasks"] - tenth["tasks"])
        section.judge(f"memory a task, {name}", grown, 4.0, at_least=False, unit="KiB")
    return section


def _run(steps: int, period: str, folder: Path) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.planning", str(steps), period, str(folder)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def plan_steps(steps: int, period: str, folder: Path) -> dict[str, Any]:
    """Plan a campaign of so many windows and keep what a driver keeps."""
    a_day = {"1h": 24, "3h": 8}[period]
    campaign = Campaign(
        campaign="planning",
        products=["rlds"],
        grid="0.05deg",
        period=period,
        start=START.isoformat(),
        end=(START + timedelta(days=steps // a_day)).isoformat(),
        forcing=Forcing(kind="idealised", downscale=False),
        output=str(folder),
    )
    begin = time.perf_counter()
    plan = Plan(campaign, survey(campaign, folder), str(folder))
    kept = [plan.describe(chain, task) for chain, task in plan]
    seconds = time.perf_counter() - begin
    assert len({p.task for p in kept}) == len(kept)
    return {
        "steps": sum(p.fields for p in kept),
        "tasks": len(kept),
        "seconds": round(seconds, 2),
        "peak_mib": round(_peak_kib() / 1024, 1),
    }


def _peak_kib() -> int:
    """Return the largest memory of this process; what getrusage says includes that of the one that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    print(json.dumps(plan_steps(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))))
