"""A lab of its own for the tests: 4 nodes, with accounting, in the build folder."""

import functools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipshpc.lab.cluster import lab_environment, start_lab, stop_lab
from pipshpc.lab.layout import Layout, template
from pipshpc.slurm import Cluster, poll

ROOT = Path(__file__).parents[2]


# All that the lab asks of the kernel, tried in spaces of its own, which are gone with the command.
TRIAL = """set -e
mount -t tmpfs -o size=1m trial /dev/shm
ip link add name trialbr type bridge
ip link add name trialv type veth peer name trialw
hostname trial
"""


@functools.cache
def why_not():
    """Return why no lab can be brought up here; empty where it can."""
    if os.geteuid() != 0:
        return "the virtual cluster needs root"
    check = subprocess.run([template("install.sh"), "--check"], capture_output=True, text=True, check=False)
    if check.returncode:
        return f"{check.stdout.strip()} (or envs/lab/install.sh)"
    spaces = ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "bash", "-c", TRIAL]
    tried = subprocess.run(spaces, capture_output=True, text=True, check=False)
    said = " ".join(tried.stderr.split()) or f"exit code {tried.returncode}"
    return f"the virtual cluster needs namespaces, mounts and bridges of the kernel: {said}" if tried.returncode else ""


@pytest.fixture(scope="session")
def lab_folder():
    """Return a function that gives a fresh folder for a lab; all labs are brought down in the end."""
    if reason := why_not():
        pytest.skip(reason)
    made = []

    def make(name):
        made.append(Path(os.environ.get("PIPSHPC_TEST_LABS", ROOT / "build")) / f"lab-{os.getpid()}-{name}")
        return made[-1]

    yield make
    for folder in made:
        stop_lab(folder, purge=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def whole_lab(lab_folder):
    folder = lab_folder("a")
    return start_lab(Layout(folder=str(folder), scratch_mib=64), folder)[0]


@pytest.fixture
def lab(whole_lab):
    """The lab, mended before each test."""
    start_lab(None, whole_lab.path)
    yield whole_lab
    subprocess.run(["scancel", "--user=root"], env=environment(whole_lab), timeout=20, check=False)
    deadline = time.monotonic() + 30
    while call(whole_lab, "squeue", "--noheader") and time.monotonic() < deadline:
        time.sleep(0.3)


@pytest.fixture
def desk(lab, request):
    from tests.lab.desk import Desk

    one = Desk(lab, lab.path / "desks" / request.node.name)
    yield one
    one.close()


@pytest.fixture(scope="module")
def base(whole_lab, request):
    """A folder that all nodes see, with three days of forcing."""
    from tests.mpi.conftest import write_forcing

    base = whole_lab.path / request.module.__name__.rpartition(".")[2]
    base.mkdir()
    write_forcing(base / "era.nc", steps=24, step_h=3)
    yield base
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def trial(lab, base):
    """Return a function that makes a trial; what it started is ended."""
    from tests.lab.trial import make_trial

    made = []

    def begin(name, **changes):
        made.append(make_trial(lab, base, name, **changes))
        return made[-1]

    yield begin
    for one in made:
        one.end()
        shutil.rmtree(one.output, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(whole_lab, base):
    """Digests of the same campaign on one local rank."""
    from tests.lab.trial import make_trial

    one = make_trial(whole_lab, base, "undisturbed", site="local", resources="{ranks: 1}")
    one.start()
    one.finish()
    assert one.driver.returncode == 0, one.said()
    return one.digests()


def environment(lab):
    return {**os.environ, **lab_environment(lab)}


def call(lab, *words):
    """Run a client command in the lab and return what it wrote."""
    done = subprocess.run(words, env=environment(lab), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sbatch(lab, *words, path="", cwd=ROOT):
    """Submit a batch file, with the Python of the tests or what is in `path` on its PATH, and return its number."""
    path = path or str(Path(sys.executable).parent)
    done = subprocess.run(
        ["sbatch", "--parsable", f"--output={lab.path}/log/job-%j.log", *words],
        cwd=cwd,
        env={**environment(lab), "PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_until(true, patience_s=60):
    """Wait until `true()` is."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture
def cluster(lab):
    return Cluster(conf=str(lab.conf("lab")), timeout_s=10)


def wait_for(cluster, job, *states, patience_s=90):
    """Wait until a job is in one of the states, and return what is known of it."""
    deadline = time.monotonic() + patience_s
    while (state := poll(cluster, [job])[job]).state not in states:
        assert time.monotonic() < deadline, state
        time.sleep(0.3)
    return state


def wait_for_code(cluster, job, patience_s=40):
    """Wait until the exit code of a job that failed is known: accounts come some seconds after the state."""
    deadline = time.monotonic() + patience_s
    while (state := poll(cluster, [job])[job]).exit_code is None:
        assert time.monotonic() < deadline, state
        time.sleep(0.3)
    return state.exit_code
