"""The daemons of a lab: what they are, how each is started, and how to wait until it is there."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from pipshpc.errors import SiteError
from pipshpc.lab.layout import CONTROLLER, DATABASE_PORT, Layout, Node, template
from pipshpc.lab.process import Daemon, descendants, read_command, run, wait_until


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


def services(layout: Layout) -> list[Daemon]:
    """Return the daemons outside the nodes, in the order of starting."""
    accounting = [database(layout), slurmdbd(layout)] if layout.accounting else []
    return [munge(layout), *accounting, *(controller(layout, c) for c in layout.clusters)]


# ---- starting


def start_munge(layout: Layout) -> None:
    """Start munge with the lab's own key and socket."""
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


def start_database(layout: Layout) -> None:
    """Start MariaDB on a socket of our own: no network, no password, only for who is root here."""
    daemon, data = database(layout), layout.path / "accounting" / "mysql"
    if daemon.pid:
        return
    if not (data / "mysql").is_dir():
        # Into a folder beside, so that an interrupted installation is not taken for a whole one.
        fresh = data.with_name("mysql.part")
        shutil.rmtree(fresh, ignore_errors=True)
        install_command = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={fresh}"]
        # --force: it would otherwise refuse a host whose own name cannot be looked up.
        # A folder of its own for temporary tables: two labs that start at once give theirs the same names.
        options = ["--force", "--skip-test-db", "--auth-root-authentication-method=socket", f"--tmpdir={data.parent}"]
        run([*install_command, *options], timeout_s=120)
        fresh.rename(data)
    layout.database_socket.unlink(missing_ok=True)
    daemon.start(
        [
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            f"--tmpdir={data.parent}",
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


def start_slurmdbd(layout: Layout) -> None:
    """Start the accounting daemon, which finds MariaDB by its socket."""
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
