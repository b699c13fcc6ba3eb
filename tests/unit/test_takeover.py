"""One driver at a time; what the one before left is ended, and nothing else."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from pipshpc.drive.course import Course, Driver
from pipshpc.drive.takeover import block_key, driver_alive, driver_lock, take_over
from pipshpc.errors import SiteError
from pipshpc.site import load_site

SCRIPT = """import signal, sys, time
def hear(*_):
    print('told', flush=True)
    if sys.argv[1] == 'listens':
        exit(75)
signal.signal(signal.SIGTERM, hear)
print('up', flush=True)
time.sleep(60)
"""


@pytest.fixture
def start():
    """Return a function that starts a process in a session of its own; what is left is killed."""
    started = []

    def begin(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *words], stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        assert process.stdout.readline() == b"up\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def note(folder, process, **changes):
    (folder / "launches").mkdir(exist_ok=True)
    facts = {"pid": process.pid, "host": os.uname().nodename, "started": time.time()}
    (folder / "launches" / f"{process.pid}.log.pid").write_text(json.dumps({**facts, **changes}))


def test_two_drivers_do_not_work_on_one_campaign(tmp_path):
    assert not driver_alive(tmp_path)
    with driver_lock(tmp_path):
        assert driver_alive(tmp_path)
        with pytest.raises(SiteError, match="another driver"), driver_lock(tmp_path):
            pass
    assert not driver_alive(tmp_path)


def test_launches_are_told_to_stop(tmp_path, start):
    process = start("listens")
    note(tmp_path, process)
    assert take_over(tmp_path, load_site("local"), "key", Course()) == [f"launch {process.pid}"]
    assert process.stdout.read() == b"told\n"
    assert not psutil.pid_exists(process.pid)
    assert not list((tmp_path / "launches").iterdir())


def test_those_that_do_not_listen_are_killed(tmp_path, start, monkeypatch):
    monkeypatch.setattr("pipshpc.drive.takeover.PATIENCE_S", 0.5)
    process = start("deaf")
    note(tmp_path, process)
    take_over(tmp_path, load_site("local"), "key", Course())
    assert process.stdout.read() == b"told\n"
    process.wait(5)


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"started": 1000.0}])
def test_a_number_that_is_somebody_elses_is_left_alone(tmp_path, start, changes):
    process = start("listens")
    note(tmp_path, process, **changes)
    assert take_over(tmp_path, load_site("local"), "key", Course()) == []
    assert process.poll() is None


def test_only_a_message_server_is_killed_as_one(tmp_path, start):
    server = start("listens", "interchange.py")
    other = start("listens")
    course = Course(driver=Driver(interchanges=[(p.pid, os.uname().nodename) for p in (server, other)]))
    assert take_over(tmp_path, load_site("local"), "key", course) == [f"message server {server.pid}"]
    assert server.wait(5) == -9 and other.poll() is None


def test_keys_of_campaigns_of_one_name_differ_by_their_folder(tmp_path):
    one, other = (block_key("tr", tmp_path / name) for name in ("a", "b"))
    assert one != other and one.startswith("pipshpc:tr:")
    assert block_key("tr", tmp_path / "a") == one
