"""Sites: what a cluster or machine is like, as data, and how ranks are started there.

A site is one YAML file. Nothing here asks the machine for more than its core
count, memory and environment, and only where the file says "all" or names a
variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import psutil

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml

HERE = Path(__file__).parent
GIB = 1 << 30


class Launcher(Record, frozen=True):
    """How MPI ranks are started.

    Words of `command` may hold ``{ranks}`` and ``{threads}``; the program and
    its arguments follow it. `crowded` is added where ranks times threads are
    more than the cores of the site.
    """

    command: list[str]
    crowded: list[str] = []


class Scheduler(Record, frozen=True):
    """Who hands out nodes; the names are those of sbatch's long options."""

    kind: Literal["local", "slurm"] = "local"
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    time: str = ""
    max_nodes: int = 1
    block_nodes: int = 1  # nodes of one pilot job
    poll_s: int = 10  # how often the state of blocks is asked for
    driver_address: str = ""  # of the machine that drives, as the nodes see it; found by itself if empty
    options: list[str] = []


class Site(Record, frozen=True):
    """A cluster or a machine.

    `cores` and `memory_gib` are those of one node; "all" means what the
    machine that reads the file has. `scratch` is a folder for files that may
    be lost; ``${NAME}`` and ``${NAME:-otherwise}`` in it stand for environment
    variables. `environment` is set for every rank, `root_environment` only
    where the user is root.
    """

    name: str
    launcher: Launcher
    title: str = ""
    scheduler: Scheduler = Scheduler()
    cores: int | Literal["all"] = "all"
    memory_gib: float | Literal["all"] = "all"
    scratch: str = "/tmp"
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


def launch_command(site: Site, ranks: int, threads: int, argv: list[str], uid: int | None = None) -> list[str]:
    """Return the words that start `argv` on `ranks` MPI ranks of `threads` threads each.

    The words are complete: they begin with ``env`` and the variables of
    `launch_environment`, so that whoever runs them need not know the site.

    Raises
    ------
    SpecError
        Where ranks or threads are less than one.
    """
    if ranks < 1 or threads < 1:
        raise SpecError(f"found {ranks} ranks of {threads} threads; at least one of each is wanted")
    settings = [f"{name}={value}" for name, value in launch_environment(site, threads, uid).items()]
    words = [word.format(ranks=ranks, threads=threads) for word in site.launcher.command]
    crowded = site.launcher.crowded if ranks * threads > site.core_count else []
    return ["env", *settings, *words, *crowded, *argv]


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
    for word in [*site.launcher.command, *site.launcher.crowded]:
        try:
            word.format(ranks=1, threads=1)
        except (KeyError, IndexError, ValueError) as error:
            raise SpecError(
                f"{path}: key 'launcher.command': found '{word}'; only {{ranks}} and {{threads}} can be filled in"
            ) from error
    if not any("{ranks}" in word for word in site.launcher.command):
        raise SpecError(
            f"{path}: key 'launcher.command': found {site.launcher.command}, wanted a word with {{ranks}}, "
            'as in ["mpiexec", "-n", "{ranks}"]'
        )
    for key, value in (("cores", site.cores), ("memory_gib", site.memory_gib)):
        if value == "all" and site.scheduler.kind != "local":
            raise SpecError(f"{path}: key '{key}': found 'all', wanted the number of one node of the cluster")
        if value != "all" and value <= 0:
            raise SpecError(f"{path}: key '{key}': found {value}, wanted a number above 0, or 'all'")


def _expand(text: str, environ: Mapping[str, str], origin: str) -> str:
    """Fill in ${NAME} and ${NAME:-otherwise}, as a shell would."""

    def value(match: re.Match[str]) -> str:
        name, otherwise = match.group(1), match.group(2)
        found = environ.get(name) or otherwise
        if found is None:
            raise SpecError(f"{origin}: found '{text}', but {name} is not set; set it, or write ${{{name}:-folder}}")
        return found

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", value, text)
