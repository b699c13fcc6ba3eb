"""What Slurm's accounting says of jobs and steps: cores held, CPU time, memory, elapsed time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pipshpc.errors import SiteError
from pipshpc.slurm import Cluster

FORMAT = "JobID,State,AllocCPUS,NNodes,ElapsedRaw,TotalCPU,MaxRSS"
IDS_PER_QUERY = 2000
_UNITS = {"": 1 / 2**20, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}


@dataclass(frozen=True)
class Account:
    """One job (``12``) or step (``12.3``, ``12.batch``); None is what sacct does not know.

    `cpu_s` is user and system time of all its processes, `peak_mib` the largest resident size of one of them.
    """

    id: str
    state: str
    cores: int | None
    nodes: int | None
    elapsed_s: int | None
    cpu_s: float | None
    peak_mib: float | None

    @property
    def job(self) -> str:
        """Number of the job."""
        return self.id.partition(".")[0]

    @property
    def is_step(self) -> bool:
        """Whether it is a step, not the job as a whole."""
        return "." in self.id


def parse_accounts(text: str) -> list[Account]:
    """Read sacct's lines in `FORMAT`; other lines are passed over."""
    found = []
    for line in text.splitlines():
        parts = line.strip().split("|")
        if len(parts) < 7 or not re.match(r"\d+", parts[0]):
            continue
        name, state, cores, nodes, elapsed, cpu, memory = parts[:7]
        found.append(
            Account(
                name,
                state.split()[0] if state else "",
                _number(cores),
                _number(nodes),
                _number(elapsed),
                parse_time(cpu),
                parse_memory(memory),
            )
        )
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def parse_time(text: str) -> float | None:
    """Return the seconds of ``[days-][hours:]minutes:seconds[.fraction]``; None where it is none."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)", text)
    if not match:
        return None
    days, hours, minutes, seconds = match.groups()
    return ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes)) * 60 + float(seconds)


def parse_memory(text: str) -> float | None:
    """Return the MiB of ``123K``, ``1.5G`` or bytes; None where nothing was sampled."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text)
    if not match or float(match[1]) == 0:
        return None
    return float(match[1]) * _UNITS[match[2]]


def read_accounts(jobs: Iterable[str], cluster: Cluster | None = None) -> tuple[list[Account], str]:
    """Ask sacct for jobs and their steps; one query for all.

    Parameters
    ----------
    jobs : their numbers
    cluster : which to ask; the default one if None

    Returns
    -------
    What is known, and why it is not all; empty where nothing went wrong.
    """
    wanted = sorted({job for job in jobs if job.isdigit()}, key=int)
    if not wanted:
        return [], "no job of Slurm took part"
    cluster = cluster or Cluster()
    found: list[Account] = []
    for k in range(0, len(wanted), IDS_PER_QUERY):
        ids = ",".join(wanted[k : k + IDS_PER_QUERY])
        try:
            said = cluster.ask(
                "sacct", "--noheader", "--parsable2", "--duplicates", f"--format={FORMAT}", f"--jobs={ids}"
            )
        except SiteError as error:
            return found, str(error)
        found += parse_accounts(said)
    known = {account.job for account in found}
    missing = [job for job in wanted if job not in known]
    return found, f"sacct knows nothing of {len(missing)} of {len(wanted)} jobs" if missing else ""
