"""What runs on a worker of Parsl: one command line, followed to its end. Imports little, as every worker loads it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Outcome = dict[str, Any]  # of a launch: exit_code, started, left_s
BLOCK_END = "PIPSHPC_BLOCK_END"  # environment variable of a block: when its time is over, unix time
LAUNCHED = "PIPSHPC_LAUNCHED"  # of a launch: when it was started, unix time

# A shell line: Parsl's programs, Python and pipshpc are found in a block as they are here.
PATHS = (
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH "
    f"PYTHONPATH={shlex.quote(str(Path(__file__).parents[2]))}${{PYTHONPATH:+:$PYTHONPATH}}"
)

# The numbers of a whole block would be taken for those of a step in it.
_OF_THE_BLOCK = ("NTASKS", "NPROCS", "NTASKS_PER_NODE", "TASKS_PER_NODE", "NNODES", "JOB_NUM_NODES")


def launch(
    command: list[str],
    log: str,
    environment: dict[str, str],
    needs_s: float,
    parsl_resource_specification: dict[str, Any] | None = None,
) -> Outcome:
    """Run one command line and say how it ended.

    Parameters
    ----------
    command : its words
    log : where it prints to; ``LOG.pid`` says who runs it, as long as it runs
    environment : variables on top of the present ones
    needs_s : it is not started where the block ends sooner
    parsl_resource_specification : for Parsl: the priority
    """
    left = float(os.environ.get(BLOCK_END, "inf")) - time.time()
    if left < needs_s:
        return {"exit_code": None, "started": False, "left_s": left}
    environment = {**os.environ, **environment, LAUNCHED: repr(time.time())}
    for name in _OF_THE_BLOCK:
        environment.pop(f"SLURM_{name}", None)
    note = Path(f"{log}.pid")
    with Path(log).open("ab") as handle:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
        note.write_text(json.dumps({"pid": process.pid, "host": socket.gethostname(), "started": time.time()}))
        code = process.wait()
    note.unlink(missing_ok=True)
    return {"exit_code": code, "started": True, "left_s": left}
