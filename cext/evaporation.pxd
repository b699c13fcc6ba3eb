"""Latent heat without surface temperature: Priestley-Taylor and Penman-Monteith families; W m-2.

Saturation over water after Tetens, as all of these methods were published
with it. Relative humidity is cut to 0..1.
"""

from cext.roughness cimport is_class
from cext.turbulence cimport air_density, heat_capacity, vaporization
from cext.vecmath cimport real, exp, log, ratio, where, at_least, at_most


cdef inline real tetens(real tas) noexcept nogil:
    """Saturation vapour pressure over water, Pa; Tetens (1930) as in Allen et al. (1998) eq. 11."""
    cdef real t = tas - 273.15
    return 610.8 * exp(ratio(17.27 * t, t + 237.3))


cdef inline real tetens_slope(real tas, real es) noexcept nogil:
    """Slope of the saturation pressure, Pa K-1; Allen et al. (1998) eq. 13."""
    cdef real t = tas - 35.85
    return ratio(4098.0 * es, t * t)


cdef inline real wetness(real rh, real rh_least, real dry) noexcept nogil:
    """Share of the surface that is wet: the fourth power of relative humidity, `dry` below `rh_least`."""
    cdef real r2 = rh * rh
    return where(rh < rh_least, dry, r2 * r2)


cdef inline real moisture_fisher(real rh, real vpd, real beta) noexcept nogil:
    """Soil moisture constraint rh^(vpd/beta); Fisher et al. (2008), after Bouchet's complementarity."""
    return exp(at_least(ratio(vpd, beta) * log(at_least(rh, 1e-6)), -80.0))


cdef inline real leaf_area_carlson(real ndvi) noexcept nogil:
    """Leaf area index -2 ln(1 - fIPAR), fIPAR = ndvi - 0.05; at most 10."""
    return at_most(-2.0 * log(1.0 - at_most(at_least(ndvi - 0.05, 0.0), 0.99)), 10.0)


cdef inline real hfls_ptjpl(
        real rn, real hfdsl, real tas, real vap, real ps, real ndvi, real fapar_max, real topt, real alpha, real beta,
        real k_rn, real rh_least, real fwet_least, real floor_topt) noexcept nogil:
    """PT-JPL: soil, canopy and interception each as a share of Priestley-Taylor's rate; Fisher et al. (2008).

    `topt` in K, the temperature of the canopy's best month. Without vegetation (ndvi below 0.05) the soil alone
    evaporates.
    """
    cdef real es = tetens(tas)
    cdef real delta = tetens_slope(tas, es)
    cdef real gamma = ratio(heat_capacity(vap, ps) * ps, 0.622 * vaporization(tas))
    cdef real potential = ratio(alpha * delta, delta + gamma)
    cdef real rh = at_most(at_least(ratio(vap, es), 0.0), 1.0)
    cdef real vpd = at_least(es - vap, 0.0)
    cdef real fwet = wetness(rh, rh_least, fwet_least)
    cdef real fipar = at_most(at_least(ndvi - 0.05, 0.0), 1.0)
    cdef real fapar = at_most(at_least(1.3632 * (0.45 * ndvi + 0.132) - 0.048, 0.0), 1.0)
    cdef real green = where(fipar > 0.0, at_most(ratio(fapar, at_least(fipar, 1e-6)), 1.0), 0.0)
    cdef real plant = at_most(ratio(fapar, at_least(fapar_max, 1e-3)), 1.0)
    cdef real best = at_least(topt - 273.15, 1.0)
    cdef real t = tas - 273.15
    best = where(floor_topt > 0.5, at_least(best, t), best)
    cdef real off = ratio(t - best, best)
    cdef real warmth = exp(at_least(-off * off, -80.0))
    cdef real rn_soil = rn * exp(-k_rn * leaf_area_carlson(ndvi))
    cdef real rn_canopy = rn - rn_soil
    cdef real soil = (fwet + moisture_fisher(rh, vpd, beta) * (1.0 - fwet)) * potential * (rn_soil - hfdsl)
    cdef real canopy = (1.0 - fwet) * green * warmth * plant * potential * rn_canopy
    cdef real caught = fwet * potential * rn_canopy
    return at_most(at_least(soil, 0.0) + at_least(canopy, 0.0) + at_least(caught, 0.0), potential * (rn - hfdsl))


cdef inline real by_class(
        real landtype, real needle_ever, real broad_ever, real needle_fall, real broad_fall, real mixed,
        real closed_shrub, real open_shrub, real woody, real savanna, real grass, real crop) noexcept nogil:
    """The number of the IGBP class; wetland, barren and all other classes as grass, mosaic as crop."""
    cdef real needle = where(landtype < 1.5, needle_ever, where(landtype < 2.5, broad_ever, needle_fall))
    cdef real trees = where(landtype < 3.5, needle, where(landtype < 4.5, broad_fall, mixed))
    cdef real shrub = where(landtype < 6.5, closed_shrub, where(landtype < 7.5, open_shrub, woody))
    cdef real rest = where(landtype < 8.5, shrub, where(landtype < 9.5, savanna, grass))
    cdef real crops = is_class(landtype, 12.0) + is_class(landtype, 14.0)
    cdef real low = where(crops > 0.5, crop, where(landtype < 0.5, grass, rest))
    return where(landtype < 5.5, where(landtype < 0.5, grass, trees), low)


cdef inline real between(real x, real low, real high) noexcept nogil:
    """0 at `low` and beyond, 1 at `high` and beyond, linear between."""
    return at_most(at_least(ratio(x - low, high - low), 0.0), 1.0)


cdef inline real hfls_mod16(
        real rn, real hfdsl, real rsds, real tas, real tasmin, real vap, real ps, real lai, real fapar, real landtype,
        real beta) noexcept nogil:
    """MOD16: wet canopy, transpiration and soil by Penman-Monteith with resistances of the class; Mu et al. (2011).

    The stomata are shut where `rsds` is 0 and open with the day's lowest
    temperature and with the vapour pressure deficit. Class numbers: those of
    Collection 5.1 for meteorology of MERRA.
    """
    cdef real topen = by_class(landtype, 8.31, 9.09, 10.44, 9.94, 9.50, 8.61, 8.80, 11.39, 11.39, 12.02, 12.02)
    cdef real tclose = by_class(landtype, -8.0, -8.0, -8.0, -6.0, -7.0, -8.0, -8.0, -8.0, -8.0, -8.0, -8.0)
    cdef real vclose = by_class(landtype, 3000.0, 4000.0, 3500.0, 2900.0, 2900.0, 4300.0, 4400.0, 3500.0, 3600.0,
                                4200.0, 4500.0)
    cdef real vopen = by_class(landtype, 650.0, 1000.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0)
    cdef real leaf = by_class(landtype, 0.01, 0.01, 0.01, 0.01, 0.01, 0.02, 0.02, 0.04, 0.04, 0.02, 0.02)
    cdef real stomata = by_class(landtype, 0.0024, 0.0024, 0.0024, 0.0024, 0.0024, 0.0055, 0.0055, 0.0055, 0.0055,
                                 0.0055, 0.0055)
    cdef real es = tetens(tas)
    cdef real vpd = at_least(es - vap, 0.0)
    cdef real rh = at_most(at_least(ratio(vap, es), 0.0), 1.0)
    cdef real fwet = wetness(rh, 0.7, 0.0)
    cdef real t = tas - 273.15
    cdef real s = ratio(4153.82 * es, (t + 239.0) * (t + 239.0))
    cdef real latent = vaporization(tas)
    cdef real gamma = ratio(1013.0 * ps, 0.622 * latent)
    cdef real rho = ratio(0.00348444 * ps - 100.0 * rh * (0.00252 * t - 0.020582), tas)
    cdef real radiant = ratio(rho * 1013.0, 4.0 * 5.670374419e-8 * tas * tas * tas)
    cdef real drying = rho * 1013.0 * vpd
    cdef real correction = ratio(101300.0, ps) * exp(1.75 * log(ratio(tas, 293.15)))
    cdef real leaves = at_least(lai, 0.0)
    cdef real fc = at_most(at_least(fapar, 0.0), 1.0)
    # Wet canopy: conductances add where resistances stand side by side.
    cdef real film = leaf * leaves * fwet
    cdef real g_wet = film + ratio(1.0, radiant)
    cdef real wet = ratio(fwet * fc * (s * rn + drying * g_wet), s + gamma * ratio(g_wet, at_least(film, 1e-9)))
    wet = where(leaves * fwet > 1e-7, wet, 0.0)
    # Transpiration.
    cdef real open_share = between(tasmin - 273.15, tclose, topen) * (1.0 - between(vpd, vopen, vclose))
    cdef real surface = ratio(where(rsds > 0.0, stomata, 0.0) * open_share, correction)
    cdef real skin = ratio(1e-5, correction)
    cdef real boundary = leaf * leaves * (1.0 - fwet)
    cdef real canopy = ratio(boundary * (surface + skin), boundary + surface + skin)
    cdef real g_dry = leaf + ratio(1.0, radiant)
    cdef real dry = ratio((1.0 - fwet) * fc * (s * rn + drying * g_dry), s + gamma * (1.0 + ratio(g_dry,
                                                                                                  at_least(canopy,
                                                                                                           1e-9))))
    dry = where(boundary > 0.0, where(surface > 0.0, dry, 0.0), 0.0)
    # Soil.
    cdef real total = ratio(60.0 + 35.0 * between(vpd, vopen, vclose), correction)
    cdef real g_soil = ratio(1.0, total) + ratio(1.0, radiant)
    cdef real bare = ratio((1.0 - fc) * (s * (rn - hfdsl) + drying * g_soil), s + gamma * total * g_soil)
    return wet + dry + bare * (fwet + (1.0 - fwet) * moisture_fisher(rh, vpd, beta))


cdef inline real penman_monteith(real available, real tas, real vap, real ps, real air, real surface) noexcept nogil:
    """Latent heat of a surface with resistances of air and surface, s m-1; Monteith (1965)."""
    cdef real es = tetens(tas)
    cdef real delta = tetens_slope(tas, es)
    cdef real cp = heat_capacity(vap, ps)
    cdef real gamma = ratio(cp * ps, 0.622 * vaporization(tas))
    cdef real drying = ratio(air_density(tas, vap, ps) * cp * at_least(es - vap, 0.0), air)
    return ratio(delta * available + drying, delta + gamma * (1.0 + ratio(surface, air)))


cdef inline real hfls_penman_monteith(
        real rn, real hfdsl, real tas, real vap, real ps, real sfcWind, real z0m, real z0h, real lai,
        real leaf_resistance, real wind_least) noexcept nogil:
    """Penman-Monteith with neutral air over the roughness and leaves side by side, half of them in the light."""
    cdef real zt = at_least(10.0 * z0m, 10.0)
    cdef real air = ratio(log(ratio(zt, z0m)) * log(ratio(zt, at_least(z0h, 1e-9))), 0.1681 * at_least(sfcWind,
                                                                                                       wind_least))
    return penman_monteith(rn - hfdsl, tas, vap, ps, air, ratio(leaf_resistance, at_least(0.5 * lai, 0.1)))


cdef inline real reference(
        real delta, real vpd, real tas, real ps, real sfcWind, real available, real numerator,
        real denominator) noexcept nogil:
    """Evaporation of a grass reference, kg m-2 s-1; ASCE-EWRI (2005) eq. 1, wind at 10 m taken to 2 m over grass."""
    cdef real u2 = 0.7479510 * at_least(sfcWind, 0.0)
    cdef real gamma = 0.000665 * ps
    return ratio(4.08e-7 * delta * available + gamma * numerator * u2 * ratio(vpd, tas - 0.15),
                 delta + gamma * (1.0 + denominator * u2))


cdef inline real et0_daily(
        real tasmax, real tasmin, real vap, real ps, real sfcWind, real rn, real hfdsl, real numerator,
        real denominator) noexcept nogil:
    """Reference evaporation of a day from its extremes of temperature; Allen et al. (1998) eq. 6. `numerator` per
    day."""
    cdef real mean = 0.5 * (tasmax + tasmin)
    cdef real es = 0.5 * (tetens(tasmax) + tetens(tasmin))
    cdef real delta = tetens_slope(mean, tetens(mean))
    return at_least(reference(delta, at_least(es - vap, 0.0), mean, ps, sfcWind, rn - hfdsl, ratio(0.001 * numerator,
                                                                                                   86400.0),
                              denominator), 0.0)


cdef inline real et0_hourly(
        real tas, real vap, real ps, real sfcWind, real rn, real hfdsl, real numerator, real day,
        real night) noexcept nogil:
    """Reference evaporation of an hour or less; ASCE-EWRI (2005) eq. 1. `numerator` per hour, denominators of day and
    night."""
    cdef real es = tetens(tas)
    cdef real wind = where(rn > 0.0, day, night)
    return reference(tetens_slope(tas, es), at_least(es - vap, 0.0), tas, ps, sfcWind, rn - hfdsl,
                     ratio(0.001 * numerator, 3600.0), wind)
