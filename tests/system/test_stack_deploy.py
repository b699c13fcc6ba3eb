"""Stacks deployed for real: twice the same, interrupted, damaged, without space, without a network."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipshpc.stack.archive import BOOT_PACKAGES
from pipshpc.stack.spec import parse_lock

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.system
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts and namespaces of its own need root")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache of wheels for all tests; $PIPSHPC_CACHE where it is set, so that a second run is quick."""
    return Path(os.environ.get("PIPSHPC_CACHE") or tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def stacks(tmp_path_factory):
    """A folder with a stack of few packages: those that deploying itself needs, and mpi4py."""
    folder = tmp_path_factory.mktemp("stacks")
    text = (ROOT / "envs" / "requirements.lock").read_text()
    wanted = {*BOOT_PACKAGES, "mpi4py"}
    entries = re.split(r"\n(?=\S)", text.strip())
    kept = [e for e in entries if parse_lock(e, "")[0].name in wanted]
    (folder / "small.lock").write_text("\n".join(kept) + "\n")
    write_stack(folder)
    return folder


def write_stack(folder, name="small", **changes):
    plain = {
        "name": name,
        "version": "1",
        "title": "of tests",
        "python": "3.11",
        "locks": ["small.lock"],
        "mpi": {"from": "system"},
        "environment": {"SMALL_HOME": "{prefix}/share"},
        **changes,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(plain))


class Commands:
    """Runs `pipshpc stack` as a user would."""

    def __init__(self, prefix, stacks, cache):
        self.prefix, self.stacks, self.cache = prefix, stacks, cache

    def words(self, verb, *words, stack="small"):
        return [sys.executable, "-m", "pipshpc.cli", "stack", verb, stack, "--prefix", str(self.prefix), *words]

    def environment(self, **settings):
        own = {"PIPSHPC_STACKS": str(self.stacks), "PIPSHPC_CACHE": str(self.cache), "PYTHONPATH": str(ROOT)}
        return {**os.environ, **own, "PIPSHPC_NO_APT": "1", **settings}

    def run(self, verb, *words, stack="small", before=(), timeout=300, **settings):
        argv = [*before, *self.words(verb, *words, stack=stack)]
        return subprocess.run(
            argv, env=self.environment(**settings), capture_output=True, text=True, timeout=timeout, check=False
        )

    def json(self, verb, *words, **settings):
        done = self.run(verb, *words, "--json", **settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, *words, verb="deploy", code=4, **settings):
        """Return the one sentence with which a command ends."""
        done = self.run(verb, *words, **settings)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr.strip().splitlines()[-1]

    @property
    def folder(self):
        return self.prefix / "small"

    def loadable(self):
        return sorted(p.name for p in (self.prefix / "modulefiles").glob("small/*"))


@pytest.fixture
def small(tmp_path, stacks, cache):
    return Commands(tmp_path / "sw", stacks, cache)


def test_two_prefixes_give_the_same_stack(tmp_path, stacks, cache):
    sites = [Commands(tmp_path / name, stacks, cache) for name in ("beijing", "sanya")]
    plan = sites[0].json("plan")
    first, second = (site.json("deploy") for site in sites)
    assert first["info"]["digest"] == second["info"]["digest"] == plan["info"]["digest"]
    assert first["proof"] == second["proof"]
    assert first["proof"]["numbers"]["ranks"] == {"ranks": 2, "sum": 3}
    locked = {(e.name, e.version) for e in parse_lock((stacks / "small.lock").read_text(), "")}
    assert first["proof"]["numbers"]["packages"]["versions"].items() <= locked
    again = sites[0].json("deploy")
    assert not again["made"] and again["proof"] == first["proof"]
    assert sites[0].json("verify")["numbers"] == first["proof"]["numbers"]
    # Nothing in a stack knows where it was built.
    prefix = Path(first["info"]["prefix"])
    text = [
        p for p in prefix.rglob("*") if p.is_file() and not p.is_symlink() and p.suffix in ("", ".cfg", ".py", ".json")
    ]
    assert not [p for p in text if b".building." in p.read_bytes() and "logs" not in p.parts]
    assert not [p for p in (prefix / "bin").iterdir() if str(prefix).encode() in p.resolve().read_bytes()[:200]]


def test_a_copy_runs_elsewhere(small, tmp_path):
    prefix = Path(small.json("deploy")["info"]["prefix"])
    shutil.copytree(prefix, tmp_path / "copy", symlinks=True)
    shutil.rmtree(prefix)
    script = next(p for p in (tmp_path / "copy" / "bin").iterdir() if p.name.startswith("markdown"))
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert "markdown" in done.stdout


def test_what_was_changed_by_hand_is_found_and_mended(small):
    prefix = Path(small.json("deploy")["info"]["prefix"])
    victim = next(prefix.glob("lib/python*/site-packages/typer/main.py"))
    victim.write_text("")
    assert "was changed since it was deployed" in small.refusal(verb="verify")
    assert small.json("deploy")["made"]
    assert victim.stat().st_size and small.run("verify").returncode == 0


def test_upgrade_rollback_and_remove(small, stacks):
    try:
        old = small.json("deploy")["active"]
        write_stack(stacks, environment={"SMALL": "2"})
        new = small.json("deploy")
        assert new["before"] == old != new["active"]
        assert small.json("rollback")["version"] == old
        assert "found no earlier default" in small.refusal(verb="rollback")
        assert "is the default" in small.refusal("--version", old, verb="remove", code=2)
        small.json("remove", "--version", new["active"])
        assert [p.name for p in small.folder.iterdir() if not p.name.startswith(".")] == [old]
    finally:
        write_stack(stacks)


@pytest.mark.parametrize("stage", ["packages", "finish", "verify"])
def test_a_killed_deployment_leaves_nothing_half_done(small, stage):
    process = subprocess.Popen(
        small.words("deploy"), env=small.environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stderr:
        if line.startswith(f"stack: {stage}"):
            break
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert small.loadable() == []
    assert [p for p in small.folder.iterdir() if not p.name.startswith(".")] == []
    result = small.json("deploy")
    assert any("interrupted deployment" in note for note in result["notes"])
    assert small.loadable() == [".version", result["active"], f"{result['active']}.lua"]
    assert not list(small.folder.glob(".building*"))


def test_two_people_at_once_get_one_stack(small):
    both = [
        subprocess.Popen(
            [*small.words("deploy"), "--json"], env=small.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    results = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert sorted(result["made"] for result in results) == [False, True]
    assert results[0]["proof"] == results[1]["proof"]


def test_a_damaged_wheel_is_fetched_again_or_named(small, tmp_path, cache):
    small.json("deploy")
    own = tmp_path / "cache"
    shutil.copytree(cache / "pool", own / "pool")
    wheel = next((own / "pool").glob("typer-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-100] + bytes(100))
    other = Commands(tmp_path / "other", small.stacks, own)
    said = other.refusal("--offline")
    assert wheel.name in said and "damaged" in said and "leave --offline out" in said
    assert any(wheel.name in note for note in other.json("deploy")["notes"])


@needs_root
def test_a_full_disk_is_said_and_leaves_nothing(small, tmp_path):
    small.prefix.mkdir()
    script = (
        f'mount -t tmpfs -o size=4m none {small.prefix} && "$@"; code=$?; ls -A {small.prefix}/small >&2; exit $code'
    )
    before = ["unshare", "-m", "bash", "-c", script, "-"]
    done = small.run("deploy", before=before)
    assert done.returncode == 5 and "Traceback" not in done.stderr
    said = next(line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "no space left" in said and "MiB free" in said and "--prefix PREFIX" in said
    assert ".building" not in done.stderr


@needs_root
def test_a_machine_without_the_command_module(small, stacks):
    write_stack(stacks, "modular", mpi={"from": "module", "module": "openmpi/5.0"})
    hide = "for f in /usr/share/lmod /usr/share/modules /usr/share/Modules /etc/profile.d; do"
    hide += " [ ! -d $f ] || mount -t tmpfs none $f; done; unset LMOD_PKG MODULESHOME; unset -f module; "
    before = ["unshare", "-m", "bash", "-c", f'{hide} exec "$@"', "-"]
    said = small.refusal(stack="modular", before=before, BASH_ENV="")
    assert "found no command 'module' on this machine" in said and "install Lmod" in said
    assert "'from: system'" in said


@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        (["--site", "atlantis"], {}, 2, "unknown site 'atlantis'; known sites:"),
        ([], {"PYTHON": "/no/such/python"}, 4, "PYTHON=/path/to/python3 pipshpc stack deploy"),
        ([], {"MPICC": "/no/such/mpicc"}, 4, "MPICC=/path/to/mpicc pipshpc stack deploy"),
    ],
)
def test_what_is_missing_is_said_with_the_command_that_mends_it(small, words, settings, code, said):
    assert said in small.refusal(*words, code=code, **settings)


def test_a_compiler_that_cannot_compile_is_named(small, stacks):
    march = {"x86_64": "x86-64-v3", "aarch64": "armv8.2-a"}
    write_stack(stacks, "compiled", compilers={"from": "system"}, march=march)
    said = small.refusal(stack="compiled", CC="/bin/false")
    assert "compiler /bin/false cannot compile for" in said and "CC=/path/to/gcc" in said


def test_a_missing_lock_is_named(small, stacks):
    write_stack(stacks, "unlocked", locks=["nothing.lock"])
    assert "nothing.lock cannot be read" in small.refusal(stack="unlocked", code=2)


@needs_root
def test_an_archive_deploys_without_a_network(small, tmp_path):
    here = small.json("deploy")
    archive = Path(small.json("export", "--output", str(tmp_path / "disk"))["archive"])
    subprocess.run(["tar", "-xf", archive, "-C", tmp_path], check=True)
    script = tmp_path / archive.name.removesuffix(".tar") / "deploy"
    bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path / "home")}
    # The loopback is there on any machine, and MPI needs it; a way to other machines there is none.
    alone = ["unshare", "-n", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]
    words = [*alone, script, "--prefix", str(tmp_path / "offline"), "--json"]
    done = subprocess.run(words, env=bare, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert there["made"] and there["proof"] == here["proof"]
    archive.write_bytes(archive.read_bytes()[:10000])
    assert "copy it again" in small.refusal("--from", str(archive), code=3)


def test_rs_core_is_deployed_proven_and_runs(tmp_path):
    if "PIPSHPC_CACHE" not in os.environ:
        pytest.skip("kernels of rs-core take minutes: name a folder for them by PIPSHPC_CACHE")
    core = Commands(tmp_path / "sw", ROOT / "envs" / "stacks", Path(os.environ["PIPSHPC_CACHE"]))
    done = core.run("deploy", "--json", stack="rs-core", timeout=1800)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    numbers = result["proof"]["numbers"]
    assert list(numbers) == ["packages", "ranks", "parallel hdf5", "kernels", "product"]
    assert numbers["kernels"]["wrong"] == [] and len(numbers["product"]["content"]) == 2
    own = Path(result["info"]["prefix"], "bin", "pipshpc")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **result["info"]["environment"]}
    listed = subprocess.run([own, "products", "--json"], env=bare, cwd="/", capture_output=True, check=True).stdout
    assert len(json.loads(listed)) == numbers["kernels"]["products"]
