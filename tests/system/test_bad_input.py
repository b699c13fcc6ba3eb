"""What a user gets wrong is told in one sentence, before any rank starts, and leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import yaml

from tests.mpi.conftest import write_forcing

pytestmark = pytest.mark.system

BASE = {
    "campaign": "trial",
    "products": ["rlds"],
    "grid": "1deg",
    "period": "3h",
    "start": "2019-02-02T00:00:00Z",
    "end": "2019-02-03T00:00:00Z",
    "forcing": {"kind": "files", "paths": ["era.nc"], "downscale": False},
    "resources": {"ranks": 2},
    "output": "out",
}


@pytest.fixture
def folder(tmp_path):
    write_forcing(tmp_path / "era.nc")
    return tmp_path


def run(folder, changes=None, verb="run", forcing=None):
    """Run the command on a changed campaign."""
    plain = {**BASE, "forcing": {**BASE["forcing"], **(forcing or {})}, **(changes or {})}
    (folder / "trial.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return subprocess.run(
        [sys.executable, "-m", "pipshpc", verb, "trial.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refused(done, folder, *words):
    """One sentence on stderr with all `words`, no traceback, no product and no unfinished file."""
    assert done.returncode in (2, 3, 4, 5), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert not list(folder.rglob("*.part"))
    assert not list((folder / "out").rglob("*.nc")) if (folder / "out").exists() else True


def edit(path, change):
    with netCDF4.Dataset(path, "a") as file:
        change(file)


def test_missing_file(folder):
    refused(run(folder, forcing={"paths": ["nothing.nc"]}), folder, "nothing.nc")


def test_truncated_file(folder):
    raw = (folder / "era.nc").read_bytes()
    (folder / "era.nc").write_bytes(raw[: len(raw) // 2])
    refused(run(folder), folder, "era.nc")


def test_missing_variable_says_what_was_looked_for_and_what_is_there(folder):
    edit(folder / "era.nc", lambda f: f.renameVariable("tcc", "strange"))
    refused(run(folder), folder, "clt", "tas", "tdps")


def test_missing_units(folder):
    edit(folder / "era.nc", lambda f: f["t2m"].delncattr("units"))
    refused(run(folder), folder, "t2m", "units")


def test_wrong_units(folder):
    edit(folder / "era.nc", lambda f: f["t2m"].setncattr("units", "furlong"))
    refused(run(folder), folder, "t2m", "furlong")


@pytest.mark.parametrize(("hour", "word"), [(30, "gap"), (4, "twice")])
def test_times_with_gaps_or_duplicates(folder, hour, word):
    def change(file):
        hours = np.arange(24)
        hours[5 if word == "twice" else 23] = hour
        file["time"][:] = hours

    edit(folder / "era.nc", change)
    done = run(folder)
    refused(done, folder, "era.nc")


def test_box_outside_the_forcing(folder):
    with netCDF4.Dataset(folder / "era.nc") as old, netCDF4.Dataset(folder / "part.nc", "w") as new:
        for name, size in (("time", 24), ("latitude", 10), ("longitude", 20)):
            new.createDimension(name, size)
        for name, variable in old.variables.items():
            copy = new.createVariable(name, "f4", variable.dimensions)
            copy.units = variable.units
            copy[:] = variable[tuple(slice(0, new.dimensions[d].size) for d in variable.dimensions)]
    refused(run(folder, forcing={"paths": ["part.nc"]}), folder, "does not cover the box", "part.nc")


def test_period_outside_the_forcing(folder):
    refused(run(folder, {"end": "2019-02-05T00:00:00Z"}), folder, "2019-02-0")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"products": ["nonsense"]}, ("nonsense", "known products", "rlds")),
        ({"algorithms": {"rlds": "magic"}}, ("magic", "it has")),
        ({"colour": "red"}, ("trial.yaml", "colour")),
        ({"grid": 5}, ("trial.yaml", "grid", "5")),
        ({"start": 20190202}, ("start",)),
        ({"box": [10.0, -5.0, 10.0, 5.0]}, ("west equals east",)),
        ({"resources": {"ranks": "many"}}, ("resources.ranks", "many")),
        ({"site": "moon"}, ("moon",)),
    ],
)
def test_bad_keys(folder, changes, words):
    refused(run(folder, changes), folder, *words)


def test_not_yaml(folder):
    (folder / "trial.yaml").write_text("campaign: [unclosed")
    done = subprocess.run(
        [sys.executable, "-m", "pipshpc", "run", "trial.yaml"], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    refused(done, folder, "trial.yaml", "not valid YAML")


def test_box_across_the_date_line_works_and_a_rerun_has_nothing_to_do(folder):
    box = {"box": [170.0, -20.0, -160.0, 20.0]}
    done = run(folder, box)
    assert done.returncode == 0, done.stderr
    [path] = (folder / "out").glob("rlds_*.nc")
    with netCDF4.Dataset(path) as file:
        lon = file["lon"][:]
        assert (lon[0], lon[-1]) == (170.5, 199.5)
        values = file["rlds"][:]
        assert not np.ma.is_masked(values)
        # The seam is no edge: neighbours across it differ as neighbours elsewhere do.
        steps = np.abs(np.diff(np.asarray(values, float), axis=2)).mean(axis=(0, 1))
        assert steps[9] < 3 * np.median(steps)
    again = run(folder, box)
    assert "nothing was left to do" in again.stdout


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB of its own."""
    where = tmp_path / "disk"
    where.mkdir()
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", where], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine does not let the test mount a file system")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def test_no_space_is_told_before_anything_starts(folder, small_disk):
    done = run(folder, {"grid": "0.5deg", "output": str(small_disk)})
    refused(done, folder, str(small_disk), "free")
    assert not list(small_disk.rglob("*.nc*"))


def test_disk_that_fills_while_writing_leaves_no_product(folder, small_disk):
    # 0.7 MiB fit by the estimate of the whole, then somebody else takes the space.
    (small_disk / "other").write_bytes(b"x" * 100_000)
    half = {"grid": "2deg", "output": str(small_disk)}
    assert run(folder, half, verb="plan").returncode == 0
    (small_disk / "other").write_bytes(os.urandom(1_900_000))
    done = run(folder, half)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*.part"))
    assert not list(small_disk.glob("*.nc"))


def test_file_system_without_locks(monkeypatch, tmp_path):
    """No such file system can be mounted here, so the system call answers as one would."""
    import errno
    import fcntl

    from pipshpc.drive.takeover import driver_lock
    from pipshpc.errors import SiteError

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SiteError, match=r"does not lock files.*doctor"), driver_lock(tmp_path / "x"):
        pass


def test_second_driver_is_turned_away(tmp_path):
    from pipshpc.drive.takeover import driver_lock
    from pipshpc.errors import SiteError

    with driver_lock(tmp_path / "x"), pytest.raises(SiteError, match="another driver"), driver_lock(tmp_path / "x"):
        pass
