"""Each fault at three moments: reading, computing, writing. The campaign ends as if nothing had happened."""

import shutil
import subprocess
import sys
import time

import pytest

from pipshpc.lab import faults
from pipshpc.lab.cluster import start_lab
from tests.lab.conftest import ROOT, call, environment

pytestmark = pytest.mark.lab
MOMENTS = ("read", "compute", "write")


def strike_thrice(one, strike, mend=lambda beat: None):
    """Strike a task at each moment, one after another; the others wait for theirs."""
    one.hold(MOMENTS[0])
    one.start()
    for moment, following in zip(MOMENTS, [*MOMENTS[1:], "go on"], strict=True):
        beat = one.reach(moment)
        strike(beat)
        one.hold(following)
        one.release(beat["task"])
        mend(beat)


def node_of(beat, last=False):
    """Return the first or the last node of a task's step."""
    names = call_names(beat["nodes"])
    return names[-1 if last else 0]


def call_names(nodes):
    """Return the names that a list of the lab's nodes stands for."""
    if "[" not in nodes:
        return nodes.split(",")
    stem, inside = nodes.rstrip("]").split("[")
    names = []
    for part in inside.split(","):
        first, _, last = part.partition("-")
        names += [f"{stem}{k}" for k in range(int(first), int(last or first) + 1)]
    return names


def taken_away(one):
    """Return the causes that say that the machine took a task: a rank may still have heard the word to stop."""
    return [cause for cause in one.causes() if cause in ("NODE_FAIL", "STOPPED")]


def test_a_rank_is_killed(lab, trial, undisturbed):
    one = trial("killrank")
    strike_thrice(one, lambda beat: faults.kill_rank(lab, task=beat["task"]))
    one.finish()
    course = one.check(undisturbed)
    assert one.causes().count("FAILED") == 3
    assert sum(task.report["blocks_kept"] for task in course.tasks.values()) > 0  # the one struck while writing


def test_a_slurmd_is_killed(lab, trial, undisturbed):
    one = trial("killslurmd")

    def strike(beat):
        faults.kill_slurmd(lab, node_of(beat))
        one.await_loss(beat["job"])  # steps live on without slurmd, until Slurm takes the node for lost

    strike_thrice(one, strike, lambda _: start_lab(None, lab.path))
    one.finish()
    one.check(undisturbed)
    assert len(taken_away(one)) >= 3


def test_the_driver_is_killed(lab, trial, undisturbed):
    one = trial("killdriver")

    def strike(_):
        one.kill_driver()
        one.start()
        one.await_driver()

    strike_thrice(one, strike)
    one.finish()
    one.check(undisturbed)
    assert one.course().drivers == 4


def test_a_block_is_requeued(lab, trial, undisturbed):
    one = trial("requeue")
    strike_thrice(one, lambda beat: faults.requeue(lab, beat["job"], force=True))
    one.finish()
    one.check(undisturbed)


def test_a_node_goes_down(lab, trial, undisturbed):
    one = trial("nodedown")

    def strike(beat):
        faults.power_off(lab, node_of(beat, last=True))
        one.await_loss(beat["job"])

    strike_thrice(one, strike, lambda _: start_lab(None, lab.path))
    one.finish()
    one.check(undisturbed)
    assert len(taken_away(one)) >= 3
    assert one.course().excluded


def test_a_node_is_cut_off(lab, trial, undisturbed):
    one = trial("cutoff")

    def strike(beat):
        # First a node beside the pilot, then the pilot's own: there the ranks run on and nobody hears of them.
        faults.cut_network(lab, node_of(beat, last=beat["stage"] == "read"))
        one.await_loss(beat["job"])

    strike_thrice(one, strike, lambda _: start_lab(None, lab.path))
    one.finish()
    one.check(undisturbed)


def test_the_walltime_is_reached(lab, trial, undisturbed):
    one = trial("walltime")
    strike_thrice(one, lambda beat: faults.shorten(lab, beat["job"]))
    one.finish(240)
    course = one.check(undisturbed)
    assert all(task.attempts.charged == 0 for task in course.tasks.values())


def test_a_block_is_preempted(lab, trial, undisturbed):
    one = trial("preempt", partition="low")
    strike_thrice(one, lambda beat: faults.preempt(lab, beat["job"], seconds=2))
    one.finish()
    course = one.check(undisturbed)
    assert all(task.attempts.charged == 0 for task in course.tasks.values())


def test_the_controller_is_silent_for_a_minute(lab, trial, undisturbed):
    one = trial("silent", resources="{ranks: 2, nodes: 1, mode: pilot}")
    # Three tasks at three moments at once, so that one minute is enough for all.
    one.hold("read")
    one.start()
    names = [one.reach("read")["task"] for _ in MOMENTS]
    one.struck.clear()
    for name, moment in zip(names, MOMENTS, strict=True):
        (one.holds / name).write_text(moment)
    for name, moment in zip(names, MOMENTS, strict=True):
        one.reach(moment, name)
    faults.stop_controller(lab)
    time.sleep(30)
    for name in names:
        one.release(name)
    time.sleep(30)
    faults.restart_controller(lab)
    one.finish()
    course = one.check(undisturbed)
    # Silence fails nothing and charges nothing.
    assert all(task.attempts.charged == 0 for task in course.tasks.values())


def test_the_disk_is_full(lab, trial, undisturbed):
    one = trial("fulldisk", output=lab.scratch / "fulldisk")

    def mend(_):
        time.sleep(4)
        faults.free_disk(lab)

    strike_thrice(one, lambda _: faults.fill_disk(lab), mend)
    one.finish()
    course = one.check(undisturbed)
    assert all(task.attempts.charged == 0 for task in course.tasks.values()), one.said()


def test_the_forcing_is_cut_short(lab, trial, undisturbed, base):
    forcing = base / "cut" / "era.nc"  # the name of the file is told in the products
    forcing.parent.mkdir()
    shutil.copy(base / "era.nc", forcing)
    whole = forcing.read_bytes()
    one = trial("cutforcing", forcing="cut/era.nc")
    told = []

    def mend(beat):
        # What cannot be read is told once, with what to do; that is done here, and the campaign goes on.
        state = one.await_end(beat["task"])
        told.append((beat["stage"], state, one.course().task(beat["task"]).reason))
        forcing.write_bytes(whole)
        words = [sys.executable, "-m", "pipshpc.cli", "campaign", "retry", str(one.path), "--all"]
        done = subprocess.run(words, cwd=ROOT, env=environment(lab), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if one.driver.poll() is not None:
            one.start()

    strike_thrice(one, lambda _: forcing.write_bytes(whole[: len(whole) // 2]), mend)
    one.finish()
    one.check(undisturbed)
    assert [state for _, state, _ in told] == ["FAILED", "COMPLETED", "COMPLETED"], told  # what was read is read
    assert "cut/era.nc" in told[0][2] and "get the file again" in told[0][2]
    assert call(lab, "squeue", "--noheader") == ""
