"""HDF5's shuffle and fletcher32 filters, so that ranks make whole chunks and the file only takes them."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from cpython.bytes cimport PyBytes_FromStringAndSize

cdef extern from *:
    """
    #include <stdint.h>
    #include <stddef.h>
    #include <string.h>
    static void pips_shuffle2(const uint16_t *restrict in, uint8_t *restrict out, size_t n) {
        uint8_t *restrict low = out, *restrict high = out + n;
        for (size_t i = 0; i < n; i++) { low[i] = (uint8_t)in[i]; high[i] = (uint8_t)(in[i] >> 8); }
    }
    static void pips_unshuffle2(const uint8_t *restrict in, uint16_t *restrict out, size_t n) {
        const uint8_t *restrict low = in, *restrict high = in + n;
        for (size_t i = 0; i < n; i++) out[i] = (uint16_t)(low[i] | (high[i] << 8));
    }
    static void pips_shuffle4(const uint32_t *restrict in, uint8_t *restrict out, size_t n) {
        for (size_t i = 0; i < n; i++) {
            out[i] = (uint8_t)in[i]; out[n + i] = (uint8_t)(in[i] >> 8);
            out[2 * n + i] = (uint8_t)(in[i] >> 16); out[3 * n + i] = (uint8_t)(in[i] >> 24);
        }
    }
    /* Fletcher's checksum over big-endian 16-bit words, modulo 65535 as folding gives it: 65535 stands for
     * sums that are a multiple of it, 0 for no sum at all. Runs of 360 words keep the sums of a run in 32 bits,
     * and a run is a plain reduction, which the compiler turns into vector code. */
    static uint32_t pips_fold(uint64_t x) { return x ? (uint32_t)((x - 1) % 65535) + 1 : 0; }
    static uint32_t pips_fletcher32(const uint8_t *data, size_t bytes) {
        uint64_t a = 0, b = 0;
        size_t words = bytes / 2;
        while (words) {
            uint32_t run = words > 360 ? 360 : (uint32_t)words;
            uint32_t one = 0, two = 0;
            for (uint32_t i = 0; i < run; i++) {
                uint32_t word = ((uint32_t)data[2 * i] << 8) | data[2 * i + 1];
                one += word;
                two += (run - i) * word;
            }
            b = pips_fold(b + run * a + two);
            a = pips_fold(a + one);
            data += 2 * run;
            words -= run;
        }
        if (bytes & 1) {
            a = pips_fold(a + ((uint32_t)data[0] << 8));
            b = pips_fold(b + a);
        }
        return ((uint32_t)b << 16) | (uint32_t)a;
    }
    static int pips_constant(const uint8_t *p, size_t bytes, size_t item) {
        return bytes <= item || memcmp(p, p + item, bytes - item) == 0;
    }
    """
    void pips_shuffle2(const uint16_t*, uint8_t*, size_t) noexcept nogil
    void pips_unshuffle2(const uint8_t*, uint16_t*, size_t) noexcept nogil
    void pips_shuffle4(const uint32_t*, uint8_t*, size_t) noexcept nogil
    uint32_t pips_fletcher32(const uint8_t*, size_t) noexcept nogil
    int pips_constant(const uint8_t*, size_t, size_t) noexcept nogil


def shuffle(const uint8_t[::1] data, int itemsize):
    """Return `data` with the first bytes of all items first, then all second bytes, and so on (HDF5 filter 2)."""
    cdef size_t n = data.shape[0] // itemsize
    cdef bytes result = PyBytes_FromStringAndSize(NULL, data.shape[0])
    cdef uint8_t* out = <uint8_t*><char*>result
    if itemsize not in (1, 2, 4) or data.shape[0] % itemsize:
        raise ValueError(f"cannot shuffle {data.shape[0]} bytes as items of {itemsize}")
    if itemsize == 1:
        return bytes(data)
    with nogil:
        if itemsize == 2:
            pips_shuffle2(<const uint16_t*>&data[0], out, n)
        else:
            pips_shuffle4(<const uint32_t*>&data[0], out, n)
    return result


def unshuffle2(const uint8_t[::1] data, uint16_t[::1] out):
    """Undo `shuffle` for items of two bytes, into `out`."""
    cdef size_t n = out.shape[0]
    if data.shape[0] != 2 * out.shape[0]:
        raise ValueError(f"{data.shape[0]} bytes do not fill {out.shape[0]} items of two bytes")
    with nogil:
        pips_unshuffle2(&data[0], &out[0], n)


def fletcher32(const uint8_t[::1] data):
    """Return the checksum that HDF5's filter 3 appends to a chunk."""
    cdef uint32_t result
    with nogil:
        result = pips_fletcher32(&data[0], data.shape[0])
    return result


def is_constant(const uint8_t[::1] data, int itemsize):
    """Tell whether all items are alike."""
    cdef int result
    with nogil:
        result = pips_constant(&data[0], data.shape[0], itemsize)
    return bool(result)
