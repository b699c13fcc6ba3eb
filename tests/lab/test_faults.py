"""Each fault does what it says, Slurm notices, and the lab can be mended."""

import shutil
import subprocess
import sys
import time

import pytest

from pipshpc.errors import SiteError, SpecError
from pipshpc.lab import faults
from pipshpc.lab.cluster import start_lab
from pipshpc.lab.status import node_states, read_status
from pipshpc.slurm import UNKNOWN, poll
from tests.lab.conftest import ROOT, call, environment, wait_for, wait_for_code, wait_until

pytestmark = pytest.mark.lab

# Each rank says that it is past MPI_Init: what is killed before that is not missed by the others.
LOOP = """
import os, pathlib, sys, time
from mpi4py import MPI
MPI.COMM_WORLD.Barrier()
names = ("JOB_ID", "STEP_ID", "PROCID", "RESTART_COUNT")
pathlib.Path(sys.argv[1], "-".join(os.environ.get(f"SLURM_{name}", "0") for name in names)).touch()
for k in range(1200):
    MPI.COMM_WORLD.allreduce(k)
    time.sleep(0.1)
"""


def write_loop(lab):
    """Write the program, and return it with the folder in which its ranks leave their marks."""
    program, marks = lab.path / "loop.py", lab.path / "marks"
    shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir()
    program.write_text(LOOP)
    return program, marks


@pytest.fixture
def spinning(lab, cluster):
    """Return a function that starts a job of 2 x 2 ranks and gives its number once they run."""
    program, marks = write_loop(lab)

    def start(*options, nodes="lab1,lab2"):
        words = [
            "--parsable",
            "-N2",
            "--ntasks-per-node=2",
            "-w",
            nodes,
            f"--output={lab.path}/log/job-%j.log",
            *options,
        ]
        job = call(lab, "sbatch", *words, f"--wrap=exec srun --mpi=pmix {sys.executable} {program} {marks}")
        deadline = time.monotonic() + 90
        while len(list(marks.glob(f"{job}-*"))) < 4:
            assert time.monotonic() < deadline, poll(cluster, [job])
            time.sleep(0.1)
        return job

    return start


def state_of(lab, node, *wanted, patience_s=90):
    deadline = time.monotonic() + patience_s
    while (state := node_states(lab, "lab").get(node, "")) not in wanted:
        assert time.monotonic() < deadline, state
        time.sleep(0.3)
    return state


def test_a_killed_rank_ends_the_job(lab, cluster, spinning):
    job = spinning()
    done = faults.kill_rank(lab, job, "lab2", 2)
    assert done.facts["node"] == "lab2"
    wait_for(cluster, job, "FAILED")
    assert wait_for_code(cluster, job) == 9
    assert poll(cluster, [job])[job].restarts == 0
    with pytest.raises(SiteError, match="no rank found"):
        faults.kill_rank(lab, job)


def test_a_rank_is_chosen_by_its_task_among_the_steps_of_a_job(lab, cluster):
    """Two steps share a job, as in a pilot: only the one with the word in its command line loses a rank."""
    loop, marks = write_loop(lab)
    step = f"srun --mpi=pmix --exact -N1 -n2 -c1 {sys.executable} {loop} {marks}"
    job = call(
        lab, "sbatch", "--parsable", "-N2", "--exclusive", "-o/dev/null", f"--wrap={step} one & {step} two & wait"
    )
    wait_until(lambda: len(list(marks.glob(f"{job}-*"))) == 4)
    other = {r.pid for r in ranks_of(lab, job) if "two" in r.command}
    with pytest.raises(SiteError, match=r"have a rank 0; say which by --step or --task"):
        faults.kill_rank(lab, job, rank=0)
    facts = faults.kill_rank(lab, task="marks one", rank=0).facts
    assert (facts["job"], facts["rank"]) == (job, 0) and facts["pid"] not in other
    wait_until(lambda: {r.pid for r in ranks_of(lab, job)} == other)
    facts = faults.kill_rank(lab, job, step=ranks_of(lab, job)[0].step).facts
    assert facts["rank"] == 1 and facts["pid"] in other
    wait_until(lambda: not ranks_of(lab, job))
    with pytest.raises(SpecError, match="neither a job nor a task"):
        faults.kill_rank(lab)


def ranks_of(lab, job):
    return [r for node in lab.all_nodes() for r in faults.list_ranks(lab, node) if r.job == job]


def test_without_slurmd_the_ranks_live_on(lab, spinning):
    job = spinning()
    faults.kill_slurmd(lab, "lab2")
    assert len(faults.find_ranks(lab, job, lab.find_node("lab2"))) == 2
    assert not read_status(lab).clusters[0].nodes[1].slurmd
    time.sleep(2)
    faults.start_slurmd(lab, "lab2")
    time.sleep(2)
    assert len(faults.find_ranks(lab, job, lab.find_node("lab2"))) == 2
    state_of(lab, "lab2", "allocated")


def test_a_node_without_power_is_found_out_and_comes_back(lab, cluster, spinning):
    job = spinning("--no-requeue")
    assert faults.power_off(lab, "lab2").facts["processes"] > 2
    assert not faults.find_ranks(lab, job, lab.find_node("lab2"))
    state = wait_for(cluster, job, "NODE_FAIL")
    assert state.ended
    state_of(lab, "lab2", "down*", "down")
    faults.power_on(lab, "lab2")
    state_of(lab, "lab2", "idle")


def test_a_cut_node_is_lost_and_its_ranks_do_not_know(lab, cluster, spinning):
    job = spinning("--no-requeue")
    faults.cut_network(lab, "lab2")
    assert len(faults.find_ranks(lab, job, lab.find_node("lab2"))) == 2
    wait_for(cluster, job, "NODE_FAIL")
    faults.connect_network(lab, "lab2")
    state_of(lab, "lab2", "idle")
    assert not faults.find_ranks(lab, job, lab.find_node("lab2"))


def test_a_short_cut_costs_nothing(lab, cluster, spinning):
    job = spinning()
    assert "connected it again" in faults.cut_network(lab, "lab2", seconds=2).did
    time.sleep(2)
    assert poll(cluster, [job])[job].state == "RUNNING"


def test_the_disk_can_be_filled_and_freed(lab):
    done = faults.fill_disk(lab)
    assert done.facts["left_kib"] < 8
    with pytest.raises(OSError, match="No space left"):
        (lab.scratch / "more").write_bytes(b"\0" * 100_000)
    write = ["srun", "-w", "lab3", "dd", "if=/dev/zero", f"of={lab.scratch}/other", "bs=64k", "count=1"]
    said = subprocess.run(write, env=environment(lab), capture_output=True, text=True, timeout=30, check=False)
    assert "No space left" in said.stderr
    assert faults.free_disk(lab).facts["left_kib"] > 60_000
    assert faults.fill_disk(lab, leave_kib=1000).facts["left_kib"] >= 1000
    faults.free_disk(lab)


def test_without_controller_a_job_runs_on_and_its_state_is_unknown(lab, cluster, spinning):
    job = spinning()
    faults.stop_controller(lab)
    # Without squeue, sacct still answers; without either, nothing is known.
    assert poll(cluster, [job])[job].state in ("RUNNING", UNKNOWN)
    assert len(faults.find_ranks(lab, job, lab.find_node("lab2"))) == 2
    faults.restart_controller(lab)
    wait_for(cluster, job, "RUNNING")


def test_a_job_of_high_preempts_one_of_low(lab, cluster, spinning):
    job = spinning("--partition=low", "--requeue")
    by = faults.preempt(lab, job, seconds=1).facts["by"]
    assert poll(cluster, [job])[job].state in ("PENDING", "COMPLETING", "PREEMPTED", "REQUEUED")
    wait_for(cluster, by, "COMPLETED")
    wait_for(cluster, job, "RUNNING")
    wait_until(lambda: call(lab, "sacct", "-nPXD", "-j", job, "-o", "State").startswith("PREEMPTED"))
    with pytest.raises(SiteError, match="wanted RUNNING in low"):
        faults.preempt(lab, by)


def test_a_job_is_requeued(lab, cluster, spinning):
    job = spinning("--requeue")
    faults.requeue(lab, job)
    wait_for(cluster, job, "PENDING")
    assert wait_for(cluster, job, "RUNNING").nodes == "lab[1-2]"


def test_a_job_that_is_not_to_start_again_is_requeued_by_force_alone(lab, cluster, spinning):
    job = spinning("--no-requeue")
    with pytest.raises(SiteError, match="submitted with --no-requeue; --force"):
        faults.requeue(lab, job)
    assert poll(cluster, [job])[job].state == "RUNNING"
    faults.requeue(lab, job, force=True)
    wait_for(cluster, job, "PENDING")


def test_preemption_ends_a_job_that_is_not_to_start_again(lab, cluster, spinning):
    job = spinning("--partition=low", "--no-requeue")
    faults.preempt(lab, job, seconds=1)
    state = wait_for(cluster, job, "PREEMPTED")
    assert state.ended and state.restarts == 0


def test_ranks_are_told_before_the_time_is_over(lab, cluster):
    """The signal goes to the ranks, and not to the batch script; Slurm looks for such jobs every 30 s."""
    rank = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75)); time.sleep(100)"
    script = f"srun --exact -n2 {sys.executable} -c '{rank}'; echo $? >{lab.path}/told"
    job = call(lab, "sbatch", "--parsable", "-N2", "-t1", "--signal=USR1@40", "-o/dev/null", f"--wrap={script}")
    assert wait_for(cluster, job, "COMPLETED", "TIMEOUT", "FAILED", patience_s=120).state == "COMPLETED"
    assert (lab.path / "told").read_text() == "75\n"


def test_a_job_reaches_its_time_limit(lab, cluster, spinning):
    job = spinning("--time=10", "--no-requeue")
    faults.shorten(lab, job, seconds=1)
    state = wait_for(cluster, job, "TIMEOUT")
    assert state.told_by == "sacct"


def test_a_drained_node_gets_no_jobs(lab):
    faults.drain(lab, "lab1")
    assert call(lab, "srun", "hostname") == "lab2"
    faults.resume(lab, "lab1")
    state_of(lab, "lab1", "idle")


def test_up_mends_everything(lab):
    faults.kill_slurmd(lab, "lab1")
    faults.power_off(lab, "lab2")
    faults.cut_network(lab, "lab3")
    faults.stop_controller(lab)
    assert not read_status(lab).up
    assert start_lab(None, lab.path) == (lab, True)
    assert read_status(lab).up
    assert sorted(call(lab, "srun", "-N4", "hostname").split()) == ["lab1", "lab2", "lab3", "lab4"]


def test_faults_by_command_tell_what_they_did(lab):
    words = [sys.executable, "-m", "pipshpc.cli", "lab", "break", "fill-disk", "--seconds", "0.1", "--json"]
    said = call(lab, *words)
    assert '"fault": "fill-disk"' in said and "freed it again" in said
    assert str(ROOT)
