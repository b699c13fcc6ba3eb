"""The text of a batch job."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipshpc.errors import SpecError
from pipshpc.site import Site, choose_partition, launch_command
from pipshpc.slurm.state import JOB_ID
from pipshpc.stack.loading import load_lines
from pipshpc.stack.staging import run_lines, stage_lines

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=@+-]{0,199}")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one batch job asks for; the names are those of sbatch's long options.

    Empty fields are filled from the site where it has the same key, and left
    to Slurm otherwise. `comment` is the idempotency key. `command` is started
    by the launcher of the site on `ntasks` ranks, or, without `launch`, once
    on the first node. `mem` is that of a node, as in ``4G``.
    """

    command: Sequence[str]
    name: str = "pipshpc"
    ntasks: int = 1
    nodes: int | None = None
    ntasks_per_node: int | None = None
    cpus_per_task: int = 1
    mem: str = ""
    time: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    comment: str = ""
    signal: str = ""
    requeue: bool = False
    output: str = ""
    exclude: str = ""
    dependency: str = ""
    options: Sequence[str] = ()
    modules: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    setup: Sequence[str] = ()  # shell lines before the command
    launch: bool = True


def sbatch_text(site: Site, job: Job, uid: int | None = None) -> str:
    """Return the batch script of a job on a site.

    `uid` is the number of the user who runs it, the present one's if None.

    Raises
    ------
    SpecError
        A value that cannot stand in an option, or counts that contradict.
    """
    _check_job(job)
    own = choose_partition(site, job.partition).scheduler
    options: list[tuple[str, object]] = [
        ("job-name", job.name),
        ("comment", job.comment),
        ("partition", own.partition),
        ("account", job.account or own.account),
        ("qos", job.qos or own.qos),
        ("constraint", own.constraint),
        ("nodes", job.nodes),
        ("ntasks", job.ntasks),
        ("ntasks-per-node", job.ntasks_per_node),
        ("cpus-per-task", job.cpus_per_task),
        ("mem", job.mem),
        ("time", job.time or own.time),
        ("signal", job.signal),
        ("output", job.output),
        ("exclude", job.exclude),
        ("dependency", job.dependency),
    ]
    lines = [f"#SBATCH --{name}={value}" for name, value in options if value not in ("", None)]
    lines.append(f"#SBATCH --{'requeue' if job.requeue else 'no-requeue'}")
    # A job that is started again must not wipe out what it said before.
    lines += ["#SBATCH --open-mode=append"] if job.output else []
    lines += [f"#SBATCH {option}" for option in (*own.options, *job.options)]
    body = ["set -e", *load_lines(site, job.modules), *stage_lines(site)]
    body += [f"export {name}={shlex.quote(value)}" for name, value in job.environment.items()]
    body += job.setup
    words = list(job.command)
    if job.launch:
        words = launch_command(site, job.ntasks, job.cpus_per_task, words, nodes=job.nodes or 0, uid=uid)
    shell = "#!/bin/bash -l" if site.modules or job.modules else "#!/bin/bash"
    return "\n".join([shell, *lines, "", *body, *run_lines(site, shlex.join(words))]) + "\n"


def _check_job(job: Job) -> None:
    texts = [job.name, job.mem, job.time, job.partition, job.account, job.qos, job.comment, job.signal, job.output]
    for text in [*texts, job.exclude, job.dependency, *job.options]:
        if re.search(r"[\n\r\0]", text):
            raise SpecError(f"found {text!r} as an option of a job; wanted one line")
    for text in texts[1:-1]:
        if re.search(r"[\s\"'#]", text):
            raise SpecError(f"found {text!r} as an option of a job; wanted a word without spaces or quotes")
    if job.comment:
        check_key(job.comment)
    if min(job.ntasks, job.nodes or 1, job.ntasks_per_node or 1, job.cpus_per_task) < 1:
        raise SpecError("found a job of less than one node, task or CPU; wanted at least one")
    if job.nodes and job.ntasks < job.nodes:
        raise SpecError(f"found {job.ntasks} tasks on {job.nodes} nodes; wanted at least one task per node")
    if job.nodes and job.ntasks_per_node and job.ntasks > job.nodes * job.ntasks_per_node:
        raise SpecError(
            f"found {job.ntasks} tasks for {job.nodes} nodes of {job.ntasks_per_node} tasks; they do not fit"
        )
    if not job.command:
        raise SpecError("found a job without a command; wanted the words of one")


def check_key(key: str) -> None:
    """Refuse a key that might not come back as it was.

    Raises
    ------
    SpecError
    """
    if not KEY.fullmatch(key) or JOB_ID.fullmatch(key):
        raise SpecError(f"found key '{key}'; wanted letters, digits and ._:/=@+- (at most 200), and not a number alone")
