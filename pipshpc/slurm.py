"""Slurm at arm's length: the text of a job, its exactly-once submission, and the truth about its state.

States are Slurm's own words, and UNKNOWN. A command that does not answer is
silence; silence never makes a job failed, and never makes it be submitted
again.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipshpc.errors import SiteError, SpecError
from pipshpc.site import Site, launch_command

UNKNOWN = "UNKNOWN"
LIVE = frozenset(
    [
        "PENDING",
        "RUNNING",
        "COMPLETING",
        "CONFIGURING",
        "SUSPENDED",
        "STOPPED",
        "STAGE_OUT",
        "SIGNALING",
        "RESIZING",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
        "REVOKED",
    ]
)
# After these Slurm may start the job again by itself, under the same id.
INTERRUPTED = frozenset(["NODE_FAIL", "PREEMPTED", "BOOT_FAIL"])
ENDED = frozenset(["COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY", "DEADLINE"]) | INTERRUPTED
STATES = LIVE | ENDED | {UNKNOWN}

JOB_ID = re.compile(r"\d+(_\d+)?")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=@+-]{0,199}")
# What sbatch says where another try may help; all else it says is final.
PASSING = re.compile(
    r"contact slurm controller|timed out|temporarily unable|Zero Bytes|Connection (refused|reset)|Communication "
    r"connection failure|Unexpected message|controller not responding|Transport endpoint|Resource temporarily|"
    r"Slurm backup controller in standby|Message receive failure|Message send failure",
    re.IGNORECASE,
)
NO_ACCOUNTING = re.compile(r"accounting storage is disabled", re.IGNORECASE)
SQUEUE_FORMAT = "%i|%A|%T|%N|%k|%r"
SACCT_FORMAT = "JobID,JobIDRaw,State,ExitCode,ElapsedRaw,NodeList,Comment"
IDS_PER_QUERY = 4000


class Silence(SiteError):
    """Slurm did not answer; nothing can be concluded from that."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one batch job asks for; the names are those of sbatch's long options.

    Empty fields are filled from the site where it has the same key, and left
    to Slurm otherwise. `comment` is the idempotency key. `command` is started
    by the launcher of the site on `ntasks` ranks, or, without `launch`, once
    on the first node. `mem` is that of a node, as in ``4G``.
    """

    command: Sequence[str]
    name: str = "pipshpc"
    ntasks: int = 1
    nodes: int | None = None
    ntasks_per_node: int | None = None
    cpus_per_task: int = 1
    mem: str = ""
    time: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    comment: str = ""
    signal: str = ""
    requeue: bool = False
    output: str = ""
    exclude: str = ""
    dependency: str = ""
    options: Sequence[str] = ()
    modules: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    setup: Sequence[str] = ()  # shell lines before the command
    launch: bool = True


@dataclass(frozen=True)
class State:
    """What is known of a job.

    `state` is Slurm's word or UNKNOWN, with the `reason` for either.
    What is None nobody said; the exit code of a failed job comes with
    sacct, seconds after its state. `restarts` counts how often Slurm took the job
    back to start it again (sacct's knowledge; squeue does not tell). `told_by` is the command that knew.
    """

    job: str
    state: str = UNKNOWN
    reason: str = ""
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    elapsed_s: int | None = None
    restarts: int | None = None
    key: str = ""
    raw_id: str = ""
    told_by: str = ""

    @property
    def ended(self) -> bool:
        """Whether the job is over for good."""
        return self.state in ENDED


@dataclass(frozen=True)
class Cluster:
    """Where commands go: a name for ``--clusters``, a configuration file, or, with neither, the default.

    `timeout_s` bounds each command; `since` bounds what sacct looks through.
    """

    name: str = ""
    conf: str = ""
    timeout_s: float = 20.0
    since: str = "now-14days"

    def ask(self, program: str, *arguments: str, text: str = "") -> str:
        """Run one client command and return what it wrote.

        Raises
        ------
        Silence
            It gave no answer, or one that means "try again".
        SiteError
            It refused, with Slurm's own words, or is not installed.
        """
        where = [f"--clusters={self.name}"] if self.name else []
        try:
            done = subprocess.run(
                [program, *where, *arguments],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_s,
                check=False,
                env=client_environment(os.environ, self.conf),
            )
        except subprocess.TimeoutExpired as error:
            raise Silence(f"{program} gave no answer in {self.timeout_s:g} s; is the controller up?") from error
        except OSError as error:
            raise SiteError(f"{program}: cannot be run ({error.strerror}); load Slurm's client commands") from error
        if done.returncode == 0:
            return done.stdout
        said = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        if program != "sbatch" and not NO_ACCOUNTING.search(said):
            raise Silence(f"{program}: {said}")  # a query that fails says nothing about jobs
        raise (Silence if PASSING.search(said) else SiteError)(f"{program}: {said}")


def client_environment(environ: Mapping[str, str], conf: str = "") -> dict[str, str]:
    """Return an environment in which Slurm's commands behave the same for everybody.

    What a user or a surrounding job has set (SBATCH_*, SQUEUE_FORMAT,
    SLURM_NTASKS, ...) would change options and formats, and be handed on to
    the new job.
    """
    strange = ("SLURM", "SBATCH", "SQUEUE", "SACCT", "SCANCEL", "SINFO", "PMIX_", "OMPI_COMM", "OMPI_UNIVERSE")
    kept = {k: v for k, v in environ.items() if not k.startswith(strange)}
    conf = conf or environ.get("SLURM_CONF", "")
    return {**kept, "LC_ALL": "C", **({"SLURM_CONF": conf} if conf else {})}


# ---- text


def sbatch_text(site: Site, job: Job, uid: int | None = None) -> str:
    """Return the batch script of a job on a site.

    `uid` is the number of the user who runs it, the present one's if None.

    Raises
    ------
    SpecError
        A value that cannot stand in an option, or counts that contradict.
    """
    _check_job(job)
    own = site.scheduler
    options: list[tuple[str, object]] = [
        ("job-name", job.name),
        ("comment", job.comment),
        ("partition", job.partition or own.partition),
        ("account", job.account or own.account),
        ("qos", job.qos or own.qos),
        ("constraint", own.constraint),
        ("nodes", job.nodes),
        ("ntasks", job.ntasks),
        ("ntasks-per-node", job.ntasks_per_node),
        ("cpus-per-task", job.cpus_per_task),
        ("mem", job.mem),
        ("time", job.time or own.time),
        ("signal", job.signal),
        ("output", job.output),
        ("exclude", job.exclude),
        ("dependency", job.dependency),
    ]
    lines = [f"#SBATCH --{name}={value}" for name, value in options if value not in ("", None)]
    lines.append(f"#SBATCH --{'requeue' if job.requeue else 'no-requeue'}")
    # A job that is started again must not wipe out what it said before.
    lines += ["#SBATCH --open-mode=append"] if job.output else []
    lines += [f"#SBATCH {option}" for option in (*own.options, *job.options)]
    # Only login shells know `module`.
    body = ["set -e", *(f"module load {shlex.quote(module)}" for module in job.modules)]
    body += [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    body += job.setup
    words = launch_command(site, job.ntasks, job.cpus_per_task, list(job.command), uid) if job.launch else job.command
    # The command takes the shell's place, so that signals to the batch script reach it.
    shell = "#!/bin/bash -l" if job.modules else "#!/bin/bash"
    return "\n".join([shell, *lines, "", *body, f"exec {shlex.join(words)}"]) + "\n"


def _check_job(job: Job) -> None:
    texts = [job.name, job.mem, job.time, job.partition, job.account, job.qos, job.comment, job.signal, job.output]
    for text in [*texts, job.exclude, job.dependency, *job.options]:
        if re.search(r"[\n\r\0]", text):
            raise SpecError(f"found {text!r} as an option of a job; wanted one line")
    for text in texts[1:-1]:
        if re.search(r"[\s\"'#]", text):
            raise SpecError(f"found {text!r} as an option of a job; wanted a word without spaces or quotes")
    if job.comment:
        check_key(job.comment)
    if min(job.ntasks, job.nodes or 1, job.ntasks_per_node or 1, job.cpus_per_task) < 1:
        raise SpecError("found a job of less than one node, task or CPU; wanted at least one")
    if job.nodes and job.ntasks < job.nodes:
        raise SpecError(f"found {job.ntasks} tasks on {job.nodes} nodes; wanted at least one task per node")
    if job.nodes and job.ntasks_per_node and job.ntasks > job.nodes * job.ntasks_per_node:
        raise SpecError(
            f"found {job.ntasks} tasks for {job.nodes} nodes of {job.ntasks_per_node} tasks; they do not fit"
        )
    if not job.command:
        raise SpecError("found a job without a command; wanted the words of one")


def check_key(key: str) -> None:
    """Refuse a key that might not come back as it was.

    Raises
    ------
    SpecError
    """
    if not KEY.fullmatch(key) or JOB_ID.fullmatch(key):
        raise SpecError(f"found key '{key}'; wanted letters, digits and ._:/=@+- (at most 200), and not a number alone")


# ---- what Slurm's commands write


def parse_squeue(text: str) -> dict[str, State]:
    """Read squeue's lines in `SQUEUE_FORMAT` into {job id: state}; other lines are passed over."""
    found: dict[str, State] = {}
    for line in text.splitlines():
        parts = line.strip().split("|", 5)
        if len(parts) == 6 and (job := re.match(r"\d+(_\S+)?", parts[0])):
            raw, word, nodes, comment, reason = parts[1:]
            state = _state(word, "squeue", key=_present(comment), nodes=_present(nodes), raw_id=raw)
            state = replace(state, reason=state.reason or _present(reason))
            found |= {one: replace(state, job=one) for one in expand_array(job.group())}
    return found


def parse_sacct(text: str) -> dict[str, list[State]]:
    """Read sacct's lines in `SACCT_FORMAT` into {job id: its runs, first to last}; steps are passed over."""
    found: dict[str, list[State]] = defaultdict(list)
    for line in text.splitlines():
        parts = line.strip().split("|", 6)
        if len(parts) < 7 or not re.fullmatch(r"\d+(_(\d+|\[[^\]]*\]))?", parts[0]):
            continue
        ids, raw, word, code, elapsed, nodes, comment = parts
        nodes = "" if nodes == "None assigned" else nodes
        state = _state(word, "sacct", key=_present(comment.rstrip("|")), nodes=nodes, raw_id=raw)
        exit_code, signal = (int(n) for n in code.split(":")) if re.fullmatch(r"\d+:\d+", code) else (None, None)
        state = replace(
            state, exit_code=exit_code, signal=signal, elapsed_s=int(elapsed) if elapsed.isdigit() else None
        )
        for one in expand_array(ids):
            found[one].append(replace(state, job=one, restarts=len(found[one])))
    return dict(found)


def expand_array(job: str) -> list[str]:
    """Return the ids that ``12_[1-3,7%2]`` stands for; a plain id stands for itself."""
    match = re.fullmatch(r"(\d+)_\[([^\]%]*)(%\d+)?\]?", job)
    if not match:
        return [job]
    ids: list[str] = []
    for part in match.group(2).split(","):
        span = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if not span:
            continue  # Slurm shortens long lists by "..."
        first, last, step = int(span[1]), int(span[2] or span[1]), int(span[3] or 1)
        ids += [f"{match.group(1)}_{k}" for k in range(first, last + 1, step)]
    return ids


def _state(word: str, told_by: str, key: str, nodes: str, raw_id: str) -> State:
    first = word.split()[0].rstrip("+") if word.split() else ""
    if first not in STATES:
        return State("", UNKNOWN, f"{told_by} says '{word}'", nodes=nodes, key=key, raw_id=raw_id, told_by=told_by)
    return State("", first, nodes=nodes, key=key, raw_id=raw_id, told_by=told_by)


def _present(text: str) -> str:
    return "" if text in ("(null)", "None", "N/A", "none") else text


# ---- state


def judge(job: str, queued: State | None, runs: Sequence[State], silence: str = "") -> State:
    """Say what is true of a job, from what squeue and sacct say of it.

    Parameters
    ----------
    job : its id
    queued : squeue's word; None where it did not answer or does not know the job
    runs : sacct's records, one per run, first to last; empty where there are none
    silence : why squeue gave no answer; empty where it did
    """
    last = runs[-1] if runs else None
    restarts = len(runs) - 1 if runs else None
    if queued is not None:
        if queued.ended and last is not None and last.state == queued.state:
            return replace(last, reason=queued.reason, restarts=restarts)
        # sacct lags behind by seconds; what else failed has no exit code until it knows.
        known = 0 if queued.state == "COMPLETED" else None
        return replace(queued, restarts=restarts, exit_code=known, signal=known)
    if last is None:
        return State(job, UNKNOWN, silence or "neither squeue nor sacct knows it")
    if last.state in ENDED and (not silence or last.state not in INTERRUPTED):
        return last
    if silence and last.state in LIVE:
        return replace(last, reason=f"as sacct has it; {silence}")
    why = silence or "squeue does not know it"
    return replace(last, state=UNKNOWN, reason=f"sacct says {last.state}; {why}")


def poll(cluster: Cluster, wanted: Iterable[str]) -> dict[str, State]:
    """Return the states of jobs, by one query for all (and one of sacct for what has ended).

    Parameters
    ----------
    cluster : which to ask
    wanted : job ids (``12``, ``12_3``) and keys

    Returns
    -------
    {id or key as wanted: state}; nothing is left out and nothing raised:
    what nobody answers for is UNKNOWN. The id of a job array stands for the
    element that needs attention: one that lives, else one that went wrong.
    """
    wanted = list(dict.fromkeys(wanted))
    if not wanted:
        return {}
    silence, queued = "", {}
    try:
        queued = parse_squeue(_squeue(cluster))
    except SiteError as error:
        silence = str(error)
    by_name = _by_name(queued.values())
    missing = [w for w in wanted if not any(not s.ended for s in by_name.get(w, []))]
    runs: dict[str, list[State]] = {}
    if missing:
        try:
            runs = parse_sacct(_sacct(cluster, missing))
        except SiteError as error:
            if not NO_ACCOUNTING.search(str(error)):
                silence = f"{silence}; {error}" if silence else ""
    jobs = {**queued, **{job: None for job in runs if job not in queued}}
    judged = [judge(job, state, runs.get(job, []), silence) for job, state in jobs.items()]
    answers = _by_name(judged)
    nothing = silence or "neither squeue nor sacct knows it"
    return {w: _foremost(answers[w]) if w in answers else State(w, UNKNOWN, nothing) for w in wanted}


def _by_name(states: Iterable[State]) -> dict[str, list[State]]:
    """Sort states under all names that may be asked for: id, id of the whole array, key."""
    found: dict[str, list[State]] = defaultdict(list)
    for state in states:
        for name in {state.job, state.job.partition("_")[0], state.key} - {""}:
            found[name].append(state)
    return dict(found)


def _foremost(states: Sequence[State]) -> State:
    """Return the state that needs attention: one that lives, else one that went wrong; the latest of these."""
    order = sorted(states, key=lambda s: [int(n) for n in s.job.split("_")])
    for chosen in (
        [s for s in order if s.state in LIVE],
        [s for s in order if s.state == UNKNOWN],
        [s for s in order if s.state != "COMPLETED"],
    ):
        if chosen:
            return chosen[-1]
    return order[-1]


def _squeue(cluster: Cluster, name: str = "") -> str:
    names = [f"--name={name}"] if name else []
    options = ("--noheader", "--all", "--array", "--states=all", f"--user={os.getuid()}", *names)
    return cluster.ask("squeue", *options, f"--format={SQUEUE_FORMAT}")


def _sacct(cluster: Cluster, wanted: Sequence[str], name: str = "") -> str:
    """Ask sacct for ids alone where there are ids alone, else for all jobs of late."""
    options = ["--noheader", "--parsable2", "--allocations", "--duplicates", f"--user={os.getuid()}"]
    options += [f"--format={SACCT_FORMAT}"] + ([f"--name={name}"] if name else [])
    if not all(JOB_ID.fullmatch(w) for w in wanted):
        return cluster.ask("sacct", *options, f"--starttime={cluster.since}")
    parts = [wanted[k : k + IDS_PER_QUERY] for k in range(0, len(wanted), IDS_PER_QUERY)]
    return "\n".join(cluster.ask("sacct", *options, f"--jobs={','.join(part)}") for part in parts)


class Poller:
    """Asks one cluster for all jobs, not too often, and ever less often while it is silent.

    Parameters
    ----------
    cluster : which to ask
    shortest_s, longest_s : least and most time between two queries
    clock : seconds that never go back
    """

    def __init__(
        self,
        cluster: Cluster,
        shortest_s: float = 2.0,
        longest_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster, self._shortest, self._longest, self._clock = cluster, shortest_s, longest_s, clock
        self._pause, self._next = shortest_s, -float("inf")
        self._known: dict[str, State] = {}

    def poll(self, wanted: Iterable[str]) -> dict[str, State]:
        """Return states as `poll` does; from memory where it is too early to ask again."""
        wanted = list(wanted)
        if self._clock() >= self._next and wanted:
            self._known = poll(self.cluster, wanted)
            silent = all(s.state == UNKNOWN for s in self._known.values())
            self._pause = min(2 * self._pause, self._longest) if silent else self._shortest
            self._next = self._clock() + self._pause
        return {w: self._known.get(w) or State(w, UNKNOWN, "not asked for yet") for w in wanted}


# ---- submission


def find(cluster: Cluster, keys: Iterable[str], name: str = "") -> dict[str, list[str]]:
    """Return {key: ids of the jobs that carry it, first to last}; a key without jobs has an empty list.

    `name` narrows the search to jobs of that name.

    Raises
    ------
    Silence
        Slurm did not answer in full: that a job is absent is then not known.
    """
    keys = list(keys)
    seen: dict[str, set[str]] = {key: set() for key in keys}
    states = list(parse_squeue(_squeue(cluster, name)).values())
    try:
        states += [run for runs in parse_sacct(_sacct(cluster, keys, name)).values() for run in runs]
    except Silence:
        raise
    except SiteError as error:
        if not NO_ACCOUNTING.search(str(error)):
            raise
    for state in states:
        if state.key in seen:
            seen[state.key].add(state.job.partition("_")[0])
    return {key: sorted(ids, key=int) for key, ids in seen.items()}


def submit(
    cluster: Cluster,
    text: str,
    key: str,
    *,
    look: bool = True,
    attempts: int = 5,
    settle_s: float = 3.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Submit a job once, whatever happens on the way, and return its id.

    Parameters
    ----------
    cluster : where to
    text : batch script, as of `sbatch_text`
    key : becomes the job's comment; a job that carries it already is the one wanted
    look : look the key up before the first try; without need where `find` was just asked for many keys
    attempts : tries of sbatch before giving up
    settle_s : time after a failed try before looking whether it came through; doubles each time

    Raises
    ------
    SiteError
        Slurm refused the job; with its words. There is no job then.
    Silence
        Slurm did not answer. Whether there is a job is not known: call
        again with the same key.
    """
    check_key(key)
    named = re.search(r"^#SBATCH\s+(?:--job-name[= ]|-J\s*)(\S+)", text, re.MULTILINE)
    name = named.group(1) if named else ""
    if look and (ids := find(cluster, [key], name)[key]):
        return ids[0]
    for attempt in range(attempts):
        try:
            job = cluster.ask("sbatch", "--parsable", f"--comment={key}", text=text).strip().split(";")[0]
        except Silence as error:
            # The request may still be on its way, or be carried out without our hearing of it.
            if ids := _look_after(cluster, key, name, settle_s * 2**attempt, error, sleep):
                return ids[0]
            continue
        if not JOB_ID.fullmatch(job):
            raise Silence(f"sbatch wrote '{job}', wanted a job id; look the job up by its key '{key}'")
        return _first_of(cluster, key, name, job) if attempt else job
    raise Silence(f"sbatch did not succeed in {attempts} tries; no job carries '{key}'; is the controller up?")


def _look_after(
    cluster: Cluster, key: str, name: str, wait_s: float, error: Silence, sleep: Callable[[float], None]
) -> list[str]:
    """Look a key up after a failed try, patiently: without an answer there must be no other try."""
    for pause in (wait_s, 2 * wait_s, 4 * wait_s):
        sleep(pause)
        try:
            return find(cluster, [key], name)[key]
        except Silence as silence:
            error = silence
    raise error


def _first_of(cluster: Cluster, key: str, name: str, job: str) -> str:
    """Keep the first of several jobs with one key: an early try may have come through late."""
    try:
        ids = find(cluster, [key], name)[key] or [job]
    except Silence:
        return job
    if ids[1:]:
        cancel(cluster, ids[1:])
    return ids[0]


def cancel(cluster: Cluster, wanted: Iterable[str], signal: str = "") -> list[str]:
    """Cancel jobs by id or key, or send them a signal; return their ids. Jobs that are over are no error.

    Raises
    ------
    Silence
        Slurm did not answer; call again.
    """
    wanted = list(wanted)
    keys = [w for w in wanted if not JOB_ID.fullmatch(w)]
    ids = [w for w in wanted if JOB_ID.fullmatch(w)]
    if keys:
        ids += [job for jobs in find(cluster, keys).values() for job in jobs]
    for k in range(0, len(ids), IDS_PER_QUERY):
        try:
            cluster.ask("scancel", *([f"--signal={signal}"] if signal else []), *ids[k : k + IDS_PER_QUERY])
        except Silence as error:
            if not re.search(
                r"Invalid job id|already (completing|completed)|not in a state", str(error), re.IGNORECASE
            ):
                raise
    return ids
