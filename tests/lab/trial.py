"""A small campaign on the lab whose tasks wait at a moment until the test lets them go on."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from pipshpc.digest import content_digest
from pipshpc.drive.course import COMPLETED, FAILED, Course, fold
from pipshpc.drive.journal import Journal
from tests.lab.conftest import ROOT, environment

CAMPAIGN = """
campaign: "{name}"
products: ["rlds", "vap"]
grid: "1deg"
chunk: [30, 60]
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "2019-02-05T00:00:00Z"
forcing: {{kind: "files", paths: ["{forcing}"], downscale: false}}
site: "{site}"
partition: "{partition}"
resources: {resources}
retry: {{exclude_node_s: 20, longest_wait_s: 5}}
output: "{output}"
"""
PILOT = "{ranks: 4, nodes: 2, mode: pilot}"
BLOCKS = 36


@dataclass
class Trial:
    """One campaign of three tasks.

    Parameters
    ----------
    lab : the cluster
    path : campaign file
    output : folder of its products
    holds : folder; the moment in the file of a task, else in ``all``, is where the task waits
    """

    lab: object
    path: Path
    output: Path
    holds: Path
    driver: subprocess.Popen | None = None
    drivers: int = 0
    struck: set[str] = field(default_factory=set)

    @property
    def state(self) -> Path:
        return self.output / ".pipshpc" / self.path.stem

    def course(self) -> Course:
        return fold(Journal(self.state / "journal.jsonl").read())

    def hold(self, moment: str) -> None:
        """From now on, whatever comes to this moment waits there."""
        (self.holds / "all").write_text(moment)

    def release(self, task: str) -> None:
        """Let one task go on, this time and later."""
        (self.holds / task).write_text("go on")

    def release_all(self) -> None:
        for path in self.holds.iterdir():
            path.unlink()

    def start(self) -> None:
        words = [sys.executable, "-m", "pipshpc.cli", "campaign", "drive", str(self.path), "--json"]
        self.drivers += 1
        log = (self.path.parent / f"{self.path.stem}.driver{self.drivers}.log").open("w")
        env = {**environment(self.lab), "PIPSHPC_HOLD": f"@{self.holds}"}
        self.driver = subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)

    def reach(self, moment: str, task: str = "", patience_s: float = 90.0) -> dict:
        """Wait until a task, any that was not struck yet, waits at a moment; return its heartbeat."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            for path in (self.state / "tasks").glob(f"{task or '*'}.progress"):
                try:
                    beat = json.loads(path.read_text())
                except (OSError, ValueError):
                    continue
                fresh = time.time() - beat["time"] < 3.0
                if fresh and beat["stage"] == moment and beat["task"] not in self.struck:
                    self.struck.add(beat["task"])
                    return beat
            assert self.driver.poll() is None, self.said()
            time.sleep(0.1)
        raise AssertionError(f"nothing came to {moment}: {self.said()}")

    def await_loss(self, job: str, patience_s: float = 60.0) -> None:
        """Wait until the driver has heard that a block is over."""
        end = time.monotonic() + patience_s
        while self.course().blocks.get(job, {}).get("state") in (None, "PENDING", "RUNNING", "COMPLETING", "UNKNOWN"):
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)

    def await_end(self, task: str, patience_s: float = 60.0) -> str:
        """Wait until a task is completed or given up; return its state."""
        end = time.monotonic() + patience_s
        while (state := self.course().task(task).state) not in (COMPLETED, FAILED):
            assert time.monotonic() < end, self.said()
            time.sleep(0.2)
        return state

    def causes(self) -> list[str]:
        """Return the causes of the attempts that did not finish."""
        events = Journal(self.state / "journal.jsonl").read()
        return [event["cause"] for event in events if event["event"] == "attempt ended"]

    def said(self) -> str:
        logs = sorted(self.path.parent.glob(f"{self.path.stem}.driver*.log"))
        return "\n".join(log.read_text() for log in logs) + (self.state / "journal.jsonl").read_text()[-3000:]

    def finish(self, patience_s: float = 150.0) -> None:
        """Wait for the driver to end by itself."""
        try:
            self.driver.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def await_driver(self, patience_s: float = 60.0) -> None:
        """Wait until the driver has taken over."""
        end = time.monotonic() + patience_s
        while self.course().drivers < self.drivers:
            assert time.monotonic() < end and self.driver.poll() is None, self.said()
            time.sleep(0.1)

    def kill_driver(self) -> None:
        self.driver.send_signal(signal.SIGKILL)
        self.driver.wait(10)

    def end(self) -> None:
        """Leave nothing running, whatever happened."""
        self.release_all()
        if self.driver is not None and self.driver.poll() is None:
            self.driver.terminate()
            try:
                self.driver.wait(40)
            except subprocess.TimeoutExpired:
                self.driver.kill()
                self.driver.wait(10)

    def digests(self) -> dict[str, str]:
        return {path.name: content_digest(path) for path in sorted(self.output.glob("*.nc"))}

    def check(self, undisturbed: dict[str, str]) -> Course:
        """All is there, as if nothing had happened, and nothing else."""
        assert self.driver.returncode == 0, self.said()
        course = self.course()
        assert course.count(COMPLETED) == 3
        assert self.digests() == undisturbed
        assert not list(self.output.glob("*.part*"))
        for task in course.tasks.values():
            assert task.report.get("blocks_lost", 0) <= 1, self.said()
        return course


def make_trial(lab, base, name, *, output=None, site="lab", partition="", resources=PILOT, forcing="era.nc"):
    """Write the campaign of a trial into `base`."""
    path, output = base / f"{name}.yaml", output or base / name
    path.write_text(
        CAMPAIGN.format(
            name=name, site=site, partition=partition, resources=resources, output=output, forcing=base / forcing
        )
    )
    holds = base / f"{name}.holds"
    holds.mkdir()
    return Trial(lab, path, output, holds)
