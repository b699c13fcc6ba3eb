"""Which failures are tried again, which are waited out, which are told once."""

import pytest

from pipshpc.verdict import CHARGED_LIMIT, UNCHARGED_LIMIT, WAIT_LIMIT, Attempts, judge

STOPPED = "error: task x stopped at a block border; the next attempt goes on from there"
PREEMPTED = "slurmstepd: error: *** STEP 7.0 ON lab1 CANCELLED AT x DUE TO PREEMPTION ***"


@pytest.mark.parametrize(
    ("code", "error", "log", "cause", "following", "charged"),
    [
        (75, "", STOPPED, "STOPPED", "again", False),
        (3, "", "error: era.nc: no such file", "INPUT", "never", False),
        (2, "", "error: key 'grid'", "INPUT", "never", False),
        (5, "", "error: out.part: cannot be written (No space left on device)", "I/O", "wait", False),
        (1, "", "OSError: [Errno 28] No space left on device", "I/O", "wait", False),
        (None, "ManagerLost: Task failure due to loss of manager", "", "NODE_FAIL", "again", False),
        (None, "ModuleNotFoundError: No module named 'x'", "", "FAILED", "again", True),
        (143, "", PREEMPTED, "PREEMPTION", "again", False),
        (143, "", "*** STEP 7.0 ON lab1 CANCELLED AT x DUE TO TIME LIMIT ***", "TIME_LIMIT", "again", False),
        (137, "", "srun: error: Node failure on lab2", "NODE_FAILURE", "again", False),
        (1, "", "srun: error: Unable to contact slurm controller (connect failure)", "CONTROLLER", "wait", False),
        (137, "", "slurmstepd: error: Detected 1 oom-kill event(s)", "OUT_OF_MEMORY", "again", True),
        (137, "", "srun: error: lab1: task 0: Killed", "FAILED", "again", True),
        (1, "", "ZeroDivisionError", "FAILED", "again", True),
    ],
)  # fmt: skip
def test_classes(code, error, log, cause, following, charged):
    verdict = judge(code, error, log, Attempts())
    assert (verdict.cause, verdict.next, verdict.charged) == (cause, following, charged)


@pytest.mark.parametrize(
    ("code", "log", "before"),
    [
        (137, "", Attempts(charged=CHARGED_LIMIT - 1)),
        (75, "", Attempts(uncharged=UNCHARGED_LIMIT)),
        (5, "error: disk", Attempts(waited=WAIT_LIMIT)),
    ],
)
def test_every_class_is_bounded(code, log, before):
    assert judge(code, "", log, before).next == "never"


def test_counts_and_waits_grow():
    counts, waits = Attempts(), []
    for _ in range(5):
        verdict = judge(5, "", "error: No space left on device", counts)
        counts = verdict.count(counts)
        waits.append(verdict.wait_s)
    assert counts == Attempts(waited=5)
    assert waits == sorted(waits)
