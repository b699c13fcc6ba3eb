"""Submission, exactly once, and cancelling."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable

from pipshpc.slurm.client import Cluster, Silence
from pipshpc.slurm.queue import IDS_PER_QUERY, find
from pipshpc.slurm.script import check_key
from pipshpc.slurm.state import JOB_ID


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
