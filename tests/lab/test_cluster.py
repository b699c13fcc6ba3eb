"""The lab is a real cluster: nodes apart, MPI between them, accounts; it comes, stays and goes without a trace."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipshpc.errors import SpecError
from pipshpc.lab import faults
from pipshpc.lab.cluster import start_lab, stop_lab
from pipshpc.lab.layout import Layout
from pipshpc.lab.process import MARK, read_environment
from pipshpc.lab.status import read_status
from pipshpc.site import load_site
from pipshpc.slurm import Cluster, Job, sbatch_text, submit
from tests.lab.conftest import call, environment, wait_for

pytestmark = pytest.mark.lab


def test_a_second_up_does_nothing_and_is_quick(lab):
    begin = time.monotonic()
    assert start_lab(None, lab.path) == (lab, False)
    assert time.monotonic() - begin < 5  # 0.1 s on a machine that does nothing else


def test_another_shape_is_refused_while_it_is_up(lab):
    with pytest.raises(SpecError, match="another shape"):
        start_lab(Layout(folder=lab.folder, nodes=2, scratch_mib=64), lab.path)


def test_status_sees_all(lab):
    status = read_status(lab)
    assert status.up and status.munge and status.accounting
    assert [n.state for n in status.clusters[0].nodes] == ["IDLE"] * 4


def test_nodes_have_names_addresses_processes_and_tmp_of_their_own(lab):
    call(lab, "srun", "-w", "lab1", "touch", "/tmp/of_lab1")
    script = "hostname; ls -d /tmp/of_*; hostname -I; ls /proc | grep -c '^[0-9]'"
    one, two = (call(lab, "srun", "-w", name, "bash", "-c", script).split() for name in ("lab1", "lab2"))
    assert one[:3] == ["lab1", "/tmp/of_lab1", lab.find_node("lab1").address]
    assert two[:2] == ["lab2", lab.find_node("lab2").address]
    assert int(two[-1]) < 20
    assert not Path("/tmp/of_lab1").exists()


def test_mpi_spans_the_nodes(lab):
    program = (
        "from mpi4py import MPI; import os; c = MPI.COMM_WORLD; n = c.Split_type(MPI.COMM_TYPE_SHARED);"
        "s = c.allreduce(c.rank); c.rank == 0 or exit(); print(c.size, n.size, s, os.uname().nodename)"
    )
    words = ["srun", "--mpi=pmix", "-N4", "-n8", sys.executable, "-c", program]
    assert call(lab, *words) == "8 2 28 lab1"


def test_ranks_are_pinned(lab):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only: there is nothing to pin")
    program = "import os; print(*sorted(os.sched_getaffinity(0)))"
    said = call(lab, "srun", "-N1", "-n2", "--exact", "-c1", "--cpu-bind=cores", sys.executable, "-c", program)
    assert sorted(said.split()) == ["0", "1"]


def test_accounts_are_kept(lab):
    job = call(lab, "sbatch", "--parsable", "--output=/dev/null", "--comment=why", "--wrap=exit 3")
    deadline = time.monotonic() + 60
    while (said := call(lab, "sacct", "-nPXj", job, "-o", "State,ExitCode,Comment")) != "FAILED|3:0|why":
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def test_nothing_listens_outside_the_lab(lab):
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line for line in lines if "slurmctld" in line or "slurmdbd" in line or "mariadbd" in line]
    assert ours
    assert all(line.split()[3].startswith("10.78.") for line in ours)


def test_two_clusters_stand_apart_and_share_accounts(lab_folder, lab):
    folder = lab_folder("b")
    two, _ = start_lab(Layout(folder=str(folder), clusters=("beijing", "sanya"), nodes=1, scratch_mib=1), folder)
    assert two.subnet != lab.subnet
    assert call(two, "srun", "-M", "sanya", "hostname") == "sanya1"
    assert call(two, "srun", "hostname") == "beijing1"
    assert call(lab, "srun", "hostname") == "lab1"
    # Jobs go to a cluster by its site, and inside a job Slurm's commands mean that cluster.
    for name in two.clusters:
        site = load_site(name, [two.sites])
        where = Cluster(name=site.scheduler.cluster, conf=str(two.conf("beijing")), timeout_s=10)
        command = [
            "bash",
            "-c",
            f"srun hostname >{folder}/{name}.said; sinfo --noheader --format=%N >>{folder}/{name}.said",
        ]
        job = submit(where, sbatch_text(site, Job(command=command, launch=False)), f"{name}/1")
        assert wait_for(where, job, "COMPLETED", "FAILED").state == "COMPLETED"
        assert (folder / f"{name}.said").read_text().split() == [f"{name}1"] * 2
    # One may be without its controller: the other one goes on.
    faults.stop_controller(two, "beijing")
    assert [c.answers for c in read_status(two).clusters] == [False, True]
    sanya = {**environment(two), "SLURM_CONF": str(two.conf("sanya"))}
    said = subprocess.run(["srun", "hostname"], env=sanya, capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout.strip() == "sanya1"
    assert start_lab(None, folder)[1] and read_status(two).up
    stop_lab(folder, purge=True)


def test_down_leaves_nothing(lab_folder):
    folder = lab_folder("c")
    layout, changed = start_lab(Layout(folder=str(folder), nodes=2, accounting=False, scratch_mib=1), folder)
    assert changed
    assert call(layout, "srun", "-N2", "hostname").split()
    bystander = subprocess.Popen(["sleep", "60"], env={**environment(layout), MARK: layout.folder})
    assert "lab1" in stop_lab(folder)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    left = [p.name for p in Path("/proc").iterdir() if p.name.isdigit()]
    assert not [pid for pid in left if read_environment(int(pid)).get(MARK) == layout.folder]
    assert not list(Path("/sys/class/net").glob(f"{layout.tag}*"))
    assert not list(Path("/run/netns").glob(f"{layout.tag}-*"))
    assert layout.folder not in Path("/proc/mounts").read_text()
    again, changed = start_lab(None, folder)
    assert changed and again.nodes == 2
    assert call(again, "srun", "-N2", "hostname").split()
    stop_lab(folder, purge=True)
    assert not (folder / "lab.json").exists()
