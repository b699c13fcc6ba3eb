"""Faults by name: each does one thing that happens to clusters, to the lab, and says what it did.

A fault with `seconds` blocks and undoes itself in the end, also when it is
interrupted; without, it stays until it is undone by its counterpart or by
`pipshpc lab up`, which mends everything.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pipshpc.errors import SiteError, SpecError
from pipshpc.lab import network
from pipshpc.lab.daemons import (
    await_controller,
    controller,
    node_processes,
    power,
    slurmd_pid,
    start_controller,
    start_node,
)
from pipshpc.lab.layout import Layout, Node
from pipshpc.lab.process import read_command, read_environment, run, wait_until
from pipshpc.schema import Record

FIRST_SPECIAL_STEP = 0xFFFFFFF0  # batch script, allocation and the like are steps with numbers from here
FILLING = ".filled-by-lab"


class Done(Record, frozen=True):
    """What a fault did: to what, in words, and the numbers of it."""

    fault: str
    target: str
    did: str
    facts: dict[str, Any] = {}


# ---- processes


class Rank(NamedTuple):
    """A task of a job step, in Slurm's sense: one rank."""

    node: Node
    job: str
    step: str
    number: int
    pid: int  # as the host counts
    command: str


def list_ranks(layout: Layout, node: Node) -> list[Rank]:
    """Return the ranks that run on a node, of all steps; each once, though a shell may stand around it."""
    found: dict[tuple[str, str, int], Rank] = {}
    for pid in node_processes(layout, node):
        settings = read_environment(pid)
        job, step, rank = (settings.get(f"SLURM_{name}", "") for name in ("JOB_ID", "STEP_ID", "PROCID"))
        if job and step.isdigit() and int(step) < FIRST_SPECIAL_STEP and rank.isdigit():
            # Parents come first: the program itself remains.
            found[job, step, int(rank)] = Rank(node, job, step, int(rank), pid, read_command(pid))
    return list(found.values())


def find_ranks(layout: Layout, job: str, node: Node) -> dict[int, int]:
    """Return {rank: pid as the host counts} of a job's tasks on a node."""
    return {r.number: r.pid for r in list_ranks(layout, node) if r.job == job}


def kill_rank(
    layout: Layout, job: str = "", node: str = "", rank: int | None = None, *, step: str = "", task: str = ""
) -> Done:
    """Kill one rank by SIGKILL.

    Parameters
    ----------
    job, step : whose ranks are meant; any if empty
    node : where to look; everywhere if empty
    rank : its number; the last one if None
    task : a word of the rank's command line, such as the id of a pipshpc task

    Raises
    ------
    SpecError
        Neither job nor task is named.
    SiteError
        No such rank runs, or ranks of several steps do.
    """
    if not job and not task:
        raise SpecError("found neither a job nor a task; name one: JOB, or --task with the id of the task")
    nodes = [layout.find_node(node)] if node else layout.all_nodes()
    ranks = [r for n in nodes for r in list_ranks(layout, n) if job in ("", r.job) and step in ("", r.step)]
    ranks = sorted((r for r in ranks if task in r.command), key=lambda r: r.number)
    chosen = ranks[-1:] if rank is None else [r for r in ranks if r.number == rank]
    named = ", ".join(f"{what} {name}" for what, name in (("job", job), ("step", step), ("task", task)) if name)
    if not chosen:
        there = f"ranks {', '.join(str(r.number) for r in ranks)}" if ranks else "no rank"
        where = f"on {node}" if node else "on any node"
        raise SiteError(f"{named}: {there} found {where}; wait until it runs, see squeue --steps")
    if rank is not None and len(chosen) > 1:
        steps = ", ".join(f"{r.job}.{r.step}" for r in chosen)
        raise SiteError(f"{named}: steps {steps} have a rank {rank}; say which by --step or --task")
    victim = chosen[-1]
    os.kill(victim.pid, signal.SIGKILL)
    facts = {"job": victim.job, "step": victim.step, "rank": victim.number, "node": victim.node.name, "pid": victim.pid}
    did = f"killed rank {victim.number} of job {victim.job} on {victim.node.name}"
    return Done(fault="kill-rank", target=job or task, did=did, facts=facts)


def kill_slurmd(layout: Layout, name: str) -> Done:
    """Kill a node's slurmd by SIGKILL; job steps live on."""
    node = layout.find_node(name)
    pid = slurmd_pid(layout, node)
    if pid is None:
        raise SiteError(f"{name}: no slurmd runs there; start it by `pipshpc lab break start-slurmd {name}`")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: slurmd_pid(layout, node) is None, 5)
    return Done(fault="kill-slurmd", target=name, did=f"killed slurmd on {name}, steps run on", facts={"pid": pid})


def start_slurmd(layout: Layout, name: str) -> Done:
    """Start a slurmd that was killed, on a node that is on."""
    node = layout.find_node(name)
    if power(layout, node).pid is None:
        raise SiteError(f"{name}: is off; switch it on by `pipshpc lab break power-on {name}`")
    started = start_node(layout, node)
    return Done(fault="start-slurmd", target=name, did=f"slurmd on {name} {'started' if started else 'ran already'}")


def power_off(layout: Layout, name: str) -> Done:
    """Take a node's power: all its processes are gone at once, nobody is told."""
    node = layout.find_node(name)
    lost = len(node_processes(layout, node))
    if not power(layout, node).stop(signal.SIGKILL):
        raise SiteError(f"{name}: is off already; switch it on by `pipshpc lab break power-on {name}`")
    return Done(fault="power-off", target=name, did=f"switched {name} off", facts={"processes": lost})


def power_on(layout: Layout, name: str) -> Done:
    """Switch a node on again; Slurm takes it back when its slurmd registers."""
    started = start_node(layout, layout.find_node(name))
    return Done(fault="power-on", target=name, did=f"switched {name} on" if started else f"{name} was on")


# ---- network, disk, controller


def cut_network(layout: Layout, name: str, seconds: float | None = None) -> Done:
    """Unplug a node's cable; its processes run on and hear nothing."""
    node = layout.find_node(name)
    network.plug(node, False)
    did = f"cut {name} off the network"
    did += _hold(seconds, lambda: network.plug(node, True), "connected it again")
    return Done(fault="cut-network", target=name, did=did, facts={"seconds": seconds})


def connect_network(layout: Layout, name: str) -> Done:
    """Plug a node's cable in again."""
    network.plug(layout.find_node(name), True)
    return Done(fault="connect-network", target=name, did=f"connected {name} to the network")


def fill_disk(layout: Layout, seconds: float | None = None, leave_kib: int = 0) -> Done:
    """Fill the lab's scratch folder, but for `leave_kib`, with one file."""
    if not os.path.ismount(layout.scratch):
        raise SiteError(f"{layout.scratch}: is not mounted, and nothing else is filled; `pipshpc lab up` first")
    path = layout.scratch / FILLING
    written = 0
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):  # coarse, then to the last page
            with suppress(OSError):
                while _free_kib(layout) - leave_kib >= size >> 10:
                    written += file.write(b"\0" * size)
    left = _free_kib(layout)
    did = f"filled {layout.scratch}, {left} KiB are left"
    did += _hold(seconds, lambda: path.unlink(missing_ok=True), "freed it again")
    facts = {"bytes": written, "left_kib": left, "seconds": seconds, "file": str(path)}
    return Done(fault="fill-disk", target=str(layout.scratch), did=did, facts=facts)


def free_disk(layout: Layout) -> Done:
    """Remove what `fill_disk` wrote."""
    (layout.scratch / FILLING).unlink(missing_ok=True)
    facts = {"left_kib": _free_kib(layout)}
    return Done(fault="free-disk", target=str(layout.scratch), did=f"freed {layout.scratch}", facts=facts)


def _free_kib(layout: Layout) -> int:
    found = os.statvfs(layout.scratch)
    return found.f_bavail * found.f_frsize >> 10


def stop_controller(layout: Layout, cluster: str = "", seconds: float | None = None) -> Done:
    """Stop a slurmctld; jobs run on, client commands fail."""
    cluster = layout.find_cluster(cluster)
    if not controller(layout, cluster).stop():
        raise SiteError(f"{cluster}: no controller runs; start it by `pipshpc lab break start-controller`")

    def start() -> None:
        start_controller(layout, cluster)

    did = f"stopped the controller of {cluster}" + _hold(seconds, start, "started it again")
    return Done(fault="stop-controller", target=cluster, did=did, facts={"seconds": seconds})


def restart_controller(layout: Layout, cluster: str = "") -> Done:
    """Start a slurmctld that was stopped."""
    cluster = layout.find_cluster(cluster)
    started = start_controller(layout, cluster)
    await_controller(layout, cluster)
    did = f"{'started' if started else 'found'} the controller of {cluster}"
    return Done(fault="start-controller", target=cluster, did=did)


def _hold(seconds: float | None, undo: Callable[[], None], undone: str) -> str:
    """Wait, then undo, in any case; return the words for it."""
    if seconds is None:
        return ""
    try:
        time.sleep(max(seconds, 0))
    finally:
        undo()
    return f" for {seconds:g} s, then {undone}"


# ---- by Slurm's own means


def preempt(layout: Layout, job: str, cluster: str = "", seconds: int = 5) -> Done:
    """Let a job of the partition high take the nodes of a running job of the partition low.

    Raises
    ------
    SiteError
        The job does not run, does not run in `low`, or is not preempted in time.
    """
    conf = layout.conf(layout.find_cluster(cluster))
    state, partition, nodes = _job(conf, job)
    if state != "RUNNING" or partition != "low":
        raise SiteError(f"job {job} is {state} in partition {partition}; wanted RUNNING in low, which may be preempted")
    words = ["--parsable", "--partition=high", f"--nodelist={nodes}", "--exclusive", "--output=/dev/null", "--mem=0"]
    words += [f"--nodes={_count(conf, nodes)}", "--job-name=preemptor", f"--wrap=sleep {seconds}"]
    by = run(["sbatch", *words], SLURM_CONF=str(conf)).strip()
    if not wait_until(lambda: _job(conf, job)[0] != "RUNNING", 30, 0.2):
        raise SiteError(f"job {job} is not preempted after 30 s by job {by}; see squeue")
    facts = {"job": job, "by": by, "nodes": nodes, "seconds": seconds}
    return Done(fault="preempt", target=job, did=f"job {by} took {nodes} from job {job} for {seconds} s", facts=facts)


def requeue(layout: Layout, job: str, cluster: str = "", force: bool = False) -> Done:
    """Put a running job back into the queue; with `force` also one that was submitted with --no-requeue.

    Raises
    ------
    SiteError
        Slurm refuses, because the job does not run or is not to be started again.
    """
    conf = str(layout.conf(layout.find_cluster(cluster)))
    if force:
        run(["scontrol", "update", f"JobId={job}", "Requeue=1"], SLURM_CONF=conf)
    try:
        run(["scontrol", "requeue", job], SLURM_CONF=conf)
    except SiteError as error:
        advice = "it was submitted with --no-requeue; --force requeues it all the same"
        raise SiteError(f"{error}; {advice}" if "disabled" in str(error) else str(error)) from error
    return Done(fault="requeue", target=job, did=f"put job {job} back into the queue", facts={"force": force})


def shorten(layout: Layout, job: str, cluster: str = "", seconds: int = 1) -> Done:
    """Let a running job reach its time limit in `seconds`; Slurm looks for such jobs every 30 s."""
    if seconds < 1:
        raise SpecError(f"found {seconds} seconds; wanted at least 1")
    conf = str(layout.conf(layout.find_cluster(cluster)))
    end = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + seconds))
    run(["scontrol", "update", f"JobId={job}", f"EndTime={end}"], SLURM_CONF=conf)
    did = f"job {job} reaches its time limit at {end}"
    return Done(fault="walltime", target=job, did=did, facts={"end": end})


def drain(layout: Layout, name: str, reason: str = "drained by hand") -> Done:
    """Let a node finish its jobs and get no new ones."""
    _update_node(layout, name, "State=DRAIN", f"Reason={reason}")
    return Done(fault="drain", target=name, did=f"{name} gets no new jobs", facts={"reason": reason})


def resume(layout: Layout, name: str) -> Done:
    """Give a drained or lost node back to the scheduler."""
    _update_node(layout, name, "State=RESUME")
    return Done(fault="resume", target=name, did=f"{name} gets jobs again")


def _update_node(layout: Layout, name: str, *words: str) -> None:
    conf = layout.conf(layout.find_node(name).cluster)
    run(["scontrol", "update", f"NodeName={name}", *words], SLURM_CONF=str(conf))


def _job(conf: Path, job: str) -> tuple[str, str, str]:
    """Return state, partition and nodes of a job."""
    words = ["squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T|%P|%N"]
    line = run(words, SLURM_CONF=str(conf)).strip()
    if line.count("|") != 2:
        raise SiteError(f"job {job}: squeue does not know it; wanted the number of one job")
    state, partition, nodes = line.split("|")
    return state, partition, nodes


def _count(conf: Path, nodes: str) -> int:
    return len(run(["scontrol", "show", "hostnames", nodes], SLURM_CONF=str(conf)).split())
