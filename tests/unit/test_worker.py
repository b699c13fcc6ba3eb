"""What runs on a worker: a command line followed to its end, or not begun where its block ends too soon."""

import json
import os
import time
from pathlib import Path

from pipshpc.drive.worker import BLOCK_END, launch


def run(tmp_path, script, needs_s=0.0, **environment):
    log = tmp_path / "1.log"
    return launch(["sh", "-c", script], str(log), environment, needs_s), log


def test_exit_code_and_words_come_back(tmp_path):
    outcome, log = run(tmp_path, "echo said; echo $WORD >&2; exit 7", WORD="more")
    assert (outcome["exit_code"], outcome["started"]) == (7, True)
    assert log.read_text().split() == ["said", "more"]
    assert not Path(f"{log}.pid").exists()


def test_while_it_runs_a_note_says_who(tmp_path):
    outcome, log = run(tmp_path, f"sleep 0.3; cat {tmp_path}/1.log.pid; echo; echo $$; ps -o sid= -p $$")
    note, pid, session = log.read_text().split("\n")[:3]
    assert outcome["exit_code"] == 0
    assert json.loads(note)["pid"] == int(pid) == int(session)  # a session of its own, to be ended as a whole
    assert abs(json.loads(note)["started"] - time.time()) < 30


def test_it_is_not_started_where_the_block_ends_too_soon(tmp_path, monkeypatch):
    monkeypatch.setenv(BLOCK_END, str(time.time() + 100))
    outcome, log = run(tmp_path, "true", needs_s=200)
    assert not outcome["started"] and outcome["exit_code"] is None and 90 < outcome["left_s"] < 100
    assert not log.exists()
    assert run(tmp_path, "true", needs_s=50)[0]["started"]


def test_the_numbers_of_the_block_do_not_reach_a_step(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "7")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    _, log = run(tmp_path, "env")
    lines = log.read_text().splitlines()
    assert "SLURM_JOB_ID=12" in lines and not any(line.startswith("SLURM_NTASKS") for line in lines)
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "7"
