"""Upward and net radiation at the surface: point functions in W m-2; temperatures in K, albedo and emissivity in 1."""

from cext.vecmath cimport real, at_least, at_most
from cext.radiation cimport blackbody


cdef inline real rsus_albedo(real rsds, real albedo) noexcept nogil:
    """Reflected sunlight."""
    return albedo * rsds


cdef inline real rsus_sky(real rsds, real rsdsdiff, real albedobs, real albedows) noexcept nogil:
    """Reflected sunlight: the direct part by the black-sky, the diffuse by the white-sky albedo."""
    cdef real diffuse = at_most(at_least(rsdsdiff, 0.0), rsds)
    return albedobs * (rsds - diffuse) + albedows * diffuse


cdef inline real rlus_grey(real ts, real emis, real rlds) noexcept nogil:
    """What a grey surface emits, and what it reflects of the sky's radiation."""
    return emis * blackbody(ts) + (1.0 - emis) * rlds


cdef inline real rlus_emitted(real ts, real emis) noexcept nogil:
    """What a grey surface emits; the reflected sky is left out."""
    return emis * blackbody(ts)


cdef inline real rns_difference(real rsds, real rsus) noexcept nogil:
    """Sunlight that stays."""
    return rsds - rsus


cdef inline real rns_albedo(real rsds, real albedo) noexcept nogil:
    """Sunlight that stays, by the albedo."""
    return rsds - albedo * rsds


cdef inline real rnl_difference(real rlds, real rlus) noexcept nogil:
    """Net longwave radiation, positive downward."""
    return rlds - rlus


cdef inline real rnl_grey(real ts, real emis, real rlds) noexcept nogil:
    """Net longwave radiation of a grey surface, positive downward: emis (rlds - sigma ts^4)."""
    return emis * (rlds - blackbody(ts))


cdef inline real rn_sum(real rns, real rnl) noexcept nogil:
    """Net radiation of all wavelengths, positive downward; below 0 at night, and not cut."""
    return rns + rnl


cdef inline real rn_components(real rsds, real albedo, real rlds, real emis, real ts) noexcept nogil:
    """Net radiation from its parts."""
    return rsds - albedo * rsds + emis * (rlds - blackbody(ts))
