"""Submission and states against a real Slurm: once is once, also when nobody answers."""

import os
import time

import pytest

from pipshpc.errors import SiteError
from pipshpc.lab import faults
from pipshpc.site import load_site
from pipshpc.slurm import UNKNOWN, Job, Poller, Silence, cancel, find, poll, sbatch_text, submit
from tests.lab.conftest import call, wait_for

pytestmark = pytest.mark.lab

SITE = load_site("lab")


def key_of(request):
    return f"test/{os.getpid()}/{request.node.name}"


def text(lab, *command, **changes):
    options = {"command": command, "time": "5", "output": f"{lab.path}/log/job-%j.log", "launch": False}
    return sbatch_text(SITE, Job(**{**options, **changes}))


def test_one_key_is_one_job(lab, cluster, request):
    key = key_of(request)
    job = submit(cluster, text(lab, "sleep", "1"), key)
    assert submit(cluster, text(lab, "sleep", "1"), key) == job
    state = wait_for(cluster, job, "COMPLETED")
    assert state.key == key
    assert submit(cluster, text(lab, "sleep", "1"), key) == job
    assert find(cluster, [key, "other"]) == {key: [job], "other": []}
    assert poll(cluster, [key])[key].job == job


def test_an_answer_that_is_lost_does_not_make_a_second_job(lab, cluster, request, tmp_path, monkeypatch):
    real = call(lab, "which", "sbatch")
    fake = tmp_path / "sbatch"
    fake.write_text(f'#!/bin/bash\n{real} "$@" >/dev/null\necho "Unable to contact slurm controller" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    key = key_of(request)
    job = submit(cluster, text(lab, "true"), key, settle_s=0.2)
    assert find(cluster, [key])[key] == [job]


def test_while_the_controller_is_away_nothing_is_concluded(lab, cluster, request):
    key = key_of(request)
    job = submit(cluster, text(lab, "sleep", "60"), key)
    wait_for(cluster, job, "RUNNING")
    faults.stop_controller(lab)
    begin = time.monotonic()
    states = poll(cluster, [job, "4000000", key + "/new"])
    assert time.monotonic() - begin < 40  # two commands of at most 10 s
    assert states[job].state in ("RUNNING", UNKNOWN)
    assert {states[k].state for k in ("4000000", key + "/new")} == {UNKNOWN}
    assert "squeue" in states["4000000"].reason
    with pytest.raises(Silence):
        submit(cluster, text(lab, "true"), key + "/new", attempts=1, settle_s=0.1)
    faults.restart_controller(lab)
    wait_for(cluster, job, "RUNNING")
    other = submit(cluster, text(lab, "true"), key + "/new", settle_s=0.5)
    assert other != job
    assert cancel(cluster, [key]) == [job]
    assert wait_for(cluster, job, "CANCELLED").ended
    assert cancel(cluster, [job, other])


def test_a_refusal_is_an_error_in_slurms_words(lab, cluster, request):
    with pytest.raises(SiteError, match=r"(?i)invalid partition"):
        submit(cluster, text(lab, "true", options=["--partition=none"]), key_of(request))
    assert find(cluster, [key_of(request)]) == {key_of(request): []}


def test_arrays_and_exit_codes(lab, cluster, request):
    script = text(lab, "bash", "-c", "exit $SLURM_ARRAY_TASK_ID", options=["--array=0-2"], output="/dev/null")
    job = submit(cluster, script, key_of(request))
    for k in range(3):
        while (state := wait_for(cluster, f"{job}_{k}", "COMPLETED", "FAILED")).exit_code is None:
            time.sleep(0.2)
        assert (state.state, state.exit_code) == ("FAILED" if k else "COMPLETED", k)
    assert poll(cluster, [job])[job].job == f"{job}_2"


def test_a_requeued_job_counts_its_restarts(lab, cluster, request):
    script = text(lab, "bash", "-c", "[ ${SLURM_RESTART_COUNT:-0} = 1 ] || sleep 60", requeue=True)
    job = submit(cluster, script, key_of(request))
    wait_for(cluster, job, "RUNNING")
    faults.requeue(lab, job)
    state = wait_for(cluster, job, "COMPLETED")
    assert (state.restarts, state.exit_code) == (1, 0)


def test_steps_are_packed_and_pinned_as_the_site_says(lab, cluster, request):
    program = "import os; print(os.uname().nodename, os.environ['SLURM_PROCID'], *sorted(os.sched_getaffinity(0)))"
    script = text(lab, "python3", "-c", program, ntasks=4, nodes=2, ntasks_per_node=2, launch=True)
    job = submit(cluster, script, key_of(request))
    wait_for(cluster, job, "COMPLETED")
    lines = sorted((lab.path / "log" / f"job-{job}.log").read_text().splitlines())
    assert [line.split()[0] for line in lines] == ["lab1", "lab1", "lab2", "lab2"]
    if len(os.sched_getaffinity(0)) > 1:
        assert {tuple(line.split()[2:]) for line in lines} == {("0",), ("1",)}


def test_a_poller_asks_once_in_a_while(lab, cluster, request):
    job = submit(cluster, text(lab, "sleep", "30"), key_of(request))
    now = [0.0]
    poller = Poller(cluster, shortest_s=5, clock=lambda: now[0])
    first = poller.poll([job])[job]
    cancel(cluster, [job])
    assert poller.poll([job])[job] == first
    now[0] = 6
    time.sleep(1)
    assert poller.poll([job])[job].state in ("CANCELLED", "COMPLETING")
