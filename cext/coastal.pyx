"""Sea ice that is land seen by the side of a wide footprint: corrections that look at neighbours.

Each takes a block with its halo and fills the inside; beyond the array there is neither land nor water.
"""

from cython.parallel cimport prange
from libc.stdint cimport int8_t, uint8_t
from cext.vecmath cimport real


cdef void thin_row(const real* raw, const uint8_t* shore, const real* least, real* out, Py_ssize_t rows,
                   Py_ssize_t columns, Py_ssize_t y, real low, int enough) noexcept nogil:
    """Take the least ice of a coastal pixel from it where enough of its neighbourhood is water."""
    cdef Py_ssize_t x, v, u, reach, at
    cdef int found
    cdef real most, c
    for x in range(columns):
        at = y * columns + x
        c = raw[at]
        if shore[at] >= 3 and shore[at] <= 5:
            reach = 6 - shore[at]  # 5, at the coast: 1; 4: 2; 3: 3
            found = 0
            for v in range(max(y - reach, 0), min(y + reach + 1, rows)):
                for u in range(max(x - reach, 0), min(x + reach + 1, columns)):
                    found += (raw[v * columns + u] < low) & (raw[v * columns + u] >= 0)
            if found >= enough:
                most = <real>(0.2 * reach)  # 20, 40, 60 %
                c = c - (least[at] if least[at] < most else most)
                c = 0 if c < 0 else c
        out[at] = 1 if c > 1 else c


def spill_over(const real[:, ::1] raw, const uint8_t[:, ::1] shore, const real[:, ::1] least, real[:, ::1] out,
               real low=0.15, int enough=3, int threads=1):
    """Correct NASA Team's ice for land in the footprint and cut it at 1; Cavalieri et al. (1999). Halo 3.

    Parameters
    ----------
    raw : concentration before it is cut at 1; NaN where missing or land
    shore : 0 open sea, 1 land, 2 coast, 3 to 5 the more the nearer to the coast
    least : least concentration ever seen there
    out : filled; NaN where `raw` is
    low, enough : what counts as water, and how many such neighbours (itself included) it takes
    """
    cdef Py_ssize_t rows = raw.shape[0], columns = raw.shape[1], y
    if not (shore.shape[0] == least.shape[0] == out.shape[0] == rows
            and shore.shape[1] == least.shape[1] == out.shape[1] == columns):
        raise ValueError(f"shore, least and out need the shape {(rows, columns)}")
    if rows == 0 or columns == 0:
        return
    for y in prange(rows, nogil=True, num_threads=threads, schedule="static"):
        thin_row(&raw[0, 0], &shore[0, 0], &least[0, 0], &out[0, 0], rows, columns, y, low, enough)


cdef inline bint is_land(const uint8_t* land, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t y,
                         Py_ssize_t x) noexcept nogil:
    return 0 <= y < rows and 0 <= x < columns and land[y * columns + x] != 0


cdef inline real ice(const real* raw, const uint8_t* land, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t y,
                     Py_ssize_t x) noexcept nogil:
    """Concentration, -1 on land, beyond the array and where it is missing."""
    if y < 0 or x < 0 or y >= rows or x >= columns or land[y * columns + x]:
        return -1
    return raw[y * columns + x] if raw[y * columns + x] >= 0 else -1


cdef void doubt_row(const real* raw, const uint8_t* land, int8_t* doubt, Py_ssize_t rows, Py_ssize_t columns,
                    Py_ssize_t y, real least) noexcept nogil:
    """-1 land or water; 0 ice between land and water, one or two pixels wide; 1 ice that is safe."""
    cdef Py_ssize_t x, dy, dx
    cdef real own, on, back
    cdef int k, found
    for x in range(columns):
        own = ice(raw, land, rows, columns, y, x)
        if land[y * columns + x] or (0 <= own < least):
            found = -1
        else:
            found = 1
        if own > 0:
            for k in range(4):
                dy = (k == 0) - (k == 1)
                dx = (k == 2) - (k == 3)
                on = ice(raw, land, rows, columns, y + dy, x + dx)
                if is_land(land, rows, columns, y - dy, x - dx):
                    # The first pixel off the land, with water next to it or one further.
                    back = ice(raw, land, rows, columns, y + 2 * dy, x + 2 * dx)
                    if 0 <= on < least or 0 <= back < least:
                        found = 0
                elif is_land(land, rows, columns, y - 2 * dy, x - 2 * dx):
                    # The second pixel, with ice before it and water behind it.
                    back = ice(raw, land, rows, columns, y - dy, x - dx)
                    if back > 0 and 0 <= on < least:
                        found = 0
        doubt[y * columns + x] = found


cdef inline int look(const int8_t* doubt, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t y,
                     Py_ssize_t x) noexcept nogil:
    """What `doubt_row` found; 1 beyond the array."""
    return doubt[y * columns + x] if 0 <= y < rows and 0 <= x < columns else 1


cdef void clean_row(const real* raw, const uint8_t* land, const int8_t* doubt, real* out, Py_ssize_t rows,
                    Py_ssize_t columns, Py_ssize_t y, real least) noexcept nogil:
    """Take away the ice that has water, or ice of as much doubt, about it."""
    cdef Py_ssize_t x, dy, dx, ey, ex, k
    cdef bint gone
    for x in range(columns):
        gone = raw[y * columns + x] < least
        for k in range(4):
            dy = (k == 0) - (k == 1)
            dx = (k == 2) - (k == 3)
            ey = dx
            ex = dy
            if look(doubt, rows, columns, y, x) != 0:
                continue
            if is_land(land, rows, columns, y - dy, x - dx):
                if (look(doubt, rows, columns, y + dy + ey, x + dx + ex) <= 0
                        and look(doubt, rows, columns, y + dy - ey, x + dx - ex) <= 0
                        and look(doubt, rows, columns, y + ey, x + ex) <= 0
                        and look(doubt, rows, columns, y - ey, x - ex) <= 0):
                    gone = True
            if (is_land(land, rows, columns, y - 2 * dy, x - 2 * dx)
                    and look(doubt, rows, columns, y - dy, x - dx) == 0
                    and look(doubt, rows, columns, y + ey, x + ex) <= 0
                    and look(doubt, rows, columns, y - ey, x - ex) <= 0):
                gone = True
        out[y * columns + x] = 0 if gone else raw[y * columns + x]


def fix_coast(const real[:, ::1] raw, const uint8_t[:, ::1] land, real[:, ::1] out, int8_t[:, ::1] doubt,
              real least=0.1, int threads=1):
    """Take away Bootstrap's thin ice along coasts that have water before them, and all ice below `least`. Halo 2.

    Parameters
    ----------
    raw : concentration; NaN where missing
    land : 1 on land
    out : filled; NaN where `raw` is
    doubt : room to work in, of the same shape
    """
    cdef Py_ssize_t rows = raw.shape[0], columns = raw.shape[1], y
    if not (land.shape[0] == doubt.shape[0] == out.shape[0] == rows
            and land.shape[1] == doubt.shape[1] == out.shape[1] == columns):
        raise ValueError(f"land, out and doubt need the shape {(rows, columns)}")
    if rows == 0 or columns == 0:
        return
    for y in prange(rows, nogil=True, num_threads=threads, schedule="static"):
        doubt_row(&raw[0, 0], &land[0, 0], &doubt[0, 0], rows, columns, y, least)
    for y in prange(rows, nogil=True, num_threads=threads, schedule="static"):
        clean_row(&raw[0, 0], &land[0, 0], &doubt[0, 0], &out[0, 0], rows, columns, y, least)
