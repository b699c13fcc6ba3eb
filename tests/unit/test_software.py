"""Which software the jobs of a campaign run with, and that it stays."""

import sys

import msgspec
import pytest

from pipshpc.drive.blocks import SlurmBlocks
from pipshpc.drive.course import fold
from pipshpc.drive.jobs import Jobs
from pipshpc.drive.software import path_lines, pinned_stack, python_of, stated_stack
from pipshpc.site import Launcher, Scheduler, Site
from pipshpc.stack.info import StackInfo
from pipshpc.stack.modulefile import module_of, switch_default, write_modulefiles
from tests.unit.test_plan import campaign


def stack(letter):
    return StackInfo(name="rs-try", version="1", digest=letter * 64, prefix=f"/sw/{letter}")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A cluster with two versions of a stack; the first is the default."""
    monkeypatch.delenv("MODULEPATH", raising=False)
    for letter in "ab":
        write_modulefiles(tmp_path / "modulefiles", stack(letter))
    switch_default(tmp_path / "modulefiles", module_of(stack("a")))
    return Site(
        name="there",
        launcher=Launcher(command=["srun", "-n", "{ranks}"]),
        scheduler=Scheduler(kind="slurm", max_nodes=2),
        cores=2,
        memory_gib=4,
        modulepath=[str(tmp_path / "modulefiles")],
        stack="rs-try",
    )


def test_a_campaign_stays_with_what_was_the_default_when_it_began(site, tmp_path):
    first = pinned_stack("rs-try", site)
    assert first == module_of(stack("a"))
    course = fold([{"time": 1.0, "event": "stack", "stated": "rs-try", "module": first}])
    switch_default(tmp_path / "modulefiles", module_of(stack("b")))
    assert pinned_stack("rs-try", site, course.stacks) == first
    assert pinned_stack("rs-try", site) == module_of(stack("b"))
    # Who states a version moves the campaign to it.
    wanted = module_of(stack("b"))
    assert pinned_stack(wanted, site, course.stacks) == wanted


def test_the_folders_of_the_present_shell_are_looked_into_as_well(site, monkeypatch):
    monkeypatch.setenv("MODULEPATH", f"/nowhere:{site.modulepath[0]}")
    assert pinned_stack("rs-try", msgspec.structs.replace(site, modulepath=[])) == module_of(stack("a"))


def test_a_module_of_somebody_else_is_taken_by_its_name(site):
    assert pinned_stack("their-stack", site) == "their-stack"
    assert pinned_stack("", site) == ""


def test_the_campaign_goes_before_the_site_and_one_machine_needs_no_module(site):
    assert stated_stack(campaign(), site) == "rs-try"
    assert stated_stack(campaign(stack="rs-own/3"), site) == "rs-own/3"
    local = msgspec.structs.replace(site, scheduler=Scheduler())
    assert stated_stack(campaign(stack="rs-own/3"), local) == ""


def test_a_pilot_of_a_stack_has_nothing_of_the_drivers_python(site, tmp_path):
    module = module_of(stack("a"))
    text = SlurmBlocks(site, Jobs(site, "k"), tmp_path, module).text("process_worker_pool.py", "k/1", [])
    assert f"module load {module} || refuse" in text and "unset PYTHONPATH" in text
    assert sys.prefix not in text and python_of(module) == "python3"
    plain = msgspec.structs.replace(site, stack="")
    bare = SlurmBlocks(plain, Jobs(plain, "k"), tmp_path).text("process_worker_pool.py", "k/1", [])
    assert "module load" not in bare and sys.prefix in bare and python_of("") == sys.executable
    assert path_lines("") in bare
