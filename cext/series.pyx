"""Run one compiled series function over whole arrays: tiles of pixels, each with all of its time steps."""

from cython.parallel cimport parallel, prange
from libc.math cimport NAN
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from cext.vecmath cimport real

cdef extern from *:
    """
    typedef void (*pips_series)(
        const real *const *, const real *, const real *, real *const *, Py_ssize_t, Py_ssize_t);
    """
    ctypedef void (*pips_series)(
        const real* const*, const real*, const real*, real* const*, Py_ssize_t, Py_ssize_t) noexcept nogil

cdef enum:
    MAX_ROWS = 16
    MAX_OUTS = 16
    WIDTH = 256  # pixels of a tile: a year of days of one input is then 374 kB and stays in the second cache


cdef void run_tile(pips_series series, const real** rows, int nrows, const real* day, const real* par, real** outs,
                   const Py_ssize_t* lengths, int nouts, Py_ssize_t n, Py_ssize_t pixels, Py_ssize_t start,
                   real* memory) noexcept nogil:
    """Copy a tile to contiguous memory, run the function, copy what it gave; pixels beyond the last are missing."""
    cdef const real* at[MAX_ROWS]
    cdef real* to[MAX_OUTS]
    cdef Py_ssize_t width = min(WIDTH, pixels - start), padded, t, i
    cdef real* next = memory
    cdef int k
    padded = (width + 15) // 16 * 16
    for k in range(nrows):
        for t in range(n):
            memcpy(next + t * padded, rows[k] + t * pixels + start, width * sizeof(real))
            for i in range(width, padded):
                next[t * padded + i] = NAN
        at[k] = next
        next += n * padded
    for k in range(nouts):
        to[k] = next
        next += lengths[k] * padded
    series(at, day, par, to, n, padded)
    for k in range(nouts):
        for t in range(lengths[k]):
            memcpy(outs[k] + t * pixels + start, to[k] + t * padded, width * sizeof(real))


def apply_series(size_t address, list inputs, real[::1] day, real[::1] parameters, list outputs, int threads=1):
    """Run the series function at `address` over contiguous arrays of (time, pixel).

    Parameters
    ----------
    address : of the C function, from ``pipshpc._loops.SERIES``
    inputs : list of (n, pixels) arrays of `real`, NaN where missing
    day : (n,) days since the start of the series
    parameters : as the function names them
    outputs : list of (length, pixels) arrays: length 1, or n for a series
    threads : number of OpenMP threads; the result does not depend on it
    """
    cdef pips_series series = <pips_series><void*><uintptr_t>address
    cdef const real* rows[MAX_ROWS]
    cdef real* outs[MAX_OUTS]
    cdef Py_ssize_t lengths[MAX_OUTS]
    cdef int nrows = len(inputs), nouts = len(outputs), k
    cdef Py_ssize_t n = day.shape[0], pixels, tiles, tile, numbers
    cdef const real[:, ::1] view
    cdef real[:, ::1] out
    cdef const real* par = NULL
    cdef const real* days = NULL
    cdef real* memory
    if nrows > MAX_ROWS or nouts > MAX_OUTS:
        raise ValueError(f"a series takes at most {MAX_ROWS} inputs and gives {MAX_OUTS} outputs")
    view = inputs[0]
    pixels = view.shape[1]
    for k in range(nrows):
        view = inputs[k]
        if view.shape[0] != n or view.shape[1] != pixels:
            raise ValueError(f"input {k} is ({view.shape[0]}, {view.shape[1]}), wanted ({n}, {pixels})")
        rows[k] = &view[0, 0] if n and pixels else NULL
    numbers = nrows * n
    for k in range(nouts):
        out = outputs[k]
        if out.shape[1] != pixels:
            raise ValueError(f"output {k} has {out.shape[1]} pixels, wanted {pixels}")
        lengths[k] = out.shape[0]
        numbers += lengths[k]
        outs[k] = &out[0, 0] if lengths[k] and pixels else NULL
    if n == 0 or pixels == 0:
        return
    if parameters.shape[0]:
        par = &parameters[0]
    days = &day[0]
    tiles = (pixels + WIDTH - 1) // WIDTH
    with nogil, parallel(num_threads=threads):
        memory = <real*> malloc(numbers * WIDTH * sizeof(real))
        for tile in prange(tiles, schedule="static"):
            run_tile(series, rows, nrows, days, par, outs, lengths, nouts, n, pixels, tile * WIDTH, memory)
        free(memory)
