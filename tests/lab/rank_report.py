"""A rank that says where it is: python rank_report.py STEP FOLDER COUNT.

It waits until COUNT ranks, of all steps of the job, are there: so those that
answer ran at the same time.
"""

import json
import os
import sys
import time
from pathlib import Path

step, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
rank = os.environ["SLURM_PROCID"]
(folder / f"{step}.{rank}.there").touch()
deadline = time.monotonic() + 30
while (there := len(list(folder.glob("*.there")))) < count and time.monotonic() < deadline:
    time.sleep(0.02)
report = {
    "step": step,
    "rank": int(rank),
    "ranks": int(os.environ["SLURM_NTASKS"]),
    "node": os.uname().nodename,
    "job": os.environ["SLURM_JOB_ID"],
    "cores": sorted(os.sched_getaffinity(0)),
    "bind": os.environ.get("SLURM_CPU_BIND", ""),
    "threads": int(os.environ["OMP_NUM_THREADS"]),
    "together": there,
}
(folder / f"{step}.{rank}.json").write_text(json.dumps(report))
