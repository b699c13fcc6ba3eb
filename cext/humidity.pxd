"""Water vapour: point functions in SI units (K, Pa, kg kg-1, 1)."""

from cext.vecmath cimport real, exp, ratio, rmax, rmin


cdef inline real saturation_water(real tas) noexcept nogil:
    """Saturation vapour pressure over water, Pa; Bolton (1980) eq. 10."""
    cdef real t = tas - 273.15
    return 611.2 * exp(ratio(17.67 * t, t + 243.5))


cdef inline real vap_dewpoint(real tdps_in) noexcept nogil:
    """Vapour pressure, Pa, from the dew point over water, K."""
    return saturation_water(tdps_in)


cdef inline real vap_specific_humidity(real huss_in, real ps_in) noexcept nogil:
    """Vapour pressure, Pa, from specific humidity and pressure; humidity below 0 (packing) counts as 0."""
    cdef real q = rmax(huss_in, 0.0)
    return ratio(q * ps_in, 0.622 + 0.378 * q)


cdef inline real vap_relative_humidity(real hurs_in, real tas_in) noexcept nogil:
    """Vapour pressure, Pa, from relative humidity over water (0..1, cut to that range) and air temperature."""
    return rmin(rmax(hurs_in, 0.0), 1.0) * saturation_water(tas_in)


cdef inline real vpd_bolton(real tas, real vap) noexcept nogil:
    """Vapour pressure deficit, Pa; Bolton (1980) eq. 10 for the saturation."""
    return rmax(saturation_water(tas) - vap, 0.0)
