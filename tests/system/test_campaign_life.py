"""A campaign as an operator lives with it: submitted, left alone, killed, looked after, extended, reported."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipshpc.drive.takeover import driver_alive
from pipshpc.view.overview import read_lines

pytestmark = [pytest.mark.system, pytest.mark.mpi]
CAMPAIGN = """campaign: "life"
products: ["rlds"]
grid: "0.25deg"
period: "3h"
start: "2006-04-01T00:00:00Z"
end: "2006-04-04T00:00:00Z"
forcing: {kind: "idealised", downscale: false}
resources: {ranks: 1, tasks_per_launch: 1}
output: "out"
"""


@pytest.fixture
def life(tmp_path):
    """Run the command line in a folder of its own; no driver outlives the test."""
    if shutil.which("mpiexec") is None:
        pytest.skip("mpiexec is not installed")
    (tmp_path / "life.yaml").write_text(CAMPAIGN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    def call(*words, code=0):
        found = subprocess.run(
            [sys.executable, "-m", "pipshpc", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert found.returncode == code, found.stderr
        return found.stdout

    call.environment = environment
    call.folder = tmp_path / "out" / ".pipshpc" / "life"
    yield call
    pid = driver_pid(call.folder)
    if pid and driver_alive(call.folder):
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not driver_alive(call.folder))


def driver_pid(folder):
    started = [e["pid"] for e in read_lines(folder / "journal.jsonl") if e["event"] == "driver started"]
    return started[-1] if started else 0


def wait_for(what, patience_s=120):
    deadline = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)
    return found


def counts(life):
    return json.loads(life("campaign", "status", "life", "--json"))["counts"]


def test_a_campaign_outlives_its_terminal_and_its_driver(life):
    begin = time.monotonic()
    said = json.loads(life("submit", "life.yaml", "--json"))
    assert said["how"] == "detached"
    assert time.monotonic() - begin < 25
    wait_for(lambda: any(e["event"] == "started" for e in read_lines(life.folder / "journal.jsonl")))
    assert os.getsid(driver_pid(life.folder)) != os.getsid(0)
    assert "at work already" in life("submit", "life.yaml")
    assert "a driver is at work" in life("campaign", "tick", "life.yaml")
    os.kill(driver_pid(life.folder), signal.SIGKILL)
    wait_for(lambda: not driver_alive(life.folder))
    assert "gone without a word" in life("campaign", "status", "life")
    # What cron does: the next driver goes on in the foreground.
    life("campaign", "tick", "life.yaml")
    assert counts(life)["COMPLETED"] == 3
    events = read_lines(life.folder / "journal.jsonl")
    completed = [e["task"] for e in events if e["event"] == "completed" and not e.get("found")]
    assert len(completed) == len(set(completed))
    assert "nothing is left to do" in life("campaign", "tick", "life.yaml")
    life("campaign", "extend", "life", "--end", "2006-04-05T00:00:00Z", "--start")
    wait_for(lambda: counts(life)["COMPLETED"] == 4 and not driver_alive(life.folder))
    found = json.loads(life("campaign", "report", "life", "--json"))
    assert found["counts"]["COMPLETED"] == 4
    assert found["drivers"] == 3
    assert found["chains"][0]["seconds"] > 0
    assert len(list((life.folder.parents[1]).glob("rlds_*.nc"))) == 4
    assert not list((life.folder.parents[1]).glob("*.part*"))
    wait_for(lambda: not at_home(life.folder))


def at_home(folder):
    """Return the processes that run in a folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(folder)):
                found.append(process.cmdline())
    return found


def test_cancel_stops_the_driver_and_resume_goes_on(life):
    life("submit", "life.yaml")
    wait_for(lambda: any(e["event"] == "submitted" for e in read_lines(life.folder / "journal.jsonl")))
    assert "cancelled" in life("campaign", "cancel", "life")
    wait_for(lambda: not driver_alive(life.folder))
    assert "cancelled" in life("campaign", "tick", "life.yaml")
    life("campaign", "resume", "life", "--start")
    wait_for(lambda: counts(life)["COMPLETED"] == 3 and not driver_alive(life.folder))


def test_a_driver_at_work_makes_the_days_that_are_added(life, tmp_path):
    holds = tmp_path / "holds"
    holds.mkdir()
    (holds / "all").write_text("compute")
    life.environment["PIPSHPC_HOLD"] = f"@{holds}"
    life("submit", "life.yaml")
    wait_for(lambda: any(e["event"] == "started" for e in read_lines(life.folder / "journal.jsonl")))
    first = [line["task"] for line in read_lines(life.folder / "plan.jsonl")]
    assert "takes it up" in life("campaign", "extend", "life", "--end", "2006-04-05T00:00:00Z")
    wait_for(lambda: len(read_lines(life.folder / "plan.jsonl")) == 4)
    assert [line["task"] for line in read_lines(life.folder / "plan.jsonl")][:3] == first
    (holds / "all").write_text("go on")
    wait_for(lambda: not driver_alive(life.folder))
    assert counts(life)["COMPLETED"] == 4
    assert [e["event"] for e in read_lines(life.folder / "journal.jsonl")].count("driver started") == 1
