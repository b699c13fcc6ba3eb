"""Thermal emissivity of the surface: point functions of indices, reflectances and classes (1)."""

from cext.vecmath cimport real, at_least, at_most, where
from cext.vegetation cimport between, missing


cdef inline real emis_mixed(real ndvi, real soil, real full) noexcept nogil:
    """Vegetation over soil, with what is reflected between them; Sobrino and Raissouni (2000), shape factor 0.55.

    Without vegetation (NDVI 0.2) a cavity term of 0.55 (1 - soil) full is
    left; with full cover (0.5) it is `full`.
    """
    cdef real scaled = between(ndvi, 0.2, 0.5)
    cdef real share = scaled * scaled
    cdef real rest = 1.0 - share
    return full * share + soil * rest + 0.55 * (1.0 - soil) * rest * full


cdef inline real emis_ndvi_red(real ndvi, real sr_red, real soil, real full, real bare, real slope) noexcept nogil:
    """One thermal band by NDVI thresholds: soil by its red reflectance, mixture, vegetation; Sobrino et al. (2008)."""
    return where(ndvi < 0.2, bare - slope * at_most(at_least(sr_red, 0.0), 1.0), emis_mixed(ndvi, soil, full))


cdef inline real emis_ndvi(real ndvi, real soil, real full, real water) noexcept nogil:
    """NDVI thresholds with one number each for soil, full cover and what is below 0 (water, snow)."""
    cdef real land = where(ndvi < 0.2, soil, emis_mixed(ndvi, soil, full))
    return where(ndvi < 0.0, water, land)


cdef inline real share_of_one(real x) noexcept nogil:
    """Cut to the range of emissivities of natural surfaces, 0.85..1."""
    return at_most(at_least(x, 0.85), 1.0)


cdef inline real emis_modis(real emis29, real emis31, real emis32) noexcept nogil:
    """Broadband from MODIS bands 29, 31 and 32; Wang et al. (2005)."""
    return share_of_one(0.2122 * emis29 + 0.3859 * emis31 + 0.4029 * emis32)


cdef inline real emis_two_bands(real emis31, real emis32) noexcept nogil:
    """Broadband from MODIS bands 31 and 32 alone; Jin and Liang (2006)."""
    return share_of_one(0.273 + 1.778 * emis31 - 1.807 * emis31 * emis32 - 1.037 * emis32 + 1.774 * emis32 * emis32)


cdef inline real snc_of_period(real snowmax) noexcept nogil:
    """Snow or none, as a composite of several days tells for a pixel; between 0 and 1 where pixels were averaged."""
    return at_most(at_least(snowmax, 0.0), 1.0)


cdef inline real emis_aster(real emis10, real emis11, real emis12, real emis13, real emis14) noexcept nogil:
    """Broadband from the five thermal bands of ASTER; Cheng et al. (2013)."""
    cdef real short = 0.025 * emis10 + 0.057 * emis11 + 0.237 * emis12
    return share_of_one(0.197 + short + 0.333 * emis13 + 0.146 * emis14)


cdef inline real by_class(
        real landtype, real water, real forest, real shrub, real grass, real wetland, real crop, real urban,
        real snow, real barren) noexcept nogil:
    """Pick by IGBP class: 0 water, 1-5 forest, 6-7 shrub, 8-10 savanna and grass, 11 wetland, 12 and 14 crop,
    13 urban, 15 snow and ice, 16 barren; missing for anything else."""
    cdef real found = where(landtype < 0.5, water, forest)
    found = where(landtype > 5.5, shrub, found)
    found = where(landtype > 7.5, grass, found)
    found = where(landtype > 10.5, wetland, found)
    found = where(landtype > 11.5, crop, found)
    found = where(landtype > 12.5, urban, found)
    found = where(landtype > 13.5, crop, found)
    found = where(landtype > 14.5, snow, found)
    found = where(landtype > 15.5, barren, found)
    found = where(landtype > 16.5, missing(), found)
    return where(landtype < -0.5, missing(), found)


cdef inline real emis11_class(real landtype) noexcept nogil:
    """Band at 11 um by land cover, classes of Du et al. (2015)."""
    return by_class(landtype, 0.992, 0.995, 0.969, 0.970, 0.992, 0.971, 0.973, 0.992, 0.969)


cdef inline real emis12_class(real landtype) noexcept nogil:
    """Band at 12 um by land cover, classes of Du et al. (2015)."""
    return by_class(landtype, 0.998, 0.996, 0.970, 0.971, 0.998, 0.968, 0.981, 0.998, 0.978)


cdef inline real emis_class(real landtype) noexcept nogil:
    """Broadband by land cover: water 0.985, snow 0.99, else the mean of the bands at 11 and 12 um."""
    cdef real land = 0.5 * (emis11_class(landtype) + emis12_class(landtype))
    cdef real wet = where((landtype > -0.5) & (landtype < 0.5), 0.985, land)
    return where((landtype > 14.5) & (landtype < 15.5), 0.99, wet)


cdef inline real emis_land(real sftlf, real land, real water) noexcept nogil:
    """Broadband from the share of land alone."""
    return water + at_most(at_least(sftlf, 0.0), 1.0) * (land - water)
