"""Composites over days, and sums that run from day to day."""

from cext.vecmath cimport real, at_least, where


cdef extern from "math.h" nogil:
    float NAN


cdef inline void highest(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real* most, real* seen,
        real* when) noexcept nogil:
    """Highest value of a series, how many there were, and the day of the first that is as high.

    Clouds and haze lower a vegetation index, so the highest is the clearest
    (Holben 1986, doi:10.1080/01431168608948945). Missing where none is there.
    """
    cdef Py_ssize_t t, i
    cdef real x, here
    for i in range(width):
        most[i] = -3.0e38
        seen[i] = 0.0
        when[i] = NAN
    for t in range(n):
        for i in range(width):
            x = ndvi[t * width + i]
            here = where(x == x, 1.0, 0.0)
            seen[i] = seen[i] + here
            when[i] = where(x > most[i], day[t], when[i])
            most[i] = where(x > most[i], x, most[i])
    for i in range(width):
        most[i] = where(seen[i] > 0.5, most[i], NAN)


cdef inline void degree_days(real tas, real gdd, real base, real* next_gdd) noexcept nogil:
    """One day of the sum of temperatures above `base`; McMaster and Wilhelm (1997), their first method."""
    next_gdd[0] = gdd + at_least(tas - base, 0.0)
