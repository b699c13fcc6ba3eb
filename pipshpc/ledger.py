"""What an unfinished file holds for sure: one line per block, written after the block's chunks.

A killed attempt leaves its file (``.part``) and this ledger beside it. The
file itself may be in any state, as HDF5 keeps its structures in memory; but
the chunks that the ledger names are where it says, and their checksums tell.
The next attempt copies them and goes on, on any number of ranks.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from pipshpc.exchange import Chunk

if TYPE_CHECKING:
    from pipshpc.task import Task

Buffer = bytes | bytearray | memoryview
HEAD = "pipshpc-ledger-1"
SUFFIX = ".ledger"


INLINE_BYTES = 4096  # chunks up to this size are kept in the ledger itself: HDF5 gathers small ones anywhere


class Place(NamedTuple):
    """Where the stored bytes of a chunk are: in the file, or here where they are few."""

    offset: int
    size: int  # 0: all missing, not stored
    inline: bytes = b""

    def text(self) -> str:
        """Return the place as one word."""
        return f"{self.offset}:{self.size}:{self.inline.hex()}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what `text` wrote, or raise `ValueError`."""
        offset, size, inline = text.split(":")
        return cls(int(offset), int(size), bytes.fromhex(inline))

    def read(self, fd: int) -> bytes:
        """Return the bytes."""
        return self.inline if self.size <= INLINE_BYTES else os.pread(fd, self.size, self.offset)


@dataclass(frozen=True)
class Entry:
    """One chunk pair of an unfinished file: where its bytes are, and what stands for its content."""

    window: int
    block: tuple[int, int]
    values: Place
    counts: Place
    values_digest: bytes
    counts_digest: bytes
    check: str  # XXH3 of the stored bytes of both

    def line(self) -> str:
        """Return the entry as one line of the ledger."""
        words = [*map(str, (self.window, *self.block)), self.values.text(), self.counts.text()]
        words += [self.values_digest.hex(), self.counts_digest.hex(), self.check, "."]
        return " ".join(words) + "\n"


def read_line(line: str) -> Entry | None:
    """Read one line; None where it was cut short."""
    words = line.split(" ")
    if len(words) != 9 or words[-1] != ".":
        return None
    try:
        return Entry(
            window=int(words[0]),
            block=(int(words[1]), int(words[2])),
            values=Place.parse(words[3]),
            counts=Place.parse(words[4]),
            values_digest=bytes.fromhex(words[5]),
            counts_digest=bytes.fromhex(words[6]),
            check=words[7],
        )
    except ValueError:
        return None


def check_of(values: Buffer, counts: Buffer) -> str:
    """Return the checksum of the stored bytes of one block and window."""
    digest = xxhash.xxh3_64(values)
    digest.update(counts)
    return digest.hexdigest()


class Ledger:
    """The ledger of one unfinished file, being written."""

    def __init__(self, part: Path, task_id: str) -> None:
        self.path = ledger_path(part)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.write(self._fd, f"{HEAD} {task_id}\n".encode())

    def add(self, entries: list[Entry]) -> None:
        """Append entries by one system call, so that a kill leaves whole lines or one cut line."""
        os.write(self._fd, "".join(e.line() for e in entries).encode())

    def close(self) -> None:
        """Close the file; what is in it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def ledger_path(part: Path) -> Path:
    """Return where the ledger of an unfinished file is."""
    return part.with_name(part.name + SUFFIX)


def parts_of(path: Path) -> list[Path]:
    """Return the unfinished files of a product file, of whatever attempt."""
    return sorted(path.parent.glob(f"{path.name}.*.part"))


def belongs_to(part: Path, task_id: str) -> bool:
    """Say whether an unfinished file was begun for this very task."""
    try:
        with ledger_path(part).open(encoding="ascii", errors="replace") as lines:
            return lines.readline().rstrip("\n") == f"{HEAD} {task_id}"
    except OSError:
        return False


def remove(part: Path) -> None:
    """Remove an unfinished file and its ledger."""
    for path in (part, ledger_path(part)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def remove_parts(task: Task, keep_resumable: bool = False) -> None:
    """Remove the unfinished files of a task; with `keep_resumable` only those that cannot be gone on with."""
    for product in task.products:
        for part in parts_of(task.path(product)):
            if not (keep_resumable and belongs_to(part, task.id)):
                remove(part)


class Kept:
    """The chunks that an earlier attempt left and that pass their checksums.

    Parameters
    ----------
    path : final path of the product file
    task_id : only chunks of this very task count
    """

    def __init__(self, path: Path, task_id: str) -> None:
        self._files: dict[Path, int] = {}
        self.entries: dict[tuple[int, int, int], tuple[Path, Entry]] = {}
        for part in parts_of(path):
            if not belongs_to(part, task_id):
                continue
            self._files[part] = os.open(part, os.O_RDONLY)
            with ledger_path(part).open(encoding="ascii", errors="replace") as lines:
                next(lines)
                for line in lines:
                    entry = read_line(line.rstrip("\n"))
                    if entry is not None and self._intact(part, entry):
                        self.entries[(entry.window, *entry.block)] = part, entry

    def _intact(self, part: Path, entry: Entry) -> bool:
        values, counts = self._read(part, entry)
        sizes = len(values), len(counts)
        return sizes == (entry.values.size, entry.counts.size) and check_of(values, counts) == entry.check

    def _read(self, part: Path, entry: Entry) -> tuple[bytes, bytes]:
        fd = self._files[part]
        return entry.values.read(fd), entry.counts.read(fd)

    def blocks(self, windows: list[int]) -> set[tuple[int, int]]:
        """Return the blocks of which all these windows are kept."""
        found = [{key[1:] for key in self.entries if key[0] == w} for w in windows]
        return set.intersection(*found) if found else set()

    def take_chunk(self, window: int, block: tuple[int, int]) -> Chunk:
        """Return one block and window as it was stored."""
        part, entry = self.entries[(window, *block)]
        return Chunk(*self._read(part, entry), entry.values_digest, entry.counts_digest)

    def close(self) -> None:
        """Close the old files."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
