"""What an attempt that did not finish means: again, wait and again, or never. A pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipshpc.errors import InputError, OutputError, SiteError, SpecError, Stopped

Next = Literal["again", "wait", "never"]

CHARGED_LIMIT = 3  # attempts that failed for a reason of their own
UNCHARGED_LIMIT = 20  # attempts that the machine took away
WAIT_LIMIT = 12  # times to wait for a disk or a controller: about three minutes in all
LONGEST_WAIT_S = 30.0

# What launchers and Slurm say when a rank or node is gone, as opposed to the program's own failing.
_LOST = ("NODE FAILURE", "Node failure", "DUE TO PREEMPTION", "DUE TO TIME LIMIT", "DUE TO JOB REQUEUE", "BOOT_FAIL")
_BLOCK_LOST = ("ManagerLost", "WorkerLost", "BadStateException", "TooManyJobFailures")  # Parsl's words
_SILENT = ("Unable to contact slurm controller", "Socket timed out", "Unable to create step", "Connection refused")
_MEMORY = ("oom-kill", "OUT_OF_MEMORY", "Out Of Memory", "oom_kill")
_FULL = ("No space left on device", "Disk quota exceeded")


@dataclass(frozen=True)
class Attempts:
    """How often a task was tried: for reasons of its own, taken away, waiting."""

    charged: int = 0
    uncharged: int = 0
    waited: int = 0


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

    def count(self, before: Attempts) -> Attempts:
        """Return the counts after this attempt."""
        return Attempts(
            before.charged + self.charged,
            before.uncharged + (self.next == "again" and not self.charged),
            before.waited + (self.next == "wait"),
        )


def judge(code: int | None, error: str, log: str, before: Attempts) -> Verdict:
    """Say what an attempt without a finished file means.

    Parameters
    ----------
    code : exit code of the launcher; None where there is none because the block was lost
    error : what Parsl says of the lost attempt, else empty
    log : what the attempt printed
    before : how often the task was tried before
    """
    said = [line.removeprefix("error: ") for line in log.splitlines() if line.startswith("error: ")]
    sentence = said[0] if said else ""
    lost = next((word for word in _LOST if word in log), "")
    if code == Stopped.exit_code or any("stopped at a block border" in line for line in said):
        return _again("STOPPED", sentence or "told to stop", before)
    if code in (SpecError.exit_code, InputError.exit_code, SiteError.exit_code) and sentence:
        return Verdict("INPUT", sentence, "never")
    if code is None and any(word in error for word in _BLOCK_LOST):
        return _again("NODE_FAIL", error, before)
    if lost:
        return _again(lost.removeprefix("DUE TO ").replace(" ", "_").upper(), f"Slurm says: {lost}", before)
    if code == OutputError.exit_code or any(word in log for word in _FULL):
        return _wait("I/O", sentence or "the disk is full", before)
    if any(word in log for word in _SILENT):
        return _wait("CONTROLLER", "the Slurm controller did not answer", before)
    if any(word in log for word in _MEMORY):
        return _charge("OUT_OF_MEMORY", "the task was killed for using more memory than it asked for", before)
    return _charge("FAILED", sentence or error or f"exit code {code}", before)


def _again(cause: str, reason: str, before: Attempts) -> Verdict:
    if before.uncharged >= UNCHARGED_LIMIT:
        return Verdict(cause, f"{reason}; taken away {UNCHARGED_LIMIT} times, look at the cluster", "never")
    return Verdict(cause, reason, "again", wait_s=0.5)


def _wait(cause: str, reason: str, before: Attempts) -> Verdict:
    if before.waited >= WAIT_LIMIT:
        return Verdict(cause, f"{reason}; waited {WAIT_LIMIT} times", "never")
    return Verdict(cause, reason, "wait", wait_s=min(LONGEST_WAIT_S, 1.0 * 1.5**before.waited))


def _charge(cause: str, reason: str, before: Attempts) -> Verdict:
    if before.charged + 1 >= CHARGED_LIMIT:
        return Verdict(cause, f"{reason}; tried {before.charged + 1} times", "never", charged=True)
    return Verdict(cause, reason, "again", charged=True, wait_s=1.0)
