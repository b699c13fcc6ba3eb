"""Launches as Slurm jobs of their own: the same content, the same patience, and a killed driver leaves nothing."""

import json
import os
import signal
import subprocess

import pytest

from pipshpc.drive.journal import Journal
from pipshpc.lab import faults
from tests.lab.conftest import call, environment, wait_until
from tests.lab.trial import make_trial

pytestmark = pytest.mark.lab
WHOLE = "{ranks: 4, nodes: 2, mode: job}"
SHARED = "{ranks: 1, mode: job}"


def events(one, *kinds):
    return [e for e in Journal(one.state / "journal.jsonl").read() if e["event"] in kinds]


def names(lab):
    """Return the names of the jobs that are not over."""
    return call(lab, "squeue", "--noheader", "--format=%j").split()


@pytest.mark.parametrize("resources", [WHOLE, SHARED])
def test_jobs_of_their_own_give_the_same_content(lab, trial, undisturbed, resources):
    one = trial("own" + resources[8], resources=resources)
    one.start()
    one.finish()
    course = one.check(undisturbed)
    assert [e["mode"] for e in events(one, "mode")] == ["job"]
    assert len(events(one, "submitted")) == 3
    assert len({task.job for task in course.tasks.values()}) == 3
    assert {course.blocks[task.job]["state"] for task in course.tasks.values()} <= {"RUNNING", "COMPLETED"}
    assert not names(lab)


def test_a_killed_driver_leaves_jobs_that_the_next_one_ends(lab, trial, undisturbed):
    one = trial("orphans", resources=WHOLE)
    one.hold("compute")
    one.start()
    beat = one.reach("compute")
    one.kill_driver()
    assert "pipshpc-launch" in names(lab)
    one.start()
    one.await_driver()
    one.release_all()
    one.finish()
    course = one.check(undisturbed)
    ended = [e for e in events(one, "block") if e["reason"] == "its driver was lost"]
    assert beat["job"] in {e["job"] for e in ended} and {e["state"] for e in ended} == {"CANCELLED"}
    assert all(task.attempts.charged == 0 for task in course.tasks.values())


def test_a_job_that_a_person_ends_is_made_again_uncharged(lab, trial, undisturbed):
    one = trial("cancelled", resources=WHOLE)
    one.hold("compute")
    one.start()
    beat = one.reach("compute")
    call(lab, "scancel", beat["job"])
    wait_until(lambda: one.causes())
    one.release_all()
    one.finish()
    course = one.check(undisturbed)
    assert set(one.causes()) <= {"CANCELLED", "STOPPED"}
    assert all(task.attempts.charged == 0 for task in course.tasks.values())


def test_what_failed_by_itself_has_its_exit_code(lab, trial, base):
    one = trial("wrong", resources=SHARED, forcing="era.nc")
    one.hold("read")
    one.start()
    beat = one.reach("read")
    whole = (base / "era.nc").read_bytes()
    (base / "era.nc").write_bytes(whole[: len(whole) // 2])
    one.release_all()
    assert one.await_end(beat["task"]) == "FAILED"
    (base / "era.nc").write_bytes(whole)
    one.finish()
    last = [e for e in events(one, "attempt ended") if e["task"] == beat["task"]][-1]
    assert (last["exit_code"], last["cause"]) == (3, "INPUT")


def test_the_plan_says_how_launches_get_their_nodes(lab, base):
    make_trial(lab, base, "planned", resources="{ranks: 4, nodes: 2}")
    words = ["python", "-m", "pipshpc.cli", "campaign", "plan", str(base / "planned.yaml"), "--json"]
    done = subprocess.run(words, env=environment(lab), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["modes"]
    assert [mode["way"] for mode in told.values()] == ["job"]
    assert "fills a block" in told["0"]["reason"]


@pytest.mark.parametrize("mode", ["job", "pilot"])
def test_a_step_that_a_person_ends_is_not_the_tasks_fault(lab, trial, undisturbed, mode):
    one = trial(f"step{mode}", resources=f"{{ranks: 2, nodes: 1, mode: {mode}}}")
    one.hold("compute")
    one.start()
    beat = one.reach("compute")
    # Ranks that hear nothing: else they would stop by themselves, and nobody had to be asked.
    for rank in [r for node in lab.all_nodes() for r in faults.list_ranks(lab, node) if beat["task"] in r.command]:
        os.kill(rank.pid, signal.SIGSTOP)
    call(lab, "scancel", f"{beat['job']}.{beat['step']}")
    wait_until(lambda: one.causes())
    one.release_all()
    one.finish()
    one.check(undisturbed)
    assert one.causes() == ["CANCELLED"]


@pytest.mark.parametrize("mode", ["job", "pilot"])
def test_a_rank_that_is_killed_is_charged(lab, trial, undisturbed, mode):
    one = trial(f"rank{mode}", resources=f"{{ranks: 2, nodes: 1, mode: {mode}}}")
    one.hold("compute")
    one.start()
    beat = one.reach("compute")
    faults.kill_rank(lab, task=beat["task"])
    wait_until(lambda: one.causes())
    one.release_all()
    one.finish()
    one.check(undisturbed)
    assert one.causes() == ["FAILED"]
