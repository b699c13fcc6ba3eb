"""Production of plants: light use efficiency by class, respiration, and the state of a year; carbon, kg m-2 (s-1).

Class numbers of MOD17, Collection 5.1 (biome table for meteorology of MERRA), by IGBP class. Wetland counts as grass
and a mosaic of crops as crop; water, towns, ice and barren ground have no plants in this method and give missing.
"""

from cext.evaporation cimport between, by_class
from cext.roughness cimport is_class
from cext.vecmath cimport real, at_least, at_most, exp, log, ratio, where


cdef inline real productive(real landtype) noexcept nogil:
    """1 where the class has numbers, missing elsewhere."""
    cdef real without = is_class(landtype, 13.0) + is_class(landtype, 15.0) + is_class(landtype, 16.0)
    return where(landtype < 0.5, ratio(0.0, 0.0), where(without > 0.5, ratio(0.0, 0.0), 1.0))


cdef inline real moist_enough(real vpd, real landtype) noexcept nogil:
    """Share of the full rate that the dryness of the air leaves, 0..1."""
    cdef real vclose = by_class(landtype, 3000.0, 4000.0, 3500.0, 2900.0, 2900.0, 4300.0, 4400.0, 3500.0, 3600.0,
                                4200.0, 4500.0)
    cdef real vopen = by_class(landtype, 650.0, 1000.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0, 650.0)
    return 1.0 - between(vpd, vopen, vclose)


cdef inline real warm_enough(real tasmin, real landtype) noexcept nogil:
    """Share of the full rate that the cold of the night leaves, 0..1."""
    cdef real topen = by_class(landtype, 8.31, 9.09, 10.44, 9.94, 9.50, 8.61, 8.80, 11.39, 11.39, 12.02, 12.02)
    cdef real tclose = by_class(landtype, -8.0, -8.0, -8.0, -6.0, -7.0, -8.0, -8.0, -8.0, -8.0, -8.0, -8.0)
    return between(tasmin - 273.15, tclose, topen)


cdef inline real gpp_mod17(
        real fapar, real tasmin, real vpd, real rsds, real landtype, real par_share) noexcept nogil:
    """Gross production, kg m-2 s-1: efficiency of the class, cut by cold and dry air, times the absorbed light."""
    cdef real efficiency = by_class(landtype, 1.211, 1.405, 1.227, 1.526, 1.226, 1.495, 1.027, 1.498, 1.454, 1.215,
                                    1.300)
    cdef real absorbed = par_share * at_least(rsds, 0.0) * at_most(at_least(fapar, 0.0), 1.0)
    cdef real share = warm_enough(tasmin, landtype) * moist_enough(vpd, landtype)
    return productive(landtype) * efficiency * 1e-9 * share * absorbed


cdef inline real doubling(real t) noexcept nogil:
    """Factor of respiration that doubles every 10 K, 1 at 20 degrees Celsius."""
    return exp(0.069314718 * (t - 20.0))


cdef inline real respiration_leaf(real lai, real tas, real landtype) noexcept nogil:
    """Upkeep of the leaves, kg m-2 s-1; its growth with temperature is less in the warm (Tjoelker et al. 2001)."""
    cdef real area = by_class(landtype, 15.0, 26.9, 16.9, 24.7, 22.6, 9.4, 12.0, 28.8, 28.9, 38.0, 38.0)
    cdef real base = by_class(landtype, 0.00604, 0.00604, 0.00815, 0.00778, 0.00778, 0.00869, 0.00519, 0.00869, 0.00869,
                              0.0098, 0.0098)
    cdef real t = tas - 273.15
    cdef real factor = exp(log(at_least(3.22 - 0.046 * t, 0.5)) * 0.1 * (t - 20.0))
    return productive(landtype) * ratio(at_least(lai, 0.0), area) * base * factor * 1.1574074e-5


cdef inline real respiration_root(real lai, real tas, real landtype) noexcept nogil:
    """Upkeep of the fine roots, kg m-2 s-1; their mass goes with that of the leaves."""
    cdef real area = by_class(landtype, 15.0, 26.9, 16.9, 24.7, 22.6, 9.4, 12.0, 28.8, 28.9, 38.0, 38.0)
    cdef real share = by_class(landtype, 1.2, 1.1, 1.7, 1.1, 1.1, 1.0, 1.3, 1.8, 1.8, 2.6, 2.0)
    cdef real base = by_class(landtype, 0.00519, 0.00519, 0.00519, 0.00519, 0.00519, 0.00519, 0.00519, 0.00519, 0.00519,
                              0.00819, 0.00819)
    return productive(landtype) * ratio(at_least(lai, 0.0) * share, area) * base * doubling(tas - 273.15) * 1.1574074e-5


cdef inline real wood_upkeep(real landtype) noexcept nogil:
    """Upkeep of living wood at 20 degrees Celsius, kg m-2 a day and unit of the year's highest leaf area."""
    cdef real area = by_class(landtype, 15.0, 26.9, 16.9, 24.7, 22.6, 9.4, 12.0, 28.8, 28.9, 38.0, 38.0)
    cdef real share = by_class(landtype, 0.182, 0.162, 0.165, 0.203, 0.203, 0.079, 0.040, 0.091, 0.051, 0.0, 0.0)
    cdef real base = by_class(landtype, 0.00397, 0.00397, 0.00397, 0.00371, 0.00371, 0.00436, 0.00218, 0.00312, 0.001,
                              0.0, 0.0)
    return ratio(share * base, area)


cdef inline real psn_mod17(
        real fapar, real tasmin, real vpd, real rsds, real lai, real tas, real landtype, real par_share) noexcept nogil:
    """Net photosynthesis, kg m-2 s-1: gross production less the upkeep of leaves and fine roots."""
    cdef real gross = gpp_mod17(fapar, tasmin, vpd, rsds, landtype, par_share)
    return gross - respiration_leaf(lai, tas, landtype) - respiration_root(lai, tas, landtype)


cdef inline void npp_mod17(
        real fapar, real tasmin, real vpd, real rsds, real lai, real tas, real landtype, real psn_sum, real warm_sum,
        real lai_max, real par_share, real growth, real seconds, real* next_psn_sum, real* next_warm_sum,
        real* next_lai_max, real* npp) noexcept nogil:
    """One day of the year's net production, kg m-2 since the start: what is left after upkeep and growth.

    The upkeep of living wood goes with the year's highest leaf area, so it is
    known at the end only; the state keeps the sum of its temperature factor.
    """
    cdef real days = psn_sum + seconds * psn_mod17(fapar, tasmin, vpd, rsds, lai, tas, landtype, par_share)
    cdef real warm = warm_sum + 1.1574074e-5 * seconds * doubling(tas - 273.15)
    cdef real leaves = at_least(lai, lai_max)
    next_psn_sum[0] = days
    next_warm_sum[0] = warm
    next_lai_max[0] = leaves
    npp[0] = at_least((1.0 - growth) * (days - wood_upkeep(landtype) * leaves * warm), 0.0)


cdef inline real casa_stress(real tas, real topt) noexcept nogil:
    """Share of the full efficiency that temperature leaves; Potter et al. (1993) eqs. 3 to 5."""
    cdef real best = topt - 273.15
    cdef real t = tas - 273.15
    cdef real first = at_least(0.8 + 0.02 * best - 0.0005 * best * best, 0.0)
    cdef real cold = 1.0 + exp(at_most(0.2 * (best - 10.0 - t), 60.0))
    cdef real hot = 1.0 + exp(at_most(0.3 * (t - best - 10.0), 60.0))
    return first * ratio(ratio(1.1814, cold), hot)


cdef inline real npp_rate_casa(
        real fapar, real rsds, real tas, real topt, real evap_share, real efficiency, real par_share) noexcept nogil:
    """Net production, kg m-2 s-1; `efficiency` in kg J-1; half of it is left where nothing evaporates."""
    cdef real wet = 0.5 + 0.5 * at_most(at_least(evap_share, 0.0), 1.0)
    cdef real absorbed = par_share * at_least(rsds, 0.0) * at_most(at_least(fapar, 0.0), 1.0)
    return efficiency * absorbed * casa_stress(tas, topt) * wet


cdef inline void npp_casa(
        real fapar, real rsds, real tas, real topt, real evap_share, real npp_sum, real efficiency, real par_share,
        real seconds, real* next_npp_sum, real* npp) noexcept nogil:
    """One step of the year's net production, kg m-2 since the start; Potter et al. (1993)."""
    cdef real total = npp_sum + seconds * npp_rate_casa(fapar, rsds, tas, topt, evap_share, efficiency, par_share)
    next_npp_sum[0] = total
    npp[0] = total
