"""Start ranks as the local site does, on small real inputs that the tests write."""

import os
import subprocess
import sys

import netCDF4
import numpy as np
import pytest

from pipshpc.errors import SiteError
from pipshpc.forcing import Forcing
from pipshpc.plan import plan
from pipshpc.site import launch_command, launch_environment, load_site
from pipshpc.statics import NAMES, open_static
from pipshpc.survey import survey
from pipshpc.task import write_task
from tests.unit.test_plan import campaign


def write_forcing(path, steps=24, step_h=1, seed=3, first_h=0, names=("t2m", "d2m", "tcc"), spread=1.0):
    """Write an ERA5-like file of 5 degrees, packed, north to south, 0..360."""
    rng = np.random.default_rng(seed)
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", steps), ("latitude", 37), ("longitude", 72)):
            file.createDimension(name, size)
        time = file.createVariable("time", "i4", ("time",))
        time.units = "hours since 2019-02-02 00:00:00"
        time[:] = first_h + np.arange(steps) * step_h
        for name, units, values in (
            ("latitude", "degrees_north", np.linspace(90, -90, 37)),
            ("longitude", "degrees_east", np.arange(72) * 5.0),
        ):
            axis = file.createVariable(name, "f4", (name,))
            axis.units = units
            axis[:] = values
        for name, units, middle, width in (
            ("t2m", "K", 280.0, 8.0),
            ("d2m", "K", 272.0, 6.0),
            ("tcc", "1", 0.5, 0.2),
        ):
            if name not in names:
                continue
            values = middle + spread * width * rng.normal(size=(steps, 37, 72))
            data = file.createVariable(
                name, "i2", ("time", "latitude", "longitude"), zlib=True, fill_value=-32767, chunksizes=(1, 37, 72)
            )
            data.units, data.scale_factor, data.add_offset = units, width / 4000, middle
            data[:] = np.clip(values, 0, 1) if name == "tcc" else values
    return path


@pytest.fixture(scope="session")
def statics():
    """Skip, with the reason, where the static fields are not there."""
    for name in NAMES:
        try:
            open_static(name)
        except SiteError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def forcing_file(tmp_path_factory):
    return write_forcing(tmp_path_factory.mktemp("forcing") / "era.nc")


@pytest.fixture
def make_task(forcing_file, tmp_path):
    """Return a function that plans one small task."""

    def make(output=None, **changes):
        forcing = Forcing(kind="files", paths=[str(forcing_file)], downscale=False)
        plain = {"forcing": forcing, "grid": "1deg", "chunk": [40, 60], "output": str(output or tmp_path / "out")}
        one = campaign(**{**plain, **changes})
        return plan(one, survey(one, tmp_path))[0]

    return make


@pytest.fixture
def start_ranks(tmp_path):
    """Return a function that runs a task on n ranks and gives the finished process."""

    def start(task, ranks, threads=1, timeout=120, wait=True, options=(), more=()):
        path = tmp_path / f"{task.id}.{ranks}.{threads}.json"
        write_task(task, path)
        site = load_site("local")
        others = [path.with_name(f"{other.id}.{ranks}.{threads}.json") for other in more]
        for other, place in zip(more, others, strict=True):
            write_task(other, place)
        argv = [sys.executable, "-m", "pipshpc.run", str(path), *map(str, others), "--threads", str(threads)]
        argv += ["--notes", *options]
        process = subprocess.Popen(
            launch_command(site, ranks, threads, argv),
            env={**os.environ, **launch_environment(site, threads)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.report, process.progress = path.with_suffix(".report"), path.with_suffix(".progress")
        if wait:
            out, err = process.communicate(timeout=timeout)
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)
        return process

    return start
