"""What `jobs/` holds for people without the driver: arrays, the Parsl script, the driver's job."""

import re
import shutil
import subprocess
import sys

import pytest

from pipshpc.catalogue import is_complete
from pipshpc.digest import content_digest
from pipshpc.schema import load_yaml
from pipshpc.site import launch_command, load_site
from pipshpc.task import Task
from tests.lab.conftest import ROOT, call, environment, sbatch, wait_for, wait_until

pytestmark = pytest.mark.lab

CAMPAIGN = """
campaign: "byhand"
products: ["rlds"]
grid: "0.5deg"
box: [0, 30, 30, 60]
period: "3h"
start: "2006-04-01T00:00:00Z"
end: "2006-04-04T00:00:00Z"
forcing: {kind: "idealised", downscale: false}
output: "%s"
"""


def python(lab, *words, timeout=120):
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**environment(lab), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(lab, request):
    """Return a folder that all nodes see, with the task files of a campaign of three days in it."""
    path = lab.path / "tasks" / re.sub(r"\W", "_", request.node.name)
    path.mkdir(parents=True)
    (path / "byhand.yaml").write_text(CAMPAIGN % (path / "out"))
    assert "3 tasks" in python(lab, "-m", "jobs.write_tasks", str(path / "byhand.yaml"), str(path / "tasks"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def tasks_in(folder):
    return (folder / "tasks" / "tasks.txt").read_text().split()


def check_made(folder):
    """Hold that all three days are made, and the first one says what one rank says."""
    tasks = [load_yaml(path, Task) for path in tasks_in(folder)]
    assert all(is_complete(task.path(p), task.id) for task in tasks for p in task.products)
    made = tasks[0].path("rlds")
    spread = content_digest(made)
    for path in made.parent.glob(f"{made.stem}*"):
        path.unlink()
    words = launch_command(load_site("local"), 1, 1, [sys.executable, "-m", "pipshpc.run", tasks_in(folder)[0]])
    subprocess.run(words, cwd=ROOT, check=True, timeout=120, capture_output=True)
    assert content_digest(made) == spread


def test_an_array_makes_a_task_an_element(lab, cluster, folder):
    job = sbatch(lab, "--array=1-3", "jobs/array.sbatch", str(folder / "tasks" / "tasks.txt"))
    for k in (1, 2, 3):
        state = wait_for(cluster, f"{job}_{k}", "COMPLETED", "FAILED", patience_s=120)
        assert state.state == "COMPLETED", (lab.path / "log" / f"job-{state.raw_id}.log").read_text()
    check_made(folder)


def test_an_element_without_a_line_says_so(lab, cluster, folder):
    job = sbatch(lab, "--array=9", "jobs/array.sbatch", str(folder / "tasks" / "tasks.txt"))
    state = wait_for(cluster, f"{job}_9", "FAILED", patience_s=60)
    wait_until(lambda: wait_for(cluster, f"{job}_9", "FAILED").exit_code == 2)
    assert (
        "has no line 9; its lines are numbered from 1 to 3"
        in (lab.path / "log" / f"job-{state.raw_id}.log").read_text()
    )


def test_the_parsl_script_makes_the_tasks(lab, cluster, folder):
    said = python(lab, "-m", "jobs.parsl_campaign", "lab", *tasks_in(folder), timeout=240)
    assert "3 of 3 tasks are made" in said
    check_made(folder)
    assert not [job for job in call(lab, "squeue", "-h", "-t", "R", "-o", "%j").split() if job.startswith("parsl")]


STUB = """#!/bin/bash
# Stands for the driver: a first run that is stopped ends with 75, the second one finds all done.
echo "$SLURM_RESTART_COUNT $*" >>{folder}/runs
[ "${{SLURM_RESTART_COUNT:-0}}" = 0 ] || exit 0
trap 'echo stopped >>{folder}/runs; exit 75' TERM
touch {folder}/runs.there
while :; do sleep 0.1; done
"""


def test_the_drivers_job_queues_itself_again_before_its_time_is_over(lab, cluster, folder):
    (folder / "bin").mkdir()
    stub = folder / "bin" / "python"
    stub.write_text(STUB.format(folder=folder))
    stub.chmod(0o755)
    # From a folder without an environment of its own, which would come before the stub.
    job = sbatch(lab, f"{ROOT}/jobs/driver.sbatch", f"{folder}/byhand.yaml", path=str(stub.parent), cwd=folder)
    wait_until((folder / "runs.there").exists)
    call(lab, "scancel", "--batch", "--signal=USR1", job)
    assert wait_for(cluster, job, "COMPLETED", "FAILED", patience_s=90).state == "COMPLETED"
    command = f"-m pipshpc.cli campaign drive {folder / 'byhand.yaml'}"
    assert (folder / "runs").read_text().splitlines() == [f" {command}", "stopped", f"1 {command}"]


def test_the_drivers_job_makes_a_whole_campaign(lab, cluster, folder):
    path = folder / "byhand.yaml"
    path.write_text(path.read_text() + 'site: "lab"\nresources: {ranks: 2, nodes: 1}\n')
    job = sbatch(lab, "--mem=500M", "jobs/driver.sbatch", str(path))
    state = wait_for(cluster, job, "COMPLETED", "FAILED", patience_s=240)
    assert state.state == "COMPLETED", (lab.path / "log" / f"job-{job}.log").read_text()
    check_made(folder)
    wait_until(lambda: call(lab, "squeue", "-h") == "")


def test_a_driver_that_ends_by_itself_hands_on_its_exit_code(lab, cluster, folder):
    (folder / "bin").mkdir()
    stub = folder / "bin" / "python"
    stub.write_text("#!/bin/bash\nexit 3\n")
    stub.chmod(0o755)
    job = sbatch(lab, f"{ROOT}/jobs/driver.sbatch", "any.yaml", path=str(stub.parent), cwd=folder)
    wait_for(cluster, job, "FAILED", patience_s=60)
    wait_until(lambda: wait_for(cluster, job, "FAILED").exit_code == 3)
