"""Slurm's client commands: one call, one answer, or silence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from pipshpc.errors import SiteError

# What sbatch says where another try may help; all else it says is final.
PASSING = re.compile(
    r"contact slurm controller|timed out|temporarily unable|Zero Bytes|Connection (refused|reset)|Communication "
    r"connection failure|Unexpected message|controller not responding|Transport endpoint|Resource temporarily|"
    r"Slurm backup controller in standby|Message receive failure|Message send failure",
    re.IGNORECASE,
)
NO_ACCOUNTING = re.compile(r"accounting storage is disabled", re.IGNORECASE)


class Silence(SiteError):
    """Slurm did not answer; nothing can be concluded from that."""


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
