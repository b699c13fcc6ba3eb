"""Terms of the atmosphere from a table, and aerosol from dark surfaces.

The table has four axes (aerosol optical depth, zenith angles of sun and
sensor, relative azimuth) and four numbers at each node: path reflectance,
two-way scattering transmittance, reflectance from below, nothing. Four
numbers are one vector of the narrowest kind, which all corners are added in.
"""

from cython.parallel cimport prange
from libc.math cimport NAN
from cext.vecmath cimport real

cdef extern from *:
    """
    typedef struct { const real *table; const real *axis[4]; int size[4]; } pips_table;

    /* Index of the interval that holds x and the weight of its upper end; axes are short, so all are compared. */
    static inline int pips_interval(const real *axis, int size, real x, real *weight) {
        int k = 0;
        for (int j = 1; j < size - 1; j++) k += x >= axis[j];
        *weight = size > 1 ? (x - axis[k]) / (axis[k + 1] - axis[k]) : 0;
        return k;
    }

    /* Sum of the eight corners in the three angles at aerosol node `a`; `out` holds four numbers. */
    static inline void pips_corners(const pips_table *t, int a, const int *k, const real *w, real *restrict out) {
        for (int c = 0; c < 4; c++) out[c] = 0;
        for (int corner = 0; corner < 8; corner++) {
            real share = 1;
            int at = a;
            for (int d = 0; d < 3; d++) {
                int up = corner >> d & 1;
                share *= up ? w[d] : 1 - w[d];
                at = at * t->size[d + 1] + (up && t->size[d + 1] > 1 ? k[d] + 1 : k[d]);
            }
            const real *node = t->table + 4 * (Py_ssize_t)at;
            for (int c = 0; c < 4; c++) out[c] += share * node[c];
        }
    }

    /* Place the angles; 0 where a zenith angle lies beyond the table. A table of one angle serves all. */
    static inline int pips_place(const pips_table *t, const real *x, int *k, real *w) {
        int inside = 1;
        for (int d = 0; d < 3; d++) {
            const real *axis = t->axis[d + 1];
            int size = t->size[d + 1];
            inside &= size == 1 || (x[d] >= axis[0] - 1e-3f && x[d] <= axis[size - 1] + 1e-3f);
            k[d] = pips_interval(axis, size, x[d], w + d);
        }
        return inside;
    }
    """
    ctypedef struct pips_table:
        const real* table
        const real* axis[4]
        int size[4]
    int pips_interval(const real*, int, real, real*) noexcept nogil
    void pips_corners(const pips_table*, int, const int*, const real*, real*) noexcept nogil
    int pips_place(const pips_table*, const real*, int*, real*) noexcept nogil

cdef enum:
    NODES = 32


cdef pips_table describe(const real[:, :, :, :, ::1] table, list axes):
    """Addresses and sizes of a table and its axes."""
    cdef pips_table t
    cdef const real[::1] axis
    cdef int d
    if table.shape[4] != 4:
        raise ValueError(f"a node has {table.shape[4]} numbers, wanted 4")
    if table.shape[0] > NODES:
        raise ValueError(f"{table.shape[0]} aerosol depths, at most {NODES} are possible")
    t.table = &table[0, 0, 0, 0, 0]
    for d in range(4):
        axis = axes[d]
        if axis.shape[0] != table.shape[d]:
            raise ValueError(f"axis {d} has {axis.shape[0]} values, the table has {table.shape[d]}")
        t.axis[d] = &axis[0]
        t.size[d] = <int>table.shape[d]
    return t


cdef void terms_at(const pips_table* t, real aod, real sza, real vza, real raa, real* path, real* tscat,
                   real* salb) noexcept nogil:
    cdef real x[3]
    cdef real w[3]
    cdef real low[4]
    cdef real high[4]
    cdef int k[3]
    cdef real part = 0, depth = aod
    cdef int a
    x[0] = sza
    x[1] = vza
    x[2] = raa
    path[0] = tscat[0] = salb[0] = <real>NAN
    if not pips_place(t, x, k, w) or aod != aod:
        return
    depth = depth if depth > t.axis[0][0] else t.axis[0][0]
    depth = depth if depth < t.axis[0][t.size[0] - 1] else t.axis[0][t.size[0] - 1]
    a = pips_interval(t.axis[0], t.size[0], depth, &part)
    pips_corners(t, a, k, w, low)
    pips_corners(t, a + 1 if t.size[0] > 1 else a, k, w, high)
    path[0] = low[0] + part * (high[0] - low[0])
    tscat[0] = low[1] + part * (high[1] - low[1])
    salb[0] = low[2] + part * (high[2] - low[2])


cdef real depth_at(const pips_table* t, real toar, real sr, real sza, real vza, real raa) noexcept nogil:
    """Aerosol depth that makes a surface of reflectance `sr` look like `toar`; NaN where none in the table does."""
    cdef real x[3]
    cdef real w[3]
    cdef real node[4]
    cdef real seen[NODES]
    cdef int k[3]
    cdef int a, _step
    cdef real low, high, middle, at, part = 0, value
    x[0] = sza
    x[1] = vza
    x[2] = raa
    if not pips_place(t, x, k, w) or toar + sr != toar + sr:
        return <real>NAN
    for a in range(t.size[0]):
        pips_corners(t, a, k, w, node)
        seen[a] = node[0] + node[1] * sr / (1 - node[2] * sr)
    low = t.axis[0][0]
    high = t.axis[0][t.size[0] - 1]
    # Only where aerosol brightens the scene throughout: over brighter ground it does not tell.
    for a in range(1, t.size[0]):
        if not (seen[a] > seen[a - 1]):
            return <real>NAN
    if toar > seen[t.size[0] - 1]:
        return <real>NAN
    if toar <= seen[0]:
        return low
    for _step in range(20):
        middle = <real>0.5 * (low + high)
        a = pips_interval(t.axis[0], t.size[0], middle, &part)
        at = seen[a]
        value = at + part * (seen[a + 1] - at)
        if value < toar:
            low = middle
        else:
            high = middle
    return <real>0.5 * (low + high)


def interpolate(const real[:, :, :, :, ::1] table, list axes, const real[::1] aod, const real[::1] sza,
                const real[::1] vza, const real[::1] raa, real[::1] path, real[::1] tscat, real[::1] salb,
                int threads=1):
    """Fill the three terms of each pixel, linear along each axis; NaN beyond the zenith angles of the table."""
    cdef pips_table t = describe(table, axes)
    cdef Py_ssize_t i, n = aod.shape[0]
    for i in prange(n, nogil=True, num_threads=threads, schedule="static"):
        terms_at(&t, aod[i], sza[i], vza[i], raa[i], &path[i], &tscat[i], &salb[i])


def dark_target(const real[:, :, :, :, ::1] table, list axes, const real[::1] toar, const real[::1] sr,
                const real[::1] sza, const real[::1] vza, const real[::1] raa, real[::1] aod, int threads=1):
    """Fill the aerosol depth of each pixel by bisection."""
    cdef pips_table t = describe(table, axes)
    cdef Py_ssize_t i, n = toar.shape[0]
    if t.size[0] < 2:
        raise ValueError("the table has one aerosol depth, wanted at least two")
    for i in prange(n, nogil=True, num_threads=threads, schedule="static"):
        aod[i] = depth_at(&t, toar[i], sr[i], sza[i], vza[i], raa[i])
