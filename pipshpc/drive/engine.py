"""Parsl at arm's length: blocks of a site in which launches run. What is particular to a site is its data."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from pipshpc.drive.worker import PATHS, Outcome, launch
from pipshpc.errors import SiteError
from pipshpc.site import Site, launch_environment

if TYPE_CHECKING:
    from pipshpc.drive.blocks import SlurmBlocks
    from pipshpc.drive.crowding import Crowding
    from pipshpc.drive.jobs import Block, Jobs
    from pipshpc.drive.single import Ask, SingleJobs

MOST_SINGLE = 64  # launches that are jobs of their own, at a time
IDLE_S = 20.0  # a block without work is given back after this


@dataclass(frozen=True)
class Shape:
    """What the campaign's launches look like, for the size of blocks and workers.

    `least_cores` and `most_cores` are those of one launch, over all its nodes.
    """

    least_cores: int
    most_cores: int


class Engine:
    """Parsl on one site, started by `start` and ended by `stop`.

    Parameters
    ----------
    site : where to run
    folder : for Parsl's own files; on a cluster all nodes see it
    key : begins the comment of all Slurm jobs that are started, to find them again
    shape : what the launches look like
    stack : module of the software that the jobs load; empty: they run with what the driver runs with
    runner : what a worker calls for each launch
    """

    def __init__(
        self,
        site: Site,
        folder: Path,
        key: str,
        shape: Shape,
        stack: str = "",
        runner: Callable[..., Outcome] = launch,
    ) -> None:
        self.site, self.folder, self.shape, self._runner = site, folder, shape, runner
        self._key, self._stack = key, stack
        self.block_cores = site.core_count * site.scheduler.block_nodes
        self.jobs: Jobs | None = None
        self._pilots: SlurmBlocks | None = None
        self._single: SingleJobs | None = None
        self._single_app: Any = None
        self._crowding: Crowding | None = None
        self._crowded = ""
        self._executor: Any = None
        self._kernel: Any = None
        self._app: Any = None
        self._tending: threading.Thread | None = None
        self._changed: SimpleQueue[Block] = SimpleQueue()

    @property
    def block_count(self) -> int:
        """Most blocks at a time."""
        return max(1, self.site.scheduler.max_nodes // self.site.scheduler.block_nodes)

    @property
    def cores(self) -> int:
        """Cores of all blocks that there can be."""
        return self.block_cores * self.block_count

    def start(self) -> None:
        """Start Parsl and its message server."""
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor

        # Parsl starts its own programs by name; they lie beside this Python, activated or not.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        slurm = self.site.scheduler.kind == "slurm"
        self._executor = HighThroughputExecutor(
            label="pipshpc",
            address=self.site.scheduler.driver_address or (None if slurm else "127.0.0.1"),
            # The message server must not outlive the driver: an orphan would go on giving out old work.
            interchange_launch_cmd=[*_die_with_parent("KILL"), "interchange.py"],
            max_workers_per_node=max(1, self.block_cores // self.shape.least_cores),
            cores_per_worker=1e-3,  # else there are no more workers than cores of the block's first node
            cpu_affinity="none",  # srun or mpiexec place the ranks
            encrypted=False,
            heartbeat_period=2 if slurm else 5,
            heartbeat_threshold=8 if slurm else 60,
            block_error_handler=False,  # the driver judges blocks
            provider=self._provider(),
        )
        single = [ThreadPoolExecutor(label="single", max_threads=MOST_SINGLE)] if slurm else []
        config = Config(
            executors=[self._executor, *single],
            run_dir=str(self.folder / "parsl"),
            strategy="none",  # `tend` scales
            strategy_period=0.5,
            initialize_logging=False,
            usage_tracking=0,
        )
        self._kernel = parsl.load(config)
        self._app = parsl.python_app(self._runner, data_flow_kernel=self._kernel, executors=["pipshpc"])
        if self._single is not None:
            run = self._single.run

            def launch_job(ask: Ask) -> Outcome:
                return run(ask)

            self._single_app = parsl.python_app(launch_job, data_flow_kernel=self._kernel, executors=["single"])

    def _provider(self) -> Any:
        from parsl.launchers import SimpleLauncher
        from parsl.providers import LocalProvider

        if self.site.scheduler.kind == "local":
            launcher = SimpleLauncher()
            return LocalProvider(  # type: ignore[no-untyped-call]
                init_blocks=0, max_blocks=1, launcher=launcher, worker_init=PATHS
            )
        from pipshpc.drive.blocks import SlurmBlocks
        from pipshpc.drive.crowding import Crowding
        from pipshpc.drive.jobs import Jobs
        from pipshpc.drive.single import SingleJobs

        self.jobs = Jobs(self.site, self._key)
        self._crowding = Crowding(self.jobs)
        self._pilots = SlurmBlocks(self.site, self.jobs, self.folder, self._stack)
        self._single = SingleJobs(self.site, self.jobs, self._stack)
        return self._pilots

    @property
    def interchange(self) -> int:
        """Process number of Parsl's message server."""
        return int(self._executor.interchange_proc.pid)

    def alive(self) -> bool:
        """Whether Parsl's message server runs; without it nothing is heard of any launch."""
        return self._executor.interchange_proc.poll() is None and not self._executor.bad_state_is_set

    def submit(self, command: list[str], log: Path, threads: int, needs_s: float, priority: int) -> Future[Outcome]:
        """Hand a command line to the next free worker.

        Parameters
        ----------
        command : its words
        log : where it prints to; beside it ``.pid`` says who runs it
        threads : of each rank
        needs_s : it is not started in a block that ends sooner
        priority : the higher one goes first
        """
        environment = launch_environment(self.site, threads)
        future: Future[Outcome] = self._app(
            [*_die_with_parent("TERM"), *command],
            str(log),
            environment,
            needs_s,
            parsl_resource_specification={"priority": -priority},
        )
        return future

    def submit_job(self, ask: Ask) -> Future[Outcome]:
        """Run a launch as a Slurm job of its own."""
        future: Future[Outcome] = self._single_app(ask)
        return future

    def tend(self, cores_wanted: int) -> list[Block]:
        """Scale the pilots with the work and look at all jobs; return those whose state changed since the last call.

        Slurm is asked in a thread of its own, so that its silence does not stop the driver.
        """
        if self._tending is None or not self._tending.is_alive():
            self._tending = threading.Thread(target=self._tend, args=(cores_wanted,), daemon=True)
            self._tending.start()
        return [self._changed.get() for _ in range(self._changed.qsize())]

    def _tend(self, cores_wanted: int) -> None:
        wanted = min(self.block_count, math.ceil(cores_wanted / self.block_cores))
        if self.jobs is None or self._pilots is None:
            live = sum(not s.terminal for s in self._executor.status().values())
            if wanted > live:
                self._executor.scale_out_facade(1)
            return
        for block in self.jobs.poll():
            self._changed.put(block)
        if self._crowding is not None:
            self._crowded = self._crowded or self._crowding.look()
        live = len(self.jobs.live(launches=False))
        if wanted > live:
            for _ in range(wanted - live):
                if self._pilots.may_submit():
                    self._executor.scale_out_facade(1)
        elif wanted < live:
            self._executor.scale_in_facade(live - wanted, max_idletime=IDLE_S)

    @property
    def trouble(self) -> str:
        """Why no block can be had, where that is for good."""
        if self.jobs is None:
            return ""
        if self.jobs.refusal:
            return f"Slurm has no nodes for this campaign: {self.jobs.refusal}"
        return self._crowded or unused_blocks(self.jobs.pilots())

    def stop(self) -> None:
        """End blocks and Parsl; what runs is told to stop."""
        import parsl

        if self._kernel is None:
            return
        if self._tending is not None:
            self._tending.join(30.0)
        if self._single is not None:
            self._single.stop()
        with contextlib.suppress(Exception):
            self._kernel.cleanup()
        parsl.clear()
        self._kernel = None


def unused_blocks(blocks: list[Block], limit: int = 5) -> str:
    """Say what is wrong where the last `limit` blocks all ended by themselves before a task was heard of in them."""
    ended = sorted((b for b in blocks if b.state.ended), key=lambda b: b.submitted)[-limit:]
    bad = [b for b in ended if not b.used and b.state.state in ("FAILED", "OUT_OF_MEMORY", "BOOT_FAIL", "NODE_FAIL")]
    if len(bad) < limit:
        return ""
    last = bad[-1]
    return (
        f"the last {limit} blocks ended before a task started in them; job {last.job}: {last.state.state} on "
        f"{last.state.nodes or 'no node'} ({last.state.reason or 'no reason given'}); "
        f"read block-{last.job}.log beside the journal"
    )


def need_engine_programs() -> None:
    """Refuse to start without Parsl's programs.

    Raises
    ------
    SiteError
    """
    beside = Path(sys.executable).parent
    for program in ("interchange.py", "process_worker_pool.py"):
        if not (beside / program).exists() and shutil.which(program) is None:
            raise SiteError(f"{program} of Parsl is not beside {sys.executable}; install parsl there")


def _die_with_parent(signal: str) -> list[str]:
    """Return words that make a command get `signal` when whoever started it dies, where the system can."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal, "--"] if setpriv else []
