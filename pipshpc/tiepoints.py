"""Bootstrap's water points and ice lines of a day: reductions over all pixels of a hemisphere.

Two passes: the second line needs what the first found. Each part of the data
adds whole numbers (histograms; sums of brightness temperatures in steps of
2**-12 K), so the result has the same bits for any number of ranks, blocks and
threads. Comiso (1986), doi:10.1029/JC091iC01p00975; Comiso et al. (2017),
doi:10.1002/2017JC012768.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipshpc.seaice import Bootstrap

BINS, BIN_KELVIN = 1200, 0.25
RARE = 10  # a bin of as many pixels or fewer does not count
WATER_SHARE = 0.02  # of the water pixels lie below the water point
WATER_REACH = 10.0  # K from the first guess, else that is taken
FEWEST = 126  # pixels of a line
STEEPEST = 1.5  # slope of a line
SHIFT_SPECTRAL = -2.0  # K, moves the line of 19 GHz below the middle of the ice
TOWARD_WATER = 0.92  # how far from ice line to water point 37 GHz H decides alone
FINE = 4096.0  # steps to a kelvin of the sums
LIMB = 1 << 24

Values = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]


@dataclass
class LineSums:
    """Sums for a least-squares line: number, x, y, x squared, xy; whole numbers in two limbs."""

    limbs: Whole = field(default_factory=lambda: np.zeros((2, 5), np.int64))

    def add(self, x: Values, y: Values) -> None:
        """Add points, K."""
        a = np.rint(x.astype(np.float64) * FINE).astype(np.int64)
        b = np.rint(y.astype(np.float64) * FINE).astype(np.int64)
        for k, products in enumerate((np.ones_like(a), a, b, a * a, a * b)):
            self.limbs[0, k] += (products % LIMB).sum()
            self.limbs[1, k] += (products // LIMB).sum()

    def merge(self, other: LineSums) -> None:
        """Add the points of another part."""
        self.limbs += other.limbs

    def line(self, fallback: tuple[float, float], shift: float = 0.0) -> tuple[float, float, bool]:
        """Offset and slope of the line and whether it was fitted; the fallback with few points or a steep line."""
        n, sx, sy, sxx, sxy = (int(low) + int(high) * LIMB for low, high in self.limbs.T)
        if n < FEWEST or n * sxx == sx * sx:
            return *fallback, False
        slope = (n * sxy - sx * sy) / (n * sxx - sx * sx)
        if slope > STEEPEST:
            return *fallback, False
        return (sy / n - slope * (sx / n)) / FINE + shift, slope, True


def masks(
    tb37v: Values, tb37h: Values, tb19v: Values, tb22v: Values, numbers: Bootstrap, summer: bool = False
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where brightness temperatures are there, and where they are those of water (seen is not asked)."""
    seen = np.ones(tb37v.shape, bool)
    for tb in (tb37v, tb37h, tb19v, tb22v):
        seen &= (tb >= 10) & (tb <= 320)
    offset, slope, most = (np.float32(v) for v in (numbers.wet_summer if summer else numbers.wet_winter))
    above, rise = (np.float32(v) for v in numbers.above_h37)
    vapour = (slope * tb22v + offset > tb19v) | (tb22v - tb19v > most)
    return seen, seen & vapour & ((rise * tb37v + above > tb37h) | (tb37v >= 230))


@dataclass
class FirstPass:
    """Histograms of water and the line of 37 GHz: accumulate, merge, finish."""

    numbers: Bootstrap
    summer: bool = False
    counts: Whole = field(default_factory=lambda: np.zeros((3, BINS), np.int64))
    sums: LineSums = field(default_factory=LineSums)

    def add(self, tb37v: Values, tb37h: Values, tb19v: Values, tb22v: Values) -> None:
        """Add the pixels of a block; NaN (land, missing) is left out."""
        seen, water = masks(tb37v, tb37h, tb19v, tb22v, self.numbers, self.summer)
        for k, tb in enumerate((tb37v, tb37h, tb19v)):
            at = np.minimum((tb[water] / BIN_KELVIN).astype(np.int64), BINS)
            self.counts[k] += np.bincount(at, minlength=BINS + 1)[:BINS]
        offset, slope = self.numbers.above_h37
        ice = seen & ~water & (tb37h > tb37v * np.float32(slope) + np.float32(offset))
        self.sums.add(tb37v[ice], tb37h[ice])

    def merge(self, other: FirstPass) -> None:
        """Add the pixels of another part."""
        self.counts += other.counts
        self.sums.merge(other.sums)

    def finish(self) -> First:
        """Return water points and the line of 37 GHz."""
        names = ("v37", "h37", "v19")
        water = {n: water_point(c, self.numbers.water[n]) for n, c in zip(names, self.counts, strict=True)}
        offset, slope, fitted = self.sums.line(self.numbers.line_h37)
        below = band_below(water["v37"], water["h37"], offset, slope)
        return First(water, (offset, slope), below, fitted)


@dataclass(frozen=True)
class First:
    """What the first pass found: water points, line of 37 GHz H over V, how far below it H still decides, K."""

    water: dict[str, float]
    line_h37: tuple[float, float]
    below: float
    fitted: bool


@dataclass
class SecondPass:
    """The line of 19 GHz over 37 GHz V, of what lies below the band of the first line."""

    numbers: Bootstrap
    first: First
    summer: bool = False
    sums: LineSums = field(default_factory=LineSums)

    def add(self, tb37v: Values, tb37h: Values, tb19v: Values, tb22v: Values) -> None:
        """Add the pixels of a block; NaN is left out."""
        seen, water = masks(tb37v, tb37h, tb19v, tb22v, self.numbers, self.summer)
        offset, slope = self.first.line_h37
        lower = tb37h <= tb37v * np.float32(slope) + np.float32(offset - self.first.below)
        above, rise = self.numbers.above_v19
        ice = seen & ~water & lower & (tb19v > tb37v * np.float32(rise) + np.float32(above))
        self.sums.add(tb37v[ice], tb19v[ice])

    def merge(self, other: SecondPass) -> None:
        """Add the pixels of another part."""
        self.sums.merge(other.sums)

    def finish(self) -> TiePoints:
        """Return all that the algorithm needs of the day."""
        offset, slope, fitted = self.sums.line(self.numbers.line_v19, SHIFT_SPECTRAL)
        return TiePoints(
            wtp37v=self.first.water["v37"],
            wtp37h=self.first.water["h37"],
            wtp19v=self.first.water["v19"],
            offset37h=self.first.line_h37[0],
            slope37h=self.first.line_h37[1],
            offset19v=offset,
            slope19v=slope,
            below=self.first.below,
            fitted=self.first.fitted and fitted,
        )


@dataclass(frozen=True)
class TiePoints:
    """Water points, K, and ice lines of a day and hemisphere, by the names that ``siconc`` has for them."""

    wtp37v: float
    wtp37h: float
    wtp19v: float
    offset37h: float
    slope37h: float
    offset19v: float
    slope19v: float
    below: float
    fitted: bool = True

    def inputs(self) -> dict[str, float]:
        """Return the inputs of ``siconc`` by ``bootstrap-daily``."""
        return {n: v for n, v in vars(self).items() if n != "fitted"}


def water_point(counts: Whole, guess: float) -> float:
    """Return the temperature, K, below which 2 % of the water lies, in steps of 0.25 K; the guess if 10 K off.

    Bins of 10 pixels and fewer do not count, but their pixels do in the 2 %.
    """
    wanted = counts.sum() * WATER_SHARE
    below = np.cumsum(np.where(counts > RARE, counts, 0))
    reached = np.flatnonzero(below >= wanted)
    at = float(reached[0] if reached.size else BINS - 1) * BIN_KELVIN
    return at if counts.any() and guess - WATER_REACH < at < guess + WATER_REACH else guess


def band_below(water_x: float, water_y: float, offset: float, slope: float) -> float:
    """How far, K, below the ice line 37 GHz H still decides alone: most of the way to the water point."""
    x = (water_x / slope + water_y - offset) / (slope + 1.0 / slope)
    y = slope * x + offset
    far_x, far_y = water_x - TOWARD_WATER * (water_x - x), water_y + TOWARD_WATER * (y - water_y)
    return offset - (far_y - slope * far_x)


def fixed_points(numbers: Bootstrap) -> TiePoints:
    """Return the tie points of the table, for a day without a first pass."""
    (o37, s37), (o19, s19), water = numbers.line_h37, numbers.line_v19, numbers.water
    below = band_below(water["v37"], water["h37"], o37, s37)
    return TiePoints(water["v37"], water["h37"], water["v19"], o37, s37, o19, s19, below)


def find_tiepoints(
    tb37v: Values, tb37h: Values, tb19v: Values, tb22v: Values, numbers: Bootstrap, summer: bool = False
) -> TiePoints:
    """Return the tie points of fields that are in memory whole."""
    first = FirstPass(numbers, summer)
    first.add(tb37v, tb37h, tb19v, tb22v)
    second = SecondPass(numbers, first.finish(), summer)
    second.add(tb37v, tb37h, tb19v, tb22v)
    return second.finish()
