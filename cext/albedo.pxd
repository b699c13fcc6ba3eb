"""Albedo: point functions of BRDF weights, reflectances and the age of snow; all shares of 1, `cosz` of the sun."""

from cext.vecmath cimport real, acos, at_least, at_most, exp, ratio, sqrt, where


cdef inline real share(real x) noexcept nogil:
    """Cut to 0..1."""
    return at_most(at_least(x, 0.0), 1.0)


cdef inline real albedobs_ross_li(real brdf_iso, real brdf_vol, real brdf_geo, real cosz) noexcept nogil:
    """Black-sky albedo by the polynomials of Lucht et al. (2000) Table I; zenith angles beyond 80 degrees count as 80.

    Beyond, the polynomial of the volume kernel leaves the integral (0.19 at
    85 degrees).
    """
    cdef real t = acos(at_most(at_least(cosz, 0.17364818), 1.0))
    cdef real t2 = t * t
    cdef real vol = -0.007574 + t2 * (-0.070987 + 0.307588 * t)
    cdef real geo = -1.284909 + t2 * (-0.166314 + 0.041840 * t)
    return share(brdf_iso + brdf_vol * vol + brdf_geo * geo)


cdef inline real albedows_ross_li(real brdf_iso, real brdf_vol, real brdf_geo) noexcept nogil:
    """White-sky albedo; Lucht et al. (2000) Table I."""
    return share(brdf_iso + 0.189184 * brdf_vol - 1.377622 * brdf_geo)


cdef inline real albedo_blue_sky(real albedobs, real albedows, real rsds, real rsdsdiff) noexcept nogil:
    """Black- and white-sky albedo by the shares of direct and diffuse light; white-sky where there is no light."""
    cdef real diffuse = where(rsds > 0.01, share(ratio(rsdsdiff, at_least(rsds, 0.01))), 1.0)
    return share(albedobs + diffuse * (albedows - albedobs))


cdef inline real weight_liang(
        real red, real nir, real blue, real green, real nir2, real swir2) noexcept nogil:
    """Shortwave sum of MODIS bands 1, 2, 3, 4, 5 and 7 without its constant; Liang (2001)."""
    return 0.160 * red + 0.291 * nir + 0.243 * blue + 0.116 * green + 0.112 * nir2 + 0.081 * swir2


cdef inline real brdf_iso_liang(
        real iso_red, real iso_nir, real iso_blue, real iso_green, real iso_nir2, real iso_swir2) noexcept nogil:
    """Broadband isotropic weight from those of MODIS bands: albedo is linear in them."""
    return weight_liang(iso_red, iso_nir, iso_blue, iso_green, iso_nir2, iso_swir2) - 0.0015


cdef inline real brdf_vol_liang(
        real vol_red, real vol_nir, real vol_blue, real vol_green, real vol_nir2, real vol_swir2) noexcept nogil:
    """Broadband volume weight from those of MODIS bands."""
    return weight_liang(vol_red, vol_nir, vol_blue, vol_green, vol_nir2, vol_swir2)


cdef inline real brdf_geo_liang(
        real geo_red, real geo_nir, real geo_blue, real geo_green, real geo_nir2, real geo_swir2) noexcept nogil:
    """Broadband geometric weight from those of MODIS bands."""
    return weight_liang(geo_red, geo_nir, geo_blue, geo_green, geo_nir2, geo_swir2)


cdef inline real albedo_liang(
        real sr_red, real sr_nir, real sr_blue, real sr_green, real sr_nir2, real sr_swir2) noexcept nogil:
    """Shortwave albedo of a surface that reflects alike into all directions; Liang (2001), MODIS bands."""
    return share(weight_liang(sr_red, sr_nir, sr_blue, sr_green, sr_nir2, sr_swir2) - 0.0015)


cdef inline real albvis_liang(real sr_red, real sr_blue, real sr_green) noexcept nogil:
    """Albedo of 0.4-0.7 um; Liang (2001), MODIS bands 1, 3 and 4."""
    return share(0.331 * sr_red + 0.424 * sr_blue + 0.246 * sr_green)


cdef inline real albnir_liang(
        real sr_red, real sr_nir, real sr_blue, real sr_green, real sr_nir2, real sr_swir1,
        real sr_swir2) noexcept nogil:
    """Albedo of 0.7-5 um; Liang (2001), MODIS bands 1 to 7."""
    cdef real visible = 0.039 * sr_red - 0.071 * sr_blue + 0.105 * sr_green
    return share(visible + 0.504 * sr_nir + 0.252 * sr_nir2 + 0.069 * sr_swir1 + 0.101 * sr_swir2)


cdef inline real albedo_liang_landsat(
        real sr_blue, real sr_red, real sr_nir, real sr_swir1, real sr_swir2) noexcept nogil:
    """Shortwave albedo from the bands of Landsat (TM's 1, 3, 4, 5 and 7); Liang (2001)."""
    cdef real visible = 0.356 * sr_blue + 0.130 * sr_red
    return share(visible + 0.373 * sr_nir + 0.085 * sr_swir1 + 0.072 * sr_swir2 - 0.0018)


cdef inline real albedo_stroeve(
        real sr_red, real sr_nir, real sr_blue, real sr_nir2, real sr_swir2) noexcept nogil:
    """Shortwave albedo of snow from MODIS bands; Stroeve et al. (2005)."""
    cdef real visible = 0.1574 * sr_red + 0.3829 * sr_blue
    return share(visible + 0.2789 * sr_nir + 0.1131 * sr_nir2 + 0.0694 * sr_swir2 - 0.0093)


cdef inline real grain_growth(real age) noexcept nogil:
    """Share of the growth of grains that is done after `age` days, 0 at the snowfall to 1."""
    cdef real t = at_least(age, 0.0) + 1.0
    return 2.0 - ratio(4.0 + t * (3.0 + t), 2.0 + t * (1.0 + t))


cdef inline void snow_ageing(
        real snowage, real cosz, real grain, real grain_max, real dirt, real* albvis, real* albnir) noexcept nogil:
    """Albedo of ageing snow, visible and near infrared; Marshall and Warren (1987), Marks and Dozier (1992).

    `snowage` in days; radii of grains in um, `dirt`
    a factor on their growth as the visible sees it.
    """
    cdef real grown = grain_growth(snowage)
    cdef real clean = sqrt(grain)
    cdef real soiled = sqrt(dirt)
    cdef real visible = soiled * (clean + (sqrt(grain_max) - clean) * grown)
    cdef real infrared = clean + (sqrt(grain_max) - clean) * grown
    cdef real low = where(cosz > 0.0, 1.0 - cosz, 0.0)
    albvis[0] = share(1.0 - ratio(visible, 500.0) + visible * 1.375e-3 * low)
    albnir[0] = share(0.85447 * exp(-0.02123 * infrared) + (infrared * 2e-3 + 0.1) * low)


cdef inline real albedo_snow_ageing(
        real snowage, real cosz, real grain, real grain_max, real dirt, real visible) noexcept nogil:
    """Broadband albedo of ageing snow: `visible` is the share of the light below 0.7 um."""
    cdef real albvis = 0.0, albnir = 0.0
    snow_ageing(snowage, cosz, grain, grain_max, dirt, &albvis, &albnir)
    return albnir + visible * (albvis - albnir)
