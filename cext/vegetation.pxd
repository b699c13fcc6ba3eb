"""Vegetation from reflectances: point functions of reflectances and indices (1)."""

from cext.roughness cimport is_between
from cext.vecmath cimport real, at_least, at_most, fabs, log, ratio, where


cdef inline real missing() noexcept nogil:
    """Not a number, for what a formula does not define."""
    return ratio(0.0, 0.0)


cdef inline real ndvi_difference(real sr_red, real sr_nir) noexcept nogil:
    """Normalised difference of near infrared and red, cut to -1..1; missing where both are dark to 1e-4."""
    cdef real total = sr_nir + sr_red
    cdef real found = at_most(at_least(ratio(sr_nir - sr_red, total), -1.0), 1.0)
    return where(fabs(total) < 1e-4, missing(), found)


cdef inline real between(real ndvi, real low, real high) noexcept nogil:
    """Where the index lies between its values over bare soil and full cover, 0..1."""
    return at_most(at_least(ratio(ndvi - low, high - low), 0.0), 1.0)


cdef inline real fveg_linear(real ndvi, real ndvi_soil, real ndvi_full) noexcept nogil:
    """Fraction covered by vegetation, linear in the index; Gutman and Ignatov (1998) eq. 6."""
    return between(ndvi, ndvi_soil, ndvi_full)


cdef inline real fveg_square(real ndvi, real ndvi_soil, real ndvi_full) noexcept nogil:
    """Fraction covered by vegetation, square of the scaled index; Carlson and Ripley (1997) eq. 3."""
    cdef real scaled = between(ndvi, ndvi_soil, ndvi_full)
    return scaled * scaled


cdef inline real lai_carlson(real ndvi) noexcept nogil:
    """Leaf area index from the intercepted light NDVI - 0.05 by Beer's law with extinction 0.5, 0 to 10."""
    cdef real light = at_most(at_least(ndvi - 0.05, 0.0), 0.99326205)
    return -2.0 * log(1.0 - light)


cdef inline real lai_cover(real fveg, real extinction) noexcept nogil:
    """Leaf area index that leaves the gap 1 - fveg by Beer's law; 0 to 10 (at extinction 0.5)."""
    cdef real cover = at_most(at_least(fveg, 0.0), 0.99326205)
    return ratio(-log(1.0 - cover), extinction)


cdef inline real fapar_ratio(
        real ndvi, real landtype, real sr_min, real broad_ever, real broad_fall, real needle, real low) noexcept nogil:
    """Absorbed share of light, linear in the simple ratio between bare soil and the full canopy of the class."""
    cdef real seen = at_most(at_least(ndvi, 0.0), 0.98)
    cdef real leafy = where(landtype < 2.5, broad_ever, where(landtype < 3.5, needle, broad_fall))
    cdef real trees = where(landtype < 1.5, needle, leafy)
    cdef real full = where(is_between(landtype, 1.0, 5.0) > 0.5, trees, low)
    cdef real simple = ratio(1.0 + seen, 1.0 - seen)
    return at_most(at_least(ratio(simple - sr_min, full - sr_min), 0.0), 0.95)


cdef inline real fapar_savi(real ndvi) noexcept nogil:
    """Absorbed share of light from the index, by way of SAVI; Fisher et al. (2008), as PT-JPL takes it."""
    return at_most(at_least(1.3632 * (0.45 * ndvi + 0.132) - 0.048, 0.0), 1.0)
