"""An engine whose launches are played by functions in threads of this process; all files are real."""

import json
import threading
import time
from concurrent.futures import Future
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

from pipshpc.catalogue import item_path
from pipshpc.drive.diary import Diary
from pipshpc.drive.driver import Desk, Driver, Status
from pipshpc.drive.journal import Journal
from pipshpc.drive.prepare import prepare, write_plan
from pipshpc.notes import Beat, Failure, Report, note_path, write_note
from pipshpc.task import read_task
from tests.mpi.conftest import write_forcing

CAMPAIGN = """campaign: "play"
products: ["rlds", "vap"]
grid: "20deg"
period: "3h"
start: "2019-02-02T00:00:00Z"
end: "{end}"
forcing: {{kind: "files", paths: ["era.nc"], downscale: false}}
site: "{site}"
retry: {{{retry}}}
resources: {{ranks: 1}}
output: "{output}"
{more}
"""


class Launched:
    """One launch, as its ranks see it."""

    def __init__(self, command, log, priority):
        self.words, self.log, self.priority = command, Path(log), priority
        self.files = [Path(word) for word in command if word.endswith(".json")]
        self.tasks = [path.stem for path in self.files]
        self.attempt = command[command.index("--attempt") + 1]
        self.job, self.step, self.nodes = "", "", "n1"

    def option(self, name):
        return int(self.words[self.words.index(name) + 1]) if name in self.words else None

    def beat(self, k=0, stage="compute", done=0, total=10, age=0.0):
        now = time.time() - age
        where = {"host": "n1", "pid": 1, "job": self.job, "step": self.step, "nodes": self.nodes}
        write_note(
            note_path(self.files[k], "progress"),
            Beat(self.tasks[k], self.attempt, stage, done, 0, total, now, now - 1, **where),
        )

    def publish(self, k=0, seconds=1.0, startup_s=0.0, report=True):
        """Leave what a finished task leaves: files, items, report, last heartbeat."""
        task = read_task(self.files[k])
        for product in task.products:
            path = task.path(product)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a product")
            item_path(path).parent.mkdir(parents=True, exist_ok=True)
            told = {"properties": {"pipshpc:task": task.id}, "assets": {"data": {"file:size": path.stat().st_size}}}
            item_path(path).write_text(json.dumps(told))
        if report:
            made = Report(task.id, {}, seconds, 8, 162, 10, 0, [], 1, 1, [9.0], [{}], startup_s=startup_s)
            write_note(note_path(self.files[k], "report"), made)
        self.beat(k, "done", 10)

    def fail(self, k, code, message):
        write_note(note_path(self.files[k], "failed"), Failure(code, message))

    def finish(self, **facts):
        """Make all tasks of the launch."""
        for k in range(len(self.tasks)):
            self.beat(k)
            self.publish(k, **facts)
        return 0


class StageEngine:
    """Plays launches; `play(launched)` returns an exit code or an outcome, or raises."""

    def __init__(self, play, cores=1):
        self.play, self.cores, self.trouble, self.jobs = play, cores, "", None
        self.launches, self.lives = [], True
        self.lock = threading.Lock()

    def alive(self):
        return self.lives

    def tend(self, cores_wanted):
        return []

    def submit(self, command, log, threads, needs_s, priority):
        launched, future = Launched(command, log, priority), Future()
        with self.lock:
            self.launches.append(launched)
        threading.Thread(target=self._play, args=(launched, future), daemon=True).start()
        return future

    def _play(self, launched, future):
        try:
            told = self.play(launched)
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(told if isinstance(told, dict) else {"exit_code": told, "started": True})


def end_of(days):
    """Return the end of a campaign of so many days."""
    return f"{date(2019, 2, 2) + timedelta(days=days)}T00:00:00Z"


def stage(folder, play, *, days=1, cores=1, retry="charged: 3", site="local", more=""):
    """Return a driver with its engine, journal and status, ready to run; what was done before is found."""
    path = folder / "play.yaml"
    if not (folder / "era.nc").exists():
        write_forcing(folder / "era.nc", steps=8 * (days + 2), step_h=3)
    path.write_text(CAMPAIGN.format(end=end_of(days), retry=retry, site=site, output=folder / "out", more=more))
    prepared = prepare(path)
    for name in ("tasks", "launches"):
        (prepared.folder / name).mkdir(parents=True, exist_ok=True)
    journal = Journal(prepared.folder / "journal.jsonl")
    diary = Diary(journal)
    engine = StageEngine(play, cores)
    status = Status(total=len(prepared.tasks), done=len(prepared.tasks) - len(prepared.pending))
    driver = Driver(Desk(prepared, engine, diary, status), lambda _: None)
    write_plan(prepared, driver.desk.write)
    return SimpleNamespace(
        driver=driver, engine=engine, journal=journal, status=status, prepared=prepared, course=diary.course, path=path
    )


def told(journal, *kinds):
    """Return the journal's events of some kinds."""
    return [event for event in journal.read() if event["event"] in kinds]
