"""Water surfaces from reflectances: where they are, and what is in them."""

from cext.vecmath cimport real, at_least, at_most, exp, log, ratio, where
from cext.vegetation cimport contrast, missing


cdef inline real ndwi_green(real sr_green, real sr_nir) noexcept nogil:
    """Open water: green against near infrared; McFeeters (1996)."""
    return contrast(sr_green, sr_nir)


cdef inline real mndwi_green(real sr_green, real sr_swir1) noexcept nogil:
    """Open water: green against 1.6 um; Xu (2006)."""
    return contrast(sr_green, sr_swir1)


cdef inline real awei_plain(real sr_green, real sr_nir, real sr_swir1, real sr_swir2) noexcept nogil:
    """Automated water extraction index for scenes without shadow, above 0 on water; Feyisa et al. (2014) eq. 2."""
    return 4.0 * (sr_green - sr_swir1) - 0.25 * sr_nir + 2.75 * sr_swir2


cdef inline real awei_shadow(
        real sr_blue, real sr_green, real sr_nir, real sr_swir1, real sr_swir2) noexcept nogil:
    """Automated water extraction index for scenes with shadow, above 0 on water; Feyisa et al. (2014) eq. 3."""
    return sr_blue + 2.5 * sr_green - 1.5 * (sr_nir + sr_swir1) - 0.25 * sr_swir2


cdef inline real ndci_edge(real sr_red, real sr_re1) noexcept nogil:
    """Chlorophyll in turbid water: red edge against red; Mishra and Mishra (2012)."""
    return contrast(sr_re1, sr_red)


cdef inline real ndti_red(real sr_green, real sr_red) noexcept nogil:
    """Turbidity: red against green; Lacaux et al. (2007)."""
    return contrast(sr_red, sr_green)


cdef inline real fai_line(
        real sr_red, real sr_nir, real sr_swir1, real wave_red, real wave_nir, real wave_swir1) noexcept nogil:
    """Floating algae: near infrared above the line from red to 1.6 um; Hu (2009). Wavelengths in one unit."""
    return sr_nir - sr_red - (sr_swir1 - sr_red) * ratio(wave_nir - wave_red, wave_swir1 - wave_red)


cdef inline real spm_nechad(real rho_w, real factor, real saturation, real share) noexcept nogil:
    """Suspended matter, kg m-3, from the water's reflectance; missing from `share` of the saturating reflectance up."""
    cdef real light = at_least(rho_w, 0.0)
    cdef real found = ratio(factor * light, 1.0 - ratio(light, saturation))
    return where(light < share * saturation, found, missing())


cdef inline real chla_ratio(
        real rrs443, real rrs488, real rrs547, real a0, real a1, real a2, real a3, real a4) noexcept nogil:
    """Chlorophyll a, kg m-3: polynomial in the logarithm of the largest blue to green ratio; O'Reilly et al. (2000)."""
    cdef real blue = at_least(rrs443, rrs488)
    cdef real found = where(blue > 1e-6, where(rrs547 > 1e-6, 1.0, 0.0), 0.0)
    cdef real x = 0.43429448 * log(ratio(at_least(blue, 1e-6), at_least(rrs547, 1e-6)))
    cdef real power = a0 + x * (a1 + x * (a2 + x * (a3 + x * a4)))
    return where(found > 0.5, 1e-6 * exp(2.3025851 * at_most(at_least(power, -3.0), 3.0)), missing())


cdef inline real chla_edge(real ndci, real a0, real a1, real a2) noexcept nogil:
    """Chlorophyll a of turbid water, kg m-3, quadratic in its index; Mishra and Mishra (2012) eq. 8."""
    return 1e-6 * at_least(a0 + ndci * (a1 + ndci * a2), 0.0)


cdef inline real water_state(
        real mndwi, real spm, real fai, real wet, real turbid, real muddy, real floating) noexcept nogil:
    """0 no open water, 1 clear, 2 turbid, 3 muddy, 4 floating algae."""
    cdef real matter = 1.0 + where(spm > turbid, 1.0, 0.0) + where(spm > muddy, 1.0, 0.0)
    return where(mndwi > wet, where(fai > floating, 4.0, matter), 0.0)
