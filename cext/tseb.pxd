"""Two-source energy balance: canopy and soil share the air within the canopy; W m-2 and K.

Norman et al. (1995), series form of Kustas and Norman (1999). The canopy
transpires at Priestley and Taylor's rate; where the soil would then take up
water, the rate is lowered in steps of 0.1 until it does not.
"""

from cext.evaporation cimport tetens, tetens_slope
from cext.turbulence cimport air_density, heat_capacity, profiles, psi_m, slope_limit, vaporization
from cext.vecmath cimport real, cos, exp, log, sqrt, ratio, where, at_least, at_most


cdef inline real fourth(real t) noexcept nogil:
    return (t * t) * (t * t)


cdef inline real near(real t, real ts) noexcept nogil:
    """A temperature held within 80 K of the one seen: a state that fits no energy balance stays a number."""
    return at_most(at_least(t, ts - 80.0), ts + 80.0)


cdef inline real other_temperature(real ts, real tcan, real seen) noexcept nogil:
    """Temperature of the soil that, with the canopy's, gives the one seen."""
    return near(sqrt(sqrt(ratio(at_least(fourth(ts) - seen * fourth(tcan), 1e6), 1.0 - seen))), ts)


cdef inline real diffuse_extinction(real lai) noexcept nogil:
    """-ln of the share of diffuse radiation that passes leaves of all directions, 2 E3(lai/2); fit, 6e-5."""
    cdef real x = at_most(lai, 12.0)
    cdef real over = x * (0.989930445 + x * (4.10765996 + x * (1.84607975 + 0.106474379 * x)))
    return ratio(over, 1.0 + x * (4.7396586 + x * (2.71954549 + 0.204715676 * x)))


cdef inline void longwave_canopy(real lai, real emis_canopy, real emis_soil, real* passed, real* thrown) noexcept nogil:
    """Diffuse longwave transmittance and albedo of a canopy over soil; Campbell and Norman (1998) eqs 15.5 to 15.11."""
    cdef real leaf = sqrt(emis_canopy)
    cdef real deep = ratio(1.0 - leaf, 1.0 + leaf)
    cdef real depth = diffuse_extinction(lai)
    cdef real k = ratio(depth, lai)
    cdef real rho = ratio(2.0 * k * deep, k + 1.0)
    cdef real soil = 1.0 - emis_soil
    cdef real e1 = exp(-leaf * depth)
    cdef real e2 = e1 * e1
    cdef real fact = ratio(rho - soil, rho * soil - 1.0) * e2
    passed[0] = ratio((rho * rho - 1.0) * e1, rho * soil - 1.0 + rho * (rho - soil) * e2)
    thrown[0] = ratio(rho + fact, 1.0 + rho * fact)


cdef inline real seen_leaves(real lai, real fc, real angle) noexcept nogil:
    """Share of leaves in the view at `angle`; Kustas and Norman (1999) eqs 2 and 3, crowns as wide as high.

    Leaves of all directions (Campbell 1990), extinction 1/(2.0013 cos(angle)); they stand on the share `fc` of the
    ground.
    """
    cdef real depth = ratio(0.49966989 * lai, fc)
    cdef real nadir = ratio(-log(fc * exp(-at_most(depth, 60.0)) + 1.0 - fc + 1e-26), depth)
    cdef real slant = exp(-2.2 * exp(3.34 * log(at_least(angle, 1e-6))))
    cdef real clumped = ratio(nadir, nadir + (1.0 - nadir) * slant)
    return at_most(1.0 - exp(-at_most(ratio(depth * clumped, cos(angle)), 40.0)), 0.99999)


cdef inline void two_source_pass(
        real ts, real tas, real sn_canopy, real sn_soil, real rlds, real u, real seen, real passed, real thrown,
        real emis_canopy, real emis_soil, real log_u, real log_t, real log_m, real log_c, real top, real rho_cp,
        real moist, real rate, real ground, real leaf_number, real leaf_decay, real soil_decay, real lower, real* now,
        real* tcan, real* tsoil, real* tair, real* alpha, real* hfss, real* hfls, real* hfdsl) noexcept nogil:
    """One estimate of the temperatures, the fluxes and 1/L; `lower` is what the rate loses where the soil takes up
    water."""
    cdef real fm, fh, ustar
    profiles(now[0], log_u, log_t, log_m, log_m, &fm, &fh)
    ustar = at_least(ratio(0.41 * u, fm), 0.01)
    cdef real ra = at_least(ratio(fh, 0.41 * ustar), 0.1)
    cdef real above = log_c - log_m - psi_m(exp(log_c) * now[0]) + psi_m(exp(log_m) * now[0])
    cdef real canopy_wind = at_least(2.4390244 * ustar * above, 0.01)
    cdef real rx = at_least(ratio(leaf_number, sqrt(at_least(canopy_wind * leaf_decay, 0.01))), 0.1)
    cdef real soil_wind = 0.012 * at_least(canopy_wind * soil_decay, 0.01)
    cdef real warm = at_least(tsoil[0] - tair[0], 1e-9)
    cdef real rs = at_least(ratio(1.0, 0.0038 * exp(0.33333333 * log(warm)) + soil_wind), 0.1)
    # Radiation of the last temperatures.
    cdef real lc = 5.670374419e-8 * emis_canopy * fourth(tcan[0])
    cdef real ls = 5.670374419e-8 * emis_soil * fourth(tsoil[0])
    cdef real rn_soil = sn_soil + emis_soil * (passed * rlds + (1.0 - passed) * lc) - ls
    cdef real rn_canopy = sn_canopy + (1.0 - passed) * ((1.0 - thrown) * (rlds + ls) - 2.0 * lc)
    cdef real hc = rn_canopy * (1.0 - alpha[0] * rate)
    # Temperatures: linear in the three resistances, one Newton step for the fourth powers.
    cdef real gap = 1.0 - seen
    cdef real ga = ratio(1.0, ra)
    cdef real gs = ratio(1.0, rs)
    cdef real gx = ratio(1.0, rx)
    cdef real lift = ratio(hc * rx, rho_cp)
    cdef real sum_g = ga + gs + gx
    cdef real linear = near(ratio(tas * ga + ratio(ts * gs, gap) + lift * sum_g, ga + gs + ratio(seen * gs, gap)), ts)
    cdef real below = near(linear * (1.0 + rs * ga) - lift * (1.0 + rs * gx + rs * ga) - tas * rs * ga, ts)
    cdef real slope = 4.0 * gap * below * below * below * (1.0 + rs * ga) + 4.0 * seen * linear * linear * linear
    tcan[0] = near(linear + ratio(fourth(ts) - seen * fourth(linear) - gap * fourth(below), at_least(slope, 1.0)), ts)
    tsoil[0] = other_temperature(ts, tcan[0], seen)
    warm = at_least(tsoil[0] - tair[0], 1e-9)
    gs = at_most(0.0038 * exp(0.33333333 * log(warm)) + soil_wind, 10.0)
    tair[0] = ratio(tas * ga + tsoil[0] * gs + tcan[0] * gx, ga + gs + gx)
    # Soil: what is left evaporates; where nothing transpires, nothing evaporates either and the ground takes the rest.
    cdef real hs = rho_cp * (tsoil[0] - tair[0]) * gs
    cdef real g = ground * rn_soil
    cdef real left = rn_soil - g - hs
    cdef real none = where(alpha[0] > 0.0, 0.0, 1.0)
    cdef real capped = at_most(hs, rn_soil - g)
    hs = where(none > 0.5, capped, hs)
    g = where(none > 0.5, at_least(g, rn_soil - hs), g)
    hfdsl[0] = g
    hfss[0] = hc + hs
    hfls[0] = rn_canopy - hc + where(none > 0.5, 0.0, left)
    alpha[0] = where(left < 0.0, at_least(alpha[0] - lower, 0.0), alpha[0])
    cdef real led = ratio(-4.0207265 * (hfss[0] + moist * hfls[0]), tas * rho_cp * ustar * ustar * ustar)
    now[0] = slope_limit(led, top)


cdef inline void tseb_pt(
        real ts, real tas, real vap, real ps, real wind, real sn_canopy, real sn_soil, real rlds, real lai, real fveg,
        real hc, real vza, real z0m, real d0, real height_wind, real height_air, real rate_pt, real leaf_width,
        real z0_soil, real emis_canopy, real emis_soil, real ground, real* hfss, real* hfls, real* hfdsl, real* tcan,
        real* tsoil) noexcept nogil:
    """Two-source fluxes from one radiometric temperature seen at the zenith angle `vza`, degrees.

    Twenty-one passes for every pixel: two with the full rate, thirteen that may lower it (to 0), six at rest.
    """
    cdef real leaves = at_most(at_least(lai, 0.01), 12.0)
    cdef real height = at_least(hc, 0.01)
    cdef real passed, thrown
    longwave_canopy(leaves, emis_canopy, emis_soil, &passed, &thrown)
    cdef real fc = at_most(at_least(fveg, 0.01), 1.0)
    cdef real seen = seen_leaves(leaves, fc, 0.017453293 * vza)
    cdef real cp = heat_capacity(vap, ps)
    cdef real rho_cp = air_density(tas, vap, ps) * cp
    cdef real latent = vaporization(tas)
    cdef real moist = ratio(0.61 * tas * cp, latent)
    cdef real delta = tetens_slope(tas, tetens(tas))
    cdef real rate = ratio(delta, delta + ratio(cp * ps, 0.622 * latent))
    cdef real zu = height_wind - d0
    cdef real zt = height_air - d0
    cdef real log_u = log(zu)
    cdef real log_t = log(zt)
    cdef real log_m = log(z0m)
    cdef real log_c = log(at_least(height - d0, 1.001 * z0m))
    cdef real top = at_least(zu, zt)
    cdef real decay = 0.28 * exp(0.33333333 * log(ratio(leaves * leaves * height, leaf_width)))
    cdef real clump = exp(-0.66666667 * log(fc))
    cdef real leaf_decay = exp(-at_most(decay * clump * at_least(1.0 - ratio(d0 + z0m, height), 0.0), 40.0))
    cdef real soil_decay = exp(-at_most(decay * at_least(1.0 - ratio(z0_soil, height), 0.0), 40.0))
    cdef real leaf_number = ratio(90.0, leaves) * sqrt(leaf_width)
    cdef real u = at_least(wind, 0.1)
    cdef real now = 0.0
    cdef real alpha = rate_pt
    cdef real tair = tas
    tcan[0] = at_most(tas, ts)
    tsoil[0] = other_temperature(ts, tcan[0], seen)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.1, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
    two_source_pass(
        ts, tas, sn_canopy, sn_soil, rlds, u, seen, passed, thrown, emis_canopy, emis_soil, log_u, log_t, log_m, log_c,
        top, rho_cp, moist, rate, ground, leaf_number, leaf_decay, soil_decay, 0.0, &now, tcan, tsoil, &tair, &alpha,
        hfss, hfls, hfdsl)
