"""A whole campaign through Parsl and Slurm on several nodes: the same content as on one local rank."""

import json
import shutil
import subprocess
import sys

import pytest

from pipshpc.digest import content_digest
from pipshpc.drive.course import COMPLETED, fold
from pipshpc.drive.journal import Journal
from tests.lab.conftest import ROOT, call, environment
from tests.mpi.conftest import write_forcing

pytestmark = pytest.mark.lab

DAYS = 20
CAMPAIGN = """
campaign: "{name}"
products: ["rlds", "vap", "rsds"]
grid: "1deg"
chunk: [40, 60]
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-22T00:00:00Z"
forcing: {{kind: "files", paths: ["era.nc"], downscale: false}}
site: "{site}"
chains:
  - {{products: ["rlds", "vap"], resources: {first}, priority: 1}}
  - {{products: ["rsds"], resources: {second}}}
output: "{base}/{name}"
"""


@pytest.fixture(scope="module")
def base(whole_lab):
    """A folder that all nodes see, with twenty days of forcing."""
    base = whole_lab.path / "campaigns"
    base.mkdir()
    write_forcing(base / "era.nc", steps=8 * DAYS, step_h=3)
    yield base
    shutil.rmtree(base, ignore_errors=True)


def write_campaign(base, name, site, first, second):
    path = base / f"{name}.yaml"
    path.write_text(CAMPAIGN.format(name=name, site=site, base=base, first=first, second=second))
    return path


def run(lab, path):
    """Drive a campaign to its end and return the driver's summary."""
    words = [sys.executable, "-m", "pipshpc.cli", "run", str(path), "--json"]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(lab), capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def digests(base, name):
    return {path.name: content_digest(path) for path in sorted((base / name).glob("*.nc"))}


def test_forty_tasks_on_several_nodes_give_the_content_of_one_rank(lab, base):
    spread = write_campaign(base, "spread", "lab", "{ranks: 2, nodes: 2}", "{ranks: 4, nodes: 2}")
    alone = write_campaign(base, "alone", "local", "{ranks: 1}", "{ranks: 1}")
    told = run(lab, spread)
    assert (told["tasks"], told["made_now"], told["failed"]) == (2 * DAYS, 2 * DAYS, {})
    run(lab, alone)
    assert len(digests(base, "spread")) == 3 * DAYS
    assert digests(base, "spread") == digests(base, "alone")

    course = fold(Journal(base / "spread" / ".pipshpc" / "spread" / "journal.jsonl").read())
    assert course.count(COMPLETED) == 2 * DAYS
    reports = [task.report for task in course.tasks.values()]
    assert sorted({r["ranks"] for r in reports}) == [2, 4]
    assert not any(r["blocks_lost"] or r["blocks_kept"] for r in reports)
    assert {len(nodes_of(task.nodes)) for task in course.tasks.values()} == {2}
    assert len({task.nodes for task in course.tasks.values()}) > 1  # more than one block of nodes
    assert not list((base / "spread").glob("*.part*"))
    assert call(lab, "squeue", "--noheader") == ""  # blocks are given back
    assert run(lab, spread)["made_now"] == 0


def nodes_of(text):
    """Return what lab[1-2] or lab1,lab3 stands for, as far as these labs need it."""
    if "[" not in text:
        return text.split(",")
    inside = text[text.index("[") + 1 : text.index("]")]
    names = []
    for part in inside.split(","):
        first, _, last = part.partition("-")
        names += range(int(first), int(last or first) + 1)
    return names
