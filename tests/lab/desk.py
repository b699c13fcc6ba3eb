"""An operator at a desk: a campaign in a folder that all nodes see, and the command line to live with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipshpc.drive.course import Course, fold
from pipshpc.drive.takeover import driver_alive
from pipshpc.view.overview import read_lines
from tests.lab.conftest import ROOT, call, environment

CAMPAIGN = """campaign: "desk"
products: ["rlds"]
grid: "1deg"
chunk: [60, 120]
period: "3h"
start: "2006-04-01T00:00:00Z"
end: "2006-04-{end:02d}T00:00:00Z"
forcing: {{kind: "idealised", downscale: false}}
site: "{site}"
resources: {{ranks: 2, tasks_per_launch: 1}}
output: "out"
"""


class Desk:
    """One campaign and what an operator does with it.

    Parameters
    ----------
    lab : the cluster
    folder : where the operator sits; all nodes see it
    """

    def __init__(self, lab: object, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.file = folder / "desk.yaml"
        self.state = folder / "out" / ".pipshpc" / "desk"
        self.holds = folder / "holds"
        self.holds.mkdir(parents=True)
        self.settings = {
            **environment(lab),
            "PYTHONPATH": str(ROOT),
            "PIPSHPC_HOLD": f"@{self.holds}",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }

    def write(self, end: int, site: str = "lab", text: str = CAMPAIGN) -> None:
        self.file.write_text(text.format(end=end, site=site))

    def close(self) -> None:
        """Leave nothing running, whatever happened."""
        self.hold("go on")
        for job in {e["number"] for e in self.events("driver wanted") if e["how"] == "job"}:
            call(self.lab, "scancel", "--quiet", job)
        if driver_alive(self.state) and not self.course().driver.host.startswith("lab"):
            os.kill(self.course().driver.pid, signal.SIGTERM)
            self.wait(lambda: not driver_alive(self.state), 40)
        shutil.rmtree(self.folder, ignore_errors=True)

    def say(self, *words: str, path: str = "") -> str:
        """Run a command and return what it wrote."""
        settings = {**self.settings, "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]}
        done = subprocess.run(
            [sys.executable, "-m", "pipshpc", *words],
            cwd=self.folder, env=settings, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}{done.stdout}{self.told()}"
        return done.stdout

    def ask(self, *words: str) -> dict:
        return json.loads(self.say(*words, "--json"))

    def hold(self, moment: str, task: str = "all") -> None:
        """Let what comes to a moment wait there; "go on" lets it go on."""
        (self.holds / task).write_text(moment)

    def events(self, kind: str) -> list[dict]:
        return [e for e in read_lines(self.state / "journal.jsonl") if e["event"] == kind]

    def course(self) -> Course:
        return fold(read_lines(self.state / "journal.jsonl"))

    def wait(self, what: object, patience_s: float = 60.0) -> object:
        """Wait until `what()` is true, and return it."""
        end = time.monotonic() + patience_s
        while not (found := what()):
            assert time.monotonic() < end, self.told()
            time.sleep(0.2)
        return found

    def beats(self, stage: str) -> list[dict]:
        """Return the heartbeats of tasks that are in a stage."""
        found = []
        for path in sorted((self.state / "tasks").glob("*.progress")):
            try:
                beat = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if beat["stage"] == stage and time.time() - beat["time"] < 3.0:
                found.append(beat)
        return found

    def told(self) -> str:
        """Return what driver and journal said last, for a test that fails."""
        files = [self.state / "driver.log", self.state / "journal.jsonl"]
        return "\n".join(p.read_text()[-3000:] for p in files if p.exists()) + call(self.lab, "squeue")
