"""Classes of pixels from a trained model: Gaussian maximum likelihood, or a decision tree in flat arrays."""

from cython.parallel cimport prange
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy
from cext.vecmath cimport exp

cdef extern from "classify.h":
    void pips_distances(const float* here, const float* high, const float* low, const float* inverse,
                        Py_ssize_t bands, float* away) noexcept nogil

cdef enum:
    LANES = 16
    WIDE = 32  # pixels that the Gaussian classes take at a time: two vectors, so that sums do not wait for each other
    BANDS = 32
    CLASSES = 64
    NOTHING = 255  # the class of what cannot be classified


cdef void gaussian_block(
        const float** x, Py_ssize_t bands, const float[:, ::1] high, const float[:, ::1] low,
        const float[:, :, ::1] inverse, const float[::1] constant, double farthest, uint8_t* label, float* share,
        Py_ssize_t at, Py_ssize_t n) noexcept nogil:
    """Classify at most 32 pixels from `at` on: the class of the largest density times prior."""
    cdef float here[BANDS * WIDE]
    cdef float score[CLASSES * WIDE]
    cdef float away[WIDE]
    cdef float best[WIDE]
    cdef float distance[WIDE]
    cdef float total[WIDE]
    cdef int32_t which[WIDE]
    cdef float found, first, limit = <float> farthest
    cdef Py_ssize_t classes = high.shape[0], c, i, k
    for i in range(WIDE):
        best[i] = -INFINITY
        distance[i] = INFINITY
        total[i] = 0.0
        which[i] = NOTHING
    for k in range(bands):
        if n == WIDE:
            memcpy(&here[k * WIDE], x[k] + at, WIDE * sizeof(float))
        else:
            for i in range(WIDE):
                here[k * WIDE + i] = x[k][at + i] if i < n else 0.0
    for c in range(classes):
        pips_distances(here, &high[c, 0], &low[c, 0], &inverse[c, 0, 0], bands, away)
        first = constant[c]
        for i in range(WIDE):
            found = first - away[i] * <float> 0.5
            score[c * WIDE + i] = found
            distance[i] = away[i] if found > best[i] else distance[i]
            which[i] = <int32_t> c if found > best[i] else which[i]
            best[i] = found if found > best[i] else best[i]
    for c in range(classes):
        for i in range(WIDE):
            found = score[c * WIDE + i] - best[i]
            total[i] += exp(found if found > <float> -80.0 else <float> -80.0)
    for i in range(WIDE):
        # False also where a band is missing: nothing is greater than NaN.
        found = <float> 1.0 / total[i]
        total[i] = found if distance[i] <= limit else <float> 0.0
        which[i] = which[i] if distance[i] <= limit else NOTHING
        total[i] = total[i] if which[i] != NOTHING else <float> 0.0
    for i in range(n):
        label[at + i] = <uint8_t> which[i]
        share[at + i] = total[i]


def gaussian(list fields, const float[:, ::1] high, const float[:, ::1] low, const float[:, :, ::1] inverse,
             const float[::1] constant, double farthest, uint8_t[::1] label, float[::1] share, int threads=1):
    """Number of the likeliest class of each pixel, and its posterior probability.

    Parameters
    ----------
    fields : the bands, each (pixels,) float32 and contiguous
    high, low : (classes, bands), the mean in two parts: in float32, and what that leaves over
    inverse : (classes, bands, bands), inverse of the lower Cholesky factor of each covariance
    constant : (classes,), logarithm of the prior less half the logarithm of the determinant
    farthest : squared distance of Mahalanobis beyond which a pixel belongs to no class
    label, share : (pixels,), outputs; 255 and 0 where a band is missing or all classes are too far
    """
    cdef Py_ssize_t n = label.shape[0], blocks = (label.shape[0] + WIDE - 1) // WIDE, bands = len(fields), block, k
    cdef const float* x[BANDS]
    cdef const float[::1] band
    if bands > BANDS or high.shape[0] > CLASSES:
        raise ValueError(f"at most {BANDS} bands and {CLASSES} classes")
    if bands != high.shape[1] or share.shape[0] != n:
        raise ValueError(f"{bands} bands and {n} labels, wanted {high.shape[1]} and {share.shape[0]}")
    if n == 0:
        return
    for k in range(bands):
        band = fields[k]  # the list keeps the memory alive
        if band.shape[0] != n:
            raise ValueError(f"band {k} has {band.shape[0]} pixels, wanted {n}")
        x[k] = &band[0]
    for block in prange(blocks, nogil=True, num_threads=threads, schedule="static"):
        gaussian_block(x, bands, high, low, inverse, constant, farthest, &label[0], &share[0], block * WIDE,
                       min(<Py_ssize_t> WIDE, n - block * WIDE))


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
