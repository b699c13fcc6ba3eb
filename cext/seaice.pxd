"""Sea ice from satellites: concentration from microwaves, temperature from thermal infrared.

Brightness temperatures K, concentrations shares of 1. Where one of the
brightness temperatures cannot be one (outside 10..320 K) the result is missing.
"""

from cext.snow cimport covered, plausible
from cext.vecmath cimport real, at_least, at_most, cos, exp, fabs, log, ratio, sqrt, where

cdef extern from "<math.h>" nogil:
    const float NAN


cdef inline void nasateam(
        real tb19v, real tb19h, real tb22v, real tb37v, real a, real b, real c, real d, real e, real f, real g, real h,
        real i, real j, real k, real l, real gr3719_most, real gr2219_most, real* siconc, real* sicmy,
        real* sicraw) noexcept nogil:
    """NASA Team: first-year and multi-year ice from polarisation and gradient ratios; Cavalieri et al. (1984).

    `a` to `l` follow from the tie points (``pipshpc.seaice``). Open water
    where a gradient ratio says weather (Cavalieri et al. 1995). `sicraw` may
    pass 1: the correction for land spill-over wants it before it is cut.
    """
    cdef real pr = ratio(tb19v - tb19h, tb19v + tb19h)
    cdef real gr = ratio(tb37v - tb19v, tb37v + tb19v)
    cdef real gr22 = ratio(tb22v - tb19v, tb22v + tb19v)
    cdef real both = pr * gr
    cdef real under = e + f * pr + g * gr + h * both
    cdef real first = ratio(a + b * pr + c * gr + d * both, under)
    cdef real older = ratio(i + j * pr + k * gr + l * both, under)
    cdef int seen = plausible(tb19v) & plausible(tb19h) & plausible(tb22v) & plausible(tb37v) & (under != 0.0)
    cdef int weather = (gr > gr3719_most) | (gr22 > gr2219_most)
    cdef real raw = where(weather, 0.0, at_least(first + older, 0.0))
    sicraw[0] = where(seen, raw, NAN)
    siconc[0] = where(seen, at_most(raw, 1.0), NAN)
    sicmy[0] = where(seen, where(weather, 0.0, covered(older)), NAN)


cdef inline real along_ray(real x, real y, real wtp_x, real wtp_y, real offset, real slope) noexcept nogil:
    """Distance from the water point over that to the ice line on the same ray, 0..1; Comiso (1986).

    The line through both is cut with the ice line: the ratio needs neither
    the point of intersection nor a root. Straight up, a point below the
    water point is water.
    """
    cdef real off_line = (y - wtp_y) - slope * (x - wtp_x)
    cdef real found = fabs(ratio(off_line, offset + slope * wtp_x - wtp_y))
    return at_most(where((x == wtp_x) & (y < wtp_y), 0.0, found), 1.0)


cdef inline real radial(
        real x, real y, real wtp_x, real wtp_y, real itp_x, real itp_y, real offset, real slope) noexcept nogil:
    """`along_ray`; below the line from water to ice point by the distance along that line."""
    cdef real rise = ratio(itp_y - wtp_y, itp_x - wtp_x)
    cdef real start = wtp_y - wtp_x * rise
    cdef real cut_x = ratio(start - offset, slope - rise)
    cdef real dx = cut_x - wtp_x
    cdef real dy = slope * cut_x + offset - wtp_y
    cdef real whole = sqrt(dx * dx + dy * dy)
    cdef real own = sqrt((x - wtp_x) * (x - wtp_x) + (y - wtp_y) * (y - wtp_y))
    return where(y < rise * x + start, at_most(ratio(own, whole), 1.0),
                 along_ray(x, y, wtp_x, wtp_y, offset, slope))


cdef inline void bootstrap_raw(
        real tb37v, real tb37h, real tb19v, real tb22v, real wtp37v, real wtp37h, real wtp19v, real offset37h,
        real slope37h, real offset19v, real slope19v, real below, real itp37v, real itp37h, real itp19v,
        real water_offset, real water_slope, real wet_offset, real wet_slope, real wet_most, real least, real* siconc,
        real* sicraw) noexcept nogil:
    """Bootstrap: 37 GHz V and H near the ice line, 37 and 19 GHz V else; Comiso (1986, 2017), weather by 22 GHz."""
    cdef real polarised = radial(tb37v, tb37h, wtp37v, wtp37h, itp37v, itp37h, offset37h, slope37h)
    cdef real spectral = radial(tb37v, tb19v, wtp37v, wtp19v, itp37v, itp19v, offset19v, slope19v)
    cdef real found = where(tb37h <= offset37h - below + slope37h * tb37v, spectral, polarised)
    cdef int seen = plausible(tb37v) & plausible(tb37h) & plausible(tb19v) & plausible(tb22v)
    cdef int vapour = (wet_slope * tb22v + wet_offset > tb19v) | (tb22v - tb19v > wet_most)
    cdef int water = vapour & ((water_slope * tb37v + water_offset > tb37h) | (tb37v >= 230.0))
    cdef real raw = where(water, 0.0, found)
    sicraw[0] = where(seen, raw, NAN)
    siconc[0] = where(seen, where(raw < least, 0.0, raw), NAN)


cdef inline void bootstrap_fixed(
        real tb37v, real tb37h, real tb19v, real tb22v, real wtp37v, real wtp37h, real wtp19v, real offset37h,
        real slope37h, real offset19v, real slope19v, real below, real itp37v, real itp37h, real itp19v,
        real water_offset, real water_slope, real wet_offset, real wet_slope, real wet_most, real least, real* siconc,
        real* sicraw) noexcept nogil:
    """Bootstrap with fixed water points and ice lines."""
    bootstrap_raw(
        tb37v, tb37h, tb19v, tb22v, wtp37v, wtp37h, wtp19v, offset37h, slope37h, offset19v, slope19v, below, itp37v,
        itp37h, itp19v, water_offset, water_slope, wet_offset, wet_slope, wet_most, least, siconc, sicraw)


cdef inline void bootstrap_daily(
        real tb37v, real tb37h, real tb19v, real tb22v, real wtp37v, real wtp37h, real wtp19v, real offset37h,
        real slope37h, real offset19v, real slope19v, real below, real itp37v, real itp37h, real itp19v,
        real water_offset, real water_slope, real wet_offset, real wet_slope, real wet_most, real least, real* siconc,
        real* sicraw) noexcept nogil:
    """Bootstrap with the water points and ice lines of the day, found over the hemisphere in a first pass
    (``pipshpc.tiepoints``)."""
    bootstrap_raw(
        tb37v, tb37h, tb19v, tb22v, wtp37v, wtp37h, wtp19v, offset37h, slope37h, offset19v, slope19v, below, itp37v,
        itp37h, itp19v, water_offset, water_slope, wet_offset, wet_slope, wet_most, least, siconc, sicraw)


cdef inline real split_ist(real tb11, real diff, real slant, real a, real b1, real c, real d) noexcept nogil:
    """One class of the split window; `b1` is the slope less 1, which keeps digits in single precision."""
    return tb11 + (b1 * tb11 + a) + diff * (c + d * slant)


cdef inline real sitemptop_key(
        real tb11, real tb12, real vza, real siconc, real cold_a, real cold_b1, real cold_c, real cold_d, real mid_a,
        real mid_b1, real mid_c, real mid_d, real mild_a, real mild_b1, real mild_c, real mild_d, real least,
        real warmest) noexcept nogil:
    """Skin temperature of sea ice by three classes of 11 um; Key et al. (1997), Hall et al. (2004).

    Missing where there is less ice than `least`, and above `warmest` K: no ice is as warm.
    """
    cdef real slant = ratio(1.0, cos(0.017453293 * vza)) - 1.0
    cdef real diff = tb11 - tb12
    cdef real cold = split_ist(tb11, diff, slant, cold_a, cold_b1, cold_c, cold_d)
    cdef real mid = split_ist(tb11, diff, slant, mid_a, mid_b1, mid_c, mid_d)
    cdef real mild = split_ist(tb11, diff, slant, mild_a, mild_b1, mild_c, mild_d)
    cdef real found = where(tb11 < 240.0, cold, where(tb11 > 260.0, mild, mid))
    return where((siconc >= least) & (found <= warmest) & plausible(tb11) & plausible(tb12), found, NAN)


cdef inline real planck11(real t) noexcept nogil:
    """Radiance at 11 um over the first radiation constant: 1/(exp(c2/(wavelength t)) - 1)."""
    return ratio(1.0, exp(ratio(1307.9888, t)) - 1.0)


cdef inline real sitemptop_single(
        real tb11, real rlds, real siconc, real emissivity, real sky_share, real least, real warmest) noexcept nogil:
    """Skin temperature of sea ice from one channel: Planck's law, less the sky that the ice reflects.

    `sky_share` is the emission of the clear sky at 11 um over a black body's of its broadband temperature.
    """
    cdef real sky = sqrt(sqrt(ratio(at_least(rlds, 1.0), 5.670374e-8)))
    cdef real own = ratio(planck11(tb11) - (1.0 - emissivity) * sky_share * planck11(sky), emissivity)
    cdef real found = ratio(1307.9888, log(1.0 + ratio(1.0, at_least(own, 1e-9))))
    return where((siconc >= least) & (found <= warmest) & plausible(tb11), found, NAN)
