"""The folder of deployed stacks: what is the default, what was, and what interruptions leave."""

import multiprocessing
import time
from pathlib import Path

import msgspec
import pytest

from pipshpc.errors import SiteError
from pipshpc.site import load_site
from pipshpc.stack.info import StackInfo
from pipshpc.stack.intact import write_record
from pipshpc.stack.modulefile import pin, version_of, versions_of
from pipshpc.stack.shelf import Shelf, default_prefix


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path, "rs-try")


def put(shelf, letter):
    """Publish a stack of one file; return its version."""
    plain = StackInfo(name="rs-try", version="1", digest=letter * 64, prefix="")
    info = msgspec.structs.replace(plain, prefix=str(shelf.folder / version_of(plain)))
    built = shelf.building()
    built.mkdir(parents=True)
    (built / "file").write_text(letter)
    write_record(built, info)
    shelf.publish(built, info)
    return version_of(info)


def test_the_default_goes_back_step_by_step(shelf):
    a, b, c = (put(shelf, letter) for letter in "abc")
    assert shelf.active() == "" and shelf.versions() == [a, b, c]
    for version in (a, b, c):
        shelf.activate(version)
    assert shelf.earlier() == b
    shelf.activate(b, back=True)
    assert shelf.earlier() == a
    shelf.activate(a, back=True)
    with pytest.raises(SiteError, match=f"stack activate rs-try --version VERSION` takes any of: {a}"):
        shelf.earlier()


def test_rollback_passes_over_what_was_removed(shelf):
    a, b, c = (put(shelf, letter) for letter in "abc")
    for version in (a, b, c):
        shelf.activate(version)
    shelf.remove(b)
    assert shelf.earlier() == a
    assert versions_of(shelf.modulefiles, "rs-try") == [a, c] and not (shelf.folder / b).exists()


def test_a_version_is_found_by_its_digest_or_the_beginning_of_it(shelf):
    a, b = put(shelf, "a"), put(shelf, "b")
    assert shelf.find("aaaa") == shelf.find("a" * 64) == shelf.find(a) == a
    with pytest.raises(SiteError, match="found several version '1-' of rs-try"):
        shelf.find("1-")
    with pytest.raises(SiteError, match="found no version"):
        shelf.find("")
    shelf.activate(b)
    assert shelf.find("") == b


def test_a_task_that_names_a_digest_gets_it_whatever_the_default_is(shelf):
    a, b = put(shelf, "a"), put(shelf, "b")
    shelf.activate(b)
    assert pin("rs-try", [shelf.modulefiles]) == f"rs-try/{b}"
    assert (
        pin(f"rs-try/{'a' * 64}", [shelf.modulefiles])
        == pin(f"rs-try/{'a' * 12}", [shelf.modulefiles])
        == f"rs-try/{a}"
    )
    assert pin(f"rs-try/{'c' * 64}", [shelf.modulefiles]) == f"rs-try/{'c' * 64}"


def test_what_an_interrupted_deployment_left_cannot_be_seen_and_goes(shelf):
    a = put(shelf, "a")
    (shelf.folder / ".building.elsewhere.1" / "prefix").mkdir(parents=True)
    assert shelf.versions() == [a]
    with shelf.lock():
        assert shelf.clean() == [".building.elsewhere.1"]
    assert shelf.versions() == [a]


def test_a_stack_that_was_damaged_is_replaced_by_one_that_is_whole(shelf):
    a = put(shelf, "a")
    (shelf.folder / a / "file").write_text("damage")
    put(shelf, "a")
    assert (shelf.folder / a / "file").read_text() == "a"
    assert [p.name for p in shelf.folder.iterdir() if p.name.startswith(".removing")] == []


def hold(folder, seconds):
    with Shelf(Path(folder), "rs-try").lock():
        (Path(folder) / "held").touch()
        time.sleep(seconds)


def test_the_second_waits_and_is_told_for_whom(shelf, tmp_path):
    other = multiprocessing.get_context("spawn").Process(target=hold, args=(str(tmp_path), 0.5))
    other.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    told = []
    with shelf.lock(told.append):
        assert other.exitcode == 0 or not other.is_alive() or other.join(1) is None
    assert f"process {other.pid}" in told[0]


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SiteError, match="--prefix PREFIX"), Shelf(tmp_path / "file", "rs-try").lock():
        pass


def test_the_prefix_is_beside_the_modulefiles_of_the_site(tmp_path):
    site = load_site("local")
    assert default_prefix(site, {"PIPSHPC_STACK_ROOT": "/sw"}) == Path("/sw")
    named = msgspec.structs.replace(site, modulepath=["/opt/vendor", "/sw/stacks/modulefiles"])
    assert default_prefix(named, {"PIPSHPC_STACK_ROOT": "/sw"}) == Path("/sw/stacks")
