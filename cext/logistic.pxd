"""Two logistic curves fitted to a year of pixels: one for the rise, one for the fall (Levenberg-Marquardt).

Sixteen pixels at a time, a fixed number of rounds. Time counts from the peak
in units of 50 days, so that all six numbers are near 1; sums over the series
are single, the six equations double.
"""

from cext.phenology cimport (
    LANES, LEAST, STEPS, crossings, extremes, fill_gaps, no_season, savgol, weigh)
from cext.vecmath cimport real, at_least, at_most, exp, log, ratio, where
from cext.vegetation cimport missing

cdef enum:
    NUMBERS = 6  # base, top, rise, rate of rise, fall, rate of fall
    SUMS = 28  # 21 of the normal matrix, 6 of the gradient, 1 of squares


cdef inline real climb(real x) noexcept nogil:
    """The logistic function."""
    return ratio(1.0, 1.0 + exp(at_most(-x, 60.0)))


cdef inline real curve(const double* p, Py_ssize_t i, real x) noexcept nogil:
    """Value of the fitted curve of pixel `i` at time `x`."""
    cdef real rise = climb(<real> p[3 * LANES + i] * (x - <real> p[2 * LANES + i]))
    cdef real fall = climb(<real> p[5 * LANES + i] * (x - <real> p[4 * LANES + i]))
    return <real> p[i] + (<real> p[LANES + i] - <real> p[i]) * (rise - fall)


cdef inline void sum_up(
        const real* y, const real* weight, const real* time, Py_ssize_t n, const double* p, real* sums) noexcept nogil:
    """Normal matrix (upper half by rows), gradient and squares of the residuals at `p`."""
    cdef real rise, fall, span, g, h, w, residual
    cdef real x
    cdef real d[NUMBERS * LANES]
    cdef Py_ssize_t t, i, j, k, m
    for m in range(SUMS * LANES):
        sums[m] = 0.0
    for t in range(n):
        for i in range(LANES):
            x = time[t * LANES + i]
            rise = climb(<real> p[3 * LANES + i] * (x - <real> p[2 * LANES + i]))
            fall = climb(<real> p[5 * LANES + i] * (x - <real> p[4 * LANES + i]))
            span = <real> p[LANES + i] - <real> p[i]
            g = span * rise * (1.0 - rise)
            h = span * fall * (1.0 - fall)
            w = weight[t * LANES + i]
            residual = y[t * LANES + i] - <real> p[i] - span * (rise - fall)
            d[i] = 1.0 - (rise - fall)
            d[LANES + i] = rise - fall
            d[2 * LANES + i] = -g * <real> p[3 * LANES + i]
            d[3 * LANES + i] = g * (x - <real> p[2 * LANES + i])
            d[4 * LANES + i] = h * <real> p[5 * LANES + i]
            d[5 * LANES + i] = -h * (x - <real> p[4 * LANES + i])
            sums[27 * LANES + i] += w * residual * residual
            for j in range(NUMBERS):
                sums[(21 + j) * LANES + i] += w * residual * d[j * LANES + i]
        m = 0
        for j in range(NUMBERS):
            for k in range(j, NUMBERS):
                for i in range(LANES):
                    sums[m * LANES + i] += weight[t * LANES + i] * d[j * LANES + i] * d[k * LANES + i]
                m += 1


cdef inline void solve(const real* sums, const double* damping, double* step) noexcept nogil:
    """Solve the damped normal equations of sixteen pixels by Cholesky's factors."""
    cdef double a[NUMBERS * NUMBERS * LANES]
    cdef Py_ssize_t i, j, k, q, m
    m = 0
    for j in range(NUMBERS):
        for k in range(j, NUMBERS):
            for i in range(LANES):
                a[(k * NUMBERS + j) * LANES + i] = sums[m * LANES + i]
            m += 1
        for i in range(LANES):
            a[(j * NUMBERS + j) * LANES + i] *= 1.0 + damping[i]
            a[(j * NUMBERS + j) * LANES + i] += 1e-9
            step[j * LANES + i] = sums[(21 + j) * LANES + i]
    for j in range(NUMBERS):
        for k in range(j):
            for q in range(j, NUMBERS):
                for i in range(LANES):
                    a[(q * NUMBERS + j) * LANES + i] -= (
                        a[(q * NUMBERS + k) * LANES + i] * a[(j * NUMBERS + k) * LANES + i]
                        * a[(k * NUMBERS + k) * LANES + i])
        for q in range(j + 1, NUMBERS):
            for i in range(LANES):
                a[(q * NUMBERS + j) * LANES + i] /= a[(j * NUMBERS + j) * LANES + i]
    for j in range(NUMBERS):
        for k in range(j):
            for i in range(LANES):
                step[j * LANES + i] -= a[(j * NUMBERS + k) * LANES + i] * step[k * LANES + i]
    for j in range(NUMBERS - 1, -1, -1):
        for i in range(LANES):
            step[j * LANES + i] /= a[(j * NUMBERS + j) * LANES + i]
        for k in range(j + 1, NUMBERS):
            for i in range(LANES):
                step[j * LANES + i] -= a[(k * NUMBERS + j) * LANES + i] * step[k * LANES + i]


cdef inline double held(double x, double low, double high) noexcept nogil:
    """`x` between two numbers."""
    return low if x < low else high if x > high else x


cdef inline void fit(
        const real* y, const real* weight, const real* time, Py_ssize_t n, Py_ssize_t rounds, double* p) noexcept nogil:
    """Levenberg-Marquardt from `p`; each round tries one step, and keeps it where the squares have become less."""
    cdef real best[SUMS * LANES]
    cdef real sums[SUMS * LANES]
    cdef double step[NUMBERS * LANES]
    cdef double trial[NUMBERS * LANES]
    cdef double damping[LANES]
    cdef real better
    cdef Py_ssize_t i, j, _k
    sum_up(y, weight, time, n, p, best)
    for i in range(LANES):
        damping[i] = 0.01
    for _k in range(rounds):
        solve(best, damping, step)
        for i in range(LANES):
            for j in range(NUMBERS):
                trial[j * LANES + i] = p[j * LANES + i] + step[j * LANES + i]
            trial[2 * LANES + i] = held(trial[2 * LANES + i], -6.0, 1.0)
            trial[3 * LANES + i] = held(trial[3 * LANES + i], 0.25, 50.0)
            trial[4 * LANES + i] = held(trial[4 * LANES + i], -1.0, 6.0)
            trial[5 * LANES + i] = held(trial[5 * LANES + i], 0.25, 50.0)
        sum_up(y, weight, time, n, trial, sums)
        for i in range(LANES):
            better = where(sums[27 * LANES + i] < best[27 * LANES + i], 1.0, 0.0)
            damping[i] *= 0.2 if better > 0.5 else 4.0
            damping[i] = held(damping[i], 1e-9, 1e6)
            for j in range(NUMBERS):
                p[j * LANES + i] = trial[j * LANES + i] if better > 0.5 else p[j * LANES + i]
            for j in range(SUMS):
                best[j * LANES + i] = where(better > 0.5, sums[j * LANES + i], best[j * LANES + i])


cdef inline void begin(
        const real* low, const real* high, const real* peak, const real* half_up, const real* half_down,
        const real* fifth_up, const real* fifth_down, double* p) noexcept nogil:
    """First guess: extremes, days of half the amplitude, and rates by the days between a fifth and a half."""
    cdef real up, down
    cdef Py_ssize_t i
    for i in range(LANES):
        up = where(half_up[i] == half_up[i], 0.02 * (half_up[i] - peak[i]), -1.0)
        down = where(half_down[i] == half_down[i], 0.02 * (half_down[i] - peak[i]), 1.0)
        p[i] = low[i]
        p[LANES + i] = high[i]
        p[2 * LANES + i] = up
        p[4 * LANES + i] = down
        up = 0.02 * (half_up[i] - fifth_up[i])
        down = 0.02 * (fifth_down[i] - half_down[i])
        p[3 * LANES + i] = held(ratio(1.3862944, at_least(where(up == up, up, 0.5), 0.05)), 0.5, 20.0)
        p[5 * LANES + i] = held(ratio(1.3862944, at_least(where(down == down, down, 0.5), 0.05)), 0.5, 20.0)


cdef inline real crossing(
        const double* p, Py_ssize_t i, real level, real middle, real rate, real share, real side) noexcept nogil:
    """Time at which the curve passes `level`; six steps of Newton from where one branch alone would."""
    cdef real x = middle + side * ratio(log(ratio(share, 1.0 - share)), rate)
    cdef real slope
    cdef int _k
    for _k in range(6):
        slope = (curve(p, i, x + 0.005) - curve(p, i, x - 0.005)) * 100.0
        slope = where(side * slope > 1e-3, slope, side * 1e-3)
        x = x - at_most(at_least(ratio(curve(p, i, x) - level, slope), -0.3), 0.3)
    return x


cdef inline void fitted_season(
        const real* y, const real* smooth, const real* weight, const real* count, const real* day, Py_ssize_t n,
        Py_ssize_t rounds, real threshold, real least, real period, real* sos, real* eos, real* pos, real* gsl,
        real* amplitude, real* base, real* top, real* rise, real* rate_rise, real* fall,
        real* rate_fall) noexcept nogil:
    """Fit sixteen pixels and read their season off the curve."""
    cdef real left[LANES]
    cdef real right[LANES]
    cdef real high[LANES]
    cdef real place[LANES]
    cdef real peak[LANES]
    cdef real half_up[LANES]
    cdef real half_down[LANES]
    cdef real fifth_up[LANES]
    cdef real fifth_down[LANES]
    cdef real time[STEPS * LANES]
    cdef real fitted[STEPS * LANES]
    cdef double p[NUMBERS * LANES]
    cdef real away, level, has
    cdef Py_ssize_t t, i
    extremes(smooth, day, n, period, left, right, high, place, peak)
    crossings(smooth, day, n, period, 0.5, left, right, high, place, half_up, half_down)
    crossings(smooth, day, n, period, 0.2, left, right, high, place, fifth_up, fifth_down)
    begin(left, high, peak, half_up, half_down, fifth_up, fifth_down, p)
    for t in range(n):
        for i in range(LANES):
            away = day[t] - peak[i]
            away -= where(away > 0.5 * period, period, 0.0)
            away += where(away < -0.5 * period, period, 0.0)
            time[t * LANES + i] = 0.02 * away
    fit(y, weight, time, n, rounds, p)
    for t in range(n):
        for i in range(LANES):
            fitted[t * LANES + i] = curve(p, i, time[t * LANES + i])
    for i in range(LANES):
        half_up[i] = peak[i]  # the day from which the curve's time counts
    extremes(fitted, day, n, period, left, right, high, place, peak)
    for i in range(LANES):
        level = left[i] + threshold * (high[i] - left[i])
        sos[i] = crossing(p, i, level, <real> p[2 * LANES + i], <real> p[3 * LANES + i], threshold, 1.0)
        level = right[i] + threshold * (high[i] - right[i])
        eos[i] = crossing(p, i, level, <real> p[4 * LANES + i], <real> p[5 * LANES + i], threshold, -1.0)
    for i in range(LANES):
        amplitude[i] = where(count[i] < LEAST + 2, missing(), high[i] - 0.5 * (left[i] + right[i]))
        has = where(amplitude[i] >= least, 1.0, 0.0)
        sos[i] = where(has > 0.5, half_up[i] + 50.0 * sos[i], missing())
        eos[i] = where(has > 0.5, half_up[i] + 50.0 * eos[i], missing())
        pos[i] = where(has > 0.5, peak[i], missing())
        gsl[i] = eos[i] - sos[i]
        base[i] = where(has > 0.5, <real> p[i], missing())
        top[i] = where(has > 0.5, <real> p[LANES + i], missing())
        rise[i] = where(has > 0.5, half_up[i] + 50.0 * <real> p[2 * LANES + i], missing())
        rate_rise[i] = where(has > 0.5, 0.02 * <real> p[3 * LANES + i], missing())
        fall[i] = where(has > 0.5, half_up[i] + 50.0 * <real> p[4 * LANES + i], missing())
        rate_fall[i] = where(has > 0.5, 0.02 * <real> p[5 * LANES + i], missing())


cdef inline void season_logistic(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real rounds, real threshold, real least,
        real period, real* sos, real* eos, real* pos, real* gsl, real* amplitude, real* base, real* top, real* rise,
        real* rate_rise, real* fall, real* rate_fall) noexcept nogil:
    """Season of two logistic curves through the values; Zhang et al. (2003), Beck et al. (2006).

    Rates are in 1/day, rise and fall days. Missing values have no weight.
    """
    cdef real y[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real seen[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at
    for at in range(0, width, 16):
        if n > STEPS or n < 7:
            no_season(sos + at, eos + at, pos + at, gsl + at, amplitude + at)
            no_season(base + at, top + at, rise + at, rate_rise + at, fall + at)
            no_season(rate_fall + at, rate_fall + at, rate_fall + at, rate_fall + at, rate_fall + at)
            continue
        fill_gaps(ndvi + at, day, n, width, y, seen, count)
        savgol(y, n, 3, z)
        fitted_season(y, z, seen, count, day, n, <Py_ssize_t> rounds, threshold, least, period, sos + at, eos + at,
                      pos + at, gsl + at, amplitude + at, base + at, top + at, rise + at, rate_rise + at, fall + at,
                      rate_fall + at)


cdef inline void season_logistic_weighted(
        const real* ndvi, const real* weight, const real* day, Py_ssize_t n, Py_ssize_t width, real rounds,
        real threshold, real least, real period, real* sos, real* eos, real* pos, real* gsl, real* amplitude, real*
        base, real* top, real* rise, real* rate_rise, real* fall, real* rate_fall) noexcept nogil:
    """As `season_logistic`, each value with its own weight, 0 to 1."""
    cdef real y[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real seen[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at
    for at in range(0, width, 16):
        if n > STEPS or n < 7:
            no_season(sos + at, eos + at, pos + at, gsl + at, amplitude + at)
            no_season(base + at, top + at, rise + at, rate_rise + at, fall + at)
            no_season(rate_fall + at, rate_fall + at, rate_fall + at, rate_fall + at, rate_fall + at)
            continue
        fill_gaps(ndvi + at, day, n, width, y, seen, count)
        savgol(y, n, 3, z)
        weigh(weight + at, n, width, seen)
        fitted_season(y, z, seen, count, day, n, <Py_ssize_t> rounds, threshold, least, period, sos + at, eos + at,
                      pos + at, gsl + at, amplitude + at, base + at, top + at, rise + at, rate_rise + at, fall + at,
                      rate_fall + at)
