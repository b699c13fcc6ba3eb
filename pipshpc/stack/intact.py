"""Whether a deployed stack is still what it was: a record beside its files, and the comparison with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import xxhash

from pipshpc.errors import SiteError
from pipshpc.schema import Record
from pipshpc.stack.info import StackInfo

RECORD = "stack.json"
OWN = "pipshpc"  # the package whose files are read, too; of the others the sizes are compared


class StackRecord(Record, frozen=True):
    """What a prefix held when it was made.

    Parameters
    ----------
    info : the stack
    files, size : how many files, and bytes in all; compiled Python files are not counted
    shape : digest of names and sizes of all files
    content : digest of the files of pipshpc itself
    """

    info: StackInfo
    files: int
    size: int
    shape: str
    content: str


def write_record(prefix: Path, info: StackInfo) -> StackRecord:
    """Look at all files of a prefix, and write down what there is; the last act of whoever makes one."""
    record = _look(prefix, info)
    part = prefix / f".{RECORD}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
    part.replace(prefix / RECORD)
    return record


def read_record(prefix: Path) -> StackRecord:
    """Return what a prefix held when it was made.

    Raises
    ------
    SiteError
        There is no record, or it cannot be understood.
    """
    path = prefix / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=StackRecord)
    except (OSError, msgspec.DecodeError) as error:
        raise SiteError(f"{path}: cannot be read ({error}); deploy the stack again") from error


def changes(prefix: Path) -> str:
    """Say in words what of a prefix is no longer as it was; empty where all is.

    Raises
    ------
    SiteError
        There is no record.
    """
    then = read_record(prefix)
    now = _look(prefix, then.info)
    if now.files != then.files:
        return f"{now.files} files where {then.files} were deployed"
    if now.shape != then.shape:
        return f"files of other sizes or names ({now.size} bytes where {then.size} were deployed)"
    return "" if now.content == then.content else f"files of {OWN} were changed"


def _look(prefix: Path, info: StackInfo) -> StackRecord:
    shape, content, count, total = hashlib.sha256(), xxhash.xxh3_128(), 0, 0
    for path, size in _files(prefix):
        name = path.relative_to(prefix)
        shape.update(f"{name} {size}\n".encode())
        count, total = count + 1, total + size
        if f"/site-packages/{OWN}/" in f"/{name}":
            content.update(path.read_bytes())
    return StackRecord(info=info, files=count, size=total, shape=shape.hexdigest(), content=content.hexdigest())


def _files(prefix: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files of a prefix in order, with their sizes; links count as what they say."""
    for folder, folders, names in os.walk(prefix):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = Path(folder, name)
            if path != prefix / RECORD and name != f".{RECORD}.part":
                yield path, path.lstat().st_size
