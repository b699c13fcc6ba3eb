"""The longwave formula in Numba, one thread, fast mathematics. Optional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def make(tas: Any, vap: Any, clt: Any, out: Any) -> Callable[[], Any]:
    """Return a function that puts the flux into `out`.

    Raises
    ------
    ImportError
        Where Numba is not installed.
    """
    import numba
    import numpy as np

    vapour, floor, overcast, sigma = (np.float32(x) for x in (0.465, 1.2, 0.952, 5.670374419e-8))
    one, three = np.float32(1.0), np.float32(3.0)

    @numba.njit(fastmath=True)
    def loop(tas: Any, vap: Any, clt: Any, out: Any) -> None:
        for i in range(tas.size):
            w = vapour * vap[i] / tas[i]
            clear = one - (one + w) * np.exp(-np.sqrt(floor + three * w))
            n2 = clt[i] * clt[i]
            t2 = tas[i] * tas[i]
            out[i] = (clear + n2 * n2 * (overcast - clear)) * sigma * t2 * t2

    return lambda: loop(tas, vap, clt, out)
