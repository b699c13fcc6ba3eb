"""Classes of pixels from a trained model: Gaussian maximum likelihood, or a decision tree in flat arrays."""

from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t
from cext.vecmath cimport exp

cdef enum:
    LANES = 16
    BANDS = 32
    CLASSES = 64
    NOTHING = 255  # the class of what cannot be classified


cdef void gaussian_block(
        const float[:, ::1] x, const double[:, ::1] mean, const float[:, :, ::1] inverse, const double[::1] constant,
        double farthest, uint8_t[::1] label, float[::1] share, Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Classify at most sixteen pixels from `at` on: the class of the largest density times prior.

    Differences from the mean are double, the rest is single: 1e-6 of a distance changes no class that is sure.
    """
    cdef double here[BANDS * LANES]
    cdef float off[BANDS * LANES]
    cdef float score[CLASSES * LANES]
    cdef float away[LANES]
    cdef float z[LANES]
    cdef float best[LANES]
    cdef float distance[LANES]
    cdef float total[LANES]
    cdef int32_t which[LANES]
    cdef float factor, found, first
    cdef Py_ssize_t bands = x.shape[0], classes = mean.shape[0], c, i, j, k
    for i in range(LANES):
        best[i] = -INFINITY
        distance[i] = INFINITY
        total[i] = 0.0
        which[i] = NOTHING
    for k in range(bands):
        for i in range(LANES):
            here[k * LANES + i] = x[k, at + i] if i < n else 0.0
    for c in range(classes):
        for k in range(bands):
            for i in range(LANES):
                off[k * LANES + i] = <float> (here[k * LANES + i] - mean[c, k])
        first = <float> constant[c]
        for i in range(LANES):
            away[i] = 0.0
        for j in range(bands):
            for i in range(LANES):
                z[i] = 0.0
            for k in range(j + 1):
                factor = inverse[c, j, k]
                for i in range(LANES):
                    z[i] += factor * off[k * LANES + i]
            for i in range(LANES):
                away[i] += z[i] * z[i]
        for i in range(LANES):
            found = first - away[i] * <float> 0.5
            score[c * LANES + i] = found
            distance[i] = away[i] if found > best[i] else distance[i]
            which[i] = <int32_t> c if found > best[i] else which[i]
            best[i] = found if found > best[i] else best[i]
    for c in range(classes):
        for i in range(LANES):
            found = score[c * LANES + i] - best[i]
            total[i] += exp(found if found > -80.0 else -80.0)
    for i in range(n):
        if distance[i] <= farthest and which[i] != NOTHING:
            label[at + i] = <uint8_t> which[i]
            share[at + i] = <float> 1.0 / total[i]
        else:  # also where a band is missing: nothing is greater than NaN
            label[at + i] = NOTHING
            share[at + i] = 0.0


def gaussian(const float[:, ::1] x, const double[:, ::1] mean, const float[:, :, ::1] inverse,
             const double[::1] constant, double farthest, uint8_t[::1] label, float[::1] share, int threads=1):
    """Number of the likeliest class, and its posterior probability, for each column of `x` (bands, pixels).

    Parameters
    ----------
    mean : (classes, bands)
    inverse : (classes, bands, bands), inverse of the lower Cholesky factor of each covariance
    constant : (classes,), logarithm of the prior less half the logarithm of the determinant
    farthest : squared distance of Mahalanobis beyond which a pixel belongs to no class
    label, share : outputs; 255 and 0 where a band is missing or all classes are too far
    """
    cdef Py_ssize_t n = x.shape[1], blocks = (x.shape[1] + LANES - 1) // LANES, block
    if x.shape[0] > BANDS or mean.shape[0] > CLASSES:
        raise ValueError(f"at most {BANDS} bands and {CLASSES} classes")
    for block in prange(blocks, nogil=True, num_threads=threads, schedule="static"):
        gaussian_block(x, mean, inverse, constant, farthest, label, share, block * LANES,
                       min(<Py_ssize_t> LANES, n - block * LANES))


cdef void tree_block(
        const float[:, ::1] x, const int32_t[::1] band, const float[::1] threshold, const int32_t[:, ::1] child,
        const uint8_t[::1] leaf, const float[::1] purity, Py_ssize_t depth, uint8_t[::1] label, float[::1] share,
        Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Walk at most sixteen pixels down; a leaf is its own child, so all take `depth` steps."""
    cdef int32_t node[LANES]
    cdef float seen
    cdef Py_ssize_t bands = x.shape[0], _step, i, k
    for i in range(LANES):
        node[i] = 0
    for _step in range(depth):
        for i in range(n):
            node[i] = child[node[i], 1 if x[band[node[i]], at + i] > threshold[node[i]] else 0]
    for i in range(n):
        seen = 0.0
        for k in range(bands):
            seen += x[k, at + i]
        label[at + i] = leaf[node[i]] if seen == seen else NOTHING
        share[at + i] = purity[node[i]] if seen == seen else 0.0


def tree(const float[:, ::1] x, const int32_t[::1] band, const float[::1] threshold, const int32_t[:, ::1] child,
         const uint8_t[::1] leaf, const float[::1] purity, int depth, uint8_t[::1] label, float[::1] share,
         int threads=1):
    """Class at the leaf that each column of `x` (bands, pixels) falls into, and the share of that class in the leaf.

    Parameters
    ----------
    band, threshold : (nodes,) what a node asks; the right child is taken above the threshold
    child : (nodes, 2) left and right; a leaf is its own
    leaf, purity : (nodes,) class, and its share among the training pixels
    depth : steps from the root to the deepest leaf
    label, share : outputs; 255 and 0 where a band is missing
    """
    cdef Py_ssize_t n = x.shape[1], blocks = (x.shape[1] + LANES - 1) // LANES, block
    for block in prange(blocks, nogil=True, num_threads=threads, schedule="static"):
        tree_block(x, band, threshold, child, leaf, purity, depth, label, share, block * LANES,
                   min(<Py_ssize_t> LANES, n - block * LANES))
