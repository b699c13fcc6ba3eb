"""Examine a machine: what pipshpc needs, whether it works here, and what to do where it does not.

Whatever may hang or crash (MPI, locks of a network file system, kernels built
for another processor) runs in a process of its own with a time limit.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import psutil

from pipshpc.errors import PipshpcError
from pipshpc.findings import Finding, State, check_modules, check_stack
from pipshpc.site import GIB, Site, count_cores, launch_command, load_site

SPACE_NEEDED_GIB, SPACE_WANTED_GIB = 1, 10  # a day of two global 5 km products is 0.6 GiB
MEMORY_PER_CORE_GIB = 1.0
SHARED_MEMORY_MIB = 256  # ranks of a node keep one copy of the forcing
SETUP = "make setup"
PACKAGES = ("numpy", "h5py", "mpi4py", "netCDF4", "eccodes", "parsl")


class Outcome(NamedTuple):
    """How a process ended; `code` is None where it was stopped at its time limit."""

    code: int | None
    text: str

    @property
    def last_line(self) -> str:
        """The last line that says something, or how the process ended."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip(" -")]
        return lines[-1] if lines else f"exit code {self.code}"


def examine(paths: Sequence[str | Path] = (), site: Site | None = None) -> list[Finding]:
    """Look at everything, in the order in which it is needed.

    Parameters
    ----------
    paths : folders that will hold inputs or products, looked at for space,
        locks and parallel writing; the present folder if none is given
    site : how ranks are started; ``local`` if not given

    Returns
    -------
    list of Finding
        Always complete: a check that breaks is a finding too. It takes a few
        seconds, and a few minutes at worst, where everything hangs.
    """
    chosen = site if site is not None else load_site("local")
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", check_python),
        ("kernels", check_kernels),
        ("mpi", lambda: check_mpi(chosen)),
        ("cores", check_cores),
        ("memory", check_memory),
        ("shared memory", check_shared_memory),
    ]
    for path in [Path(p) for p in paths] or [Path.cwd()]:
        checks += [
            (f"space {path}", lambda path=path: check_space(path)),  # type: ignore[misc]
            (f"locking {path}", lambda path=path: check_locking(path)),  # type: ignore[misc]
            (f"parallel hdf5 {path}", lambda path=path: check_parallel_hdf5(chosen, path)),  # type: ignore[misc]
        ]
    checks += [
        ("static data", check_statics),
        ("slurm", check_slurm),
        ("modules", check_modules),
        ("stack", check_stack),
        ("cdo", lambda: check_tool("cdo", ["cdo", "--version"], "cdo")),
        ("gdal", lambda: check_tool("gdal", ["gdalinfo", "--version"], "gdal-bin")),
    ]
    findings = []
    for name, check in checks:
        try:
            findings.append(check())
        except (OSError, ValueError, PipshpcError) as error:
            findings.append(Finding(name=name, state="fail", found=f"the check broke: {error}", action=SETUP))
    return findings


def check_python() -> Finding:
    """Look for the packages without which nothing runs."""
    versions, missing = [], []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Finding(name="python", state="fail", found=f"{sys.executable} lacks {', '.join(missing)}", action=SETUP)
    return Finding(name="python", state="ok", found=f"{platform.python_version()}, {', '.join(versions)}")


def check_kernels() -> Finding:
    """Load the compiled kernels and work all examples of the product cards."""
    outcome = run(trial("kernels"), 60)
    if outcome.code == -signal.SIGILL:
        return Finding(
            name="kernels",
            state="fail",
            found="illegal instruction: the kernels were built for another processor",
            action=f"{SETUP} PIPSHPC_MARCH=x86-64-v3 (or build on a machine like this one)",
        )
    if outcome.code != 0:
        return Finding(name="kernels", state="fail", found=_stopped(outcome, 60), action=SETUP)
    facts = json.loads(outcome.last_line)
    if facts["wrong"]:
        return Finding(
            name="kernels", state="fail", found="; ".join(facts["wrong"]), action=f"make clean && {SETUP}, then tell us"
        )
    return Finding(
        name="kernels", state="ok", found=f"{facts['examples']} worked examples of {facts['products']} products agree"
    )


def check_mpi(site: Site) -> Finding:
    """Start two ranks as the site does."""
    outcome = run(launch_command(site, 2, 1, trial("ranks")), 30)
    return judge_mpi(outcome, site.launcher.command[0])


def judge_mpi(outcome: Outcome, launcher: str) -> Finding:
    """Read what the two ranks said."""
    if outcome.code == 0:
        facts = json.loads(outcome.last_line)
        library = facts["library"]
        if (facts["ranks"], facts["sum"]) == (2, 3):
            return Finding(name="mpi", state="ok", found=f"2 ranks by {launcher}, {library}")
        found = f"{launcher} starts ranks, but each is alone: mpi4py uses another MPI ({library}) than {launcher}"
        return Finding(name="mpi", state="fail", found=found, action=f"load one MPI, then make clean && {SETUP}")
    if shutil.which(launcher) is None:
        found, action = (
            f"no {launcher} on the PATH",
            f"apt-get install openmpi-bin, or module load openmpi; then {SETUP}",
        )
    else:
        found, action = (
            f"2 ranks by {launcher}: {_stopped(outcome, 30)}",
            f"try '{launcher} -n 2 hostname'; on a login node, try on a compute node",
        )
    return Finding(name="mpi", state="fail", found=found, action=action)


def check_cores() -> Finding:
    """Count the cores that may be used, and a container's limit on them."""
    cores, total = count_cores(), os.cpu_count() or 1
    limit = _cgroup("cpu.max").split()
    if len(limit) == 2 and limit[0] != "max" and int(limit[0]) < cores * int(limit[1]):
        share = int(limit[0]) / int(limit[1])
        found = f"{cores} cores, but this container gets the time of {share:.1f}"
        return Finding(name="cores", state="warn", found=found, action=f"use at most {max(1, int(share))} ranks")
    return Finding(name="cores", state="ok", found=f"{cores} of {total}")


def check_memory() -> Finding:
    """Compare free memory with what a rank on every core needs."""
    memory = psutil.virtual_memory()
    limit = _cgroup("memory.max")
    free = min(memory.available, int(limit)) if limit.isdigit() else memory.available
    found = f"{free / GIB:.1f} GiB of {memory.total / GIB:.1f} GiB can be used"
    ranks = int(free / GIB / MEMORY_PER_CORE_GIB)
    if ranks < count_cores():
        state: State = "warn" if ranks else "fail"
        return Finding(
            name="memory", state=state, found=found, action=f"use at most {max(1, ranks)} ranks, of 1 GiB each"
        )
    return Finding(name="memory", state="ok", found=found)


def check_shared_memory() -> Finding:
    """Look at the room for what the ranks of a node share."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding(name="shared memory", state="warn", found="no /dev/shm; MPI falls back to files in /tmp")
    free = shutil.disk_usage(folder).free >> 20
    found = f"{free} MiB free in /dev/shm"
    if free < SHARED_MEMORY_MIB:
        action = (
            f"give it {SHARED_MEMORY_MIB} MiB or more (mount -o remount,size=1G /dev/shm; in a container --shm-size=1g)"
        )
        return Finding(name="shared memory", state="warn", found=found, action=action)
    return Finding(name="shared memory", state="ok", found=found)


def check_space(path: Path) -> Finding:
    """Look at the free space, and at whether files can be made."""
    name, folder = f"space {path}", _existing(path)
    space, kind = shutil.disk_usage(folder), _file_system(folder)
    free = space.free / GIB
    found = f"{free:.1f} GiB free of {space.total / GIB:.1f} GiB, {kind}"
    other = "free some space, or name another folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(name=name, state="fail", found=f"{folder} cannot be written to", action="name another folder")
    if free < SPACE_NEEDED_GIB or os.statvfs(folder).f_favail == 0 < os.statvfs(folder).f_files:
        return Finding(name=name, state="fail", found=found, action=other)
    return Finding(
        name=name,
        state="ok" if free >= SPACE_WANTED_GIB else "warn",
        found=found,
        action="" if free >= SPACE_WANTED_GIB else other,
    )


def check_locking(path: Path) -> Finding:
    """Try the locks of the file system, and what HDF5 makes of them."""
    with _probe_folder(path) as folder:
        outcome = run(trial("locks", folder), 20)
    return judge_locking(outcome, path, _file_system(_existing(path)), os.environ.get("HDF5_USE_FILE_LOCKING"))


def judge_locking(outcome: Outcome, path: Path, kind: str, setting: str | None) -> Finding:
    """Read what the locks said; `setting` is HDF5_USE_FILE_LOCKING."""
    name = f"locking {path}"
    reading = "to read HDF5 files here: export HDF5_USE_FILE_LOCKING=FALSE"
    elsewhere = "put products on a file system with locks (Lustre: mount with -o flock)"
    if outcome.code is None:
        found = f"no answer to a lock in 20 s ({kind}): the lock service does not run"
        return Finding(name=name, state="fail", found=found, action=f"{elsewhere}; {reading}")
    if outcome.code != 0:
        return Finding(name=name, state="fail", found=_stopped(outcome, 20), action="name another folder")
    answers = json.loads(outcome.last_line)
    broken = [f"{lock}: {answer}" for lock, answer in answers.items() if answer]
    note = f", HDF5_USE_FILE_LOCKING={setting}" if setting else ""
    if not broken:
        return Finding(name=name, state="ok", found=f"flock, fcntl and HDF5 work ({kind}{note})")
    found = f"{'; '.join(broken)} ({kind}{note})"
    if answers["flock"] or answers["hdf5"]:
        return Finding(name=name, state="fail", found=found, action=f"{elsewhere}; {reading}")
    return Finding(name=name, state="warn", found=found, action="nothing for pipshpc, which takes flock")


def check_parallel_hdf5(site: Site, path: Path) -> Finding:
    """Let two ranks write one compressed file together and read each other's part."""
    name = f"parallel hdf5 {path}"
    with _probe_folder(path) as folder:
        outcome = run(launch_command(site, 2, 1, trial("parallel-hdf5", folder)), 60)
    if outcome.code == 0:
        found = f"2 ranks wrote and read one file, HDF5 {json.loads(outcome.last_line)['hdf5']}"
        return Finding(name=name, state="ok", found=found)
    if "without MPI" in outcome.text:
        action = "apt-get install libhdf5-openmpi-dev, or module load a parallel hdf5; then make clean setup"
        return Finding(name=name, state="fail", found="h5py was built without MPI", action=action)
    # The reason is in the first rank's error, ahead of what the launcher says about it.
    errors = [line.strip() for line in outcome.text.splitlines() if "Error" in line]
    found = errors[0] if errors and outcome.code is not None else _stopped(outcome, 60)
    return Finding(name=name, state="fail", found=found, action="if 'mpi' above is well, name another folder")


def check_statics() -> Finding:
    """Open each static field."""
    fetch = "python -m pipshpc.statics fetch"
    outcome = run(trial("statics"), 30)
    if outcome.code != 0:
        return Finding(name="static data", state="fail", found=_stopped(outcome, 30), action=fetch)
    facts = json.loads(outcome.last_line)
    if facts["missing"]:
        return Finding(name="static data", state="fail", found="; ".join(facts["missing"]), action=fetch)
    return Finding(name="static data", state="ok", found=", ".join(facts["there"]))


def check_slurm() -> Finding:
    """Look for srun and its PMIx plug-in, by which Open MPI starts under Slurm."""
    warn = functools.partial(Finding, name="slurm", state="warn")
    if shutil.which("srun") is None:
        action = "on a cluster, log in where Slurm is installed; to try one here: pipshpc lab up"
        return warn(found="no srun: jobs run on this machine only", action=action)
    outcome = run(["srun", "--mpi=list"], 10)
    if outcome.code == 0 and "pmix" in outcome.text:
        return Finding(name="slurm", state="ok", found=f"{run(['srun', '--version'], 10).last_line}, with PMIx")
    if "configuration source" in outcome.text:
        action = "on a cluster's machine, set SLURM_CONF; to try one here: pipshpc lab up"
        return warn(found="srun is here, but belongs to no cluster (no slurm.conf)", action=action)
    found = f"srun without PMIx: {_stopped(outcome, 10) if outcome.code else ' '.join(outcome.text.split())}"
    action = "ask for Slurm's PMIx plug-in (Debian: slurm-wlm-basic-plugins, libpmix2), or start ranks with mpiexec"
    return warn(found=found, action=action)


def check_tool(name: str, argv: list[str], package: str) -> Finding:
    """Look for an optional program."""
    if shutil.which(argv[0]) is None:
        action = f"only tests and benchmarks use it: apt-get install {package}"
        return Finding(name=name, state="warn", found=f"no {argv[0]} on the PATH", action=action)
    outcome = run(argv, 10)
    if outcome.code != 0:
        return Finding(
            name=name, state="warn", found=_stopped(outcome, 10), action=f"apt-get install --reinstall {package}"
        )
    return Finding(name=name, state="ok", found=outcome.text.strip().splitlines()[0])


def trial(name: str, *arguments: object) -> list[str]:
    """Return the words that run a trial of `pipshpc.probe`."""
    return [sys.executable, "-m", "pipshpc.probe", name, *map(str, arguments)]


def run(argv: list[str], timeout: float) -> Outcome:
    """Run a program for at most `timeout` seconds, together with all that it starts."""
    environment = dict(os.environ)
    source = str(Path(__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([source, *filter(None, [environment.get("PYTHONPATH")])])
    with tempfile.TemporaryFile() as said:
        # Into a file, not a pipe: a process that cannot be ended would hold a pipe open for ever.
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True
            )
        except OSError as error:
            return Outcome(127, f"{argv[0]}: {error.strerror}")
        code: int | None
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
            _end(process)
        said.seek(0)
        return Outcome(code, said.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process group: asked first, so that mpiexec can end its ranks, then forced."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, order)
            process.wait(2)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _stopped(outcome: Outcome, limit: float) -> str:
    return f"no answer in {limit:.0f} s" if outcome.code is None else outcome.last_line


def _cgroup(name: str) -> str:
    """Return a limit of this process's container, or nothing."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _existing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that is there."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if p.is_dir())


@contextmanager
def _probe_folder(path: Path) -> Iterator[Path]:
    """Make a folder for trial files, and remove it whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix=".pipshpc-doctor-", dir=_existing(path)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`."""
    mounts = [p for p in psutil.disk_partitions(all=True) if folder.is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else "unknown file system"
