"""One task on several nodes says the same as on one rank; the batch file works as it is."""

import re
import shutil
import subprocess
import sys

import pytest

from pipshpc.catalogue import is_complete
from pipshpc.digest import content_digest
from pipshpc.forcing import Forcing
from pipshpc.notes import Report
from pipshpc.plan import plan
from pipshpc.schema import parse_yaml
from pipshpc.site import launch_command, load_site
from pipshpc.slurm import Job, sbatch_text, submit
from pipshpc.survey import survey
from pipshpc.task import write_task
from tests.lab.conftest import ROOT, call, sbatch, wait_for, wait_for_code
from tests.mpi.conftest import write_forcing
from tests.unit.test_plan import campaign

pytestmark = pytest.mark.lab


@pytest.fixture
def make_task(lab, request):
    """Return a function that writes a small task of two products, in a folder that nodes see."""
    base = lab.path / "tasks" / re.sub(r"\W", "_", request.node.name)
    base.mkdir(parents=True)
    forcing = Forcing(kind="files", paths=[str(write_forcing(base / "era.nc"))], downscale=False)

    def make(name):
        one = campaign(forcing=forcing, grid="1deg", chunk=[40, 60], output=str(base / name), products=["rlds", "vap"])
        task = plan(one, survey(one, base))[0]
        write_task(task, base / f"{name}.json")
        return task, base / f"{name}.json"

    yield make
    shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def alone(make_task):
    """Digests of the task's files as one local rank makes them."""
    task, path = make_task("alone")
    words = launch_command(load_site("local"), 1, 1, [sys.executable, "-m", "pipshpc.run", str(path)])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [content_digest(task.path(p)) for p in task.products]


def said(lab, job):
    return (lab.path / "log" / f"job-{job}.log").read_text()


@pytest.mark.parametrize(("nodes", "per_node", "threads"), [(2, 2, 1), (4, 1, 1), (2, 1, 2)])
def test_the_batch_file_gives_the_same_content_on_several_nodes(
    lab, cluster, make_task, alone, nodes, per_node, threads
):
    task, path = make_task("spread")
    options = [f"--nodes={nodes}", f"--ntasks-per-node={per_node}", f"--cpus-per-task={threads}"]
    job = sbatch(lab, *options, "jobs/task.sbatch", str(path))
    state = wait_for(cluster, job, "COMPLETED", "FAILED")
    assert state.state == "COMPLETED", said(lab, job)
    report = parse_yaml(path.with_suffix(".report").read_text(), Report, "report")
    assert (report.ranks, report.threads) == (nodes * per_node, threads)
    assert [content_digest(task.path(p)) for p in task.products] == alone
    assert all(is_complete(task.path(p), task.id) for p in task.products)


def test_the_text_of_the_site_does_the_same(lab, cluster, make_task, alone):
    task, path = make_task("text")
    job = Job(
        command=[sys.executable, "-m", "pipshpc.run", str(path)],
        ntasks=4,
        nodes=2,
        ntasks_per_node=2,
        output=f"{lab.path}/log/job-%j.log",
        setup=[f"cd {ROOT}"],
    )
    number = submit(cluster, sbatch_text(load_site("lab"), job), f"{task.id}/1")
    assert wait_for(cluster, number, "COMPLETED", "FAILED").state == "COMPLETED", said(lab, number)
    assert [content_digest(task.path(p)) for p in task.products] == alone


def test_the_batch_file_works_with_nothing_but_the_environment(lab, cluster):
    job = sbatch(lab, "jobs/task.sbatch")
    folder = ROOT / "products" / f"try-{job}"
    try:
        state = wait_for(cluster, job, "COMPLETED", "FAILED")
        assert state.state == "COMPLETED", said(lab, job)
        assert [p.name for p in folder.glob("*.nc")] == ["rlds_0.25deg_3h_20060401.nc"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_bad_task_file_is_one_sentence(lab, cluster, tmp_path):
    path = lab.path / "bad.json"
    path.write_text("{}")
    job = sbatch(lab, "jobs/task.sbatch", str(path))
    wait_for(cluster, job, "FAILED")
    assert wait_for_code(cluster, job) == 2
    assert "error: " in said(lab, job) and "Traceback" not in said(lab, job)
    assert call(lab, "squeue", "-h") == ""
