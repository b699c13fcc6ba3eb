"""What an examination of a machine finds, and what it finds of modules and stacks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from pipshpc.errors import PipshpcError
from pipshpc.schema import Record
from pipshpc.stack.intact import changes, read_record

State = Literal["ok", "warn", "fail"]


class Finding(Record, frozen=True):
    """One thing that was looked at: "warn" is optional or limited, "fail" stops work."""

    name: str
    state: State
    found: str
    action: str = ""


def check_modules() -> Finding:
    """Look for environment modules, loaded or on disk."""
    loaded = {"LMOD_CMD": "Lmod", "MODULES_CMD": "Environment Modules", "MODULESHOME": "modules"}
    for variable, tool in loaded.items():
        if os.environ.get(variable):
            return Finding(name="modules", state="ok", found=f"{tool} at {os.environ[variable]}")
    for script in ("/usr/share/lmod/lmod/init/bash", "/usr/share/modules/init/bash", "/etc/profile.d/modules.sh"):
        if Path(script).exists():
            return Finding(
                name="modules", state="ok", found="installed, not loaded in this shell", action=f". {script}"
            )
    action = "only clusters need them: apt-get install lmod"
    return Finding(name="modules", state="warn", found="no environment modules", action=action)


def check_stack() -> Finding:
    """Say which stack is loaded, and whether it is still what was deployed."""
    stack, prefix = os.environ.get("PIPSHPC_STACK", ""), os.environ.get("PIPSHPC_STACK_PREFIX", "")
    if not stack:
        action = "where stacks are deployed: module load rs-core; to deploy one: pipshpc stack deploy rs-core"
        return Finding(
            name="stack", state="ok", found=f"none is loaded; this Python is {sys.executable}", action=action
        )
    again = f"pipshpc stack deploy {stack.partition('/')[0]}"
    if not Path(prefix, "bin", "python3").exists():
        return Finding(name="stack", state="fail", found=f"{stack} is loaded, but {prefix} is gone", action=again)
    if not Path(sys.prefix).samefile(prefix):
        found = f"{stack} is loaded, but this Python is {sys.executable}"
        return Finding(name="stack", state="warn", found=found, action="call pipshpc by its name, as the module has it")
    try:
        record, changed = read_record(Path(prefix)), changes(Path(prefix))
    except PipshpcError as error:
        return Finding(name="stack", state="warn", found=f"{stack} is loaded; {error}", action=again)
    if os.environ.get("PIPSHPC_STACK_DIGEST") != record.info.digest:
        changed = f"its module says digest {os.environ.get('PIPSHPC_STACK_DIGEST')}, its files {record.info.digest}"
    if changed:
        found = f"{stack} in {prefix} was changed: {changed}"
        return Finding(name="stack", state="fail", found=found, action=again)
    shared = os.environ.get("PIPSHPC_STACK_SHARED", prefix)
    where = prefix if shared == prefix else f"{prefix}, a copy of {shared}"
    return Finding(name="stack", state="ok", found=f"{stack} is loaded and intact: {record.files} files in {where}")
