"""The lab's life: up, status, down. Whatever is there already is left as it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pipshpc.errors import SiteError, SpecError
from pipshpc.lab import network
from pipshpc.lab.layout import (
    CONTROLLER,
    DATABASE_PORT,
    Layout,
    Node,
    check_layout,
    hosts_text,
    read_layout,
    slurm_conf,
    slurmdbd_conf,
    template,
    write_layout,
)
from pipshpc.lab.process import Daemon, clean_environment, descendants, read_command, run, wait_until
from pipshpc.schema import Record


class NodeStatus(Record, frozen=True):
    """What is known of one node; `state` is Slurm's word."""

    name: str
    cluster: str
    address: str
    power: bool
    network: bool
    slurmd: bool
    state: str


class ClusterStatus(Record, frozen=True):
    """What is known of one cluster."""

    name: str
    controller: bool  # the process runs
    answers: bool
    running: int
    pending: int
    nodes: list[NodeStatus]


class Status(Record, frozen=True):
    """What is known of a lab."""

    folder: str
    up: bool
    munge: bool
    accounting: bool | None  # None where there is none by choice
    scratch_mib: int
    scratch_free_mib: int
    clusters: list[ClusterStatus]


# ---- the daemons of a lab, as records


def munge(layout: Layout) -> Daemon:
    """Return the lab's munged."""
    return Daemon(layout.path, "munged", "munged")


def database(layout: Layout) -> Daemon:
    """Return the lab's MariaDB."""
    return Daemon(layout.path, "mariadbd", "mariadbd")


def slurmdbd(layout: Layout) -> Daemon:
    """Return the lab's slurmdbd."""
    return Daemon(layout.path, "slurmdbd", "slurmdbd")


def controller(layout: Layout, cluster: str) -> Daemon:
    """Return a cluster's slurmctld."""
    return Daemon(layout.path, f"slurmctld-{cluster}", "slurmctld")


def power(layout: Layout, node: Node) -> Daemon:
    """Return the process that holds a node's PID namespace: without it the node is off."""
    return Daemon(layout.path, f"node-{node.name}", "unshare")


def node_processes(layout: Layout, node: Node) -> list[int]:
    """Return the pids (as the host counts) of all that runs on a node, its init first."""
    holder = power(layout, node).pid
    return descendants(holder) if holder else []


def slurmd_pid(layout: Layout, node: Node) -> int | None:
    """Return the pid of a node's slurmd."""
    for pid in node_processes(layout, node):
        words = read_command(pid).split()
        if words and Path(words[0]).name == "slurmd":
            return pid
    return None


# ---- up


def start_lab(wanted: Layout | None, folder: Path, patience_s: float = 40.0) -> tuple[Layout, bool]:
    """Bring a lab up, or what is missing of it.

    Parameters
    ----------
    wanted : what the lab is to be like; as it was, or as `Layout` says, if None
    folder : of the lab

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
            if _complete(layout):
                return layout, False
        else:
            install()
            if old is not None and _shape(old) != _shape(layout):
                for cluster in old.clusters:  # Slurm's state of other nodes is of no use
                    shutil.rmtree(old.cluster_folder(cluster) / "state", ignore_errors=True)
            layout = msgspec.structs.replace(layout, subnet=network.find_subnet())
        _write_files(layout)
        write_layout(layout)
        _start_all(layout)
        if not wait_until(lambda: _registered(layout), patience_s, 0.1):
            raise SiteError(
                f"the nodes did not all come up in {patience_s:g} s; see {layout.folder}/clusters/*/log and "
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


def _complete(layout: Layout) -> bool:
    """Whether all daemons run and all cables are plugged in, without asking Slurm."""
    return (
        all(d.pid for d in _services(layout))
        and os.path.ismount(layout.scratch)
        and all(network.is_connected(n) and slurmd_pid(layout, n) for n in layout.all_nodes())
    )


def _services(layout: Layout) -> list[Daemon]:
    """Return the daemons outside the nodes, in the order of starting."""
    accounting = [database(layout), slurmdbd(layout)] if layout.accounting else []
    return [munge(layout), *accounting, *(controller(layout, c) for c in layout.clusters)]


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
    for node in layout.all_nodes():
        (layout.cluster_folder(node.cluster) / "spool" / node.name).mkdir(exist_ok=True)
        layout.private_tmp(node).mkdir(parents=True, exist_ok=True)
        layout.private_tmp(node).chmod(0o1777)


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
    _start_munge(layout)
    if layout.accounting:
        _start_database(layout)
        _start_slurmdbd(layout)
    started = [cluster for cluster in layout.clusters if start_controller(layout, cluster, wait=False)]
    for cluster in started:
        await_controller(layout, cluster)
    for node in layout.all_nodes():
        start_node(layout, node)


def _start_munge(layout: Layout) -> None:
    daemon = munge(layout)
    if daemon.pid:
        return
    run_folder = layout.path / "run"
    for leftover in run_folder.glob("munge.sock*"):
        leftover.unlink()
    daemon.start(
        [
            "munged",
            "--foreground",
            "--force",
            "--num-threads=4",
            f"--key-file={layout.path / 'munge.key'}",
            f"--socket={layout.munge_socket}",
            f"--pid-file={run_folder / 'munged.pid'}",
            f"--seed-file={run_folder / 'munged.seed'}",
            f"--log-file={layout.path / 'log' / 'munged.log'}",
        ]
    )
    _await(daemon, layout.munge_socket.exists, 10)


def _start_database(layout: Layout) -> None:
    """Start MariaDB on a socket of our own: no network, no password, only for who is root here."""
    daemon, data = database(layout), layout.path / "accounting" / "mysql"
    if daemon.pid:
        return
    if not (data / "mysql").is_dir():
        # Into a folder beside, so that an interrupted installation is not taken for a whole one.
        fresh = data.with_name("mysql.part")
        shutil.rmtree(fresh, ignore_errors=True)
        install_command = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={fresh}"]
        run([*install_command, "--skip-test-db", "--auth-root-authentication-method=socket"], timeout_s=120)
        fresh.rename(data)
    layout.database_socket.unlink(missing_ok=True)
    daemon.start(
        [
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            f"--socket={layout.database_socket}",
            f"--pid-file={layout.path / 'run' / 'mariadbd.pid'}",
            "--skip-networking",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=16M",
            "--innodb-lock-wait-timeout=900",
            # A lab may lose the last second of accounting when the host loses power.
            "--innodb-flush-log-at-trx-commit=0",
        ]
    )
    _await(daemon, layout.database_socket.exists, 30)
    client = ["mariadb", "--no-defaults", f"--socket={layout.database_socket}", "--execute"]
    run([*client, "create database if not exists slurm_acct_db"])


def _start_slurmdbd(layout: Layout) -> None:
    daemon = slurmdbd(layout)
    if daemon.pid:
        return
    daemon.start(
        [*_as_controller(layout), "slurmdbd", "-D"],
        {
            "SLURM_CONF": str(layout.path / "accounting" / "slurmdbd.conf"),
            "MYSQL_UNIX_PORT": str(layout.database_socket),
            "MARIADB_UNIX_PORT": str(layout.database_socket),
        },
    )
    _await(daemon, lambda: _listens(layout.address, DATABASE_PORT), 30)


def start_controller(layout: Layout, cluster: str, wait: bool = True) -> bool:
    """Start a slurmctld that does not run; return whether it had to be started."""
    daemon = controller(layout, cluster)
    if daemon.pid:
        return False
    daemon.start([*_as_controller(layout), "slurmctld", "-D", "-f", str(layout.conf(cluster))])
    if wait:
        await_controller(layout, cluster)
    return True


def await_controller(layout: Layout, cluster: str) -> None:
    """Wait until a slurmctld listens."""
    _await(controller(layout, cluster), lambda: _listens(layout.address, layout.port(cluster)), 30)


def _as_controller(layout: Layout) -> list[str]:
    """Return the words that give a command the controllers' host name and hosts file."""
    enter = ["bash", str(template("enter.sh")), CONTROLLER, str(layout.path / "hosts"), "-", ""]
    return ["unshare", "--mount", "--uts", *enter]


def start_node(layout: Layout, node: Node) -> bool:
    """Switch a node on that is off, start a slurmd that is dead; return whether there was anything to do."""
    daemon, conf = power(layout, node), str(layout.conf(node.cluster))
    if daemon.pid is None:
        hosts, tmp = str(layout.path / "hosts"), str(layout.private_tmp(node))
        enter = ["bash", str(template("enter.sh")), node.name, hosts, tmp, ":".join(shared_folders(layout))]
        spaces = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        inside = ["bash", str(template("node.sh")), conf, node.name]
        daemon.start(["nsenter", f"--net=/run/netns/{node.namespace}", *spaces, *enter, *inside])
        _await(daemon, lambda: slurmd_pid(layout, node) is not None, 10)
        return True
    if slurmd_pid(layout, node) is None:
        init = node_processes(layout, node)[0]
        os.kill(init, signal.SIGUSR1)  # see envs/lab/node.sh; so slurmd belongs to the node, and dies with it
        if not wait_until(lambda: slurmd_pid(layout, node) is not None, 10):
            raise SiteError(f"{node.name}: slurmd does not start; see {daemon.log}")
        return True
    return False


def shared_folders(layout: Layout) -> list[str]:
    """Return the folders below /tmp that a node must see although its /tmp is its own: lab, sources, Python."""
    wanted = [layout.path, template("node.sh").parents[2], Path(sys.prefix), Path.cwd()]
    below = sorted({p.resolve() for p in wanted if p.resolve().is_relative_to("/tmp") and p.resolve() != Path("/tmp")})
    return [str(p) for p in below if not any(p != other and p.is_relative_to(other) for other in below)]


def _await(daemon: Daemon, ready: object, patience_s: float) -> None:
    """Wait for a daemon that was just started.

    Raises
    ------
    SiteError
        It ended, or is not ready in time; with the last words of its log.
    """
    assert callable(ready)
    end = time.monotonic() + patience_s
    while not ready():
        if daemon.pid is None:
            raise SiteError(f"{daemon.program} ended at once: {daemon.tail() or 'it said nothing'}; see {daemon.log}")
        if time.monotonic() > end:
            raise SiteError(f"{daemon.program} is not ready after {patience_s:g} s: {daemon.tail()}; see {daemon.log}")
        time.sleep(0.02)


def _listens(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=0.5):
        return True
    return False


def _registered(layout: Layout) -> bool:
    """Whether Slurm hears of all nodes; a node that somebody drained or set down counts."""
    for cluster in layout.clusters:
        states = node_states(layout, cluster)
        if len(states) < layout.nodes or any(s.endswith("*") or s.startswith("unk") for s in states.values()):
            return False
    return True


def node_states(layout: Layout, cluster: str) -> dict[str, str]:
    """Return {node: state in Slurm's word}; empty where the controller does not answer."""
    try:
        text = run(
            ["sinfo", "--noheader", "--Node", "--format=%N %T"], timeout_s=6, SLURM_CONF=str(layout.conf(cluster))
        )
    except SiteError:
        return {}
    return {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}


# ---- status


def read_status(layout: Layout) -> Status:
    """Look at all parts of a lab."""
    free = shutil.disk_usage(layout.scratch).free >> 20 if os.path.ismount(layout.scratch) else 0
    clusters = []
    for cluster in layout.clusters:
        alive = controller(layout, cluster).pid is not None
        states = node_states(layout, cluster) if alive else {}
        jobs = _count_jobs(layout, cluster) if states else {}
        nodes = [
            NodeStatus(
                name=n.name,
                cluster=cluster,
                address=n.address,
                power=power(layout, n).pid is not None,
                network=network.is_connected(n),
                slurmd=slurmd_pid(layout, n) is not None,
                state=states.get(n.name, "UNKNOWN").upper(),
            )
            for n in layout.nodes_of(cluster)
        ]
        running, pending = jobs.get("RUNNING", 0), jobs.get("PENDING", 0)
        clusters.append(
            ClusterStatus(
                name=cluster, controller=alive, answers=bool(states), running=running, pending=pending, nodes=nodes
            )
        )
    return Status(
        folder=layout.folder,
        up=_complete(layout),
        munge=munge(layout).pid is not None,
        accounting=slurmdbd(layout).pid is not None and database(layout).pid is not None if layout.accounting else None,
        scratch_mib=layout.scratch_mib,
        scratch_free_mib=free,
        clusters=clusters,
    )


def _count_jobs(layout: Layout, cluster: str) -> dict[str, int]:
    try:
        text = run(["squeue", "--noheader", "--format=%T"], timeout_s=6, SLURM_CONF=str(layout.conf(cluster)))
    except SiteError:
        return {}
    words = text.split()
    return {word: words.count(word) for word in set(words)}


def lab_environment(layout: Layout, cluster: str = "") -> dict[str, str]:
    """Return the variables by which commands find a cluster of the lab."""
    return {
        "SLURM_CONF": str(layout.conf(cluster or layout.clusters[0])),
        "PIPSHPC_LAB": layout.folder,
        "PIPSHPC_LAB_SCRATCH": str(layout.scratch),
    }


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
            for name in ("accounting", "clusters", "log", "run", "scratch"):
                shutil.rmtree(layout.path / name, ignore_errors=True)
            for name in ("hosts", "munge.key", "lab.json"):
                (layout.path / name).unlink(missing_ok=True)
    return stopped
