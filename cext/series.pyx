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

cdef extern from *:
    """
    typedef void (*pips_step)(const real *const *, const real *, real *const *, Py_ssize_t);
    """
    ctypedef void (*pips_step)(const real* const*, const real*, real* const*, Py_ssize_t) noexcept nogil

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


cdef enum:
    LAST = 0
    SUM = 1
    MEAN = 2
    MOST = 3
    LEAST = 4
    PIECE = 2048  # pixels whose state stays in the first cache over all steps

OVER = {"last": LAST, "sum": SUM, "mean": MEAN, "max": MOST, "min": LEAST}


cdef inline void keep(real* state, const real* fresh, Py_ssize_t n) noexcept nogil:
    """Take the new state where there is one; a step without its inputs leaves the old one."""
    cdef Py_ssize_t i
    for i in range(n):
        state[i] = fresh[i] if fresh[i] == fresh[i] else state[i]


cdef inline void gather(real* total, const real* out, Py_ssize_t n, int over, bint first) noexcept nogil:
    """Take an output of a step into that of the window."""
    cdef Py_ssize_t i
    if first:
        for i in range(n):
            total[i] = NAN
    if over == LAST:
        for i in range(n):
            total[i] = out[i] if out[i] == out[i] else total[i]
    elif over == MOST:
        for i in range(n):
            total[i] = out[i] if out[i] > total[i] or total[i] != total[i] else total[i]
    elif over == LEAST:
        for i in range(n):
            total[i] = out[i] if out[i] < total[i] or total[i] != total[i] else total[i]
    else:
        for i in range(n):
            total[i] = (out[i] + (total[i] if total[i] == total[i] else 0.0)) if out[i] == out[i] else total[i]


cdef inline void count(real* seen, const real* out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        seen[i] += 1.0 if out[i] == out[i] else 0.0


def run_steps(size_t address, list inputs, list states, real[::1] parameters, list outputs, list over, real[::1] seen):
    """Run the steps of a stateful function over (time, pixel) arrays, some pixels at a time through all steps.

    Parameters
    ----------
    address : of the C function, from ``pipshpc._loops.LOOPS``; its outputs are first those of `outputs`, in that
        order, where the caller has sorted them so
    inputs : for each row of the function an array (n, pixels), (1, pixels) for what does not change, or the number of
        a state
    states : (pixels,) arrays, changed in place
    parameters : as the function names them
    outputs : for each output of the function an array (pixels,), or the number of the state that it renews
    over : for each output a value of `OVER`
    seen : (pixels,) set to the number of steps that were made
    """
    cdef pips_step step = <pips_step><void*><uintptr_t>address
    cdef const real* rows[MAX_ROWS + MAX_OUTS]
    cdef const real* at[MAX_ROWS + MAX_OUTS]
    cdef Py_ssize_t strides[MAX_ROWS + MAX_OUTS]
    cdef int state_of[MAX_ROWS + MAX_OUTS]
    cdef real* kept[MAX_OUTS]
    cdef real* outs[MAX_OUTS]
    cdef real* to[MAX_OUTS]
    cdef int renews[MAX_OUTS]
    cdef int how[MAX_OUTS]
    cdef int nrows = len(inputs), nouts = len(outputs), nstates = len(states), k
    cdef Py_ssize_t n = 0, pixels = seen.shape[0], piece, start, width, t, i
    cdef const real[:, ::1] view
    cdef real[::1] flat
    cdef const real* par = &parameters[0] if parameters.shape[0] else NULL
    cdef real* memory
    if nrows > MAX_ROWS + MAX_OUTS or nouts > MAX_OUTS or nstates > MAX_OUTS:
        raise ValueError(f"a step takes at most {MAX_ROWS + MAX_OUTS} inputs and gives {MAX_OUTS} outputs")
    if pixels % 16:
        raise ValueError(f"found {pixels} pixels, wanted a multiple of 16")
    for k in range(nstates):
        flat = states[k]
        kept[k] = &flat[0]
    for k in range(nrows):
        state_of[k] = -1
        if isinstance(inputs[k], int):
            state_of[k] = inputs[k]
            continue
        view = inputs[k]
        if view.shape[1] != pixels:
            raise ValueError(f"input {k} has {view.shape[1]} pixels, wanted {pixels}")
        rows[k] = &view[0, 0]
        strides[k] = pixels if view.shape[0] > 1 else 0
        n = max(n, view.shape[0])
    for k in range(nouts):
        renews[k] = -1
        how[k] = over[k]
        if isinstance(outputs[k], int):
            renews[k] = outputs[k]
            continue
        flat = outputs[k]
        outs[k] = &flat[0]
    with nogil:
        memory = <real*> malloc(nouts * PIECE * sizeof(real))
        for piece in range((pixels + PIECE - 1) // PIECE):
            start = piece * PIECE
            width = min(PIECE, pixels - start)
            for i in range(width):
                seen[start + i] = 0.0
            for t in range(n):
                for k in range(nrows):
                    at[k] = kept[state_of[k]] + start if state_of[k] >= 0 else rows[k] + t * strides[k] + start
                for k in range(nouts):
                    to[k] = memory + k * PIECE
                step(at, par, to, width)
                count(&seen[start], to[0], width)
                for k in range(nouts):
                    if renews[k] < 0:
                        gather(outs[k] + start, to[k], width, how[k], t == 0)
                for k in range(nouts):
                    if renews[k] >= 0:
                        keep(kept[renews[k]] + start, to[k], width)
            for k in range(nouts):
                if renews[k] < 0 and how[k] == MEAN:
                    for i in range(width):
                        outs[k][start + i] = outs[k][start + i] / seen[start + i] if seen[start + i] > 0 else NAN
        free(memory)
