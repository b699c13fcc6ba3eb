"""Tasks through Parsl by hand, without the driver: python -m jobs.parsl_campaign SITE TASK.json...; see write_tasks."""

import shlex
import sys

import parsl
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider

from pipshpc.site import choose_partition, launch_command, load_site, setup_lines

RANKS, THREADS, AT_ONCE = 2, 1, 2  # of each task; tasks that share a block
site = choose_partition(load_site(sys.argv[1]))
provider = SlurmProvider(
    partition=site.scheduler.partition,
    nodes_per_block=site.scheduler.block_nodes,
    max_blocks=site.scheduler.max_nodes // site.scheduler.block_nodes,
    walltime=site.scheduler.time or "01:00:00",
    scheduler_options="\n".join(f"#SBATCH {word}" for word in ["--no-requeue", *site.scheduler.options]),
    worker_init="\n".join([*setup_lines(site), f"export PATH={shlex.quote(sys.exec_prefix)}/bin:$PATH"]),
    launcher=SimpleLauncher(),  # one worker pool for the whole block; srun places the ranks
)


@parsl.bash_app
def make(task, stdout, stderr):
    """Return the command line of a task; Parsl runs it in a block."""
    argv = [sys.executable, "-m", "pipshpc.run", task, "--threads", str(THREADS)]
    return shlex.join(launch_command(site, RANKS, THREADS, argv, nodes=1))


executor = HighThroughputExecutor(max_workers_per_node=AT_ONCE, cpu_affinity="none", encrypted=False, provider=provider)
with parsl.load(parsl.Config(executors=[executor], usage_tracking=0)):
    runs = {task: make(task, stdout=f"{task}.log", stderr=f"{task}.log") for task in sys.argv[2:]}
    failed = [task for task, run in runs.items() if run.exception()]
print(
    f"{len(runs) - len(failed)} of {len(runs)} tasks are made", *(f"failed: {t}, see {t}.log" for t in failed), sep="\n"
)
sys.exit(bool(failed))
