"""Energy fluxes of land: heat into the ground, sensible and latent heat from surface temperature; W m-2.

Available energy is rn - hfdsl. Fluxes are positive away from the surface,
`hfdsl` into the ground.
"""

from cext.humidity cimport saturation_water
from cext.roughness cimport is_class
from cext.turbulence cimport air_density, exchange, heat_capacity, profiles, secant, slope_limit, vaporization
from cext.vecmath cimport real, cos, exp, log, ratio, where, at_least, at_most


cdef inline real night_share(real fveg, real night_bare, real night_veg) noexcept nogil:
    """Share of a negative net radiation that the ground gives."""
    return night_bare + (night_veg - night_bare) * at_most(at_least(fveg, 0.0), 1.0)


cdef inline real on_ground(real landtype, real g) noexcept nogil:
    """0 over water, snow and ice, whose store is no soil."""
    return where(is_class(landtype, 0.0) + is_class(landtype, 15.0) + is_class(landtype, 17.0) > 0.5, 0.0, g)


cdef inline real hfdsl_su(
        real rn, real fveg, real landtype, real soil, real canopy, real night_bare, real night_veg) noexcept nogil:
    """Share of net radiation between bare soil and full canopy; Su (2002) eq. 5."""
    cdef real fc = at_most(at_least(fveg, 0.0), 1.0)
    cdef real day = rn * (canopy + (1.0 - fc) * (soil - canopy))
    return on_ground(landtype, where(rn < 0.0, rn * night_share(fveg, night_bare, night_veg), day))


cdef inline real wave_santanello(real amplitude, real period, real tnoon) noexcept nogil:
    """Share of the soil's net radiation; `tnoon` in s since local solar noon: the maximum is three hours before."""
    return amplitude * cos(ratio(6.2831853 * (tnoon + 10800.0), period))


cdef inline real hfdsl_santanello(
        real rn, real lai, real fveg, real landtype, real tnoon, real amplitude, real period, real night_bare,
        real night_veg) noexcept nogil:
    """Santanello and Friedl (2003) eq. 8 on the radiation that passes the canopy, extinction 0.6 per leaf area."""
    cdef real soil = rn * exp(-0.6 * at_most(at_least(lai, 0.0), 40.0))
    cdef real day = soil * wave_santanello(amplitude, period, tnoon)
    return on_ground(landtype, where(rn < 0.0, rn * night_share(fveg, night_bare, night_veg), day))


cdef inline real hfdsl_santanello_moisture(
        real rn, real lai, real fveg, real landtype, real tnoon, real smi, real night_bare,
        real night_veg) noexcept nogil:
    """As `hfdsl_santanello`; amplitude 0.35 and period 100000 s of dry soil go to 0.05 and 74000 s of wet."""
    cdef real wet = at_most(at_least(smi, 0.0), 1.0)
    return hfdsl_santanello(rn, lai, fveg, landtype, tnoon, 0.35 - 0.30 * wet, 100000.0 - 26000.0 * wet, night_bare,
                            night_veg)


cdef inline real hfdsl_bastiaanssen(real rn, real ts, real albedo, real ndvi) noexcept nogil:
    """Bastiaanssen (1998) eq. 26 in its short form: surface temperature, albedo and vegetation index."""
    cdef real n2 = ndvi * ndvi
    return rn * (ts - 273.15) * (0.0038 + 0.0074 * albedo) * (1.0 - 0.98 * n2 * n2)


cdef inline real slope_water(real tas, real es) noexcept nogil:
    """Slope of the saturation pressure over water, Pa K-1, from its value; derivative of Bolton (1980) eq. 10."""
    cdef real t = tas - 29.65
    return ratio(4302.645 * es, t * t)


cdef inline real wet_limit(real available, real tas, real vap, real ps, real rho_cp, real conductance) noexcept nogil:
    """Sensible heat of a wet surface, W m-2: Penman's combination with no resistance of the surface (Su 2002 eq.
    16)."""
    cdef real es = saturation_water(tas)
    cdef real gamma = ratio(heat_capacity(vap, ps) * ps, 0.622 * vaporization(tas))
    cdef real drying = rho_cp * at_least(es - vap, 0.0) * conductance
    return ratio(available * gamma - drying, gamma + slope_water(tas, es))


cdef inline void sebs(
        real ts, real tas, real vap, real ps, real sfcWind, real rn, real hfdsl, real z0m, real d0, real z0h,
        real z_blend, real z0_ref, real wind_least, real* hfss, real* hfls) noexcept nogil:
    """Surface Energy Balance System, Su (2002): bulk sensible heat, held between the wet and the dry limit.

    The wind at 10 m over ground of roughness `z0_ref` is taken up to the
    blending height, where it is the same over all surfaces, then down to
    this one. The evaporative fraction of the paper is the same as holding the
    sensible heat between its limits; with negative available energy (night)
    the limits change places and dew is held to the wet one.
    """
    cdef real low = log(ratio(z_blend, z0_ref))
    cdef real wind = at_least(sfcWind, wind_least) * ratio(low, log(ratio(10.0, z0_ref)))
    cdef real zu = at_least(z_blend - d0, 10.0 * z0m)
    cdef real zt = at_least(10.0 * z0m, 2.0)
    cdef real log_m = log(z0m)
    cdef real log_h = log(at_least(z0h, 1e-9))
    cdef real log_t = log(zt)
    cdef real rho_cp = air_density(tas, vap, ps) * heat_capacity(vap, ps)
    cdef real available = rn - hfdsl
    cdef real ustar, conductance, slope, fm, fh
    exchange(ts - tas, tas, wind, log(zu), log_t, log_m, log_h, at_least(zu, zt), &ustar, &conductance, &slope)
    cdef real bulk = rho_cp * (ts - tas) * conductance
    # The wet surface's Obukhov length is of its vapour alone (Su 2002 eq. 17).
    cdef real vapour = ratio(2.452584 * at_least(available, 0.0), air_density(tas, vap, ps) * vaporization(tas))
    profiles(slope_limit(-ratio(vapour, ustar * ustar * ustar), zt), log_t, log_t, log_m, log_h, &fm, &fh)
    cdef real wet = wet_limit(available, tas, vap, ps, rho_cp, ratio(0.41 * ustar, fh))
    cdef real lower = where(wet < available, wet, available)
    cdef real upper = where(wet < available, available, wet)
    hfss[0] = at_most(at_least(bulk, lower), upper)
    hfls[0] = available - hfss[0]


cdef inline void measured(
        real scale, real warmth, real available, real u, real moist, real log_u, real log_t, real log_m, real log_h,
        real top, real steepest, real* now, real* before, real* wanted, real* heat, real* resistance) noexcept nogil:
    """One estimate of 1/L with the virtual heat flux; `steepest` below 0 takes it as it comes."""
    cdef real fm, fh, ustar, led, following
    profiles(now[0], log_u, log_t, log_m, log_h, &fm, &fh)
    ustar = at_least(ratio(0.41 * u, fm), 0.01)
    resistance[0] = ratio(fh, 0.41 * ustar)
    heat[0] = at_most(ratio(warmth, resistance[0]), available)
    led = slope_limit(ratio(scale * (heat[0] + moist * (available - heat[0])), ustar * ustar * ustar), top)
    following = where(steepest < 0.0, led, slope_limit(secant(now[0], led, before[0], wanted[0], steepest), top))
    before[0] = now[0]
    wanted[0] = led
    now[0] = following


cdef inline void one_source(
        real ts, real tas, real vap, real ps, real wind, real rn, real hfdsl, real z0m, real d0, real z0h,
        real height_wind, real height_air, real wind_least, real* hfss, real* hfls, real* resistance) noexcept nogil:
    """Bulk sensible heat at measured heights, latent heat as what is left, not below 0; iterated with the virtual
    heat flux.

    Buoyancy counts the vapour too (Brutsaert 2005 eq. 2.46), as it does in the
    package the vectors come from, so the friction velocity is held above 0.01 m s-1.
    """
    cdef real zu = height_wind - d0
    cdef real zt = height_air - d0
    cdef real top = at_least(zu, zt)
    cdef real log_u = log(zu)
    cdef real log_t = log(zt)
    cdef real log_m = log(z0m)
    cdef real log_h = log(at_least(z0h, 1e-9))
    cdef real cp = heat_capacity(vap, ps)
    cdef real rho_cp = air_density(tas, vap, ps) * cp
    cdef real available = rn - hfdsl
    cdef real u = at_least(wind, wind_least)
    cdef real moist = ratio(0.61 * tas * cp, vaporization(tas))
    cdef real scale = ratio(-4.0207265, tas * rho_cp)
    cdef real now = 0.0
    cdef real before = 0.0
    cdef real wanted = 0.0
    cdef real heat
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, -1.0, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    measured(
        scale, rho_cp * (ts - tas), available, u, moist, log_u, log_t, log_m, log_h, top, 0.8, &now, &before, &wanted,
        &heat, resistance)
    hfss[0] = heat
    hfls[0] = available - heat


cdef inline real closure(real rn, real hfdsl, real hfss, real hfls) noexcept nogil:
    """What the four fluxes leave open, W m-2."""
    return rn - hfdsl - hfss - hfls


cdef inline real hfls_upscaled(
        real hfls, real rn, real hfdsl, real rn_mean, real hfdsl_mean, real factor) noexcept nogil:
    """Mean latent heat of a longer window: the evaporative fraction of the moment times the window's available energy.

    Where the moment's available energy is below 10 W m-2 the fraction says
    nothing: it is then 0, and held in 0..1.2 elsewhere.
    """
    cdef real available = rn - hfdsl
    cdef real fraction = where(available > 10.0, ratio(hfls, at_least(available, 10.0)), 0.0)
    return factor * at_most(at_least(fraction, 0.0), 1.2) * at_least(rn_mean - hfdsl_mean, 0.0)
