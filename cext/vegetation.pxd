"""Vegetation from reflectances: point functions of reflectances and indices (1)."""

from cext.roughness cimport is_between
from cext.vecmath cimport real, at_least, at_most, fabs, log, ratio, sqrt, tanh, where


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


cdef inline real contrast(real a, real b) noexcept nogil:
    """Normalised difference (a - b)/(a + b), cut to -1..1; missing where both are dark to 1e-4."""
    cdef real total = a + b
    return where(fabs(total) < 1e-4, missing(), at_most(at_least(ratio(a - b, total), -1.0), 1.0))


cdef inline real quotient(real a, real b) noexcept nogil:
    """a / b; missing where b is not above 1e-4."""
    return where(b > 1e-4, ratio(a, b), missing())


cdef inline real cut(real upper, real lower) noexcept nogil:
    """A quotient cut to -1..1; missing where the divisor is closer to 0 than 1e-3."""
    return where(fabs(lower) < 1e-3, missing(), at_most(at_least(ratio(upper, lower), -1.0), 1.0))


cdef inline real evi_two(real sr_red, real sr_nir, real canopy) noexcept nogil:
    """Enhanced index without the blue band, cut to -1..1; Jiang et al. (2008) eq. 15."""
    return cut(2.5 * (sr_nir - sr_red), sr_nir + 2.4 * sr_red + canopy)


cdef inline real evi_blue(real sr_blue, real sr_red, real sr_nir, real canopy, real blue_most) noexcept nogil:
    """Enhanced index, cut to -1..1; without the blue band where that is above `blue_most` (snow, cloud)."""
    cdef real three = cut(2.5 * (sr_nir - sr_red), sr_nir + 6.0 * sr_red - 7.5 * sr_blue + canopy)
    return where(sr_blue > blue_most, evi_two(sr_red, sr_nir, canopy), three)


cdef inline real arvi_blue(real sr_blue, real sr_red, real sr_nir, real gamma) noexcept nogil:
    """Atmospherically resistant index: red less its difference from blue; Kaufman and Tanre (1992) eq. 11."""
    return contrast(sr_nir, sr_red - gamma * (sr_blue - sr_red))


cdef inline real savi_soil(real sr_red, real sr_nir, real soil) noexcept nogil:
    """Soil-adjusted index; Huete (1988) eq. 10. `soil` 0.5 for a half cover."""
    return cut((1.0 + soil) * (sr_nir - sr_red), sr_nir + sr_red + soil)


cdef inline real savi_optimised(real sr_red, real sr_nir, real soil) noexcept nogil:
    """Optimised soil-adjusted index; Rondeaux et al. (1996)."""
    return cut(sr_nir - sr_red, sr_nir + sr_red + soil)


cdef inline real savi_modified(real sr_red, real sr_nir) noexcept nogil:
    """Soil-adjusted index that finds its soil term; Qi et al. (1994) eq. 20. Missing where it has no root."""
    cdef real first = 2.0 * sr_nir + 1.0
    cdef real inner = first * first - 8.0 * (sr_nir - sr_red)
    cdef real found = 0.5 * (first - sqrt(at_least(inner, 0.0)))
    return where(inner < 0.0, missing(), at_most(at_least(found, -1.0), 1.0))


cdef inline real kndvi_half(real sr_red, real sr_nir) noexcept nogil:
    """Kernel index with the mean of both bands as its length: tanh(NDVI^2); Camps-Valls et al. (2021)."""
    cdef real index = ndvi_difference(sr_red, sr_nir)
    return tanh(index * index)


cdef inline real nirv_product(real sr_red, real sr_nir) noexcept nogil:
    """Near infrared of vegetation, NDVI times reflectance; Badgley et al. (2017)."""
    return ndvi_difference(sr_red, sr_nir) * sr_nir


cdef inline real gndvi_difference(real sr_green, real sr_nir) noexcept nogil:
    """Normalised difference of near infrared and green; Gitelson et al. (1996)."""
    return contrast(sr_nir, sr_green)


cdef inline real ndre_difference(real sr_re1, real sr_nir) noexcept nogil:
    """Normalised difference of near infrared and red edge; Gitelson and Merzlyak (1994)."""
    return contrast(sr_nir, sr_re1)


cdef inline real ci_rededge(real sr_re1, real sr_nir) noexcept nogil:
    """Chlorophyll index of the red edge, NIR/RE - 1; Gitelson et al. (2005)."""
    return quotient(sr_nir, sr_re1) - 1.0


cdef inline real ci_green(real sr_green, real sr_nir) noexcept nogil:
    """Chlorophyll index of green, NIR/G - 1; Gitelson et al. (2005)."""
    return quotient(sr_nir, sr_green) - 1.0


cdef inline real mtci_edge(real sr_red, real sr_re1, real sr_re2) noexcept nogil:
    """Terrestrial chlorophyll index of MERIS (RE2 - RE1)/(RE1 - R); missing where red and its edge are alike."""
    cdef real lower = sr_re1 - sr_red
    return where(fabs(lower) < 1e-4, missing(), ratio(sr_re2 - sr_re1, lower))


cdef inline real chl_linear(real ci, real slope, real offset) noexcept nogil:
    """Chlorophyll of the canopy, kg m-2, linear in the chlorophyll index, not below 0."""
    return at_least(slope * ci + offset, 0.0)


cdef inline real nbr_difference(real sr_nir, real sr_swir2) noexcept nogil:
    """Normalised burn ratio: near infrared against 2.2 um; Key and Benson (2006)."""
    return contrast(sr_nir, sr_swir2)


cdef inline real ndmi_difference(real sr_nir, real sr_swir1) noexcept nogil:
    """Water in leaves: near infrared against 1.6 um; Gao (1996), Wilson and Sader (2002)."""
    return contrast(sr_nir, sr_swir1)
