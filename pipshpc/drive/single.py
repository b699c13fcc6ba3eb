"""Launches as Slurm jobs of their own: each waits in a thread for its job, and all of them for one query."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipshpc import slurm
from pipshpc.drive.jobs import Block, Jobs
from pipshpc.drive.software import path_lines
from pipshpc.drive.worker import LAUNCHED, Outcome
from pipshpc.site import Site

JOB_NAME = "pipshpc-launch"
MEMORY_SHARE = 0.9  # of a node's memory that its jobs ask for together
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Ask:
    """What one launch asks for: `memory_mib` is that of a rank, 0: its share; `nodes` 0: as few as hold it."""

    number: int
    command: list[str]
    log: Path
    ranks: int
    threads: int
    nodes: int = 0
    memory_mib: int = 0

    def whole_nodes(self, cores: int) -> int:
        """Return how many nodes of so many cores it is spread over."""
        return self.nodes or math.ceil(self.ranks * self.threads / cores)


class SingleJobs:
    """Runs launches as jobs.

    Parameters
    ----------
    site : the cluster, in the partition that the campaign chose
    jobs : the campaign's jobs; whoever calls their `poll` lets those go on that wait here
    stack : module of the software, loaded after those of the site
    """

    def __init__(self, site: Site, jobs: Jobs, stack: str = "") -> None:
        self.site, self.jobs, self.stack = site, jobs, stack
        self.stopping = False

    def run(self, ask: Ask) -> Outcome:
        """Submit one launch and wait for its end.

        Raises
        ------
        SiteError
            Slurm refused the job.
        """
        cores = self.site.core_count
        nodes = max(ask.whole_nodes(cores) if self._fills(ask) else 0.0, ask.ranks * ask.threads / cores)
        while not self.jobs.reserve(nodes):
            if self.stopping:
                return _not_started()
            self.jobs.wait(1.0)
        try:
            job = self._submit(ask, nodes)
        except BaseException:
            self.jobs.release(nodes)
            raise
        if not job:
            self.jobs.release(nodes)
            return _not_started()
        block = self.jobs.blocks[job]
        while not (block.settled or self.stopping):
            self.jobs.wait(1.0)
        return _outcome(block)

    def _submit(self, ask: Ask, nodes: float) -> str:
        """Submit the job of a launch, as often as it takes to hear of it; empty where the driver ends before."""
        key, look, pause = f"{self.jobs.key}/L{ask.number}", False, 2.0
        while not self.stopping:
            try:
                return self.jobs.submit(lambda out: self.text(ask, key, out), key, nodes, ask.number, look)
            except slurm.Silence:
                # It may be there all the same: from now on it is looked for under its key.
                look = True
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        return ""

    def _fills(self, ask: Ask) -> bool:
        cores = self.site.core_count
        return ask.ranks * ask.threads >= ask.whole_nodes(cores) * cores

    def text(self, ask: Ask, key: str, excluded: Sequence[str]) -> str:
        """Return the batch script of a launch."""
        site = self.site
        options = ["--exclusive"] if self._fills(ask) else []
        if ask.memory_mib:
            options.append(f"--mem-per-cpu={-(-ask.memory_mib // ask.threads)}M")
        elif options:
            options.append("--mem=0")  # all of the node
        else:
            share = int(MEMORY_SHARE * site.memory_bytes / site.core_count) >> 20
            options.append(f"--mem-per-cpu={share}M")
        job = slurm.Job(
            command=ask.command,
            name=JOB_NAME,
            nodes=ask.whole_nodes(site.core_count),
            ntasks=ask.ranks,
            cpus_per_task=ask.threads,
            comment=key,
            signal=site.scheduler.signal,
            output=str(ask.log),
            exclude=",".join(excluded),
            options=options,
            modules=[self.stack] if self.stack else [],
            setup=[path_lines(self.stack), f"export {LAUNCHED}=$(date +%s.%N)"],
            launch=False,
        )
        return slurm.sbatch_text(site, job)

    def stop(self) -> None:
        """End all jobs; who waits for one goes on at once."""
        self.stopping = True
        self.jobs.cancel([block.job for block in self.jobs.live(launches=True)])


def _not_started() -> Outcome:
    return {"exit_code": None, "started": False, "left_s": 0.0}


def _outcome(block: Block) -> Outcome:
    """Say how a launch ended; a signal counts as launchers count it."""
    state = block.state
    code = 128 + state.signal if state.signal and not state.exit_code else state.exit_code
    return {"exit_code": code, "started": True, "left_s": math.inf, "job": block.job}
