"""Water vapour: point functions in SI units (K, Pa, kg kg-1)."""

from cext.vecmath cimport real, exp


cdef inline real saturation_water(real tas) noexcept nogil:
    """Saturation vapour pressure over water, Pa; Bolton (1980) eq. 10."""
    cdef real t = tas - 273.15
    return 611.2 * exp(17.67 * t / (t + 243.5))


cdef inline real vap_dewpoint(real tdps_in) noexcept nogil:
    """Vapour pressure, Pa, from the dew point over water, K."""
    return saturation_water(tdps_in)
