"""Pilot blocks on Slurm, for Parsl: each is one job of whole nodes in which steps of many sizes are packed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider

from pipshpc import slurm
from pipshpc.drive.jobs import Jobs
from pipshpc.drive.software import path_lines
from pipshpc.drive.worker import BLOCK_END
from pipshpc.errors import SiteError
from pipshpc.site import Site

JOB_NAME = "pipshpc-block"
_PARSL_STATES = {
    "PENDING": JobState.PENDING,
    "CONFIGURING": JobState.PENDING,
    "COMPLETED": JobState.COMPLETED,
    "TIMEOUT": JobState.TIMEOUT,
    "CANCELLED": JobState.CANCELLED,
}


class SlurmBlocks(ExecutionProvider):
    """Parsl's provider of blocks: submitted exactly once, watched by one query for all.

    Parameters
    ----------
    site : the cluster, in the partition that the campaign chose
    jobs : the campaign's jobs
    folder : for the jobs' output
    stack : module of the software, loaded after those of the site
    """

    def __init__(self, site: Site, jobs: Jobs, folder: Path, stack: str = "") -> None:
        scheduler = site.scheduler
        self.site, self.jobs, self.folder = site, jobs, folder
        self.stack = stack
        self.nodes_per_block = scheduler.block_nodes
        self.init_blocks = self.min_blocks = 0
        self.max_blocks = max(1, scheduler.max_nodes // scheduler.block_nodes)
        self.parallelism = 1.0
        self.resources: dict[object, Any] = {}
        self.script_dir = str(folder)
        self.cores_per_node: int | None = None
        self.mem_per_node: float | None = None
        self._number, self._unanswered = 0, False
        self._not_before, self._pause = 0.0, 2.0

    @property
    def label(self) -> str:
        """Name of the provider in Parsl's logs."""
        return "slurm"

    @property
    def status_polling_interval(self) -> int:
        """Seconds between Parsl's looks at `status`; it costs nothing, what Slurm says is known here."""
        return 1

    def may_submit(self) -> bool:
        """Whether another block may be asked for now: not where Slurm refused one, or is silent."""
        return not self.jobs.refusal and time.monotonic() >= self._not_before

    def submit(self, command: str, tasks_per_node: int, job_name: str = JOB_NAME) -> str:
        """Submit one block and return its job id.

        Raises
        ------
        SiteError
            Slurm refused it, or did not answer; or there is no room for it now.
        """
        # Where an earlier try had no answer, its job may be there after all: the same key finds it.
        self._number += not self._unanswered
        key, nodes = f"{self.jobs.key}.{self._number}", self.site.scheduler.block_nodes
        if not self.jobs.reserve(nodes):
            raise SiteError(f"the campaign has all of its {self.site.scheduler.max_nodes} nodes; try again")
        try:
            job = self.jobs.submit(
                lambda excluded: self.text(command, key, excluded), key, nodes, look=self._unanswered
            )
        except slurm.Silence:
            self._unanswered = True
            self.jobs.release(nodes)
            self._not_before, self._pause = time.monotonic() + self._pause, min(2 * self._pause, 60.0)
            raise
        except SiteError:
            self.jobs.release(nodes)
            raise
        self._pause, self._unanswered = 2.0, False
        self.resources[job] = key
        return job

    def text(self, command: str, key: str, excluded: Sequence[str]) -> str:
        """Return the batch script of a block."""
        site, time_s = self.site, self.site.scheduler.time_s
        job = slurm.Job(
            command=["bash", "-c", command],
            name=JOB_NAME,
            nodes=site.scheduler.block_nodes,
            ntasks=site.scheduler.block_nodes * site.core_count,
            ntasks_per_node=site.core_count,
            comment=key,
            signal=site.scheduler.signal,
            output=str(self.folder / "block-%j.log"),
            exclude=",".join(excluded),
            options=["--exclusive"] if site.scheduler.exclusive else [],
            modules=[self.stack] if self.stack else [],
            setup=[
                *([f"export {BLOCK_END}=$(($(date +%s) + {time_s}))"] if time_s else []),
                path_lines(self.stack),
            ],
            launch=False,
        )
        return slurm.sbatch_text(site, job)

    def status(self, job_ids: Sequence[object]) -> list[JobStatus]:
        """Say in Parsl's words what is known of blocks."""
        return [JobStatus(self._parsl_state(str(job))) for job in job_ids]

    def _parsl_state(self, job: str) -> JobState:
        state = self.jobs.blocks[job].state
        return _PARSL_STATES.get(state.state, JobState.FAILED if state.ended else JobState.RUNNING)

    def cancel(self, job_ids: Sequence[object]) -> list[bool]:
        """End blocks; their steps are told to stop first."""
        self.jobs.cancel([str(job) for job in job_ids])
        return [True] * len(job_ids)
