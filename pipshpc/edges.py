"""Dry and wet edge of surface temperature over vegetation index: a reduction over all pixels.

Each part of the data is counted into a table of whole numbers, vegetation
index by temperature; tables are added. Sums of whole numbers do not depend on
order, so the edges are the same to the last bit for any number of ranks,
blocks and threads (``comm.Allreduce(MPI.IN_PLACE, table.counts)`` merges the
ranks'). Sandholt et al. (2002), doi:10.1016/S0034-4257(01)00274-7.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError

INDEX_FROM, INDEX_STEP, INDEX_BINS = 0.1, 0.02, 40
WARMTH_FROM, WARMTH_STEP, WARMTH_BINS = 263.0, 0.15, 512
FEWEST = 10  # pixels that a bin of the vegetation index needs
LAPSE_RATE = 0.0065  # K m-1, takes temperatures to sea level

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Edges:
    """Lines over the vegetation index: temperature at sea level, K, of the driest and of the wettest pixels."""

    dry_offset: float
    dry_slope: float
    wet_offset: float
    wet_slope: float


def empty_counts() -> Counts:
    """Return a table without pixels."""
    return np.zeros((INDEX_BINS, WARMTH_BINS), np.int64)


@dataclass
class EdgeTable:
    """Pixels counted by vegetation index (rows) and temperature at sea level (columns), of one zone and period."""

    counts: Counts = field(default_factory=empty_counts)

    def add(self, ts: Values, ndvi: Values, orog: Values | float = 0.0) -> None:
        """Count the pixels of a block.

        Parameters
        ----------
        ts : array of any shape, surface temperature in K; NaN (cloud, water, snow) is not counted
        ndvi : array of that shape; outside 0.1..0.9 it is not counted
        orog : array of that shape or a number, height in m
        """
        level = np.asarray(ts, np.float64) + LAPSE_RATE * np.asarray(orog, np.float64)
        row = np.floor((np.asarray(ndvi, np.float64) - INDEX_FROM) / INDEX_STEP)
        column = np.floor((level - WARMTH_FROM) / WARMTH_STEP)
        seen = (row >= 0) & (row < INDEX_BINS) & (column >= 0) & (column < WARMTH_BINS)
        at = (row[seen] * WARMTH_BINS + column[seen]).astype(np.int64)
        self.counts += np.bincount(at, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: EdgeTable) -> None:
        """Add the pixels of another part."""
        self.counts += other.counts

    def edges(self, dry: float = 0.99, wet: float = 0.01) -> Edges:
        """Fit the edges: a least-squares line through a high and a low quantile of each bin.

        Raises
        ------
        SpecError
            Where fewer than two bins hold ten pixels: no line can be drawn.
        """
        filled = np.flatnonzero(self.counts.sum(axis=1) >= FEWEST)
        if filled.size < 2:
            raise SpecError(
                f"dry and wet edge: found {filled.size} bins of the vegetation index with at least {FEWEST} pixels, "
                "wanted 2 or more; take a larger area or a longer period"
            )
        index = np.asarray(INDEX_FROM + INDEX_STEP * (filled + 0.5), np.float64)
        lines = [_line(index, np.array([quantile(self.counts[k], q) for k in filled])) for q in (dry, wet)]
        return Edges(*lines[0], *lines[1])


def quantile(counts: Counts, share: float) -> float:
    """Return the temperature, K, below which `share` of the counted pixels lie, linear within a bin."""
    below = np.cumsum(counts)
    wanted = share * below[-1]
    k = int(np.searchsorted(below, wanted, side="left"))
    before = below[k - 1] if k else 0
    return WARMTH_FROM + WARMTH_STEP * (k + float(wanted - before) / float(max(counts[k], 1)))


def _line(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    mean = x.mean()
    slope = float(((x - mean) * y).sum() / ((x - mean) ** 2).sum())
    return float(y.mean() - slope * mean), slope
