"""Downward shortwave radiation at instants with the sun up: point functions in SI units.

`cosz` is the cosine of the geometric zenith angle, `toa_normal` the
irradiance facing the sun outside the atmosphere. The models end at a zenith
angle of 89 degrees (`LOW`); closer to the horizon their transmittances are
held there, so that the flux goes to 0 with `cosz`.

Where a limit stands for the sake of a function's argument, it is written with
a bound that varies, or the compiler moves the selection behind the call and
the call meets the argument that should have been kept from it.
"""

from cext.vecmath cimport real, acos, at_least, at_most, exp, log, ratio, sqrt, where


cdef inline real low_sun(real cosz) noexcept nogil:
    """Cosine of the zenith angle, not below that of 89 degrees."""
    return at_least(cosz, 0.017452406)


cdef inline real rsdt_normal(real cosz, real toa_normal) noexcept nogil:
    """Irradiance of a horizontal plane outside the atmosphere, W m-2."""
    return toa_normal * at_least(cosz, 0.0)


# REST2 v9 compact (Gueymard 2008) ------------------------------------------------------------------------------------

cdef inline real optical_mass(real mu, real log_z, real z, real a, real b, real c, real d) noexcept nogil:
    """Relative optical mass 1/(mu + a z^b (c - z)^-d), at least 1; z in degrees."""
    return at_least(ratio(1.0, mu + a * exp(b * log_z - d * log(c - z))), 1.0)


cdef inline real aerosol_wavelength_visible(real a, real ma, real beta, real log_beta) noexcept nogil:
    """Effective wavelength of aerosol extinction in band 1, um; `a` the Angstrom exponent, `ma` the aerosol mass."""
    cdef real y = ma * exp(0.3333 * a * log_beta)
    cdef real c0 = 0.50947 + a * (-0.012555 + a * (0.0026455 + a * (0.0044092 + a * (-0.0022439 + a * 0.0003123))))
    cdef real c1 = 0.062836 + a * (0.049194 + a * (0.013976 + a * (-0.011429 + a * (0.0053573 + a * 0.0026402))))
    cdef real c2 = 0.096418 + a * (0.072221 + a * (0.015505 + a * (-0.021649 + a * (0.011901 + a * 0.0033763))))
    cdef real usual = ratio(c0 + c1 * y, 1.0 + c2 * y)
    cdef real x = ma * sqrt(beta)
    cdef real d1 = a * (-0.12573 + a * 0.092131)
    cdef real d2 = a * (-0.17782 + a * 0.13647)
    d1 = 0.06518 + a * (-0.039075 + a * (0.11648 + a * (0.048987 + a * (-0.026766 + d1))))
    d2 = 0.099191 + a * (-0.083962 + a * (0.20562 + a * (0.057377 + a * (-0.049548 + d2))))
    cdef real thick = ratio(0.5 + d1 * x, 1.0 + d2 * x)
    cdef real found = where(ma * beta > 10.0, thick, usual)
    found = at_most(found, at_least(ratio(0.6 + 0.95155 * a, 1.0 + 1.3095 * a), 0.61))
    return at_least(found, 0.5158 - 0.008334 * a)


cdef inline real aerosol_wavelength_infrared(real a, real ma, real beta) noexcept nogil:
    """Effective wavelength of aerosol extinction in band 2, um."""
    cdef real x = log(1.0 + ma * beta)
    cdef real a0 = 1.0677 + a * (-0.05432 + a * (0.014351 + a * (-0.0097063 + a * 0.0023655)))
    cdef real a1 = a * (-0.85437 + a * (0.49305 + a * (-0.14965 + a * 0.018964)))
    cdef real a2 = a * (0.070698 + a * (-0.11284 + a * (0.055096 - a * 0.0086265)))
    cdef real a3 = a * (-0.78019 + a * (0.37382 + a * (-0.089069 + a * 0.0091113)))
    a1 = -0.20914 + a * (-0.27218 + a * (0.83552 + a1))
    a2 = 0.0010588 + a * (0.039597 + a * (0.006733 + a2))
    a3 = -0.19432 + a * (-0.29366 + a * (0.83474 + a3))
    cdef real found = ratio(a0 + x * (a1 + x * a2), 1.0 + a3 * x)
    found = at_most(found, 1.3 + a * (1.5317 - a * 0.55289))
    return at_least(found, 1.0 - 0.02 * a)


cdef inline void scattering_layer(
        real mu, real am, real fm, real g0, real albedo, real rayleigh, real aerosol, real tau_s, real absorbed,
        real* direct, real* diffuse, real* reflected, real* sky) noexcept nogil:
    """One band below its absorbing layer, as shares of the solar constant.

    `rayleigh` and `aerosol` are scattering transmittances, `tau_s` the
    aerosol scattering depth, `absorbed` what the absorbing layer lets
    through. Gives the direct normal and the diffuse flux before and after
    reflection between ground and sky, and the reflectance of the sky.
    """
    cdef real tau_r = -log(rayleigh) / am
    cdef real tau = tau_r + tau_s
    cdef real forward = ratio(0.5 + 1.8823 * mu, 1.0 + 1.7971 * mu) * tau_s + 0.5 * tau_r
    cdef real x = am * tau
    cdef real fn = ratio(1.0 - x * (10.921 + 11.741 * x), 1.0 + 35.006 * x)
    cdef real g1 = g0 * tau_s / tau
    cdef real fg = ratio(-0.5 + g1 * (10.497 - 11.735 * g1), 1.0 + 401.0 * g1 * g1)
    sky[0] = ratio(tau * (0.51754 + 0.15884 * tau), 1.0 + 2.77 * tau)
    direct[0] = absorbed * rayleigh * aerosol
    diffuse[0] = forward * exp(fn + fg + fm) * absorbed
    reflected[0] = diffuse[0] + ratio(albedo * sky[0] * (direct[0] * mu + diffuse[0]), 1.0 - albedo * sky[0])


cdef inline void rest2(
        real mu, real ps, real albedo, real od550aer, real angstrom, real ozone, real prw, real ssa, real g,
        real* tdd, real* tdu, real* ruu) noexcept nogil:
    """Clear-sky transmittances of REST2: direct normal, diffuse on the horizontal, and the sky's reflectance.

    `mu` is the cosine of the zenith angle, at least that of 89 degrees. The
    fluxes are tdd toa_normal and tdu toa_normal mu.
    """
    cdef real z = 57.29578 * acos(at_most(mu, 1.0))
    cdef real log_z = log(at_least(z, 1e-4))
    cdef real am = optical_mass(mu, log_z, z, 0.48353, 0.095846, 96.741, 1.754)
    cdef real ma = optical_mass(mu, log_z, z, 0.16851, 0.18198, 95.318, 1.9542)
    cdef real mw = optical_mass(mu, log_z, z, 0.10648, 0.11423, 93.781, 1.9203)
    cdef real mo = optical_mass(mu, log_z, z, 1.0651, 0.6379, 101.8, 2.2694)
    cdef real mr = ratio(am * ps, 101325.0)
    cdef real a = at_most(at_least(angstrom, 0.0), 2.501)
    cdef real beta = at_most(at_least(od550aer * exp(-0.597837 * a), 0.001), 2.2)
    cdef real log_beta = log(beta)
    cdef real w = 0.1 * at_least(prw, 0.0)
    cdef real u = at_least(ozone, 0.0)
    cdef real ground = at_most(at_least(albedo, 0.05), 1.0)

    cdef real rayleigh1 = ratio(1.0 + mr * (1.8169 - 0.033454 * mr), 1.0 + mr * (2.063 + 0.31978 * mr))
    cdef real gas1 = ratio(1.0 + mr * (0.95885 + 0.012871 * mr), 1.0 + mr * (0.96321 + 0.015455 * mr))
    cdef real o1 = ratio(u * (10.979 - 8.5421 * u), 1.0 + u * (2.0115 + 40.189 * u))
    cdef real o2 = ratio(u * (-0.027589 - 0.005138 * u), 1.0 + u * (-2.4857 + 13.942 * u))
    cdef real o3 = ratio(u * (10.995 - 5.5001 * u), 1.0 + u * (1.6784 + 42.406 * u))
    cdef real ozone1 = ratio(1.0 + mo * (o1 + o2 * mo), 1.0 + o3 * mo)
    cdef real nitrogen1 = ratio(1.0 + mw * (0.18307 - 0.00024 * mw), 1.0 + 0.18713 * mw)
    cdef real w1 = ratio(w * (0.065445 + 0.00029901 * w), 1.0 + 1.2728 * w)
    cdef real w2 = ratio(w * (0.065687 + 0.0013218 * w), 1.0 + 1.2008 * w)
    cdef real water1 = ratio(1.0 + w1 * mw, 1.0 + w2 * mw)

    cdef real rayleigh2 = ratio(1.0 - 0.010394 * mr, 1.0 - 0.00011042 * mr * mr)
    cdef real gas2 = ratio(1.0 + mr * (0.27284 - 0.00063699 * mr), 1.0 + 0.30306 * mr)
    cdef real v1 = ratio(w * (19.566 + w * (-1.6506 + 1.0672 * w)), 1.0 + w * (5.4248 + 1.6005 * w))
    cdef real v2 = ratio(w * (0.50158 + w * (-0.14732 + 0.047584 * w)), 1.0 + w * (1.1811 + 1.0699 * w))
    cdef real v3 = ratio(w * (21.286 + w * (-0.39232 + 1.2692 * w)), 1.0 + w * (4.8318 + 1.412 * w))
    cdef real v4 = ratio(w * (0.70992 + w * (-0.23155 + 0.096514 * w)), 1.0 + w * (0.44907 + 0.75425 * w))
    cdef real water2 = ratio(1.0 + mw * (v1 + v2 * mw), 1.0 + mw * (v3 + v4 * mw))

    cdef real tau1 = beta * exp(-a * log(aerosol_wavelength_visible(a, ma, beta, log_beta)))
    cdef real tau2 = beta * exp(-a * log(aerosol_wavelength_infrared(a, ma, beta)))
    cdef real pi1 = at_least(at_most(ssa + 0.03, 0.98), 0.85)
    cdef real pi2 = at_least(at_most(ssa - 0.02, 0.95), 0.85)
    cdef real slant1 = at_most(ma * tau1, 60.0 * ma)
    cdef real slant2 = at_most(ma * tau2, 60.0 * ma)
    cdef real absorbed1 = 0.47244 * gas1 * nitrogen1 * water1 * ozone1 * exp(-slant1 * (1.0 - pi1))
    cdef real absorbed2 = 0.51951 * gas2 * water2 * exp(-slant2 * (1.0 - pi2))

    cdef real fm = ratio(0.15244 * (am - 1.0), 1.0 + 2.2413 * am)
    cdef real g0 = g + 0.066 * (1.0 - a)
    cdef real direct1 = 0.0, direct2 = 0.0, diffuse1 = 0.0, diffuse2 = 0.0
    cdef real reflected1 = 0.0, reflected2 = 0.0, sky1 = 0.0, sky2 = 0.0
    scattering_layer(mu, am, fm, g0, ground, rayleigh1, exp(-slant1 * pi1), pi1 * tau1, absorbed1,
                     &direct1, &diffuse1, &reflected1, &sky1)
    scattering_layer(mu, am, fm, g0, ground, rayleigh2, exp(-slant2 * pi2), pi2 * tau2, absorbed2,
                     &direct2, &diffuse2, &reflected2, &sky2)
    cdef real depth = ma * beta
    tdd[0] = (direct1 + direct2) * exp(ratio(depth * (0.015981 + 0.183 * depth), 1.0 + 1.4142 * depth))
    tdu[0] = (reflected1 + reflected2) / mu
    cdef real down1 = direct1 * mu + diffuse1
    cdef real down2 = direct2 * mu + diffuse2
    ruu[0] = (down1 * sky1 + down2 * sky2) / (down1 + down2)


cdef inline real tuu_clear(real ps, real ozone, real prw) noexcept nogil:
    """Transmittance of the aerosol-free clear sky for diffuse light (Xie et al. 2016 eq. 5).

    The mean over ten zenith angles of REST2's direct transmittance, fitted
    to 20,000 of its values (450-1080 hPa, 0.1-0.6 atm-cm, 0-90 kg m-2): off
    by 0.0012 in the mean square, 0.004 at most, for one logarithm instead of
    ten evaluations.
    """
    cdef real p = ratio(ps, 101325.0)
    cdef real u = ozone
    cdef real x = log(1.0 + 1.479754 * at_least(prw, 0.0))
    cdef real water = x * (-0.083913544 + x * (0.035419747 + x * (-0.010549930 + x * 0.0010241343)))
    cdef real air = p * (-0.18050279 + 0.033325834 * p) + u * (-0.060117331 + 0.020181001 * u) + 0.011430754 * p * u
    return 1.062367 + air + water + x * (0.0021984079 * p + 0.00018261850 * u)


cdef inline void rsdscs_rest2(
        real cosz, real toa_normal, real ps, real albedo, real od550aer, real angstrom, real ozone, real prw,
        real ssa, real g, real* rsdscs, real* rsdscsdiff) noexcept nogil:
    """Clear-sky global and diffuse flux by REST2 v9 compact."""
    cdef real tdd = 0.0, tdu = 0.0, ruu = 0.0
    cdef real horizontal = toa_normal * at_least(cosz, 0.0)
    rest2(low_sun(cosz), ps, albedo, od550aer, angstrom, ozone, prw, ssa, g, &tdd, &tdu, &ruu)
    rsdscs[0] = horizontal * (tdd + tdu)
    rsdscsdiff[0] = horizontal * tdu


# FARMS (Xie, Sengupta and Dudhia 2016) -------------------------------------------------------------------------------

cdef inline void cloud_water_phase(
        real mu, real log_mu, real tau, real log_tau, real diameter, real* tdu, real* ruu) noexcept nogil:
    """Diffuse transmittance and reflectance of a water cloud; eq. 11, 12 and 14a, effective diameter in um."""
    cdef real de = at_most(at_least(diameter, 5.0), 120.0)
    cdef real ptau = (2.885 + 0.002 * (de - 60.0)) * mu - 0.007347
    cdef real pdhi = 0.7846 * (1.0 + 0.0002 * (de - 60.0)) * exp(0.1605 * log_mu)
    cdef real inverse = ratio(1.0, mu)
    cdef real delta = -0.644531 * mu + 1.20117
    delta = delta + inverse * (0.129807 + inverse * (-0.00121096 + inverse * 1.52587e-7))
    cdef real grown = exp(0.012 * (tau - ptau) * mu)
    cdef real apart = 0.4342945 * (log_tau - log(ptau))
    cdef real depth = 0.5 + 0.4342945 * log_tau
    tdu[0] = (1.0 + 0.5 * (grown - ratio(1.0, grown))) * pdhi * exp(-apart * apart / delta)
    cdef real thick = 1.03 - exp(-ratio(depth * depth, 3.105))
    ruu[0] = where(tau < 1.0, 0.107359 * tau, thick)


cdef inline void cloud_ice_phase(
        real mu, real log_mu, real tau, real log_tau, real diameter, real* tdu, real* ruu) noexcept nogil:
    """Diffuse transmittance and reflectance of an ice cloud; eq. 11, 13 and 14b, effective diameter in um."""
    cdef real de = at_most(at_least(diameter, 5.0), 140.0)
    cdef real small = 2.8487 * mu - 0.0029
    cdef real large = (2.8355 + (100.0 - de) * 0.006) * mu - 0.00612
    cdef real ptau = where(de <= 26.0, small, large)
    cdef real pdhi = 0.756 * exp(0.0883 * log_mu)
    cdef real inverse = ratio(1.0, mu)
    cdef real delta = -0.0549531 * mu + 0.617632 + inverse * (0.17876 - inverse * 0.002174)
    cdef real grown = exp(0.01 * (tau - ptau) * mu)
    cdef real apart = 0.4342945 * (log_tau - log(ptau))
    cdef real depth = 0.5 + 0.4342945 * log_tau
    tdu[0] = (1.0 + 0.5 * (grown - ratio(1.0, grown))) * pdhi * exp(-apart * apart / delta)
    cdef real thick = 1.02 - exp(-ratio(depth * depth, 3.25))
    ruu[0] = where(tau < 1.0, 0.094039 * tau, thick)


cdef inline void farms(
        real mu, real albedo, real cod, real ice, real reff_water, real reff_ice,
        real tdd, real tdu, real ruu, real tuu, real* total, real* diffuse) noexcept nogil:
    """Global and diffuse flux under an overcast sky as shares of the horizontal flux outside the atmosphere.

    `cod` is the optical depth of the cloud (cut to 0.01..160; clear below),
    `ice` the share of ice in it: the two phases are computed with the whole
    depth and mixed. Effective radii in um. tdd, tdu, ruu, tuu describe the
    clear sky.
    """
    cdef real tau = at_most(at_least(cod, 0.01), 160.0)
    cdef real log_tau = log(tau)
    cdef real log_mu = log(mu)
    cdef real tdu_water = 0.0, ruu_water = 0.0, tdu_ice = 0.0, ruu_ice = 0.0
    cloud_water_phase(mu, log_mu, tau, log_tau, 2.0 * reff_water, &tdu_water, &ruu_water)
    cloud_ice_phase(mu, log_mu, tau, log_tau, 2.0 * reff_ice, &tdu_ice, &ruu_ice)
    cdef real tdu_cloud = tdu_water + ice * (tdu_ice - tdu_water)
    cdef real ruu_cloud = ruu_water + ice * (ruu_ice - ruu_water)
    cdef real tdd_cloud = exp(-ratio(at_most(tau, 60.0 * mu), mu))
    cdef real down = tdd_cloud * (tdd + tdu) + tdu_cloud * tuu
    # Between bright snow and a thick cloud in clean air the fits can reflect more than all.
    cdef real cloudy = ratio(down, at_least(1.0 - at_most(albedo, 1.0) * (ruu + ruu_cloud * tuu * tuu), 0.05))
    total[0] = where(cod < 0.01, tdd + tdu, cloudy)
    diffuse[0] = where(cod < 0.01, tdu, cloudy - tdd_cloud * tdd)


cdef inline void rsds_farms(
        real cosz, real toa_normal, real albedo, real cod, real ice, real reff,
        real tdd_clear, real tdu_clear, real ruu_clear, real tuu_clear, real* rsds, real* rsdsdiff) noexcept nogil:
    """All-sky flux of an overcast pixel from retrieved cloud and given clear-sky transmittances."""
    cdef real total = 0.0, diffuse = 0.0
    cdef real horizontal = toa_normal * at_least(cosz, 0.0)
    farms(low_sun(cosz), albedo, cod, ice, reff, reff, tdd_clear, tdu_clear, ruu_clear, tuu_clear, &total, &diffuse)
    rsds[0] = horizontal * total
    rsdsdiff[0] = horizontal * diffuse


cdef inline void rsds_rest2_farms(
        real cosz, real toa_normal, real ps, real albedo, real od550aer, real angstrom, real ozone, real prw,
        real clt, real lwp, real iwp, real ssa, real g, real reff_water, real reff_ice,
        real* rsds, real* rsdsdiff) noexcept nogil:
    """All-sky flux: REST2 in the clear part of the pixel, FARMS in the cloudy part.

    The cloud water paths, kg m-2, are means over the pixel; the optical
    depth is 3/2 path / (density radius) with the path inside the clouds.
    """
    cdef real mu = low_sun(cosz)
    cdef real n = at_most(at_least(clt, 0.0), 1.0)
    cdef real inside = ratio(1000.0, at_least(n, 0.01))
    cdef real tau_water = ratio(1.5 * inside * at_least(lwp, 0.0), reff_water)
    cdef real tau_ice = ratio(1.5 * inside * at_least(iwp, 0.0), 0.917 * reff_ice)
    cdef real cod = tau_water + tau_ice
    cdef real ice = ratio(tau_ice, at_least(cod, 1e-6))
    cdef real tdd = 0.0, tdu = 0.0, ruu = 0.0, total = 0.0, diffuse = 0.0
    cdef real horizontal = toa_normal * at_least(cosz, 0.0)
    rest2(mu, ps, albedo, od550aer, angstrom, ozone, prw, ssa, g, &tdd, &tdu, &ruu)
    farms(mu, albedo, cod, ice, reff_water, reff_ice, tdd, tdu, ruu, tuu_clear(ps, ozone, prw), &total, &diffuse)
    rsds[0] = horizontal * (n * total + (1.0 - n) * (tdd + tdu))
    rsdsdiff[0] = horizontal * (n * diffuse + (1.0 - n) * tdu)


# Ineichen and Perez (2002), Kasten and Czeplak (1980), Erbs et al. (1982) --------------------------------------------

cdef inline real mass_kasten_young(real mu) noexcept nogil:
    """Relative air mass; Kasten and Young (1989), of the given zenith angle (they meant the apparent one)."""
    cdef real z = 57.29578 * acos(at_most(mu, 1.0))
    return ratio(1.0, mu + 0.50572 * exp(-1.6364 * log(96.07995 - z)))


cdef inline void ineichen(real am, real linke, real orog, real* total, real* diffuse) noexcept nogil:
    """Clear-sky global and diffuse flux as shares of the horizontal flux outside; `am` the pressure-corrected mass."""
    cdef real fh1 = exp(-ratio(orog, 8000.0))
    cdef real fh2 = exp(-ratio(orog, 1250.0))
    cdef real cg1 = 5.09e-5 * orog + 0.868
    cdef real cg2 = 3.92e-5 * orog + 0.0387
    cdef real turbid = linke - 1.0
    cdef real whole = cg1 * exp(-cg2 * am * (fh1 + fh2 * turbid))
    cdef real beam = (0.664 + ratio(0.163, fh1)) * exp(-0.09 * am * turbid)
    cdef real most = whole * at_least(1.0 - ratio(0.1 - 0.2 * exp(-linke), 0.1 + ratio(0.882, fh1)), 0.0)
    total[0] = whole
    diffuse[0] = whole - at_most(beam, most)


cdef inline void rsdscs_ineichen(
        real cosz, real toa_normal, real linke, real orog, real ps, real* rsdscs, real* rsdscsdiff) noexcept nogil:
    """Clear-sky global and diffuse flux by Ineichen and Perez with Linke turbidity and air pressure."""
    cdef real mu = at_least(cosz, 1e-4)
    cdef real total = 0.0, diffuse = 0.0
    cdef real horizontal = toa_normal * at_least(cosz, 0.0)
    ineichen(ratio(mass_kasten_young(mu) * ps, 101325.0), linke, orog, &total, &diffuse)
    rsdscs[0] = horizontal * total
    rsdscsdiff[0] = horizontal * diffuse


cdef inline real diffuse_share_erbs(real kt) noexcept nogil:
    """Diffuse share of the global flux by clearness index; Erbs, Klein and Duffie (1982)."""
    cdef real hazy = 1.0 - 0.09 * kt
    cdef real broken = 0.9511 + kt * (-0.1604 + kt * (4.388 + kt * (-16.638 + kt * 12.336)))
    cdef real low = where(kt <= 0.22, hazy, broken)
    return where(kt <= 0.8, low, 0.165)


cdef inline real rsdsdiff_erbs(real cosz, real toa_normal, real rsds) noexcept nogil:
    """Diffuse flux from the global one; below 3 degrees of sun height all is diffuse."""
    cdef real kt = at_most(at_least(ratio(rsds, toa_normal * at_least(cosz, 0.065)), 0.0), 1.0)
    return where(cosz >= 0.052335956, rsds * diffuse_share_erbs(kt), rsds)


cdef inline real mass_standard(real mu, real orog) noexcept nogil:
    """Air mass corrected to the pressure of the standard atmosphere at the given elevation."""
    return mass_kasten_young(mu) * exp(5.25588 * log(1.0 - ratio(orog, 44331.514)))


cdef inline void rsds_ineichen_kc(
        real cosz, real toa_normal, real linke, real orog, real clt, real* rsds, real* rsdsdiff) noexcept nogil:
    """All-sky flux: Ineichen and Perez, reduced by the cloud amount as Kasten and Czeplak; diffuse part by Erbs."""
    cdef real mu = at_least(cosz, 1e-4)
    cdef real total = 0.0, diffuse = 0.0
    cdef real n = at_most(at_least(clt, 1e-3), 1.0)
    ineichen(mass_standard(mu, orog), linke, orog, &total, &diffuse)
    # On the highest mountains the fit of the clear sky passes what comes in.
    rsds[0] = toa_normal * at_least(cosz, 0.0) * at_most(total, 1.0) * (1.0 - 0.75 * exp(3.4 * log(n)))
    rsdsdiff[0] = rsdsdiff_erbs(cosz, toa_normal, rsds[0])


# Bird and Hulstrom (1981) --------------------------------------------------------------------------------------------

cdef inline void rsdscs_bird(
        real cosz, real toa_normal, real ps, real albedo, real od550aer, real angstrom, real ozone, real prw,
        real g, real* rsdscs, real* rsdscsdiff) noexcept nogil:
    """Clear-sky global and diffuse flux; the broadband aerosol depth from those at 380 and 500 nm."""
    cdef real mu = low_sun(cosz)
    cdef real z = 57.29578 * acos(at_most(mu, 1.0))
    cdef real am = ratio(1.0, mu + 0.15 * exp(-1.253 * log(93.885 - z)))
    cdef real mp = ratio(am * ps, 101325.0)
    cdef real log_am = log(am)
    cdef real log_mp = log(mp)
    cdef real rayleigh = exp(-0.0903 * exp(0.84 * log_mp) * (1.0 + mp - exp(1.01 * log_mp)))
    cdef real o = at_least(ozone, 0.0) * am
    cdef real slow = 0.1611 * o * exp(-0.3034 * log(1.0 + 139.48 * o))
    cdef real t_ozone = 1.0 - slow - ratio(0.002715 * o, 1.0 + o * (0.044 + 0.0003 * o))
    cdef real gas = exp(-0.0127 * exp(0.26 * log_mp))
    cdef real w = 0.1 * at_least(prw, 0.0) * am
    cdef real water = 1.0 - ratio(2.4959 * w, exp(0.6828 * log(1.0 + 79.034 * w)) + 6.385 * w)
    cdef real depth = 0.27583 * exp(0.36974 * angstrom) + 0.35 * exp(0.0953102 * angstrom)
    cdef real tau = at_least(od550aer * depth, 1e-6)
    cdef real log_tau = log(tau)
    cdef real slant = exp(0.873 * log_tau) * (1.0 + tau - exp(0.7088 * log_tau)) * exp(0.9108 * log_am)
    cdef real aerosol = exp(-at_most(slant, 60.0 * am))
    cdef real absorbing = 1.0 - 0.1 * (1.0 - am + exp(1.06 * log_am)) * (1.0 - aerosol)
    cdef real scattering = aerosol / absorbing
    cdef real through = t_ozone * gas * water
    cdef real beam = 0.9662 * aerosol * through * rayleigh
    cdef real sky = 0.79 * through * absorbing * (0.5 * (1.0 - rayleigh) + g * (1.0 - scattering))
    sky = ratio(sky, 1.0 - am + exp(1.02 * log_am))
    cdef real back = 0.0685 + (1.0 - g) * (1.0 - scattering)
    cdef real horizontal = toa_normal * at_least(cosz, 0.0)
    rsdscs[0] = ratio(horizontal * (beam + sky), 1.0 - albedo * back)
    rsdscsdiff[0] = rsdscs[0] - horizontal * beam
