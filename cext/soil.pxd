"""Soil moisture index, 0 dry to 1 wet, from surface temperature, thermal inertia or the air."""

from cext.evaporation cimport moisture_fisher, tetens
from cext.vecmath cimport real, ratio, where, at_least, at_most

cdef extern from "<math.h>" nogil:
    const float NAN


cdef inline real unit(real x) noexcept nogil:
    """Cut to 0..1."""
    return at_most(at_least(x, 0.0), 1.0)


cdef inline real smi_tvdi(
        real ts, real ndvi, real orog, real dry_offset, real dry_slope, real wet_offset,
        real wet_slope, real lapse_rate, real least) noexcept nogil:
    """One less the temperature-vegetation dryness index; Sandholt et al. (2002).

    The edges are lines over the vegetation index, found in a first pass
    (``pipshpc.edges``). Missing where they lie closer than `least`, K.
    """
    cdef real level = ts + lapse_rate * orog
    cdef real dry = dry_offset + dry_slope * ndvi
    cdef real wet = wet_offset + wet_slope * ndvi
    cdef real span = dry - wet
    return where(span < least, NAN, unit(ratio(dry - level, at_least(span, least))))


cdef inline real smi_tvdi_lit(
        real ts, real ndvi, real orog, real cosz, real dry_offset, real dry_slope, real wet_offset,
        real wet_slope, real lapse_rate, real least, real lowest_sun) noexcept nogil:
    """The same where the sun warms ground that is not frozen; elsewhere temperature says nothing of water."""
    cdef real found = smi_tvdi(ts, ndvi, orog, dry_offset, dry_slope, wet_offset, wet_slope, lapse_rate, least)
    found = where(cosz < lowest_sun, NAN, found)
    return where(ts < 273.15, NAN, found)


cdef inline real tvdi_lit(
        real ts, real ndvi, real orog, real cosz, real dry_offset, real dry_slope, real wet_offset,
        real wet_slope, real lapse_rate, real least, real lowest_sun) noexcept nogil:
    """Temperature-vegetation dryness index, 0 on the wet edge, 1 on the dry one; Sandholt et al. (2002)."""
    return 1.0 - smi_tvdi_lit(
        ts, ndvi, orog, cosz, dry_offset, dry_slope, wet_offset, wet_slope, lapse_rate, least, lowest_sun)


cdef inline real smi_inertia(
        real albedo, real ts_day, real ts_night, real ati_dry, real ati_wet, real solar,
        real least) noexcept nogil:
    """Place of the apparent thermal inertia between those of dry and wet ground; Price (1985), Verstraeten et al.
    (2006).

    `solar` is the factor of season and latitude. Missing where day and night differ by less than `least`, K, or the
    inertias do not differ.
    """
    cdef real swing = ts_day - ts_night
    cdef real inertia = ratio(solar * (1.0 - albedo), at_least(swing, least))
    cdef real span = ati_wet - ati_dry
    cdef real index = unit(ratio(inertia - ati_dry, at_least(span, 1e-6)))
    return where(swing < least, NAN, where(span < 1e-6, NAN, index))


cdef inline real smi_fisher(real tas, real vap, real beta) noexcept nogil:
    """Soil moisture constraint of PT-JPL, relative humidity to the power of deficit over `beta`; Fisher et al.
    (2008)."""
    cdef real es = tetens(tas)
    return moisture_fisher(unit(ratio(vap, es)), at_least(es - vap, 0.0), beta)
