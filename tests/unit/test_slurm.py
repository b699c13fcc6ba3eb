"""Slurm without Slurm: texts, what its commands wrote, what follows from answers and from silence."""

import re
from itertools import pairwise

import pytest

from pipshpc.errors import SiteError, SpecError
from pipshpc.schema import parse_yaml
from pipshpc.site import Site
from pipshpc.slurm import (
    NO_ACCOUNTING,
    STATES,
    UNKNOWN,
    Cluster,
    Job,
    Poller,
    Silence,
    State,
    cancel,
    client_environment,
    expand_array,
    find,
    judge,
    parse_sacct,
    parse_squeue,
    poll,
    sbatch_text,
    submit,
)
from pipshpc.stack.loading import load_lines

SITE = parse_yaml(
    'name: "big"\ncores: 128\nmemory_gib: 224\n'
    'launcher: {command: ["srun", "--mpi=pmix", "-n", "{ranks}", "-c", "{threads}"]}\n'
    'scheduler: {kind: "slurm", partition: "standard", account: "p1", time: "02:00:00", options: ["--exclusive"]}\n'
    'environment: {HDF5_USE_FILE_LOCKING: "FALSE"}\n',
    Site,
    "big.yaml",
)

# Recorded from Slurm 22.05: a job that waits, an array, a comment with a bar, jobs that ended.
SQUEUE = """\
CLUSTER: lab
16|16|RUNNING|lab[1-2]|c1/t-7|None
6_2|6|PENDING||arr|Resources
6_0|9|COMPLETED|lab1|arr|None
7|7|FAILED||(null)|BadConstraints
20_[5-7%2]|20|PENDING|||JobArrayTaskLimit
21|21|COMPLETING|lab3|(null)|None
slurm_load_jobs error: something else
"""
SACCT = """\
13|13|PREEMPTED|0:0|4|lab[1-2]|
13|13|REQUEUED|0:0|6|lab[1-2]|
13|13|CANCELLED by 0|0:15|19|lab[1-2]|
12|12|FAILED|9:0|5|lab[1-2]|c1/t-9
12.batch|12.batch|FAILED|9:0|5|lab1|
6_1|10|FAILED|3:0|3|lab1|arr
30_[2-3]|30|PENDING|0:0|0|None assigned|k30
31|31|OUT_OF_MEMORY|0:125|7|lab1|
"""


def job(**changes):
    return Job(**{"command": ["python", "-m", "pipshpc.run", "a b.json"], **changes})


# ---- text


def test_the_text_says_what_was_asked_and_the_site_fills_in_the_rest():
    text = sbatch_text(
        SITE,
        job(
            name="t7",
            ntasks=8,
            nodes=2,
            ntasks_per_node=4,
            cpus_per_task=2,
            mem="100G",
            comment="c1/t-7/1",
            signal="B:USR1@60",
            output="logs/%j.log",
            exclude="n3",
            modules=["python/3.11", "openmpi"],
            environment={"A": "b c"},
            setup=["ulimit -c 0"],
        ),
        uid=1000,
    )
    assert text.splitlines() == [
        "#!/bin/bash -l",
        "#SBATCH --job-name=t7",
        "#SBATCH --comment=c1/t-7/1",
        "#SBATCH --partition=standard",
        "#SBATCH --account=p1",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks=8",
        "#SBATCH --ntasks-per-node=4",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=100G",
        "#SBATCH --time=02:00:00",
        "#SBATCH --signal=B:USR1@60",
        "#SBATCH --output=logs/%j.log",
        "#SBATCH --exclude=n3",
        "#SBATCH --no-requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --exclusive",
        "",
        "set -e",
        *load_lines(SITE, ["python/3.11", "openmpi"]),
        "export A='b c'",
        "ulimit -c 0",
        "exec env -u SLURM_NTASKS_PER_NODE OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 "
        "HDF5_USE_FILE_LOCKING=FALSE "
        "srun --mpi=pmix -n 8 -c 2 python -m pipshpc.run 'a b.json'",
    ]


def test_the_text_is_a_function_of_its_arguments():
    assert sbatch_text(SITE, job(), uid=1) == sbatch_text(SITE, job(), uid=1)
    assert "requeue" in sbatch_text(SITE, job(requeue=True)).split("--no-")[0]


def test_a_command_without_launcher_is_started_once():
    assert sbatch_text(SITE, job(launch=False)).endswith("exec python -m pipshpc.run 'a b.json'\n")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a\n#SBATCH --partition=root"}, "one line"),
        ({"partition": "a b"}, "without spaces"),
        ({"comment": "a b"}, "without spaces"),
        ({"comment": "123"}, "not a number alone"),
        ({"ntasks": 0}, "at least one"),
        ({"nodes": 4, "ntasks": 2}, "one task per node"),
        ({"nodes": 2, "ntasks": 9, "ntasks_per_node": 4}, "do not fit"),
        ({"command": []}, "without a command"),
        ({"options": ["--x\n--y"]}, "one line"),
    ],
)
def test_what_cannot_stand_in_a_script_is_refused(changes, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        sbatch_text(SITE, job(**changes))


def test_commands_are_not_misled_by_the_environment():
    environ = {"PATH": "p", "SBATCH_PARTITION": "x", "SQUEUE_FORMAT": "x", "SLURM_NTASKS": "4", "SLURM_CONF": "/c"}
    assert client_environment(environ) == {"PATH": "p", "LC_ALL": "C", "SLURM_CONF": "/c"}
    assert client_environment(environ, "/d")["SLURM_CONF"] == "/d"


# ---- parsing


def test_squeue_lines():
    found = parse_squeue(SQUEUE)
    assert set(found) == {"16", "6_2", "6_0", "7", "20_5", "20_6", "20_7", "21"}
    assert found["16"] == State("16", "RUNNING", nodes="lab[1-2]", key="c1/t-7", raw_id="16", told_by="squeue")
    assert (found["6_2"].reason, found["6_2"].key, found["6_2"].raw_id) == ("Resources", "arr", "6")
    assert (found["7"].state, found["7"].reason, found["7"].key) == ("FAILED", "BadConstraints", "")


def test_sacct_lines_and_their_runs():
    found = parse_sacct(SACCT)
    assert [s.state for s in found["13"]] == ["PREEMPTED", "REQUEUED", "CANCELLED"]
    assert [s.restarts for s in found["13"]] == [0, 1, 2]
    assert (found["12"][0].exit_code, found["12"][0].signal, found["12"][0].key) == (9, 0, "c1/t-9")
    assert len(found["12"]) == 1
    assert found["6_1"][0].exit_code == 3
    assert found["30_2"][0].nodes == "" and found["30_3"][0].key == "k30"
    assert (found["31"][0].state, found["31"][0].elapsed_s) == ("OUT_OF_MEMORY", 7)


def test_a_word_that_nobody_knows_is_unknown():
    state = parse_squeue("5|5|ENCHANTED|n1|k|None")["5"]
    assert (state.state, state.reason) == (UNKNOWN, "squeue says 'ENCHANTED'")


@pytest.mark.parametrize("text", ["", "garbage", "|||||", "1|2|3", "5|5||||", "5|5|RUN", "\0\1|\2"])
def test_parsers_take_anything(text):
    assert all(s.state in STATES for s in parse_squeue(text).values())
    assert all(s.state in STATES for runs in parse_sacct(text).values() for s in runs)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("7", ["7"]),
        ("7_3", ["7_3"]),
        ("7_[1-3]", ["7_1", "7_2", "7_3"]),
        ("7_[1,4-8:2%5]", ["7_1", "7_4", "7_6", "7_8"]),
        ("7_[1-2,...]", ["7_1", "7_2"]),
    ],
)
def test_array_ids(text, ids):
    assert expand_array(text) == ids


# ---- judgement


def queued(state):
    return State("1", state, told_by="squeue")


def run_(state, code=None):
    return State("1", state, exit_code=code, told_by="sacct")


@pytest.mark.parametrize(
    ("squeue", "sacct", "silence", "state"),
    [
        ("RUNNING", [], "", "RUNNING"),
        ("PENDING", ["NODE_FAIL", "PENDING"], "", "PENDING"),
        ("RUNNING", ["PREEMPTED"], "", "RUNNING"),  # sacct is behind
        ("COMPLETED", ["RUNNING"], "", "COMPLETED"),
        (None, ["COMPLETED"], "", "COMPLETED"),
        (None, ["COMPLETED"], "no answer", "COMPLETED"),
        (None, ["PREEMPTED", "TIMEOUT"], "", "TIMEOUT"),
        (None, ["NODE_FAIL"], "", "NODE_FAIL"),
        (None, ["NODE_FAIL"], "no answer", UNKNOWN),  # it may be running again
        (None, ["PREEMPTED"], "no answer", UNKNOWN),
        (None, ["RUNNING"], "no answer", "RUNNING"),
        (None, ["PENDING"], "no answer", UNKNOWN),  # it may have started
        (None, ["RUNNING"], "", UNKNOWN),  # squeue answered, and does not know it
        (None, ["REQUEUED"], "", UNKNOWN),
        (None, [], "", UNKNOWN),
        (None, [], "no answer", UNKNOWN),
    ],
)
def test_what_is_true_follows_from_both_sources(squeue, sacct, silence, state):
    found = judge("1", queued(squeue) if squeue else None, [run_(s) for s in sacct], silence)
    assert found.state == state
    assert found.state != UNKNOWN or found.reason


def test_silence_never_fails_a_job():
    for state in sorted(STATES - {UNKNOWN}):
        found = judge("1", None, [run_(state)], "no answer")
        assert found.state in (state, UNKNOWN)
    assert judge("1", None, [], "no answer").state == UNKNOWN


def test_the_exit_code_comes_from_sacct():
    assert judge("1", queued("FAILED"), [run_("FAILED", 3)]).exit_code == 3
    assert judge("1", queued("FAILED"), [run_("RUNNING", 0)]).exit_code is None
    assert judge("1", queued("COMPLETED"), []).exit_code == 0


# ---- asking, with a Slurm of our own making


class Fake:
    """A cluster that answers from memory; a command may be told to fail, before or after it did its work."""

    since = "now-14days"

    def __init__(self, jobs=(), accounting=True):
        self.jobs = dict(jobs)  # id -> (state, key)
        self.accounting = accounting
        self.asked = []
        self.trouble = {}  # program -> "before", "after", "refuse" or "", for its next calls

    def ask(self, program, *arguments, text=""):
        self.asked.append((program, *arguments))
        trouble = (self.trouble.get(program) or [""]).pop(0) if self.trouble.get(program) else ""
        if trouble == "before":
            raise Silence(f"{program} gave no answer")
        if trouble == "refuse":
            raise SiteError(f"{program}: Invalid account")
        answer = getattr(self, f"_{program}")(arguments)
        if trouble == "after":
            raise Silence(f"{program} gave no answer")
        return answer

    def _sbatch(self, arguments):
        key = next(a for a in arguments if a.startswith("--comment=")).partition("=")[2]
        number = str(100 + len(self.jobs))
        self.jobs[number] = ("PENDING", key)
        return f"{number};lab\n"

    def _squeue(self, _):
        return "".join(f"{n}|{n}|{s}||{k}|None\n" for n, (s, k) in self.jobs.items() if s in ("PENDING", "RUNNING"))

    def _sacct(self, _):
        if not self.accounting:
            raise SiteError("sacct: Slurm accounting storage is disabled")
        return "".join(f"{n}|{n}|{s}|0:0|1||{k}\n" for n, (s, k) in self.jobs.items())

    def _scancel(self, arguments):
        for number in arguments:
            if number in self.jobs:
                self.jobs[number] = ("CANCELLED", self.jobs[number][1])
        return ""


def count(fake, program):
    return sum(a[0] == program for a in fake.asked)


def test_one_key_is_submitted_once():
    fake = Fake()
    assert submit(fake, "#!/bin/bash\n", "k1") == submit(fake, "#!/bin/bash\n", "k1") == "100"
    assert count(fake, "sbatch") == 1


def test_a_job_that_is_over_counts_too():
    fake = Fake({"7": ("COMPLETED", "k1")})
    assert submit(fake, "", "k1") == "7"
    assert count(fake, "sbatch") == 0


def test_a_lost_answer_is_looked_up():
    fake, slept = Fake(), []
    fake.trouble["sbatch"] = ["after"]
    assert submit(fake, "", "k1", sleep=slept.append) == "100"
    assert count(fake, "sbatch") == 1 and slept


def test_a_lost_request_is_repeated():
    fake = Fake()
    fake.trouble["sbatch"] = ["before", "before"]
    assert submit(fake, "", "k1", sleep=lambda _: None) == "100"
    assert count(fake, "sbatch") == 3 and len(fake.jobs) == 1


def test_without_an_answer_nothing_is_repeated():
    fake = Fake()
    fake.trouble = {"sbatch": ["after"], "squeue": ["", "before", "before", "before"]}
    with pytest.raises(Silence):
        submit(fake, "", "k1", sleep=lambda _: None)
    assert count(fake, "sbatch") == 1
    assert submit(fake, "", "k1") == "100"
    assert len(fake.jobs) == 1


def test_accounts_that_do_not_answer_leave_absence_open():
    fake = Fake()
    fake.trouble["sacct"] = ["before"]
    with pytest.raises(Silence):
        submit(fake, "", "k1")
    assert not fake.jobs


def test_a_cluster_without_accounts_is_served():
    fake = Fake(accounting=False)
    assert NO_ACCOUNTING.search("Slurm accounting storage is disabled")
    job = submit(fake, "", "k1")
    assert poll(fake, [job, "5"]).items() >= {"5": State("5", UNKNOWN, "neither squeue nor sacct knows it")}.items()


def test_a_request_that_comes_through_late_is_taken_back():
    class Late(Fake):  # the first request arrives after its key was looked up, beside the second
        def _squeue(self, arguments):
            return "" if count(self, "sbatch") < 2 else super()._squeue(arguments)

    fake = Late({"99": ("PENDING", "k1")}, accounting=False)
    fake.trouble["sbatch"] = ["before"]
    assert submit(fake, "", "k1", sleep=lambda _: None) == "99"
    assert fake.jobs == {"99": ("PENDING", "k1"), "101": ("CANCELLED", "k1")}


def test_a_refusal_is_final():
    fake = Fake()
    fake.trouble["sbatch"] = ["refuse"]
    with pytest.raises(SiteError, match="Invalid account"):
        submit(fake, "", "k1")
    assert count(fake, "sbatch") == 1


def test_only_jobs_of_the_same_name_are_searched():
    fake = Fake()
    submit(fake, "#!/bin/bash\n#SBATCH --job-name=t7\n", "k1")
    assert all("--name=t7" in a for a in fake.asked if a[0] in ("squeue", "sacct"))


def test_one_query_for_all_and_none_of_sacct_while_all_live():
    fake = Fake({str(n): ("RUNNING", f"k{n}") for n in range(1, 200)})
    states = poll(fake, [*map(str, range(1, 100)), "k150"])
    assert {s.state for s in states.values()} == {"RUNNING"} and states["k150"].job == "150"
    assert [a[0] for a in fake.asked] == ["squeue"]


def test_polling_answers_for_everything_that_was_asked():
    fake = Fake({"1": ("COMPLETED", "k1"), "2": ("RUNNING", "k2")})
    fake.trouble["squeue"] = ["before"]
    states = poll(fake, ["1", "k2", "3", "other"])
    assert [states[w].state for w in ("1", "k2", "3", "other")] == ["COMPLETED", "RUNNING", UNKNOWN, UNKNOWN]
    assert "squeue gave no answer" in states["3"].reason
    assert poll(fake, []) == {}


def test_a_key_with_several_jobs_is_the_one_that_lives():
    fake = Fake({"1": ("FAILED", "k"), "2": ("RUNNING", "k"), "3": ("CANCELLED", "k")})
    assert poll(fake, ["k"])["k"].job == "2"


def test_a_poller_backs_off_from_silence_and_comes_back():
    fake, now = Fake({"1": ("RUNNING", "k")}), [0.0]
    poller = Poller(fake, shortest_s=2, longest_s=20, clock=lambda: now[0])
    fake.trouble = {"squeue": ["before"] * 4, "sacct": ["before"] * 4}
    times = []
    while len(times) < 6:
        before = count(fake, "squeue")
        state = poller.poll(["1"])["1"].state
        if count(fake, "squeue") > before:
            times.append((now[0], state))
        now[0] += 1
    assert [b - a for (a, _), (b, _) in pairwise(times)] == [4, 8, 16, 20, 2]
    assert [s for _, s in times] == [UNKNOWN] * 4 + ["RUNNING"] * 2


def test_cancel_by_id_and_key():
    fake = Fake({"1": ("RUNNING", "k1"), "2": ("RUNNING", "k2"), "3": ("RUNNING", "k3")})
    assert cancel(fake, ["1", "k2"]) == ["1", "2"]
    assert [s for s, _ in fake.jobs.values()] == ["CANCELLED", "CANCELLED", "RUNNING"]
    assert find(fake, ["k3", "no"]) == {"k3": ["3"], "no": []}


def test_real_commands_are_bounded_in_time(tmp_path, monkeypatch):
    slow = tmp_path / "squeue"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Silence, match=r"no answer in 0\.2 s"):
        Cluster(timeout_s=0.2).ask("squeue")
    with pytest.raises(SiteError, match="load Slurm's client commands"):
        Cluster().ask("no-such-program")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", Silence),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", Silence),
        ("sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying", Silence),
        ("sbatch: error: Batch job submission failed: Invalid partition name specified", SiteError),
        ("sbatch: error: Memory specification can not be satisfied", SiteError),
    ],
)
def test_what_sbatch_says_is_final_or_passing(tmp_path, monkeypatch, said, kind):
    program = tmp_path / "sbatch"
    program.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(SiteError) as caught:
        Cluster().ask("sbatch")
    assert type(caught.value) is kind
