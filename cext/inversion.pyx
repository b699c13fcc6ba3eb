"""Least squares of the Ross-Li model over the looks at each pixel.

Pixels go in pieces that stay in the cache; within a piece the loop over
looks is the outer one, so that kernels and sums run in vectors along the
pixels. Sums are of double precision: the normal matrix of few and similar
looks is nearly singular.
"""

from cython.parallel cimport prange
from libc.math cimport NAN, sqrt as square_root
from libc.stdint cimport uint8_t
from cext.brdf cimport kgeo_sparse, kvol_thick
from cext.vecmath cimport real, in_row

cdef enum:
    PIECE = 256
    SUMS = 11
    LACKS = 0
    FULL = 1
    MAGNITUDE = 2


cdef void add_look(in_row y, in_row sza, in_row vza, in_row raa, in_row w, double* sums, Py_ssize_t n) noexcept nogil:
    """Add one look to the sums of a piece: the normal matrix, the right-hand side, y^2 and the number of looks."""
    cdef real vol[PIECE]
    cdef real geo[PIECE]
    cdef double v, g, f, u
    cdef Py_ssize_t i
    for i in range(n):
        vol[i] = kvol_thick(sza[i], vza[i], raa[i])
    for i in range(n):
        geo[i] = kgeo_sparse(sza[i], vza[i], raa[i])
    for i in range(n):
        # A look counts where all of it is there and its weight is above 0.
        u = w[i] if (w[i] > 0) & (y[i] + vol[i] + geo[i] == y[i] + vol[i] + geo[i]) else 0.0
        v = vol[i] if u > 0 else 0.0
        g = geo[i] if u > 0 else 0.0
        f = y[i] if u > 0 else 0.0
        sums[i] += u
        sums[PIECE + i] += u * v
        sums[2 * PIECE + i] += u * g
        sums[3 * PIECE + i] += u * v * v
        sums[4 * PIECE + i] += u * v * g
        sums[5 * PIECE + i] += u * g * g
        sums[6 * PIECE + i] += u * f
        sums[7 * PIECE + i] += u * v * f
        sums[8 * PIECE + i] += u * g * f
        sums[9 * PIECE + i] += u * f * f
        sums[10 * PIECE + i] += 1.0 if u > 0 else 0.0


cdef int solve(const double* s, real prior_vol, real prior_geo, int least, double* x, double* rmse) noexcept nogil:
    """Solve one pixel from its sums (`PIECE` apart); by one factor on the prior's shape where that is all there is."""
    cdef double a00 = s[0], a01 = s[PIECE], a02 = s[2 * PIECE], a11 = s[3 * PIECE], a12 = s[4 * PIECE]
    cdef double a22 = s[5 * PIECE], b0 = s[6 * PIECE], b1 = s[7 * PIECE], b2 = s[8 * PIECE]
    cdef double c11, c12, c22, d1, d2, left, size, factor
    cdef int how = LACKS
    x[0] = NAN
    x[1] = NAN
    x[2] = NAN
    rmse[0] = NAN
    if s[10 * PIECE] < 1.0:
        return LACKS
    if s[10 * PIECE] >= least:
        # Without the mean: covariances, and their determinant against what it would be if both were independent.
        c11 = a11 - a01 * a01 / a00
        c12 = a12 - a01 * a02 / a00
        c22 = a22 - a02 * a02 / a00
        size = c11 * c22
        left = size - c12 * c12
        if (c11 > 1e-6 * a00) and (c22 > 1e-6 * a00) and (left > 1e-4 * size):
            d1 = b1 - a01 * b0 / a00
            d2 = b2 - a02 * b0 / a00
            x[1] = (d1 * c22 - d2 * c12) / left
            x[2] = (d2 * c11 - d1 * c12) / left
            x[0] = (b0 - a01 * x[1] - a02 * x[2]) / a00
            how = FULL if x[0] >= 0.0 else LACKS
    if how == LACKS:
        size = a00 + 2 * prior_vol * a01 + 2 * prior_geo * a02
        size += prior_vol * prior_vol * a11 + 2 * prior_vol * prior_geo * a12 + prior_geo * prior_geo * a22
        factor = b0 + prior_vol * b1 + prior_geo * b2
        factor = factor / size if (size > 1e-9 * a00) and (factor > 0.0) else 0.0
        if prior_vol != prior_vol or prior_geo != prior_geo:
            x[0] = NAN
            x[1] = NAN
            x[2] = NAN
            return LACKS
        x[0] = factor
        x[1] = factor * prior_vol
        x[2] = factor * prior_geo
        how = MAGNITUDE
    left = s[9 * PIECE] - 2 * (x[0] * b0 + x[1] * b1 + x[2] * b2)
    left += x[0] * x[0] * a00 + x[1] * x[1] * a11 + x[2] * x[2] * a22
    left += 2 * (x[0] * x[1] * a01 + x[0] * x[2] * a02 + x[1] * x[2] * a12)
    rmse[0] = square_root(left / a00) if left > 0.0 else 0.0
    return how


cdef void run_piece(const real* y, const real* sza, const real* vza, const real* raa, const real* w, const real* pvol,
                    const real* pgeo, int least, real* weights, uint8_t* quality, Py_ssize_t looks, Py_ssize_t n,
                    Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef double sums[SUMS * PIECE]
    cdef double x[3]
    cdef double rmse
    cdef Py_ssize_t i, k, at
    for i in range(SUMS * PIECE):
        sums[i] = 0.0
    for k in range(looks):
        at = k * n + first
        add_look(y + at, sza + at, vza + at, raa + at, w + at, sums, count)
    for i in range(count):
        at = first + i
        quality[at] = <uint8_t>solve(sums + i, pvol[at], pgeo[at], least, x, &rmse)
        for k in range(3):
            weights[k * n + at] = <real>x[k]
        weights[3 * n + at] = <real>rmse
        weights[4 * n + at] = <real>sums[10 * PIECE + i]


def invert(const real[:, ::1] y, const real[:, ::1] sza, const real[:, ::1] vza, const real[:, ::1] raa,
           const real[:, ::1] w, const real[::1] pvol, const real[::1] pgeo, int least, real[:, ::1] weights,
           uint8_t[::1] quality, int threads=1):
    """Fill `weights` (5, n): isotropic, volume, geometric weight, rmse, looks; and `quality` (n,).

    Parameters
    ----------
    y, sza, vza, raa, w : (looks, n) reflectance, angles in degrees, weight of each look
    pvol, pgeo : (n,) shape of the prior: volume and geometric weight over the isotropic one
    least : number of looks from which all three weights are sought
    """
    cdef Py_ssize_t looks = y.shape[0], n = y.shape[1], pieces, piece
    if not (sza.shape[0] == vza.shape[0] == raa.shape[0] == w.shape[0] == looks):
        raise ValueError(f"angles and weights need {looks} looks")
    if not (sza.shape[1] == vza.shape[1] == raa.shape[1] == w.shape[1] == n):
        raise ValueError(f"angles and weights need {n} pixels")
    if pvol.shape[0] != n or pgeo.shape[0] != n or quality.shape[0] != n:
        raise ValueError(f"prior and quality need {n} elements")
    if weights.shape[0] != 5 or weights.shape[1] != n:
        raise ValueError(f"weights need the shape {(5, n)}")
    if n == 0 or looks == 0:
        raise ValueError("nothing to invert: no pixels or no looks")
    pieces = (n + PIECE - 1) // PIECE
    for piece in prange(pieces, nogil=True, num_threads=threads, schedule="static"):
        run_piece(&y[0, 0], &sza[0, 0], &vza[0, 0], &raa[0, 0], &w[0, 0], &pvol[0], &pgeo[0], least, &weights[0, 0],
                  &quality[0], looks, n, piece * PIECE, min(PIECE, n - piece * PIECE))
