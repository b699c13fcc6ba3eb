"""Longwave by Prata (1996) and Konzelmann et al. (1994) in NumPy, float32: as one would write it, and tuned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
BLOCK = 16384  # pixels whose temporaries stay in the nearest caches

# Single-precision constants, so that nothing is promoted.
VAPOUR, ONE, THREE, FLOOR = np.float32(0.465), np.float32(1.0), np.float32(3.0), np.float32(1.2)
OVERCAST, SIGMA = np.float32(0.952), np.float32(5.670374419e-8)


def plain(tas: Array, vap: Array, clt: Array) -> Array:
    """Return the flux, W m-2: the formula as it is printed."""
    w = VAPOUR * vap / tas
    clear = ONE - (ONE + w) * np.exp(-np.sqrt(FLOOR + THREE * w))
    n2 = clt * clt
    t2 = tas * tas
    return (clear + n2 * n2 * (OVERCAST - clear)) * SIGMA * t2 * t2


class InPlace:
    """The formula without temporaries: all results go into arrays that are kept."""

    def __init__(self, n: int) -> None:
        self.a, self.b = np.empty(n, np.float32), np.empty(n, np.float32)

    def __call__(self, tas: Array, vap: Array, clt: Array, out: Array) -> None:
        """Put the flux into `out`."""
        a, b = self.a[: tas.size], self.b[: tas.size]
        np.divide(vap, tas, out=a)
        a *= VAPOUR
        np.multiply(a, THREE, out=b)
        b += FLOOR
        np.sqrt(b, out=b)
        np.negative(b, out=b)
        np.exp(b, out=b)
        a += ONE
        a *= b
        np.subtract(ONE, a, out=a)
        np.multiply(clt, clt, out=b)
        b *= b
        np.subtract(OVERCAST, a, out=out)
        out *= b
        out += a
        np.multiply(tas, tas, out=b)
        b *= b
        out *= b
        out *= SIGMA


def blocked(tas: Array, vap: Array, clt: Array, out: Array) -> None:
    """Put the flux into `out`, a cache-sized block after the other."""
    act = InPlace(BLOCK)
    for start in range(0, tas.size, BLOCK):
        part = slice(start, start + BLOCK)
        act(tas[part], vap[part], clt[part], out[part])
