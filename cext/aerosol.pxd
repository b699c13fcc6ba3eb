"""From sensor to surface in sunlight: point functions of reflectances (1), zenith angles in degrees."""

from cext.vecmath cimport real, at_least, at_most, cos, exp, log, ratio, where
from cext.vegetation cimport missing


cdef inline real toar_counts(real counts, real sza, real mult, real add) noexcept nogil:
    """Reflectance outside the atmosphere from a sensor's counts; missing where the sun is below 1 degree."""
    cdef real mu = cos(0.017453293 * at_most(at_least(sza, 0.0), 89.0))
    return where(sza > 89.0, missing(), ratio(mult * counts + add, mu))


cdef inline real toar_radiance(real radiance, real sza, real toa_band) noexcept nogil:
    """Reflectance outside the atmosphere from a radiance and the sun's irradiance in the band, pi L/(E cos)."""
    cdef real mu = cos(0.017453293 * at_most(at_least(sza, 0.0), 89.0))
    return where(sza > 89.0, missing(), ratio(3.14159265 * radiance, toa_band * mu))


cdef inline real gas_transmittance(real mass, real column, real a, real b) noexcept nogil:
    """Two-way transmittance of an absorber in a band, exp(-a (mass column)^b)."""
    cdef real path = at_least(mass * column, 1e-6)
    return exp(-at_most(a * exp(b * log(path)), 60.0 * mass))


cdef inline real sr_6s(real toar, real path, real tgas, real tscat, real salb) noexcept nogil:
    """Reflectance of a Lambertian surface below the atmosphere; Vermote et al. (1997), not below -0.01.

    `path` the atmosphere's own reflectance, `tgas` the transmittance of the
    gases, `tscat` that of scattering down and up, `salb` the reflectance of
    the sky from below.
    """
    cdef real y = ratio(ratio(toar, at_least(tgas, 1e-3)) - path, at_least(tscat, 1e-3))
    cdef real found = at_most(at_least(ratio(y, 1.0 + salb * y), -0.01), 2.0)
    return where((tgas < 1e-3) | (tscat < 1e-3), missing(), found)


cdef inline real toar_6s(real sr, real path, real tgas, real tscat, real salb) noexcept nogil:
    """Reflectance outside the atmosphere above a Lambertian surface: the inverse of `sr_6s`."""
    return tgas * (path + ratio(tscat * sr, 1.0 - salb * sr))


cdef inline real sr_dark_object(real toar, real sza, real toar_dark) noexcept nogil:
    """Reflectance by dark-object subtraction; Chavez (1996), COST: transmittance cos(sza), the darkest pixel 0.01."""
    cdef real mu = cos(0.017453293 * at_most(at_least(sza, 0.0), 89.0))
    return at_most(at_least(ratio(toar - toar_dark, mu) + 0.01, -0.01), 2.0)
