"""Many failures of one reason are one cause, with the one thing that a person must do."""

import pytest

from pipshpc.drive.course import FAILED, TaskCourse
from pipshpc.view.causes import advise, count_attempts, fingerprint, group_failures, select_failed


def failed(k, cause, reason, node="n3", ended=100.0):
    return TaskCourse(f"{k:016x}", FAILED, nodes=node, cause=cause, reason=reason, ended=ended + k, launch=k + 1)


def test_412_tasks_are_one_cause_told_by_the_first():
    tasks = [
        failed(k, "INPUT", f"/data/era_{k:03d}.grib: truncated: message {k} at byte {k * 77}; get the file again")
        for k in reversed(range(412))
    ]
    tasks += [failed(500, "FAILED", "task 0123456789abcdef: exit code 1", node="n1")]
    one, other = group_failures(tasks)
    assert len(one.tasks) == 412
    assert (one.node, one.launch, one.first) == ("n3", 1, 100.0)
    assert "era_000.grib" in one.reason
    assert "get the named files again" in one.advice
    assert len(other.tasks) == 1


def test_what_varies_between_tasks_is_no_cause_of_its_own():
    a = fingerprint("FAILED", "task 0123456789abcdef on n3 of 2019-01-01T03:00:00Z: /a/b/c.nc, 17 of 20; tried 3 times")
    b = fingerprint("FAILED", "task fedcba9876543210 on n4 of 2019-02-07T00:00:00Z: /a/d/e.nc, 8 of 9; tried 4 times")
    assert a == b
    assert a != fingerprint("FAILED", "the pixel is on fire")
    assert fingerprint("INPUT", "x") != fingerprint("FAILED", "x")


@pytest.mark.parametrize(
    ("cause", "reason", "word"),
    [
        ("INPUT", "/a.nc: file does not exist; check forcing.paths", "forcing.paths"),
        ("OUT_OF_MEMORY", "it was killed for using more memory", "memory_mib"),
        ("I/O", "No space left on device; waited 40 times", "free space"),
        ("I/O", "Disk quota exceeded", "quota"),
        ("NODE_FAIL", "Slurm says NODE_FAIL of its job; taken away 20 times", "sinfo"),
        ("PREEMPTED", "Slurm says PREEMPTED", "QOS"),
        ("TIME_LIMIT", "taken away 20 times", "time"),
        ("FAILED", "exit code 1", "log"),
    ],
)
def test_each_class_has_its_advice(cause, reason, word):
    assert word in advise(cause, reason)


def test_attempts_are_counted_by_cause():
    events = [{"event": "attempt ended", "cause": c} for c in ("TIMEOUT", "TIMEOUT", "PREEMPTED")]
    assert count_attempts([*events, {"event": "completed"}]) == {"TIMEOUT": 2, "PREEMPTED": 1}


def test_tasks_are_chosen_by_the_start_of_their_id_and_by_their_cause():
    tasks = [failed(1, "INPUT", "truncated"), failed(2, "FAILED", "exit code 1"), TaskCourse("f" * 16)]
    assert select_failed(tasks) == [tasks[0].id, tasks[1].id]
    assert select_failed(tasks, text="TRUNCATED") == [tasks[0].id]
    assert select_failed(tasks, ids=[tasks[1].id]) == [tasks[1].id]
    assert select_failed(tasks, ids=["ffff"]) == []
