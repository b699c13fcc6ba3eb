"""The jobs of a campaign on one cluster: submitted exactly once, never more than allowed, watched by one query."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipshpc import slurm
from pipshpc.errors import SiteError
from pipshpc.site import Site

EXIT_CODE_S = 15.0  # after a job ended, its exit code is waited for so long; sacct lags behind


@dataclass
class Block:
    """One job, as last heard of: a pilot, or a launch of its own (then `launch` is its number)."""

    job: str
    state: slurm.State
    submitted: float
    running_since: float = 0.0
    used: bool = False  # a task was heard of in it
    nodes: float = 1.0  # that it takes; less than one where it shares
    launch: int = 0
    ended_since: float = 0.0  # on the monotonic clock

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be learned: it is over, and its exit code known, or waited for in vain."""
        if not self.state.ended:
            return False
        waited = self.ended_since and time.monotonic() - self.ended_since > EXIT_CODE_S
        return not self.launch or self.state.exit_code is not None or bool(waited)


class Jobs:
    """All jobs that one driver starts.

    Parameters
    ----------
    site : the cluster, in the partition that the campaign chose
    key : begins the comment of every job
    """

    def __init__(self, site: Site, key: str) -> None:
        self.site, self.key = site, f"{key}/{int(time.time())}"
        self.cluster = slurm.Cluster(name=site.scheduler.cluster)
        self.excluded: list[str] = []
        self.refusal = ""  # why Slurm will have no more of them
        self.blocks: dict[str, Block] = {}
        self._poller = slurm.Poller(self.cluster, shortest_s=site.scheduler.poll_s)
        self._lock = threading.Condition()
        self._reserved = 0.0

    def reserve(self, nodes: float) -> bool:
        """Take room for a job of so many nodes, where the campaign may have them now; `submit` or `release` it."""
        with self._lock:
            taken = self._reserved + sum(b.nodes for b in self.blocks.values() if not b.state.ended)
            # What is larger than all that is allowed goes alone, and Slurm has the word.
            if taken and taken + nodes > self.site.scheduler.max_nodes + 1e-6:
                return False
            self._reserved += nodes
            return True

    def release(self, nodes: float) -> None:
        """Give back room that was reserved."""
        with self._lock:
            self._reserved = max(0.0, self._reserved - nodes)

    def submit(
        self,
        text: Callable[[Sequence[str]], str],
        key: str,
        nodes: float,
        launch: int = 0,
        look: bool = False,
    ) -> str:
        """Submit one job, for which room was reserved, and return its id.

        Parameters
        ----------
        text : gives the batch script for the names of nodes to leave out
        key : its exactly-once key
        nodes : that it takes
        launch : number of the launch that it is; 0: a pilot
        look : look for a job of this key first: an earlier call had no answer

        Raises
        ------
        SiteError
            Slurm refused it, or did not answer.
        """
        excluded = list(self.excluded)
        try:
            job = slurm.submit(self.cluster, text(excluded), key, look=look, attempts=1)
        except slurm.Silence:
            raise
        except SiteError as error:
            if not excluded:
                self.refusal = str(error)
                raise
            # With the nodes that failed left out there may be none: better one of them than none.
            self.excluded = []
            job = slurm.submit(self.cluster, text([]), key, look=False, attempts=1)
        with self._lock:
            self.blocks[job] = Block(job, slurm.State(job, "PENDING", key=key), time.time(), nodes=nodes, launch=launch)
            self._reserved = max(0.0, self._reserved - nodes)
        return job

    def poll(self) -> list[Block]:
        """Ask Slurm for all jobs that are not over, and return those whose state changed."""
        with self._lock:
            wanted = [b.job for b in self.blocks.values() if not b.settled]
        found, changed = self._poller.poll(wanted), []
        with self._lock:
            for job, state in found.items():
                if state.state == slurm.UNKNOWN and state.reason == "not asked for yet":
                    continue
                if self._take_in(self.blocks[job], state):
                    changed.append(self.blocks[job])
            self._lock.notify_all()
        return changed

    @staticmethod
    def _take_in(block: Block, state: slurm.State) -> bool:
        """Note the state of a job; say whether it is another than before."""
        if block.state.ended and not state.ended:
            return False  # sacct may lag behind what squeue said
        if state.state == "RUNNING" and not block.running_since:
            block.running_since = time.time()
        if state.ended and not block.ended_since:
            block.ended_since = time.monotonic()
        before, block.state = block.state, state
        return (state.state, state.nodes) != (before.state, before.nodes)

    def wait(self, seconds: float) -> None:
        """Wait for the next news, at most so long."""
        with self._lock:
            self._lock.wait(seconds)

    def live(self, launches: bool | None = None) -> list[Block]:
        """Return the jobs that wait, run, or are not known to be over: all, only launches, or only pilots."""
        with self._lock:
            found = [b for b in self.blocks.values() if not b.state.ended]
        return found if launches is None else [b for b in found if bool(b.launch) == launches]

    def pilots(self) -> list[Block]:
        """Return the pilots, over or not."""
        with self._lock:
            return [b for b in self.blocks.values() if not b.launch]

    def cancel(self, jobs: Sequence[str]) -> None:
        """End jobs; their steps are told to stop first."""
        with contextlib.suppress(slurm.Silence):
            slurm.cancel(self.cluster, jobs)

    def bad_nodes(self, nodes: str) -> list[str]:
        """Return which of a job's nodes Slurm holds for lost now; none where it does not answer."""
        try:
            said = self.cluster.ask("sinfo", "--noheader", "--Node", f"--nodes={nodes}", "--format=%N %t")
        except SiteError:
            return []
        words = [line.split() for line in said.splitlines()]
        return sorted({w[0] for w in words if len(w) == 2 and w[1].startswith(("down", "drain", "drng", "fail"))})
