"""Writing one field: chunks encoded by the ranks against HDF5's own collective and serial ways."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import pipshpc
from benchmarks import ours
from benchmarks.job import RANKS, grid_step, lengths, make_forcing
from benchmarks.measure import Section, Settings
from benchmarks.weather import Weather
from pipshpc.site import launch_command, load_site
from pipshpc.task import write_task

WAYS = {
    "pipshpc": f"pipshpc, {RANKS} ranks",
    "plain": f"collective, uncompressed, {RANKS} ranks",
    "collective": f"collective, gzip 1 + shuffle, {RANKS} ranks",
    "serial": "h5py, gzip 1 + shuffle, serial",
}


def make_field(settings: Settings) -> npt.NDArray[np.int16]:
    """Return one packed field of `rlds` at the job's resolution."""
    weather = Weather(2.5 if settings.quick else 0.25)
    rows = round(180 / grid_step(settings))
    y = np.linspace(0, weather.lat.size - 1, rows)
    x = np.linspace(0, weather.lon.size - 1, 2 * rows)
    state = {}
    for name, values in weather.state(0.0).items():
        j, i = np.minimum(y.astype(int), weather.lat.size - 2), np.minimum(x.astype(int), weather.lon.size - 2)
        wy, wx = (y - j)[:, None].astype("f4"), (x - i).astype("f4")
        values = values.astype("f4")
        tall = values[j] + wy * (values[j + 1] - values[j])
        state[name] = tall[:, i] + wx * (tall[:, i + 1] - tall[:, i])
    celsius = state["d2m"] - np.float32(273.15)
    vap = np.float32(611.2) * np.exp(np.float32(17.67) * celsius / (celsius + np.float32(243.5)))
    flux = pipshpc.compute("rlds", ours.ALGORITHM, tas=state["t2m"], vap=vap, clt=state["tcc"])
    return np.asarray(np.rint((flux - 350.0) / 0.02), np.int16)


def measure(settings: Settings) -> Section:
    """Write the same field in four ways, in turn, in one job of two ranks."""
    field = make_field(settings)
    section = Section("write", f"One field of {field.shape[0]} x {field.shape[1]} int16 to disk, with fsync")
    path, out = settings.folder / "field.npy", settings.folder / "write.json"
    np.save(path, field)
    forcing = make_forcing(settings, min(lengths("pipshpc", settings.quick)))
    task = ours.make_task(forcing, 1, f"{grid_step(settings):g}deg", settings.folder / "ours")
    task_path = settings.folder / "write.task.json"
    write_task(task, task_path)
    argv = [sys.executable, "-m", "benchmarks.writing", str(path), str(task_path), str(settings.folder)]
    argv += [str(settings.times(7)), str(out)]
    subprocess.run(
        launch_command(load_site("local"), RANKS, 1, argv),
        check=True,
        stdin=subprocess.DEVNULL,
        env=os.environ,
        cwd=Path(__file__).parents[1],
    )
    found = json.loads(out.read_text())
    median = {}
    for way, title in WAYS.items():
        rates = [field.nbytes / 1e6 / took for took in found[way]["seconds"]]
        size = found[way]["bytes"] / 1e6
        median[way] = section.add(title, rates, "MB/s", f"of int16; file of {size:.1f} MB")
        if not found[way]["same"]:
            section.notes.append(f"{title}: the values read back differ")
    section.judge("of the uncompressed collective write", median["pipshpc"] / median["plain"], 0.6)
    section.judge("times h5py gzip 1", median["pipshpc"] / median["serial"], 4.0)
    section.notes.append(
        f"{median['pipshpc'] / median['collective']:.1f} times the collective write through HDF5's own deflate. "
        "Ours also writes the sample counts, coordinates and checksums, makes the content digest, checks and renames."
    )
    section.facts["raw"] = found
    for left in (path, out, task_path):
        left.unlink(missing_ok=True)
    return section
