"""The whole job, decode to publish, against xarray + dask + netCDF4 and CDO on the same input file."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import netCDF4
import numpy as np

from benchmarks import ours
from benchmarks.measure import Section, Settings, interleave
from benchmarks.ours import Run
from benchmarks.peers import cdo_job
from benchmarks.weather import Weather, write_forcing

RANKS = 2
TOLERANCE = 0.05  # W m-2; the packing alone gives 0.02
XARRAY = {"xarray interp": "bands", "xarray interp, plain": "plain", "xarray, own weights": "weights"}
CDO = {"CDO": {}, "CDO, tuned allocator": cdo_job.TUNED_ALLOCATOR}


def lengths(name: str, quick: bool) -> tuple[int, int]:
    """Return the two numbers of steps that a contestant runs; the slow ones run fewer."""
    if quick:
        return 2, 4
    return {"pipshpc": (8, 24), "xarray interp, plain": (2, 6), **dict.fromkeys(CDO, (2, 6))}.get(name, (4, 12))


def grid_step(settings: Settings) -> float:
    """Return the pixel of the output in degrees."""
    return 1.0 if settings.quick else 0.05


def make_forcing(settings: Settings, steps: int) -> Path:
    """Return the input file with `steps` states; it is kept for the next run."""
    step = 2.5 if settings.quick else 0.25
    path = settings.folder / f"forcing_{step:g}deg_{steps}.nc"
    return path if path.is_file() else write_forcing(path, Weather(step), steps)


def measure(settings: Settings) -> Section:
    """Race the job."""
    step = grid_step(settings)
    section = Section("job", f"Global {step:g} degree rlds from hourly input, decode to file, {RANKS} cores")
    contestants: dict[tuple[str, int], Callable[[], Run]] = {}
    for steps in lengths("pipshpc", settings.quick):
        forcing = make_forcing(settings, steps)
        task = ours.make_task(forcing, steps, f"{step:g}deg", settings.folder / "ours")
        contestants["pipshpc", steps] = lambda task=task: ours.run_task(task, RANKS, settings.folder)  # type: ignore[misc]
    source = make_forcing(settings, max(lengths("pipshpc", settings.quick)))
    names = list(XARRAY)[: 1 if settings.quick else None]
    for name in names:
        for steps in lengths(name, settings.quick):
            contestants[name, steps] = lambda n=name, k=steps: _xarray(source, settings, k, XARRAY[n])  # type: ignore[misc]
    if cdo_job.available():
        grid = cdo_job.write_grid(settings.folder / f"grid_{step:g}.txt", step)
        for name, environment in CDO.items():
            for steps in lengths(name, settings.quick):
                contestants[name, steps] = lambda e=environment, k=steps: _cdo(source, settings, k, grid, e)  # type: ignore[misc]
    else:
        section.notes.append("CDO is not installed: not measured")
    runs = interleave({f"{n}|{k}": act for (n, k), act in contestants.items()}, settings.times(3), settle=True)
    found = {key: runs[f"{key[0]}|{key[1]}"] for key in contestants}
    _compare(section, {name: found[name, k][-1].output for name, k in found})
    _judge(section, settings, found)
    for several in found.values():
        several[-1].output.unlink(missing_ok=True)
    return section


def _judge(section: Section, settings: Settings, found: dict[tuple[str, int], list[Run]]) -> None:
    names = list(dict.fromkeys(name for name, _ in found))
    slope: dict[str, float] = {}
    for name in names:
        short, long = lengths(name, settings.quick)
        pairs = list(zip(found[name, short], found[name, long], strict=True))
        each = [(b.wall - a.wall) / (long - short) for a, b in pairs]
        slope[name] = section.add(f"{name}: steady state", each, "s/field", f"from {short} and {long} steps")
        whole = [b.wall / long for _, b in pairs]
        section.add(f"{name}: {long} steps, whole process", whole, "s/field")
    short, long = lengths("pipshpc", settings.quick)
    for steps in (short, long):
        inside = [steps / run.seconds for run in found["pipshpc", steps]]
        section.add(f"pipshpc: {steps} steps, without start-up", inside, "fields/s", "open to publish, with fsync")
        section.add(
            f"pipshpc: {steps} steps, whole process", [steps / r.wall for r in found["pipshpc", steps]], "fields/s"
        )
    last = found["pipshpc", long][-1].report
    assert last is not None
    section.facts["stages"], section.facts["steady_s_per_field"] = last.stages, slope
    rate = statistics.median(long / run.seconds for run in found["pipshpc", long])
    section.judge(f"fields per second ({long} steps, open to publish)", rate, 8.0)
    # Every way of a peer is held against the promise, the fastest too.
    for name in names[1:]:
        section.judge(f"times {name}, steady state", slope[name] / slope["pipshpc"], 15.0 if "xarray" in name else 25.0)
    section.notes.append(
        "All: bilinear, Bolton, Prata and Konzelmann, int16, deflate 1. The time of pipshpc includes digests, "
        "checksums and fsync; the others leave their output to the page cache. CDO writes without shuffling."
    )


def _compare(section: Section, outputs: dict[str, Path]) -> None:
    """Hold the first field of each output, every seventh pixel, against ours."""
    fields = {name: _sample(path) for name, path in outputs.items()}
    for name, values in fields.items():
        if name != "pipshpc":
            difference = float(np.abs(values - fields["pipshpc"]).max())
            section.facts[f"difference {name}"] = difference
            section.judge(f"largest difference to {name}", difference, TOLERANCE, at_least=False, unit="W m-2")


def _sample(path: Path) -> np.ndarray:
    with netCDF4.Dataset(path) as file:
        return np.asarray(np.ma.filled(file["rlds"][0, ::7, ::7].astype("f8"), np.nan))


def _xarray(source: Path, settings: Settings, steps: int, way: str) -> Run:
    target = settings.folder / f"xarray_{way}_{steps}.nc"
    target.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "benchmarks.peers.xarray_job", str(source), str(target), str(steps)]
    argv += [f"{grid_step(settings):g}", way]
    begin = time.perf_counter()
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    wall = time.perf_counter() - begin
    return Run(wall, json.loads(done.stdout.splitlines()[-1])["seconds"], target)


def _cdo(source: Path, settings: Settings, steps: int, grid: Path, environment: dict[str, str]) -> Run:
    target = settings.folder / f"cdo_{len(environment)}_{steps}.nc"
    target.unlink(missing_ok=True)
    begin = time.perf_counter()
    subprocess.run(cdo_job.command(source, target, steps, grid), check=True, env={**os.environ, **environment})
    wall = time.perf_counter() - begin
    return Run(wall, wall, target)
