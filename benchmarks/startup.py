"""Starting ranks from the shared tree of a stack and from a copy on the nodes: questions to the file system, seconds.

On one machine with one page cache the seconds cannot show the storm of
questions that thousands of ranks are to a parallel file system; the number of
questions can. So both are measured, on the virtual cluster.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import msgspec

from benchmarks.measure import Section, Settings
from pipshpc.cache import cache_folder
from pipshpc.campaign import Campaign
from pipshpc.errors import PipshpcError
from pipshpc.forcing import Forcing
from pipshpc.lab.cluster import lab_environment, start_lab, stop_lab
from pipshpc.lab.layout import Layout
from pipshpc.lab.stack import OwnStack, own_stack
from pipshpc.notes import Report
from pipshpc.plan import plan
from pipshpc.site import Site, launch_command, load_site
from pipshpc.slurm import Job, sbatch_text
from pipshpc.stack.staging import image_folder, pack
from pipshpc.survey import survey
from pipshpc.task import write_task

NODES, RANKS = 4, (8, 16, 32)
LOCAL = "/tmp"  # each node of the lab has one of its own
WAYS = {"shared tree": "", "local copy": LOCAL}
LEAST_RATIO = 10.0  # of the questions asked
SLOWER = 1.05  # a start that takes 5 % longer is as quick
PATH = re.compile(r'"(/[^"]*)"|<(/[^>]*)>')


def measure(settings: Settings) -> Section:
    """Start 8, 16 and 32 ranks in both ways."""
    section = Section("startup", f"From srun to the first block, {NODES} virtual nodes on {os.cpu_count()} cores")
    folder = _seen_by_nodes(settings.folder) / "startup"
    shutil.rmtree(folder / "runs", ignore_errors=True)
    try:
        layout = Layout(
            folder=str(folder / "lab"), nodes=NODES, cpus=max(RANKS) // NODES, memory_mib=16000, accounting=False
        )
        start_lab(layout, layout.path)
    except PipshpcError as error:
        section.notes.append(f"not measured: {error}")
        return section
    try:
        _measure(section, settings, layout, folder / "runs")
    finally:
        stop_lab(layout.path, purge=True)
    return section


def _seen_by_nodes(folder: Path) -> Path:
    """Return a folder that the virtual nodes see too: each has a /tmp of its own."""
    return Path(__file__).parents[1] / "build" if folder.resolve().is_relative_to(LOCAL) else folder


def _measure(section: Section, settings: Settings, layout: Layout, folder: Path) -> None:
    environ = {**os.environ, **lab_environment(layout)}
    stack = own_stack()
    begin = time.perf_counter()
    image = pack(stack.prefix, image_folder(stack.modulepath, stack.module))
    section.add("packing the stack", [time.perf_counter() - begin], "s", f"{image.size >> 20} MiB, {image.file}")
    site = load_site(layout.sites / "lab.yaml")
    trace = shutil.which("strace") is not None
    if not trace:
        section.notes.append("strace is not installed: questions were not counted")
    for ranks in RANKS[: 1 if settings.quick else None]:
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for repeat in range(settings.times(3)):
            for way in WAYS:
                run = Run(site, stack, ranks, folder / f"{ranks}-{way.partition(' ')[0]}-{repeat}", environ)
                run.go(WAYS[way], starts=2 if settings.quick else 3, trace=False)
                seconds[way] += run.seconds()
                if WAYS[way]:
                    section.add(f"{ranks} ranks, bringing the copy, job {repeat + 1}", [run.staging_s()], "s")
        middle = {way: section.add(f"{ranks} ranks, {way}, start", seconds[way], "s") for way in WAYS}
        section.judge(
            f"start of {ranks} ranks, local copy to shared tree",
            middle["local copy"] / middle["shared tree"],
            SLOWER,
            False,
        )
        if trace:
            _count(section, site, stack, ranks, folder, environ)
    _notes(section)


def _count(section: Section, site: Site, stack: OwnStack, ranks: int, folder: Path, environ: dict[str, str]) -> None:
    asked = {}
    for way in WAYS:
        run = Run(site, stack, ranks, folder / f"{ranks}-{way.partition(' ')[0]}-trace", environ)
        run.go(WAYS[way], starts=1, trace=True)
        counts = run.questions()
        asked[way] = section.add(
            f"{ranks} ranks, {way}, on shared storage", [c["shared"] for c in counts], "calls/rank"
        )
        section.add(f"{ranks} ranks, {way}, of these for the stack", [c["stack"] for c in counts], "calls/rank")
    ratio = asked["shared tree"] / max(1.0, asked["local copy"])
    section.judge(f"calls on shared storage, {ranks} ranks, shared tree to local copy", ratio, LEAST_RATIO)


def _notes(section: Section) -> None:
    section.notes += [
        "calls/rank: open, stat, access, readlink, getdents and the like whose path is on shared storage (stack, "
        "static fields, task and product), by strace, "
        "from the start of Python to its end; failed ones too.",
        "A local copy costs each node the reading of two small files, and the job one reading of the image.",
        "Seconds: srun to first block; all ranks share the cores of one machine, and its page cache holds all files.",
    ]


class Run:
    """One job that starts a small task several times.

    Parameters
    ----------
    site, stack : where, with what
    ranks : MPI ranks over all nodes
    folder : of this run; all nodes see it
    environ : by which commands find the lab
    """

    def __init__(self, site: Site, stack: OwnStack, ranks: int, folder: Path, environ: dict[str, str]) -> None:
        self.site, self.stack, self.ranks, self.folder, self.environ = site, stack, ranks, folder, environ
        folder.mkdir(parents=True)

    def go(self, local: str, starts: int, trace: bool) -> None:
        """Submit the job and wait for its end.

        Raises
        ------
        RuntimeError
            It failed, or had no copy of its own; with what it said.
        """
        site = msgspec.structs.replace(self.site, node_local=local, stack="")
        lines = ["set -e", f"date +%s.%N >{self.folder}/begin"]
        for number in range(starts):
            argv = ["python3", "-m", "pipshpc.run", str(self._task(number)), "--notes"]
            if trace:
                # With --seccomp-bpf the ranks' waiting loops, which are calls of other kinds, are not slowed down.
                asked = "-e trace=%file,getdents64"
                calls = f'exec strace -f --seccomp-bpf -qq -y {asked} -o {self.folder}/trace.$SLURM_PROCID "$@"'
                argv = ["bash", "-c", calls, "trace", *argv]
            words = launch_command(site, self.ranks, 1, argv, nodes=NODES)
            lines += ["export PIPSHPC_LAUNCHED=$(date +%s.%N)", shlex.join(words)]
        lines.append(f"date +%s.%N >{self.folder}/end")
        script = self.folder / "starts.sh"
        script.write_text("\n".join(lines) + "\n")
        job = Job(
            command=["bash", str(script)],
            name="startup",
            nodes=NODES,
            ntasks=self.ranks,
            ntasks_per_node=self.ranks // NODES,
            output=str(self.folder / "job.log"),
            modules=[self.stack.module],
            options=["--exclusive"],
            # Ranks that wait shall leave the few cores to those that start.
            setup=["unset PYTHONPATH; export PYTHONSAFEPATH=1 OMPI_MCA_mpi_yield_when_idle=1"],
            launch=False,
        )
        text = sbatch_text(site, job)
        begin = text.replace("\nset -e\n", f"\nset -e\ndate +%s.%N >{self.folder}/job\n", 1)
        (self.folder / "job.sbatch").write_text(begin)
        number = self._call("sbatch", "--parsable", str(self.folder / "job.sbatch"))
        while self._call("squeue", "--noheader", f"--jobs={number}"):
            time.sleep(0.5)
        said = (self.folder / "job.log").read_text()
        # A warning: the copy did not arrive, and the shared tree was used.
        if "warning: " in said or not (self.folder / "end").exists():
            raise RuntimeError(said)

    def _call(self, *words: str) -> str:
        done = subprocess.run(words, env=self.environ, cwd="/", capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _task(self, number: int) -> Path:
        path = self.folder / str(number) / "task.json"
        path.parent.mkdir()
        campaign = Campaign(
            campaign="start",
            products=["rlds"],
            grid="1deg",
            chunk=[30, 60],
            period="3h",
            start="2006-04-01T00:00:00Z",
            end="2006-04-02T00:00:00Z",
            forcing=Forcing(kind="idealised", downscale=False),
            output=str(path.parent),
        )
        write_task(plan(campaign, survey(campaign, path.parent))[0], path)
        return path

    def seconds(self) -> list[float]:
        """Return the seconds of each start, from srun to the first block."""
        paths = sorted(self.folder.glob("*/task.report"))
        return [msgspec.json.decode(path.read_bytes(), type=Report).startup_s for path in paths]

    def staging_s(self) -> float:
        """Return the seconds that the job spent before its first start: module and copy."""
        return float((self.folder / "begin").read_text()) - float((self.folder / "job").read_text())

    def questions(self) -> list[Counter[str]]:
        """Return for each rank how many calls asked shared storage, and how many of them for the stack."""
        stack, shared = str(self.stack.modulepath.parent), (str(cache_folder()), str(self.folder))
        counts = []
        for path in sorted(self.folder.glob("trace.*")):
            count: Counter[str] = Counter()
            for line in path.read_text(errors="replace").splitlines():
                match = PATH.search(line)
                named = (match.group(1) or match.group(2)) if match else ""
                count["stack"] += named.startswith(stack)
                count["shared"] += named.startswith(shared)
            counts.append(count)
        return counts
