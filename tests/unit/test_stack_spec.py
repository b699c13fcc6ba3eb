"""Declared stacks: what is refused, and what the digest depends on."""

import shutil
from pathlib import Path

import msgspec
import pytest
import yaml

from pipshpc.errors import SiteError, SpecError
from pipshpc.stack.foundation import debian_packages, resolve_march, wanted_modules
from pipshpc.stack.spec import list_stacks, parse_lock, read_stack, source_digest, stack_digest

ROOT = Path(__file__).parents[2]
FACTS = {"machine": "x86_64", "march": "x86-64-v3", "python": "3.11.2"}
HASH = "--hash=sha256:" + "a" * 64


@pytest.fixture
def declare(tmp_path):
    """Return a function that writes a small stack and reads it."""

    def write(lock=f"one==1.0 \\\n    {HASH}\n", where="", **changes):
        (tmp_path / where).mkdir(exist_ok=True)
        if lock is not None:
            (tmp_path / where / "small.lock").write_text(lock)
        plain = {"name": "small", "version": "1", "python": "3.11", "locks": ["small.lock"], **changes}
        (tmp_path / where / "small.yaml").write_text(yaml.safe_dump(plain))
        return read_stack("small", [tmp_path / where])

    return write


@pytest.mark.parametrize("name", sorted(list_stacks([ROOT / "envs" / "stacks"])))
def test_the_stacks_of_the_project_are_whole(name):
    declared = read_stack(name, [ROOT / "envs" / "stacks"])
    packages = {
        entry.name for text in [*declared.locks.values(), *declared.built.values()] for entry in parse_lock(text, "")
    }
    # Jobs run in each of them.
    assert {"numpy", "mpi4py", "h5py", "netcdf4", "parsl", "msgspec", "typer"} <= packages
    assert declared.stack.pipshpc and declared.stack.title


def test_what_jobs_load_is_the_same_in_every_stack():
    stacks = [read_stack(name, [ROOT / "envs" / "stacks"]) for name in ("rs-core", "rs-tools", "rs-dev")]
    versions = [{e.name: e.version for t in s.locks.values() for e in parse_lock(t, "")} for s in stacks]
    core = versions[0]
    assert all({name: more.get(name) for name in core} == core for more in versions[1:])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "other"}, "wanted 'small' as the file is called"),
        ({"colour": "red"}, "unknown field `colour`; known keys: name, version"),
        ({"python": "three"}, "key 'python'"),
        ({"mpi": {"from": "cloud"}}, "key 'mpi.from'"),
        ({"mpi": {"from": "wheel"}}, "wanted system, module or build"),
        ({"mpi": {"from": "build"}}, "'source' (an archive) and its 'sha256'"),
        ({"compilers": {"from": "build", "source": "x", "sha256": "0" * 64}}, "wanted system or module"),
        ({"pipshpc": True}, "wanted compilers, and key 'march'"),
        ({"built": ["small.lock"]}, "wanted compilers, mpi and hdf5"),
        ({"environment": {"A-B": "1"}}, "found 'A-B'"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(declare, changes, said):
    with pytest.raises(SpecError, match=r"small\.yaml") as error:
        declare(**changes)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("lock", "said"),
    [(None, "`make lock` writes"), ("", "is empty"), ("one>=1\n", "found 'one>=1'"), ("one==1.0\n", "--hash=sha256")],
)
def test_a_lock_that_pins_nothing_is_refused(declare, lock, said):
    with pytest.raises(SpecError) as error:
        declare(lock=lock)
    assert said in str(error.value)


def test_an_unknown_stack_names_the_known_ones(declare, tmp_path):
    declare()
    with pytest.raises(SpecError, match="unknown stack 'smal'; known stacks: small"):
        read_stack("smal", [tmp_path])


def test_the_digest_is_that_of_the_content_not_of_the_place(declare):
    one, two = declare(where="a"), declare(where="b")
    assert stack_digest(one, FACTS) == stack_digest(two, FACTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2"},
        {"lock": f"one==1.1 {HASH}\n"},
        {"environment": {"A": "1"}},
        {"tools": {"cdo": {"command": ["cdo"]}}},
        {"python": "3.12"},
    ],
)
def test_every_change_of_what_a_stack_computes_with_is_another_digest(declare, changes):
    assert stack_digest(declare(where="a"), FACTS) != stack_digest(declare(where="b", **changes), FACTS)


@pytest.mark.parametrize("key", list(FACTS))
def test_another_machine_is_another_digest(declare, key):
    declared = declare()
    assert stack_digest(declared, FACTS) != stack_digest(declared, {**FACTS, key: "other"})


def test_sources_count_only_where_pipshpc_is_part_of_the_stack(declare):
    march = {"x86_64": "native", "aarch64": "native"}
    own = declare(pipshpc=True, compilers={"from": "system"}, march=march)
    assert stack_digest(own, FACTS, "a") != stack_digest(own, FACTS, "b")
    assert stack_digest(declare(), FACTS, "a") == stack_digest(declare(), FACTS, "b")


def test_the_digest_of_the_sources_follows_their_files_and_not_what_is_built_from_them(tmp_path):
    for name in ("pipshpc/products", "cext", "envs/stacks"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "pipshpc/a.py", "cext/b.pxd"):
        (tmp_path / name).write_text("1")
    first = source_digest(tmp_path)
    (tmp_path / "pipshpc" / "_a.so").write_text("built")
    (tmp_path / "envs" / "stacks" / "x.yaml").write_text("counted apart")
    assert source_digest(tmp_path) == first
    (tmp_path / "cext" / "b.pxd").write_text("2")
    assert source_digest(tmp_path) != first
    shutil.rmtree(tmp_path / "cext")
    with pytest.raises(SiteError, match="--from ARCHIVE"):
        source_digest(tmp_path)


def test_debian_packages_are_those_of_what_nothing_else_gives(declare):
    stack = declare(mpi={"from": "system"}, hdf5={"from": "module", "module": "hdf5/1.14"}).stack
    assert debian_packages(stack, {}) == ["python3-venv", "python3-dev", "openmpi-bin", "libopenmpi-dev"]
    assert debian_packages(stack, {"MPICC": "/opt/mpicc", "PYTHON": "/opt/python"}) == []


def test_modules_are_those_named_after_those_of_the_site(declare):
    from pipshpc.site import load_site

    site = msgspec.structs.replace(load_site("local"), modules=["gcc/13", "openmpi/5"])
    parts = {"compilers": {"from": "module"}, "mpi": {"from": "module"}, "hdf5": {"from": "module", "module": "hdf5/1"}}
    assert wanted_modules(declare(**parts).stack, site) == ["gcc/13", "openmpi/5", "hdf5/1"]
    assert wanted_modules(declare(mpi={"from": "system"}).stack, site) == []


def test_a_compiler_that_cannot_is_named_with_the_cure():
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    assert resolve_march("gcc", "native", "again") != "native"
    for compiler, march in (("/bin/false", "native"), ("gcc", "no-such-processor")):
        with pytest.raises(SiteError, match="CC=/path/to/gcc again") as error:
            resolve_march(compiler, march, "again")
        assert compiler in str(error.value) and march in str(error.value)
