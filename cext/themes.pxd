"""Diagnoses made of basic products: classes by thresholds, which are parameters with their sources on the cards."""

from cext.roughness cimport is_between, is_class
from cext.vecmath cimport real, at_least, at_most, exp, fabs, ratio, where
from cext.vegetation cimport missing


cdef inline real share_below(real x) noexcept nogil:
    """Share of a standard normal population below `x`; Abramowitz and Stegun (1964) eq. 7.1.26, to 1e-6."""
    cdef real size = at_most(0.70710678 * fabs(x), 8.0)
    cdef real t = ratio(1.0, 1.0 + 0.3275911 * size)
    cdef real tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    cdef real beyond = 0.5 * tail * exp(-size * size)
    return where(x < 0.0, beyond, 1.0 - beyond)


cdef inline real percentile_normal(real smi, real smi_mean, real smi_sd) noexcept nogil:
    """Share of the years in which the soil is drier, 0..1, where they are spread normally; missing without spread."""
    return where(smi_sd > 1e-4, share_below(ratio(smi - smi_mean, smi_sd)), missing())


cdef inline real drought_class(
        real smi_percentile, real d0, real d1, real d2, real d3, real d4) noexcept nogil:
    """0 no drought, 1 abnormally dry (D0) to 5 exceptional drought (D4), by the percentile of soil moisture."""
    cdef real first = where(smi_percentile <= d0, 1.0, 0.0) + where(smi_percentile <= d1, 1.0, 0.0)
    cdef real second = where(smi_percentile <= d2, 1.0, 0.0) + where(smi_percentile <= d3, 1.0, 0.0)
    return first + second + where(smi_percentile <= d4, 1.0, 0.0)


cdef inline real crop_yield(
        real npp, real landtype, real harvest_index, real above, real carbon, real moisture,
        real mosaic) noexcept nogil:
    """Harvest of a year, kg m-2 as it is weighed, from its net production; crops and half of the mosaics."""
    cdef real crops = is_class(landtype, 12.0) + mosaic * is_class(landtype, 14.0)
    cdef real dry = ratio(at_least(npp, 0.0) * above * harvest_index, carbon)
    return where(crops > 0.0, crops * ratio(dry, 1.0 - moisture), missing())


cdef inline real forest_state(real npp_anomaly, real landtype, real low, real very_low, real high) noexcept nogil:
    """Of forest: 0 as usual, 1 less and 2 much less production than usual, 3 more."""
    cdef real forest = is_between(landtype, 1.0, 5.0) + is_class(landtype, 8.0)
    cdef real less = where(npp_anomaly < low, 1.0, 0.0) + where(npp_anomaly < very_low, 1.0, 0.0)
    return where(forest > 0.5, where(npp_anomaly > high, 3.0, less), missing())


cdef inline real desert_class(
        real fveg_trend, real fveg_trend_z, real fveg_mean, real sure, real slight, real moderate, real severe,
        real dryland) noexcept nogil:
    """0 stable, 1 slight, 2 moderate, 3 severe loss of cover, 4 gain; of what is sure, in sparsely covered land."""
    cdef real change = ratio(fveg_trend, at_least(fveg_mean, 0.01))
    cdef real some = where(change < slight, 1.0, 0.0) + where(change < moderate, 1.0, 0.0)
    cdef real loss = some + where(change < severe, 1.0, 0.0)
    cdef real found = where(change > -slight, 4.0, loss)
    return where(fveg_mean < dryland, where(fabs(fveg_trend_z) > sure, found, 0.0), missing())


cdef inline real air_class(real od550aer, real clean, real moderate, real hazy, real thick) noexcept nogil:
    """0 clean, 1 moderate, 2 hazy, 3 thick, 4 very thick haze, dust or smoke, by the optical depth."""
    cdef real first = where(od550aer >= clean, 1.0, 0.0) + where(od550aer >= moderate, 1.0, 0.0)
    return first + where(od550aer >= hazy, 1.0, 0.0) + where(od550aer >= thick, 1.0, 0.0)
