"""Sites: what a cluster or machine is like, as data, and how ranks are started there.

A site is one YAML file. Nothing here asks the machine for more than its core
count, memory and environment, and only where the file says "all" or names a
variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml
from pipshpc.walltime import read_walltime

HERE = Path(__file__).parent
GIB = 1 << 30


class Launcher(Record, frozen=True):
    """How MPI ranks are started.

    Words of `command` may hold ``{ranks}`` and ``{threads}``; the program and
    its arguments come last. `options` are words that are added only where
    their key is given: ``nodes``, ``memory_mib`` (of a rank's core, so of
    ``--mem-per-cpu``) and ``exclude`` (names of nodes, separated by commas),
    each of which may stand in them, as in ``nodes: ["-N", "{nodes}"]``.
    `bind` is added where every rank can have cores of its own, `crowded`
    where ranks times threads are more than the cores of a machine without a
    scheduler.
    """

    command: list[str]
    options: dict[Literal["nodes", "memory_mib", "exclude"], list[str]] = {}
    bind: list[str] = []
    crowded: list[str] = []


class Partition(Record, frozen=True):
    """What is particular to one partition; what is empty or 0 is as the scheduler or the site says."""

    time: str = ""
    max_nodes: int = 0
    block_nodes: int = 0
    qos: str = ""
    cores: int = 0
    memory_gib: float = 0


class DriverJob(Record, frozen=True):
    """The small job in which the driver of a campaign runs; empty words are as for other jobs."""

    partition: str = ""
    time: str = ""
    qos: str = ""
    cores: int = 1
    memory_mib: int = 2000


class Scheduler(Record, frozen=True):
    """Who hands out nodes; the names are those of sbatch's long options.

    Parameters
    ----------
    cluster : name for Slurm's option ``clusters``; empty: the cluster that the environment names
    partition : the default one
    partitions : those that a campaign may choose, with what is particular to each; empty: any
    time : walltime of a job, in Slurm's writing
    max_nodes : of all jobs of a campaign together
    block_nodes : of one pilot job
    exclusive : whether pilot jobs take whole nodes
    signal_s : how long before the end of its walltime a job is told to stop (Slurm may be up to 60 s early)
    poll_s : how often the state of jobs is asked for
    driver : the job in which the driver of a campaign runs
    driver_address : of the machine that drives, as the nodes see it; found by itself if empty
    options : further words for sbatch
    """

    kind: Literal["local", "slurm"] = "local"
    cluster: str = ""
    partition: str = ""
    partitions: dict[str, Partition] = {}
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = ""
    max_nodes: int = 1
    block_nodes: int = 1
    exclusive: bool = True
    signal_s: int = 60
    poll_s: int = 10
    driver: DriverJob = DriverJob()
    driver_address: str = ""
    options: list[str] = []

    @property
    def time_s(self) -> int:
        """Walltime in seconds; 0 where none is stated."""
        return read_walltime(self.time)

    @property
    def signal(self) -> str:
        """What sbatch's option ``signal`` takes, so that the ranks, and not the batch script, are told to stop."""
        return f"USR1@{self.signal_s}" if self.signal_s else ""


class Storage(Record, frozen=True):
    """How new files are laid out on a striped file system (Lustre); 0 and empty: as the system does."""

    stripe_count: int = 0  # -1: all targets
    stripe_size: str = ""  # as in 16M


class Site(Record, frozen=True):
    """A cluster or a machine.

    `cores` and `memory_gib` are those of one node; "all" means what the
    machine that reads the file has. `scratch` is a folder for files that may
    be lost; ``${NAME}`` and ``${NAME:-otherwise}`` in it stand for environment
    variables. `modules` are loaded in every job, in their order, and after them
    `stack`, the module of the software, where a campaign names no other. They
    are looked for in the folders of `modulepath` first. `module_init` is the
    file that defines the command ``module``, where login shells lack it.
    `node_local` is a folder of each node's own to which the image of the stack
    is staged; empty: jobs read the shared tree.
    `environment` is set for every rank, `root_environment` only where the
    user is root.
    """

    name: str
    launcher: Launcher
    title: str = ""
    scheduler: Scheduler = Scheduler()
    cores: int | Literal["all"] = "all"
    memory_gib: float | Literal["all"] = "all"
    scratch: str = "/tmp"
    storage: Storage = Storage()
    modules: list[str] = []
    modulepath: list[str] = []
    module_init: str = ""
    stack: str = ""
    node_local: str = ""
    environment: dict[str, str] = {}
    root_environment: dict[str, str] = {}

    @property
    def core_count(self) -> int:
        """Cores of one node as a number."""
        return count_cores() if self.cores == "all" else self.cores

    @property
    def memory_bytes(self) -> int:
        """Memory of one node in bytes."""
        return psutil.virtual_memory().total if self.memory_gib == "all" else int(self.memory_gib * GIB)


def count_cores() -> int:
    """Return the number of cores that this process may use, hardware threads of one core counted once."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def search_path(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders where site files are looked for, in order.

    ``PIPSHPC_SITES`` (folders separated by a colon), then ``envs/sites`` of
    the source tree, then the files packaged with pipshpc.
    """
    named = [Path(p) for p in environ.get("PIPSHPC_SITES", "").split(os.pathsep) if p]
    return [*named, HERE.parent / "envs" / "sites", HERE / "sites"]


def list_sites(folders: Iterable[Path] | None = None) -> dict[str, Path]:
    """Return {name: file} of all sites on the search path; the first of a name counts."""
    found: dict[str, Path] = {}
    for folder in search_path() if folders is None else folders:
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def load_site(name: str | Path, folders: Iterable[Path] | None = None) -> Site:
    """Read a site by its name, or by the path of its file.

    Raises
    ------
    SpecError
        No such site (the known ones are named), an unknown key or a wrong
        type in its file, a launcher without ``{ranks}``, or "all" for a
        cluster whose nodes are not this machine.
    """
    if isinstance(name, Path) or name.endswith((".yaml", ".yml")) or os.sep in name:
        path = Path(name)
    else:
        known = list_sites(folders)
        if name not in known:
            raise SpecError(
                f"unknown site '{name}'; known sites: {', '.join(known) or 'none'}; "
                "give the path of a site file, or put its folder into PIPSHPC_SITES"
            )
        path = known[name]
    site = load_yaml(path, Site)
    _check(site, path)
    return msgspec.structs.replace(site, scratch=_expand(site.scratch, os.environ, f"{path}: key 'scratch'"))


def choose_partition(site: Site, name: str = "") -> Site:
    """Return the site as it is in one of its partitions: the one named, or the default.

    Time, nodes, quality of service, cores and memory of the partition take
    the place of the site's; ``scheduler.partition`` is its name.

    Raises
    ------
    SpecError
        The site lists its partitions, and this is none of them.
    """
    own = site.scheduler
    name = name or own.partition
    if not own.partitions:
        return msgspec.structs.replace(site, scheduler=msgspec.structs.replace(own, partition=name))
    if name not in own.partitions:
        raise SpecError(
            f"found partition '{name}'; site {site.name} has {', '.join(own.partitions)} (key 'scheduler.partitions')"
        )
    chosen = own.partitions[name]
    stated = {key: getattr(chosen, key) for key in ("time", "max_nodes", "block_nodes", "qos")}
    scheduler = msgspec.structs.replace(own, partition=name, **{key: v for key, v in stated.items() if v})
    return msgspec.structs.replace(
        site, scheduler=scheduler, cores=chosen.cores or site.cores, memory_gib=chosen.memory_gib or site.memory_gib
    )


def launch_command(
    site: Site,
    ranks: int,
    threads: int,
    argv: Sequence[str],
    *,
    nodes: int = 0,
    memory_mib: int = 0,
    exclude: Sequence[str] = (),
    uid: int | None = None,
) -> list[str]:
    """Return the words that start `argv` on `ranks` MPI ranks of `threads` threads each.

    The words are complete: they begin with ``env`` and the variables of
    `launch_environment`, so that whoever runs them need not know the site.

    Parameters
    ----------
    nodes : over which the ranks are spread; 0: left to the launcher
    memory_mib : of each rank; 0: left to the launcher
    exclude : names of nodes that are not to be used
    uid : number of the user, the present one's if None

    Raises
    ------
    SpecError
        Where ranks or threads are less than one, or there are fewer ranks than nodes.
    """
    if ranks < 1 or threads < 1:
        raise SpecError(f"found {ranks} ranks of {threads} threads; at least one of each is wanted")
    if nodes > ranks:
        raise SpecError(f"found {ranks} ranks on {nodes} nodes; wanted at least one rank a node")
    settings = [f"{name}={value}" for name, value in launch_environment(site, threads, uid).items()]
    # A job's own layout, which is that of its batch script or pilot, would be taken for the step's.
    unset = ["-u", "SLURM_NTASKS_PER_NODE"] if site.scheduler.kind == "slurm" else []
    words = [word.format(ranks=ranks, threads=threads) for word in site.launcher.command]
    # Launchers count memory by the core.
    given = {"nodes": nodes, "memory_mib": -(-memory_mib // threads), "exclude": ",".join(exclude)}
    for key, option in site.launcher.options.items():
        words += [word.format(**given) for word in option] if given[key] else []
    crowded = site.scheduler.kind == "local" and ranks * threads > site.core_count
    words += site.launcher.crowded if crowded else site.launcher.bind
    return ["env", *unset, *settings, *words, *argv]


def launch_environment(site: Site, threads: int, uid: int | None = None) -> dict[str, str]:
    """Return the environment variables that the ranks need on top of the present ones.

    `uid` is the user's number, the present user's if not given.
    """
    uid = os.getuid() if uid is None else uid
    # Numeric libraries would otherwise start a thread per core in every rank.
    threading = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**threading, **site.environment, **(site.root_environment if uid == 0 else {})}


def _check(site: Site, path: Path) -> None:
    if site.name != path.stem:
        raise SpecError(f"{path}: key 'name': found '{site.name}', wanted '{path.stem}' as the file is called")
    try:
        _check_launcher(site.launcher)
        _check_scheduler(site.scheduler)
        _check_sizes(site)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def _check_launcher(launcher: Launcher) -> None:
    plain = {"ranks": 1, "threads": 1}
    lists: list[tuple[str, list[str], dict[str, int]]] = [
        ("command", launcher.command, plain),
        ("crowded", launcher.crowded, {}),
        ("bind", launcher.bind, {}),
        *((f"options.{key}", words, {str(key): 1}) for key, words in launcher.options.items()),
    ]
    for key, words, fillings in lists:
        for word in words:
            try:
                word.format(**fillings)
            except (KeyError, IndexError, ValueError) as error:
                names = " and ".join(f"{{{name}}}" for name in fillings) or "nothing"
                raise SpecError(f"key 'launcher.{key}': found '{word}'; only {names} can be filled in") from error
        if key.startswith("options.") and not any("{" in word for word in words):
            raise SpecError(f"key 'launcher.{key}': found {words}, wanted a word with {{{key.partition('.')[2]}}}")
    if not any("{ranks}" in word for word in launcher.command):
        raise SpecError(
            f"key 'launcher.command': found {launcher.command}, wanted a word with {{ranks}}, "
            'as in ["mpiexec", "-n", "{ranks}"]'
        )


def _check_scheduler(own: Scheduler) -> None:
    known = own.partitions
    for key, name in (("partition", own.partition), ("driver.partition", own.driver.partition)):
        if known and name not in known and (name or key == "partition"):
            raise SpecError(f"key 'scheduler.{key}': found '{name}', wanted one of 'scheduler.partitions'")
    for key, text in (("time", own.time), ("driver.time", own.driver.time)):
        _check_time(key, text)
    for name, partition in known.items():
        _check_time(f"partitions.{name}.time", partition.time)
    if min(own.max_nodes, own.block_nodes, own.poll_s, own.driver.cores) < 1 or own.signal_s < 0:
        raise SpecError("key 'scheduler': wanted max_nodes, block_nodes, poll_s and driver.cores >= 1, signal_s >= 0")
    for name in known or [""]:
        most = (known[name].max_nodes if known else 0) or own.max_nodes
        block = (known[name].block_nodes if known else 0) or own.block_nodes
        if block > most:
            where = f"scheduler.partitions.{name}" if name else "scheduler"
            raise SpecError(f"key '{where}.block_nodes': found {block}, wanted at most max_nodes, which is {most}")


def _check_time(key: str, text: str) -> None:
    try:
        read_walltime(text)
    except SpecError as error:
        raise SpecError(f"key 'scheduler.{key}': {error}") from error


def _check_sizes(site: Site) -> None:
    for key, value in (("cores", site.cores), ("memory_gib", site.memory_gib)):
        if value == "all" and site.scheduler.kind != "local":
            raise SpecError(f"key '{key}': found 'all', wanted the number of one node of the cluster")
        if value != "all" and value <= 0:
            raise SpecError(f"key '{key}': found {value}, wanted a number above 0, or 'all'")
    if site.storage.stripe_count < -1:
        raise SpecError(
            f"key 'storage.stripe_count': found {site.storage.stripe_count}, wanted 1 or more, or -1 for all"
        )
    if not re.fullmatch(r"(\d+[kKmMgG]?)?", site.storage.stripe_size):
        raise SpecError(f"key 'storage.stripe_size': found '{site.storage.stripe_size}', wanted a size such as 16M")


def _expand(text: str, environ: Mapping[str, str], origin: str) -> str:
    """Fill in ${NAME} and ${NAME:-otherwise}, as a shell would."""

    def value(match: re.Match[str]) -> str:
        name, otherwise = match.group(1), match.group(2)
        found = environ.get(name) or otherwise
        if found is None:
            raise SpecError(f"{origin}: found '{text}', but {name} is not set; set it, or write ${{{name}:-folder}}")
        return found

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text)
