"""Where on the globe the blocks of running tasks are done: read from their ledgers, drawn in characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from pipshpc.coast import coastlines
from pipshpc.grid import AnyWindow, parse_grid, window_of

Shares = npt.NDArray[np.float64]  # (rows, columns) of blocks: share of windows that is done, 0..1
LONGEST_LEDGER = 32 << 20  # bytes that are read of one ledger
SUFFIX = ".part.ledger"
# Bits of the eight dots of a braille character, by row and column.
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


@dataclass(frozen=True)
class BlockMap:
    """Blocks of the tasks that run on one and the same window.

    Parameters
    ----------
    bounds : west, south, east, north of the window, degrees
    blocks : rows and columns of blocks
    shares : mean over the tasks of the share of windows that is done, by block
    tasks : their ids
    """

    bounds: tuple[float, float, float, float]
    blocks: tuple[int, int]
    shares: Shares
    tasks: list[str]


def read_blocks(folder: Path, tasks: Iterable[str], most: int = 8) -> BlockMap | None:
    """Read how far running tasks are, block by block.

    Parameters
    ----------
    folder : state folder of the campaign
    tasks : ids of tasks under way; those on another window than the first are left out
    most : tasks at most

    Returns
    -------
    BlockMap, or None where no task file can be read.
    """
    found: list[tuple[str, Shares]] = []
    window: AnyWindow | None = None
    chosen: Any = None
    ledgers: dict[str, list[Path]] = {}  # a folder of many files is listed once
    for name in list(tasks)[:most]:
        plain = _read_task(folder / "tasks" / f"{name}.json")
        if plain is None:
            continue
        geometry = plain["grid"], tuple(plain["start"]), tuple(plain["count"]), tuple(plain["chunk"])
        if window is None:
            chosen, window = geometry, window_of(parse_grid(geometry[0]), geometry[1], geometry[2])
        if geometry == chosen:
            output = str(plain["output_dir"])
            if output not in ledgers:
                ledgers[output] = sorted(Path(output).glob(f"*{SUFFIX}"))
            found.append((name, _shares(plain, name, ledgers[output])))
    if window is None or not found:
        return None
    shares = np.mean([s for _, s in found], axis=0)
    return BlockMap(window.bounds, shares.shape, shares, [name for name, _ in found])


def _read_task(path: Path) -> dict[str, Any] | None:
    try:
        plain = msgspec.json.decode(path.read_bytes())
        return plain if {"grid", "start", "count", "chunk", "windows", "products"} <= plain.keys() else None
    except (OSError, msgspec.DecodeError, AttributeError):
        return None


def _shares(plain: dict[str, Any], task: str, ledgers: Iterable[Path]) -> Shares:
    """Return the share of windows done of each block, over the unfinished files of all products."""
    rows, columns = (-(-n // c) for n, c in zip(plain["count"], plain["chunk"], strict=True))
    made = np.zeros((len(plain["products"]), len(plain["windows"]), rows, columns), bool)
    for path in ledgers:
        product = next((k for k, p in enumerate(plain["products"]) if path.name.startswith(f"{p}_")), None)
        if product is not None:
            _mark(path, task, made[product])
    return np.asarray(made.mean(axis=(0, 1)), np.float64)


def _mark(path: Path, task: str, made: npt.NDArray[np.bool_]) -> None:
    """Mark the blocks that a ledger names; a line that is cut or strange is passed over."""
    try:
        with path.open("rb") as handle:
            if not handle.readline().endswith(f" {task}\n".encode()):
                return
            lines = handle.read(LONGEST_LEDGER).splitlines()
    except OSError:
        return  # published meanwhile
    for line in lines:
        words = line.split(b" ", 3)
        if len(words) == 4 and line.endswith(b" ."):
            index = tuple(int(w) for w in words[:3] if w.isdigit())
            if len(index) == 3 and all(i < n for i, n in zip(index, made.shape, strict=True)):
                made[index] = True


def frame_size(bounds: Sequence[float], most_columns: int, most_rows: int) -> tuple[int, int]:
    """Return columns and rows of characters for a map: a character is about twice as high as wide."""
    west, south, east, north = bounds
    aspect = (east - west) / max(north - south, 1e-9)
    columns = min(most_columns, max(8, round(2 * aspect * most_rows)))
    return columns, max(3, min(most_rows, round(columns / (2 * aspect))))


def sample_shares(found: BlockMap, columns: int, rows: int) -> Shares:
    """Return the share that is done at each of (rows, columns) cells of a picture."""
    y = ((np.arange(rows) + 0.5) / rows * found.blocks[0]).astype(int)
    x = ((np.arange(columns) + 0.5) / columns * found.blocks[1]).astype(int)
    return np.asarray(found.shares[np.ix_(y, x)], np.float64)


@lru_cache(maxsize=4)
def coast_characters(bounds: tuple[float, float, float, float], columns: int, rows: int) -> tuple[str, ...]:
    """Return coastlines as rows of braille characters; blanks where there is no shore, or no shore data."""
    west, south, east, north = bounds
    dots = np.zeros((rows * 4, columns * 2), bool)
    pixel = (east - west) / (columns * 2)
    for line in coastlines(bounds, pixel):
        steps = np.abs(np.diff(line, axis=0)).max(axis=1) / pixel
        parts = [np.linspace(a, b, int(n) + 2) for a, b, n in zip(line[:-1], line[1:], steps, strict=True)]
        points = np.concatenate(parts)
        x = ((points[:, 0] - west) / (east - west) * columns * 2).astype(int)
        y = ((north - points[:, 1]) / (north - south) * rows * 4).astype(int)
        inside = (x >= 0) & (x < columns * 2) & (y >= 0) & (y < rows * 4)
        dots[y[inside], x[inside]] = True
    cells = dots.reshape(rows, 4, columns, 2).transpose(0, 2, 1, 3)
    codes = (cells * _DOTS).sum(axis=(2, 3))
    return tuple("".join(chr(0x2800 + c) if c else " " for c in row) for row in codes.tolist())
