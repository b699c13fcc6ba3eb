"""Tasks through Parsl by hand, without the driver: python -m jobs.parsl_campaign SITE TASK.json...; see write_tasks."""

import shlex
import sys
from pathlib import Path

import parsl
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider

from pipshpc.drive.software import path_lines, python_of
from pipshpc.site import choose_partition, launch_command, load_site
from pipshpc.stack.loading import load_lines

RANKS, THREADS, AT_ONCE = 2, 1, 2  # of each task; tasks that share a block
site, tasks = choose_partition(load_site(sys.argv[1])), sys.argv[2:]
stack = [site.stack] if site.stack else []
provider = SlurmProvider(
    partition=site.scheduler.partition,
    account=site.scheduler.account or None,
    nodes_per_block=site.scheduler.block_nodes,
    max_blocks=site.scheduler.max_nodes // site.scheduler.block_nodes,
    walltime=site.scheduler.time or "01:00:00",
    scheduler_options="\n".join(f"#SBATCH {word}" for word in ["--no-requeue", *site.scheduler.options]),
    worker_init="\n".join([*load_lines(site, stack), path_lines("".join(stack))]),
    launcher=SimpleLauncher(),  # one pool of workers for the whole block; srun places the ranks
)


@parsl.bash_app
def run_words(words, stdout, stderr):
    """Run a command line in a block."""
    return words


def words_of(task):
    """Return the command line that makes a task."""
    argv = [python_of(site.stack), "-m", "pipshpc.run", task, "--threads", str(THREADS)]
    return shlex.join(launch_command(site, RANKS, THREADS, argv, nodes=1))


executor = HighThroughputExecutor(max_workers_per_node=AT_ONCE, cpu_affinity="none", encrypted=False, provider=provider)
with parsl.load(parsl.Config(executors=[executor], run_dir=f"{Path(tasks[0]).parent}/parsl", usage_tracking=0)):
    runs = {task: run_words(words_of(task), stdout=f"{task}.log", stderr=f"{task}.log") for task in tasks}
    failed = {task: run.exception() for task, run in runs.items() if run.exception()}
print(f"{len(runs) - len(failed)} of {len(runs)} tasks are made")
print("".join(f"failed: {task}: {error}; see {task}.log\n" for task, error in failed.items()), end="")
sys.exit(bool(failed))
