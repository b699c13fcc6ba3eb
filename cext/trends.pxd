"""Years of a pixel: trend and its test, the last year against the others, seasons of snow (series functions)."""

from cext.vecmath cimport real, at_least, fabs, ratio, sqrt, where
from cext.vegetation cimport missing

cdef enum:
    LANES = 16
    FEW = 3  # values that a mean and a spread need


cdef inline real sign(real x) noexcept nogil:
    """-1, 0 or 1; 0 where missing."""
    return where(x > 0.0, 1.0, 0.0) - where(x < 0.0, 1.0, 0.0)


cdef inline void trend(
        const real* values, const real* day, Py_ssize_t n, Py_ssize_t width, real year, real* slope, real* z,
        real* mean) noexcept nogil:
    """Least squares slope a year, Mann-Kendall statistic (Mann 1945, without ties), and mean; gaps are left out."""
    cdef real count[LANES]
    cdef real total[LANES]
    cdef real middle[LANES]
    cdef real square[LANES]
    cdef real product[LANES]
    cdef real rank[LANES]
    cdef real v, there, away, spread
    cdef Py_ssize_t at, t, s, i
    for at in range(0, width, 16):
        for i in range(LANES):
            count[i] = total[i] = middle[i] = square[i] = product[i] = rank[i] = 0.0
        for t in range(n):
            for i in range(LANES):
                v = values[t * width + at + i]
                there = where(v == v, 1.0, 0.0)
                count[i] += there
                total[i] += where(v == v, v, 0.0)
                middle[i] += there * day[t]
        for i in range(LANES):
            total[i] = ratio(total[i], at_least(count[i], 1.0))
            middle[i] = ratio(middle[i], at_least(count[i], 1.0))
        for t in range(n):
            for i in range(LANES):
                v = values[t * width + at + i]
                there = where(v == v, 1.0, 0.0)
                away = there * (day[t] - middle[i])
                square[i] += away * away
                product[i] += away * where(v == v, v - total[i], 0.0)
            for s in range(t):
                for i in range(LANES):
                    rank[i] += sign(values[t * width + at + i] - values[s * width + at + i])
        for i in range(LANES):
            spread = sqrt(ratio(count[i] * (count[i] - 1.0) * (2.0 * count[i] + 5.0), 18.0))
            there = where(count[i] < FEW, missing(), 1.0)
            slope[at + i] = there * year * ratio(product[i], at_least(square[i], 1e-6))
            z[at + i] = there * ratio(rank[i] - sign(rank[i]), at_least(spread, 1e-6))
            mean[at + i] = there * total[i]


cdef inline void last_of(
        const real* values, const real* day, Py_ssize_t n, Py_ssize_t width, real* anomaly, real* share) noexcept nogil:
    """The last value against those before: standard deviations from their mean, and the share of them below it.

    Of equal values half count as below.
    """
    cdef real count[LANES]
    cdef real total[LANES]
    cdef real square[LANES]
    cdef real below[LANES]
    cdef real v, last
    cdef Py_ssize_t at, t, i
    for at in range(0, width, 16):
        for i in range(LANES):
            count[i] = total[i] = square[i] = below[i] = 0.0
        for t in range(n - 1):
            for i in range(LANES):
                v = values[t * width + at + i]
                last = values[(n - 1) * width + at + i]
                count[i] += where(v == v, 1.0, 0.0)
                total[i] += where(v == v, v, 0.0)
                below[i] += where(v == v, 0.5 + 0.5 * sign(last - v), 0.0)
        for i in range(LANES):
            total[i] = ratio(total[i], at_least(count[i], 1.0))
        for t in range(n - 1):
            for i in range(LANES):
                v = values[t * width + at + i]
                square[i] += where(v == v, (v - total[i]) * (v - total[i]), 0.0)
        for i in range(LANES):
            last = values[(n - 1) * width + at + i]
            v = sqrt(ratio(square[i], at_least(count[i] - 1.0, 1.0)))
            anomaly[at + i] = where(count[i] < FEW, missing(), where(v > 1e-9, ratio(last - total[i], v), missing()))
            v = where(last == last, ratio(below[i], at_least(count[i], 1.0)), missing())
            share[at + i] = where(count[i] < FEW, missing(), v)


cdef inline void snow_season(
        const real* snc, const real* day, Py_ssize_t n, Py_ssize_t width, real covered, real* days, real* season,
        real* start) noexcept nogil:
    """Days with snow, days of the longest time without a break, and its first day; a gap lasts as what was before it.

    A value stands for the days until the next.
    """
    cdef real state[LANES]
    cdef real run[LANES]
    cdef real first[LANES]
    cdef real longest[LANES]
    cdef real total[LANES]
    cdef real when[LANES]
    cdef real seen[LANES]
    cdef real v, step, snow
    cdef Py_ssize_t at, t, i
    for at in range(0, width, 16):
        for i in range(LANES):
            state[i] = run[i] = longest[i] = total[i] = seen[i] = 0.0
            first[i] = day[0]
            when[i] = missing()
        for t in range(n):
            step = day[t + 1] - day[t] if t < n - 1 else day[t] - day[t - 1] if n > 1 else 1.0
            for i in range(LANES):
                v = snc[t * width + at + i]
                seen[i] += where(v == v, 1.0, 0.0)
                snow = where(v == v, where(v >= covered, 1.0, 0.0), state[i])
                state[i] = snow
                first[i] = where(snow > 0.5, where(run[i] > 0.0, first[i], day[t]), day[t])
                run[i] = where(snow > 0.5, run[i] + step, 0.0)
                total[i] += step * snow
                when[i] = where(run[i] > longest[i], first[i], when[i])
                longest[i] = at_least(longest[i], run[i])
        for i in range(LANES):
            v = where(2.0 * seen[i] < n, missing(), 1.0)
            days[at + i] = v * total[i]
            season[at + i] = v * longest[i]
            start[at + i] = v * when[i]


cdef inline void fveg_years(
        const real* fveg, const real* day, Py_ssize_t n, Py_ssize_t width, real year, real* slope, real* z,
        real* mean) noexcept nogil:
    """Trend of the cover over the years."""
    trend(fveg, day, n, width, year, slope, z, mean)


cdef inline void npp_years(
        const real* npp, const real* day, Py_ssize_t n, Py_ssize_t width, real* anomaly, real* share) noexcept nogil:
    """Net production of the last year against the years before."""
    last_of(npp, day, n, width, anomaly, share)


cdef inline void smi_years(
        const real* smi, const real* day, Py_ssize_t n, Py_ssize_t width, real* anomaly, real* share) noexcept nogil:
    """Soil moisture of the last year against the years before, at one time of the year."""
    last_of(smi, day, n, width, anomaly, share)
