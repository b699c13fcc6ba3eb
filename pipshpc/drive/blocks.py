"""Pilot blocks on Slurm, for Parsl: each is one job of whole nodes in which steps of many sizes are packed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers.base import ExecutionProvider

from pipshpc import slurm
from pipshpc.drive.worker import BLOCK_END, PATHS
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


@dataclass
class Block:
    """One pilot job, as last heard of."""

    job: str
    state: slurm.State
    submitted: float
    running_since: float = 0.0
    used: bool = False  # a task was heard of in it


class SlurmBlocks(ExecutionProvider):
    """Parsl's provider of blocks: submitted exactly once, watched by one query for all.

    Parameters
    ----------
    site : the cluster, in the partition that the campaign chose
    key : begins the comment of every block's job
    folder : for the jobs' output
    modules : loaded after those of the site
    """

    def __init__(self, site: Site, key: str, folder: Path, modules: Sequence[str] = ()) -> None:
        scheduler = site.scheduler
        self.site, self.key, self.folder = site, f"{key}/{int(time.time())}", folder
        self.modules = [*site.modules, *modules]
        self.nodes_per_block = scheduler.block_nodes
        self.init_blocks = self.min_blocks = 0
        self.max_blocks = max(1, scheduler.max_nodes // scheduler.block_nodes)
        self.parallelism = 1.0
        self.resources: dict[object, Any] = {}
        self.script_dir = str(folder)
        self.cores_per_node: int | None = None
        self.mem_per_node: float | None = None
        self.cluster = slurm.Cluster(name=scheduler.cluster)
        self.excluded: list[str] = []
        self.refusal = ""  # why Slurm will have no more blocks
        self.blocks: dict[str, Block] = {}
        self._poller = slurm.Poller(self.cluster, shortest_s=scheduler.poll_s)
        self._number = 0
        self._lock = threading.Lock()
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
        return not self.refusal and time.monotonic() >= self._not_before

    def submit(self, command: str, tasks_per_node: int, job_name: str = JOB_NAME) -> str:
        """Submit one block and return its job id.

        Raises
        ------
        SiteError
            Slurm refused it, or did not answer.
        """
        self._number += 1
        key = f"{self.key}.{self._number}"
        try:
            job = slurm.submit(self.cluster, self.text(command, key, self.excluded), key, look=False, attempts=1)
        except slurm.Silence:
            self._not_before, self._pause = time.monotonic() + self._pause, min(2 * self._pause, 60.0)
            raise
        except SiteError as error:
            if not self.excluded:
                self.refusal = str(error)
                raise
            # With the nodes that failed left out there may be none: better one of them than none.
            self.excluded = []
            job = slurm.submit(self.cluster, self.text(command, key, []), key, look=False, attempts=1)
        self._pause = 2.0
        state = slurm.State(job, "PENDING", key=key)
        with self._lock:
            self.blocks[job] = Block(job, state, time.time())
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
            modules=self.modules,
            setup=[
                *([f"export {BLOCK_END}=$(($(date +%s) + {time_s}))"] if time_s else []),
                PATHS,
            ],
            launch=False,
        )
        return slurm.sbatch_text(site, job)

    def poll(self) -> list[Block]:
        """Ask Slurm for all blocks that are not over, and return those whose state changed."""
        with self._lock:
            wanted = [b.job for b in self.blocks.values() if not b.state.ended]
        changed = []
        for job, state in self._poller.poll(wanted).items():
            block = self.blocks[job]
            if state.state == slurm.UNKNOWN and state.reason == "not asked for yet":
                continue
            if state.state == "RUNNING" and not block.running_since:
                block.running_since = time.time()
            if (state.state, state.nodes) != (block.state.state, block.state.nodes):
                changed.append(block)
            block.state = state
        return changed

    def live(self) -> list[Block]:
        """Return the blocks that wait, run, or are not known to be over."""
        with self._lock:
            return [b for b in self.blocks.values() if not b.state.ended]

    def status(self, job_ids: Sequence[object]) -> list[JobStatus]:
        """Say in Parsl's words what is known of blocks."""
        return [JobStatus(self._parsl_state(str(job))) for job in job_ids]

    def _parsl_state(self, job: str) -> JobState:
        state = self.blocks[job].state
        return _PARSL_STATES.get(state.state, JobState.FAILED if state.ended else JobState.RUNNING)

    def cancel(self, job_ids: Sequence[object]) -> list[bool]:
        """End blocks; their steps are told to stop first."""
        with contextlib.suppress(slurm.Silence):
            slurm.cancel(self.cluster, [str(job) for job in job_ids])
        return [True] * len(job_ids)

    def bad_nodes(self, nodes: str) -> list[str]:
        """Return which of a block's nodes Slurm holds for lost now; none where it does not answer."""
        try:
            said = self.cluster.ask("sinfo", "--noheader", "--Node", f"--nodes={nodes}", "--format=%N %t")
        except SiteError:
            return []
        words = [line.split() for line in said.splitlines()]
        return sorted({w[0] for w in words if len(w) == 2 and w[1].startswith(("down", "drain", "drng", "fail"))})
