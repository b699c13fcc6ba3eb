"""Jobs of the lab load their stack by module, under both tools, from the shared tree or a copy on their nodes."""

import json
import shlex
import shutil
import subprocess
import sys
import time

import msgspec
import pytest

from pipshpc.doctor import Finding
from pipshpc.lab.layout import read_software
from pipshpc.lab.stack import own_stack
from pipshpc.schema import parse_yaml
from pipshpc.site import load_site
from pipshpc.slurm import Job, sbatch_text, submit
from pipshpc.stack.staging import image_folder, pack
from tests.lab.conftest import ROOT, call, environment, wait_for, wait_for_code, wait_until
from tests.mpi.conftest import write_forcing
from tests.unit.moduletools import TOOLS

pytestmark = pytest.mark.lab

SHOWN = "dict((n, os.environ[n]) for n in ('PATH', 'PIPSHPC_STACK_SHARED'))"
ABOUT = f"import json, os, sys, pipshpc; print(json.dumps([os.uname()[1], sys.prefix, pipshpc.__file__, {SHOWN}]))"


@pytest.fixture(params=list(TOOLS))
def tool(request):
    path = TOOLS[request.param]()
    if path is None:
        pytest.skip(f"{request.param} is not installed here (envs/lab/install.sh)")
    return path


@pytest.fixture
def stack(lab):
    return own_stack()


@pytest.fixture
def folder(lab, request):
    """A folder that all nodes see."""
    path = lab.path / "stacks"
    path.mkdir(exist_ok=True)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def image(lab, stack):
    """The packed stack; nothing of it is on the nodes, before and after."""
    clear(lab)
    packed = pack(stack.prefix, image_folder(stack.modulepath, stack.module))
    yield packed
    shutil.rmtree(packed.folder, ignore_errors=True)
    clear(lab)


def clear(lab):
    """Remove what killed jobs left: a job of theirs would wait until their time is over."""
    for node in lab.all_nodes():
        for path in lab.private_tmp(node).glob("pipshpc-*"):
            shutil.rmtree(path, ignore_errors=True)


def site_of(lab, **changes):
    return msgspec.structs.replace(load_site(lab.sites / "lab.yaml"), **changes)


def copies(lab):
    """Return what lies on the nodes' own storage, by node."""
    return {node.name: [str(p) for p in lab.private_tmp(node).glob("pipshpc-*/*")] for node in lab.all_nodes()}


def start(lab, cluster, folder, stack, command, **changes):
    """Submit a job that loads the stack on two nodes; return its number and where it prints to."""
    log = folder / f"{time.monotonic_ns()}.log"
    job = Job(command=["bash", "-c", command], nodes=2, ntasks=2, ntasks_per_node=1, output=str(log),
              modules=[stack], launch=False)  # fmt: skip
    return submit(cluster, sbatch_text(site_of(lab, **changes), job), f"stack/{log.stem}"), log


def test_the_module_and_doctor_in_a_plain_job(lab, cluster, folder, stack, tool):
    script = folder / "doctor.sbatch"
    log = folder / "doctor.log"
    lines = [
        "#!/bin/bash",
        f"#SBATCH --output={log} --ntasks=2 --nodes=1",
        tool.line("bash"),
        f"module use {stack.modulepath}",
        f"module load rs-core && pipshpc doctor --json >{folder}/doctor.json",
    ]
    script.write_text("\n".join(lines) + "\n")
    clean = ["env", "-i", "PATH=/usr/bin:/bin", "HOME=/root", f"SLURM_CONF={lab.conf('lab')}"]
    done = subprocess.run(
        [*clean, "sbatch", "--parsable", str(script)], cwd=folder, capture_output=True, text=True, check=True
    )
    state = wait_for(cluster, done.stdout.strip(), "COMPLETED", "FAILED").state
    said = log.read_text() + (folder / "doctor.json").read_text()
    assert state == "COMPLETED", said
    found = {f["name"]: f for f in json.loads((folder / "doctor.json").read_text())}
    one = Finding(**found["stack"])
    assert one.state == "ok" and f"{stack.module} is loaded and intact" in one.found
    assert found["kernels"]["state"] == found["mpi"]["state"] == "ok"


def test_a_campaign_runs_in_the_stack_and_says_so(lab, folder, stack):
    assert read_software(lab).module == stack.module
    write_forcing(folder / "era.nc")
    text = f"""
campaign: "stacked"
products: ["rlds"]
grid: "1deg"
chunk: [90, 180]
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-03T00:00:00Z"
forcing: {{kind: "files", paths: ["era.nc"], downscale: false}}
site: "lab"
resources: {{ranks: 2, nodes: 2}}
output: "{folder}/out"
"""
    (folder / "stacked.yaml").write_text(text)
    words = [sys.executable, "-m", "pipshpc.cli", "run", str(folder / "stacked.yaml"), "--json"]
    done = subprocess.run(
        words, cwd=ROOT, env=environment(lab), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    state = folder / "out" / ".pipshpc" / "stacked"
    events = [json.loads(line) for line in (state / "journal.jsonl").read_text().splitlines()]
    assert [e["module"] for e in events if e["event"] == "stack"] == [stack.module]
    assert [e["stack"] for e in events if e["event"] == "completed"] == [stack.module]


def test_a_job_uses_the_copy_of_its_nodes_and_the_last_one_takes_it_away(lab, cluster, folder, stack, image):
    ready = folder / "go on"
    wait = f'until [ -e "{ready}" ]; do sleep 0.1; done'
    about = f"srun --mpi=none --overlap -N2 -n2 python3 -P -c {shlex.quote(ABOUT)}"
    jobs = [
        start(lab, cluster, folder, stack.module, f"{about}; echo done >&2; {wait}", node_local="/tmp") for _ in "ab"
    ]
    for _, log in jobs:
        wait_until(lambda log=log: log.exists() and log.read_text().endswith("done\n"))
    told = [json.loads(line) for _, log in jobs for line in log.read_text().splitlines() if line.startswith("[")]
    assert len(told) == 4
    for _, prefix, package, environ in told:
        assert prefix.startswith("/tmp/pipshpc-") and package.startswith(prefix)
        assert environ["PIPSHPC_STACK_SHARED"] == str(stack.prefix) and environ["PATH"].startswith(f"{prefix}/bin:")
    by_node = copies(lab)
    assert all(len(found) <= 1 for found in by_node.values())
    assert {node for node, found in by_node.items() if found} == {name for name, *_ in told}
    ready.touch()
    for job, log in jobs:
        assert wait_for(cluster, job, "COMPLETED", "FAILED").state == "COMPLETED", log.read_text()
    assert not any(copies(lab).values())


def test_a_staging_that_is_cut_off_leaves_nothing_that_looks_whole(lab, cluster, folder, stack, image):
    job, log = start(lab, cluster, folder, stack.module, "echo went on", node_local="/tmp")
    wait_until(lambda: any(copies(lab).values()))
    call(lab, "scancel", "--signal=KILL", "--full", job)
    wait_for(cluster, job, "CANCELLED", "FAILED")
    assert "went on" not in log.read_text() if log.exists() else True
    assert not any(path for node in lab.all_nodes() for path in lab.private_tmp(node).glob("pipshpc-*/*/ready"))
    again, log = start(lab, cluster, folder, stack.module, "command -v python3; echo went on", node_local="/tmp")
    assert wait_for(cluster, again, "COMPLETED", "FAILED").state == "COMPLETED", log.read_text()
    assert log.read_text().startswith("/tmp/pipshpc-") and log.read_text().endswith("went on\n")


def test_without_an_image_a_job_warns_and_uses_the_shared_tree(lab, cluster, folder, stack):
    job, log = start(lab, cluster, folder, stack.module, "command -v python3", node_local="/tmp")
    assert wait_for(cluster, job, "COMPLETED", "FAILED").state == "COMPLETED", log.read_text()
    warned, python = log.read_text().splitlines()
    assert "pipshpc stack pack rs-core" in warned and python == f"{stack.prefix}/bin/python3"


def test_a_stack_that_is_not_there_is_one_sentence(lab, cluster, folder):
    job, log = start(lab, cluster, folder, "rs-core/0.0-000000000000", "echo went on")
    wait_for(cluster, job, "FAILED")
    assert wait_for_code(cluster, job) == 4
    said = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and "pipshpc stack deploy rs-core --site lab" in said[0] and "went on" not in log.read_text()


def test_the_site_of_the_lab_names_the_stack(lab, stack):
    site = parse_yaml((lab.sites / "lab.yaml").read_text(), type(load_site("lab")), "lab")
    assert (site.stack, site.modulepath) == (stack.module, [str(stack.modulepath)])
