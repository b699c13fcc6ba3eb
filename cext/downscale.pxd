"""From the forcing's terrain to the pixel's elevation: point functions in SI units (K, Pa, m)."""

from cext.vecmath cimport real, exp, ratio, rmax


cdef inline real tas_lapse_rate(real tas_in, real orog, real orog_in, real lapse_rate) noexcept nogil:
    """Air temperature at the pixel's elevation, with a fixed lapse rate in K m-1."""
    return tas_in - lapse_rate * (orog - orog_in)


cdef inline real vap_constant_rh(real vap_in, real tas_in, real tas) noexcept nogil:
    """Vapour pressure at the pixel's temperature for unchanged relative humidity over water.

    The ratio of two Bolton saturation pressures, 17.67 t/(t + 243.5) in degC,
    is one exponential of the difference of their arguments.
    """
    cdef real change = ratio(17.67 * 243.5 * (tas - tas_in), (tas - 29.65) * (tas_in - 29.65))
    return rmax(vap_in, 0.0) * exp(change)


cdef inline real ps_hydrostatic(real ps_in, real tas_in, real tas, real orog, real orog_in) noexcept nogil:
    """Air pressure at the pixel's elevation: hydrostatic dry air at the mean of both temperatures."""
    return ps_in * exp(ratio(-9.80665 / 287.04 * (orog - orog_in), 0.5 * (tas + tas_in)))
