"""Downward longwave radiation at the surface: point functions in SI units.

Symbols: w precipitable water, eps emissivity of the sky as seen from the
surface, N (`clt`) the total cloud amount, 0..1.
"""

from cext.vecmath cimport real, exp, log, sqrt, ratio, rmax, rmin


cdef inline real blackbody(real t) noexcept nogil:
    """Radiant exitance of a black body, W m-2."""
    cdef real t2 = t * t
    return 5.670374419e-8 * t2 * t2


cdef inline real emissivity_prata(real tas, real vap) noexcept nogil:
    """Clear sky; Prata (1996) eq. 8, with w = 46.5 e/T in cm and e in hPa (not mm: that gives nearly a black body)."""
    cdef real w = ratio(0.465 * vap, tas)
    return 1.0 - (1.0 + w) * exp(-sqrt(1.2 + 3.0 * w))


cdef inline real emissivity_brutsaert(real tas, real vap) noexcept nogil:
    """Clear sky; Brutsaert (1975) eq. 11, e in hPa, held above 0.05 hPa where the power law falls to zero."""
    return 1.24 * exp(0.14285714 * log(ratio(0.01 * rmax(vap, 5.0), tas)))


cdef inline real emissivity_konzelmann(real tas, real vap) noexcept nogil:
    """Clear sky; Konzelmann et al. (1994), e in Pa: 0.23 without vapour, then with its eighth root."""
    return 0.23 + 0.484 * sqrt(sqrt(sqrt(ratio(rmax(vap, 0.0), tas))))


cdef inline real clear_dilley(real tas, real prw) noexcept nogil:
    """Clear-sky flux, W m-2; Dilley and O'Brien (1998) model B, precipitable water in kg m-2."""
    cdef real t = ratio(tas, 273.16)
    cdef real t2 = t * t
    return 59.38 + 113.7 * t2 * t2 * t2 + 96.96 * sqrt(0.04 * rmax(prw, 0.0))


cdef inline real cloud_unsworth(real clear, real clt) noexcept nogil:
    """All-sky emissivity; Unsworth and Monteith (1975): linear in the cloud amount, overcast 0.84 of the way to 1."""
    cdef real cover = 0.84 * clt
    return cover + (1.0 - cover) * clear


cdef inline real cloud_konzelmann(real clear, real clt) noexcept nogil:
    """All-sky emissivity; Konzelmann et al. (1994): clear and overcast (0.952) skies weighted by the fourth power."""
    cdef real n2 = clt * clt
    cdef real n4 = n2 * n2
    return clear + n4 * (0.952 - clear)


cdef inline real cloud_kimball(real clear, real tas, real vap, real clt) noexcept nogil:
    """All-sky emissivity; Kimball, Idso and Aase (1982): what a cloud 11 K colder sends through the 8-14 um window.

    The window's emissivity (Idso 1981) is cut at 1: above, moist hot air
    would turn the cloud into a sink.
    """
    cdef real cloud = tas - 11.0
    cdef real inverse = ratio(1.0, tas)
    cdef real cooler = cloud * inverse
    cdef real window = rmin(0.24 + 2.98e-12 * vap * vap * exp(3000.0 * inverse), 1.0)
    cdef real passed = (1.0 - window) * (1.0 - 0.4 * window)
    cdef real share = -0.6732 + 0.6240e-2 * cloud - 0.9140e-5 * cloud * cloud
    return rmin(clear + passed * clt * share * (cooler * cooler) * (cooler * cooler), 1.0)


cdef inline real cover_cloud_water(real clt, real lwp, real iwp, real k_liq, real k_ice) noexcept nogil:
    """Cloud amount weighted by the emissivity of the water inside the clouds (Stephens 1978); paths in kg m-2.

    The paths are means over the pixel, so they are divided by the cloud
    amount, by 1 % where that is less.
    """
    cdef real path = 1000.0 * (k_liq * rmax(lwp, 0.0) + k_ice * rmax(iwp, 0.0))
    cdef real part = rmax(clt, 0.01)
    # Held at 60: libmvec leaves the vector path where the exponential underflows. With a bound that
    # varies, or the compiler moves the selection behind the call.
    return clt * (1.0 - exp(-ratio(rmin(path, 60.0 * part), part)))


cdef inline real rlds_prata_konzelmann(real tas, real vap, real clt) noexcept nogil:
    """Prata (1996) clear sky, Konzelmann et al. (1994) clouds."""
    return cloud_konzelmann(emissivity_prata(tas, vap), clt) * blackbody(tas)


cdef inline real rlds_prata_kimball(real tas, real vap, real clt) noexcept nogil:
    """Prata (1996) clear sky, Kimball et al. (1982) clouds."""
    return cloud_kimball(emissivity_prata(tas, vap), tas, vap, clt) * blackbody(tas)


cdef inline real rlds_prata_um(real tas, real vap, real clt) noexcept nogil:
    """Prata (1996) clear sky, Unsworth and Monteith (1975) clouds."""
    return cloud_unsworth(emissivity_prata(tas, vap), clt) * blackbody(tas)


cdef inline real rlds_prata_cd(real tas, real vap, real clt, real lwp, real iwp, real k_liq, real k_ice) noexcept nogil:
    """Prata (1996) clear sky, mixed with a black overcast as Crawford and Duchon (1999) do, by cloud-water cover."""
    cdef real cover = cover_cloud_water(clt, lwp, iwp, k_liq, k_ice)
    return (cover + (1.0 - cover) * emissivity_prata(tas, vap)) * blackbody(tas)


cdef inline real rlds_dilley_um(real tas, real prw, real clt) noexcept nogil:
    """Dilley and O'Brien (1998) clear sky from the precipitable water, Unsworth and Monteith (1975) clouds."""
    cdef real black = blackbody(tas)
    return cloud_unsworth(rmin(clear_dilley(tas, prw) / black, 1.0), clt) * black


cdef inline real rlds_dilley_vap_um(real tas, real vap, real clt) noexcept nogil:
    """As `rlds_dilley_um`, the precipitable water taken from the surface: w = 465 e/T in kg m-2, e in hPa."""
    return rlds_dilley_um(tas, ratio(4.65 * vap, tas), clt)


cdef inline real rlds_brutsaert_um(real tas, real vap, real clt) noexcept nogil:
    """Brutsaert (1975) clear sky, Unsworth and Monteith (1975) clouds."""
    return cloud_unsworth(rmin(emissivity_brutsaert(tas, vap), 1.0), clt) * blackbody(tas)


cdef inline real rlds_brutsaert_kimball(real tas, real vap, real clt) noexcept nogil:
    """Brutsaert (1975) clear sky, Kimball et al. (1982) clouds."""
    return cloud_kimball(rmin(emissivity_brutsaert(tas, vap), 1.0), tas, vap, clt) * blackbody(tas)


cdef inline real rlds_konzelmann(real tas, real vap, real clt) noexcept nogil:
    """Konzelmann et al. (1994), clear sky and clouds, as found over the Greenland ice sheet."""
    return cloud_konzelmann(rmin(emissivity_konzelmann(tas, vap), 1.0), clt) * blackbody(tas)
