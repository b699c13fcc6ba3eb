"""Cloud amounts: point functions of fractions 0..1."""

from cext.vecmath cimport real, rmax, rmin


cdef inline real clear(real amount) noexcept nogil:
    """Clear fraction, with packing noise clipped."""
    return rmin(rmax(1.0 - amount, 0.0), 1.0)


cdef inline real clt_random_overlap(real cll_in, real clm_in, real clh_in) noexcept nogil:
    """Total cloud of three layers that lie over each other at random; Manabe and Strickler (1964)."""
    return 1.0 - clear(cll_in) * clear(clm_in) * clear(clh_in)
