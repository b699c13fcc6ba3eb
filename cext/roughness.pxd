"""Aerodynamic roughness of land: lengths for momentum and heat, displacement height; all in m.

`landtype` is the IGBP class as a number: 0 (or 17) water, 1-5 forests, 6 and 7
shrubs, 8 woody savanna, 9 savanna, 10 grass, 11 wetland, 12 and 14 crops, 13
urban, 15 snow and ice, 16 barren.
"""

from cext.vecmath cimport real, exp, log, sqrt, fabs, ratio, where, at_least, at_most


cdef inline real is_class(real landtype, real number) noexcept nogil:
    """1 where the class is `number`, else 0."""
    return where(fabs(landtype - number) < 0.5, 1.0, 0.0)


cdef inline real is_between(real landtype, real low, real high) noexcept nogil:
    """1 where the class is among `low` ... `high`, else 0."""
    return where(landtype > low - 0.5, 1.0, 0.0) * where(landtype < high + 0.5, 1.0, 0.0)


cdef inline real power(real x, real exponent) noexcept nogil:
    """x ** exponent for x >= 1e-9 (held there): libmvec's exp and log are quicker than its pow."""
    return exp(exponent * log(at_least(x, 1e-9)))


cdef inline real frontal_area(real landtype, real lai, real crown) noexcept nogil:
    """Frontal area per ground area; trees and shrubs only, `crown` is the crowns' width over their height."""
    cdef real needle = is_class(landtype, 1.0) + is_class(landtype, 3.0)
    cdef real shrub = is_between(landtype, 6.0, 7.0)
    cdef real broad = is_class(landtype, 2.0) + is_between(landtype, 4.0, 5.0) + is_class(landtype, 8.0)
    cdef real cover = 1.0 - exp(-at_most(at_least(lai, 0.0), 40.0) * where(broad > 0.5, 1.0, 0.5))
    return cover * crown * (0.63661977 * needle + shrub + broad)


cdef inline real raupach_z0(real area) noexcept nogil:
    """Roughness length over canopy height; Schaudt and Dickinson (2000) fit to Raupach (1994), two pieces."""
    cdef real a = at_most(at_least(area, 0.0), 10.0)
    cdef real sparse = 5.86 * exp(-10.9 * power(a, 1.12)) * power(a, 1.33) + 0.00086
    cdef real dense = 0.0537 * power(a, -0.51) * (1.0 - exp(-10.9 * power(a, 0.874))) + 0.00368
    return where(a > 0.152, dense, sparse)


cdef inline real raupach_d(real area) noexcept nogil:
    """Displacement height over canopy height; Raupach (1994), 0.65 where no frontal area is given."""
    cdef real root = sqrt(15.0 * at_least(area, 1e-6))
    return where(area > 1e-6, 1.0 - ratio(1.0 - exp(-root), root), 0.65)


cdef inline real lindroth_z0(real lai) noexcept nogil:
    """Factor of the leaf area on z0/h; Schaudt and Dickinson (2000) from Lindroth (1993)."""
    cdef real a = at_most(at_least(lai, 0.0), 40.0)
    cdef real sparse = 0.3299 * a * sqrt(a) + 2.1713
    cdef real dense = 1.6771 * exp(-0.1717 * a) + 1.0
    return where(lai > 0.0, where(lai < 0.8775, sparse, dense), 1.0)


cdef inline real lindroth_d(real lai) noexcept nogil:
    """Factor of the leaf area on d/h; Schaudt and Dickinson (2000) from Lindroth (1993)."""
    return where(lai > 0.0, 1.0 - 0.3991 * exp(-0.1779 * at_most(at_least(lai, 0.0), 40.0)), 1.0)


cdef inline real is_low(real landtype) noexcept nogil:
    """1 for savanna, grass, wetland and crops, whose roughness is a share of their height."""
    return is_between(landtype, 9.0, 12.0) + is_class(landtype, 14.0)


cdef inline real is_bare(real landtype) noexcept nogil:
    """1 for water, urban, snow and barren, which have a roughness of their own."""
    return is_class(landtype, 0.0) + is_class(landtype, 13.0) + is_between(landtype, 15.0, 17.0)


cdef inline real bare_z0(real landtype, real z0_water, real z0_urban, real z0_snow, real z0_barren) noexcept nogil:
    """Roughness length of surfaces without a canopy."""
    cdef real dry = where(is_class(landtype, 16.0) > 0.5, z0_barren, z0_water)
    return where(is_class(landtype, 13.0) > 0.5, z0_urban, where(is_class(landtype, 15.0) > 0.5, z0_snow, dry))


cdef inline real z0m_raupach(
        real landtype, real lai, real hc, real crown, real z0_water, real z0_urban, real z0_snow, real z0_barren,
        real z0_least) noexcept nogil:
    """Roughness length for momentum by class; not below `z0_least`, which stands for the ground between plants."""
    cdef real tall = raupach_z0(frontal_area(landtype, lai, crown)) * lindroth_z0(lai)
    cdef real share = where(is_low(landtype) > 0.5, 0.125, tall)
    cdef real own = bare_z0(landtype, z0_water, z0_urban, z0_snow, z0_barren)
    return where(is_bare(landtype) > 0.5, own, at_least(share * hc, z0_least))


cdef inline real d0_raupach(real landtype, real lai, real hc, real crown) noexcept nogil:
    """Displacement height by class; 0 for surfaces without a canopy."""
    cdef real tall = raupach_d(frontal_area(landtype, lai, crown)) * lindroth_d(lai)
    cdef real share = where(is_low(landtype) > 0.5, 0.65, tall)
    return where(is_bare(landtype) > 0.5, 0.0, share * at_least(hc, 0.0))


cdef inline real drag_ratio(real lai) noexcept nogil:
    """Friction velocity over the wind at canopy top; Massman (1997), drag coefficient of the leaves 0.2."""
    return 0.320 - 0.264 * exp(-3.02 * at_most(at_least(lai, 0.0), 20.0))


cdef inline real extinction(real lai) noexcept nogil:
    """Extinction of the wind in the canopy, n_ec = Cd LAI / (2 (u*/u(h))^2); Massman (1997)."""
    cdef real r = drag_ratio(lai)
    return ratio(0.1 * at_least(lai, 0.0), r * r)


cdef inline real massman_d(real lai) noexcept nogil:
    """Displacement height over canopy height; n_ec itself where that is small."""
    cdef real n = extinction(lai)
    cdef real m = at_most(at_least(n, 0.01), 40.0)
    return where(n < 0.01, n, 1.0 - ratio(1.0 - exp(-2.0 * m), 2.0 * m))


cdef inline real z0m_massman(real lai, real hc, real z0_least) noexcept nogil:
    """Roughness length for momentum of a canopy; Massman (1997) as in Su (2002)."""
    return at_least(at_least(hc, 0.0) * (1.0 - massman_d(lai)) * exp(-ratio(0.41, drag_ratio(lai))), z0_least)


cdef inline real d0_massman(real lai, real hc) noexcept nogil:
    """Displacement height of a canopy; Massman (1997) as in Su (2002)."""
    return at_least(hc, 0.0) * massman_d(lai)


cdef inline real kb_su(real lai, real fveg, real hc, real z0m, real ustar, real tas, real ps) noexcept nogil:
    """ln(z0m/z0h) of Su (2002): full canopy, bare soil (Brutsaert 1982) and their interaction; held in 0..20."""
    cdef real fc = at_most(at_least(fveg, 0.0), 1.0)
    cdef real fs = 1.0 - fc
    cdef real r = drag_ratio(lai)
    cdef real n = at_most(at_least(extinction(lai), 0.01), 40.0)
    cdef real nu = 1.327e-5 * ratio(101325.0, ps) * exp(1.81 * log(ratio(tas, 273.15)))
    cdef real reynolds = at_least(ratio(0.009 * ustar, nu), 1e-3)
    cdef real root = sqrt(reynolds)
    # Heat transfer of the soil, Pr^(-2/3) Re^(-1/2) with Pr = 0.71; of the leaves 0.01, their drag 0.2.
    cdef real inverse = 0.7958525 * root
    cdef real canopy = ratio(2.05 * fc * fc, r * (1.0 - exp(-0.5 * n)))
    cdef real mixed = 2.0 * fc * fs * 0.41 * r * ratio(z0m, at_least(hc, 0.01)) * inverse
    cdef real soil = (2.46 * sqrt(root) - 2.0) * fs * fs
    return at_most(at_least(canopy + mixed + soil, 0.0), 20.0)


cdef inline real z0h_su(
        real z0m, real d0, real lai, real fveg, real hc, real sfcWind, real tas, real ps, real z_blend,
        real z0_ref) noexcept nogil:
    """Roughness length for heat, z0m exp(-kB); the friction velocity is the neutral one at the blending height."""
    cdef real wind = at_least(sfcWind, 1.0) * ratio(log(ratio(z_blend, z0_ref)), log(ratio(10.0, z0_ref)))
    cdef real ustar = ratio(0.41 * wind, log(ratio(at_least(z_blend - d0, 10.0 * z0m), z0m)))
    return at_least(z0m * exp(-kb_su(lai, fveg, hc, z0m, ustar, tas, ps)), 1e-9)


cdef inline real z0h_fixed(real z0m, real kb) noexcept nogil:
    """Roughness length for heat with one ln(z0m/z0h) everywhere."""
    return at_least(z0m * exp(-at_most(kb, 20.0)), 1e-9)
