"""Sums over cells that do not depend on the order of cells, blocks or ranks: area, extent, mass.

Each addend is rounded once to a multiple of 2**-20 of the unit and then added
as a whole number, without bound, so the sum of sums is the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHIFT = 20  # addends are whole multiples of 2**-SHIFT
HALF = 31  # bits of the lower part that is added in 64 bits at a time: 2**32 addends fit
LARGEST = 2.0**42  # of an addend: rounding it to 2**-20 is then exact in double precision and fits 63 bits

Numbers = npt.NDArray[np.floating] | float


@dataclass
class Amount:
    """An exact sum of rounded addends, and how many there were."""

    whole: int = 0
    count: int = 0

    def add(self, values: Numbers, weights: Numbers = 1.0) -> None:
        """Add products of values and weights.

        Parameters
        ----------
        values : array; NaN is left out
        weights : array or number, broadcast against `values`; for areas in km2

        Raises
        ------
        OverflowError
            Where a product is 4e12 or more: take a larger unit.
        """
        product = np.asarray(values, np.float64) * np.asarray(weights, np.float64)
        product = product[np.isfinite(product)]
        if product.size and float(np.abs(product).max()) >= LARGEST:
            raise OverflowError(f"an addend is {np.abs(product).max():g}, wanted below {LARGEST:g}; take a larger unit")
        scaled = np.rint(product * 2.0**SHIFT).astype(np.int64)
        high = scaled >> HALF
        low = scaled & ((1 << HALF) - 1)
        self.whole += (int(high.sum()) << HALF) + int(low.sum())
        self.count += int(scaled.size)

    def merge(self, other: Amount) -> None:
        """Add another sum."""
        self.whole += other.whole
        self.count += other.count

    @property
    def value(self) -> float:
        """The sum."""
        return float(self.whole / (1 << SHIFT))


@dataclass(frozen=True)
class IceCover:
    """Sea ice of a hemisphere, km2: ``area`` weighted by concentration, ``extent`` of cells with 15 % and more."""

    area: float
    extent: float


def measure_ice(siconc: npt.NDArray[np.float32], cell_area: Numbers, least: float = 0.15) -> IceCover:
    """Return area and extent of sea ice.

    Parameters
    ----------
    siconc : concentration 0..1, NaN where missing
    cell_area : km2, broadcast against it
    least : concentration from which a cell counts
    """
    area, extent = Amount(), Amount()
    counted = np.where(siconc >= least, np.float32(1), np.float32(0))
    extent.add(np.where(np.isfinite(siconc), counted, np.nan), cell_area)
    area.add(np.where(siconc >= least, siconc, np.where(np.isfinite(siconc), 0.0, np.nan)), cell_area)
    return IceCover(area.value, extent.value)


def mass_change(after: npt.NDArray[np.float32], before: npt.NDArray[np.float32], cell_area: Numbers) -> float:
    """Return the change of mass, Gt, of snow (kg m-2) over cells (km2) that both fields have.

    1 kg m-2 over 1 km2 is 1e6 kg, 1e-6 Gt.
    """
    total = Amount()
    total.add(np.asarray(after, np.float64) - np.asarray(before, np.float64), cell_area)
    return total.value * 1e-6
