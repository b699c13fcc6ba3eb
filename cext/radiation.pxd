"""Downward radiation at the surface: point functions in SI units."""

from cext.vecmath cimport real, exp, sqrt


cdef inline real emissivity_prata(real tas, real vap) noexcept nogil:
    """Clear-sky emissivity of the air; Prata (1996) eq. 8, with w = 46.5 e/T in cm and e in hPa."""
    cdef real w = 0.465 * vap / tas
    return 1.0 - (1.0 + w) * exp(-sqrt(1.2 + 3.0 * w))


cdef inline real blackbody(real t) noexcept nogil:
    """Radiant exitance of a black body, W m-2."""
    cdef real t2 = t * t
    return 5.670374419e-8 * t2 * t2


cdef inline real rlds_prata_um(real tas, real vap, real clt) noexcept nogil:
    """Prata (1996) clear sky with the cloud term of Unsworth and Monteith (1975)."""
    cdef real cloud = 0.84 * clt
    return (cloud + (1.0 - cloud) * emissivity_prata(tas, vap)) * blackbody(tas)
