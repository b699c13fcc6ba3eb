# cython: language_level=3
"""Unpacking of stored numbers to float32 in one pass: byte shuffle, packing, fill values, row order.

A field of 0.25 degrees is a million numbers; every pass over it that is
saved counts, since all ranks wait for the forcing.
"""

from libc.math cimport NAN
from libc.stdint cimport int16_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy


cdef void _row_i2(
    const uint8_t* low, const uint8_t* high, float* out, Py_ssize_t n,
    float scale, float offset, int16_t fill1, int16_t fill2,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef int16_t v
    cdef float f
    for i in range(n):
        v = <int16_t>(<uint16_t>low[i] | (<uint16_t>high[i] << 8))
        f = <float>v * scale + offset
        out[i] = <float>NAN if (v == fill1) | (v == fill2) else f


cdef void _row_i2_plain(
    const int16_t* raw, float* out, Py_ssize_t n, float scale, float offset, int16_t fill1, int16_t fill2,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef int16_t v
    cdef float f
    for i in range(n):
        v = raw[i]
        f = <float>v * scale + offset
        out[i] = <float>NAN if (v == fill1) | (v == fill2) else f


cdef void _row_f4(
    const uint8_t* b0, const uint8_t* b1, const uint8_t* b2, const uint8_t* b3, float* out, Py_ssize_t n,
    float scale, float offset, float fill1, float fill2,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef uint32_t w
    cdef float v
    for i in range(n):
        w = <uint32_t>b0[i] | (<uint32_t>b1[i] << 8) | (<uint32_t>b2[i] << 16) | (<uint32_t>b3[i] << 24)
        memcpy(&v, &w, 4)
        out[i] = <float>NAN if (v == fill1) | (v == fill2) else v * scale + offset


cdef void _row_f4_plain(
    const float* raw, float* out, Py_ssize_t n, float scale, float offset, float fill1, float fill2,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef float v
    for i in range(n):
        v = raw[i]
        out[i] = <float>NAN if (v == fill1) | (v == fill2) else v * scale + offset


def unpack_tile(
    const uint8_t[::1] raw, str kind, bint shuffled, Py_ssize_t plane, Py_ssize_t chunk_rows, Py_ssize_t chunk_columns,
    float[:, :] out, bint flip, double scale, double offset, double fill1, double fill2,
):
    """Write one time of a decompressed chunk to its place in a field.

    Parameters
    ----------
    raw : uint8, the decompressed bytes of the chunk, little endian
    kind : "i2" or "f4"
    shuffled : the bytes are sorted by significance (HDF5's shuffle filter)
    plane : which plane of `chunk_rows` x `chunk_columns` numbers in the chunk
    out : float32 (rows, columns), the part of the field that the chunk covers; rows contiguous
    flip : write the first row of the chunk to the last row of `out`
    scale, offset : value = stored * scale + offset
    fill1, fill2 : stored numbers that mean missing
    """
    cdef Py_ssize_t size = 2 if kind == "i2" else 4
    cdef Py_ssize_t n = raw.shape[0] // size
    cdef Py_ssize_t rows = out.shape[0], columns = out.shape[1], row, at
    cdef float s = <float>scale, o = <float>offset
    cdef const uint8_t* base = &raw[0]
    cdef float* target
    if kind not in ("i2", "f4"):
        raise ValueError(f"kind {kind!r}: 'i2' or 'f4' is wanted")
    if (plane + 1) * chunk_rows * chunk_columns > n or rows > chunk_rows or columns > chunk_columns:
        raise ValueError(f"a chunk of {n} numbers does not hold plane {plane} of {chunk_rows} x {chunk_columns}")
    if columns > 1 and out.strides[1] != 4:
        raise ValueError("the rows of `out` are not contiguous")
    # Fill numbers outside the type's range can never match; keep the casts defined.
    cdef int16_t i1 = <int16_t>fill1 if -32768.0 <= fill1 <= 32767.0 else 0
    cdef int16_t i2 = <int16_t>fill2 if -32768.0 <= fill2 <= 32767.0 else i1
    cdef bint no_fill = not (-32768.0 <= fill1 <= 32767.0)
    cdef float f1 = <float>fill1, f2 = <float>fill2
    if size == 2 and no_fill:
        raise ValueError(f"fill number {fill1} is not an int16")
    with nogil:
        for row in range(rows):
            at = (plane * chunk_rows + row) * chunk_columns
            target = &out[rows - 1 - row if flip else row, 0]
            if size == 2:
                if shuffled:
                    _row_i2(base + at, base + n + at, target, columns, s, o, i1, i2)
                else:
                    _row_i2_plain(<const int16_t*>base + at, target, columns, s, o, i1, i2)
            elif shuffled:
                _row_f4(base + at, base + n + at, base + 2 * n + at, base + 3 * n + at, target, columns, s, o, f1, f2)
            else:
                _row_f4_plain(<const float*>base + at, target, columns, s, o, f1, f2)
