"""Heartbeats and notes: whole or not at all, the last one tells the end, a full disk stops no work."""

import time

import pytest

from pipshpc.errors import SpecError
from pipshpc.notes import Beat, Failure, Heartbeat, note_path, read_note, write_note
from pipshpc.work import Hold, Usage


def test_a_heartbeat_goes_on_in_a_long_stage_and_tells_the_end(tmp_path):
    path = note_path(tmp_path / "t.json", "progress")
    with Heartbeat("t", "a", path) as beat:
        beat.stage, beat.total, beat.done = "read", 9, 3
        time.sleep(0.3)
        first = read_note(path, Beat)
        time.sleep(1.2)  # nothing changes, and still it beats
        second = read_note(path, Beat)
        beat.done, beat.stage = 9, "done"
        begin = time.monotonic()
    assert time.monotonic() - begin < 0.3  # the end of a task does not wait for the next beat
    last = read_note(path, Beat)
    assert (first.stage, first.task, first.attempt, first.started) == ("read", "t", "a", second.started)
    assert second.time > first.time + 0.4
    assert (last.stage, last.done, last.total) == ("done", 9, 9)
    assert [p.name for p in tmp_path.iterdir()] == ["t.progress"]


def test_a_heartbeat_that_cannot_be_written_stops_nothing(tmp_path):
    with Heartbeat("t", "a", tmp_path / "gone" / "t.progress") as beat:
        beat.stage = "compute"
        time.sleep(0.1)


def test_notes_that_are_not_whole_are_none(tmp_path):
    path = note_path(tmp_path / "t.json", "failed")
    assert read_note(path, Failure) is None
    path.write_text('{"exit_code": 3, "mess')
    assert read_note(path, Failure) is None
    write_note(path, Failure(exit_code=3, message="m"))
    assert read_note(path, Failure) == Failure(exit_code=3, message="m")


@pytest.mark.parametrize("text", ["compute", "sleep:3", "read:-1", "read:soon", ""])
def test_holds_are_read_strictly(text):
    with pytest.raises(SpecError, match=r"read\|compute\|write\|publish"):
        Hold.parse(text)
    assert Hold.parse("read:2.5").seconds == 2.5


def test_usage_only_grows(tmp_path):
    before = Usage.now()
    (tmp_path / "x").write_bytes(b"x" * (1 << 20))
    sum(range(1_000_000))
    after = Usage.now()
    assert after.cpu_s > before.cpu_s
    assert after.read_bytes >= before.read_bytes and after.written_bytes >= before.written_bytes
