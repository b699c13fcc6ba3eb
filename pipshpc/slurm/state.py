"""States of jobs: Slurm's own words, and UNKNOWN; what its commands write, and what follows from it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
SQUEUE_FORMAT = "%i|%A|%T|%N|%k|%r"
SACCT_FORMAT = "JobID,JobIDRaw,State,ExitCode,ElapsedRaw,NodeList,Comment"


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
    # sacct is behind: a job that it has as waiting may have started since.
    if silence and last.state in LIVE and last.state != "PENDING":
        return replace(last, reason=f"as sacct has it; {silence}")
    why = silence or "squeue does not know it"
    return replace(last, state=UNKNOWN, reason=f"sacct says {last.state}; {why}")
