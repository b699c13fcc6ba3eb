"""A campaign without end: each day is made when its input has come, once, and a gap holds up nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pipshpc.drive.takeover import driver_alive
from pipshpc.view.overview import read_lines
from tests.mpi.conftest import write_forcing

pytestmark = [pytest.mark.system, pytest.mark.mpi]
CAMPAIGN = """campaign: "daily"
products: ["rlds"]
grid: "2deg"
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-07T00:00:00Z"
forcing: {paths: ["input/*.nc"], downscale: false}
cycle: {delay: "1d"}
resources: {ranks: 1}
output: "out"
"""
MINE = "MAILTO=me\n0 3 * * * backup  # of all\n"
DAYS = [f"2019-02-{day:02d}" for day in range(2, 7)]


class Desk:
    """Where input arrives, and the command line."""

    def __init__(self, folder):
        self.folder, self.state = folder, folder / "out" / ".pipshpc" / "daily"
        (folder / "input").mkdir()
        (folder / "daily.yaml").write_text(CAMPAIGN)
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def say(self, *words):
        return self.run([sys.executable, "-m", "pipshpc", "campaign", *words], self.environment)

    def run(self, words, environment):
        done = subprocess.run(
            words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def crontab(self):
        """Put a stand-in for crontab, which keeps its table in a file, before all programs; return that file."""
        table, program = self.folder / "table", self.folder / "bin" / "crontab"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ "$1" != -l ] || exec cat {table}\ncat > {table}.new; mv {table}.new {table}\n'
        )
        program.chmod(0o755)
        table.write_text(MINE)
        self.environment["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        return table

    def arrive(self, number, share=1.0):
        """Let the file of a day come, or the first part of it as a copy under way leaves it."""
        path = write_forcing(self.folder / f"{number}.nc", first_h=24 * number, seed=number)
        whole = path.read_bytes()
        path.unlink()
        (self.folder / "input" / f"era_{DAYS[number]}.nc").write_bytes(whole[: int(share * len(whole))])

    def events(self, kind):
        return [e for e in read_lines(self.state / "journal.jsonl") if e["event"] == kind]

    def planned(self):
        return {line["start"][:10]: line["task"] for line in read_lines(self.state / "plan.jsonl")}

    def made(self):
        """Return the days that were made, in order; each as often as it was."""
        days = {task: day for day, task in self.planned().items()}
        return [days[e["task"]] for e in self.events("completed") if not e.get("found")]

    def status(self):
        return json.loads(self.say("status", "daily", "--json"))


@pytest.fixture
def desk(tmp_path):
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")
    one = Desk(tmp_path)
    yield one
    if driver_alive(one.state):
        os.kill(one.events("driver started")[-1]["pid"], signal.SIGTERM)
        wait_for(lambda: not driver_alive(one.state))


def test_each_day_is_made_as_its_file_arrives_and_a_gap_is_named(desk):
    # Nothing has come: that is no error.
    assert "2019-02-02" in desk.say("tick", "daily.yaml")
    assert not desk.events("driver started")

    desk.arrive(0)
    desk.say("tick", "daily.yaml")
    assert desk.made() == DAYS[:1]
    first = desk.planned()
    assert desk.status()["late_input"] == DAYS[1:]

    # The second day is late, the third is there.
    desk.arrive(2)
    desk.say("tick", "daily.yaml")
    assert desk.made() == [DAYS[0], DAYS[2]]
    said = desk.say("status", "daily")
    assert f"late: {DAYS[1]}, {DAYS[3]} and 1 more" in said
    shown = desk.say("watch", "daily", "--once")
    assert "2019-02  #!#!!" in shown

    # Where nothing new came, no driver is started, and nothing is written.
    before = (desk.state / "journal.jsonl").read_bytes()
    assert "nothing new has come; waiting for the input of 2019-02-03" in desk.say("tick", "daily.yaml")
    assert (desk.state / "journal.jsonl").read_bytes() == before

    # The gap is closed, and a copy is under way.
    desk.arrive(1)
    desk.arrive(3, share=0.6)
    desk.say("tick", "daily.yaml")
    assert desk.made() == [DAYS[0], DAYS[2], DAYS[1]]
    assert desk.status()["late_input"] == DAYS[3:]
    assert f"era_{DAYS[3]}.nc" in desk.say("status", "daily")  # which file, and what is wrong with it

    # It is whole now; the earlier tasks are what they were.
    desk.arrive(3)
    desk.say("tick", "daily.yaml")
    assert desk.made() == [DAYS[0], DAYS[2], DAYS[1], DAYS[3]]
    assert desk.planned().items() >= first.items()
    desk.arrive(4)
    desk.say("tick", "daily.yaml")
    assert desk.made()[-1] == DAYS[4]
    assert sorted(desk.made()) == DAYS
    assert desk.status()["waiting_for_input"] == []
    assert "nothing is left" in desk.say("tick", "daily.yaml")
    assert len(list((desk.folder / "out").glob("rlds_*.nc"))) == len(DAYS)


def test_cron_finds_what_has_come_and_a_driver_at_work_is_told(desk):
    table = desk.crontab()
    desk.say("schedule", "daily.yaml", "--every", "30min")
    assert table.read_text().startswith(MINE)
    (line,) = [text for text in table.read_text().splitlines() if text.startswith("*/30 * * * * ")]
    # As cron runs it: by the shell, with next to no environment, from elsewhere.
    cron = ["/bin/sh", "-c", line.removeprefix("*/30 * * * * ").replace(r"\%", "%")]
    desk.arrive(0)
    desk.run(cron, {"HOME": str(desk.folder), "PATH": "/usr/bin:/bin"})
    assert desk.made() == DAYS[:1]

    # A driver that is at work makes what comes meanwhile.
    (desk.folder / "holds").mkdir()
    (desk.folder / "holds" / "all").write_text("compute")
    desk.environment["PIPSHPC_HOLD"] = f"@{desk.folder / 'holds'}"
    desk.arrive(1)
    desk.say("submit", "daily.yaml")
    wait_for(lambda: desk.planned().get(DAYS[1]) in {e["task"] for e in desk.events("started")})
    desk.arrive(2)
    desk.run(cron, {"HOME": str(desk.folder), "PATH": "/usr/bin:/bin"})
    assert "a driver is at work; 1 new task" in (desk.state / "tick.log").read_text()
    wait_for(lambda: len(desk.planned()) == 3)
    (desk.folder / "holds" / "all").write_text("go on")
    wait_for(lambda: not driver_alive(desk.state))
    assert desk.made() == DAYS[:3]
    assert len(desk.events("driver started")) == 2

    desk.say("schedule", "daily", "--remove")
    assert table.read_text() == MINE


def wait_for(what, patience_s=60):
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)
