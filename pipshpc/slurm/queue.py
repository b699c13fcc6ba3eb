"""The queue: what Slurm knows of jobs, asked for in one go, and jobs found by their key."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pipshpc.errors import SiteError
from pipshpc.slurm.client import NO_ACCOUNTING, Cluster, Silence
from pipshpc.slurm.state import (
    ENDED,
    JOB_ID,
    LIVE,
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    UNKNOWN,
    State,
    judge,
    parse_sacct,
    parse_squeue,
)

IDS_PER_QUERY = 4000


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


def step_state(cluster: Cluster, job: str, step: str) -> str:
    """Return Slurm's word for how a step of a job ended; empty where sacct does not know it, or does not answer."""
    options = ("--noheader", "--parsable2", f"--jobs={job}.{step}", "--format=JobID,State")
    try:
        lines = [line.split("|") for line in cluster.ask("sacct", *options).splitlines()]
    except SiteError:
        return ""
    words = [line[1].split()[0] for line in lines if len(line) == 2 and line[0] == f"{job}.{step}" and line[1].strip()]
    # A job that was started again has steps of one name in each of its runs.
    return words[-1] if words and words[-1] in ENDED else ""


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
