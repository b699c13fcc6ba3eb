"""Run one compiled loop over whole arrays, on one or several threads."""

from cython.parallel cimport prange
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memset
from cext.vecmath cimport real

cdef extern from *:
    """
    typedef void (*pips_loop)(const real *const *, const real *, real *const *, Py_ssize_t);
    """
    ctypedef void (*pips_loop)(const real* const*, const real*, real* const*, Py_ssize_t) noexcept nogil

cdef enum:
    MAX_ROWS = 32
    MAX_OUTS = 40
    PIECE = 16384


cdef void run_piece(pips_loop loop, const real** rows, int nrows, const real* par, real** outs, int nouts,
                    Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Run the loop on [start, start + n); a last part of fewer than 16 goes through a padded copy.

    So every element takes the vector path: its bits do not depend on where it stands.
    """
    cdef const real* at[MAX_ROWS]
    cdef real* to[MAX_OUTS]
    cdef real pad[MAX_ROWS][16]
    cdef real res[MAX_OUTS][16]
    cdef Py_ssize_t whole = n - n % 16, rest = n % 16
    cdef int k
    if whole:
        for k in range(nrows):
            at[k] = rows[k] + start
        for k in range(nouts):
            to[k] = outs[k] + start
        loop(at, par, to, whole)
    if rest:
        for k in range(nrows):
            memset(pad[k], 0, sizeof(pad[k]))
            memcpy(pad[k], rows[k] + start + whole, rest * sizeof(real))
            at[k] = pad[k]
        for k in range(nouts):
            to[k] = res[k]
        loop(at, par, to, 16)
        for k in range(nouts):
            memcpy(outs[k] + start + whole, res[k], rest * sizeof(real))


def apply(size_t address, list inputs, real[::1] parameters, list outputs, int threads=1):
    """Run the loop at `address` over equally long, contiguous 1-D arrays of `real`.

    Parameters
    ----------
    address : of the C function, from ``pipshpc._loops.LOOPS``
    inputs, outputs : lists of 1-D contiguous arrays, all of one length
    parameters : 1-D array, as the loop names them
    threads : number of OpenMP threads; the result does not depend on it
    """
    cdef pips_loop loop = <pips_loop><void*><uintptr_t>address
    cdef const real* rows[MAX_ROWS]
    cdef real* outs[MAX_OUTS]
    cdef int nrows = len(inputs), nouts = len(outputs), k
    cdef Py_ssize_t n, pieces, piece
    cdef const real[::1] view
    cdef real[::1] out
    cdef const real* par = NULL
    if nrows > MAX_ROWS or nouts > MAX_OUTS:
        raise ValueError(f"a loop takes at most {MAX_ROWS} inputs and gives {MAX_OUTS} outputs")
    out = outputs[0]
    n = out.shape[0]
    for k in range(nrows):
        view = inputs[k]
        if view.shape[0] != n:
            raise ValueError(f"input {k} has {view.shape[0]} elements, wanted {n}")
        rows[k] = &view[0] if n else NULL
    for k in range(nouts):
        out = outputs[k]
        if out.shape[0] != n:
            raise ValueError(f"output {k} has {out.shape[0]} elements, wanted {n}")
        outs[k] = &out[0] if n else NULL
    if parameters.shape[0]:
        par = &parameters[0]
    if n == 0:
        return
    pieces = (n + PIECE - 1) // PIECE
    for piece in prange(pieces, nogil=True, num_threads=threads, schedule="static"):
        run_piece(loop, rows, nrows, par, outs, nouts, piece * PIECE, min(PIECE, n - piece * PIECE))
