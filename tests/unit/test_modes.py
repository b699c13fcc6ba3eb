"""Pilot or job of its own: the choice with its reason; the job's text; room; what can never start; who said stop."""

import os
import signal
import threading

import msgspec
import pytest

from pipshpc import slurm
from pipshpc.campaign import Resources
from pipshpc.drive import jobs as jobs_module
from pipshpc.drive.course import Course
from pipshpc.drive.crowding import Crowding, cannot_start
from pipshpc.drive.flow import _told_to_stop
from pipshpc.drive.jobs import EXIT_CODE_S, Block, Jobs
from pipshpc.drive.mode import choose_mode, choose_modes
from pipshpc.drive.prepare import Prepared
from pipshpc.drive.single import Ask, SingleJobs
from pipshpc.errors import SiteError
from pipshpc.plan import plan
from pipshpc.schema import parse_yaml
from pipshpc.site import Site
from tests.unit.test_plan import campaign, offer

SITE = parse_yaml(
    'name: "big"\ncores: 8\nmemory_gib: 16\n'
    'launcher: {command: ["srun", "-n", "{ranks}", "-c", "{threads}"]}\n'
    'scheduler: {kind: "slurm", partition: "main", time: "01:00:00", max_nodes: 4, block_nodes: 2, signal_s: 60}\n',
    Site,
    "big.yaml",
)


def prepared(folder, days=40, site=SITE, **resources):
    own = campaign(end=f"2019-{2 + days // 28:02d}-{2 + days % 26:02d}T00:00:00Z", resources=Resources(**resources))
    tasks = plan(own, offer(hours=24 * 80))[:days]
    return Prepared(folder / "c.yaml", own, site, tasks, list(tasks), folder)


def chosen(folder, seconds=None, left=None, **changes):
    one = prepared(folder, **changes)
    return choose_mode(one, one.tasks[0], len(one.tasks) if left is None else left, seconds)


@pytest.mark.parametrize(
    ("way", "word", "changes"),
    [
        ("pilot", "4 at a time", {"ranks": 4}),
        ("job", "fills a block", {"ranks": 16}),
        ("job", "fills a block", {"ranks": 8, "threads": 2, "nodes": 2}),
        ("job", "fills a block", {"ranks": 3, "nodes": 3}),
        ("pilot", "packed", {"ranks": 2, "nodes": 2}),
        ("job", "quarter of the walltime", {"ranks": 4, "seconds": 901.0}),
        ("pilot", "packed", {"ranks": 4, "seconds": 899.0}),
        ("job", "quarter of the walltime", {"ranks": 4, "seconds": 90.1, "tasks_per_launch": 10}),
        ("job", "do not fill a block", {"ranks": 4, "left": 3}),
        ("job", "less than it costs to start", {"ranks": 4, "left": 8, "seconds": 10.0}),
        ("pilot", "packed", {"ranks": 4, "left": 8, "seconds": 20.0}),
        ("job", "resources.mode", {"ranks": 1, "mode": "job"}),
        ("pilot", "resources.mode", {"ranks": 16, "mode": "pilot"}),
    ],
)
def test_the_way_that_costs_less_is_chosen_and_explained(tmp_path, way, word, changes):
    mode = chosen(tmp_path, **changes)
    assert mode.way == way
    assert word in mode.reason


def test_without_a_scheduler_there_is_no_choice(tmp_path):
    local = msgspec.structs.replace(SITE, scheduler=msgspec.structs.replace(SITE.scheduler, kind="local"))
    assert chosen(tmp_path, site=local, mode="job", ranks=16).way == "pilot"


def test_what_is_done_already_is_not_counted(tmp_path):
    one = prepared(tmp_path, ranks=4)
    assert choose_modes(one, Course())[0].way == "pilot"
    del one.pending[2:]
    assert "2 launches do not fill" in choose_modes(one, Course())[0].reason


def single(folder, **changes):
    jobs = Jobs(SITE, "pipshpc:c:1")
    ask = Ask(7, ["env", "srun", "x"], folder / "7.log", **{"ranks": 4, "threads": 1, **changes})
    return SingleJobs(SITE, jobs, "stack/1"), jobs, ask


@pytest.mark.parametrize(
    ("changes", "wanted", "unwanted"),
    [
        ({}, ["--nodes=1", "--ntasks=4", "--mem-per-cpu=1843M"], ["--exclusive"]),
        ({"ranks": 16}, ["--nodes=2", "--ntasks=16", "--exclusive", "--mem=0"], ["--mem-per-cpu"]),
        ({"threads": 4}, ["--nodes=2", "--cpus-per-task=4", "--exclusive"], []),
        ({"nodes": 4, "memory_mib": 300, "threads": 2}, ["--nodes=4", "--mem-per-cpu=150M"], ["--exclusive"]),
    ],
)
def test_the_job_asks_for_what_the_launch_takes(tmp_path, changes, wanted, unwanted):
    runner, jobs, ask = single(tmp_path, **changes)
    text = runner.text(ask, f"{jobs.key}/L7", ["n3", "n4"])
    options = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    always = [f"--comment={jobs.key}/L7", "--signal=USR1@60", "--exclude=n3,n4", f"--output={ask.log}", "--no-requeue"]
    assert not set(wanted + always) - set(options)
    assert not any(option.startswith(bad) for option in options for bad in unwanted)
    assert text.splitlines()[-1] == "exec env srun x"
    assert "module load stack/1" in text


def test_a_campaign_takes_no_more_nodes_than_it_may(tmp_path):
    jobs = Jobs(SITE, "k")
    assert jobs.reserve(2) and jobs.reserve(1.5)
    assert not jobs.reserve(1)
    assert jobs.reserve(0.5)
    jobs.release(2)
    jobs.blocks["1"] = Block("1", slurm.State("1", "RUNNING"), 0.0, nodes=2)
    assert not jobs.reserve(1)
    jobs.blocks["1"].state = slurm.State("1", "COMPLETED")
    assert jobs.reserve(2)
    assert Jobs(SITE, "k").reserve(9)  # alone: Slurm has the word


@pytest.fixture
def slurm_says(monkeypatch):
    """Play Slurm: what sbatch does, in turn, and what is true of jobs."""

    class Says:
        answers, keys, states = [], [], {}

        def submit(self, cluster, text, key, look=True, attempts=5):
            self.keys.append((key, look))
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    says = Says()
    monkeypatch.setattr(jobs_module.slurm, "submit", says.submit)
    monkeypatch.setattr("pipshpc.slurm.queue.poll", lambda _, wanted: {w: says.states[w] for w in wanted})
    monkeypatch.setattr("pipshpc.drive.single.time.sleep", lambda _: None)
    return says


def run(runner, jobs, ask):
    """Run a launch in a thread while its jobs are looked at; return its outcome."""
    told = []
    thread = threading.Thread(target=lambda: told.append(runner.run(ask)), daemon=True)
    thread.start()
    for _ in range(200):
        jobs._poller._next = 0.0
        jobs.poll()
        thread.join(0.02)
        if told:
            return told[0]
    raise AssertionError("no outcome")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (slurm.State("5", "COMPLETED", exit_code=0), 0),
        (slurm.State("5", "FAILED", exit_code=75), 75),
        (slurm.State("5", "CANCELLED", exit_code=0, signal=15), 143),
    ],
)
def test_a_launch_ends_as_its_job_does(tmp_path, slurm_says, state, code):
    runner, jobs, ask = single(tmp_path)
    slurm_says.answers, slurm_says.states = ["5"], {"5": state}
    outcome = run(runner, jobs, ask)
    assert (outcome["exit_code"], outcome["job"], outcome["started"]) == (code, "5", True)
    assert slurm_says.keys == [(f"{jobs.key}/L7", False)]


def test_an_unheard_answer_is_looked_for_and_not_submitted_blindly(tmp_path, slurm_says):
    runner, jobs, ask = single(tmp_path)
    slurm_says.answers = [slurm.Silence("timed out"), slurm.Silence("timed out"), "5"]
    slurm_says.states = {"5": slurm.State("5", "COMPLETED", exit_code=0)}
    assert run(runner, jobs, ask)["exit_code"] == 0
    assert [look for _, look in slurm_says.keys] == [False, True, True]
    assert len({key for key, _ in slurm_says.keys}) == 1


def test_a_refusal_is_final_and_gives_its_room_back(tmp_path, slurm_says):
    runner, jobs, ask = single(tmp_path, ranks=32)
    slurm_says.answers = [SiteError("sbatch: invalid partition")]
    with pytest.raises(SiteError, match="invalid partition"):
        runner.run(ask)
    assert jobs.refusal and jobs.reserve(4)


def test_an_exit_code_that_sacct_does_not_know_is_waited_for_a_while():
    block = Block("5", slurm.State("5", "FAILED"), 0.0, launch=7, ended_since=jobs_module.time.monotonic())
    assert not block.settled
    block.ended_since -= EXIT_CODE_S + 1
    assert block.settled
    assert Block("6", slurm.State("6", "FAILED"), 0.0).settled  # a pilot's is of no use


def test_a_job_that_needs_the_drivers_own_node_is_told_of_once(monkeypatch):
    jobs = Jobs(SITE, "k")
    monkeypatch.setattr(slurm.Cluster, "ask", lambda *_: "n1\nn2\n")
    jobs.blocks["9"] = Block("9", slurm.State("9", "PENDING"), 0.0, nodes=2)
    inside = Crowding(jobs, {"SLURM_JOB_ID": "4", "SLURMD_NODENAME": "n1"})
    said = inside.look()
    for word in ("job 9", "2 whole nodes", "driver's own job 4", "n1", "block_nodes", "to 1", "--here", "partition"):
        assert word in said
    assert not inside.look()
    assert not Crowding(jobs, {}).look()
    assert not Crowding(jobs, {"SLURM_JOB_ID": "4", "SLURMD_NODENAME": "n8"}).look()


def test_only_too_few_nodes_are_too_few():
    assert not cannot_start(2, {"a", "b", "c"}, "a")
    assert not cannot_start(2, {"a", "b"}, "x")
    assert not cannot_start(2, set(), "a")


@pytest.mark.parametrize(("number", "why"), [(signal.SIGTERM, "told to stop"), (signal.SIGUSR1, "time is up")])
def test_the_clock_is_told_from_a_person(number, why):
    with _told_to_stop() as listeners:
        heard = []
        listeners.append(heard.append)
        os.kill(os.getpid(), number)
        assert heard == [why]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("12.3|OUT_OF_MEMORY\n", "OUT_OF_MEMORY"),
        ("12.3|CANCELLED by 0\n", "CANCELLED"),
        ("12.3|NODE_FAIL\n12.3|RUNNING\n", ""),
        ("12.30|FAILED\n", ""),
        ("", ""),
        (SiteError("accounting storage is disabled"), ""),
    ],
)
def test_a_step_has_a_state_of_its_own(monkeypatch, said, expected):
    def ask(*_):
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(slurm.Cluster, "ask", ask)
    assert slurm.step_state(slurm.Cluster(), "12", "3") == expected
