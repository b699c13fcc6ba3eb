"""Decomposition as arithmetic: blocks on a Hilbert curve, cut into runs of equal weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """A rectangle of the output: one HDF5 chunk in space."""

    index: tuple[int, int]  # of the chunk, row and column
    start: tuple[int, int]
    count: tuple[int, int]


@dataclass(frozen=True)
class Blocks:
    """The partition of an array of `shape` into blocks of at most `chunk`."""

    shape: tuple[int, int]
    chunk: tuple[int, int]

    @property
    def count(self) -> tuple[int, int]:
        """Number of block rows and block columns."""
        return -(-self.shape[0] // self.chunk[0]), -(-self.shape[1] // self.chunk[1])

    def block(self, row: int, column: int) -> Block:
        """Return one block; those at the lower and right edge may be smaller."""
        start = row * self.chunk[0], column * self.chunk[1]
        count = min(self.chunk[0], self.shape[0] - start[0]), min(self.chunk[1], self.shape[1] - start[1])
        return Block((row, column), start, count)

    def order(self, weights: npt.ArrayLike | None = None) -> IntArray:
        """Return (row, column) of all blocks along the Hilbert curve, those without weight left out.

        Parameters
        ----------
        weights : (block rows, block columns), optional
            Cost of each block; a block of weight 0 is never computed.

        Returns
        -------
        (n, 2) array of int
        """
        rows, columns = self.count
        curve = hilbert_curve(rows, columns)
        if weights is None:
            return curve
        return curve[np.asarray(weights)[curve[:, 0], curve[:, 1]] > 0]


def hilbert_curve(rows: int, columns: int) -> IntArray:
    """Return all (row, column) of a rectangle in the order of a Hilbert curve.

    The curve of the smallest enclosing square of 2^k is walked and what lies
    outside the rectangle left out, so neighbours on the list stay close.
    Source: the bitwise distance of Hilbert (1891) as in Warren, Hacker's
    Delight, 2nd ed., section 16-2.
    """
    row, column = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    return np.stack([row, column], axis=1)[np.argsort(hilbert_distance(row, column, max(rows, columns)), kind="stable")]


def hilbert_distance(row: IntArray, column: IntArray, extent: int) -> IntArray:
    """Return the position of each (row, column) on the Hilbert curve of a 2^k square that holds `extent`."""
    x, y = column.copy(), row.copy()
    distance = np.zeros_like(x)
    side = 1 << max(int(extent - 1).bit_length(), 1)
    half = side >> 1
    while half:
        right, upper = (x & half) > 0, (y & half) > 0
        distance += half * half * ((3 * right) ^ upper)
        # Turn the quadrant so that the curve enters and leaves at the right corners.
        turn = ~upper
        mirror = turn & right
        x, y = (
            np.where(mirror, half - 1 - (x & (half - 1)), x & (half - 1)),
            np.where(mirror, half - 1 - (y & (half - 1)), y & (half - 1)),
        )
        x, y = np.where(turn, y, x), np.where(turn, x, y)
        half >>= 1
    return distance


def running_total(weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return (n + 1,) sums of all weights before each position, 0 first."""
    return np.concatenate([[0.0], np.cumsum(np.asarray(weights, np.float64))])


def cut(weights: npt.ArrayLike, parts: int, total: npt.NDArray[np.float64] | None = None) -> IntArray:
    """Cut a sequence of weights into `parts` runs of nearly equal weight.

    Parameters
    ----------
    weights : (n,) positive numbers along the curve
    parts : number of runs
    total : `running_total` of the weights, for many cuts of the same ones

    Returns
    -------
    (parts + 1,) array of int
        Run k is ``[bounds[k], bounds[k + 1])``. Runs may be empty where there
        are more parts than weights. Each border is put where the running sum
        is closest to its share, so no run differs from the mean by more than
        the largest weight.
    """
    total = running_total(weights) if total is None else total
    targets = total[-1] * np.arange(1, parts) / parts
    right = np.searchsorted(total, targets, side="left")
    left = np.maximum(right - 1, 0)
    nearer = np.where(targets - total[left] < total[right] - targets, left, right)
    return np.concatenate([[0], np.maximum.accumulate(nearer), [total.size - 1]]).astype(np.int64)


def imbalance(weights: npt.ArrayLike, bounds: IntArray, total: npt.NDArray[np.float64] | None = None) -> float:
    """Return the largest run's weight over the mean weight of the runs; see `cut` for `total`."""
    parts = np.diff((running_total(weights) if total is None else total)[bounds])
    return float(parts.max() / parts.mean())
