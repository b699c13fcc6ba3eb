"""Turbulent fluxes over water, and over snow and ice; W m-2, positive upward.

Heights are those of forecast models: wind at 10 m, temperature and humidity
at 2 m. Surface values are those of the skin.
"""

from cext.humidity cimport saturation_water
from cext.vecmath cimport real, atan, exp, log, sqrt, fabs, ratio, where, at_least, at_most


cdef inline real specific(real e, real ps) noexcept nogil:
    """Specific humidity of air with vapour pressure `e`."""
    return ratio(0.622 * e, ps - 0.378 * e)


cdef inline real mixed_m(real w) noexcept nogil:
    """Unstable correction for momentum of COARE, w = ln(1 - 15 zeta); fit to the blend of Kansas and convective
    forms, 2e-5."""
    cdef real over = 0.250217483 + w * (-0.0876839246 + w * (0.00382251618 + w * (0.00119371947 + 0.00090517103 * w)))
    return ratio(w * over, 1.0 + w * (-0.534392901 + w * (0.0997119937 + w * (-0.00298648216 + 0.00113325506 * w))))


cdef inline real mixed_h(real w) noexcept nogil:
    """Unstable correction for heat of COARE, w = ln(1 - 15 zeta); fit to the blend of Kansas and convective forms,
    1e-5."""
    cdef real over = 0.500152266 + w * (-0.0671872515 + w * (-0.0296685378 + w * (0.00153495954 + 0.00381453093 * w)))
    return ratio(w * over, 1.0 + w * (-0.257514489 + w * (-0.0332541854 + w * (0.0125540205 + 0.00360803772 * w))))


cdef inline real psi_m_coare(real zeta) noexcept nogil:
    """Stability correction for momentum; Fairall et al. (2003), stable part of Beljaars and Holtslag (1991)."""
    cdef real s = at_most(at_least(zeta, 0.0), 50.0)
    cdef real stable = -(9.525 + s + 0.6667 * (s - 14.28) * exp(-0.35 * s))
    return where(zeta < 0.0, mixed_m(log(1.0 + 15.0 * at_most(at_least(-zeta, 0.0), 50.0))), stable)


cdef inline real psi_h_coare(real zeta) noexcept nogil:
    """Stability correction for heat and vapour; Fairall et al. (2003), stable part of Beljaars and Holtslag (1991)."""
    cdef real s = at_most(at_least(zeta, 0.0), 50.0)
    cdef real q = 1.0 + 0.66666667 * s
    cdef real stable = -(8.525 + q * sqrt(q) + 0.6667 * (s - 14.28) * exp(-0.35 * s))
    return where(zeta < 0.0, mixed_h(log(1.0 + 15.0 * at_most(at_least(-zeta, 0.0), 50.0))), stable)


cdef inline real charnock(real u10n) noexcept nogil:
    """Charnock's number by the neutral wind at 10 m; Edson et al. (2013) eq. 13."""
    return at_most(at_least(0.0017 * u10n - 0.005, 0.0), 0.028)


cdef inline void sea_step(
        real u, real buoyancy, real nu, real log_nu, real* ustar, real* transfer, real* log_z0,
        real* gusty) noexcept nogil:
    """One estimate of friction velocity, transfer number k/Fh, roughness and wind with gusts, in that order from the
    last."""
    cdef real slope = at_least(at_most(0.4 * transfer[0] * ratio(buoyancy, ustar[0] * ustar[0]), 200.0), -200.0)
    cdef real rising = at_least(-1500.0 * slope, 1e-12)
    cdef real gust = 1.44 * ustar[0] * ustar[0] * exp(0.66666667 * log(rising))
    gusty[0] = at_least(sqrt(u * u + gust), 0.2)
    cdef real neutral = 2.5 * ustar[0] * (2.3025851 - log_z0[0])
    cdef real z0 = at_least(ratio(charnock(neutral) * ustar[0] * ustar[0], 9.80665) + ratio(0.11 * nu, ustar[0]), 1e-9)
    log_z0[0] = log(at_most(z0, 1.0))
    # ln z0t of z0t = min(1.6e-4, 5.8e-5 Re^-0.72): no power, no exponential.
    cdef real log_z0t = at_least(at_most(-9.7550674 - 0.72 * (log_z0[0] + log(ustar[0]) - log_nu), -8.7403367),
                                 -20.723266)
    transfer[0] = ratio(0.4, 0.69314718 - log_z0t - psi_h_coare(2.0 * slope))
    ustar[0] = at_least(ratio(0.4 * gusty[0], 2.3025851 - log_z0[0] - psi_m_coare(10.0 * slope)), 1e-6)


cdef inline void coare36(
        real ts, real tas, real vap, real ps, real sfcWind, real salt, real* hfss, real* hfls) noexcept nogil:
    """COARE 3.6 without cool skin: Fairall et al. (2003), roughness of Edson et al. (2013).

    `salt` is the share of saturation over the water (0.98 over the sea). Ten
    steps from the first guess by the bulk Richardson number, the same number
    for every pixel.
    """
    cdef real q = specific(at_least(vap, 0.0), ps)
    cdef real theta = tas + 0.019516
    cdef real t = theta - 273.15
    cdef real dt = theta - ts
    cdef real dq = q - specific(salt * saturation_water(ts), ps)
    cdef real moist = 1.0 + 0.608 * q
    cdef real buoyancy = 9.80665 * ratio(dt * moist + 0.608 * theta * dq, theta * moist)
    cdef real nu = 1.326e-5 * (1.0 + t * (6.542e-3 + t * (8.301e-6 - 4.84e-9 * t)))
    cdef real log_nu = log(nu)
    cdef real u = at_least(sfcWind, 0.0)
    cdef real gusty = sqrt(u * u + 0.25)
    cdef real ustar = 0.035 * gusty
    cdef real log_z0 = log(charnock(u) * ustar * ustar * 0.10197162 + ratio(0.11 * nu, ustar))
    cdef real fm = 2.3025851 - log_z0
    cdef real fh = 0.69314718 - 2.3025851 + ratio(139.13043, fm)
    cdef real bulk = ratio(10.0 * buoyancy, gusty * gusty)
    cdef real cc = ratio(fm * fm, fh)
    cdef real zeta = where(bulk < 0.0, ratio(cc * bulk, 1.0 - 0.41472 * at_most(bulk, 0.0)),
                           cc * bulk + 3.0 * bulk * bulk)
    zeta = at_most(zeta, 50.0)
    ustar = at_least(ratio(0.4 * gusty, fm - psi_m_coare(zeta)), 1e-6)
    cdef real transfer = ratio(0.4, fh - psi_h_coare(0.2 * zeta))
    log_z0 = log(charnock(u) * ustar * ustar * 0.10197162 + ratio(0.11 * nu, ustar))
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    sea_step(u, buoyancy, nu, log_nu, &ustar, &transfer, &log_z0, &gusty)
    cdef real carried = -ustar * transfer * ratio(ps, 287.05 * theta * moist)
    hfss[0] = carried * (1005.0 + 1860.0 * q) * dt
    hfls[0] = carried * (2.501e6 - 2370.0 * (ts - 273.15)) * dq


cdef inline real saturation_ice(real t) noexcept nogil:
    """Saturation vapour pressure over ice, Pa; Magnus form of Sonntag (1990)."""
    return 611.2 * exp(ratio(22.46 * (t - 273.15), t - 0.53))


cdef inline real psi_m_dyer(real zeta) noexcept nogil:
    """Correction for momentum: Businger-Dyer with 16, -5.2 zeta up to zeta = 1."""
    cdef real x2 = sqrt(1.0 + 16.0 * at_least(-zeta, 0.0))
    cdef real x = sqrt(x2)
    cdef real half = 0.5 + 0.5 * x
    cdef real unstable = log(half * half * (0.5 + 0.5 * x2)) - 2.0 * atan(x) + 1.5707963
    return where(zeta < 0.0, unstable, -5.2 * at_most(zeta, 1.0))


cdef inline real psi_h_dyer(real zeta) noexcept nogil:
    """Correction for heat and vapour: Businger-Dyer with 16, -5.2 zeta up to zeta = 1."""
    cdef real half = 0.5 + 0.5 * sqrt(1.0 + 16.0 * at_least(-zeta, 0.0))
    return where(zeta < 0.0, 2.0 * log(half), -5.2 * at_most(zeta, 1.0))


cdef inline real snow_step(
        real slope, real u, real scale, real warm, real moist, real log_u, real log_t, real zu, real zt, real* ustar,
        real* transfer) noexcept nogil:
    """1/L that the estimate `slope` leads to, with its friction velocity and transfer number k/Fh."""
    ustar[0] = at_least(ratio(0.41 * u, log_u - psi_m_dyer(zu * slope)), 1e-4)
    transfer[0] = ratio(0.41, log_t - psi_h_dyer(zt * slope))
    return at_least(at_most(ratio(scale * transfer[0] * (warm + moist), ustar[0] * ustar[0]), 1e3), -1e3)


cdef inline void snow_turbulence(
        real ts, real tas, real q, real qs, real ps, real es_mean, real wind, real zu, real zt, real z0, real* hfss,
        real* hfls) noexcept nogil:
    """Sensible and latent heat over snow, W m-2 upward; Brutsaert (1982) as in Marks and Dozier (1992).

    `es_mean` is the geometric mean of the vapour pressures. Twelve steps, each the mean of where the last two led.
    """
    cdef real warm_air = tas + 0.009758 * zt
    cdef real d = 4.9 * z0
    cdef real hu = zu - d
    cdef real ht = zt - d
    cdef real log_u = log(ratio(hu, z0))
    cdef real log_t = log(ratio(ht, z0))
    cdef real dt = warm_air - ts
    cdef real dq = q - qs
    cdef real rho = ratio(ps, 287.058 * ratio(sqrt(warm_air * ts), 1.0 - 0.378 * ratio(es_mean, ps)))
    cdef real warm = ratio(dt, warm_air)
    cdef real moist = 0.61 * dq
    cdef real scale = 4.0207265
    cdef real ustar, transfer
    cdef real slope = 0.0
    slope = snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = 0.5 * slope + 0.5 * snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    slope = snow_step(slope, wind, scale, warm, moist, log_u, log_t, zu, zt, &ustar, &transfer)
    cdef real carried = -rho * ustar * transfer
    cdef real c = ts - 273.16
    cdef real latent = 2.5e6 - 2955.73 * c + where(ts <= 273.16, 3.336e5 - 166.67 * c, 0.0)
    hfss[0] = carried * 1005.0 * dt
    hfls[0] = carried * latent * dq


cdef inline void snow_fluxes(
        real ts, real tas, real vap, real ps, real sfcWind, real z0_snow, real wind_least, real* hfss,
        real* hfls) noexcept nogil:
    """Snow, land ice and sea ice below air of 2 m (wind 10 m); the surface is not warmer than melting ice."""
    cdef real surface = at_most(ts, 273.16)
    cdef real es = saturation_ice(surface)
    cdef real e = at_least(vap, 0.0)
    snow_turbulence(
        surface, tas, specific(e, ps), specific(es, ps), ps, sqrt(e * es), at_least(sfcWind, wind_least), 10.0, 2.0,
        z0_snow, hfss, hfls)


cdef inline void snow_measured(
        real ts, real tas, real vap, real vap_surface, real ps, real wind, real height_wind, real height_air, real z0m,
        real* hfss, real* hfls) noexcept nogil:
    """As `snow_fluxes`, heights, roughness and the surface's vapour pressure given."""
    snow_turbulence(
        ts, tas, specific(vap, ps), specific(vap_surface, ps), ps, sqrt(at_least(vap * vap_surface, 0.0)), wind,
        height_wind, height_air, z0m, hfss, hfls)
