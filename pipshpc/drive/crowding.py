"""Jobs that can never start because the driver's own job holds a node that they need."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping

from pipshpc import slurm
from pipshpc.drive.jobs import Jobs
from pipshpc.errors import SiteError

PATIENCE_S = 10.0  # that a job waits before it is looked into


class Crowding:
    """Looks once at each job that waits; of use only where the driver is a job itself."""

    def __init__(self, jobs: Jobs, environ: Mapping[str, str] = os.environ) -> None:
        self.jobs, self._own_job = jobs, environ.get("SLURM_JOB_ID", "")
        self._own_node = environ.get("SLURMD_NODENAME", "")
        self._seen: set[str] = set()

    def look(self) -> str:
        """Return why a job that waits can never start, and what to do; empty where it can, or nobody knows."""
        if not self._own_job or not self._own_node:
            return ""
        old = time.time() - PATIENCE_S
        waiting = [b for b in self.jobs.live() if b.state.state == "PENDING" and b.submitted < old]
        for block in waiting:
            if block.job in self._seen or block.nodes < 1:
                continue
            self._seen.add(block.job)
            nodes = self._nodes()
            if cannot_start(int(block.nodes), nodes, self._own_node):
                return self._tell(block.job, int(block.nodes), len(nodes))
        return ""

    def _nodes(self) -> set[str]:
        """Return the names of all nodes of the campaign's partition; none where Slurm does not answer."""
        partition = self.jobs.site.scheduler.partition
        where = [f"--partition={partition}"] if partition else []
        try:
            return set(self.jobs.cluster.ask("sinfo", "--noheader", "--Node", *where, "--format=%N").split())
        except (SiteError, slurm.Silence):
            return set()

    def _tell(self, job: str, wanted: int, count: int) -> str:
        site = self.jobs.site
        smaller = f"set scheduler.block_nodes of site {site.name} to {count - 1}, " if count > 1 else ""
        return (
            f"job {job} wants {wanted} whole nodes and can never start: partition {site.scheduler.partition} has "
            f"{count}, and {self._own_node} is held by the driver's own job {self._own_job}; {smaller}start the "
            "driver on this machine ('pipshpc campaign submit --here'), or give it a partition of other nodes "
            "(scheduler.driver.partition)"
        )


def cannot_start(wanted: int, nodes: Collection[str], own: str) -> bool:
    """Say whether a job of whole nodes finds too few in its partition as long as one job holds the node `own`."""
    return own in nodes and wanted > len(nodes) - 1
