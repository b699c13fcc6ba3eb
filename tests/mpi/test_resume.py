"""A task that is killed or told to stop goes on where it was, on any number of ranks, to the same content."""

import json
import os
import signal
import time

import msgspec
import psutil
import pytest

from pipshpc.catalogue import is_complete
from pipshpc.digest import content_digest
from pipshpc.ledger import ledger_path, parts_of
from pipshpc.notes import Report

pytestmark = pytest.mark.mpi
MANY = {"grid": "0.05deg", "chunk": [120, 120]}  # 1800 blocks, a few seconds of work


def done_blocks(process):
    try:
        return json.loads(process.progress.read_text())["done"]
    except (OSError, ValueError):
        return 0


def ranks_of(process):
    """Return the Python ranks below an mpiexec, in order of start."""
    below = psutil.Process(process.pid).children(recursive=True)
    return sorted((p for p in below if "pipshpc.run" in " ".join(p.cmdline())), key=lambda p: p.pid)


def wait_until(check, seconds=60):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return {}


@pytest.fixture
def undisturbed(make_task, start_ranks, tmp_path, whole):
    """Digest of the file that an undisturbed run on one rank makes."""
    if not whole:
        task = make_task(output=tmp_path / "whole", **MANY)
        done = start_ranks(task, 1)
        assert done.returncode == 0, done.stderr
        whole["content"] = content_digest(task.path("rlds"))
    return whole["content"]


def finish(task, start_ranks, ranks, undisturbed):
    """Run again and check that it went on, and to what end."""
    process = start_ranks(task, ranks, wait=False)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report = msgspec.json.decode(process.report.read_bytes(), type=Report)
    path = task.path("rlds")
    assert is_complete(path, task.id)
    assert content_digest(path) == undisturbed
    assert [p.name for p in path.parent.iterdir() if "part" in p.name] == []
    return report


@pytest.mark.parametrize("victim", [0, 1])
def test_kill_9_of_a_rank_loses_at_most_a_block_per_rank(make_task, start_ranks, undisturbed, victim):
    task = make_task(**MANY)
    process = start_ranks(task, 2, wait=False)
    wait_until(lambda: done_blocks(process) > 60)
    ranks_of(process)[victim].kill()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not task.path("rlds").exists()
    seen = done_blocks(process)
    report = finish(task, start_ranks, 3, undisturbed)
    # The heartbeat tells what the writer had; the ledger has all of that.
    assert report.blocks_kept >= seen
    assert report.blocks_kept < report.blocks == 1800


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_told_to_stop_it_stops_at_a_block_border(make_task, start_ranks, undisturbed, number):
    task = make_task(**MANY)
    process = start_ranks(task, 2, wait=False)
    wait_until(lambda: done_blocks(process) > 60)
    os.kill(ranks_of(process)[1].pid, number)  # one rank hears it: all stop
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped at a block border" in err
    assert len(parts_of(task.path("rlds"))) == 1
    report = finish(task, start_ranks, 1, undisturbed)
    assert report.blocks_kept > 60


def test_damaged_leftovers_are_made_again(make_task, start_ranks, undisturbed):
    task = make_task(**MANY)
    process = start_ranks(task, 2, wait=False)
    wait_until(lambda: done_blocks(process) > 60)
    for rank in ranks_of(process):
        rank.kill()
    process.communicate(timeout=60)
    [part] = parts_of(task.path("rlds"))
    raw = bytearray(part.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    part.write_bytes(raw)
    with ledger_path(part).open("a") as ledger:
        ledger.write("0 1 2 3")  # a line cut by the kill
    finish(task, start_ranks, 2, undisturbed)


def test_leftovers_of_another_task_are_not_used(make_task, start_ranks):
    old = make_task(**MANY)
    process = start_ranks(old, 2, wait=False)
    wait_until(lambda: done_blocks(process) > 60)
    for rank in ranks_of(process):
        rank.kill()
    process.communicate(timeout=60)
    new = make_task(algorithms={"rlds": "prata1996-um1975"}, **MANY)
    assert new.path("rlds") == old.path("rlds")
    process = start_ranks(new, 2, wait=False)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert msgspec.json.decode(process.report.read_bytes(), type=Report).blocks_kept == 0
