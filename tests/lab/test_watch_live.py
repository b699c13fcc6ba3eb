"""What an operator sees of a campaign on the lab while it runs, and what is reported afterwards, against sacct."""

import shutil
import time

import pytest

from pipshpc.drive.course import COMPLETED, FAILED, PENDING, RUNNING, SUBMITTED
from pipshpc.drive.driver import LOOK_S
from tests.lab.conftest import call
from tests.mpi.conftest import write_forcing

pytestmark = pytest.mark.lab
CAMPAIGN = """campaign: "desk"
products: ["rlds", "vap"]
grid: "1deg"
chunk: [30, 60]
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-06T00:00:00Z"
forcing: {{paths: ["era.nc"], downscale: false}}
site: "lab"
resources: {{ranks: 2, nodes: 1, tasks_per_launch: 1}}
chains:
  - {{products: ["rlds"], priority: 1}}
  - {{products: ["vap"]}}
retry: {{longest_wait_s: 2}}
output: "out"
"""


def test_watch_and_report_tell_what_is_so(desk, lab):
    forcing = write_forcing(desk.folder / "era.nc", steps=32, step_h=3)
    shutil.copy(forcing, desk.folder / "whole.nc")
    desk.write(0, text=CAMPAIGN)
    desk.hold("read")
    desk.say("submit", "desk.yaml", "--here")

    # Four at a time, two wait at the workers, two in the queue: there they stay, as the campaign is paused.
    first, second, *others = (beat["task"] for beat in desk.wait(lambda: at_least(4, desk.beats("read"))))
    desk.say("campaign", "pause", "desk")
    time.sleep(2 * LOOK_S)
    desk.hold("go on", first)
    desk.hold("write", second)
    desk.wait(lambda: desk.course().task(first).state == COMPLETED and desk.beats("write"))
    (fifth,) = desk.wait(lambda: {beat["task"] for beat in desk.beats("read")} - {first, second, *others})
    # The file is cut under those that are about to read it, and before the sixth opens it.
    forcing.write_bytes(forcing.read_bytes()[:200_000])
    for task in others:
        desk.hold("go on", task)
    desk.wait(lambda: desk.course().count(FAILED) >= 3 and not desk.course().count(SUBMITTED))
    failed = desk.course().count(FAILED)  # one more where the driver read of the pause late
    waiting = 5 - failed

    shown = desk.say("campaign", "watch", "desk", "--once")
    assert f"8 tasks: {waiting} PENDING, 2 RUNNING, 1 COMPLETED, {failed} FAILED" in shown
    # Two read what was not planned with, and what came later could not open it: two causes, each told once.
    assert "failed: 2 tasks, 1 cause (INPUT), first on lab" in shown
    assert shown.count("1 cause (INPUT)") == shown.count("  do this: ") == 2
    assert "paused" in shown
    facts = desk.ask("campaign", "watch", "desk")
    assert {row["tasks"] for row in facts["chains"]} == {4}
    found = [sum(row[state] for row in facts["chains"]) for state in (COMPLETED, RUNNING, FAILED, PENDING)]
    assert found == [1, 2, failed, waiting]
    assert {row["task"]: row["stage"] for row in facts["running"]} == {second: "write", fifth: "read"}
    assert all(row["nodes"].startswith("lab") for row in facts["running"])
    assert "2019-02" in shown and "blocks of 2 tasks under way" in shown
    desk.say("campaign", "watch", "desk", "--png", "watch.png")
    assert (desk.folder / "watch.png").read_bytes()[1:4] == b"PNG"

    # The file is mended, those that failed are tried again, and the numbers are those of sacct.
    shutil.copy(desk.folder / "whole.nc", forcing)
    desk.say("campaign", "retry", "desk", "--cause", "input")
    desk.say("campaign", "resume", "desk")
    desk.hold("go on")
    for path in desk.holds.iterdir():
        path.write_text("go on")
    desk.wait(lambda: desk.course().finished)
    desk.wait(lambda: not call(lab, "squeue", "--noheader"))
    report = desk.ask("campaign", "report", "desk")
    assert report["counts"][COMPLETED] == 8
    assert report["attempts"]["INPUT"] == failed
    node_hours, steps = account(lab, desk.course().blocks)
    assert report["hours"]["node_hours_held"] == pytest.approx(node_hours, abs=1e-4)
    assert report["accounting"]["steps"]["steps"] == steps == len(desk.events("submitted"))
    assert report["forecasts"]["scored"] >= 1
    assert {tuple(chain["products"]): chain["tasks"] for chain in report["chains"]} == {("rlds",): 4, ("vap",): 4}


def at_least(number, found):
    """Return what was found, once it is enough."""
    return found if len(found) >= number else None


def account(lab, jobs):
    """Return node-hours of jobs and the number of steps that ran ranks, by sacct."""
    columns = "--format=JobID,NNodes,ElapsedRaw"
    lines = call(lab, "sacct", "--noheader", "--parsable2", "--jobs", ",".join(jobs), columns).splitlines()
    rows = [line.split("|") for line in lines]
    held = sum(int(nodes) * int(seconds) for job, nodes, seconds in rows if "." not in job)
    return held / 3600, sum(job.rpartition(".")[2].isdigit() for job, _, _ in rows if "." in job)
