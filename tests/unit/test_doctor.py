"""The doctor: each judgement, and one examination of this machine."""

import json
import shutil
import sys
import time
from pathlib import Path

import msgspec
import pytest

from pipshpc import doctor
from pipshpc.doctor import Outcome, examine, judge_locking, judge_mpi, run
from pipshpc.findings import check_stack
from pipshpc.schema import parse_yaml
from pipshpc.site import Site
from pipshpc.stack.info import StackInfo
from pipshpc.stack.intact import write_record

HERE = Path("/data")


def locks(flock="", fcntl="", hdf5=""):
    return Outcome(0, json.dumps({"flock": flock, "fcntl": fcntl, "hdf5": hdf5}))


def ranks(size, total):
    return Outcome(0, json.dumps({"ranks": size, "sum": total, "library": "Open MPI v4.1.4"}) + "\n")


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        (locks(), "ok", "flock, fcntl and HDF5 work"),
        (locks(flock="Function not implemented"), "fail", "flock: Function not implemented"),
        (locks(hdf5="unable to lock file, errno = 37"), "fail", "errno = 37"),
        (locks(fcntl="No locks available"), "warn", "fcntl: No locks available"),
        (Outcome(None, ""), "fail", "no answer to a lock"),
        (Outcome(1, "Traceback\nPermissionError: denied"), "fail", "denied"),
    ],
)
def test_what_locks_say(outcome, state, said):
    finding = judge_locking(outcome, HERE, "nfs", None)
    assert (finding.state, finding.name) == (state, "locking /data")
    assert said in finding.found
    assert (state == "ok") == (finding.action == "")


def test_a_file_system_without_locks_can_still_be_read():
    assert "HDF5_USE_FILE_LOCKING=FALSE" in judge_locking(locks(flock="no", hdf5="no"), HERE, "nfs", None).action
    assert "HDF5_USE_FILE_LOCKING=FALSE" in judge_locking(locks(), HERE, "nfs", "FALSE").found


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        (ranks(2, 3), "ok", "2 ranks by sh, Open MPI"),
        (ranks(1, 1), "fail", "each is alone"),
        (Outcome(None, ""), "fail", "no answer in 30 s"),
        (Outcome(1, "ORTE was unable to start\n-----\n"), "fail", "ORTE was unable to start"),
    ],
)
def test_what_two_ranks_say(outcome, state, said):
    finding = judge_mpi(outcome, "sh")
    assert finding.state == state
    assert said in finding.found


def test_a_missing_launcher_comes_with_the_cure():
    site = parse_yaml('name: "x"\nlauncher: {command: ["no-such-launcher", "{ranks}"]}', Site, "x.yaml")
    finding = doctor.check_mpi(site)
    assert finding.state == "fail"
    assert "no no-such-launcher on the PATH" in finding.found
    assert "openmpi-bin" in finding.action


def test_kernels_for_another_processor(monkeypatch):
    monkeypatch.setattr(doctor, "trial", lambda *_: ["sh", "-c", "kill -ILL $$"])
    finding = doctor.check_kernels()
    assert finding.state == "fail"
    assert "another processor" in finding.found
    assert "PIPSHPC_MARCH" in finding.action


def test_a_wrong_kernel_is_named(monkeypatch):
    said = json.dumps({"products": 1, "examples": 1, "wrong": ["rlds by x: 1, wanted 2"]})
    monkeypatch.setattr(doctor, "trial", lambda *_: ["echo", said])
    finding = doctor.check_kernels()
    assert (finding.state, finding.found) == ("fail", "rlds by x: 1, wanted 2")


def test_little_space_and_little_memory(monkeypatch, tmp_path):
    usage = type(shutil.disk_usage(tmp_path))
    for free, state in ((1 << 20, "fail"), (5 << 30, "warn"), (50 << 30, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(100 << 30, 0, free))
        assert doctor.check_space(tmp_path).state == state
    monkeypatch.setattr(doctor, "_cgroup", lambda name: str(1 << 20) if name == "memory.max" else "")
    assert doctor.check_memory().state == "fail"
    monkeypatch.setattr(doctor, "_cgroup", lambda name: "50000 100000" if name == "cpu.max" else "")
    assert doctor.check_cores().state == "warn"


def test_a_program_that_hangs_is_ended_with_its_children():
    started = time.monotonic()
    outcome = run(["sh", "-c", "echo before; sleep 60 & sleep 60"], 0.5)
    assert outcome.code is None
    assert outcome.text == "before\n"
    assert time.monotonic() - started < 5


def test_a_program_that_is_not_there():
    assert run(["no-such-program"], 1).code == 127


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise OSError("the disk is gone")

    monkeypatch.setattr(doctor, "check_cores", broken)
    monkeypatch.setattr(doctor, "run", lambda argv, timeout: Outcome(None, ""))
    findings = {f.name: f for f in examine(["/"])}
    assert findings["cores"].state == "fail"
    assert "the disk is gone" in findings["cores"].found


@pytest.mark.mpi
def test_this_machine(tmp_path):
    folder = tmp_path / "not" / "yet"
    findings = {f.name: f for f in examine([folder])}
    for name in ("python", "mpi", f"locking {folder}", f"parallel hdf5 {folder}"):
        assert findings[name].state == "ok", findings[name]
    assert list(tmp_path.iterdir()) == []
    assert all(f.found for f in findings.values())
    assert all(f.action for f in findings.values() if f.state == "fail")
    assert json.loads(msgspec.json.encode(list(findings.values())))[0]["name"] == "python"


@pytest.mark.mpi
def test_hdf5_without_mpi_is_recognised(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "trial", lambda *_: ["sh", "-c", "echo h5py was built without MPI; exit 1"])
    site = parse_yaml('name: "x"\nlauncher: {command: ["env", "N={ranks}"]}\ncores: 4', Site, "x.yaml")
    finding = doctor.check_parallel_hdf5(site, tmp_path)
    assert finding.state == "fail"
    assert "libhdf5-openmpi-dev" in finding.action


@pytest.fixture
def deployed(tmp_path, monkeypatch):
    """A small stack, as its module names it; the Python that looks is the stack's."""
    info = StackInfo(name="rs-try", version="1", digest="a" * 64, prefix=str(tmp_path / "stack"))
    (tmp_path / "stack" / "bin").mkdir(parents=True)
    (tmp_path / "stack" / "bin" / "python3").symlink_to(sys.executable)
    package = tmp_path / "stack" / "lib" / "python3" / "site-packages" / "pipshpc"
    package.mkdir(parents=True)
    (package / "cli.py").write_text("one")
    write_record(tmp_path / "stack", info)
    monkeypatch.setenv("PIPSHPC_STACK", "rs-try/1-aaaaaaaaaaaa")
    monkeypatch.setenv("PIPSHPC_STACK_DIGEST", "a" * 64)
    monkeypatch.setenv("PIPSHPC_STACK_PREFIX", str(tmp_path / "stack"))
    monkeypatch.delenv("PIPSHPC_STACK_SHARED", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "stack"))
    return package


def test_a_loaded_stack_is_intact_also_after_python_compiled_it(deployed):
    (deployed / "__pycache__").mkdir()
    (deployed / "__pycache__" / "cli.pyc").write_text("compiled")
    said = check_stack()
    assert said.state == "ok" and "rs-try/1-aaaaaaaaaaaa is loaded and intact: 2 files" in said.found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda package: (package / "cli.py").write_text("two"), "files of pipshpc were changed"),
        (lambda package: (package / "cli.py").write_text("longer"), "other sizes or names"),
        (lambda package: (package / "more.py").write_text(""), "3 files where 2 were deployed"),
        (lambda package: (package / "cli.py").unlink(), "1 files where 2 were deployed"),
        (lambda package: (package.parents[3] / "bin" / "python3").unlink(), "is gone"),
    ],
)
def test_a_stack_that_was_changed_fails_and_is_deployed_again(deployed, change, word):
    change(deployed)
    said = check_stack()
    assert said.state == "fail" and word in said.found and said.action == "pipshpc stack deploy rs-try"


def test_a_module_of_another_digest_fails(deployed, monkeypatch):
    monkeypatch.setenv("PIPSHPC_STACK_DIGEST", "b" * 64)
    assert check_stack().state == "fail" and "b" * 64 in check_stack().found


def test_another_python_than_that_of_the_stack_is_told(deployed, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert check_stack().state == "warn" and sys.executable in check_stack().found


def test_no_stack_is_no_fault(monkeypatch):
    monkeypatch.delenv("PIPSHPC_STACK", raising=False)
    assert check_stack().state == "ok" and "none is loaded" in check_stack().found
