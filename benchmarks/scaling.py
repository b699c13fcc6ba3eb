"""The job on one and on two ranks: efficiency, and memory against the number of time steps."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.job import grid_step, lengths, make_forcing
from benchmarks.measure import Section, Settings, interleave

GROWTH = 1.05  # of the peak, between the short and the long job: what the allocator may do


def measure(settings: Settings) -> Section:
    """Run the short and the long job on one and two ranks."""
    step = grid_step(settings)
    section = Section("scaling", f"The job at {step:g} degree on 1 and 2 ranks")
    short, long = lengths("pipshpc", settings.quick)
    tasks = {
        steps: ours.make_task(make_forcing(settings, steps), steps, f"{step:g}deg", settings.folder / "ours")
        for steps in (short, long)
    }
    runs = interleave(
        {
            f"{steps} steps, {ranks} rank{'s' * (ranks > 1)}": (
                lambda steps=steps, ranks=ranks: ours.run_task(tasks[steps], ranks, settings.folder)
            )
            for steps in (short, long)
            for ranks in (1, 2)
        },
        settings.times(5),
        settle=True,
    )
    median = {name: section.add(name, [r.seconds for r in several], "s") for name, several in runs.items()}
    peak = {}
    for name, several in runs.items():
        peaks = [max(run.report.peak_mib) for run in several]
        peak[name] = section.add(f"{name}: peak memory of a rank", peaks, "MiB")
    for steps in (short, long):
        efficiency = median[f"{steps} steps, 1 rank"] / (2 * median[f"{steps} steps, 2 ranks"])
        section.judge(f"efficiency on 2 ranks, {steps} steps", efficiency, 0.9)
    # What a further step costs: opening, the first import and publishing once are the same for any length.
    more = {r: median[f"{long} steps, {n}"] - median[f"{short} steps, {n}"] for r, n in ((1, "1 rank"), (2, "2 ranks"))}
    section.judge("efficiency on 2 ranks, steady state", more[1] / (2 * more[2]), 0.9)
    section.judge("peak memory of a rank", max(peak.values()), 1024.0, at_least=False, unit="MiB")
    growth = peak[f"{long} steps, 2 ranks"] / peak[f"{short} steps, 2 ranks"]
    section.judge(f"growth of the peak, {short} to {long} steps", growth, GROWTH, at_least=False, unit="times")
    section.facts["stages"] = {name: several[-1].report.stages for name, several in runs.items()}
    for task in tasks.values():
        task.path("rlds").unlink(missing_ok=True)
    return section
