"""A state folder with a life of its own, told through the real journal with a clock that the test holds."""

import json
from datetime import date, timedelta

from pipshpc.drive import journal as journal_module
from pipshpc.drive.journal import Journal

T0 = 1_546_300_800.0  # 2019-01-01T00:00:00Z


class Clock:
    def __init__(self, now=T0):
        self.now = now

    def time(self):
        return self.now


class Story:
    """Writes a campaign's state folder: days of one or two chains, run by so many launches at a time."""

    def __init__(self, folder, monkeypatch=None):
        self.folder, self.clock = folder, Clock()
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        self.journal = Journal(folder / "journal.jsonl")
        if monkeypatch:
            monkeypatch.setattr(journal_module.time, "time", self.clock.time)
        self.lines = []

    def plan(self, days, chains=(("rlds",),), ranks=2, first="2019-01-01", pixels=8_000_000):
        day0, offset = date.fromisoformat(first), len(self.lines)
        for k in range(days):
            day, after = day0 + timedelta(days=k), day0 + timedelta(days=k + 1)
            for chain, products in enumerate(chains):
                self.lines.append(
                    {
                        "task": f"{chain:04x}{offset + k:012x}",
                        "chain": chain,
                        "start": f"{day}T00:00:00Z",
                        "end": f"{after}T00:00:00Z",
                        "products": list(products),
                        "files": [f"/out/{p}_{day}.nc" for p in products],
                        "blocks": 50,
                        "fields": 8 * len(products),
                        "pixels": pixels * len(products),
                        "ranks": ranks,
                        "threads": 1,
                        "nodes": 1,
                        "priority": 0,
                    }
                )
        (self.folder / "plan.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        self.write("planned", tasks=len(self.lines))
        return self

    def write(self, event, **facts):
        self.journal.write(event, **facts)

    def driver(self, pid=1, host="login1", site="local"):
        self.write("driver started", pid=pid, host=host, site=site, tasks=len(self.lines), pending=len(self.lines))

    def start(self, k, launch=None, node="n1"):
        name, launch = self.lines[k]["task"], launch or k + 1
        self.write("submitted", launch=launch, tasks=[name], ranks=2, threads=1, nodes=1, memory_mib=0)
        self.write("started", task=name, launch=launch, job="17", step=str(k), nodes=node)

    def complete(self, k, seconds=10.0, **facts):
        defaults = {"peak_mib": 200.0, "cpu_s": 1.8 * seconds, "read_bytes": 10**6, "written_bytes": 4 * 10**6}
        defaults |= {"wait_s": 1.0, "startup_s": 2.0, "blocks": 50, "blocks_kept": 0, "blocks_lost": 0, "ranks": 2}
        defaults |= {"stages": {"read": 0.2 * seconds, "compute": 1.4 * seconds, "write": 0.3 * seconds}}
        self.write("completed", task=self.lines[k]["task"], launch=k + 1, seconds=seconds, **{**defaults, **facts})

    def fail(self, k, cause="INPUT", reason="era_{k}.grib: truncated: message 3 at byte 7", node="n3", code=3):
        self.start(k, node=node)
        facts = {"task": self.lines[k]["task"], "cause": cause, "reason": reason.format(k=k)}
        self.write("attempt ended", launch=k + 1, exit_code=code, next="never", charged=False, blocks_done=0, **facts)
        self.write("failed", **facts)

    def beat(self, k, done, total=50, stage="compute", **facts):
        beat = {"task": self.lines[k]["task"], "stage": stage, "done": done, "total": total, "kept": 0, "attempt": "a"}
        beat |= {"time": self.clock.now, "started": self.clock.now - 5, "host": "n1", "nodes": "n1", **facts}
        (self.folder / "tasks" / f"{self.lines[k]['task']}.progress").write_text(json.dumps(beat))
