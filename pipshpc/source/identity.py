"""Content digests of input files, computed once per file and remembered beside the user's cache."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import xxhash

from pipshpc.cache import cache_folder
from pipshpc.errors import InputError

PIECE = 1 << 24


class _Known(msgspec.Struct, frozen=True):
    path: str
    size: int
    mtime_ns: int
    digest: str


def file_digest(path: Path) -> str:
    """Hex digest (xxh3, 128 bit) of what a file holds.

    The digest is remembered by path, size and time of change, so that a
    campaign over terabytes hashes each file once. A cache that cannot be
    written only costs time.
    """
    try:
        path = path.resolve()
        stat = path.stat()
        note = cache_folder() / "digests" / f"{xxhash.xxh3_128_hexdigest(os.fsencode(path))}.json"
        with contextlib.suppress(OSError, msgspec.DecodeError):
            known = msgspec.json.decode(note.read_bytes(), type=_Known)
            if (known.path, known.size, known.mtime_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
                return known.digest
        state = xxhash.xxh3_128()
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                state.update(piece)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    fresh = _Known(str(path), stat.st_size, stat.st_mtime_ns, state.hexdigest())
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_name(f"{note.name}.{os.getpid()}.part")
        part.write_bytes(msgspec.json.encode(fresh))
        part.replace(note)
    return fresh.digest
