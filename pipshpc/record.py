"""What a catalogue item keeps beyond the file itself, so that the file can be made again: task, inputs, software."""

from __future__ import annotations

import base64
import os
import platform
import re
import zlib
from functools import cache
from typing import Any

import msgspec
import xxhash

from pipshpc.errors import InputError
from pipshpc.schema import convert
from pipshpc.task import Task

TASK, INPUTS, STATICS, SOFTWARE, STACK = (
    f"pipshpc:{name}" for name in ("record", "inputs", "statics", "software", "stack")
)


def record(task: Task) -> dict[str, Any]:
    """Return the properties of an item that tell what made it, down to the digest of each input file.

    Returns
    -------
    dict
        ``pipshpc:record``, the task itself (JSON, deflated, base64);
        ``pipshpc:inputs``, path and digest of each file of the forcing;
        ``pipshpc:statics``, name and digest of each static field;
        ``pipshpc:software``, versions, and ``pipshpc:stack``, their digest.
    """
    paths = [os.path.join(task.base_dir, unescape(p)) for p in task.forcing.paths]  # noqa: PTH118 (absolute ones stay)
    inputs = dict(zip(paths, task.forcing_digests, strict=True)) if task.forcing_digests else {}
    return {
        TASK: pack(task),
        INPUTS: {os.path.abspath(path): digest for path, digest in inputs.items()},  # noqa: PTH100
        STATICS: dict(task.statics),
        SOFTWARE: software(),
        STACK: stack_digest(),
    }


def pack(task: Task) -> str:
    """Return a task as text of one line."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(task, order="sorted"), 9)).decode("ascii")


def unpack(text: str, origin: str) -> Task:
    """Return the task of `pack`; `origin` starts error messages.

    Raises
    ------
    InputError
        Where the text is none.
    SpecError
        Where it is a task of a version of pipshpc that this one does not understand.
    """
    try:
        raw = msgspec.json.decode(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error, msgspec.DecodeError) as error:
        raise InputError(f"{origin}: its record of the task is damaged ({error}); make the file again") from error
    return convert(raw, Task, f"{origin}: record of the task")


def unescape(pattern: str) -> str:
    """Return the path that ``glob.escape`` was given."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


@cache
def software() -> dict[str, str]:
    """Return the versions of what computes and writes, as they are in this process."""
    import h5py
    import isal
    import numpy as np

    from pipshpc import __version__

    return {
        "pipshpc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
        "isal": getattr(isal, "__version__", ""),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
    }


def stack_digest() -> str:
    """Return the digest of the software: that of the loaded stack where it tells one, else of `software`."""
    told = os.environ.get("PIPSHPC_STACK_DIGEST", "")
    return told or xxhash.xxh3_128_hexdigest(msgspec.json.encode(software(), order="sorted"))
