"""`pipshpc submit` on a real Slurm: one driver, as a job; killed or out of time, the next one goes on."""

import pytest

from pipshpc.drive.course import COMPLETED
from tests.lab.conftest import ROOT, call

pytestmark = pytest.mark.lab


def test_a_driver_is_a_job_and_there_is_one(desk, lab):
    desk.write(end=4)
    desk.hold("compute")
    first = desk.ask("submit", "desk.yaml")
    assert first["how"] == "job"
    again = desk.ask("submit", "desk.yaml")
    assert again["how"] in ("queued", "alive")
    assert again["number"] in (first["number"], "")
    desk.wait(lambda: desk.beats("compute"))
    assert "at work already" in desk.say("submit", "desk.yaml")
    assert "a driver is at work" in desk.say("campaign", "tick", "desk.yaml")
    assert desk.events("driver started")[0]["host"].startswith("lab")

    # Days that are added are planned by the driver at work.
    assert "takes it up" in desk.say("campaign", "extend", "desk", "--end", "2006-04-05T00:00:00Z")
    desk.wait(lambda: desk.ask("campaign", "status", "desk")["tasks"] == 4)
    assert desk.course().drivers == 1

    # Somebody ends its job while ranks are at work; what cron calls finds that out, and goes on.
    call(lab, "scancel", first["number"])
    desk.wait(lambda: "ended" in desk.ask("campaign", "status", "desk")["driver"]["said"])
    assert "driver submitted as job" in desk.say("campaign", "tick", "desk.yaml")
    desk.wait(lambda: desk.course().drivers == 2)
    desk.hold("go on")
    desk.wait(lambda: desk.course().finished)
    assert desk.course().count(COMPLETED) == 4
    made = [e["task"] for e in desk.events("completed") if not e.get("found")]
    assert sorted(made) == sorted(set(made))
    assert len(desk.events("driver wanted")) == 2
    assert not list((desk.folder / "out").glob("*.part*"))
    assert "nothing is left to do" in desk.say("campaign", "tick", "desk.yaml")


def test_a_driver_whose_time_is_up_comes_again_by_itself(desk):
    text = (ROOT / "envs" / "sites" / "lab.yaml").read_text()
    assert 'time: "00:30:00", memory_mib' in text
    # Slurm tells it 90 s before its end, which is at once: minutes are the finest that Slurm counts.
    text = text.replace('time: "00:30:00", memory_mib', 'time: "00:02:00", memory_mib')
    (desk.folder / "short.yaml").write_text(text.replace('name: "lab"', 'name: "short"'))
    desk.write(end=4, site="./short.yaml")
    desk.hold("compute")
    job = desk.ask("submit", "desk.yaml")["number"]
    desk.wait(lambda: any(e["why"] == "time is up" for e in desk.events("driver ended")), 90)
    desk.hold("go on")
    desk.wait(lambda: desk.course().drivers >= 2)
    assert "queued again" in (desk.state / "driver.log").read_text()
    desk.wait(lambda: desk.course().finished)
    assert desk.course().count(COMPLETED) == 3
    assert [e["number"] for e in desk.events("driver wanted")] == [job]


def test_what_scrontab_is_given_runs_as_a_job(desk, lab):
    table, program = desk.folder / "table", desk.folder / "bin" / "scrontab"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" != -l ] || exec cat {table}\ncat > {table}.new; mv {table}.new {table}\n')
    program.chmod(0o755)
    table.write_text("# mine\n")
    desk.write(end=3)
    desk.hold("go on")
    desk.say("campaign", "schedule", "desk.yaml", path=str(program.parent))
    lines = desk.say("campaign", "schedule", "desk.yaml", "--show", path=str(program.parent)).splitlines()
    options = [line.replace("#SCRON", "#SBATCH") for line in lines[:-1]]
    assert all(line.startswith("#SBATCH --") for line in options)
    assert lines[-1].startswith("*/10 * * * * ")
    # Slurm takes the options, and the command needs nothing of the environment that it was put in from.
    script = desk.folder / "entry.sh"
    script.write_text("\n".join(["#!/bin/sh", *options, lines[-1].removeprefix("*/10 * * * * ")]) + "\n")
    call(lab, "sbatch", "--export=NONE", f"--output={desk.folder}/entry.log", str(script))
    desk.wait(lambda: desk.course().finished)
    assert desk.course().count(COMPLETED) == 2
    assert desk.course().driver.host.startswith("lab")
    desk.say("campaign", "schedule", "desk", "--remove", path=str(program.parent))
    assert table.read_text() == "# mine\n"
