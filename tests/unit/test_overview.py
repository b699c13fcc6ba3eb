"""What the state folder tells: where a campaign is, who drives, what is under way; fast, and whatever was cut."""

import fcntl
import json
import time

import pytest
from story import Story

from pipshpc.errors import SpecError
from pipshpc.view.overview import find_campaign, plan_is_old, read_overview, refresh, span
from pipshpc.view.status import describe_status, tell_status

CAMPAIGN = """# a comment
campaign: "tiny"
products: ["rlds"]
grid: "1deg"
period: "3h"
start: "2006-04-01T00:00:00Z"
end: "2006-04-03T00:00:00Z"
forcing: {kind: "idealised", downscale: false}
resources: {ranks: 1}
output: "out"
"""


def test_a_campaign_is_found_by_file_folder_and_name(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(CAMPAIGN)
    folder = tmp_path / "out" / ".pipshpc" / "tiny"
    assert find_campaign("tiny.yaml", tmp_path).folder == folder
    assert find_campaign(file, tmp_path).file == file
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").touch()
    for word in (folder, "out", "tiny", folder.relative_to(tmp_path)):
        assert find_campaign(word, tmp_path).folder == folder
    (folder / "origin.json").write_text(json.dumps({"file": str(file)}))
    assert find_campaign("tiny", tmp_path).file == file


def test_what_is_no_campaign_is_told_with_what_there_is(tmp_path):
    for output in ("a", "b"):
        folder = tmp_path / output / ".pipshpc" / "twin"
        folder.mkdir(parents=True)
        (folder / "journal.jsonl").touch()
    with pytest.raises(SpecError, match="known here: twin"):
        find_campaign("tiny", tmp_path)
    with pytest.raises(SpecError, match="2 campaigns"):
        find_campaign("twin", tmp_path)
    with pytest.raises(SpecError, match="state folder"):
        find_campaign(tmp_path, tmp_path)
    with pytest.raises(SpecError, match="pipshpc submit"):
        find_campaign(tmp_path / "a", tmp_path).__class__(tmp_path / "none").need_begun()


def test_each_task_is_in_one_state(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(10)
    story.driver()
    story.start(0)
    story.complete(0)
    story.fail(1)
    story.start(2)
    story.start(3)
    story.write("silent", task=story.lines[3]["task"], launch=4, why="no heartbeat for 40 s")
    view = read_overview(tmp_path, now=story.clock.now)
    expected = {"COMPLETED": 1, "FAILED": 1, "RUNNING": 1, "UNKNOWN": 1, "PENDING": 6, "SUBMITTED": 0}
    assert view.counts == expected
    assert view.left == 8
    assert sum(view.counts.values()) == len(view.tasks) == 10


def test_a_heartbeat_of_an_earlier_attempt_says_nothing(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(2)
    story.driver()
    story.beat(0, done=25)
    story.clock.now += 60
    story.start(0)
    assert read_overview(tmp_path).running == {}
    story.clock.now += 1
    story.beat(0, done=10)
    assert read_overview(tmp_path).running == {story.lines[0]["task"]: 0.2}


def test_a_driver_that_holds_the_lock_is_alive(tmp_path):
    story = Story(tmp_path).plan(1)
    story.driver(pid=7, host="login1")
    (tmp_path / "lock").touch()
    assert not read_overview(tmp_path).alive
    with (tmp_path / "lock").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        view = read_overview(tmp_path)
        assert view.alive
        assert "at work (process 7 on login1)" in "\n".join(tell_status(view))
    assert "at work (" not in "\n".join(tell_status(read_overview(tmp_path)))


def test_a_torn_journal_is_read_as_far_as_it_is_whole(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(3)
    story.driver()
    story.start(0)
    story.complete(0)
    with (tmp_path / "journal.jsonl").open("a") as handle:
        handle.write('{"time": 1, "event": "submitted"}\n{"event": "completed", "ta')
    assert read_overview(tmp_path).counts["COMPLETED"] == 1


def test_refreshing_tells_the_same_as_reading_anew(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(6)
    story.driver()
    view = refresh(read_overview(tmp_path))
    for k in range(4):
        story.start(k)
        if k % 2:
            story.complete(k)
        view = refresh(view)
    story.plan(3, first="2020-01-01")
    view, anew = refresh(view), read_overview(tmp_path)
    assert view.counts == anew.counts
    assert len(view.planned) == len(anew.planned)
    assert view.course.drivers == anew.course.drivers == 1


def test_a_new_plan_is_wanted_until_it_is_made(tmp_path):
    story = Story(tmp_path).plan(1)
    assert not plan_is_old(read_overview(tmp_path))
    story.write("extend", end="2020-01-01", by="me")
    assert plan_is_old(read_overview(tmp_path))
    story.write("planned", tasks=2)
    assert not plan_is_old(read_overview(tmp_path))


def test_status_names_what_holds_a_campaign_up(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(8)
    story.driver()
    story.write("block", job="17", state="PENDING", nodes="", reason="Resources")
    story.write("block", job="16", state="TIMEOUT", nodes="n1", reason="")
    story.write("node excluded", node="n3", until=story.clock.now + 600, reason="it died")
    story.write("waiting for input", days=["2019-01-08"], why="not there")
    story.fail(0)
    story.write("pause", by="me")
    view = read_overview(tmp_path, now=story.clock.now)
    text = "\n".join(tell_status(view))
    for word in ("block 17: PENDING, Resources", "1 TIMEOUT", "node n3: left alone for 10 min", "2019-01-08", "paused",
                 "failed: 1 task, 1 cause (INPUT), first on n3", "do this: get the named files again"):  # fmt: skip
        assert word in text
    json.dumps(describe_status(view))


def test_status_of_100000_tasks_takes_less_than_two_seconds(tmp_path):
    story = Story(tmp_path).plan(100_000, first="1800-01-01")
    story.driver()
    lines = []
    for launch in range(15_000):
        names = [line["task"] for line in story.lines[4 * launch : 4 * launch + 4]]
        at = {"time": 1e9 + launch, "launch": launch + 1}
        lines.append({**at, "event": "submitted", "tasks": names, "ranks": 2, "threads": 1})
        for name in names:
            lines.append({**at, "event": "started", "task": name, "job": "17", "step": "3", "nodes": "n1"})
            lines.append({**at, "event": "completed", "task": name, "seconds": 1.0, "blocks": 50, "blocks_kept": 0})
    with (tmp_path / "journal.jsonl").open("a") as handle:
        handle.writelines(json.dumps(line) + "\n" for line in lines)
    begin = time.process_time()  # not the clock on the wall, which other tests slow down
    view = read_overview(tmp_path)
    tell_status(view)
    assert time.process_time() - begin < 2.0
    assert view.counts["COMPLETED"] == 60_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3540, "59 min"), (7500, "2 h 05 min"), (200000, "2 d 7 h")],
)
def test_lengths_of_time(seconds, text):
    assert span(seconds) == text
