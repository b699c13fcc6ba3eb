"""How long it will still take: right where the work is even, honest where it is not, and scored afterwards."""

import random

import pytest
from story import Story

from pipshpc.drive.course import fold
from pipshpc.drive.estimate import estimate, score


def course(story):
    return fold(story.journal.read())


def play(story, days, slots, seconds, look_at, wait=3.0):
    """Run tasks on so many slots at once; at `look_at` tasks done, return (estimate, time that it was made)."""
    clock, t0 = story.clock, story.clock.now
    free = [t0 + wait] * slots
    runs = []
    for k in range(days):
        slot = min(range(slots), key=lambda s: free[s])
        runs.append((free[slot], free[slot] + seconds(k), k))
        free[slot] = runs[-1][1]
    told = []
    steps = sorted([(b, "start", k) for b, _, k in runs] + [(e, "complete", k) for _, e, k in runs])
    done = 0
    for when, what, k in steps:
        clock.now = when
        if what == "start":
            story.start(k)
        else:
            story.complete(k, seconds=seconds(k))
            done += 1
        if what == "complete" and done == look_at:
            open_ = {story.lines[j]["task"]: (when - b) / (e - b) for b, e, j in runs if b <= when < e}
            told.append((estimate(course(story), story.lines, when, open_), when))
    clock.now = max(free)
    return told[0], max(free)


def test_nothing_is_said_before_anything_is_known(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(10)
    story.driver()
    assert estimate(course(story), story.lines, story.clock.now, {}) is None


def test_nothing_is_left_in_the_end(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(2)
    story.driver()
    for k in range(2):
        story.start(k)
        story.clock.now += 10
        story.complete(k)
    found = estimate(course(story), story.lines, story.clock.now, {})
    assert (found.left_s, found.low_s, found.high_s) == (0, 0, 0)


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("look_at", [10, 30])
def test_even_work_is_foretold(tmp_path, monkeypatch, slots, look_at):
    story = Story(tmp_path, monkeypatch).plan(80)
    story.driver()
    # Not in step, as no two tasks end at once.
    (found, when), end = play(story, 80, slots, lambda k: 9.0 + k % 7 * 0.37, look_at)
    assert found.left_s == pytest.approx(end - when, rel=0.15)
    assert found.low_s <= end - when <= found.high_s


def test_the_range_holds_the_truth_about_as_often_as_it_says(tmp_path, monkeypatch):
    chance = random.Random(7)
    hits = 0
    for trial in range(40):
        story = Story(tmp_path / str(trial), monkeypatch).plan(48)
        story.driver()
        lengths = [chance.lognormvariate(2.3, 0.4) for _ in range(48)]
        (found, when), end = play(story, 48, 4, lengths.__getitem__, 16)
        hits += found.low_s <= end - when <= found.high_s
    assert hits >= 28  # 32 are meant; fewer than 28 would be a bad joke by chance of one in thirty


def test_little_known_means_a_wide_range(tmp_path, monkeypatch):
    widths = []
    for look_at in (1, 40):
        story = Story(tmp_path / str(look_at), monkeypatch).plan(80)
        story.driver()
        (found, _), _ = play(story, 80, 2, lambda k: 10.0, look_at)
        widths.append(found.high_s / found.low_s)
    assert widths[0] > 2 > widths[1]


def test_a_costly_chain_counts_for_what_it_costs(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(10, chains=(("rlds",), ("rsds",)))
    story.driver()
    for k in range(8):  # four days of each: 5 s for one, 50 s for the other
        story.start(k)
        story.clock.now += (5, 50)[k % 2]
        story.complete(k, seconds=(5.0, 50.0)[k % 2])
    found = estimate(course(story), story.lines, story.clock.now, {})
    assert found.left_s == pytest.approx(6 * 5 + 6 * 50, rel=0.1)


def test_a_dead_night_between_two_drivers_is_no_slowness(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(20)
    story.driver()
    for k in range(10):
        story.start(k)
        story.clock.now += 10
        story.complete(k)
    story.clock.now += 36000
    found = estimate(course(story), story.lines, story.clock.now, {})
    assert found.left_s == pytest.approx(100, rel=0.1)


def test_waiting_for_nodes_is_in_it(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(20)
    story.driver()
    story.write("submitted", launch=1, tasks=[story.lines[0]["task"]], ranks=2, threads=1, nodes=1, memory_mib=0)
    story.clock.now += 300  # in the queue
    story.write("started", task=story.lines[0]["task"], launch=1, job="1", step="0", nodes="n1")
    story.clock.now += 10
    story.complete(0)
    known = course(story)
    without = estimate(known, story.lines, story.clock.now, {}).left_s
    story.write("submitted", launch=2, tasks=[story.lines[1]["task"]], ranks=2, threads=1, nodes=1, memory_mib=0)
    story.clock.now += 100
    after = estimate(course(story), story.lines, story.clock.now, {}).left_s
    assert without - 100 <= after <= without


def test_perfect_forecasts_score_perfectly():
    told = [{"time": t, "left_s": 100 - t, "low_s": 90 - t, "high_s": 110 - t, "done": t, "total": 100}
            for t in range(0, 100, 5)]  # fmt: skip
    found = score(told, 100)
    assert found.errors == {0.25: 0, 0.5: 0, 0.75: 0}
    assert found.inside == 1.0


def test_forecasts_are_scored_by_what_came_to_pass():
    told = [{"time": 50, "left_s": 75, "low_s": 60, "high_s": 90, "done": 50, "total": 100},
            {"time": 75, "left_s": 25, "low_s": 20, "high_s": 30, "done": 75, "total": 100},
            {"time": 100, "left_s": 0, "done": 100, "total": 100}]  # fmt: skip
    found = score(told, 100)
    assert found.errors == {0.5: pytest.approx(0.5), 0.75: 0}
    assert (found.inside, found.forecasts) == (0.5, 2)
