"""Which failures are tried again, which are waited out, which are told once."""

import pytest

from pipshpc.campaign import Retry
from pipshpc.drive.course import fold
from pipshpc.drive.verdict import Attempts, Ending, cancelled_from_outside, judge

STOPPED = "error: task x stopped at a block border; the next attempt goes on from there"
PREEMPTED = "slurmstepd: error: *** STEP 7.0 ON lab1 CANCELLED AT x DUE TO PREEMPTION ***"
LOST = "ManagerLost: Task failure due to loss of manager"


@pytest.mark.parametrize(
    ("code", "error", "log", "state", "cause", "following", "charged"),
    [
        (75, "", STOPPED, "", "STOPPED", "again", False),
        (75, "", STOPPED, "TIMEOUT", "TIMEOUT", "again", False),
        (3, "", "error: era.nc: no such file", "", "INPUT", "never", False),
        (2, "", "error: key 'grid'", "", "SPEC", "never", False),
        (5, "", "error: out.part: cannot be written (No space left on device)", "", "I/O", "wait", False),
        (1, "", "OSError: [Errno 28] No space left on device", "", "I/O", "wait", False),
        (None, LOST, "", "", "NODE_FAIL", "again", False),
        (None, LOST, "", "PREEMPTED", "PREEMPTED", "again", False),
        (None, LOST, "", "CANCELLED", "CANCELLED", "again", False),
        (None, "ModuleNotFoundError: No module named 'x'", "", "", "FAILED", "again", True),
        (143, "", PREEMPTED, "", "PREEMPTED", "again", False),
        (143, "", "*** STEP 7.0 ON lab1 CANCELLED AT x DUE TO TIME LIMIT ***", "", "TIMEOUT", "again", False),
        (137, "", "srun: error: Node failure on lab2", "", "NODE_FAIL", "again", False),
        (1, "", "srun: error: Unable to contact slurm controller (connect failure)", "", "CONTROLLER", "wait", False),
        (137, "", "slurmstepd: error: Detected 1 oom-kill event(s)", "", "OUT_OF_MEMORY", "again", True),
        (137, "", "", "OUT_OF_MEMORY", "OUT_OF_MEMORY", "again", True),
        (137, "", "srun: error: lab1: task 0: Killed", "", "FAILED", "again", True),
        (1, "", "ZeroDivisionError", "", "FAILED", "again", True),
    ],
)  # fmt: skip
def test_classes(code, error, log, state, cause, following, charged):
    verdict = judge(Ending(code, error, log, state=state), Attempts())
    assert (verdict.cause, verdict.next, verdict.charged) == (cause, following, charged)


def test_what_a_task_says_of_itself_counts_more_than_what_its_launch_printed():
    log = "error: other.nc: no such file\n" + STOPPED
    own = judge(Ending(3, "", log, task_code=3, said="mine.nc: is empty"), Attempts())
    assert (own.cause, own.reason, own.next) == ("INPUT", "mine.nc: is empty", "never")


def test_a_launcher_that_started_nothing_is_waited_for():
    log = "srun: error: Unable to confirm allocation for job 3: Job/step already completing or completed"
    verdict = judge(Ending(1, log=log, heard=False), Attempts())
    assert (verdict.cause, verdict.next, verdict.charged) == ("LAUNCHER", "wait", False)
    assert "already completing" in verdict.reason
    assert judge(Ending(1, log=log), Attempts()).charged  # ranks ran, and failed


def test_a_full_disk_leaves_no_words():
    assert judge(Ending(1, disk_full=True), Attempts()).cause == "I/O"


def test_what_gets_on_with_nothing_is_ended():
    verdict = judge(Ending(137, ended_for="it got on with no block for 9 s"), Attempts())
    assert (verdict.cause, verdict.next, verdict.charged) == ("STALLED", "again", True)


def test_a_signal_is_told_in_words():
    assert "killed by signal 9" in judge(Ending(137), Attempts()).reason


def test_what_was_not_started_costs_nothing():
    verdict = judge(Ending(None, started=False), Attempts(charged=2, uncharged=19))
    assert (verdict.next, verdict.charged) == ("again", False)


@pytest.mark.parametrize(
    ("code", "log", "before"),
    [
        (137, "", Attempts(charged=Retry().charged - 1)),
        (75, "", Attempts(uncharged=Retry().taken_away)),
        (5, "error: disk", Attempts(waited=Retry().waits)),
    ],
)
def test_every_class_is_bounded(code, log, before):
    assert judge(Ending(code, "", log), before).next == "never"


def test_bounds_are_those_of_the_campaign():
    assert judge(Ending(137), Attempts(), Retry(charged=1)).next == "never"
    assert judge(Ending(137), Attempts(charged=5), Retry(charged=9)).next == "again"


def test_waits_grow_up_to_the_longest():
    waits, before = [], Attempts()
    for _ in range(12):
        verdict = judge(Ending(5, "", "error: No space left on device"), before, Retry(longest_wait_s=20.0))
        before = Attempts(before.charged, before.uncharged, before.waited + 1)
        waits.append(verdict.wait_s)
    assert waits == sorted(waits) and waits[0] < 2 and waits[-1] == 20.0


def test_the_journal_counts_as_the_verdict_says():
    events = [{"time": 1.0, "event": "submitted", "launch": 1, "tasks": ["a"]}]
    for code in (75, 5, 137, 137):
        v = judge(Ending(code), Attempts())
        facts = {"cause": v.cause, "reason": v.reason, "next": v.next, "charged": v.charged}
        events.append({"time": 2.0, "event": "attempt ended", "task": "a", **facts})
    assert fold(events).tasks["a"].attempts == Attempts(charged=2, uncharged=1, waited=1)


# As Slurm 22.05 wrote them.
BY_A_PERSON = """slurmstepd-lab1: error: *** STEP 3.0 ON lab1 CANCELLED AT 2026-11-22T23:14:51 ***
srun: Job step aborted: Waiting up to 7 seconds for job step to finish.
srun: error: lab1: tasks 0-1: Killed
srun: launch/slurm: _step_signal: Terminating StepId=3.0
"""
BY_A_RANK = """srun: error: lab1: task 0: Killed
srun: launch/slurm: _step_signal: Terminating StepId=27.0
slurmstepd-lab1: error: *** STEP 27.0 ON lab1 CANCELLED AT 2026-11-22T23:14:51 ***
srun: error: lab1: task 1: Killed
"""


def test_who_cancelled_a_step_is_told_by_what_came_first():
    assert cancelled_from_outside(BY_A_PERSON)
    assert not cancelled_from_outside(BY_A_RANK)
    assert not cancelled_from_outside("")
