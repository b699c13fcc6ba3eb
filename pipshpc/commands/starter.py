"""How a driver is started so that it outlives whoever starts it: detached on this machine, or as a small Slurm job."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pipshpc.campaign import Campaign, load_campaign
from pipshpc.drive.software import path_lines, pinned_stack, python_of, stated_stack
from pipshpc.drive.takeover import driver_alive
from pipshpc.errors import OutputError, SiteError
from pipshpc.site import Site, list_sites, load_site
from pipshpc.slurm import Cluster, Job, Silence, poll, sbatch_text, submit
from pipshpc.view.accounts import parse_time
from pipshpc.view.overview import Place, read_lines

WARNING_S = 90  # before the end of its walltime a driver's job is told
LONGEST_START_S = 20.0  # until a detached driver has begun


@dataclass(frozen=True)
class Started:
    """What became of the wish for a driver.

    `how` is "detached", "job", or "alive", "queued" where there is one already; `number` is the process or the job.
    """

    how: str
    number: str
    changed: bool  # whether the campaign is another than the one submitted before
    text: str


def stage(place: Place) -> bool:
    """Copy the campaign file to the state folder, with all paths absolute; say whether it changed.

    A driver may start in any folder and without the environment of the one who submits.

    Raises
    ------
    SpecError
        Where the file is faulty.
    OutputError
        Where the state folder cannot be written.
    """
    if place.file is None:
        load_campaign(place.copy)
        return False
    campaign = load_campaign(place.file)
    text = absolute_text(campaign, place)
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        before = place.copy.read_text(encoding="utf-8") if place.copy.is_file() else ""
        if before != text:
            _replace(place.copy, text)
        origin = read_origin(place.folder)
        if before != text or not origin:
            born = origin.get("born") or str(time.time_ns())
            facts = {"file": str(place.file), "cwd": str(Path.cwd()), "born": born}
            _replace(place.folder / "origin.json", json.dumps(facts) + "\n")
    except OSError as error:
        raise OutputError(
            f"{place.folder}: cannot be written ({error.strerror}); name another 'output' in {place.file}"
        ) from error
    return before != text


def read_origin(folder: Path) -> dict[str, str]:
    """Return where a campaign came from: its file, the folder it was submitted in, when its state folder was made."""
    try:
        found = json.loads((folder / "origin.json").read_text())
        return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def is_changed(place: Place) -> bool:
    """Say whether the campaign file is another than the one that was submitted."""
    if place.file is None or not place.copy.is_file():
        return False
    return absolute_text(load_campaign(place.file), place) != place.copy.read_text(encoding="utf-8")


def absolute_text(campaign: Campaign, place: Place) -> str:
    """Return a campaign as YAML in which nothing depends on the present folder or environment."""
    import yaml

    assert place.file is not None
    base = place.file.parent
    plain: dict[str, Any] = msgspec.to_builtins(campaign)
    plain["forcing"]["paths"] = [str(base / p) for p in campaign.forcing.paths]
    plain["output"] = str(place.folder.parent.parent)
    plain["site"] = _absolute_site(campaign.site, place)
    head = f"# What the driver runs: {place.file} as submitted, with absolute paths. Change that, not this.\n"
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)
    return head + text


def _absolute_site(site: str, place: Place) -> str:
    """Return the path of a site's file: seen from here, or from where the campaign was submitted."""
    if not site.endswith((".yaml", ".yml")) and os.sep not in site:
        known = list_sites().get(site)
        return str(known.absolute()) if known else site
    bases = [Path.cwd(), Path(read_origin(place.folder).get("cwd", "."))]
    return str(next((base / site for base in bases if (base / site).is_file()), Path(site).absolute()))


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def drive_command(place: Place, stack: str = "") -> list[str]:
    """Return the words that run a driver in the foreground, by the Python of a stack where one is loaded."""
    return [python_of(stack), "-m", "pipshpc", "campaign", "drive", str(place.folder)]


def start_driver(place: Place, by: str, here: bool = False) -> Started:
    """See to it that a driver works on a campaign, now or as soon as Slurm gives it a core.

    Parameters
    ----------
    place : the campaign
    by : who asks, for the journal
    here : detached on this machine, also where the site is a cluster

    Raises
    ------
    PipshpcError
        For a faulty campaign; where Slurm refuses the job or does not answer.
    """
    changed = stage(place)
    site = load_site(load_campaign(place.copy).site)
    if driver_alive(place.folder):
        if changed:
            place.journal.write("replan", by=by)
        said = "it will plan anew, as the campaign file changed" if changed else "nothing to start"
        return Started("alive", "", changed, f"a driver is at work already; {said}")
    if site.scheduler.kind == "slurm" and not here:
        return _start_job(place, site, changed, by)
    return _start_detached(place, changed, by)


def _start_detached(place: Place, changed: bool, by: str) -> Started:
    """Start a driver in a session of its own, and wait until it holds the lock or is over."""
    log = place.folder / "driver.log"
    environment = {**os.environ, "PYTHONPATH": _python_path()}
    with log.open("ab") as handle:
        process = subprocess.Popen(
            drive_command(place),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
            env=environment,
            cwd=place.folder,
        )
    place.journal.write("driver wanted", how="detached", number=process.pid, by=by)
    deadline = time.monotonic() + LONGEST_START_S
    while time.monotonic() < deadline and not driver_alive(place.folder):
        code = process.poll()
        if code == 0:
            break
        if code is not None:
            raise SiteError(f"the driver ended at once (exit code {code}): {_last_error(log)}")
        time.sleep(0.05)
    text = f"driver started as process {process.pid}; what it says goes to {log}"
    return Started("detached", str(process.pid), changed, text)


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"see {log}"


def driver_job(place: Place, site: Site, number: int, stack: str = "") -> tuple[str, str]:
    """Return the batch script of a driver, and its exactly-once key.

    `number` counts the jobs that were meant to be: a lost answer leads to the same key again, a new wish to the next.
    """
    own = site.scheduler.driver
    job = Job(
        command=drive_command(place, stack),
        name="pipshpc-driver",
        nodes=1,
        cpus_per_task=own.cores,
        mem=f"{own.memory_mib}M",
        time=own.time,
        partition=own.partition,
        qos=own.qos,
        comment=job_key(place, number),
        # The driver has itself queued again before its time is up.
        signal=f"B:USR1@{WARNING_S}",
        requeue=True,
        output=str(place.folder / "driver.log"),
        modules=[stack] if stack else [],
        environment={} if stack else {"PYTHONPATH": _python_path()},
        setup=[*([path_lines(stack)] if stack else []), f"cd {_quoted(place.folder)}"],
        launch=False,
    )
    return sbatch_text(site, job), job.comment


def job_key(place: Place, number: int) -> str:
    """Return the key of a driver's job.

    A campaign is its state folder: two of one name are two, and one whose folder was removed begins anew.
    """
    born = read_origin(place.folder).get("born", "")
    digest = hashlib.sha256(f"{place.folder} {born}".encode()).hexdigest()[:12]
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in place.folder.name)[:80]
    return f"pipshpc.drive.driver:{name}:{digest}:{number}"


def _start_job(place: Place, site: Site, changed: bool, by: str) -> Started:
    """Submit the driver as a job, unless one of it is waiting or running."""
    cluster = Cluster(name=site.scheduler.cluster)
    events = read_lines(place.folder / "journal.jsonl")
    wanted = [e for e in events if e.get("event") == "driver wanted"]
    jobs = [str(e["number"]) for e in wanted if e.get("how") == "job"]
    if jobs:
        state = poll(cluster, jobs[-1:])[jobs[-1]]
        # Squeue answered and does not know it: it is over, or was never there.
        gone = state.ended or re.search(r"neither squeue nor sacct|squeue does not know", state.reason)
        if state.state == "UNKNOWN" and not gone:
            raise Silence(f"whether the driver's job {jobs[-1]} lives is not known: {state.reason}; try again")
        if not gone:
            if changed:
                place.journal.write("replan", by=by)
            text = f"the driver is job {jobs[-1]} already ({state.state}{_because(state.reason)})"
            return Started("queued", jobs[-1], changed, text)
    pinned = {str(e["stated"]): str(e["module"]) for e in events if e.get("event") == "stack"}
    stack = pinned_stack(stated_stack(load_campaign(place.copy), site), site, pinned)
    text, key = driver_job(place, site, len(jobs) + 1, stack)
    job = submit(cluster, text, key)
    place.journal.write("driver wanted", how="job", number=job, by=by)
    said = f"driver submitted as job {job}; what it says goes to {place.folder / 'driver.log'}"
    return Started("job", job, changed, said)


def driver_jobs(place: Place) -> list[str]:
    """Return the ids of the jobs of this campaign's driver that the journal names."""
    events = read_lines(place.folder / "journal.jsonl")
    return [str(e["number"]) for e in events if e.get("event") == "driver wanted" and e.get("how") == "job"]


def requeue_own_job(environ: Mapping[str, str] = os.environ, cluster: Cluster | None = None) -> bool:
    """Have Slurm queue the job that this process is in again, where its time is nearly up; say whether it took it.

    A driver that a person ends stays ended: its job is then no longer RUNNING.
    """
    job, cluster = environ.get("SLURM_JOB_ID", ""), cluster or Cluster()
    if not job:
        return False
    try:
        said = cluster.ask("squeue", "--noheader", f"--jobs={job}", "--format=%T|%L").strip()
        state, _, left = said.partition("|")
        # Less than a minute is written as 0:59, an endless job as UNLIMITED.
        seconds = parse_time(left)
        if state != "RUNNING" or seconds is None or seconds > 3 * WARNING_S:
            return False
        cluster.ask("scontrol", "requeue", job)
    except SiteError:
        return False
    return True


def _because(reason: str) -> str:
    return f", {reason}" if reason else ""


def _python_path() -> str:
    """Return PYTHONPATH with this package in it, wherever the driver starts."""
    here = str(Path(__file__).parents[2])
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != here]
    return os.pathsep.join([here, *others])


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


__all__ = ["Started", "drive_command", "driver_job", "stage", "start_driver"]
