"""Snobal: the energy and mass of a snowpack of two layers, hour by hour, many pixels at a time.

Equations of Marks et al. (1999), doi:10.1002/(SICI)1099-1085(199909)13:12/13<1935::AID-HYP868>3.0.CO;2-C, with
Marks and Dozier (1992) for turbulence and Anderson (1976) for compaction. The
upper layer is at most `top` deep; the rest is the lower layer.

A pack with a layer lighter than 60 kg m-2 takes quarters of an hour, one
lighter than 10 kg m-2 minutes. So that a few such pixels do not make all the
others wait, the pixels of a piece are sorted by the step they need, and go
through the arithmetic in packets of whole vectors. Arithmetic and sums within
a step are double; the state between steps is single, mass in two parts.
"""

from libc.math cimport NAN
from cext.vecmath cimport real

cdef extern from "vecmath64.h" nogil:
    double exp(double x) noexcept
    double log(double x) noexcept
    double cos(double x) noexcept
    double atan(double x) noexcept
    double sqrt(double x) noexcept
    double fabs(double x) noexcept
    double where "d_where"(bint condition, double x, double y) noexcept
    double at_least "d_at_least"(double x, double lowest) noexcept
    double at_most "d_at_most"(double x, double highest) noexcept

cdef extern from *:
    """
    #define FREEZE 273.16
    #define NO_SNOW -75.0
    #define FUSION 3.336e5
    #define WATER 999.87
    #define ICE 917.0
    """
    const double FREEZE    # K, triple point
    const double NO_SNOW   # K from FREEZE, written as temperature where there is no snow
    const double FUSION    # J kg-1
    const double WATER     # kg m-3
    const double ICE       # kg m-3

cdef enum:
    PIECE = 256
    PACK = 16
    # Inputs of the row function, then its states, then its outputs: see INPUTS, STATES and OUTPUTS below.
    FORCINGS = 11
    KEPT = 17
    SUMS = 9


ctypedef struct Site:
    double step        # s, of the forcing
    double zu          # m, height of the wind above the snow
    double zt          # m, height of temperature and humidity
    double zg          # m, depth of the soil temperature
    double z0          # m, roughness
    double top         # m, largest depth of the upper layer
    double pores       # share of the pores that holds water
    double emissivity
    double soil        # W m-1 K-1
    double snow        # W m-1 K-1, of ice's density 1 g cm-3; grows with the square of density
    double ripe        # share of new water at which half of the densification by water is done
    double dense       # kg m-3, up to which snow compacts


ctypedef struct Many:
    # Of each pixel of a packet: the pack, the weather at the start of the step and its change, precipitation, sums.
    double z[PACK]
    double m[PACK]
    double t0[PACK]
    double t1[PACK]
    double tm[PACK]
    double w[PACK]
    double c0[PACK]
    double c1[PACK]
    double n[PACK]
    double rss[PACK]
    double rlds[PACK]
    double tas[PACK]
    double vap[PACK]
    double wind[PACK]
    double tsl[PACK]
    double d_rss[PACK]
    double d_rlds[PACK]
    double d_tas[PACK]
    double d_vap[PACK]
    double d_wind[PACK]
    double d_tsl[PACK]
    double fall[PACK]
    double share[PACK]
    double density[PACK]
    double tpr[PACK]
    double ps[PACK]
    double net[PACK]
    double sensible[PACK]
    double latent[PACK]
    double ground[PACK]
    double advected[PACK]
    double total[PACK]
    double vapour[PACK]
    double melt[PACK]
    double runoff[PACK]
    # Between the stages of a step.
    double h[PACK]
    double le[PACK]
    double e[PACK]
    double pad[10 * PACK]


ctypedef struct Pack:
    # One pixel's snow while a step is made.
    double z
    double m
    double rho
    double n
    double z0
    double z1
    double m0
    double m1
    double t0
    double t1
    double tm
    double c0
    double c1
    double free        # kg m-2 of liquid water, in the pack or on its way out


cdef inline double over_ice(double t) noexcept nogil:
    """Saturation pressure over ice, Pa; Goff and Gratch (1946)."""
    cdef double r = FREEZE / t
    return 610.71 * exp(-20.947031056 * (r - 1.0) - 3.56654 * log(r) + 2.0188904914 * (1.0 - t / FREEZE))


cdef inline double saturation(double t) noexcept nogil:
    """Saturation pressure, Pa, over ice up to the triple point, over water above; Goff and Gratch (1946)."""
    cdef double r = 373.15 / t
    cdef double warm = (-18.197283938 * (r - 1.0) + 5.02808 * log(r)
                        - 3.1812515645e-07 * (exp(26.120525295 * (1.0 - t / 373.15)) - 1.0)
                        + 0.018726464044 * (exp(-8.0394528263 * (r - 1.0)) - 1.0))
    return where(t > FREEZE, 101324.6 * exp(warm), over_ice(at_most(t, FREEZE)))


cdef inline double specific(double e, double ps) noexcept nogil:
    """Specific humidity of air of vapour pressure `e`."""
    return e * 18.0153 / (28.9644 * ps + e * (18.0153 - 28.9644))


cdef inline double heat_of_ice(double t) noexcept nogil:
    """Specific heat of ice, J kg-1 K-1."""
    return 4186.798188 * (0.024928 + 0.00176 * t)


cdef inline double diffusion(double t, double ps) noexcept nogil:
    """Diffusion of vapour in snow, m2 s-1; Anderson (1976) eq. 3.13."""
    cdef double r = t / FREEZE
    cdef double r2 = r * r
    cdef double r4 = r2 * r2
    return 6.5e-5 * (101324.6 / ps) * (r4 * r4 * r4 * r2)


cdef inline double conduction(double k, double t, double e, double ps) noexcept nogil:
    """Conductivity with the vapour that carries latent heat along, W m-1 K-1; Anderson (1976)."""
    cdef double evaporation = 2.5e6 - 2955.73 * (t - FREEZE)
    cdef double fusion = 3.336e5 + 166.67 * (FREEZE - t)
    # At melting half of each; a soil at 0 degC comes in single precision, hence the margin.
    cdef double heat = evaporation + where(t < FREEZE - 1e-3, fusion, where(t > FREEZE + 1e-3, 0.0, 0.5 * fusion))
    return k + heat * diffusion(t, ps) * (18.0153 / 28.9644) * e / (ps - e)


cdef inline double between(double k1, double k2, double t1, double t2, double d1, double d2) noexcept nogil:
    """Heat that layer 2 gives layer 1, W m-2, by their halves in series."""
    return 2.0 * k1 * k2 * (t2 - t1) / at_least(k2 * d1 + k1 * d2, 1e-12)


cdef inline double cold(double t, double m) noexcept nogil:
    """Energy to bring a layer to melting, J m-2, negative."""
    return at_most(heat_of_ice(t) * m * (t - FREEZE), 0.0)


cdef inline double room(double z, double dry, double share) noexcept nogil:
    """Water, kg m-2, that fills `share` of the pores of a depth of dry snow."""
    return z * WATER * share * (ICE - dry) / ICE


cdef inline double step_m(double w) noexcept nogil:
    """Stability correction for momentum; Businger and Dyer, 16 and 5.2."""
    cdef double x2 = sqrt(1.0 + 16.0 * at_least(-w, 0.0))
    cdef double x = sqrt(x2)
    cdef double half = 0.5 + 0.5 * x
    return where(w < 0.0, log(half * half * (0.5 + 0.5 * x2)) - 2.0 * atan(x) + 1.5707963267948966,
                 -5.2 * at_most(w, 1.0))


cdef inline double step_h(double w) noexcept nogil:
    """Stability correction for heat and vapour."""
    return where(w < 0.0, 2.0 * log(0.5 + 0.5 * sqrt(1.0 + 16.0 * at_least(-w, 0.0))), -5.2 * at_most(w, 1.0))


cdef inline void settle(Pack* s, double top) noexcept nogil:
    """Divide the pack anew after a change of depth; what is lighter than 1 kg m-2 is water, with the water in it.

    A second layer that comes to be has the mean temperature; one that goes takes its cold with it.
    """
    cdef double before = s.n
    cdef bint none = s.m <= 1.0
    cdef bint two = (s.m > 1.0) & (s.z >= top) & ((s.z - top) * s.rho >= 1.0)
    cdef bint new = two & (before == 1.0)
    s.free = where(none & (s.m > 0.0), s.m, s.free)
    s.n = where(none, 0.0, where(two, 2.0, 1.0))
    s.m = where(none, 0.0, s.m)
    s.z = where(none, 0.0, s.z)
    s.rho = where(none, 0.0, s.rho)
    s.z0 = where(two, top, s.z)
    s.z1 = where(two, s.z - top, 0.0)
    s.m0 = s.rho * s.z0
    s.m1 = s.rho * s.z1
    s.t0 = where(none, FREEZE + NO_SNOW, s.t0)
    s.tm = where(none, FREEZE + NO_SNOW, s.tm)
    s.t1 = where(new, s.tm, where(two, s.t1, FREEZE + NO_SNOW))
    s.c0 = where(none, 0.0, s.c0)
    s.c1 = where(new, cold(s.t1, s.m1), where(two, s.c1, 0.0))


cdef inline void change(Pack* s, bint where_, double dz, double dm, double top) noexcept nogil:
    """Change depth and mass; no snow is denser than 750 kg m-3. Layers move where the depth does."""
    cdef double z = where(where_, s.z + dz, s.z)
    cdef Pack old = s[0]
    s.m = where(where_, s.m + dm, s.m)
    s.rho = where(where_, where(z > 0.0, s.m / where(z > 0.0, z, 1.0), 751.0), s.rho)
    cdef bint crushed = where_ & (s.rho > 750.0)
    s.rho = where(crushed, 750.0, s.rho)
    s.z = where(crushed, s.m / 750.0, z)
    cdef bint moved = where_ & (crushed | (dz != 0.0))
    cdef Pack new = s[0]
    settle(&new, top)
    s.n = where(moved, new.n, s.n)
    s.m = where(moved, new.m, s.m)
    s.z = where(moved, new.z, s.z)
    s.rho = where(moved, new.rho, s.rho)
    s.z0 = where(moved, new.z0, old.z0)
    s.z1 = where(moved, new.z1, old.z1)
    s.m0 = s.rho * s.z0
    s.m1 = s.rho * s.z1
    s.t0 = where(moved, new.t0, s.t0)
    s.t1 = where(moved, new.t1, s.t1)
    s.tm = where(moved, new.tm, s.tm)
    s.c0 = where(moved, new.c0, s.c0)
    s.c1 = where(moved, new.c1, s.c1)
    s.free = where(moved, new.free, s.free)


cdef void turbulence(Many* p, const Site* q) noexcept nogil:
    """Sensible and latent heat toward the snow and the mass of vapour; Brutsaert (1982), Marks and Dozier (1992).

    The stability 1/L is sought by secants from the neutral one, until all pixels of the packet rest.
    """
    cdef double slope[PACK]
    cdef double last[PACK]
    cdef double miss[PACK]
    cdef double rests[PACK]
    cdef double ta[PACK]
    cdef double dt[PACK]
    cdef double dq[PACK]
    cdef double rho[PACK]
    cdef double d0 = 4.9 * q.z0
    cdef double log_u = log((q.zu - d0) / q.z0)
    cdef double log_t = log((q.zt - d0) / q.z0)
    cdef double ustar, factor, e, h, es, ea, led, gap, secant, open_
    cdef int i, _turn
    for i in range(PACK):
        es = over_ice(p.t0[i])
        ea = at_most(p.vap[i], saturation(p.tas[i]))
        dq[i] = specific(ea, p.ps[i]) - specific(es, p.ps[i])
        ta[i] = p.tas[i] + (9.80665 / 1005.0) * q.zt
        dt[i] = ta[i] - p.t0[i]
        rho[i] = p.ps[i] * 28.9644 / 8314.32 / (
            sqrt(ta[i] * p.t0[i]) / (1.0 - (1.0 - 18.0153 / 28.9644) * sqrt(at_least(ea, 0.0) * es) / p.ps[i]))
        ustar = 0.41 * p.wind[i] / log_u
        slope[i] = (0.41 * 9.80665) * (dt[i] / ta[i] + 0.61 * dq[i]) * 0.41 / log_t / at_least(ustar * ustar, 1e-12)
        last[i] = 0.0
        miss[i] = slope[i]
        rests[i] = where(p.n[i] > 0.0, 0.0, 1.0)
    for _turn in range(40):
        open_ = 0.0
        for i in range(PACK):
            ustar = 0.41 * p.wind[i] / (log_u - step_m(q.zu * slope[i]))
            factor = 0.41 / (log_t - step_h(q.zt * slope[i]))
            led = (0.41 * 9.80665) * (dt[i] / ta[i] + 0.61 * dq[i]) * factor / at_least(ustar * ustar, 1e-12)
            gap = led - slope[i]
            secant = slope[i] - gap * (slope[i] - last[i]) / where(gap == miss[i], 1.0, gap - miss[i])
            # A secant that leaves the side of the neutral stability, or has no slope, gives way to where the last led.
            secant = where((secant * led > 0.0) & (gap != miss[i]) & (fabs(secant) < 8.0 * fabs(led) + 1e-3), secant,
                           led)
            # A pixel that rests stays as it is while its neighbours go on: its bits do not depend on them.
            rests[i] = where((fabs(gap) <= 1e-6 * fabs(led)) | (fabs(gap) <= 1e-12), 1.0, rests[i])
            open_ += 1.0 - rests[i]
            last[i] = slope[i]
            miss[i] = gap
            slope[i] = where(rests[i] > 0.0, slope[i], secant)
        if open_ == 0.0:
            break
    for i in range(PACK):
        ustar = 0.41 * p.wind[i] / (log_u - step_m(q.zu * slope[i]))
        factor = 0.41 * ustar * rho[i] / (log_t - step_h(q.zt * slope[i]))
        e = dq[i] * factor
        h = dt[i] * factor * 1005.0
        p.e[i] = where(p.n[i] > 0.0, e, 0.0)
        p.h[i] = where(p.n[i] > 0.0, h, 0.0)
        p.le[i] = p.e[i] * (2.5e6 - 2955.73 * (p.t0[i] - FREEZE) + 3.336e5 + 166.67 * (FREEZE - p.t0[i]))


cdef inline void freeze_again(double* c, double energy, double part, double* gone) noexcept nogil:
    """Let the water of a cold layer freeze as far as its cold goes."""
    cdef double left = energy + part * FUSION
    cdef bint some = (c[0] < 0.0) & (part > 0.0)
    gone[0] += where(some, where(left <= 0.0, part, part - left / FUSION), 0.0)
    c[0] = where(some, at_most(left, 0.0), c[0])


cdef void balance(Many* p, const Site* q, double dt, double weight) noexcept nogil:
    """One step of `dt` s of all pixels of a packet: energy, compaction, precipitation, melt, vapour, runoff.

    `weight` is the share of the forcing's step.
    """
    cdef int i
    cdef Pack s
    cdef bint snow, wet, mixed, spent
    cdef double fall, frozen, rain, deep, t_snow, t_rain, soaked, net, ground, inner, advected, surface, whole
    cdef double ks0, ks1, kg, e0, e1, eg, rate, grains, load, extra, melt, q0, q1, gone, before, loss, below, vapour
    cdef double tlow, tbar, density, most, out, water, held
    for i in range(PACK):
        s.z = p.z[i]
        s.m = p.m[i]
        s.n = p.n[i]
        s.t0 = p.t0[i]
        s.t1 = p.t1[i]
        s.tm = p.tm[i]
        s.c0 = p.c0[i]
        s.c1 = p.c1[i]
        s.free = 0.0
        snow = s.n > 0.0
        s.rho = where(snow, s.m / where(snow, s.z, 1.0), 0.0)
        s.z0 = where(s.n == 2.0, q.top, s.z)
        s.z1 = where(s.n == 2.0, s.z - q.top, 0.0)
        s.m0 = s.rho * s.z0
        s.m1 = s.rho * s.z1
        held = p.w[i]
        # Precipitation of this step. Mixed and warm snow falls at melting with its pores full.
        fall = p.fall[i] * weight
        frozen = fall * p.share[i]
        rain = fall - frozen
        wet = fall > 0.0
        mixed = (p.share[i] < 1.0) | (p.tpr[i] >= FREEZE)
        t_snow = where(mixed, FREEZE, p.tpr[i])
        t_rain = p.tpr[i]
        soaked = where(mixed, q.pores, 0.0)
        density = at_least(p.density[i], 1.0)
        deep = frozen / density
        # Energy.
        e0 = over_ice(s.t0)
        e1 = over_ice(s.t1)
        eg = saturation(p.tsl[i])
        net = p.rss[i] + q.emissivity * (p.rlds[i] - 5.67032e-8 * s.t0 * s.t0 * s.t0 * s.t0)
        ks0 = conduction(q.snow * s.rho * s.rho * 1e-6, s.t0, e0, p.ps[i])
        ks1 = conduction(q.snow * s.rho * s.rho * 1e-6, s.t1, e1, p.ps[i])
        kg = conduction(q.soil, p.tsl[i], eg, p.ps[i])
        ground = where(s.n == 2.0, between(ks1, kg, s.t1, p.tsl[i], s.z1, q.zg),
                       between(ks0, kg, s.t0, p.tsl[i], s.z0, q.zg))
        inner = where(s.n == 2.0, between(ks0, ks1, s.t0, s.t1, s.z0, s.z1), ground)
        advected = ((4217.7 - 2.55 * (t_rain - FREEZE)) * rain * (t_rain - s.t0)
                    + heat_of_ice(t_snow) * frozen * (t_snow - s.t0)) / dt
        surface = net + p.h[i] + p.le[i] + inner + advected
        whole = surface + ground - inner
        p.net[i] += where(snow, net, 0.0) * dt
        p.sensible[i] += p.h[i] * dt
        p.latent[i] += p.le[i] * dt
        p.ground[i] += where(snow, ground, 0.0) * dt
        p.advected[i] += where(snow, advected, 0.0) * dt
        p.total[i] += where(snow, whole, 0.0) * dt
        # Compaction by time; Anderson (1976).
        rate = (23.5 * cos(0.0015707963267948967 * at_most(s.m, 2000.0)) + 24.5) * 3600.0 / dt
        rate = where(s.m >= 2000.0, 1.0, rate)
        grains = 0.01 * exp(-0.046 * at_least(s.rho - 100.0, 0.0) - 0.04 * (FREEZE - s.tm))
        load = 0.026 * s.m * exp(-0.08 * (FREEZE - s.tm) - 0.021 * s.rho)
        extra = where(snow & (s.rho < q.dense), (grains + load) / rate, 0.0)
        change(&s, extra > 0.0, -s.z * extra / (1.0 + extra), 0.0, q.top)
        # Precipitation on snow, or as the first snow.
        spent = snow & (s.n == 0.0)
        change(&s, wet & (s.n > 0.0) & snow, deep, fall, q.top)
        held += where(wet & snow, room(deep, density, soaked), 0.0)
        s.z = where(snow, s.z, deep)
        s.m = where(snow, s.m, frozen)
        s.rho = where(snow, s.rho, density)
        s.t0 = where(snow, s.t0, t_snow)
        s.t1 = where(snow, s.t1, t_snow)
        s.tm = where(snow, s.tm, t_snow)
        s.n = where(snow, s.n, 1.0)
        settle(&s, q.top)
        s.c0 = where(snow, s.c0, cold(s.t0, s.m0))
        s.c1 = where(snow, s.c1, where(s.n == 2.0, cold(s.t1, s.m1), 0.0))
        water = room(s.z, (s.rho - soaked * WATER) / (1.0 - soaked * WATER / ICE), soaked)
        held = where(snow, held, where(s.n > 0.0, water, 0.0))
        s.free += where(spent, fall, where(snow & (s.n == 0.0), 0.0, rain + where(snow, held, 0.0)))
        # Melt: what energy is left beyond the cold of a layer, not more than there is ice.
        q0 = surface * dt + s.c0
        q1 = where(s.n == 2.0, (ground - inner) * dt + s.c1, 0.0)
        melt = where(snow, (at_least(q0, 0.0) + at_least(q1, 0.0)) / FUSION, 0.0)
        melt = at_most(melt, at_least(s.m - s.free, 0.0))
        s.c0 = where(snow, at_most(q0, 0.0), s.c0)
        s.c1 = where(snow, at_most(q1, 0.0), s.c1)
        s.free += melt
        gone = 0.0
        load = where(snow & (s.z > 0.0), s.free / where(s.z > 0.0, s.z, 1.0), 0.0)
        freeze_again(&s.c0, q0, load * s.z0, &gone)
        freeze_again(&s.c1, q1, load * s.z1, &gone)
        s.free = where(fabs(s.free - gone) <= 1e-8, 0.0, s.free - gone)
        change(&s, melt > 0.0, -melt / at_least(s.rho, 1.0), 0.0, q.top)
        # Vapour to the air and to the soil; water goes first.
        before = s.free
        vapour = p.e[i] * dt
        tlow = where(s.n == 2.0, s.t1, s.t0)
        tbar = 0.5 * (p.tsl[i] + tlow)
        below = p.ps[i] * 28.9644 / (8314.32 * tbar) * diffusion(tbar, p.ps[i]) / q.zg * dt
        below *= specific(eg, p.ps[i]) - specific(where(s.n == 2.0, e1, e0), p.ps[i])
        below = where(snow & (s.n > 0.0), below, 0.0)
        vapour = where(s.n > 0.0, vapour, 0.0)
        s.free = where(s.free > 0.0, at_least(s.free + (2.501 / 2.835) * vapour, 0.0), s.free)
        s.free = where(s.free > 0.0, at_least(s.free + (2.501 / 2.835) * below, 0.0), s.free)
        vapour = at_least(vapour + below, -s.m)
        loss = vapour + (before - s.free)
        change(&s, snow & (s.n > 0.0) & (vapour != 0.0), 0.5 * loss / at_least(s.rho, 1.0), vapour, q.top)
        # Densification by new water.
        extra = where(snow & (s.n > 0.0), (melt + rain) / at_least(s.m, 1e-9), 0.0)
        extra = where((extra > 1e-6) & (s.rho <= 550.0), (550.0 - s.rho) / (1.0 + q.ripe / at_least(extra, 1e-9)), 0.0)
        change(&s, extra > 0.0, s.m / at_least(s.rho + extra, 1.0) - s.z, 0.0, q.top)
        # Runoff: what the pores do not hold.
        most = room(s.z, (s.m - s.free) / where(s.z > 0.0, s.z, 1.0), q.pores)
        out = where(snow & (s.n > 0.0), at_least(s.free - at_least(most, 0.0), 0.0), s.free)
        held = where(snow, where(s.n > 0.0, s.free - out, 0.0), held)
        s.m = where(snow & (s.n > 0.0), s.m - out, s.m)
        s.rho = where(s.n > 0.0, s.m / where(s.z > 0.0, s.z, 1.0), 0.0)
        s.m0 = s.rho * where(s.n == 2.0, q.top, s.z)
        s.m1 = s.rho * where(s.n == 2.0, s.z - q.top, 0.0)
        # Temperatures from what cold is left.
        mixed = snow & (s.n > 0.0)
        s.t0 = where(mixed, FREEZE + s.c0 / at_least(s.m0 * heat_of_ice(s.t0), 1e-9), s.t0)
        s.t1 = where(mixed & (s.n == 2.0), FREEZE + s.c1 / at_least(s.m1 * heat_of_ice(s.t1), 1e-9), s.t1)
        s.tm = where(mixed, where(s.n == 2.0, FREEZE + (s.c0 + s.c1) / at_least(s.m * heat_of_ice(s.tm), 1e-9), s.t0),
                     s.tm)
        p.z[i] = s.z
        p.m[i] = s.m
        p.n[i] = s.n
        p.t0[i] = s.t0
        p.t1[i] = s.t1
        p.tm[i] = s.tm
        p.c0[i] = s.c0
        p.c1[i] = s.c1
        p.w[i] = held
        p.vapour[i] += where(snow, vapour, 0.0)
        p.melt[i] += melt
        p.runoff[i] += out
        # The weather of the next step.
        p.rss[i] += p.d_rss[i] * weight
        p.rlds[i] += p.d_rlds[i] * weight
        p.tas[i] += p.d_tas[i] * weight
        p.vap[i] += p.d_vap[i] * weight
        p.wind[i] += p.d_wind[i] * weight
        p.tsl[i] += p.d_tsl[i] * weight


cdef void advance(double* pool, const int* which, int count, const Site* q, double dt, int times) noexcept nogil:
    """Take `times` steps of `dt` s with the pixels `which` of a pool, a packet at a time."""
    cdef Many p
    cdef double* flat = <double*>&p
    cdef int first, i, k, _turn
    first = 0
    while first < count:
        for k in range(35):
            for i in range(PACK):
                # A packet that is not full goes on with copies of its last pixel.
                flat[k * PACK + i] = pool[k * PIECE + which[min(first + i, count - 1)]]
        for _turn in range(times):
            turbulence(&p, q)
            balance(&p, q, dt, dt / q.step)
        for k in range(35):
            for i in range(min(PACK, count - first)):
                pool[k * PIECE + which[first + i]] = flat[k * PACK + i]
        first += PACK


cdef int lightest_below(const double* pool, int i, double least, double top) noexcept nogil:
    """Whether a layer of the pixel is lighter than `least` kg m-2."""
    cdef double z = pool[i], m = pool[PIECE + i], n = pool[8 * PIECE + i]
    if n == 0.0:
        return 0
    if n == 1.0:
        return m < least
    return (m / z * top < least) | (m / z * (z - top) < least)


cdef void hour(double* pool, const int* which, int count, const Site* q) noexcept nogil:
    """Let an hour pass, in steps that fit each pixel's snow."""
    cdef int whole[PIECE]
    cdef int split[PIECE]
    cdef int some[PIECE]
    cdef int few[PIECE]
    cdef int n_whole = 0, n_split = 0, n_some, n_few, k, _quarter
    for k in range(count):
        if lightest_below(pool, which[k], 60.0, q.top):
            split[n_split] = which[k]
            n_split += 1
        else:
            whole[n_whole] = which[k]
            n_whole += 1
    advance(pool, whole, n_whole, q, 3600.0, 1)
    for _quarter in range(4 if n_split else 0):
        n_some = 0
        n_few = 0
        for k in range(n_split):
            if lightest_below(pool, split[k], 10.0, q.top):
                few[n_few] = split[k]
                n_few += 1
            else:
                some[n_some] = split[k]
                n_some += 1
        advance(pool, some, n_some, q, 900.0, 1)
        advance(pool, few, n_few, q, 60.0, 15)


cdef void run_piece(const real* const* rows, const Site* q, real* const* outs, Py_ssize_t first,
                    int count) noexcept nogil:
    """One step of the forcing for a piece of a row."""
    cdef double pool[35 * PIECE]
    cdef int active[PIECE]
    cdef int n_active = 0, i, k, _turn
    cdef Py_ssize_t at
    cdef real seen
    cdef double value
    for i in range(count):
        at = first + i
        seen = 0
        for k in range(FORCINGS):
            seen += rows[k][at]
        for k in range(KEPT):
            seen += rows[FORCINGS + k][at]
        # Depth, mass in two parts, temperatures from melting, water; then the weather before.
        pool[i] = rows[FORCINGS][at]
        pool[PIECE + i] = <double>rows[FORCINGS + 1][at] + <double>rows[FORCINGS + 2][at]
        for k in range(3):
            pool[(2 + k) * PIECE + i] = FREEZE + <double>rows[FORCINGS + 3 + k][at]
        pool[5 * PIECE + i] = rows[FORCINGS + 6][at]
        for k in range(6):
            value = rows[FORCINGS + 7 + k][at]
            pool[(9 + k) * PIECE + i] = value
            pool[(15 + k) * PIECE + i] = rows[k][at] - value
        for k in range(4):
            pool[(21 + k) * PIECE + i] = rows[FORCINGS + 13 + k][at]
        pool[21 * PIECE + i] *= q.step
        pool[25 * PIECE + i] = rows[10][at]
        for k in range(SUMS):
            pool[(26 + k) * PIECE + i] = 0.0
        # The first step has no weather before it: it only remembers its own.
        if seen == seen and rows[FORCINGS + 9][at] > 0:
            active[n_active] = i
            n_active += 1
    for k in range(n_active):
        begin(pool, active[k], q)
    for _turn in range(<int>(q.step / 3600.0 + 0.5)):
        hour(pool, active, n_active, q)
    for i in range(count):
        store(pool, i, rows, outs, first + i, q)


cdef void begin(double* pool, int i, const Site* q) noexcept nogil:
    """Layers and their cold from depth, mass and temperatures."""
    cdef Pack s
    s.z = pool[i]
    s.m = pool[PIECE + i]
    s.t0 = pool[2 * PIECE + i]
    s.t1 = pool[3 * PIECE + i]
    s.tm = pool[4 * PIECE + i]
    s.n = 2.0
    s.c0 = 0.0
    s.c1 = 0.0
    s.free = 0.0
    s.rho = s.m / s.z if s.z > 0 else 0.0
    settle(&s, q.top)
    pool[i] = s.z
    pool[PIECE + i] = s.m
    pool[2 * PIECE + i] = s.t0
    pool[3 * PIECE + i] = s.t1
    pool[4 * PIECE + i] = s.tm
    pool[5 * PIECE + i] = pool[5 * PIECE + i] if s.n > 0 else 0.0
    pool[6 * PIECE + i] = cold(s.t0, s.m0) if s.n > 0 else 0.0
    pool[7 * PIECE + i] = cold(s.t1, s.m1) if s.n == 2 else 0.0
    pool[8 * PIECE + i] = s.n
    pool[34 * PIECE + i] += s.free  # what was left of a pack as light as nothing


cdef void store(const double* pool, int i, const real* const* rows, real* const* outs, Py_ssize_t at,
                const Site* q) noexcept nogil:
    """Write outputs and the state after the step; all are missing where something that goes in is."""
    cdef int k
    cdef real seen = 0, known = 0
    cdef double m = pool[PIECE + i]
    for k in range(FORCINGS):
        seen += rows[k][at]
    for k in range(KEPT):
        known += rows[FORCINGS + k][at]
    if seen != seen or known != known:
        for k in range(16 + KEPT):
            outs[k][at] = NAN
        return
    outs[0][at] = <real>m
    outs[1][at] = <real>pool[i]
    outs[2][at] = <real>(m / pool[i]) if pool[i] > 0 else 0
    outs[3][at] = <real>pool[5 * PIECE + i]
    for k in range(3):
        outs[4 + k][at] = <real>pool[(2 + k) * PIECE + i]
    for k in range(6):
        outs[7 + k][at] = <real>(pool[(26 + k) * PIECE + i] / q.step)
    for k in range(3):
        outs[13 + k][at] = <real>(pool[(32 + k) * PIECE + i] / q.step)
    outs[16][at] = <real>pool[i]
    outs[17][at] = <real>m
    outs[18][at] = <real>(m - <double>(<real>m))
    for k in range(3):
        outs[19 + k][at] = <real>(pool[(2 + k) * PIECE + i] - FREEZE)
    outs[22][at] = <real>pool[5 * PIECE + i]
    for k in range(10):
        outs[23 + k][at] = rows[k][at]


cdef void row_snobal(const real* const* rows, const real* par, real* const* outs, Py_ssize_t n) noexcept nogil:
    """One step of the forcing for a row of pixels."""
    cdef Site q
    cdef Py_ssize_t first = 0
    q.step = par[0]
    q.zu = par[1]
    q.zt = par[2]
    q.zg = par[3]
    q.z0 = par[4]
    q.top = par[5]
    q.pores = par[6]
    q.emissivity = par[7]
    q.soil = par[8]
    q.snow = par[9]
    q.ripe = par[10]
    q.dense = par[11]
    while first < n:
        run_piece(rows, &q, outs, first, <int>min(PIECE, n - first))
        first += PIECE


# What cext/generate.py reads: the card's inputs and states, parameters and outputs in the order of the row function.
INPUTS = ("rss", "rlds", "tas", "vap", "sfcWind", "tsl", "pr", "snowshare", "newdensity", "tpr", "ps")
STATES = ("depth", "mass", "mass_rest", "cold_upper", "cold_lower", "cold_mean", "liquid", "rss_before",
          "rlds_before", "tas_before", "vap_before", "wind_before", "tsl_before", "pr_before", "share_before",
          "density_before", "tpr_before")
PARAMETERS = ("step", "height_wind", "height_air", "depth_soil", "z0_snow", "top", "pores", "emissivity", "soil",
              "snow", "ripe", "dense")
OUTPUTS = ("snw", "snd", "rhosn", "lwsn", "tsn", "tsnlower", "tsnmean", "rnsn", "hfssn", "hflsn", "hfgsn", "hfprsn",
           "hfsn", "evsn", "snm", "mrrosn", "next_depth", "next_mass", "next_mass_rest", "next_cold_upper",
           "next_cold_lower", "next_cold_mean", "next_liquid", "next_rss_before", "next_rlds_before", "next_tas_before",
           "next_vap_before", "next_wind_before", "next_tsl_before", "next_pr_before", "next_share_before",
           "next_density_before", "next_tpr_before")
ADDRESS = <size_t>row_snobal
