"""Snow on the ground: its area from reflectances, its mass from microwaves, and both over days.

Reflectances and covers are shares of 1, brightness temperatures K, masses
kg m-2, depths m.
"""

from cext.vecmath cimport real, at_least, at_most, fabs, log10, ratio, where

cdef extern from "<math.h>" nogil:
    const float NAN


cdef inline real covered(real x) noexcept nogil:
    """Cut to 0..1."""
    return at_most(at_least(x, 0.0), 1.0)


cdef inline real ndsi_hall(real sr_green, real sr_swir1) noexcept nogil:
    """Normalised difference of green and shortwave infrared, cut to -1..1; missing where both are dark to 1e-4."""
    cdef real total = sr_green + sr_swir1
    cdef real found = at_most(at_least(ratio(sr_green - sr_swir1, total), -1.0), 1.0)
    return where(fabs(total) < 1e-4, NAN, found)


cdef inline real seen_snow(
        real ndsi, real sr_green, real sr_nir, real sr_swir, real ts, real orog, real ndsi_least, real green_least,
        real nir_least, real swir_most, real warm, real warm_below) noexcept nogil:
    """1 where it is snow by the screens of MOD10 collection 6, else 0; Riggs and Hall (2016)."""
    cdef int bright = (ndsi >= ndsi_least) & (sr_green >= green_least) & (sr_nir > nir_least)
    cdef int false_alarm = (sr_swir > swir_most) | ((ts >= warm) & (orog < warm_below))
    return where(bright & (1 - false_alarm), 1.0, 0.0)


cdef inline real by_light(real cosz, real x) noexcept nogil:
    """Missing where the sun is lower than 5 degrees: night."""
    return where(cosz < 0.08715574, NAN, x)


cdef inline real snc_screened(
        real sr_green, real sr_nir, real sr_swir1, real ts, real orog, real cosz, real offset, real slope,
        real ndsi_least, real green_least, real nir_least, real swir_most, real warm, real warm_below) noexcept nogil:
    """Share of the pixel covered by snow, linear in the snow index where the screens see snow; Salomonson and Appel
    (2004)."""
    cdef real ndsi = ndsi_hall(sr_green, sr_swir1)
    cdef real snow = seen_snow(ndsi, sr_green, sr_nir, sr_swir1, ts, orog, ndsi_least, green_least, nir_least,
                               swir_most, warm, warm_below)
    return by_light(cosz, where(ndsi == ndsi, snow * covered(offset + slope * ndsi), NAN))


cdef inline real snc_screened_band7(
        real sr_green, real sr_nir, real sr_swir2, real ts, real orog, real cosz, real offset, real slope,
        real ndsi_least, real green_least, real nir_least, real swir_most, real warm, real warm_below) noexcept nogil:
    """As `snc_screened` with 2.1 um, for Aqua, whose band at 1.6 um has dead detectors; Salomonson and Appel
    (2006)."""
    return snc_screened(sr_green, sr_nir, sr_swir2, ts, orog, cosz, offset, slope, ndsi_least, green_least, nir_least,
                        swir_most, warm, warm_below)


cdef inline real snc_binary(
        real sr_green, real sr_nir, real sr_swir1, real ts, real orog, real cosz, real ndsi_least, real green_least,
        real nir_least, real swir_most, real warm, real warm_below) noexcept nogil:
    """1 or 0: the classic map of Hall et al. (1995), pixels taken whole."""
    cdef real ndsi = ndsi_hall(sr_green, sr_swir1)
    cdef real snow = seen_snow(ndsi, sr_green, sr_nir, sr_swir1, ts, orog, ndsi_least, green_least, nir_least,
                               swir_most, warm, warm_below)
    return by_light(cosz, where(ndsi == ndsi, snow, NAN))


cdef inline real snc_microwave(real snw, real least) noexcept nogil:
    """1 where there is more than `least` kg m-2 of snow, else 0."""
    return where(snw > least, 1.0, 0.0)


cdef inline int plausible(real tb) noexcept nogil:
    """Whether a brightness temperature can be one: 10..320 K."""
    return (tb >= 10.0) & (tb <= 320.0)


cdef inline real dry_depth(
        real tb19h, real tb37h, real tb37v, real forest, real slope, real forest_most) noexcept nogil:
    """`slope` times the scattering of dry snow, open part of the pixel only; Foster et al. (1997).

    0 without scattering; missing where the snow is wet (37 GHz at 250 K
    vertical or 240 K horizontal and more), under dense forest, or where a
    brightness temperature is none.
    """
    cdef real scattering = tb19h - tb37h
    cdef real found = ratio(slope * at_least(scattering, 0.0), 1.0 - at_most(forest, forest_most))
    cdef int wet = (scattering > 0.0) & ((tb37v >= 250.0) | (tb37h >= 240.0))
    cdef int seen = plausible(tb19h) & plausible(tb37h) & plausible(tb37v) & (forest <= forest_most) & (1 - wet)
    return where(seen, found, NAN)


cdef inline real snw_chang(
        real tb19h, real tb37h, real tb37v, real forest, real slope, real forest_most) noexcept nogil:
    """Mass of dry snow; Chang et al. (1987), by forest of Foster et al. (1997)."""
    return dry_depth(tb19h, tb37h, tb37v, forest, slope, forest_most)


cdef inline real snd_chang(
        real tb19h, real tb37h, real tb37v, real forest, real slope, real forest_most) noexcept nogil:
    """Depth of dry snow; Chang et al. (1987), by forest of Foster et al. (1997)."""
    return dry_depth(tb19h, tb37h, tb37v, forest, slope, forest_most)


cdef inline real depth_kelly(
        real tb10v, real tb19v, real tb19h, real tb37v, real tb37h, real forest, real forest_density,
        real polarised_least) noexcept nogil:
    """Depth, m, of snow in the forest and in the open part; Kelly (2009) eq. 3 to 5.

    Grains grow with the loss of polarisation, so its logarithm divides; it is
    held above `polarised_least` K. Wet snow as in `dry_depth`.
    """
    cdef real pol37 = log10(at_least(tb37v - tb37h, polarised_least))
    cdef real pol19 = log10(at_least(tb19v - tb19h, polarised_least))
    cdef real in_forest = ratio(ratio(tb19v - tb37v, pol37), 1.0 - 0.6 * covered(forest_density))
    cdef real in_open = ratio(tb10v - tb37v, pol37) + ratio(tb10v - tb19v, pol19)
    cdef real share = covered(forest)
    cdef real found = 0.01 * (share * at_least(in_forest, 0.0) + (1.0 - share) * at_least(in_open, 0.0))
    cdef int wet = (found > 0.0) & ((tb37v >= 250.0) | (tb37h >= 240.0))
    cdef int seen = plausible(tb10v) & plausible(tb19v) & plausible(tb19h) & plausible(tb37v) & plausible(tb37h)
    return where(seen & (1 - wet), found, NAN)


cdef inline real snd_kelly(
        real tb10v, real tb19v, real tb19h, real tb37v, real tb37h, real forest, real forest_density,
        real polarised_least) noexcept nogil:
    """Depth of dry snow; Kelly (2009)."""
    return depth_kelly(tb10v, tb19v, tb19h, tb37v, tb37h, forest, forest_density, polarised_least)


cdef inline real snw_kelly(
        real tb10v, real tb19v, real tb19h, real tb37v, real tb37h, real forest, real forest_density,
        real polarised_least, real density) noexcept nogil:
    """Mass of dry snow: depth of Kelly (2009) times one density."""
    return density * depth_kelly(tb10v, tb19v, tb19h, tb37v, tb37h, forest, forest_density, polarised_least)


cdef inline real snw_change(real snw, real snw_before) noexcept nogil:
    """Change of the mass of snow."""
    return snw - snw_before


cdef inline void snc_most(
        const real* snc, const real* day, Py_ssize_t n, Py_ssize_t width, real* sncmax) noexcept nogil:
    """Largest cover on any day that was seen; missing where none was."""
    cdef Py_ssize_t t, i
    for i in range(width):
        sncmax[i] = NAN
    for t in range(n):
        for i in range(width):
            sncmax[i] = where((snc[t * width + i] > sncmax[i]) | (sncmax[i] != sncmax[i]), snc[t * width + i],
                              sncmax[i])


cdef inline void snow_class(
        const real* snowcode, const real* day, Py_ssize_t n, Py_ssize_t width, real* sncclass) noexcept nogil:
    """Code of an n-day period from daily codes, by the rule of the maximum snow extent of MOD10A2.

    Snow (200) on any day, else lake ice (100) on any day, else what was seen
    most often of bare ground (25), lake (37) and ocean (39), else cloud (50)
    or night (11) where that was all, else no decision (1); missing without
    any day. Between equals the lower code wins.
    """
    cdef Py_ssize_t t, i
    cdef real code, snow, ice, bare, lake, ocean, cloud, night, seen
    for i in range(width):
        snow = 0.0
        ice = 0.0
        bare = 0.0
        lake = 0.0
        ocean = 0.0
        cloud = 0.0
        night = 0.0
        seen = 0.0
        for t in range(n):
            code = snowcode[t * width + i]
            snow += where(code == 200.0, 1.0, 0.0)
            ice += where(code == 100.0, 1.0, 0.0)
            bare += where(code == 25.0, 1.0, 0.0)
            lake += where(code == 37.0, 1.0, 0.0)
            ocean += where(code == 39.0, 1.0, 0.0)
            cloud += where(code == 50.0, 1.0, 0.0)
            night += where(code == 11.0, 1.0, 0.0)
            seen += where(code == code, 1.0, 0.0)
        code = where((cloud > 0.0) & (cloud == seen), 50.0, where((night > 0.0) & (night == seen), 11.0, 1.0))
        code = where(ocean > 0.0, 39.0, code)
        code = where((lake > 0.0) & (lake >= ocean), 37.0, code)
        code = where((bare > 0.0) & (bare >= lake) & (bare >= ocean), 25.0, code)
        code = where(ice > 0.0, 100.0, code)
        code = where(snow > 0.0, 200.0, code)
        sncclass[i] = where(seen > 0.0, code, NAN)


cdef inline void snc_bridge(
        const real* snc, const real* day, Py_ssize_t n, Py_ssize_t width, real reach, real* sncfill) noexcept nogil:
    """Daily cover without gaps: what was seen at most `reach` days before and after, in a straight line by time;
    with a look on one side only, as it was there; else missing."""
    cdef real before[512]
    cdef real since[512]
    cdef real after[512]
    cdef real until[512]
    cdef Py_ssize_t t, u, i
    cdef real value, back, ahead, ends, shares
    for i in range(width):
        before[i] = NAN
        since[i] = -1e9
    for t in range(n):
        for i in range(width):
            value = snc[t * width + i]
            before[i] = where(value == value, value, before[i])
            since[i] = where(value == value, day[t], since[i])
            after[i] = NAN
            until[i] = 1e9
        u = t + 1
        while u < n and day[u] - day[t] <= reach:
            for i in range(width):
                value = snc[u * width + i]
                ends = where((value == value) & (after[i] != after[i]), 1.0, 0.0)
                after[i] = where(ends > 0.0, value, after[i])
                until[i] = where(ends > 0.0, day[u], until[i])
            u += 1
        for i in range(width):
            back = day[t] - since[i]
            ahead = until[i] - day[t]
            value = before[i] + (after[i] - before[i]) * ratio(back, at_least(back + ahead, 1e-6))
            shares = where(back <= reach, 1.0, 0.0) + where(ahead <= reach, 2.0, 0.0)
            value = where(shares == 3.0, value, where(shares == 1.0, before[i], where(shares == 2.0, after[i], NAN)))
            sncfill[t * width + i] = where(back == 0.0, before[i], value)
