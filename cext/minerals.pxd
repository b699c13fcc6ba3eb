"""Bare rock: band ratios of alteration minerals."""

from cext.vecmath cimport real, where
from cext.vegetation cimport missing, quotient


cdef inline real iron_ratio(real sr_blue, real sr_red) noexcept nogil:
    """Ferric iron oxides: red over blue."""
    return quotient(sr_red, sr_blue)


cdef inline real clay_ratio(real sr_swir1, real sr_swir2) noexcept nogil:
    """Hydroxyl minerals and carbonates absorb at 2.2 um: 1.6 um over 2.2 um."""
    return quotient(sr_swir1, sr_swir2)


cdef inline real ferrous_ratio(real sr_nir, real sr_swir1) noexcept nogil:
    """Ferrous silicates absorb at 0.9 um: 1.6 um over near infrared."""
    return quotient(sr_swir1, sr_nir)


cdef inline real alteration_class(
        real ironoxide, real clayratio, real ndvi, real rusty, real clayey, real bare) noexcept nogil:
    """0 none, 1 iron oxides, 2 hydroxyl minerals, 3 both; missing where plants cover the ground."""
    cdef real found = where(ironoxide > rusty, 1.0, 0.0) + where(clayratio > clayey, 2.0, 0.0)
    return where(ndvi < bare, found, missing())
