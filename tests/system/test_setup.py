"""The set-up: locks, scripts, what it says where something is missing, and what it leaves behind."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from pipshpc.site import launch_command, load_site

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"
pytestmark = pytest.mark.system


def names(text):
    """Return {package: version and marker} of a .in file or a lock, names spelled as the registry compares them."""
    lines = re.findall(r"^([A-Za-z0-9][\w.-]*)([^#\n\\]*)", text, re.MULTILINE)
    found = {}
    for name, rest in lines:
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), []).append(rest.strip())
    return found


def setup(tmp_path, **settings):
    """Run the set-up with settings that cannot do; it must not get as far as changing anything."""
    settings = {"VENV": str(tmp_path / "venv"), "PIPSHPC_NO_APT": "1"} | settings
    script = [str(ENVS / "setup.sh")]
    return subprocess.run(script, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("lock", sorted(ENVS.glob("*.lock")), ids=lambda p: p.name)
def test_locks_pin_everything_and_name_no_host(lock):
    text = lock.read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_what_the_project_needs_is_in_the_locks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = names("\n".join(project["dependencies"]))
    wanted = names((ENVS / "requirements.in").read_text()) | names((ENVS / "h5py.in").read_text())
    assert needed.keys() <= wanted.keys(), "say what pyproject.toml says in envs/requirements.in, then: make lock"
    locked = names((ENVS / "requirements.lock").read_text()) | names((ENVS / "h5py.lock").read_text())
    assert wanted.keys() <= locked.keys(), "make lock"


def test_developers_run_what_users_run():
    runtime, dev = (names((ENVS / f"{name}.lock").read_text()) for name in ("requirements", "requirements-dev"))
    assert {name: dev.get(name) for name in runtime} == runtime
    # A published h5py has no MPI and would take the place of the one built here.
    assert "h5py" not in dev


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MPICC": "/no/such/mpicc"}, "no MPI compiler: /no/such/mpicc"),
        ({"HDF5_DIR": "/no/such/hdf5"}, "no parallel HDF5"),
        ({"PYTHON": "/no/such/python"}, "PYTHON=/no/such/python does not do; wanted: Python 3.11"),
    ],
)
def test_what_is_missing_is_said_with_the_cure(tmp_path, settings, said):
    done = setup(tmp_path, **settings)
    assert done.returncode == 4
    assert said in done.stderr
    if "PYTHON" not in settings:
        assert "module load" in done.stderr
        assert "conda install" in done.stderr
        assert f"make setup {next(iter(settings))}=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_hdf5_without_mpi_is_refused(tmp_path):
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "H5pubconf.h").write_text("/* #undef H5_HAVE_PARALLEL */\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libhdf5.so").touch()
    done = setup(tmp_path, HDF5_DIR=str(tmp_path))
    assert done.returncode == 4
    assert f"looked in: {tmp_path}" in done.stderr


def test_a_second_setup_does_nothing_and_takes_no_time():
    if not (ROOT / ".venv" / ".pipshpc" / "extensions").exists():
        pytest.skip("this environment was not made by 'make setup' (no stamps in .venv)")
    settings = {k: v for k, v in os.environ.items() if k not in ("VENV", "PYTHON")}
    spent = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run(
            [ENVS / "setup.sh"], env=settings, capture_output=True, text=True, timeout=300, check=True
        )
        spent.append(time.monotonic() - begin)
    assert done.stdout == done.stderr == ""
    assert min(spent) < 1


def test_make_lists_its_targets():
    listed = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True
    ).stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    assert [line.split()[0] for line in listed.splitlines()] == targets


def test_ci_runs_the_test_command_and_pytest_speaks_last():
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    plan = subprocess.run(["make", "-C", ROOT, "-n", "test"], capture_output=True, text=True, check=True).stdout
    assert [line for line in plan.splitlines() if not line.startswith("make")][-1] == "python -m pytest"


def test_hooks_run_the_linters_of_make_lint():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    plan = subprocess.run(["make", "-C", ROOT, "-n", "lint"], capture_output=True, text=True, check=True).stdout
    for hook in hooks:
        assert hook["name"] in plan
    assert len(hooks) == 5


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_scripts_pass_shellcheck():
    scripts = [*ENVS.glob("*.sh"), ROOT / ".ci" / "run"]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert all(os.access(script, os.X_OK) for script in scripts)


BOTH = """
import sys
{first}
{second}
from mpi4py import MPI
comm, folder = MPI.COMM_WORLD, sys.argv[1]
assert h5py.get_config().mpi
with h5py.File(f"{{folder}}/shared.h5", "w", driver="mpio", comm=comm) as file:
    data = file.create_dataset("x", (comm.size, 500), "i2", chunks=(1, 500), compression=1, fletcher32=True)
    with data.collective:
        data[comm.rank] = comm.rank + 1
comm.barrier()
with netCDF4.Dataset(f"{{folder}}/shared.h5") as file:
    assert (file["x"][comm.rank] == comm.rank + 1).all()
with netCDF4.Dataset(f"{{folder}}/{{comm.rank}}.nc", "w") as file:
    file.createDimension("x", 100)
    file.createVariable("v", "i2", ("x",), zlib=True, fletcher32=True)[:] = 7
with h5py.File(f"{{folder}}/{{comm.rank}}.nc") as file:
    assert (file["v"][:] == 7).all()
"""


@pytest.mark.mpi
@pytest.mark.parametrize("order", [("import h5py", "import netCDF4"), ("import netCDF4", "import h5py")], ids=str)
def test_two_hdf5_libraries_live_in_one_process(tmp_path, order):
    """Our h5py brings the machine's parallel HDF5, the netCDF4 wheel a serial one of its own."""
    program = BOTH.format(first=order[0], second=order[1])
    command = launch_command(load_site("local"), 2, 1, [sys.executable, "-c", program, str(tmp_path)])
    for words in (command, command[command.index(sys.executable) :]):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
