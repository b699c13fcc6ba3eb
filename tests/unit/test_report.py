"""The report adds up: what the ranks counted, what sacct says, what nobody knows is said."""

import io
import json

import pytest
from rich.console import Console
from story import Story

from pipshpc.view import reportpage
from pipshpc.view.accounts import parse_accounts, parse_memory, parse_time, read_accounts
from pipshpc.view.overview import read_overview
from pipshpc.view.report import count_nodes, make_report, step_figures

SACCT = """12|COMPLETED|8|2|3600|04:00:00|
12.batch|COMPLETED|4|1|3600|00:01:00|2048K
12.extern|COMPLETED|8|2|3600|00:00:00|0
12.0|COMPLETED|4|2|1000|00:50:00.500|300M
12.1|CANCELLED by 0|4|2|500||
slurm_load: nonsense
"""


@pytest.fixture
def story(tmp_path, monkeypatch):
    story = Story(tmp_path / "c", monkeypatch).plan(8, chains=(("rlds", "rsds"), ("tas",)))
    story.driver()
    for k in range(8):
        story.start(k)
        story.clock.now += 10
        story.complete(k, seconds=10.0, peak_mib=100.0 + k)
    return story


def test_each_second_and_byte_is_counted_once(story):
    found = make_report(read_overview(story.folder), accounting=False)
    assert [c["tasks"] for c in found["chains"]] == [4, 4]
    for chain in found["chains"]:
        assert chain["seconds"] == 40.0
        assert chain["rank_seconds"] == 80.0
        assert chain["efficiency"] == pytest.approx(0.9)  # 18 s of CPU in 10 s on two ranks
        assert chain["written_bytes"] == 4 * 4 * 10**6
        assert sum(s["rank_seconds"] for s in chain["stages"].values()) == pytest.approx(4 * 19.0)
    assert found["hours"]["core_hours_computed"] == pytest.approx(8 * 20 / 3600, abs=1e-5)
    assert max(c["peak_mib"] for c in found["chains"]) == 107.0
    json.dumps(found)


def test_what_nobody_counted_is_not_zero(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(2)
    story.driver()
    story.write("completed", task=story.lines[0]["task"], launch=1, seconds=3.0, ranks=2)
    story.write("completed", task=story.lines[1]["task"], found=True)
    found = make_report(read_overview(tmp_path), accounting=False)
    chain = found["chains"][0]
    assert chain["tasks"] == 1
    for key in ("cpu_s", "efficiency", "read_bytes", "peak_mib", "startup_s_median"):
        assert chain[key] is None
    assert found["hours"]["told_by"] == "nobody"


def test_sacct_is_read_with_its_gaps():
    accounts = parse_accounts(SACCT)
    assert [a.id for a in accounts] == ["12", "12.batch", "12.extern", "12.0", "12.1"]
    assert (accounts[3].cpu_s, accounts[3].peak_mib, accounts[3].job) == (3000.5, 300.0, "12")
    assert (accounts[4].state, accounts[4].cpu_s, accounts[4].peak_mib) == ("CANCELLED", None, None)
    steps = step_figures(accounts)
    assert steps["steps"] == 2
    assert steps["efficiency"] == pytest.approx(3000.5 / 4000, abs=1e-4)  # only of the step whose CPU time is known
    assert steps["peak_mib"] == 300.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01.500", 1.5), ("01:02:03", 3723.0), ("2-00:00:01", 172801.0), ("", None), ("INVALID", None)],
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(("text", "mib"), [("1024K", 1.0), ("1.5G", 1536.0), ("1048576", 1.0), ("0", None), ("", None)])
def test_memory(text, mib):
    assert parse_memory(text) == mib


@pytest.mark.parametrize(("text", "number"), [("n1", 1), ("n[1-4]", 4), ("n[1-2,7],m3", 4), ("", 1)])
def test_node_lists(text, number):
    assert count_nodes(text) == number


class Silent:
    def ask(self, *_):
        from pipshpc.slurm import Silence

        raise Silence("sacct gave no answer in 20 s")


class Partial:
    def ask(self, *_):
        return SACCT


def test_what_sacct_does_not_know_is_said():
    assert read_accounts([]) == ([], "no job of Slurm took part")
    assert read_accounts(["12"], Silent())[1] == "sacct gave no answer in 20 s"
    found, unknown = read_accounts(["12", "13"], Partial())
    assert len(found) == 5
    assert unknown == "sacct knows nothing of 1 of 2 jobs"


def test_idle_time_is_what_was_held_and_not_computed_in(story, monkeypatch):
    story.write("block", job="12", state="RUNNING", nodes="n[1-2]", reason="")
    monkeypatch.setattr("pipshpc.view.report.read_accounts", lambda *_: (parse_accounts(SACCT), ""))
    hours = make_report(read_overview(story.folder))["hours"]
    assert (hours["core_hours_held"], hours["node_hours_held"], hours["told_by"]) == (8.0, 2.0, "sacct")
    assert hours["idle_share"] == pytest.approx(1 - 160 / 3600 / 8, abs=1e-3)


def test_without_sacct_the_journal_tells_the_node_hours(story):
    story.write("block", job="12", state="RUNNING", nodes="n[1-2]", reason="")
    story.clock.now += 1800
    story.write("block", job="12", state="TIMEOUT", nodes="n[1-2]", reason="")
    hours = make_report(read_overview(story.folder), accounting=False)["hours"]
    assert (hours["node_hours_held"], hours["told_by"], hours["idle_share"]) == (1.0, "journal", None)


def test_time_between_drivers_is_nobodys(tmp_path, monkeypatch):
    story = Story(tmp_path, monkeypatch).plan(2)
    for last in ("killed", "done"):
        story.driver()
        story.clock.now += 50
        story.start(0)
        if last == "done":
            story.write("driver ended", done=2, failed=0, why="done")
        story.clock.now += 10_000
    assert make_report(read_overview(tmp_path), accounting=False)["wall_s"] == 100.0


def test_forecasts_are_scored_against_the_end(story):
    end = story.clock.now + 100
    for done in (2, 4, 6):
        left = end - story.clock.now
        story.write("forecast", left_s=1.2 * left, low_s=left, high_s=1.5 * left, tasks=done, done=done, total=8)
        story.clock.now += 25
    story.clock.now = end
    story.write("driver ended", done=8, failed=0, why="done")
    found = make_report(read_overview(story.folder), accounting=False)["forecasts"]
    assert found["inside"] == 1.0
    assert found["errors"] == {mark: pytest.approx(0.2, abs=1e-3) for mark in ("25%", "50%", "75%")}


def test_the_page_says_what_the_figures_say(story, tmp_path, monkeypatch):
    story.plan(3, first="2020-01-01")
    for k in (16, 17):
        story.fail(k)
    found = make_report(read_overview(story.folder), accounting=False)
    console = Console(width=160, file=io.StringIO())
    monkeypatch.setattr(reportpage, "Console", lambda *_, **__: console)
    reportpage.print_report(found)
    text = console.file.getvalue()
    for word in ("rlds, rsds", "90%", "failed: 2 tasks, 1 cause (INPUT)", "do this:", "2 INPUT", "sacct was not asked"):
        assert word in text
    monkeypatch.undo()
    reportpage.print_report(found, tmp_path / "r.html")
    assert "rlds, rsds" in (tmp_path / "r.html").read_text()
