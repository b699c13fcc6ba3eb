"""What of a lab runs, and what Slurm says of its nodes."""

from __future__ import annotations

import os
import shutil

from pipshpc.errors import SiteError
from pipshpc.lab import network
from pipshpc.lab.daemons import controller, database, munge, power, services, slurmd_pid, slurmdbd
from pipshpc.lab.layout import Layout
from pipshpc.lab.process import run
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


def is_complete(layout: Layout) -> bool:
    """Whether all daemons run and all cables are plugged in, without asking Slurm."""
    return (
        all(d.pid for d in services(layout))
        and os.path.ismount(layout.scratch)
        and all(network.is_connected(n) and slurmd_pid(layout, n) for n in layout.all_nodes())
    )


def node_states(layout: Layout, cluster: str) -> dict[str, str]:
    """Return {node: state in Slurm's word}; empty where the controller does not answer."""
    try:
        text = run(
            ["sinfo", "--noheader", "--Node", "--format=%N %T"], timeout_s=6, SLURM_CONF=str(layout.conf(cluster))
        )
    except SiteError:
        return {}
    return {words[0]: words[1] for line in text.splitlines() if len(words := line.split()) == 2}


def all_registered(layout: Layout) -> bool:
    """Whether Slurm hears of all nodes; a node that somebody drained or set down counts."""
    for cluster in layout.clusters:
        states = node_states(layout, cluster)
        if len(states) < layout.nodes or any(s.endswith("*") or s.startswith("unk") for s in states.values()):
            return False
    return True


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
        up=is_complete(layout),
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
