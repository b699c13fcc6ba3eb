"""The block machine: a chain of compiled loops run row by row, intermediates in the cache.

A chain is a list of operations on *slots*, each slot one row of a block:
interpolate a coarse field into a slot, or call a compiled loop that reads
slots and fills slots. Operations have a level: once per row, once per sample
(time step of the forcing), once per node (instant of the sun within a
sample), or once per sample after its nodes, with their means. Results are
averaged over each window and packed.

Where one slot of the row says what kind of surface a pixel has, an operation
that only some kinds need runs over those vectors of the row only: nothing is
spent on the sea where a block is all land, and the other way round.

Rows are padded to whole vectors, so every pixel takes the same instructions
and its bits do not depend on the block it stands in.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free
from cext.vecmath cimport real, cos, sin, acos, rmax, rmin

import numpy as np

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>
    #include <math.h>
    #if defined(__AVX2__)
    #include <immintrin.h>
    #endif
    #if defined(__AVX512F__)
    #define PIPS_VECTOR 16
    #elif defined(__AVX2__) && defined(__FMA__)
    #define PIPS_VECTOR 8
    #else
    #define PIPS_VECTOR 1
    #endif
    typedef void (*pips_loop)(const real *const *, const real *, real *const *, Py_ssize_t);

    static inline void *pips_aligned(size_t bytes) { void *p = NULL; return posix_memalign(&p, 64, bytes) ? NULL : p; }

    /* One row of a coarse field on rectilinear coordinates: first along y into `line`, then along x.
     *
     * Where the pixels are finer than the field, the neighbours of a whole vector of pixels lie in one vector
     * of the field: `near` says so, and a permutation replaces the gather (decision record 0003).
     */
    static void pips_interp_along(const real *low, const real *high, real wy, int32_t first,
                                  int32_t last, real *restrict line) {
        // A neighbour without weight has no say, not even where it is missing (granules have holes).
        if (wy == 0) high = low;
        for (int32_t i = first; i <= last; i++) line[i] = low[i] + wy * (high[i] - low[i]);
    }

    static void pips_interp_across(int near, const real *restrict line, const int32_t *restrict ix,
                                   const real *restrict wx, real *restrict out, Py_ssize_t n) {
    #ifdef __AVX512F__
        if (near) {
            for (Py_ssize_t i = 0; i < n; i += 16) {
                __m512i at = _mm512_sub_epi32(_mm512_loadu_si512(ix + i), _mm512_set1_epi32(ix[i]));
                __m512 a = _mm512_permutexvar_ps(at, _mm512_loadu_ps(line + ix[i]));
                __m512 b = _mm512_permutexvar_ps(at, _mm512_loadu_ps(line + ix[i] + 1));
                __m512 w = _mm512_loadu_ps(wx + i);
                b = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(w, _mm512_setzero_ps(), _CMP_EQ_OQ), b, a);
                _mm512_storeu_ps(out + i, _mm512_fmadd_ps(w, _mm512_sub_ps(b, a), a));
            }
            return;
        }
    #elif defined(__AVX2__) && defined(__FMA__)
        if (near) {
            for (Py_ssize_t i = 0; i < n; i += 8) {
                __m256i at = _mm256_sub_epi32(_mm256_loadu_si256((const __m256i *)(ix + i)), _mm256_set1_epi32(ix[i]));
                __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(line + ix[i]), at);
                __m256 b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(line + ix[i] + 1), at);
                __m256 w = _mm256_loadu_ps(wx + i);
                b = _mm256_blendv_ps(b, a, _mm256_cmp_ps(w, _mm256_setzero_ps(), _CMP_EQ_OQ));
                _mm256_storeu_ps(out + i, _mm256_fmadd_ps(w, _mm256_sub_ps(b, a), a));
            }
            return;
        }
    #endif
        (void)near;
        for (Py_ssize_t i = 0; i < n; i++) {
            real a = line[ix[i]], b = wx[i] == 0 ? a : line[ix[i] + 1];
            out[i] = a + wx[i] * (b - a);
        }
    }

    /* One row where every pixel has its own cell of the coarse field (projected grids). */
    static void pips_interp_cell(const real *restrict field, int32_t stride, const int32_t *restrict cell,
                                 const real *restrict wx, const real *restrict wy, real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) {
            const real *p = field + cell[i];
            real a = p[0] + wx[i] * (p[1] - p[0]);
            real b = p[stride] + wx[i] * (p[stride + 1] - p[stride]);
            out[i] = a + wy[i] * (b - a);
        }
    }

    static void pips_pack_int16(const real *restrict v, real inverse, real offset, int16_t *restrict out,
                                Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) {
            real q = (v[i] - offset) * inverse;
            q = q > 32767.0f ? 32767.0f : q;
            q = q < -32767.0f ? -32767.0f : q;
            q = q == q ? q : -32768.0f;
            out[i] = (int16_t)(int32_t)rintf(q);
        }
    }

    static void pips_pack_uint8(const real *restrict v, real inverse, real offset, uint8_t *restrict out,
                                Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) {
            real q = (v[i] - offset) * inverse;
            q = q > 254.0f ? 254.0f : q;
            q = q < 0.0f ? 0.0f : q;
            q = q == q ? q : 255.0f;
            out[i] = (uint8_t)(int32_t)rintf(q);
        }
    }

    /* Start a window's sample: 0 where all of `seen` is there, NaN elsewhere. */
    static void pips_seen(const real *const *rows, int count, real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] = 0;
        for (int k = 0; k < count; k++) {
            const real *restrict r = rows[k];
            for (Py_ssize_t i = 0; i < n; i++) out[i] += r[i] == r[i] ? 0 : r[i];
        }
    }

    static void pips_zero(real *restrict out, Py_ssize_t n) { for (Py_ssize_t i = 0; i < n; i++) out[i] = 0; }

    static void pips_add(const real *restrict v, real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] += v[i];
    }

    /* Sums weighted by the time that the sun is up become means over that time; what is dark stays 0. */
    static void pips_per_lit(real *restrict out, const real *restrict lit, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] = lit[i] > 0 ? out[i] / lit[i] : out[i];
    }

    /* Take of each pixel the part that is for its kind of surface; missing where there is none. */
    static void pips_select(const real *restrict surface, int parts, const int *kinds, const real *const *from,
                            real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] = NAN;
        for (int k = 0; k < parts; k++) {
            const real *restrict part = from[k];
            real kind = kinds[k];
            for (Py_ssize_t i = 0; i < n; i++) out[i] = surface[i] == kind ? part[i] : out[i];
        }
    }

    /* Runs of vectors with pixels of the wanted kinds: count, then start and end of each, in pixels. */
    static void pips_find_runs(const real *surface, int npad, const uint32_t *sets, int nsets, int32_t *runs,
                               int width) {
        for (int s = 0; s < nsets; s++) runs[(Py_ssize_t)s * width] = 0;
        for (int i = 0; i < npad; i += 16) {
            uint32_t there = 0;
            for (int j = i; j < i + 16; j++) {
                int kind = surface[j] >= 0 && surface[j] < 32 ? (int)surface[j] : -1;
                there |= kind >= 0 ? (uint32_t)1 << kind : 0;
            }
            for (int s = 0; s < nsets; s++) {
                int32_t *of = runs + (Py_ssize_t)s * width;
                if (!(there & sets[s])) continue;
                if (of[0] && of[2 * of[0]] == i) {
                    of[2 * of[0]] = i + 16;
                } else {
                    of[0]++;
                    of[2 * of[0] - 1] = i;
                    of[2 * of[0]] = i + 16;
                }
            }
        }
    }

    static void pips_add_weighted(const real *restrict v, const real *restrict w, real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] += w[i] > 0 ? w[i] * v[i] : 0;
    }

    /* Add one sample to the sums of its window, leaving out missing values. */
    static void pips_accumulate(const real *restrict v, real weight, real *restrict sum, real *restrict total,
                                real *restrict count, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) {
            int there = v[i] == v[i];
            sum[i] += there ? weight * v[i] : 0;
            total[i] += there ? weight : 0;
            count[i] += there ? 1 : 0;
        }
    }

    static void pips_divide(const real *restrict sum, const real *restrict total, real *restrict out, Py_ssize_t n) {
        for (Py_ssize_t i = 0; i < n; i++) out[i] = sum[i] / total[i];
    }
    """
    ctypedef void (*pips_loop)(const real* const*, const real*, real* const*, Py_ssize_t) noexcept nogil
    void* pips_aligned(size_t) noexcept nogil
    int PIPS_VECTOR
    void pips_interp_along(const real*, const real*, real, int32_t, int32_t, real*) noexcept nogil
    void pips_interp_across(int, const real*, const int32_t*, const real*, real*, Py_ssize_t) noexcept nogil
    void pips_zero(real*, Py_ssize_t) noexcept nogil
    void pips_add(const real*, real*, Py_ssize_t) noexcept nogil
    void pips_per_lit(real*, const real*, Py_ssize_t) noexcept nogil
    void pips_select(const real*, int, const int*, const real* const*, real*, Py_ssize_t) noexcept nogil
    void pips_find_runs(const real*, int, const uint32_t*, int, int32_t*, int) noexcept nogil
    void pips_interp_cell(const real*, int32_t, const int32_t*, const real*, const real*, real*,
                          Py_ssize_t) noexcept nogil
    void pips_pack_int16(const real*, real, real, int16_t*, Py_ssize_t) noexcept nogil
    void pips_pack_uint8(const real*, real, real, uint8_t*, Py_ssize_t) noexcept nogil
    void pips_seen(const real* const*, int, real*, Py_ssize_t) noexcept nogil
    void pips_add_weighted(const real*, const real*, real*, Py_ssize_t) noexcept nogil
    void pips_accumulate(const real*, real, real*, real*, real*, Py_ssize_t) noexcept nogil
    void pips_divide(const real*, const real*, real*, Py_ssize_t) noexcept nogil

cdef enum:
    MAX_ARGS = 32
    MAX_OUTS = 40
    MAX_OPS = 96
    MAX_OUTPUTS = 16
    MAX_PARAMETERS = 512
    MAX_MEANS = 32
    MAX_SETS = 16
    ROW = 0
    SAMPLE = 1
    NODE = 2
    AFTER = 3
    LOOP = 1
    SELECT = 2
    SPARE = 12  # rows of a block's own: the sun's

cdef struct Op:
    int kind  # 0: interpolate, 1: loop, 2: select
    int level
    int among  # number of the set of surfaces that need it; -1: all
    int slot  # interpolate, select: where to
    int field  # interpolate: which coarse field
    pips_loop loop
    int nargs
    int args[MAX_ARGS]  # select: surface, then the parts
    int kinds[MAX_ARGS]  # select: of the parts
    int nouts
    int outs[MAX_OUTS]
    int parameter  # offset into the parameters

cdef struct Mean:
    # The mean over the nodes of a sample.
    int slot
    int to
    int among
    int per_lit  # over the time the sun is up, not over all of it
    int nseen  # the slots whose gaps make the result a gap
    int seen[MAX_ARGS]

cdef struct Output:
    int slot
    int among
    int dtype  # 0: int16, 1: uint8, 2: float32
    real inverse
    real offset

cdef struct Runs:
    # The vectors of a row that each set of surfaces needs.
    int32_t* of
    int width
    int32_t* whole

cdef struct Locator:
    int kind  # 0: rectilinear, 1: cell by cell
    int near  # the neighbours of each vector of pixels lie in one vector of the field
    int32_t stride
    int32_t first
    int32_t last
    const int32_t* iy
    const real* wy
    const int32_t* ix  # rectilinear: per column; else per pixel
    const real* wx


cdef class Placement:
    """Where the pixels of one block lie in one coarse grid.

    Parameters
    ----------
    stride : columns of the coarse fields in memory
    iy, wy : rectilinear: (rows,) lower row and weight of the upper; cell by cell: (0,), (rows, npad)
    ix, wx : rectilinear: (npad,) left column and weight of the right; cell by cell: (rows, npad) flat cell index
    """

    cdef Locator it
    cdef object keep

    def __init__(self, int stride, iy, wy, ix, wx):
        cdef int32_t[::1] iyv, ixv
        cdef float[::1] wyv, wxv
        self.it.kind = 0 if ix.ndim == 1 else 1
        self.it.stride = stride
        iy, ix = np.ascontiguousarray(iy, np.int32), np.ascontiguousarray(ix, np.int32)
        wy, wx = np.ascontiguousarray(wy, np.float32), np.ascontiguousarray(wx, np.float32)
        self.it.first, self.it.last = int(ix.min()), int(ix.max()) + 1
        self.keep = iy, wy, ix, wx
        self.it.near = 0
        if self.it.kind == 0 and PIPS_VECTOR > 1:
            vectors = ix.reshape(-1, PIPS_VECTOR)
            first = vectors[:, :1]
            self.it.near = bool(((vectors >= first) & (vectors < first + PIPS_VECTOR)).all())
        ixv, wyv, wxv = ix.reshape(-1), wy.reshape(-1), wx.reshape(-1)
        self.it.ix, self.it.wy, self.it.wx = &ixv[0], &wyv[0], &wxv[0]
        self.it.iy = NULL
        if self.it.kind == 0:
            iyv = iy
            self.it.iy = &iyv[0]


cdef inline int32_t* runs_of(Runs* runs, int among) noexcept nogil:
    if among < 0:
        return runs.whole
    return runs.of + <Py_ssize_t>among * runs.width


cdef class Machine:
    """A compiled chain; `run` makes all windows of one block. Safe to call from several threads."""

    cdef Op ops[MAX_OPS]
    cdef int nops
    cdef Mean means[MAX_MEANS]
    cdef int nmeans
    cdef Output outputs[MAX_OUTPUTS]
    cdef readonly int noutputs
    cdef readonly int nslots
    cdef real par[MAX_PARAMETERS]
    cdef int npar
    cdef int cosz_slot
    cdef int toa_slot
    cdef int has_nodes
    cdef int per_lit
    cdef uint32_t sets[MAX_SETS]
    cdef int nsets
    cdef int surface_slot
    cdef int node_among

    def __init__(self, int nslots, list ops, list outputs, list means, list sets, int cosz_slot=-1,
                 int toa_slot=-1, int surface_slot=-1, int node_among=-1):
        """Take the operations in order; see ``pipshpc.chain`` for what the dicts hold."""
        cdef int k, j
        if len(ops) > MAX_OPS or len(outputs) > MAX_OUTPUTS or len(means) > MAX_MEANS or len(sets) > MAX_SETS:
            raise ValueError(f"a chain holds at most {MAX_OPS} operations and {MAX_OUTPUTS} outputs")
        self.nslots, self.nops, self.noutputs, self.nmeans = nslots, len(ops), len(outputs), len(means)
        self.cosz_slot, self.toa_slot, self.npar, self.has_nodes = cosz_slot, toa_slot, 0, 0
        self.surface_slot, self.node_among, self.nsets = surface_slot, node_among, len(sets)
        for k, members in enumerate(sets):
            self.sets[k] = members
        for k, op in enumerate(ops):
            self.take_op(&self.ops[k], op)
            self.has_nodes |= op["level"] == NODE
        self.per_lit = 0
        for k, mean in enumerate(means):
            self.means[k].slot, self.means[k].to = mean["slot"], mean["to"]
            self.means[k].among, self.means[k].per_lit = mean["among"], mean["per_lit"]
            self.per_lit |= self.means[k].per_lit
            if len(mean["seen"]) > MAX_ARGS:
                raise ValueError("a sunlit quantity follows from at most 32 others")
            self.means[k].nseen = len(mean["seen"])
            for j in range(self.means[k].nseen):
                self.means[k].seen[j] = mean["seen"][j]
        for k, out in enumerate(outputs):
            self.outputs[k].slot, self.outputs[k].among = out["slot"], out["among"]
            self.outputs[k].dtype = {"int16": 0, "uint8": 1, "float32": 2}[out["dtype"]]
            self.outputs[k].inverse, self.outputs[k].offset = 1.0 / out["scale_factor"], out["add_offset"]

    cdef take_op(self, Op* to, dict op):
        cdef int j
        to.level, to.among = op["level"], op["among"]
        to.kind = {"interpolate": 0, "loop": LOOP, "select": SELECT}[op["kind"]]
        if to.kind == 0:
            to.slot, to.field = op["slot"], op["field"]
            return
        to.nargs = len(op["args"])
        if to.nargs > MAX_ARGS:
            raise ValueError("a loop takes at most 32 inputs and gives 40 outputs")
        for j in range(to.nargs):
            to.args[j] = op["args"][j]
        if to.kind == SELECT:
            to.slot = op["slot"]
            for j in range(to.nargs - 1):
                to.kinds[j] = op["kinds"][j]
            return
        to.loop = <pips_loop><void*><uintptr_t><size_t>op["address"]
        to.nouts = len(op["outs"])
        if to.nouts > MAX_OUTS:
            raise ValueError("a loop takes at most 32 inputs and gives 40 outputs")
        for j in range(to.nouts):
            to.outs[j] = op["outs"][j]
        to.parameter = self.npar
        if self.npar + len(op["parameters"]) > MAX_PARAMETERS:
            raise ValueError(f"a chain holds at most {MAX_PARAMETERS} parameters")
        for value in op["parameters"]:
            self.par[self.npar] = value
            self.npar += 1

    def run(self, int rows, int columns, int stride, list placements, int[::1] field_place, size_t[:, ::1] fields,
            real[::1] lat, real[::1] lon, int[::1] windows, real[:, ::1] sun, list values, list counts):
        """Compute one block.

        Parameters
        ----------
        rows, columns : size of the block
        stride : columns of the output arrays (>= columns; the chunk's width)
        placements : list of `Placement`
        field_place : (fields,) which placement each coarse field lies on
        fields : (samples, fields) addresses of coarse fields of `real`
        lat, lon : (rows,), (columns padded to 16,) radians
        windows : (windows + 1,) samples of window w are windows[w] .. windows[w + 1]
        sun : (samples, 6) sin and cos of declination, hour angle at longitude 0 at the sample's start
            and its length (radians), solar irradiance at normal incidence, weight of the sample
        values : list per output of (windows, chunk rows, stride) arrays of the output's dtype
        counts : list per output of (windows, chunk rows, stride) uint8 arrays
        """
        cdef int npad = (columns + 15) // 16 * 16
        cdef int nwin = windows.shape[0] - 1, nplaces = len(placements), k, widest = 0
        cdef Locator place[32]
        cdef Placement p
        cdef void* value_at[MAX_OUTPUTS]
        cdef uint8_t* count_at[MAX_OUTPUTS]
        cdef Py_ssize_t value_step[MAX_OUTPUTS]
        cdef Py_ssize_t count_step[MAX_OUTPUTS]
        cdef size_t address
        cdef int bad
        if lat.shape[0] < rows or lon.shape[0] < npad or nplaces > 32:
            raise ValueError("lat, lon or placements do not fit the block")
        for k in range(nplaces):
            p = placements[k]
            place[k] = p.it
            widest = max(widest, p.it.last + 1 if p.it.kind == 0 else 0)
        for k in range(self.noutputs):
            address = values[k].ctypes.data
            value_at[k], value_step[k] = <void*><uintptr_t>address, values[k].strides[0]
            address = counts[k].ctypes.data
            count_at[k], count_step[k] = <uint8_t*><uintptr_t>address, counts[k].strides[0]
        widest = (widest + 15) // 16 * 16 + 32  # a vector may be read from the last point on
        with nogil:
            bad = self.run_block(rows, columns, npad, stride, place, &field_place[0], &fields[0, 0], fields.shape[1],
                                 &lat[0], &lon[0], &windows[0], nwin, &sun[0, 0], value_at, value_step, count_at,
                                 count_step, widest)
        if bad:
            raise MemoryError(f"no memory for {self.nslots} rows of {npad} pixels")

    cdef int run_block(self, int rows, int columns, int npad, int stride, Locator* place, int* field_place,
                       size_t* fields, Py_ssize_t nfields, real* lat, real* lon, int* windows, int nwin, real* sun,
                       void** value_at, Py_ssize_t* value_step, uint8_t** count_at, Py_ssize_t* count_step,
                       int widest) noexcept nogil:
        cdef int spare = self.noutputs * 4 + SPARE
        cdef Runs runs
        cdef int32_t every[3]
        every[0], every[1], every[2] = 1, 0, npad
        runs.whole = every
        runs.width = npad // 16 + 4
        cdef Py_ssize_t need = (<Py_ssize_t>(self.nslots + spare)) * npad + widest + 16
        cdef real* work = <real*>pips_aligned(need * sizeof(real))
        runs.of = <int32_t*>pips_aligned(MAX_SETS * runs.width * sizeof(int32_t))
        cdef real* slots = work
        cdef real* acc = work + <Py_ssize_t>self.nslots * npad  # per output: sum, total, count, mean
        cdef real* solar = acc + <Py_ssize_t>self.noutputs * 4 * npad
        cdef real* line = work + (<Py_ssize_t>(self.nslots + spare)) * npad
        cdef int row, w, s, k
        cdef real* one
        if work == NULL or runs.of == NULL:
            free(work)
            free(runs.of)
            return 1
        pips_zero(work, need)  # what a row does not need is then at least a number
        for row in range(rows):
            self.run_level(ROW, row, npad, slots, place, field_place, fields, line, &runs)
            for w in range(nwin):
                pips_zero(acc, <Py_ssize_t>self.noutputs * 4 * npad)
                for s in range(windows[w], windows[w + 1]):
                    self.run_sample(row, npad, slots, place, field_place, fields + s * nfields, line,
                                    lat[row], lon, sun + 6 * s, acc, solar, &runs)
                for k in range(self.noutputs):
                    one = acc + <Py_ssize_t>k * 4 * npad
                    pips_divide(one, one + npad, one + 3 * npad, npad)
                    self.store(&self.outputs[k], one + 3 * npad, one + 2 * npad, npad, columns,
                               <char*>value_at[k] + w * value_step[k], count_at[k] + w * count_step[k],
                               <Py_ssize_t>row * stride)
        free(work)
        free(runs.of)
        return 0

    cdef void run_sample(self, int row, int npad, real* slots, Locator* place, int* field_place, size_t* fields,
                         real* line, real lat, real* lon, real* sun, real* acc, real* solar,
                         Runs* runs) noexcept nogil:
        """One time step of the forcing: its sample-level loops, the sun's path through it, what follows of that."""
        cdef int k, r
        cdef int32_t* of
        cdef real* one
        self.run_level(SAMPLE, row, npad, slots, place, field_place, fields, line, runs)
        if self.has_nodes and runs_of(runs, self.node_among)[0]:
            self.run_nodes(row, npad, slots, place, field_place, fields, line, lat, lon, sun, solar, runs)
        self.run_level(AFTER, row, npad, slots, place, field_place, fields, line, runs)
        for k in range(self.noutputs):
            one = acc + <Py_ssize_t>k * 4 * npad
            of = runs_of(runs, self.outputs[k].among)
            for r in range(of[0]):
                pips_accumulate(slots + <Py_ssize_t>self.outputs[k].slot * npad + of[2 * r + 1], sun[5],
                                one + of[2 * r + 1], one + npad + of[2 * r + 1], one + 2 * npad + of[2 * r + 1],
                                of[2 * r + 2] - of[2 * r + 1])

    cdef void run_nodes(self, int row, int npad, real* slots, Locator* place, int* field_place, size_t* fields,
                        real* line, real lat, real* lon, real* sun, real* solar, Runs* runs) noexcept nogil:
        """The instants of the sun within a sample, and the means over them."""
        cdef int k, j, node, r
        cdef int32_t* of
        cdef Mean* mean
        cdef const real* seen[MAX_ARGS]
        cdef real* weight = solar + 6 * npad
        cdef real* lit = solar + 7 * npad
        for k in range(self.nmeans):
            mean = &self.means[k]
            for j in range(mean.nseen):
                seen[j] = slots + <Py_ssize_t>mean.seen[j] * npad
            pips_seen(seen, mean.nseen, slots + <Py_ssize_t>mean.to * npad, npad)
        if self.toa_slot >= 0:
            for j in range(npad):
                slots[<Py_ssize_t>self.toa_slot * npad + j] = sun[4]
        pips_zero(lit, npad)
        lit_pieces(lat, lon, sun, solar, npad)
        for node in range(6):
            if not lit_node(node, lat, sun, solar, slots + <Py_ssize_t>self.cosz_slot * npad, weight, npad):
                continue
            self.run_level(NODE, row, npad, slots, place, field_place, fields, line, runs)
            pips_add(weight, lit, npad)
            for k in range(self.nmeans):
                mean = &self.means[k]
                of = runs_of(runs, mean.among)
                for r in range(of[0]):
                    pips_add_weighted(slots + <Py_ssize_t>mean.slot * npad + of[2 * r + 1], weight + of[2 * r + 1],
                                      slots + <Py_ssize_t>mean.to * npad + of[2 * r + 1],
                                      of[2 * r + 2] - of[2 * r + 1])
        for k in range(self.nmeans):
            if self.means[k].per_lit:
                pips_per_lit(slots + <Py_ssize_t>self.means[k].to * npad, lit, npad)

    cdef void run_level(self, int level, int row, int npad, real* slots, Locator* place, int* field_place,
                        size_t* fields, real* line, Runs* runs) noexcept nogil:
        """Run the operations of one level in order, each on the vectors that need it."""
        cdef int k
        cdef Op* op
        for k in range(self.nops):
            op = &self.ops[k]
            if op.level == level:
                if op.kind == 0:
                    self.interpolate(op, row, npad, slots, &place[field_place[op.field]],
                                     <const real*><uintptr_t>fields[op.field], line, runs_of(runs, op.among))
                else:
                    self.call(op, npad, slots, runs_of(runs, op.among))
                if op.kind == LOOP and op.outs[0] == self.surface_slot:
                    pips_find_runs(slots + <Py_ssize_t>self.surface_slot * npad, npad, self.sets, self.nsets, runs.of,
                                   runs.width)

    cdef void interpolate(self, Op* op, int row, int npad, real* slots, Locator* at, const real* field, real* line,
                          int32_t* of) noexcept nogil:
        cdef int r, i, n
        cdef real* out = slots + <Py_ssize_t>op.slot * npad
        if of[0] and at.kind == 0:
            field += <Py_ssize_t>at.iy[row] * at.stride
            pips_interp_along(field, field + at.stride, at.wy[row], at.first, at.last, line)
        for r in range(of[0]):
            i, n = of[2 * r + 1], of[2 * r + 2] - of[2 * r + 1]
            if at.kind == 0:
                pips_interp_across(at.near, line, at.ix + i, at.wx + i, out + i, n)
            else:
                pips_interp_cell(field, at.stride, at.ix + <Py_ssize_t>row * npad + i,
                                 at.wx + <Py_ssize_t>row * npad + i, at.wy + <Py_ssize_t>row * npad + i, out + i, n)

    cdef void call(self, Op* op, int npad, real* slots, int32_t* of) noexcept nogil:
        cdef int r, j, i, n
        cdef const real* args[MAX_ARGS]
        cdef real* outs[MAX_OUTS]
        for r in range(of[0]):
            i, n = of[2 * r + 1], of[2 * r + 2] - of[2 * r + 1]
            for j in range(op.nargs):
                args[j] = slots + <Py_ssize_t>op.args[j] * npad + i
            if op.kind == SELECT:
                pips_select(args[0], op.nargs - 1, op.kinds, args + 1, slots + <Py_ssize_t>op.slot * npad + i, n)
                continue
            for j in range(op.nouts):
                outs[j] = slots + <Py_ssize_t>op.outs[j] * npad + i
            op.loop(args, self.par + op.parameter, outs, n)

    cdef void store(self, Output* out, real* value, real* count, int npad, int columns, char* to, uint8_t* count_to,
                    Py_ssize_t first) noexcept nogil:
        """Pack one row of one window."""
        cdef int k
        if out.dtype == 0:
            pips_pack_int16(value, out.inverse, out.offset, <int16_t*>to + first, columns)
        elif out.dtype == 1:
            pips_pack_uint8(value, out.inverse, out.offset, <uint8_t*>to + first, columns)
        else:
            for k in range(columns):
                (<real*>to)[first + k] = value[k]
        for k in range(columns):
            count_to[first + k] = <uint8_t>rmin(count[k], 255)


cdef void lit_pieces(real lat, real* lon, real* sun, real* solar, int n) noexcept nogil:
    """Find the parts of the sample in which the sun is up, as hour angles, for a row of pixels.

    The sample spans [H1, H1 + length] with H1 in [-pi, pi), so the sun can be
    up within [-H0, H0] and again within [2 pi - H0, 2 pi + H0]. Rows 0-1 of
    `solar` hold the first lit part (start, length), rows 2-3 the second.
    """
    cdef real pi = 3.14159265358979
    cdef real a = sin(lat) * sun[0], b = cos(lat) * sun[1]
    # At the poles b is 0: the ratio is then +-infinity, and the clip decides day or night.
    cdef real ratio = -a / b if b > 1e-12 else (-2.0 if a > 0 else 2.0)
    cdef real half = acos(rmin(rmax(ratio, -1.0), 1.0))
    cdef real h1, h2, a0, a1, l0, l1
    cdef int i
    for i in range(n):
        h1 = sun[2] + lon[i]
        h1 = h1 - 2 * pi * floor_((h1 + pi) / (2 * pi))
        h2 = h1 + sun[3]
        a0 = rmax(h1, -half)
        l0 = rmax(rmin(h2, half) - a0, 0)
        a1 = rmax(h1, 2 * pi - half)
        l1 = rmax(rmin(h2, 2 * pi + half) - a1, 0)
        solar[i] = a0 if l0 > 0 else a1
        solar[n + i] = l0 if l0 > 0 else l1
        solar[2 * n + i] = a1
        solar[3 * n + i] = l1 if l0 > 0 else 0


cdef extern from "math.h" nogil:
    float floor_ "floorf"(float) noexcept


cdef int lit_node(int node, real lat, real* sun, real* solar, real* cosz, real* weight, int n) noexcept nogil:
    """Fill `cosz` and the weight (share of the sample) of one Gauss-Legendre node; false where all is dark."""
    cdef real a = sin(lat) * sun[0], b = cos(lat) * sun[1]
    cdef real at = (0.1127016654 if node % 3 == 0 else (0.5 if node % 3 == 1 else 0.8872983346))
    cdef real share = (4.0 / 9.0 if node % 3 == 1 else 5.0 / 18.0) / sun[3]
    cdef real* start = solar + (node // 3) * 2 * n
    cdef real* length = start + n
    cdef real z
    cdef int i, lit = 0
    for i in range(n):
        lit |= length[i] > 0
    if not lit:
        return 0
    for i in range(n):
        z = a + b * cos(start[i] + at * length[i])
        # A node at the horizon can round to 0 or below: it is kept out of the kernel's domain and weighs nothing.
        weight[i] = share * length[i] if z > 1e-6 else 0
        cosz[i] = z if z > 1e-6 else 1.0
    return 1
