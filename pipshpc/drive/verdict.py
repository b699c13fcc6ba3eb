"""What an attempt that did not finish means: again, wait and again, or never. A pure function."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipshpc.campaign import Retry
from pipshpc.errors import InputError, OutputError, SiteError, SpecError, Stopped

Next = Literal["again", "wait", "never"]

# What launchers and Slurm say when a rank or node is gone, as opposed to the program's own failing.
_LOST = ("NODE FAILURE", "Node failure", "DUE TO PREEMPTION", "DUE TO TIME LIMIT", "DUE TO JOB REQUEUE", "BOOT_FAIL")
_BLOCK_LOST = ("ManagerLost", "WorkerLost", "BadStateException", "TooManyJobFailures")  # Parsl's words
_SILENT = ("Unable to contact slurm controller", "Socket timed out", "Unable to create step", "Connection refused")
_MEMORY = ("oom-kill", "OUT_OF_MEMORY", "Out Of Memory", "oom_kill")
_FULL = ("No space left on device", "Disk quota exceeded")
# A job in one of these states has taken its tasks along; the tasks have done nothing wrong.
_TAKEN_AWAY = ("NODE_FAIL", "PREEMPTED", "TIMEOUT", "BOOT_FAIL", "CANCELLED", "REQUEUED", "DEADLINE")


@dataclass(frozen=True)
class Attempts:
    """How often a task was tried: for reasons of its own, taken away, waiting."""

    charged: int = 0
    uncharged: int = 0
    waited: int = 0


@dataclass(frozen=True)
class Ending:
    """What is known of an attempt that left no finished file.

    Parameters
    ----------
    exit_code : of the launcher; None where there is none because the block was lost
    error : what Parsl says of the lost attempt, else empty
    log : what the launch printed
    task_code, said : exit code and sentence that the task itself left behind; None and empty where it left none
    state : Slurm's word for the job, or the step, that the attempt ran in; empty where it is not known
    started : False where the worker did not start it because its block ends too soon
    ended_for : why the driver ended it; empty where it did not
    heard : a heartbeat of the launch was seen
    disk_full : the products' file system has no room; then nothing else may have been said
    """

    exit_code: int | None
    error: str = ""
    log: str = ""
    task_code: int | None = None
    said: str = ""
    state: str = ""
    started: bool = True
    ended_for: str = ""
    heard: bool = True
    disk_full: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to do after an attempt.

    Parameters
    ----------
    cause : short name of the class of failure, in Slurm's words where it has one
    reason : the sentence for people; attempts with equal text count as one cause
    next : whether and how the task is tried again
    charged : counts against the task's own tries
    wait_s : how long to wait before the next attempt
    """

    cause: str
    reason: str
    next: Next
    charged: bool = False
    wait_s: float = 0.0


def judge(ending: Ending, before: Attempts, retry: Retry | None = None) -> Verdict:
    """Say what an attempt without a finished file means.

    Parameters
    ----------
    ending : how it ended
    before : how often the task was tried before
    retry : how long to go on; the defaults where not given
    """
    retry = retry or Retry()
    log, error = ending.log, ending.error
    own = ending.task_code is not None
    code = ending.task_code if own else ending.exit_code
    told = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    # Where the task left a sentence, what others of its launch printed is not about it.
    sentence = ending.said or ("" if own else next(iter(told), ""))
    lost = next((word for word in _LOST if word in log), "")
    if not ending.started:
        return Verdict("BLOCK_ENDS", "the block ends before the task could", "again", wait_s=2.0)
    if ending.ended_for:
        return _charge("STALLED", ending.ended_for, before, retry)
    if code == Stopped.exit_code or (not own and any("stopped at a block border" in line for line in told)):
        return _again(ending.state or "STOPPED", sentence or "told to stop", before, retry)
    if code in (SpecError.exit_code, InputError.exit_code, SiteError.exit_code) and sentence:
        return Verdict("INPUT" if code == InputError.exit_code else "SPEC", sentence, "never")
    if code == OutputError.exit_code or ending.disk_full or any(w in log or w in error for w in _FULL):
        return _wait("I/O", sentence or "the disk is full", before, retry)
    if ending.state in _TAKEN_AWAY:
        return _again(ending.state, f"Slurm says {ending.state} of its job or step", before, retry)
    if lost:
        return _again(_word(lost), f"Slurm says: {lost}", before, retry)
    if ending.state == "OUT_OF_MEMORY" or any(word in log for word in _MEMORY):
        return _charge("OUT_OF_MEMORY", "it was killed for using more memory than it asked for", before, retry)
    if code is None and any(word in error for word in _BLOCK_LOST):
        return _again("NODE_FAIL", "its block was lost", before, retry)
    if any(word in log for word in _SILENT):
        return _wait("CONTROLLER", "the Slurm controller did not answer", before, retry)
    refused = [line.removeprefix("srun: error: ") for line in log.splitlines() if line.startswith("srun: error: ")]
    if refused and not ending.heard and not own:
        return _wait("LAUNCHER", f"Slurm started no rank: {refused[-1]}", before, retry)
    return _charge("FAILED", sentence or error or _exit(code), before, retry)


def cancelled_from_outside(log: str) -> bool:
    """Say whether a launch's step was cancelled before a rank of it failed.

    Where a rank fails, srun itself cancels the others, and Slurm's word for the step is CANCELLED just the same. It
    is what srun said first that tells the two apart; where it said nothing of either, the step is not taken for one.
    """
    cancelled = re.search(r"\*\*\* STEP \S+ ON \S+ CANCELLED AT", log)
    failed = re.search(r"srun: error: \S+ tasks? \S+ ", log)
    return cancelled is not None and (failed is None or cancelled.start() < failed.start())


def _word(lost: str) -> str:
    """Return the state of a job that a line of a log is about."""
    words = {"DUE TO PREEMPTION": "PREEMPTED", "DUE TO TIME LIMIT": "TIMEOUT", "DUE TO JOB REQUEUE": "REQUEUED"}
    return words.get(lost, "BOOT_FAIL" if lost == "BOOT_FAIL" else "NODE_FAIL")


def _exit(code: int | None) -> str:
    """Say in words how a launcher ended; launchers give a rank's signal as 128 + its number."""
    if code is not None and code > 128:
        return f"a rank was killed by signal {code - 128}"
    return f"exit code {code}"


def _again(cause: str, reason: str, before: Attempts, retry: Retry) -> Verdict:
    if before.uncharged >= retry.taken_away:
        return Verdict(cause, f"{reason}; taken away {before.uncharged} times, look at the cluster", "never")
    return Verdict(cause, reason, "again", wait_s=0.5)


def _wait(cause: str, reason: str, before: Attempts, retry: Retry) -> Verdict:
    if before.waited >= retry.waits:
        return Verdict(cause, f"{reason}; waited {before.waited} times", "never")
    return Verdict(cause, reason, "wait", wait_s=min(retry.longest_wait_s, 1.5 ** min(before.waited, 40)))


def _charge(cause: str, reason: str, before: Attempts, retry: Retry) -> Verdict:
    if before.charged + 1 >= retry.charged:
        return Verdict(cause, f"{reason}; tried {before.charged + 1} times", "never", charged=True)
    return Verdict(cause, reason, "again", charged=True, wait_s=1.0)
