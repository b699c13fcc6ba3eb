"""Write the task files of a campaign, to run them by hand: python -m jobs.write_tasks CAMPAIGN.yaml FOLDER."""

import sys
from pathlib import Path

from pipshpc.drive.prepare import prepare
from pipshpc.task import write_task

folder = Path(sys.argv[2]).absolute()
folder.mkdir(parents=True, exist_ok=True)
pending = prepare(sys.argv[1]).pending
paths = [folder / f"{task.id}.json" for task in pending]
for task, path in zip(pending, paths, strict=True):
    write_task(task, path)
(folder / "tasks.txt").write_text("".join(f"{path}\n" for path in paths))
print(f"{len(paths)} tasks are to be made; their files are listed in {folder / 'tasks.txt'}")
