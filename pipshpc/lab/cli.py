"""Commands of the lab; they print and pick exit codes, the work is done elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

OPTIONS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
app = typer.Typer(help="A real Slurm cluster in a box: virtual nodes on this machine.", no_args_is_help=True, **OPTIONS)

Folder = Annotated[
    Path | None, typer.Option("--dir", help="Folder of the lab; $PIPSHPC_LAB or /var/lib/pipshpc/lab if not given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for machines instead of text.")]
Cluster = Annotated[str, typer.Option("--cluster", help="Cluster; the first, or the only one, if not given.")]


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
    as_json: AsJson = False,
) -> None:
    """Bring the lab up, as root: Slurm, its nodes, munge, accounting.

    What runs already is left alone; what broke is mended. Missing Debian packages are installed.
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
    layout, changed = start_lab(wanted, path)
    seconds = time.monotonic() - begin
    environment = lab_environment(layout)
    if as_json:
        _write_json({"layout": layout, "changed": changed, "seconds": round(seconds, 3), "environment": environment})
        return
    names = ", ".join(f"{n.name} {n.address}" for n in layout.all_nodes())
    typer.echo(f"{'up' if changed else 'is up already'}: {names} ({seconds:.1f} s)")
    typer.echo(f'use it:   eval "$(pipshpc lab env{_dir_words(folder)})"   or   pipshpc lab shell{_dir_words(folder)}')


@app.command("status", epilog="Example: pipshpc lab status --json")
def status(folder: Folder = None, as_json: AsJson = False) -> None:
    """Say what of the lab runs; exit code 4 where not all does."""
    from pipshpc.lab.cluster import read_status

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
    """End what the lab started, and nothing else; remove its network and its scratch folder."""
    from pipshpc.lab.cluster import stop_lab
    from pipshpc.lab.layout import default_folder

    stopped = stop_lab(folder or default_folder(), purge)
    if as_json:
        _write_json({"stopped": stopped})
    else:
        typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing of the lab ran")


@app.command("env", epilog='Example: eval "$(pipshpc lab env)"')
def env(folder: Folder = None, cluster: Cluster = "", as_json: AsJson = False) -> None:
    """Print the lines that make a shell's commands (sbatch, squeue, ...) go to the lab."""
    from pipshpc.lab.cluster import lab_environment

    layout = _layout(folder)
    settings = lab_environment(layout, layout.find_cluster(cluster) if cluster else "")
    if as_json:
        _write_json(settings)
        return
    for name, value in settings.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command("shell", epilog="Example: pipshpc lab shell --cluster sanya")
def shell(folder: Folder = None, cluster: Cluster = "") -> None:
    """Open a shell whose commands go to the lab."""
    import os
    import sys

    from pipshpc.lab.cluster import shell_environment

    layout = _layout(folder)
    settings = shell_environment(layout, layout.find_cluster(cluster) if cluster else "")
    program = os.environ.get("SHELL", "/bin/bash")
    typer.echo(f"commands go to {settings['SLURM_CONF']}; leave by exit", err=True)
    sys.stdout.flush()
    os.execvpe(program, [program], settings)


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
