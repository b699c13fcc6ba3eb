"""Every verb on a state folder: what it writes, what it leaves alone, what it says, its exit code."""

import json

import pytest
from story import Story
from test_cli import pipshpc  # noqa: F401 - a fixture
from test_overview import CAMPAIGN

from pipshpc.errors import SpecError
from pipshpc.view.overview import read_lines


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """A campaign of which three tasks failed, in the present folder, without a driver."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CAMPAIGN)
    story = Story(tmp_path / "out" / ".pipshpc" / "tiny").plan(6)
    story.driver()
    story.start(0)
    story.complete(0)
    for k in (1, 2):
        story.fail(k)
    story.fail(3, cause="FAILED", reason="exit code 1")
    return story


def noted(story):
    """Return the events that verbs wrote: those that say by whom."""
    return [e for e in read_lines(story.folder / "journal.jsonl") if "by" in e]


@pytest.fixture
def started(monkeypatch):
    """Do not start drivers; return the folders for which one was wanted."""
    from pipshpc.commands import starter

    wanted = []

    def start(place, by, here=False):
        wanted.append(place.folder)
        return starter.Started("detached", "1", False, "driver started as process 1")

    monkeypatch.setattr(starter, "start_driver", start)
    return wanted


def test_status_by_file_folder_and_name_is_the_same(pipshpc, campaign):  # noqa: F811
    said = [pipshpc("campaign", "status", word, "--json") for word in ("tiny.yaml", campaign.folder, "tiny", "out")]
    found = [json.loads(out) for code, out, _ in said if code == 0]
    assert len(found) == 4
    assert all(f["counts"] == {**found[0]["counts"], "COMPLETED": 1, "FAILED": 3, "PENDING": 2} for f in found)
    assert [len(c["tasks"]) for c in found[0]["failures"]] == [2, 1]


@pytest.mark.parametrize("verb", ["status", "watch", "report", "pause", "resume", "cancel"])
def test_a_campaign_that_never_began_is_one_line(pipshpc, tmp_path, monkeypatch, verb):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CAMPAIGN)
    code, _, err = pipshpc("campaign", verb, "tiny.yaml")
    assert code == SpecError.exit_code
    assert "pipshpc submit" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_pause_and_resume(pipshpc, campaign, started):  # noqa: F811
    assert pipshpc("campaign", "pause", "tiny")[0] == 0
    assert "paused already" in pipshpc("campaign", "pause", "tiny")[1]
    assert [e["event"] for e in noted(campaign)] == ["pause"]
    assert pipshpc("submit", "tiny")[0] == SpecError.exit_code
    assert "nothing" not in pipshpc("campaign", "tick", "tiny")[1]
    assert "start one: pipshpc submit" in pipshpc("campaign", "resume", "tiny")[1]
    assert [e["event"] for e in noted(campaign)] == ["pause", "resume"]
    assert not started
    code, out, _ = pipshpc("campaign", "resume", "tiny", "--start")
    assert (code, started) == (0, [campaign.folder])
    assert "neither paused nor cancelled" in out
    assert "driver started" in out


def test_cancel_says_what_is_kept_and_how_to_go_on(pipshpc, campaign):  # noqa: F811
    code, out, _ = pipshpc("campaign", "cancel", "tiny")
    assert code == 0
    assert "kept: 1 tasks with their files" in out
    assert f"pipshpc campaign resume {campaign.folder} --start" in out
    assert [e["event"] for e in noted(campaign)] == ["cancel"]
    assert "cancelled" in pipshpc("campaign", "status", "tiny")[1]
    assert "cancelled" in pipshpc("campaign", "tick", "tiny")[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--all"], "all"),
        (["--cause", "TRUNCATED"], [1, 2]),
        (["--cause", "exit code"], [3]),
        (["{3}"], [3]),
    ],
)
def test_retry_by_id_by_cause_and_all(pipshpc, campaign, words, expected):  # noqa: F811
    ids = [line["task"] for line in campaign.lines]
    words = [ids[3] if w == "{3}" else w for w in words]
    assert pipshpc("campaign", "retry", "tiny", *words)[0] == 0
    chosen = noted(campaign)[0]["tasks"]
    assert chosen == (expected if expected == "all" else [ids[k] for k in expected])
    found = json.loads(pipshpc("campaign", "status", "tiny", "--json")[1])["counts"]
    assert found["FAILED"] == (0 if expected == "all" else 3 - len(expected))


def test_retry_wants_to_know_which(pipshpc, campaign):  # noqa: F811
    for words in ([], ["--all", "--cause", "x"]):
        code, _, err = pipshpc("campaign", "retry", "tiny", *words)
        assert code == SpecError.exit_code
        assert "--cause TEXT" in err
    assert "none of the 3" in pipshpc("campaign", "retry", "tiny", "--cause", "unheard of")[1]
    assert not noted(campaign)


@pytest.mark.parametrize(
    "words",
    [["pause"], ["cancel"], ["retry", "--all"], ["extend", "--end", "2006-05-01"], ["resume", "--start"], ["tick"]],
)
def test_a_dry_run_writes_nothing(pipshpc, campaign, started, words):  # noqa: F811
    before = {p: p.read_bytes() for p in campaign.folder.rglob("*") if p.is_file()}
    verb, *rest = words
    code, out, _ = pipshpc("campaign", verb, "tiny.yaml", *rest, "--dry-run")
    assert code == 0
    assert out
    assert {p: p.read_bytes() for p in before} == before
    assert not noted(campaign)
    assert not started


def test_extend_changes_the_file_then_tells_the_driver(pipshpc, campaign, tmp_path):  # noqa: F811
    code, out, _ = pipshpc("campaign", "extend", "tiny.yaml", "--end", "2006-04-09T00:00:00Z", "--json")
    assert code == 0
    assert json.loads(out)["noted"] == "extend"
    file = tmp_path / "tiny.yaml"
    assert file.read_text() == CAMPAIGN.replace("2006-04-03", "2006-04-09")
    assert "2006-04-09" in (campaign.folder / "campaign.yaml").read_text()
    assert [(e["event"], e["end"]) for e in noted(campaign)] == [("extend", "2006-04-09T00:00:00Z")]
    code, _, err = pipshpc("campaign", "extend", "tiny.yaml", "--end", "2006-04-01")
    assert (code, err.count("\n")) == (SpecError.exit_code, 1)


def test_verbs_say_what_they_did_as_json(pipshpc, campaign):  # noqa: F811
    for verb, event in (("pause", "pause"), ("resume", "resume"), ("cancel", "cancel")):
        found = json.loads(pipshpc("campaign", verb, "tiny", "--json")[1])
        assert (found["campaign"], found["noted"]) == ("tiny", event)
        assert found["said"]


def test_who_asks_is_noted(pipshpc, campaign):  # noqa: F811
    pipshpc("campaign", "pause", "tiny")
    assert "@" in noted(campaign)[0]["by"]


def test_watch_once_and_report_come_to_an_end(pipshpc, campaign, tmp_path):  # noqa: F811
    code, out, _ = pipshpc("campaign", "watch", "tiny", "--once")
    assert code == 0
    assert "2019-01 #FFF.." in out
    code, out, _ = pipshpc("campaign", "watch", "tiny", "--png", tmp_path / "w.png")
    assert (code, out.strip()) == (0, str(tmp_path / "w.png"))
    assert json.loads(pipshpc("campaign", "watch", "tiny", "--json")[1])["chains"]
    code, out, _ = pipshpc("campaign", "report", "tiny")
    assert code == 0
    assert "failed: 2 tasks, 1 cause" in out
    assert json.loads(pipshpc("campaign", "report", "tiny", "--json")[1])["made_here"] == 1


def test_tick_has_nothing_to_do_when_all_is_done(pipshpc, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    story = Story(tmp_path / "out" / ".pipshpc" / "tiny").plan(1)
    (tmp_path / "tiny.yaml").write_text(CAMPAIGN)
    story.driver()
    story.start(0)
    story.complete(0)
    code, out, _ = pipshpc("campaign", "tick", "tiny.yaml")
    assert (code, out) == (0, "tiny: nothing is left to do\n")
    story.write("extend", end="2020-01-01", by="me")
    assert "would be started" in pipshpc("campaign", "tick", "tiny.yaml", "--dry-run")[1]


def test_schedule_puts_in_shows_and_takes_out(pipshpc, campaign, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "bin").mkdir()
    table, program = tmp_path / "table", tmp_path / "bin" / "crontab"
    table.write_text("0 3 * * * backup\n")
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then cat {table}; else cat > {table}.new; mv {table}.new {table}; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert "no entry" in pipshpc("campaign", "schedule", "tiny.yaml", "--show")[1]
    pipshpc("campaign", "schedule", "tiny.yaml", "--dry-run")
    assert table.read_text() == "0 3 * * * backup\n"
    assert pipshpc("campaign", "schedule", "tiny.yaml", "--every", "hourly")[0] == 0
    assert "0 * * * * " in table.read_text()
    assert f"campaign tick {campaign.folder}" in pipshpc("campaign", "schedule", "tiny", "--show")[1]
    assert pipshpc("campaign", "schedule", "tiny", "--remove")[0] == 0
    assert table.read_text() == "0 3 * * * backup\n"


def test_plan_tells_the_cost_and_where_it_comes_from(pipshpc, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(CAMPAIGN)
    code, out, _ = pipshpc("campaign", "plan", "tiny.yaml")
    assert code == 0
    for word in ("2 tasks, 16 fields", "launches of ranks", "node-hours", "MiB per rank", "built-in rates"):
        assert word in out
    found = json.loads(pipshpc("campaign", "submit", "tiny.yaml", "--dry-run", "--json")[1])
    assert found["cost"]["pending"] == 2
    assert not (tmp_path / "out").exists()
    assert json.loads(pipshpc("campaign", "validate", "tiny.yaml", "--json")[1])["valid"]
