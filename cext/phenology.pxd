"""Seasons of plants in a year-long series of pixels: smoothing, thresholds, a curve fitted.

Series are time-major tiles (n, width). The work is done on sixteen pixels at
a time, with all that lies between on the stack. A missing value is NaN; gaps
are filled on the line between their ends, at the ends with the nearest value.
"""

from cext.vecmath cimport real, at_least, at_most, exp, fabs, ratio, where
from cext.vegetation cimport missing

cdef enum:
    LANES = 16  # pixels side by side: one vector of the widest kind (a step of range has to be written as a number)
    STEPS = 432  # the longest series: a year of days, and what goes round at its ends
    ROUND = 16  # values of the year's other end that smoothing sees
    LEAST = 5  # values that a series must have


cdef inline bint copy_whole(
        const real* values, Py_ssize_t n, Py_ssize_t width, real* y, real* seen, real* count) noexcept nogil:
    """Copy sixteen pixels; True where none of them has a gap, which is the common case."""
    cdef real total[LANES]
    cdef real gaps = 0.0
    cdef Py_ssize_t t, i
    for i in range(LANES):
        total[i] = 0.0
        count[i] = n
    for t in range(n):
        for i in range(LANES):
            y[t * LANES + i] = values[t * width + i]
            seen[t * LANES + i] = 1.0
            total[i] += values[t * width + i]
    for i in range(LANES):
        gaps += where(total[i] == total[i], 0.0, 1.0)
    return gaps < 0.5


cdef inline void fill_gaps(
        const real* values, const real* day, Py_ssize_t n, Py_ssize_t width, real* y, real* seen,
        real* count) noexcept nogil:
    """Copy sixteen pixels without their gaps; `seen` is 1 where there was a value, `count` how many there were."""
    cdef real near[LANES]
    cdef real when[LANES]
    cdef real found[LANES]
    cdef real v, there, share, ahead, line
    cdef Py_ssize_t t, i
    if copy_whole(values, n, width, y, seen, count):
        return
    for i in range(LANES):
        near[i] = missing()
        when[i] = 0.0
        found[i] = 0.0
    for t in range(n - 1, -1, -1):
        for i in range(LANES):
            v = values[t * width + i]
            near[i] = where(v == v, v, near[i])
            when[i] = where(v == v, day[t], when[i])
            y[t * LANES + i] = near[i]
            seen[t * LANES + i] = when[i]
    for i in range(LANES):
        near[i] = missing()
        when[i] = 0.0
    for t in range(n):
        for i in range(LANES):
            v = values[t * width + i]
            there = where(v == v, 1.0, 0.0)
            near[i] = where(v == v, v, near[i])
            when[i] = where(v == v, day[t], when[i])
            ahead = y[t * LANES + i]
            share = ratio(day[t] - when[i], at_least(seen[t * LANES + i] - when[i], 1e-3))
            line = near[i] + share * (ahead - near[i])
            line = where(ahead == ahead, where(near[i] == near[i], line, ahead), near[i])
            y[t * LANES + i] = where(there > 0.5, v, line)
            seen[t * LANES + i] = there
            found[i] += there
    for i in range(LANES):
        count[i] = found[i]


cdef inline void weigh(const real* weight, Py_ssize_t n, Py_ssize_t width, real* seen) noexcept nogil:
    """Take the weights of what was seen; below 0 or missing counts as 0."""
    cdef real w
    cdef Py_ssize_t t, i
    for t in range(n):
        for i in range(LANES):
            w = at_least(weight[t * width + i], 0.0)
            seen[t * LANES + i] *= where(w == w, w, 0.0)


cdef inline Py_ssize_t go_round(const real* y, Py_ssize_t n, real period, real* ring) noexcept nogil:
    """Copy a series; where the year goes round, with its other end on either side. Returns how many that are."""
    cdef Py_ssize_t beyond = ROUND if period > 0.0 else 0
    cdef Py_ssize_t t, i, place
    for t in range(n + 2 * beyond):
        place = (t - beyond + ROUND * n) % n
        for i in range(LANES):
            ring[t * LANES + i] = y[place * LANES + i]
    return beyond


cdef inline bint fits(Py_ssize_t n, Py_ssize_t few, real period) noexcept nogil:
    """True where a series is neither too short nor too long."""
    return n >= few and n + (2 * ROUND if period > 0.0 else 0) <= STEPS


cdef inline void quadratic_end(
        const real* y, Py_ssize_t middle, Py_ssize_t half, Py_ssize_t first, Py_ssize_t last, real* z) noexcept nogil:
    """Values `first` to `last` of the parabola through the window around `middle`."""
    cdef real zeroth[LANES]
    cdef real slope[LANES]
    cdef real bend[LANES]
    cdef real width = 2.0 * half + 1.0
    cdef real square = ratio(half * (half + 1.0) * width, 3.0)
    cdef real mean = ratio(square, width)
    cdef real spread = 0.0
    cdef real q
    cdef Py_ssize_t k, i
    for i in range(LANES):
        zeroth[i] = 0.0
        slope[i] = 0.0
        bend[i] = 0.0
    for k in range(-half, half + 1):
        q = k * k - mean
        spread += q * q
        for i in range(LANES):
            zeroth[i] += y[(middle + k) * LANES + i]
            slope[i] += k * y[(middle + k) * LANES + i]
            bend[i] += q * y[(middle + k) * LANES + i]
    for k in range(first - middle, last - middle):
        q = k * k - mean
        for i in range(LANES):
            z[(middle + k) * LANES + i] = (ratio(zeroth[i], width) + ratio(slope[i], square) * k
                                           + ratio(bend[i], spread) * q)


cdef inline void savgol_seven(const real* y, Py_ssize_t n, real* z) noexcept nogil:
    """The inner values of windows of seven, -2 3 6 7 6 3 -2 by 21."""
    cdef real near, far
    cdef Py_ssize_t k
    for k in range(3 * LANES, (n - 3) * LANES):
        near = 7.0 * y[k] + 6.0 * (y[k - LANES] + y[k + LANES])
        far = 3.0 * (y[k - 2 * LANES] + y[k + 2 * LANES]) - 2.0 * (y[k - 3 * LANES] + y[k + 3 * LANES])
        z[k] = 0.047619048 * (near + far)


cdef inline void savgol(const real* y, Py_ssize_t n, Py_ssize_t half, real* z) noexcept nogil:
    """Parabolas in running windows of 2 half + 1 values; the ends are those of the first and the last window."""
    cdef real width = 2.0 * half + 1.0
    cdef real mean = ratio(half * (half + 1.0), 3.0)
    cdef real spread = 0.0
    cdef real share
    cdef Py_ssize_t t, k, i
    for k in range(-half, half + 1):
        spread += (k * k - mean) * (k * k - mean)
    if half == 3:
        savgol_seven(y, n, z)
    for t in range(half, n - half if half != 3 else 0):
        for i in range(LANES):
            z[t * LANES + i] = 0.0
        for k in range(-half, half + 1):
            share = ratio(1.0, width) - ratio(mean * (k * k - mean), spread)
            for i in range(LANES):
                z[t * LANES + i] += share * y[(t + k) * LANES + i]
    quadratic_end(y, half, half, 0, half, z)
    quadratic_end(y, n - 1 - half, half, n - half, n, z)


cdef inline void whittaker(
        const real* y, const real* weight, Py_ssize_t n, double smoothness, real* z) noexcept nogil:
    """The series that is near to `y` and has small second differences; weights 0 leave a value out.

    The band matrix is factored for each pixel, in double precision, as its
    weights differ.
    """
    cdef double d[STEPS * LANES]
    cdef double c[STEPS * LANES]
    cdef double u[STEPS * LANES]
    cdef double far
    cdef double beside
    cdef double middle
    cdef Py_ssize_t t, i
    for t in range(n):
        middle = smoothness * (1.0 if t == 0 or t == n - 1 else 5.0 if t == 1 or t == n - 2 else 6.0)
        beside = smoothness * (-2.0 if t == 0 or t == n - 2 else -4.0)
        for i in range(LANES):
            d[t * LANES + i] = middle + weight[t * LANES + i]
            u[t * LANES + i] = <double> weight[t * LANES + i] * y[t * LANES + i]
            c[t * LANES + i] = beside
        if t > 0:
            for i in range(LANES):
                d[t * LANES + i] -= c[(t - 1) * LANES + i] * c[(t - 1) * LANES + i] * d[(t - 1) * LANES + i]
                u[t * LANES + i] -= c[(t - 1) * LANES + i] * u[(t - 1) * LANES + i]
                c[t * LANES + i] -= smoothness * c[(t - 1) * LANES + i]
        if t > 1:
            for i in range(LANES):
                far = smoothness / d[(t - 2) * LANES + i]
                d[t * LANES + i] -= smoothness * far
                u[t * LANES + i] -= far * u[(t - 2) * LANES + i]
        for i in range(LANES):
            c[t * LANES + i] /= d[t * LANES + i]
    for t in range(n - 1, -1, -1):
        for i in range(LANES):
            u[t * LANES + i] /= d[t * LANES + i]
        if t < n - 1:
            for i in range(LANES):
                u[t * LANES + i] -= c[t * LANES + i] * u[(t + 1) * LANES + i]
        if t < n - 2:
            for i in range(LANES):
                u[t * LANES + i] -= smoothness / d[t * LANES + i] * u[(t + 2) * LANES + i]
        for i in range(LANES):
            z[t * LANES + i] = <real> u[t * LANES + i]


cdef inline void extremes(
        const real* z, const real* day, Py_ssize_t n, real period, real* left, real* right, real* high, real* place,
        real* peak) noexcept nogil:
    """Highest value, its number, the day of the parabola's top around it, and the lowest on its left and right.

    Where the year goes round (`period`), left and right lead to the same trough.
    """
    cdef real low[LANES]
    cdef real before[LANES]
    cdef real after[LANES]
    cdef real fresh[LANES]
    cdef real v, risen, bend, step
    cdef Py_ssize_t t, i
    for i in range(LANES):
        low[i] = z[i]
        left[i] = z[i]
        right[i] = z[i]
        high[i] = z[i]
        place[i] = 0.0
        peak[i] = day[0]
        before[i] = z[(n - 1) * LANES + i] if period > 0.0 else z[i]
        after[i] = z[LANES + i]
        fresh[i] = 1.0
    for t in range(1, n):
        for i in range(LANES):
            v = z[t * LANES + i]
            after[i] = where(fresh[i] > 0.5, v, after[i])
            risen = where(v > high[i], 1.0, 0.0)
            before[i] = where(risen > 0.5, z[(t - 1) * LANES + i], before[i])
            high[i] = at_least(high[i], v)
            left[i] = where(risen > 0.5, low[i], left[i])
            right[i] = where(risen > 0.5, v, at_most(right[i], v))
            low[i] = at_most(low[i], v)
            place[i] = where(risen > 0.5, t, place[i])
            peak[i] = where(risen > 0.5, day[t], peak[i])
            fresh[i] = risen
    step = day[1] - day[0]
    for i in range(LANES):
        left[i] = low[i] if period > 0.0 else left[i]
        right[i] = low[i] if period > 0.0 else right[i]
        after[i] = where(fresh[i] > 0.5, z[i] if period > 0.0 else high[i], after[i])
        bend = before[i] - 2.0 * high[i] + after[i]
        peak[i] += where(bend < -1e-9, step * 0.5 * ratio(before[i] - after[i], at_most(bend, -1e-9)), 0.0)


cdef inline void crossings(
        const real* z, const real* day, Py_ssize_t n, real period, real share, const real* left, const real* right,
        const real* high, const real* place, real* start, real* end) noexcept nogil:
    """Days on which the series last rose through the threshold before its peak and first fell through it after.

    Where a period is given the year goes round: a season that began before
    the first value starts on a negative day.
    """
    cdef real early[LANES]
    cdef real late[LANES]
    cdef real a, b, up, down, days, x, rising, falling, first, later
    cdef Py_ssize_t t, i
    for i in range(LANES):
        start[i] = missing()
        end[i] = missing()
        early[i] = missing()  # the start, if the season began before the first value
        late[i] = missing()  # the end, if it goes on after the last
    for t in range(1, n):
        for i in range(LANES):
            a = z[(t - 1) * LANES + i]
            b = z[t * LANES + i]
            up = left[i] + share * (high[i] - left[i])
            down = right[i] + share * (high[i] - right[i])
            days = ratio(day[t] - day[t - 1], where(a == b, 1.0, b - a))
            rising = where(a < up, where(b >= up, 1.0, 0.0), 0.0)
            falling = where(a >= down, where(b < down, 1.0, 0.0), 0.0)
            x = day[t - 1] + (where(rising > 0.5, up, down) - a) * days
            later = where(t > place[i], 1.0, 0.0)
            start[i] = where(rising * (1.0 - later) > 0.5, x, start[i])
            early[i] = where(rising * later > 0.5, x - period, early[i])
            first = where(end[i] == end[i], 0.0, 1.0)
            end[i] = where(falling * later * first > 0.5, x, end[i])
            first = where(late[i] == late[i], 0.0, 1.0)
            late[i] = where(falling * (1.0 - later) * first > 0.5, x + period, late[i])
    if period > 0.0:
        for i in range(LANES):
            a = z[(n - 1) * LANES + i]
            b = z[i]
            up = left[i] + share * (high[i] - left[i])  # the same as that of the fall
            x = day[n - 1] + (up - a) * ratio(day[0] + period - day[n - 1], where(a == b, 1.0, b - a))
            early[i] = where(a < up, where(b >= up, x - period, early[i]), early[i])
            late[i] = where(a >= up, where(b < up, x, late[i]), late[i])
            start[i] = where(start[i] == start[i], start[i], early[i])
            end[i] = where(end[i] == end[i], end[i], late[i])


cdef inline void season(
        const real* z, const real* day, Py_ssize_t n, real period, real share, real least, const real* count,
        real* sos, real* eos, real* pos, real* gsl, real* amplitude) noexcept nogil:
    """Season of a smooth series; none where the amplitude is small."""
    cdef real left[LANES]
    cdef real right[LANES]
    cdef real high[LANES]
    cdef real place[LANES]
    cdef real peak[LANES]
    cdef real start[LANES]
    cdef real end[LANES]
    cdef real has
    cdef Py_ssize_t i
    extremes(z, day, n, period, left, right, high, place, peak)
    crossings(z, day, n, period, share, left, right, high, place, start, end)
    for i in range(LANES):
        amplitude[i] = where(count[i] < LEAST, missing(), high[i] - 0.5 * (left[i] + right[i]))
        has = where(amplitude[i] >= least, 1.0, 0.0)
        sos[i] = where(has > 0.5, start[i], missing())
        eos[i] = where(has > 0.5, end[i], missing())
        pos[i] = where(has > 0.5, peak[i], missing())
        gsl[i] = eos[i] - sos[i]


cdef inline void season_savgol(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real half, real threshold, real least,
        real period, real* sos, real* eos, real* pos, real* gsl, real* amplitude) noexcept nogil:
    """Season of the series smoothed by running parabolas; Savitzky and Golay (1964), Chen et al. (2004)."""
    cdef real y[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real ring[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at, beyond
    for at in range(0, width, 16):
        if not fits(n, <Py_ssize_t> (2 * half + 1), period):
            no_season(sos + at, eos + at, pos + at, gsl + at, amplitude + at)
            continue
        fill_gaps(ndvi + at, day, n, width, y, z, count)
        beyond = go_round(y, n, period, ring)
        savgol(ring, n + 2 * beyond, <Py_ssize_t> half, z)
        season(z + beyond * LANES, day, n, period, threshold, least, count, sos + at, eos + at, pos + at, gsl + at,
               amplitude + at)


cdef inline void season_whittaker(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real smoothness, real threshold, real least,
        real period, real* sos, real* eos, real* pos, real* gsl, real* amplitude) noexcept nogil:
    """Season of the series smoothed by penalised second differences; Eilers (2003)."""
    cdef real y[STEPS * LANES]
    cdef real seen[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real ring[STEPS * LANES]
    cdef real weight[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at, beyond
    for at in range(0, width, 16):
        if not fits(n, LEAST, period):
            no_season(sos + at, eos + at, pos + at, gsl + at, amplitude + at)
            continue
        fill_gaps(ndvi + at, day, n, width, y, seen, count)
        beyond = go_round(y, n, period, ring)
        go_round(seen, n, period, weight)
        whittaker(ring, weight, n + 2 * beyond, smoothness, z)
        season(z + beyond * LANES, day, n, period, threshold, least, count, sos + at, eos + at, pos + at, gsl + at,
               amplitude + at)


cdef inline void no_season(
        real* sos, real* eos, real* pos, real* gsl, real* amplitude) noexcept nogil:
    """Sixteen pixels of a series that is too long or too short."""
    cdef Py_ssize_t i
    for i in range(LANES):
        sos[i] = missing()
        eos[i] = missing()
        pos[i] = missing()
        gsl[i] = missing()
        amplitude[i] = missing()


cdef inline void put_series(
        const real* z, Py_ssize_t n, Py_ssize_t width, const real* count, real* smooth) noexcept nogil:
    """Write a smooth series; missing where too few values were seen, or the series is too long."""
    cdef Py_ssize_t t, i
    for t in range(n):
        for i in range(LANES):
            smooth[t * width + i] = where(count[i] < LEAST, missing(), z[t * LANES + i])


cdef inline void no_series(Py_ssize_t size, real* smooth) noexcept nogil:
    """A series that is too long or too short."""
    cdef Py_ssize_t k
    for k in range(size):
        smooth[k] = missing()


cdef inline void smooth_savgol(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real half, real* smooth) noexcept nogil:
    """The series smoothed by running parabolas, gaps filled before."""
    cdef real y[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at
    if n > STEPS or n < 2 * half + 1:
        no_series(n * width, smooth)
        return
    for at in range(0, width, 16):
        fill_gaps(ndvi + at, day, n, width, y, z, count)
        savgol(y, n, <Py_ssize_t> half, z)
        put_series(z, n, width, count, smooth + at)


cdef inline void smooth_whittaker(
        const real* ndvi, const real* day, Py_ssize_t n, Py_ssize_t width, real smoothness,
        real* smooth) noexcept nogil:
    """The series smoothed by penalised second differences; gaps have no weight."""
    cdef real y[STEPS * LANES]
    cdef real seen[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at
    if n > STEPS or n < LEAST:
        no_series(n * width, smooth)
        return
    for at in range(0, width, 16):
        fill_gaps(ndvi + at, day, n, width, y, seen, count)
        whittaker(y, seen, n, smoothness, z)
        put_series(z, n, width, count, smooth + at)


cdef inline void smooth_whittaker_weighted(
        const real* ndvi, const real* weight, const real* day, Py_ssize_t n, Py_ssize_t width, real smoothness,
        real* smooth) noexcept nogil:
    """As `smooth_whittaker`, each value with its own weight, 0 to 1; one without a weight is left out."""
    cdef real y[STEPS * LANES]
    cdef real seen[STEPS * LANES]
    cdef real z[STEPS * LANES]
    cdef real count[LANES]
    cdef Py_ssize_t at
    if n > STEPS or n < LEAST:
        no_series(n * width, smooth)
        return
    for at in range(0, width, 16):
        fill_gaps(ndvi + at, day, n, width, y, seen, count)
        weigh(weight + at, n, width, seen)
        whittaker(y, seen, n, smoothness, z)
        put_series(z, n, width, count, smooth + at)
