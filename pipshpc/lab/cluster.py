"""The lab's life: up and down. Whatever is there already is left as it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pipshpc.errors import SiteError, SpecError
from pipshpc.lab import network
from pipshpc.lab.daemons import (
    await_controller,
    controller,
    database,
    munge,
    power,
    slurmd_pid,
    slurmdbd,
    start_controller,
    start_database,
    start_munge,
    start_node,
    start_slurmdbd,
)
from pipshpc.lab.layout import (
    SOFTWARE,
    Layout,
    Software,
    check_layout,
    hosts_text,
    read_layout,
    read_software,
    site_text,
    slurm_conf,
    slurmdbd_conf,
    template,
    write_layout,
)
from pipshpc.lab.process import clean_environment, run, wait_until
from pipshpc.lab.stack import own_stack
from pipshpc.lab.status import all_registered, is_complete

# ---- up


def start_lab(
    wanted: Layout | None, folder: Path, patience_s: float = 40.0, software: Software | None = None, bare: bool = False
) -> tuple[Layout, bool]:
    """Bring a lab up, or what is missing of it.

    Parameters
    ----------
    wanted : what the lab is to be like; as it was, or as `Layout` says, if None
    folder : of the lab
    software : the stack that its jobs load; that of this source tree if None
    bare : its jobs load none, and run with what submits them

    Returns
    -------
    the layout, and whether there was anything to do

    Raises
    ------
    SpecError
        Another layout than that of the lab which is up.
    SiteError
        A program, a right or a daemon is missing; with the words of its log.
    """
    folder = folder.absolute()
    old = read_layout(folder)
    layout = wanted or old or Layout(folder=str(folder))
    check_layout(layout)
    if os.geteuid() != 0:
        raise SiteError(
            "the lab needs root, for its namespaces and network; run it as root, or on a machine of your own"
        )
    with _lock(folder):
        if old is not None and network.has_bridge(old):
            layout = msgspec.structs.replace(layout, subnet=old.subnet)
            if layout != old:
                raise SpecError(f"{folder}: a lab of another shape is up ({_shape(old)}); `pipshpc lab down` first")
            if is_complete(layout):
                _write_software(layout, software, bare)
                return layout, False
        else:
            install()
            if old is not None and _shape(old) != _shape(layout):
                for cluster in old.clusters:  # Slurm's state of other nodes is of no use
                    shutil.rmtree(old.cluster_folder(cluster) / "state", ignore_errors=True)
            layout = msgspec.structs.replace(layout, subnet=network.find_subnet())
        _write_files(layout)
        _write_software(layout, software, bare)
        write_layout(layout)
        _start_all(layout)
        if not wait_until(lambda: all_registered(layout), patience_s, 0.1):
            dead = [n for n in layout.all_nodes() if slurmd_pid(layout, n) is None]
            said = f"; slurmd of {dead[0].name} ended: {power(layout, dead[0]).tail()}" if dead else ""
            raise SiteError(
                f"the nodes did not all come up in {patience_s:g} s{said}; see {layout.folder}/clusters/*/log and "
                f"{layout.folder}/log, and `pipshpc lab status`"
            )
    return layout, True


def install() -> None:
    """Install missing programs (root on Debian), or say which are missing.

    Raises
    ------
    SiteError
    """
    script = str(template("install.sh"))
    if subprocess.run([script, "--check"], capture_output=True, check=False).returncode == 0:
        return
    done = subprocess.run(
        [script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None, text=True, check=False
    )
    if done.returncode:
        raise SiteError(f"programs that the lab needs are missing and could not be installed; try {script} by hand")


def _shape(layout: Layout) -> str:
    plan = f"{layout.nodes} nodes of {layout.cpus} CPUs and {layout.memory_mib} MiB in {','.join(layout.clusters)}"
    return f"{plan}, scratch {layout.scratch_mib} MiB, {'with' if layout.accounting else 'without'} accounting"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SiteError(f"{folder}: another `pipshpc lab` is at work there; wait for it") from error
        yield


def _write_files(layout: Layout) -> None:
    # Slurm refuses folders that others may write to, and users need to read the way to their node's files.
    for folder in (layout.path, layout.path / "run", layout.path / "log", layout.path / "clusters"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    _write(layout.path / "hosts", hosts_text(layout))
    key = layout.path / "munge.key"
    if not key.exists():
        _write(key, os.urandom(128), 0o400)
    if layout.accounting:
        _write(layout.path / "accounting" / "slurmdbd.conf", slurmdbd_conf(layout), 0o600)
    for cluster in layout.clusters:
        for name in ("log", "run", "state", "spool"):
            (layout.cluster_folder(cluster) / name).mkdir(parents=True, exist_ok=True)
        _write(layout.conf(cluster), slurm_conf(layout, cluster, len(os.sched_getaffinity(0))))
        _write(layout.conf(cluster).with_name("mpi.conf"), template("mpi.conf.in").read_text())
        if not os.path.ismount("/sys/fs/cgroup"):
            # slurmd finds out which version there is, and ends where there is none, though the lab needs neither.
            _write(layout.conf(cluster).with_name("cgroup.conf"), "CgroupPlugin=cgroup/v1\n")
    for node in layout.all_nodes():
        (layout.cluster_folder(node.cluster) / "spool" / node.name).mkdir(exist_ok=True)
        layout.private_tmp(node).mkdir(parents=True, exist_ok=True)
        layout.private_tmp(node).chmod(0o1777)


def _write_software(layout: Layout, software: Software | None, bare: bool) -> None:
    """Say which stack the jobs load. Also where the lab is up: the source tree may be another one by now."""
    if software is None and not bare:
        own = own_stack()
        software = Software(module=own.module, modulepath=str(own.modulepath))
    if software is None:
        (layout.path / SOFTWARE).unlink(missing_ok=True)
    else:
        _write(layout.path / SOFTWARE, msgspec.json.encode(software))
    for cluster in layout.clusters:
        _write(layout.sites / f"{cluster}.yaml", site_text(layout, cluster, software))


def _write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole; with its rights from the beginning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as handle:
        handle.write(content.encode() if isinstance(content, str) else content)
    part.replace(path)


def _start_all(layout: Layout) -> None:
    """Start what does not run: first what others need."""
    network.create(layout)
    layout.scratch.mkdir(exist_ok=True)
    if not os.path.ismount(layout.scratch):  # nodes see mounts made before they start
        run(["mount", "-t", "tmpfs", "-o", f"size={layout.scratch_mib}m,mode=1777", "pipshpc-lab", str(layout.scratch)])
    start_munge(layout)
    if layout.accounting:
        start_database(layout)
        start_slurmdbd(layout)
    started = [cluster for cluster in layout.clusters if start_controller(layout, cluster, wait=False)]
    for cluster in started:
        await_controller(layout, cluster)
    for node in layout.all_nodes():
        start_node(layout, node)


def lab_environment(layout: Layout, cluster: str = "") -> dict[str, str]:
    """Return the variables by which commands find a cluster of the lab."""
    found = {
        "SLURM_CONF": str(layout.conf(cluster or layout.clusters[0])),
        "PIPSHPC_LAB": layout.folder,
        "PIPSHPC_SITES": str(layout.sites),
        "PIPSHPC_LAB_SCRATCH": str(layout.scratch),
    }
    if (software := read_software(layout)) is not None:
        others = [p for p in os.environ.get("MODULEPATH", "").split(":") if p and p != software.modulepath]
        found |= {"MODULEPATH": ":".join([software.modulepath, *others]), "PIPSHPC_LOAD": software.module}
    return found


def shell_environment(layout: Layout, cluster: str = "") -> dict[str, str]:
    """Return the whole environment for a shell in which commands go to a cluster of the lab."""
    return {**clean_environment(), **lab_environment(layout, cluster)}


# ---- down


def stop_lab(folder: Path, purge: bool = False) -> list[str]:
    """End all processes that the lab started and take its network and mounts away.

    Parameters
    ----------
    folder : of the lab
    purge : also remove the files that the lab made: logs, accounting, jobs' files on nodes

    Returns
    -------
    what was stopped
    """
    folder = folder.absolute()
    layout = read_layout(folder)
    if layout is None:
        return []
    stopped = []
    with _lock(folder):
        # Controllers first: they shall not write down the end of their nodes as failures.
        controllers = [controller(layout, c) for c in layout.clusters]
        for daemon in controllers:
            if (pid := daemon.pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        stopped += [d.name for d in controllers if d.stop()]
        for node in layout.all_nodes():
            stopped += [node.name] if power(layout, node).stop(signal.SIGKILL) else []
        stopped += [d.name for d in (slurmdbd(layout), database(layout), munge(layout)) if d.stop()]
        network.remove(layout)
        if os.path.ismount(layout.scratch):
            run(["umount", "--lazy", str(layout.scratch)])
        if purge:
            for name in ("accounting", "clusters", "log", "run", "scratch", "sites"):
                shutil.rmtree(layout.path / name, ignore_errors=True)
            for name in ("hosts", "munge.key", "lab.json", SOFTWARE):
                (layout.path / name).unlink(missing_ok=True)
    return stopped
