"""Snow on the ground by air temperature, one day or step at a time; masses kg m-2, temperatures K."""

from cext.vecmath cimport real, at_least, at_most, exp, ratio, sin, where


cdef inline real depletion(
        real share, real a0, real a1, real a2, real a3, real a4, real a5, real a6, real a7, real a8, real a9,
        real a10) noexcept nogil:
    """Cover of the ground at a share 0..1 of the mass that covers all of it: a curve of eleven points.

    Written as a line and its bends, the weights of which are the same for all pixels: one bound for each point.
    """
    cdef real x = 10.0 * share
    cdef real found = a0 + (a1 - a0) * x
    found += (a2 - 2.0 * a1 + a0) * at_least(x - 1.0, 0.0)
    found += (a3 - 2.0 * a2 + a1) * at_least(x - 2.0, 0.0)
    found += (a4 - 2.0 * a3 + a2) * at_least(x - 3.0, 0.0)
    found += (a5 - 2.0 * a4 + a3) * at_least(x - 4.0, 0.0)
    found += (a6 - 2.0 * a5 + a4) * at_least(x - 5.0, 0.0)
    found += (a7 - 2.0 * a6 + a5) * at_least(x - 6.0, 0.0)
    found += (a8 - 2.0 * a7 + a6) * at_least(x - 7.0, 0.0)
    found += (a9 - 2.0 * a8 + a7) * at_least(x - 8.0, 0.0)
    found += (a10 - 2.0 * a9 + a8) * at_least(x - 9.0, 0.0)
    return found


cdef inline void snow17(
        real tas, real pr, real doy, real lat, real ice, real water, real deficit, real ati, real step, real scf,
        real pxtemp, real mfmax, real mfmin, real nmf, real mbase, real tipm, real uadj, real plwhc, real daygm,
        real si, real a0, real a1, real a2, real a3, real a4, real a5, real a6, real a7, real a8, real a9, real a10,
        real* snw, real* mrro, real* next_ice, real* next_water, real* next_deficit, real* next_ati) noexcept nogil:
    """One step of Snow-17; Anderson (1973, 2006): accumulation, cold content, melt by temperature, retention.

    `pr` kg m-2 s-1, `step` s; melt factors kg m-2 K-1 in 6 h; temperatures of
    the card's parameters in degrees C. What falls is ice, water or runoff:
    mass is kept to rounding.
    """
    cdef real t = tas - 273.15
    cdef real days = step * 1.1574074e-5
    cdef real quarters = 4.0 * days
    cdef real fall = pr * step
    cdef real liquid = at_most(at_least(0.5 * (t - pxtemp) + 0.5, 0.0), 1.0)
    cdef real rain = fall * liquid
    cdef real snow = fall * (1.0 - liquid) * scf
    cdef real season = sin((doy - 81.0 + where(lat < 0.0, 183.0, 0.0)) * 0.017214206)
    cdef real factor = (0.5 * (mfmax + mfmin) + 0.5 * (mfmax - mfmin) * season) * quarters
    cdef real i = ice + snow
    cdef real index = ati + tipm * (t - ati)
    index = where(i > 0.0, where(t < 0.0, at_most(index, 0.0), index), t)
    cdef real pack = i + water
    cdef real cover = where(si > 0.0, depletion(at_most(at_least(ratio(pack, at_least(si, 1e-6)), 0.0), 1.0),
                                                a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10),
                            where(pack > 0.0, 1.0, 0.0))
    cdef real above = at_least(t - mbase, 0.0)
    cdef real below = at_least(mbase - t, 0.0)
    cdef real dry = factor * above * cover
    cdef real on_rain = uadj * quarters * above + 0.0125 * rain * at_least(t, 0.0)
    cdef real melt = where(rain > 0.3 * days, at_least(dry, on_rain), dry)
    melt = where(t > mbase, melt, 0.0) + daygm * days * cover
    melt = at_most(where(i > 0.0, melt, 0.0), i)
    cdef real cold = where(t < 0.0, deficit + nmf * quarters * below * cover, at_least(deficit - 0.33 * melt, 0.0))
    cold = where(i > 0.0, cold, deficit)
    cdef real warmed = where((cold > 0.0) & (melt > 0.0) & (i > 0.0), at_most(melt, cold), 0.0)
    melt -= warmed
    cold -= warmed
    i -= melt
    cdef real w = water + melt + rain
    cdef real room = plwhc * i
    cdef real out = at_least(w - room, 0.0)
    w = at_most(w, room)
    cdef real frozen = where((t < mbase) & (w > 0.0), at_most(w, nmf * quarters * below), 0.0)
    i += frozen
    w -= frozen
    cdef real left = where((i > 0.0) | (w > 0.0), 1.0, 0.0)
    next_ice[0] = at_least(i, 0.0)
    next_water[0] = at_least(w, 0.0)
    next_deficit[0] = left * at_least(cold, 0.0)
    next_ati[0] = index
    snw[0] = next_ice[0] + next_water[0]
    mrro[0] = ratio(out, step)


cdef inline real erfc(real x) noexcept nogil:
    """Complementary error function; Abramowitz and Stegun (1964) 7.1.26, 2e-7."""
    cdef real z = where(x < 0.0, -x, x)
    cdef real t = ratio(1.0, 1.0 + 0.3275911 * z)
    cdef real tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + 1.061405429 * t))))
    return where(x < 0.0, 2.0 - tail * exp(-z * z), tail * exp(-z * z))


cdef inline real melting_degrees(real t, real spread) noexcept nogil:
    """Mean of what is above 0 of a temperature, degrees C, that varies by `spread`; Calov and Greve (2005) eq. 6."""
    cdef real wide = at_least(spread, 1e-3)
    cdef real x = ratio(t, 1.4142136 * wide)
    cdef real mean = 0.39894228 * wide * exp(-x * x) + 0.5 * t * erfc(-x)
    return where(spread < 1e-3, at_least(t, 0.0), at_least(mean, 0.0))


cdef inline void degree_day(
        real tas, real pr, real snow, real step, real spread, real snow_factor, real ice_factor, real snow_refrozen,
        real ice_refrozen, real all_snow, real all_rain, real* pdd, real* snm, real* icemelt, real* mrro,
        real* smb, real* next_snow) noexcept nogil:
    """One step of the positive degree-day scheme: snow melts first, then ice of the glacier below.

    `pr` kg m-2 s-1, factors kg m-2 K-1 day-1, temperatures of the parameters
    degrees C; fluxes out in kg m-2 s-1, `smb` the mass balance of the surface.
    """
    cdef real t = tas - 273.15
    cdef real degrees = melting_degrees(t, spread) * (step * 1.1574074e-5)
    cdef real fallen = at_most(at_least(ratio(all_rain - t, all_rain - all_snow), 0.0), 1.0) * pr * step
    cdef real there = snow + fallen
    cdef real could = snow_factor * degrees
    cdef real of_snow = at_most(could, there)
    cdef real of_ice = ratio((could - of_snow) * ice_factor, snow_factor)
    cdef real off = of_snow * (1.0 - snow_refrozen) + of_ice * (1.0 - ice_refrozen)
    pdd[0] = degrees
    snm[0] = ratio(of_snow, step)
    icemelt[0] = ratio(of_ice, step)
    mrro[0] = ratio(off, step)
    smb[0] = ratio(fallen - off, step)
    next_snow[0] = there - of_snow
