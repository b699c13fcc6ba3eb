"""Boxes on the globe as rectangles that do not cross the date line."""

from __future__ import annotations

from collections.abc import Sequence

from pipshpc.errors import SpecError

Rectangle = tuple[float, float, float, float]
Bounds = tuple[float, float, float, float]


def split_box(box: Sequence[float]) -> list[Rectangle]:
    """Return the one or two rectangles (west <= east, within ±180) that a box is made of.

    Parameters
    ----------
    box : west, south, east, north in degrees; west > east, or east > 180, crosses the date line

    Raises
    ------
    SpecError
        Where the numbers do not make a box.
    """
    try:
        west, south, east, north = (float(v) for v in box)
    except (TypeError, ValueError) as error:
        raise SpecError(f"box {box}: wanted four numbers: west south east north, in degrees") from error
    if not -90 <= south <= north <= 90:
        raise SpecError(f"box {box}: wanted -90 <= south <= north <= 90")
    if not (-360 <= west <= 360 and -360 <= east <= 360):
        raise SpecError(f"box {box}: wanted longitudes between -360 and 360")
    if east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    # A line along the date line is no globe.
    west, east = wrap(west), wrap(east, upper=west != east)
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def wrap(longitude: float, upper: bool = False) -> float:
    """Bring a longitude to -180 ... 180; the date line itself is 180 as an `upper` bound, else as it is given."""
    if -180 <= longitude <= 180:
        return 180.0 if upper and longitude == -180 else longitude
    turned = (longitude + 180.0) % 360.0 - 180.0
    return 180.0 if upper and turned == -180 else turned


def overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    """Say whether two boxes share a point, their edges included."""
    return any(
        p[0] <= q[2] and p[2] >= q[0] and p[1] <= q[3] and p[3] >= q[1] for p in split_box(a) for q in split_box(b)
    )


def box_of(lon: Sequence[float], lat: Sequence[float]) -> Bounds:
    """Return the smallest box around some points, across the date line where that is the shorter way round.

    Points whose longitudes leave no gap of more than 180 degrees lie around a
    pole: the box then goes round the globe and up to that pole.
    """
    turned = sorted({wrap(x) for x in lon})
    gaps = [(b - a, k) for k, (a, b) in enumerate(zip(turned, [*turned[1:], turned[0] + 360.0], strict=True))]
    widest, at = max(gaps)
    south, north = min(lat), max(lat)
    if widest < 180.0:
        pole = 90.0 if south + north > 0 else -90.0
        return -180.0, min(south, pole), 180.0, max(north, pole)
    west, east = turned[(at + 1) % len(turned)], turned[at]
    return west, south, east, north
