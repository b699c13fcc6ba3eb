"""Steps of different sizes in one job: packed on its nodes, at the same time, each rank on cores of its own."""

import json
import os
import shlex
import sys
from itertools import combinations
from pathlib import Path

import pytest

from pipshpc.lab.cluster import start_lab
from pipshpc.lab.layout import Layout
from pipshpc.site import launch_command, load_site
from pipshpc.slurm import Cluster, Job, sbatch_text, submit
from tests.lab.conftest import wait_for

pytestmark = pytest.mark.lab

REPORT = Path(__file__).with_name("rank_report.py")
SITE = load_site("lab")


def run_steps(cluster, folder, steps, key, nodes=2, options=("--exclusive",)):
    """Run steps {name: (ranks, threads, further arguments)} beside each other in one job; return the ranks' reports."""
    folder.mkdir(parents=True)
    count = sum(ranks for ranks, *_ in steps.values())
    commands = [
        launch_command(
            SITE, ranks, threads, [sys.executable, str(REPORT), name, str(folder), str(count)], **dict(*further)
        )
        for name, (ranks, threads, *further) in steps.items()
    ]
    # One after the other: which nodes have room for the next one is then no matter of chance.
    await_first = [f"until [ -e {folder}/{name}.0.there ]; do sleep 0.05; done" for name in steps]
    starts = [f"{shlex.join(c)} & {wait}" for c, wait in zip(commands, await_first, strict=True)]
    script = "\n".join([*starts, "wait"])
    job = Job(
        command=["bash", "-c", script],
        nodes=nodes,
        ntasks=nodes,
        time="5",
        output=str(folder / "log"),
        options=options,
        launch=False,
    )
    number = submit(cluster, sbatch_text(SITE, job), key)
    wait_for(cluster, number, "COMPLETED", "FAILED", patience_s=90)
    reports = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert len(reports) == count, (folder / "log").read_text()
    return reports


def nodes_of(reports, step):
    return {r["node"] for r in reports if r["step"] == step}


def check_apart(reports, steps):
    """Hold that each rank has the cores that were asked for, and no rank of its node shares them."""
    total = len(reports)
    for report in reports:
        ranks, threads, *_ = steps[report["step"]]
        assert (report["ranks"], report["threads"], len(report["cores"])) == (ranks, threads, threads), report
        assert report["together"] == total, "the steps did not run at the same time"
        assert "mask_cpu" in report["bind"]
    for one, other in combinations(reports, 2):
        if one["node"] == other["node"]:
            assert not set(one["cores"]) & set(other["cores"]), (one, other)


PACKS = {
    "a node each": {"A": (2, 1, {"nodes": 1}), "B": (1, 2, {"nodes": 1})},
    "one across and two beside it": {"A": (2, 1, {"nodes": 2}), "B": (1, 1, {"nodes": 1}), "C": (1, 1, {"nodes": 1})},
    "three and one": {"A": (3, 1, {"nodes": 2}), "B": (1, 1, {"nodes": 1})},
    "memory is stated": {"A": (2, 1, {"nodes": 1, "memory_mib": 800}), "B": (1, 2, {"nodes": 1, "memory_mib": 1200})},
    "nothing is stated": {"A": (1, 1), "B": (1, 1)},
}


@pytest.mark.parametrize("pack", PACKS)
def test_steps_are_packed_and_share_no_core(lab, cluster, request, pack):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only: there is nothing to pin")
    steps, folder = PACKS[pack], lab.path / "packs" / pack.replace(" ", "_")
    reports = run_steps(cluster, folder, steps, f"pack/{os.getpid()}/{pack.replace(' ', '_')}")
    check_apart(reports, steps)
    assert len({r["job"] for r in reports}) == 1
    for name, (ranks, _threads, *further) in steps.items():
        assert sorted(r["rank"] for r in reports if r["step"] == name) == list(range(ranks))
        if further:
            assert len(nodes_of(reports, name)) == further[0]["nodes"]


def test_a_node_that_is_excluded_gets_no_ranks(lab, cluster):
    steps = {"A": (2, 1, {"nodes": 1, "exclude": ["lab1"]}), "B": (1, 1, {"nodes": 1, "exclude": ["lab2"]})}
    key, options = f"exclude/{os.getpid()}", ("--exclusive", "--nodelist=lab1,lab2")
    reports = run_steps(cluster, lab.path / "packs" / "exclude", steps, key, options=options)
    assert (nodes_of(reports, "A"), nodes_of(reports, "B")) == ({"lab2"}, {"lab1"})


def test_claimed_cores_that_the_host_lacks_are_booked_and_not_pinned(lab_folder):
    cores = sorted(os.sched_getaffinity(0))
    folder = lab_folder("wide")
    wide = Layout(folder=str(folder), nodes=2, cpus=len(cores) + 2, accounting=False, scratch_mib=1)
    layout, _ = start_lab(wide, folder)
    steps = {"A": (len(cores) + 1, 1, {"nodes": 1}), "B": (1, 1, {"nodes": 1})}
    cluster = Cluster(conf=str(layout.conf("lab")), timeout_s=10)
    reports = run_steps(cluster, folder / "packs", steps, "wide", nodes=1)
    # All fit, by Slurm's count, on one node, and wander over all cores there are.
    assert {tuple(r["cores"]) for r in reports} == {tuple(cores)}
    assert {r["together"] for r in reports} == {len(reports)}
