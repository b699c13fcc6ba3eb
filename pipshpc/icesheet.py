"""Height change of an ice sheet from altimeter points, and its mass.

Around each node of a grid a surface is fitted to the points within a radius:
a quadratic in place, a line in time and a yearly wave. Points lie in buckets
as wide as the radius, so a node looks at nine of them and a part of the area
needs the points of its halo, one radius wide. Sums are of double precision,
in the order of the points, whichever part they come with: a split changes no bit.
Schenk and Csatho (2012), doi:10.1109/TGRS.2011.2182357; Smith et al. (2009), doi:10.3189/002214309789470879.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipshpc.amount import Amount
from pipshpc.errors import SpecError

FEWEST = 15  # points of a full fit
EDITS = 5  # times that outliers are taken out
SIGMAS = 3.0
ILL = 1e-10  # of a pivot against its diagonal: the points do not determine the coefficient
ICE_DENSITY = 917.0  # kg m-3
# Terms that remain with fewer points, or points that do not tell them apart: all, without the wave, a plane in place.
ORDERS = ((0, 1, 2, 3, 4, 5, 6, 7, 8), (0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 6))

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Altimeter heights: x, y in m, time in years, height in m; in a fixed order (sorted by time, place, height)."""

    x: Doubles
    y: Doubles
    t: Doubles
    h: Doubles

    @classmethod
    def sorted(cls, x: npt.ArrayLike, y: npt.ArrayLike, t: npt.ArrayLike, h: npt.ArrayLike) -> Points:
        """Drop what is missing and bring the rest into the order that makes sums the same for any split."""
        columns = [np.asarray(a, np.float64).ravel() for a in (x, y, t, h)]
        if len({c.size for c in columns}) != 1:
            raise SpecError(f"points: found {[c.size for c in columns]} values of x, y, t, h; wanted as many of each")
        there = np.logical_and.reduce([np.isfinite(c) for c in columns])
        order = np.lexsort([c[there] for c in columns][::-1])
        return cls(*(c[there][order] for c in columns))


@dataclass(frozen=True)
class Change:
    """What was found at the nodes; NaN where too few points were about.

    rate : m a-1; error : its standard error; height : m at the mean time;
    spread : m, of the residuals; used, edited : numbers of points
    """

    rate: Doubles
    error: Doubles
    height: Doubles
    spread: Doubles
    used: npt.NDArray[np.int32]
    edited: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Fit:
    """Coefficients c0, x, y, x2, xy, y2 (km), t (a), cosine, sine of the year; centred on place and mean time."""

    coefficients: Doubles
    errors: Doubles
    spread: float
    kept: npt.NDArray[np.bool_]


def fit_surface(x: Doubles, y: Doubles, t: Doubles, h: Doubles, mean_time: float | None = None) -> Fit | None:
    """Fit the surface to points about the origin; None where there are too few.

    Parameters
    ----------
    x, y : km from the node
    t : years
    h : m
    mean_time : of which the line in time is 0; the mean of the points where not given
    """
    centre = float(t.mean()) if mean_time is None else mean_time
    since, level = t - centre, float(h.mean()) if h.size else 0.0
    turn = 2 * np.pi * t
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, since, np.cos(turn), np.sin(turn)], axis=1)
    kept = np.ones(h.size, bool)
    found = None
    for _ in range(EDITS + 1):
        found = _solve(terms[kept], h[kept] - level)
        if found is None:
            return None
        used, values, errors, spread = found
        off = np.abs(h - level - terms[:, list(used)] @ values)
        keep = off <= SIGMAS * max(spread, 1e-9)
        if np.array_equal(keep & kept, kept):
            break
        kept &= keep
    coefficients, sigma = np.zeros(9), np.full(9, np.nan)
    coefficients[list(used)], sigma[list(used)] = values, errors
    coefficients[0] += level
    return Fit(coefficients, sigma, spread, kept)


def _solve(terms: Doubles, h: Doubles) -> tuple[tuple[int, ...], Doubles, Doubles, float] | None:
    """Least squares by normal equations and Cholesky, with as many terms as the points bear."""
    for order in ORDERS:
        a = terms[:, list(order)]
        if len(a) < max(len(order) + 2, FEWEST if len(order) > 4 else 6):
            continue
        scale = np.sqrt((a * a).sum(axis=0))
        if not (scale > 0).all():
            continue
        a = a / scale
        lower = _cholesky(a.T @ a)
        if lower is None:
            continue
        half = np.linalg.inv(lower)
        inverse = half.T @ half
        values = inverse @ (a.T @ h)
        values += inverse @ (a.T @ (h - a @ values))  # what rounding left
        rest = h - a @ values
        variance = float((rest * rest).sum() / (len(a) - len(order)))
        errors = np.sqrt(variance * np.diag(inverse)) / scale
        return order, values / scale, errors, float(np.sqrt(variance))
    return None


def _cholesky(normal: Doubles) -> Doubles | None:
    """The lower factor; None where a pivot says that the points do not tell the terms apart."""
    try:
        lower = np.asarray(np.linalg.cholesky(normal), np.float64)
    except np.linalg.LinAlgError:
        return None
    return lower if (np.diag(lower) ** 2 > ILL * np.diag(normal)).all() else None


def height_change(points: Points, x: Doubles, y: Doubles, radius: float = 1000.0) -> Change:
    """Fit the surface about each node.

    Parameters
    ----------
    points : those of the area and of a halo of `radius`
    x, y : (ny, nx) or any shape, m, of the nodes
    radius : m

    Raises
    ------
    SpecError
        Where the radius is not above 0.
    """
    if radius <= 0:
        raise SpecError(f"radius: found {radius:g} m, wanted more than 0")
    buckets = _fill_buckets(points, radius)
    shape = np.shape(x)
    out = {n: np.full(shape, np.nan) for n in ("rate", "error", "height", "spread")}
    used, edited = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    for at in np.ndindex(shape):
        near = _near(points, buckets, float(x[at]), float(y[at]), radius)
        dx, dy = (points.x[near] - x[at]) * 1e-3, (points.y[near] - y[at]) * 1e-3
        fit = fit_surface(dx, dy, points.t[near], points.h[near]) if near.size else None
        if fit is None:
            continue
        out["rate"][at], out["error"][at] = fit.coefficients[6], fit.errors[6]
        out["height"][at], out["spread"][at] = fit.coefficients[0], fit.spread
        used[at], edited[at] = int(fit.kept.sum()), int((~fit.kept).sum())
    return Change(**out, used=used, edited=edited)


def _fill_buckets(points: Points, radius: float) -> dict[tuple[int, int], npt.NDArray[np.int64]]:
    """Return the numbers of the points by bucket."""
    row, column = np.floor(points.y / radius).astype(np.int64), np.floor(points.x / radius).astype(np.int64)
    order = np.lexsort([column, row])
    keys = np.stack([row[order], column[order]], axis=1)
    starts = np.flatnonzero(np.r_[True, (np.diff(keys, axis=0) != 0).any(axis=1)]) if len(keys) else np.array([], int)
    parts = np.split(order, starts[1:]) if starts.size else []
    return {(int(keys[s, 0]), int(keys[s, 1])): part for s, part in zip(starts, parts, strict=True)}


def _near(
    points: Points, buckets: dict[tuple[int, int], npt.NDArray[np.int64]], x: float, y: float, radius: float
) -> npt.NDArray[np.int64]:
    """Return the points within the radius, in their order."""
    row, column = int(np.floor(y / radius)), int(np.floor(x / radius))
    found = [buckets.get((row + dy, column + dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    there = [part for part in found if part is not None]
    if not there:
        return np.array([], np.int64)
    near = np.sort(np.concatenate(there))
    return near[(points.x[near] - x) ** 2 + (points.y[near] - y) ** 2 <= radius * radius]


def mass_rate(rate: Doubles, cell_area: Doubles | float, density: float = ICE_DENSITY) -> float:
    """Return the change of mass, Gt a-1, of height rates (m a-1; NaN is left out) over cells (km2).

    `density` kg m-3: 917 where ice flows or melts, about 850 for a mean of
    ice and firn (Huss 2013, doi:10.5194/tc-7-877-2013).
    """
    total = Amount()
    total.add(rate, cell_area)
    return total.value * density * 1e-6
