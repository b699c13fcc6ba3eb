"""The state of the ground where no satellite has seen it: classes, height and albedo by land cover and season, and
the surface temperature that an energy balance leads to.

IGBP classes as in ``roughness.pxd``; lengths in m, temperatures in K.
"""

from cext.flux cimport slope_water
from cext.humidity cimport saturation_water
from cext.roughness cimport is_between, is_class
from cext.turbulence cimport air_density, heat_capacity, vaporization
from cext.vecmath cimport real, at_least, at_most, log, ratio, sqrt, where


cdef inline real landtype_masked(real land, real landcover) noexcept nogil:
    """Class of a pixel: water where either the mask or the land cover has water, else the land cover."""
    return where(land < 0.5, 0.0, landcover)


cdef inline real surface_of(real landtype) noexcept nogil:
    """Kind of surface: 0 water, 1 land, 2 ice on land."""
    return where(landtype < 0.5, 0.0, where(is_class(landtype, 15.0) > 0.5, 2.0, 1.0))


cdef inline real surface_frozen(real landtype, real siconc) noexcept nogil:
    """As `surface_of`, and 3 where more than half of the water is covered by ice."""
    cdef real ground = surface_of(landtype)
    return where(ground < 0.5, where(siconc > 0.5, 3.0, 0.0), ground)


cdef inline real ndvi_season(real ndvi_min, real ndvi_max, real greenness) noexcept nogil:
    """Vegetation index between its lowest and highest value of the year."""
    return ndvi_min + at_most(at_least(greenness, 0.0), 1.0) * (ndvi_max - ndvi_min)


cdef inline real grown(real lai) noexcept nogil:
    """Share of the full height of plants that die back: 0.2 without leaves to 1 at a leaf area of 3."""
    return 0.2 + 0.8 * at_most(at_least(lai, 0.0) * 0.33333333, 1.0)


cdef inline real height_of_class(real landtype, real lai) noexcept nogil:
    """Canopy height, one number for each class of trees and shrubs; of crops and grass by leaf area."""
    cdef real needle = is_class(landtype, 1.0) * 17.0 + is_class(landtype, 3.0) * 15.0
    cdef real broad = is_class(landtype, 2.0) * 30.0 + is_class(landtype, 4.0) * 20.0 + is_class(landtype, 5.0) * 18.0
    cdef real shrub = is_class(landtype, 6.0) * 1.5 + is_class(landtype, 7.0) * 0.7
    cdef real woody = is_class(landtype, 8.0) * 8.0
    cdef real low = is_class(landtype, 9.0) * 1.5 + is_class(landtype, 10.0) * 0.5 + is_class(landtype, 11.0)
    cdef real crop = is_class(landtype, 12.0) + is_class(landtype, 14.0)
    return at_least(needle + broad + shrub + woody + (low + crop) * grown(lai), 0.01)


cdef inline real albedo_season(real landtype, real fveg, real siconc) noexcept nogil:
    """Shortwave albedo: soil and canopy by class, mixed by cover; water 0.06, sea ice 0.6, ice on land 0.75."""
    cdef real soil = where(is_class(landtype, 16.0) > 0.5, 0.30, 0.20)
    cdef real leaf = where(is_between(landtype, 1.0, 5.0) > 0.5, 0.13, 0.19)
    cdef real plants = soil + at_most(at_least(fveg, 0.0), 1.0) * (leaf - soil)
    cdef real dry = where(is_class(landtype, 13.0) > 0.5, 0.15, where(is_class(landtype, 15.0) > 0.5, 0.75, plants))
    return where(landtype < 0.5, 0.06 + at_most(at_least(siconc, 0.0), 1.0) * 0.54, dry)


cdef inline real warmth(
        real conductance, real rho_cp, real over_gamma, real deficit, real resistance, real supply, real slope,
        real back) noexcept nogil:
    """Surface less air temperature that closes the linear energy balance."""
    cdef real heat = rho_cp * conductance
    cdef real gain = ratio(1.0, 1.0 + conductance * resistance)
    return ratio(supply - gain * heat * over_gamma * deficit, heat * (1.0 + gain * over_gamma * slope) + back)


cdef inline real buoyant(real dt, real tas, real wind, real height) noexcept nogil:
    """Factor of stability on the neutral conductance by the bulk Richardson number, 0.1 to 2; after Louis (1979)."""
    cdef real bulk = ratio(9.80665 * height * dt, tas * wind * wind)
    cdef real rising = sqrt(1.0 + 3.0 * at_least(bulk, 0.0))
    return at_most(where(bulk < 0.0, at_least(ratio(1.0, 1.0 - 10.0 * at_most(bulk, 0.0)), 0.1), rising), 2.0)


cdef inline real ts_balance(
        real tas, real vap, real ps, real sfcWind, real rsds, real albedo, real rlds, real emis, real resistance,
        real z0m, real d0, real z0h, real ground, real z_blend, real z0_ref) noexcept nogil:
    """Surface temperature of a linear energy balance; `resistance` of the surface against evaporation, s m-1.

    The balance of Penman (1948) with Monteith's linear steps, once in neutral
    air and once with the conductance of the stability found.
    """
    cdef real u = at_least(sfcWind, 1.0) * ratio(log(ratio(z_blend, z0_ref)), log(ratio(10.0, z0_ref)))
    cdef real zu = at_least(z_blend - d0, 10.0 * z0m)
    cdef real zt = at_least(10.0 * z0m, 2.0)
    cdef real neutral = ratio(0.1681 * u, log(ratio(zu, z0m)) * log(ratio(zt, z0h)))
    cdef real cp = heat_capacity(vap, ps)
    cdef real rho_cp = air_density(tas, vap, ps) * cp
    cdef real over_gamma = ratio(0.622 * vaporization(tas), cp * ps)
    cdef real es = saturation_water(tas)
    cdef real deficit = at_least(es - vap, 0.0)
    cdef real slope = slope_water(tas, es)
    cdef real t2 = tas * tas
    cdef real kept = 1.0 - ground
    cdef real supply = kept * (rsds - albedo * rsds + emis * (rlds - 5.670374419e-8 * t2 * t2))
    cdef real back = kept * 4.0 * 5.670374419e-8 * emis * t2 * tas
    cdef real first = warmth(neutral, rho_cp, over_gamma, deficit, resistance, supply, slope, back)
    cdef real second = warmth(neutral * buoyant(first, tas, u, zu), rho_cp, over_gamma, deficit, resistance, supply,
                              slope, back)
    return tas + at_most(at_least(second, -20.0), 40.0)


cdef inline real ts_balance_plants(
        real tas, real vap, real ps, real sfcWind, real rsds, real albedo, real rlds, real emis, real fveg, real smi,
        real z0m, real d0, real z0h, real ground, real z_blend, real z0_ref, real least, real bare) noexcept nogil:
    """As `ts_balance`; the resistance is `least` of full cover on wet soil, more by soil moisture and bare ground."""
    cdef real cover = at_most(at_least(fveg, 0.0), 1.0)
    cdef real wet = at_most(at_least(smi, 0.0), 1.0) * (bare + cover * (1.0 - bare))
    return ts_balance(tas, vap, ps, sfcWind, rsds, albedo, rlds, emis, ratio(least, at_least(wet, 0.02)), z0m, d0, z0h,
                      ground, z_blend, z0_ref)


cdef inline real ts_balance_ice(
        real tas, real vap, real ps, real sfcWind, real rsds, real albedo, real rlds, real emis, real z0_snow,
        real z_blend, real z0_ref) noexcept nogil:
    """As `ts_balance` over snow and ice, which sublime freely and get no warmer than 273.15 K."""
    cdef real t = ts_balance(tas, vap, ps, sfcWind, rsds, albedo, rlds, emis, 0.0, z0_snow, 0.0, z0_snow, 0.0, z_blend,
                             z0_ref)
    return at_most(t, 273.15)


cdef inline real ts_sea(real tos, real orog, real lapse_rate, real freezing) noexcept nogil:
    """The sea's temperature stands for that of its skin; a lake's is that of the sea brought to its height."""
    return where(orog > 0.0, at_least(tos - lapse_rate * orog, freezing), tos)
