"""Weights of the Ross-Li model from a window of looks at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError

Float32Array = npt.NDArray[np.float32]

# Shape of a mean land surface for pixels with few looks: weights over the isotropic one.
PRIOR_VOL, PRIOR_GEO = 0.45, 0.12
LEAST_LOOKS = 7
QUALITY = ("no looks", "full inversion", "magnitude of the prior's shape")


@dataclass(frozen=True)
class Inversion:
    """Weights (1), their root mean square misfit, the number of looks, and how they were found (see `QUALITY`)."""

    iso: Float32Array
    vol: Float32Array
    geo: Float32Array
    rmse: Float32Array
    looks: Float32Array
    quality: npt.NDArray[np.uint8]


def invert(
    reflectance: npt.ArrayLike,
    sza: npt.ArrayLike,
    vza: npt.ArrayLike,
    raa: npt.ArrayLike,
    weight: npt.ArrayLike = 1.0,
    prior: tuple[npt.ArrayLike, npt.ArrayLike] = (PRIOR_VOL, PRIOR_GEO),
    least_looks: int = LEAST_LOOKS,
    threads: int = 1,
) -> Inversion:
    """Fit reflectance = iso + vol Kvol + geo Kgeo to the clear looks of a period (usually 16 days).

    Parameters
    ----------
    reflectance : (looks, ...) of the surface; NaN where cloudy or missing
    sza, vza, raa : broadcast to it, degrees; relative azimuth 0 where the sensor stands in the direction of the sun
    weight : broadcast to it; a look of weight 0 does not count
    prior : (...) volume and geometric weight over the isotropic one, for pixels with fewer looks
    least_looks : from here on all three weights are sought
    threads : the values do not depend on it

    Returns
    -------
    Inversion
        Arrays of the shape (...). Where the looks are fewer, too alike, or ask for an isotropic weight below 0, one
        factor on the shape of the prior is fitted. NaN without any look.

    Raises
    ------
    InputError
        Without a first axis of looks.

    Notes
    -----
    Kernels: Lucht, Schaaf and Strahler (2000), doi:10.1109/36.841980; magnitude inversion: Strugnell and Lucht
    (2001), doi:10.1175/1520-0442(2001)014<1360:AATSSA>2.0.CO;2. Sums in double precision.
    """
    from pipshpc._inversion import invert as run

    y = np.asarray(reflectance, np.float32)
    if y.ndim < 1 or y.shape[0] == 0 or y.size == 0:
        raise InputError(f"reflectance of shape {y.shape}: wanted looks along the first axis, at least one")
    looks, shape = y.shape[0], y.shape[1:]
    rows = [np.ascontiguousarray(y.reshape(looks, -1))]
    rows += [_spread(a, y.shape).reshape(looks, -1) for a in (sza, vza, raa, weight)]
    n = rows[0].shape[1]
    shapes = [_spread(p, shape).reshape(-1) for p in prior]
    found, quality = np.empty((5, n), np.float32), np.empty(n, np.uint8)
    run(*rows, *shapes, least_looks, found, quality, threads)
    iso, vol, geo, rmse, counted = (f.reshape(shape) for f in found)
    return Inversion(iso, vol, geo, rmse, counted, quality.reshape(shape))


def _spread(values: npt.ArrayLike, shape: tuple[int, ...]) -> Float32Array:
    """Values as contiguous float32 of `shape`."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.float32), shape))
