"""Slurm at arm's length: the text of a job, its exactly-once submission, and the truth about its state.

States are Slurm's own words, and UNKNOWN. A command that does not answer is
silence; silence never makes a job failed, and never makes it be submitted
again.
"""

from pipshpc.slurm.client import NO_ACCOUNTING, PASSING, Cluster, Silence, client_environment
from pipshpc.slurm.queue import Poller, find, poll, step_state
from pipshpc.slurm.script import Job, check_key, sbatch_text
from pipshpc.slurm.state import (
    ENDED,
    INTERRUPTED,
    JOB_ID,
    LIVE,
    SACCT_FORMAT,
    SQUEUE_FORMAT,
    STATES,
    UNKNOWN,
    State,
    expand_array,
    judge,
    parse_sacct,
    parse_squeue,
)
from pipshpc.slurm.submission import cancel, submit

__all__ = [
    "ENDED",
    "INTERRUPTED",
    "JOB_ID",
    "LIVE",
    "NO_ACCOUNTING",
    "PASSING",
    "SACCT_FORMAT",
    "SQUEUE_FORMAT",
    "STATES",
    "UNKNOWN",
    "Cluster",
    "Job",
    "Poller",
    "Silence",
    "State",
    "cancel",
    "check_key",
    "client_environment",
    "expand_array",
    "find",
    "judge",
    "parse_sacct",
    "parse_squeue",
    "poll",
    "sbatch_text",
    "step_state",
    "submit",
]
