"""What a journal says, folded: the same for all readers, whenever they begin to read."""

import json
import random

import pytest

from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING, SUBMITTED, UNKNOWN, fold
from pipshpc.drive.journal import Journal


def write_story(journal):
    """Two tasks, a driver that dies, one that goes on; a task that fails and is asked for again."""
    journal.write("driver started", pid=1, host="a", site="lab", tasks=2, pending=2)
    journal.write("interchange started", pid=2, host="a")
    journal.write("planned", tasks=2)
    journal.write("submitted", launch=1, tasks=["x", "y"], ranks=2, threads=1, nodes=0, memory_mib=0)
    journal.write("started", task="x", launch=1, job="7", step="0", nodes="lab1")
    journal.write("silent", task="x", launch=1, why="no heartbeat for 31 s")
    journal.write("heard", task="x", launch=1)
    journal.write("completed", task="x", launch=1, seconds=2.0)
    journal.write("driver started", pid=3, host="b", site="lab", tasks=2, pending=1)
    journal.write("completed", task="x", found=True)
    journal.write("submitted", launch=2, tasks=["y"], ranks=2, threads=1, nodes=0, memory_mib=0)
    journal.write("attempt ended", task="y", launch=2, cause="FAILED", reason="r", next="never", charged=True)
    journal.write("failed", task="y", cause="FAILED", reason="r")
    journal.write("pause", by="me")
    journal.write("retry", tasks=["y"], by="me")
    journal.write("resume", by="me")
    journal.write("driver ended", done=1, failed=0, why="done")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    write_story(journal)
    return journal


def test_states_follow_the_story(journal):
    states = []
    course = fold([])
    for event in journal.read():
        fold([event], course)
        states.append((course.task("x").state, course.task("y").state))
    told = [s for k, s in enumerate(states) if k == 0 or s != states[k - 1]]
    assert told == [
        (PENDING, PENDING),
        (SUBMITTED, SUBMITTED),
        (RUNNING, SUBMITTED),
        (UNKNOWN, SUBMITTED),
        (RUNNING, SUBMITTED),
        (COMPLETED, SUBMITTED),
        (COMPLETED, PENDING),  # the driver died
        (COMPLETED, SUBMITTED),
        (COMPLETED, PENDING),
        (COMPLETED, FAILED),
        (COMPLETED, PENDING),  # asked for again
    ]
    assert course.task("x").report["seconds"] == 2.0  # what was found there later does not wipe it out
    assert course.launches == 2 and course.drivers == 2
    assert course.finished and not course.paused


def test_reading_in_parts_is_reading_at_once(journal):
    events = list(journal.read())
    whole = fold(events)
    for cut in range(len(events)):
        assert fold(events[cut:], fold(events[:cut])) == whole


def test_a_cut_line_costs_that_line_only(journal):
    text = journal.path.read_bytes()
    rng = random.Random(1)
    for _ in range(30):
        size = rng.randrange(len(text))
        journal.path.write_bytes(text[:size])
        whole = text[:size].count(b"\n")
        fresh = Journal(journal.path)
        assert len(fresh.news()) == whole
        fresh.write("pause", by="me")
        assert [e["event"] for e in fresh.news()][-1] == "pause"
        assert len(list(fresh.read())) in (whole + 1, whole + 2)  # a cut line may be whole but for its end


def test_news_are_told_once_and_half_lines_later(tmp_path):
    journal = Journal(tmp_path / "j")
    assert journal.news() == []
    journal.write("pause", by="me")
    assert [e["event"] for e in journal.news()] == ["pause"]
    with journal.path.open("a") as handle:
        handle.write('{"time": 1, "event": "res')
    assert journal.news() == []
    with journal.path.open("a") as handle:
        handle.write('ume"}\n')
    assert [e["event"] for e in journal.news()] == ["resume"]


def test_unknown_events_are_passed_over():
    assert fold([{"time": 1.0, "event": "from the future", "x": 1}]) == fold([])


def test_events_are_plain_json(journal):
    for line in journal.path.read_text().splitlines():
        assert {"time", "event"} <= json.loads(line).keys()
