"""Commands of the lab; they print and pick exit codes, the work is done elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

OPTIONS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
app = typer.Typer(help="A real Slurm cluster in a box: virtual nodes on this machine.", no_args_is_help=True, **OPTIONS)
break_app = typer.Typer(help="Break the lab on purpose; `pipshpc lab up` mends it.", no_args_is_help=True, **OPTIONS)
app.add_typer(break_app, name="break")

Folder = Annotated[
    Path | None, typer.Option("--dir", help="Folder of the lab; $PIPSHPC_LAB or /var/lib/pipshpc/lab if not given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines instead of text.")]
Cluster = Annotated[str, typer.Option("--cluster", help="Cluster; the first, or the only one, if not given.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Name of a node, as in lab2.", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="Number of a job.", show_default=False)]
JobSeconds = Annotated[int, typer.Option("--seconds", help="How long the job has left; Slurm looks every 30 s.")]
RivalSeconds = Annotated[int, typer.Option("--seconds", help="How long the other job runs.")]
Seconds = Annotated[float | None, typer.Option(help="Wait so long, then undo it; it stays until undone if not given.")]


@app.command("up", epilog="Example: pipshpc lab up --nodes 4")
def up(
    folder: Folder = None,
    nodes: Annotated[int | None, typer.Option(help="Nodes of each cluster; 4 if not given.")] = None,
    clusters: Annotated[str | None, typer.Option(help="Names of clusters, as in beijing,sanya; 'lab' if none.")] = None,
    cpus: Annotated[int | None, typer.Option(help="CPUs that a node claims; 2 if not given.")] = None,
    memory_mib: Annotated[int | None, typer.Option(help="Memory that a node claims; 4000 if not given.")] = None,
    scratch_mib: Annotated[
        int | None, typer.Option(help="Size of the shared scratch folder; 512 if not given.")
    ] = None,
    accounting: Annotated[
        bool | None,
        typer.Option("--accounting/--no-accounting", help="Keep accounts for sacct, by slurmdbd and MariaDB."),
    ] = None,
    stacks: Annotated[
        Path | None, typer.Option("--stacks", help="Prefix of deployed stacks; that of this source tree if none.")
    ] = None,
    bare: Annotated[bool, typer.Option("--bare", help="Jobs load no stack; they run with what submits them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the lab up: Slurm, nodes, munge, accounting.

    What runs already is left alone; what broke is mended. Missing Debian packages are installed.
    Jobs load the module rs-core: of this source tree, or as it is deployed below --stacks.
    """
    import time

    from pipshpc.lab.cluster import lab_environment, start_lab
    from pipshpc.lab.layout import Layout, default_folder, read_layout

    begin = time.monotonic()
    path = (folder or default_folder()).absolute()
    settings = {
        "nodes": nodes,
        "clusters": tuple(clusters.split(",")) if clusters else None,
        "cpus": cpus,
        "memory_mib": memory_mib,
        "scratch_mib": scratch_mib,
        "accounting": accounting,
    }
    named = {key: value for key, value in settings.items() if value is not None}
    wanted = None
    if named:
        import msgspec

        wanted = msgspec.structs.replace(read_layout(path) or Layout(folder=str(path)), **named)
    layout, changed = start_lab(wanted, path, software=_deployed(stacks) if stacks else None, bare=bare)
    seconds = time.monotonic() - begin
    environment = lab_environment(layout)
    if as_json:
        _write_json({"layout": layout, "changed": changed, "seconds": round(seconds, 3), "environment": environment})
        return
    names = ", ".join(f"{n.name} {n.address}" for n in layout.all_nodes())
    typer.echo(f"{'up' if changed else 'is up already'}: {names} ({seconds:.1f} s)")
    typer.echo(f'use it:   eval "$(pipshpc lab env{_dir_words(folder)})"   or   pipshpc lab shell{_dir_words(folder)}')


def _deployed(prefix: Path) -> Any:
    from pipshpc.errors import SiteError
    from pipshpc.lab.layout import Software
    from pipshpc.stack.modulefile import pin

    folder = prefix.absolute() / "modulefiles"
    module = pin("rs-core", [folder])
    if "/" not in module:
        raise SiteError(f"{folder}: has no default of rs-core; `pipshpc stack deploy rs-core --prefix {prefix}` first")
    return Software(module=module, modulepath=str(folder))


@app.command("status", epilog="Example: pipshpc lab status --json")
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say what of the lab runs; exit code 4 where not all does."""
    from pipshpc.lab.status import read_status

    found = read_status(_layout(folder))
    if as_json:
        _write_json(found)
    else:
        accounting = {True: "accounting answers", False: "accounting is down", None: "no accounting"}[found.accounting]
        scratch = f"scratch {found.scratch_free_mib} of {found.scratch_mib} MiB free"
        typer.echo(f"{found.folder}: {'up' if found.up else 'not all is up'}; {accounting}; {scratch}")
        for cluster in found.clusters:
            answers = "answers" if cluster.answers else "runs, no answer" if cluster.controller else "down"
            jobs = f"{cluster.running} jobs running, {cluster.pending} pending"
            typer.echo(f"{cluster.name}: controller {answers}; {jobs}")
            for n in cluster.nodes:
                faults = [
                    w for w, good in (("off", n.power), ("cut off", n.network), ("no slurmd", n.slurmd)) if not good
                ]
                typer.echo(f"  {n.name:<12} {n.address:<14} {n.state:<12} {', '.join(faults[:2])}".rstrip())
    if not found.up:
        raise typer.Exit(4)


@app.command("down", epilog="Example: pipshpc lab down --purge")
def down(
    folder: Folder = None,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove its files: logs, accounts, nodes' /tmp.")] = False,
    as_json: AsJson = False,
) -> None:
    """End what the lab started, and nothing else.

    Its network and its scratch folder go as well.
    """
    from pipshpc.lab.cluster import stop_lab
    from pipshpc.lab.layout import default_folder

    stopped = stop_lab(folder or default_folder(), purge)
    if as_json:
        _write_json({"stopped": stopped})
    else:
        typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing of the lab ran")


@app.command("env", epilog='Example: pipshpc lab env --cluster sanya; in a shell: eval "$(pipshpc lab env)"')
def env(folder: Folder = None, cluster: Cluster = "", as_json: AsJson = False) -> None:
    """Print what makes sbatch, squeue, ... go to the lab."""
    from pipshpc.lab.cluster import lab_environment

    layout = _layout(folder)
    settings = lab_environment(layout, layout.find_cluster(cluster) if cluster else "")
    if as_json:
        _write_json(settings)
        return
    for name, value in settings.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command("shell", epilog="Example: pipshpc lab shell --cluster sanya")
def shell(folder: Folder = None, cluster: Cluster = "", as_json: AsJson = False) -> None:
    """Open a shell whose commands go to the lab.

    With --json it only says which command the shell would be and its SLURM_CONF.
    """
    import os
    import sys

    from pipshpc.lab.cluster import shell_environment

    layout = _layout(folder)
    settings = shell_environment(layout, layout.find_cluster(cluster) if cluster else "")
    program = os.environ.get("SHELL", "/bin/bash")
    if as_json:
        _write_json({"command": [program], "SLURM_CONF": settings["SLURM_CONF"]})
        return
    typer.echo(f"commands go to {settings['SLURM_CONF']}; leave by exit", err=True)
    sys.stdout.flush()
    os.execvpe(program, [program], settings)


# ---- faults


@break_app.command("kill-rank", epilog="Example: pipshpc lab break kill-rank 12 --node lab2")
def kill_rank(
    job: Annotated[str, typer.Argument(metavar="[JOB]", help="Number of a job; any if a task is named.")] = "",
    node: Annotated[str, typer.Option(help="Node to look on; any if not given.")] = "",
    rank: Annotated[int | None, typer.Option(help="Number of the rank; the last one if not given.")] = None,
    step: Annotated[str, typer.Option(help="Number of the job's step; any if not given.")] = "",
    task: Annotated[str, typer.Option(help="Id of a pipshpc task, or another word of the command line.")] = "",
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Kill one MPI rank of a job, a step or a task (kill -9)."""
    from pipshpc.lab import faults

    _tell(faults.kill_rank(_layout(folder), job, node, rank, step=step, task=task), as_json)


@break_app.command("fill-disk", epilog="Example: pipshpc lab break fill-disk --leave-kib 64")
def fill_disk(
    seconds: Seconds = None,
    leave_kib: Annotated[int, typer.Option(help="What is to be left free.")] = 0,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Fill the lab's scratch folder and no other disk.

    The folder is $PIPSHPC_LAB_SCRATCH.
    """
    from pipshpc.lab import faults

    _tell(faults.fill_disk(_layout(folder), seconds, leave_kib), as_json)


@break_app.command("requeue", epilog="Example: pipshpc lab break requeue 12")
def requeue(
    job: JobId,
    force: Annotated[bool, typer.Option("--force", help="Also a job that was submitted with --no-requeue.")] = False,
    cluster: Cluster = "",
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Put a running job back into the queue (scontrol requeue)."""
    from pipshpc.lab import faults

    _tell(faults.requeue(_layout(folder), job, cluster, force), as_json)


class Fault(NamedTuple):
    """A command whose arguments are those of its kind, and are handed to the function in their order."""

    name: str
    kind: str
    function: str  # of pipshpc.lab.faults
    example: str
    help: str


FAULTS = (
    Fault("kill-slurmd", "node", "kill_slurmd", "lab2", "Kill a node's slurmd (kill -9); its job steps run on."),
    Fault("start-slurmd", "node", "start_slurmd", "lab2", "Start a slurmd that was killed."),
    Fault("power-off", "node", "power_off", "lab3", "Take a node's power: all that runs there is gone."),
    Fault("power-on", "node", "power_on", "lab3", "Switch a node on again."),
    Fault("drain", "node", "drain", "lab4", "Let a node finish its jobs and get no new ones."),
    Fault("resume", "node", "resume", "lab4", "Give a drained or lost node back to the scheduler."),
    Fault("cut-network", "link", "cut_network", "lab3 --seconds 20", "Unplug a node's cable; what runs there runs on."),
    Fault("connect-network", "node", "connect_network", "lab3", "Plug a node's cable in again."),
    Fault("free-disk", "lab", "free_disk", "", "Remove what fill-disk wrote."),
    Fault(
        "stop-controller", "outage", "stop_controller", "--seconds 60", "Stop slurmctld; jobs run on, commands fail."
    ),
    Fault("start-controller", "cluster", "restart_controller", "", "Start a slurmctld that was stopped."),
    Fault("preempt", "rival", "preempt", "12 --seconds 10", "Let a job of high take the nodes of a job of low."),
    Fault("walltime", "job", "shorten", "12 --seconds 40", "Let a running job reach its time limit soon."),
)


def _add_fault(fault: Fault) -> None:
    """Make the command of one fault."""

    def do(folder: Path | None, as_json: bool, *arguments: Any) -> None:
        from pipshpc.lab import faults

        _tell(getattr(faults, fault.function)(_layout(folder), *arguments), as_json)

    def on_node(node: NodeName, folder: Folder = None, as_json: AsJson = False) -> None:
        do(folder, as_json, node)

    def on_link(node: NodeName, seconds: Seconds = None, folder: Folder = None, as_json: AsJson = False) -> None:
        do(folder, as_json, node, seconds)

    def on_lab(folder: Folder = None, as_json: AsJson = False) -> None:
        do(folder, as_json)

    def on_cluster(cluster: Cluster = "", folder: Folder = None, as_json: AsJson = False) -> None:
        do(folder, as_json, cluster)

    def on_outage(
        seconds: Seconds = None, cluster: Cluster = "", folder: Folder = None, as_json: AsJson = False
    ) -> None:
        do(folder, as_json, cluster, seconds)

    def on_job(
        job: JobId, seconds: JobSeconds = 1, cluster: Cluster = "", folder: Folder = None, as_json: AsJson = False
    ) -> None:
        do(folder, as_json, job, cluster, seconds)

    def on_rival(
        job: JobId, seconds: RivalSeconds = 5, cluster: Cluster = "", folder: Folder = None, as_json: AsJson = False
    ) -> None:
        do(folder, as_json, job, cluster, seconds)

    kinds: dict[str, Callable[..., None]] = {"node": on_node, "link": on_link, "lab": on_lab, "job": on_job}
    kinds |= {"cluster": on_cluster, "outage": on_outage, "rival": on_rival}
    example = f"Example: pipshpc lab break {fault.name} {fault.example}".rstrip()
    break_app.command(fault.name, help=fault.help, epilog=example)(kinds[fault.kind])


for one in FAULTS:
    _add_fault(one)


def _tell(done: Any, as_json: bool) -> None:
    if as_json:
        _write_json(done)
    else:
        typer.echo(done.did)


def _layout(folder: Path | None) -> Any:
    from pipshpc.errors import SiteError
    from pipshpc.lab.layout import default_folder, read_layout

    path = (folder or default_folder()).absolute()
    layout = read_layout(path)
    if layout is None:
        raise SiteError(f"{path}: there is no lab; bring one up by `pipshpc lab up{_dir_words(folder)}`")
    return layout


def _dir_words(folder: Path | None) -> str:
    return f" --dir {shlex.quote(str(folder))}" if folder else ""


def _write_json(data: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(data, enc_hook=str), indent=2).decode())
