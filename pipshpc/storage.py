"""Striping: how the files of a folder are spread over the targets of a Lustre file system."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pipshpc.site import Storage


def stripe_command(storage: Storage, folder: str | Path) -> list[str]:
    """Return the words that make new files in a folder be striped as the site says; none where it says nothing."""
    count = ["--stripe-count", str(storage.stripe_count)] if storage.stripe_count else []
    size = ["--stripe-size", storage.stripe_size] if storage.stripe_size else []
    return ["lfs", "setstripe", *count, *size, str(folder)] if count or size else []


def stripe(storage: Storage, folder: str | Path, timeout_s: float = 30.0) -> str:
    """Have new files in a folder be striped as the site says, and return one sentence on what was done.

    Striping makes writing faster and nothing else, so it is never an error
    that it cannot be had. Files that are there already stay as they are. The
    sentence is empty where the site says nothing.
    """
    command = stripe_command(storage, folder)
    if not command:
        return ""
    wanted = " ".join(command[2:-1])
    if shutil.which(command[0]) is None:
        return f"{folder}: is not striped ({wanted}), because this machine has no 'lfs'; files are written all the same"
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{folder}: is not striped ({wanted}): {error}"
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        return f"{folder}: is not striped ({wanted}): {said}"
    return f"{folder}: new files are striped by {wanted}"
