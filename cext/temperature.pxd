"""Radiometric temperatures: point functions in K; emissivities and fractions in 1, precipitable water in kg m-2.

`bt11` and `bt12` are brightness temperatures outside the atmosphere in the
split window at 11 and 12 um, `emis11` and `emis12` the emissivities there.
"""

from cext.vecmath cimport real, at_least, exp, log, ratio, sqrt, where
from cext.vegetation cimport missing


cdef inline real tb_counts(real counts, real mult, real add, real k1, real k2) noexcept nogil:
    """Brightness temperature, K, of a sensor's counts: radiance mult counts + add, inverted with its K1 and K2."""
    cdef real radiance = mult * counts + add
    cdef real found = ratio(k2, log(1.0 + ratio(k1, at_least(radiance, 1e-6))))
    return where(radiance > 1e-6, found, missing())


cdef inline real tb_planck(real radiance, real wavelength) noexcept nogil:
    """Brightness temperature, K, of a radiance in W m-2 sr-1 um-1 at a wavelength in um, by Planck's law."""
    cdef real square = wavelength * wavelength
    cdef real black = ratio(1.191042972e8, square * square * wavelength)
    cdef real found = ratio(14387.7688, wavelength * log(1.0 + ratio(black, at_least(radiance, 1e-6))))
    return where(radiance > 1e-6, found, missing())


cdef inline real in_bounds(real found) noexcept nogil:
    """Keep what is a temperature of this planet's surface, 150..400 K."""
    return where((found < 150.0) | (found > 400.0), missing(), found)


cdef inline real clear_window(real bt11, real bt12, real found) noexcept nogil:
    """Keep a split-window result where the bands differ by -4..8 K and it lies in 150..400 K; elsewhere cloud."""
    cdef real apart = bt11 - bt12
    return where((apart < -4.0) | (apart > 8.0), missing(), in_bounds(found))


cdef inline real in_range(real x, real low, real high) noexcept nogil:
    """1 where x lies in low..high, both ends counted, else 0."""
    return where((x < low) | (x > high), 0.0, 1.0)


cdef inline real window_form(
        real bt11, real bt12, real emis11, real emis12, real b0, real b1, real b2, real b3, real b4, real b5,
        real b6, real b7) noexcept nogil:
    """Generalised split window; Wan (2014), Du et al. (2015) eq. 1."""
    cdef real mean = 0.5 * (emis11 + emis12)
    cdef real grey = ratio(1.0 - mean, mean)
    cdef real tilt = ratio(emis11 - emis12, mean * mean)
    cdef real apart = bt11 - bt12
    cdef real level = b1 + b2 * grey + b3 * tilt
    cdef real slope = b4 + b5 * grey + b6 * tilt
    return b0 + level * 0.5 * (bt11 + bt12) + slope * 0.5 * apart + b7 * apart * apart


cdef inline real mix(
        real dry, real low, real middle, real moist, real wet, real other, real c1, real c2, real c3, real c4,
        real c5, real any) noexcept nogil:
    """Mean of the coefficients whose ranges hold the water column."""
    return dry * c1 + low * c2 + middle * c3 + moist * c4 + wet * c5 + other * any


cdef inline real ts_window(real bt11, real bt12, real emis11, real emis12, real prw) noexcept nogil:
    """Landsat TIRS by ranges of the water column that overlap (there the mean of both); Du et al. (2015) Table 1.

    The formula is linear in its coefficients, so these are averaged instead of
    two results. Above 63 kg m-2 the coefficients for any column.
    """
    cdef real w = 0.1 * at_least(prw, 0.0)
    cdef real dry = in_range(w, 0.0, 2.5)
    cdef real low = in_range(w, 2.0, 3.5)
    cdef real middle = in_range(w, 3.0, 4.5)
    cdef real moist = in_range(w, 4.0, 5.5)
    cdef real wet = in_range(w, 5.0, 6.3)
    cdef real other = where(w > 6.3, 1.0, 0.0)
    cdef real part = ratio(1.0, dry + low + middle + moist + wet + other)
    dry = dry * part
    low = low * part
    middle = middle * part
    moist = moist * part
    wet = wet * part
    cdef real b0 = mix(dry, low, middle, moist, wet, other, -2.78009, 11.00824, 9.62610, 0.61258, -0.34808, -0.41165)
    cdef real b1 = mix(dry, low, middle, moist, wet, other, 1.01408, 0.95995, 0.96202, 0.99124, 0.98123, 1.00522)
    cdef real b2 = mix(dry, low, middle, moist, wet, other, 0.15833, 0.17243, 0.13834, 0.10051, 0.05599, 0.14543)
    cdef real b3 = mix(dry, low, middle, moist, wet, other, -0.34991, -0.28852, -0.17262, -0.09664, -0.03518, -0.27297)
    cdef real b4 = mix(dry, low, middle, moist, wet, other, 4.04487, 7.11492, 7.87883, 7.85758, 11.96444, 4.06655)
    cdef real b5 = mix(dry, low, middle, moist, wet, other, 3.55414, 0.42684, 5.17910, 6.86626, 9.06710, -6.92512)
    cdef real b6 = mix(
        dry, low, middle, moist, wet, other, -8.88394, -6.62025, -13.26611, -15.00742, -14.74085, -18.27461)
    cdef real b7 = mix(dry, low, middle, moist, wet, other, 0.09152, -0.06381, -0.07603, -0.01185, -0.20471, 0.24468)
    return clear_window(bt11, bt12, window_form(bt11, bt12, emis11, emis12, b0, b1, b2, b3, b4, b5, b6, b7))


cdef inline real ts_window_any(real bt11, real bt12, real emis11, real emis12) noexcept nogil:
    """Landsat TIRS where the water column is not known; Du et al. (2015), coefficients for 0 to 6.3 g cm-2."""
    return clear_window(bt11, bt12, window_form(
        bt11, bt12, emis11, emis12, -0.41165, 1.00522, 0.14543, -0.27297, 4.06655, -6.92512, -18.27461, 0.24468))


cdef inline real ts_jimenez(real bt11, real bt12, real emis11, real emis12, real prw) noexcept nogil:
    """Landsat TIRS; Jimenez-Munoz et al. (2014) eq. 6, Table III."""
    cdef real w = 0.1 * at_least(prw, 0.0)
    cdef real apart = bt11 - bt12
    cdef real grey = 1.0 - 0.5 * (emis11 + emis12)
    cdef real found = bt11 + apart * (1.378 + 0.183 * apart) - 0.268
    return clear_window(
        bt11, bt12, found + (54.3 - 2.238 * w) * grey + (-129.2 + 16.4 * w) * (emis11 - emis12))


cdef inline real ts_sobrino(real bt11, real bt12, real emis11, real emis12, real prw) noexcept nogil:
    """MODIS bands 31 and 32; Sobrino, El Kharraz and Li (2003)."""
    cdef real w = 0.1 * at_least(prw, 0.0)
    cdef real apart = bt11 - bt12
    cdef real grey = 1.0 - 0.5 * (emis11 + emis12)
    cdef real found = bt11 + 1.02 + apart * (1.79 + 1.20 * apart)
    return clear_window(
        bt11, bt12, found + (34.83 - 0.68 * w) * grey + (-73.27 - 5.19 * w) * (emis11 - emis12))


cdef inline real ts_channel(real bt11, real emis11, real prw, real k1, real k2, real b_gamma) noexcept nogil:
    """One thermal band and the water column; Jimenez-Munoz et al. (2009, 2014), functions psi for Landsat 8 band 10."""
    cdef real w = 0.1 * at_least(prw, 0.0)
    cdef real t = at_least(bt11, 150.0)
    cdef real psi1 = 1.01523 + w * (0.02916 + 0.04019 * w)
    cdef real psi2 = 0.20324 - w * (1.50294 + 0.38333 * w)
    cdef real psi3 = -0.27514 + w * (1.36072 + 0.00918 * w)
    cdef real inverse = ratio(exp(ratio(k2, t)) - 1.0, k1)
    cdef real gamma = ratio(t * t, b_gamma)
    return in_bounds(t + gamma * (ratio(psi1 + psi2 * inverse, emis11) + psi3 * inverse - 1.0))


cdef inline real ts_emissivity(real bt11, real emis11, real wavelength) noexcept nogil:
    """One thermal band corrected for its emissivity alone, no atmosphere between; Artis and Carnahan (1982)."""
    return ratio(bt11, 1.0 + ratio(wavelength * bt11, 14387.7688) * log(at_least(emis11, 0.5)))


cdef inline real ts_by_day(real ts_day) noexcept nogil:
    """The temperature that a granule gives for its pass by day, within bounds."""
    return in_bounds(ts_day)


cdef inline real ts_by_night(real ts_night) noexcept nogil:
    """The temperature that a granule gives for its pass by night, within bounds."""
    return in_bounds(ts_night)


cdef inline real tcan_components(real ts, real fveg, real tsoil) noexcept nogil:
    """Temperature of the canopy where soil and canopy emit side by side; missing below 5 % cover or a fourth power < 0.

    Ts^4 = f Tc^4 + (1 - f) Tsoil^4 (Norman et al. 1995 eq. 1 with n = 4).
    """
    cdef real f = at_least(fveg, 0.05)
    cdef real s2 = tsoil * tsoil
    cdef real t2 = ts * ts
    cdef real fourth = ratio(t2 * t2 - (1.0 - f) * s2 * s2, f)
    return where((fveg < 0.05) | (fourth <= 0.0), missing(), sqrt(sqrt(at_least(fourth, 0.0))))
