"""Parsl at arm's length: blocks of a site in which command lines run. What is particular to a site is its data."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipshpc.site import Site, launch_environment

Submit = Callable[[list[str], Path], "Future[int]"]


@contextmanager
def start_engine(site: Site, folder: Path, key: str, at_once: int, threads: int) -> Iterator[Submit]:
    """Start Parsl on a site and yield a function that submits one command line and gives its exit code.

    Parameters
    ----------
    site : where to run
    folder : for Parsl's own files; on a cluster all nodes see it
    key : comment of all Slurm jobs that are started, to find them again
    at_once : tasks that fit into one block at a time
    threads : of each rank
    """
    import parsl
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.jobs.error_handlers import windowed_error_handler

    # Parsl starts its own programs by name; they lie beside this Python, activated or not.
    beside = str(Path(sys.executable).parent)
    if beside not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    slurm = site.scheduler.kind == "slurm"
    executor = HighThroughputExecutor(
        label="pipshpc",
        address=site.scheduler.driver_address or ("127.0.0.1" if not slurm else None),
        max_workers_per_node=at_once,
        cpu_affinity="none",  # srun or mpiexec place the ranks
        encrypted=False,
        heartbeat_period=2 if slurm else 30,
        heartbeat_threshold=8 if slurm else 120,
        block_error_handler=windowed_error_handler,
        provider=_provider(site, key),
    )
    config = Config(
        executors=[executor],
        run_dir=str(folder / "parsl"),
        strategy="simple" if slurm else "none",
        strategy_period=0.5,
        max_idletime=10.0,
        initialize_logging=False,
        usage_tracking=0,
    )
    kernel = parsl.load(config)
    app = parsl.python_app(_launcher(launch_environment(site, threads)), data_flow_kernel=kernel)
    try:
        yield lambda command, log: app(command, str(log))
    finally:
        kernel.cleanup()
        parsl.clear()


def _launcher(environment: dict[str, str]) -> Callable[[list[str], str], int]:
    """Return the function that runs on a worker; it needs nothing but Python."""

    def launch_task(command: list[str], log: str) -> int:
        import os
        import subprocess

        with open(log, "ab") as handle:  # noqa: PTH123 - runs on a worker, with plain imports only
            return subprocess.run(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                check=False,
            ).returncode

    return launch_task


def _provider(site: Site, key: str) -> Any:
    """Return Parsl's provider of blocks for a site."""
    from parsl.launchers import SimpleLauncher
    from parsl.providers import LocalProvider, SlurmProvider

    if site.scheduler.kind == "local":
        return LocalProvider(init_blocks=1, max_blocks=1, launcher=SimpleLauncher())  # type: ignore[no-untyped-call]

    class PromptSlurmProvider(SlurmProvider):
        """Parsl asks Slurm once a minute, which is long for a lost block."""

        @property
        def status_polling_interval(self) -> int:
            return site.scheduler.poll_s

    scheduler = site.scheduler
    wanted = [f"--comment={key}", "--no-requeue", *scheduler.options]
    return PromptSlurmProvider(
        partition=scheduler.partition or None,
        account=scheduler.account or None,
        qos=scheduler.qos or None,
        constraint=scheduler.constraint or None,
        nodes_per_block=scheduler.block_nodes,
        init_blocks=0,
        min_blocks=0,
        max_blocks=max(1, scheduler.max_nodes // scheduler.block_nodes),
        walltime=scheduler.time or "01:00:00",
        exclusive=True,
        scheduler_options="\n".join(f"#SBATCH {word}" for word in wanted),
        worker_init=f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={Path(__file__).parents[1]}",
        launcher=SimpleLauncher(),
    )
