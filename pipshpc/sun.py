"""Where the sun stands: double precision on the host, one set of numbers per time.

`ephemeris` is the Solar Position Algorithm of NREL (Reda and Andreas 2004,
doi:10.1016/j.solener.2003.12.003) with its periodic series cut where a term
moves the sun by less than 0.5 arc seconds; latitude terms of the Earth's
orbit (below 1.2 arc seconds) and topocentric parallax are left out. The
remaining functions are plain spherical trigonometry on arrays: what the
compiled loops do per pixel, for tests and for the planning of windows.

Angles are in radians unless a name says otherwise; times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

S0 = 1361.1
"""Total solar irradiance at one astronomical unit, W m-2; Gueymard (2018), doi:10.1016/j.solener.2018.04.001."""

DELTA_T_S = 69.0
"""Terrestrial minus universal time, s, of the 2010s and 2020s; an error of 60 s moves the sun by 0.0007 degrees."""

_EPOCH = np.datetime64("2000-01-01T12:00:00")

# Heliocentric longitude L and distance R: rows (amplitude / 1e-8, phase, rate per Julian millennium), by power of time.
_LONGITUDE = (
    (
        (175347046.0, 0.0, 0.0),
        (3341656.0, 4.6692568, 6283.07585),
        (34894.0, 4.6261, 12566.1517),
        (3497.0, 2.7441, 5753.3849),
        (3418.0, 2.8289, 3.5231),
        (3136.0, 3.6277, 77713.7715),
        (2676.0, 4.4181, 7860.4194),
        (2343.0, 6.1352, 3930.2097),
        (1324.0, 0.7425, 11506.7698),
        (1273.0, 2.0371, 529.691),
        (1199.0, 1.1096, 1577.3435),
        (990.0, 5.233, 5884.927),
        (902.0, 2.045, 26.298),
        (857.0, 3.508, 398.149),
        (780.0, 1.179, 5223.694),
        (753.0, 2.533, 5507.553),
        (505.0, 4.583, 18849.228),
        (492.0, 4.205, 775.523),
        (357.0, 2.92, 0.067),
        (317.0, 5.849, 11790.629),
        (284.0, 1.899, 796.298),
        (271.0, 0.315, 10977.079),
    ),
    ((628331966747.0, 0.0, 0.0), (206059.0, 2.678235, 6283.07585), (4303.0, 2.6351, 12566.1517), (425.0, 1.59, 3.523)),
    ((52919.0, 0.0, 0.0), (8720.0, 1.0721, 6283.0758), (309.0, 0.867, 12566.152)),
)
_DISTANCE = (
    (
        (100013989.0, 0.0, 0.0),
        (1670700.0, 3.0984635, 6283.07585),
        (13956.0, 3.05525, 12566.1517),
        (3084.0, 5.1985, 77713.7715),
        (1628.0, 1.1739, 5753.3849),
        (1576.0, 2.8469, 7860.4194),
        (925.0, 5.453, 11506.77),
        (542.0, 4.564, 3930.21),
        (472.0, 3.661, 5884.927),
        (346.0, 0.964, 5507.553),
        (329.0, 5.9, 5223.694),
        (307.0, 0.299, 5573.143),
    ),
    ((103019.0, 1.10749, 6283.07585), (1721.0, 1.0644, 12566.1517)),
    ((4359.0, 5.7846, 6283.0758),),
)


@dataclass(frozen=True)
class Ephemeris:
    """The sun at given times: what is the same for every pixel.

    Attributes
    ----------
    declination : rad
    equation_of_time : apparent minus mean solar time, minutes
    distance : Earth to Sun, astronomical units
    toa_normal : irradiance on a plane facing the sun outside the atmosphere, W m-2
    """

    declination: Array
    equation_of_time: Array
    distance: Array
    toa_normal: Array


def _series(tables: tuple[tuple[tuple[float, float, float], ...], ...], jme: Array) -> Array:
    """Sum a periodic series at Julian ephemeris millennia."""
    total = np.zeros_like(jme)
    for power, rows in enumerate(tables):
        amplitude, phase, rate = np.array(rows).T
        total += jme**power * (amplitude * np.cos(phase + np.multiply.outer(jme, rate))).sum(-1)
    return np.asarray(total * 1e-8)


def ephemeris(times: npt.ArrayLike) -> Ephemeris:
    """Return declination, equation of time and distance of the sun.

    Parameters
    ----------
    times : datetime64, UTC, any shape

    Returns
    -------
    Ephemeris
        float64 arrays of the same shape. Against the full SPA, 1990 to 2050:
        declination and hour angle within 0.0005 degrees, distance within
        1e-5 au.
    """
    when = np.asarray(times, dtype="datetime64[us]")
    days = (when - _EPOCH).astype(np.float64) / 86400e6
    century = (days + DELTA_T_S / 86400.0) / 36525.0
    longitude = _series(_LONGITUDE, century / 10.0) + np.pi
    distance = _series(_DISTANCE, century / 10.0)
    # Nutation, the four largest terms (Meeus, Astronomical Algorithms, ch. 22), arc seconds.
    node = np.radians(125.04452 - 1934.136261 * century)
    sun, moon = np.radians(280.4665 + 36000.7698 * century), np.radians(218.3165 + 481267.8813 * century)
    d_psi = -17.20 * np.sin(node) - 1.32 * np.sin(2 * sun) - 0.23 * np.sin(2 * moon) + 0.21 * np.sin(2 * node)
    d_eps = 9.20 * np.cos(node) + 0.57 * np.cos(2 * sun) + 0.10 * np.cos(2 * moon) - 0.09 * np.cos(2 * node)
    obliquity = np.radians(23.4392911 - 0.0130042 * century + d_eps / 3600.0)
    apparent = longitude + np.radians((d_psi - 20.4898 / distance - 0.0903) / 3600.0)
    declination = np.arcsin(np.sin(obliquity) * np.sin(apparent))
    ascension = np.arctan2(np.sin(apparent) * np.cos(obliquity), np.cos(apparent))
    sidereal = 280.46061837 + 360.98564736629 * days + 0.000387933 * (days / 36525.0) ** 2
    sidereal = sidereal + d_psi / 3600.0 * np.cos(obliquity)
    mean_sun = 360.0 * (days % 1.0)  # hour angle of the mean sun at Greenwich: 0 at noon, as the epoch is
    eot = 4.0 * ((sidereal - np.degrees(ascension) - mean_sun + 180.0) % 360.0 - 180.0)
    return Ephemeris(declination, eot, distance, S0 / distance**2)


def toa_normal(times: npt.ArrayLike) -> Array:
    """Return the irradiance facing the sun outside the atmosphere, W m-2."""
    return ephemeris(times).toa_normal


def spencer(day_of_year: npt.ArrayLike) -> Ephemeris:
    """Return the sun by the series of Spencer (1971): a second opinion, good to 0.3 degrees and 1 minute.

    Parameters
    ----------
    day_of_year : 1 on the first of January; fractions are welcome
    """
    b = 2.0 * np.pi / 365.0 * (np.asarray(day_of_year, dtype=np.float64) - 1.0)
    declination = 0.006918 - 0.399912 * np.cos(b) + 0.070257 * np.sin(b)
    declination += -0.006758 * np.cos(2 * b) + 0.000907 * np.sin(2 * b)
    declination += -0.002697 * np.cos(3 * b) + 0.00148 * np.sin(3 * b)
    eot = 0.0000075 + 0.001868 * np.cos(b) - 0.032077 * np.sin(b) - 0.014615 * np.cos(2 * b) - 0.040849 * np.sin(2 * b)
    inverse = 1.00011 + 0.034221 * np.cos(b) + 0.00128 * np.sin(b) + 0.000719 * np.cos(2 * b) + 0.000077 * np.sin(2 * b)
    return Ephemeris(declination, 229.18 * eot, inverse**-0.5, S0 * inverse)


def hour_angle(times: npt.ArrayLike, lon: npt.ArrayLike, equation_of_time: npt.ArrayLike | None = None) -> Array:
    """Return the hour angle, 0 at solar noon, wrapped to [-pi, pi).

    Parameters
    ----------
    times : datetime64, UTC
    lon : degrees east
    equation_of_time : minutes; computed for `times` if not given
    """
    when = np.asarray(times, dtype="datetime64[us]")
    eot = ephemeris(when).equation_of_time if equation_of_time is None else np.asarray(equation_of_time)
    hours = (when - when.astype("datetime64[D]")).astype(np.float64) / 3600e6
    angle = np.radians(15.0 * (hours - 12.0) + eot / 4.0 + np.asarray(lon, dtype=np.float64))
    return np.asarray((angle + np.pi) % (2.0 * np.pi) - np.pi)


def cos_zenith(lat: npt.ArrayLike, declination: npt.ArrayLike, angle: npt.ArrayLike) -> Array:
    """Return the cosine of the geometric zenith angle; `lat` in degrees, the rest in radians."""
    phi = np.radians(lat)
    return np.asarray(np.sin(phi) * np.sin(declination) + np.cos(phi) * np.cos(declination) * np.cos(angle))


def azimuth(lat: npt.ArrayLike, declination: npt.ArrayLike, angle: npt.ArrayLike) -> Array:
    """Return the sun's azimuth, degrees clockwise from north, 0..360."""
    phi = np.radians(lat)
    east = -np.cos(declination) * np.sin(angle)
    north = np.sin(declination) * np.cos(phi) - np.cos(declination) * np.sin(phi) * np.cos(angle)
    return np.asarray(np.degrees(np.arctan2(east, north)) % 360.0)


def sunset_hour_angle(lat: npt.ArrayLike, declination: npt.ArrayLike, altitude: float = 0.0) -> Array:
    """Return the hour angle at which the sun's centre is at `altitude` (rad): pi in polar day, 0 in polar night.

    At the poles, where the tangent of the latitude overflows, the sign of
    numerator and denominator still decides.
    """
    phi = np.radians(lat)
    above = np.sin(altitude) - np.sin(phi) * np.sin(declination)
    scale = np.cos(phi) * np.cos(declination)
    inside = np.abs(above) < scale
    ratio = np.where(inside, above, 0.0) / np.where(inside, scale, 1.0)
    return np.asarray(np.where(inside, np.arccos(ratio), np.where(above < 0.0, np.pi, 0.0)))


def lit_pieces(start: npt.ArrayLike, width: float, sunset: npt.ArrayLike) -> tuple[Array, Array]:
    """Return begin and length of the lit pieces of windows of hour angle.

    Parameters
    ----------
    start : hour angle at the beginning of the window, in [-pi, pi)
    width : of the window, rad, at most 2 pi
    sunset : sunset hour angle

    Returns
    -------
    (begin, length)
        Arrays with one more, first, axis of 3 pieces (the days before, of and
        after); a piece that is not there has length 0.
    """
    shift = 2.0 * np.pi * np.arange(-1, 2)
    first, h0 = np.broadcast_arrays(np.asarray(start, dtype=np.float64), np.asarray(sunset, dtype=np.float64))
    shift = shift.reshape((3,) + (1,) * first.ndim)
    begin = np.maximum(first, shift - h0)
    end = np.minimum(first + width, shift + h0)
    return begin, np.maximum(end - begin, 0.0)


def window_mean_cosz(lat: npt.ArrayLike, lon: npt.ArrayLike, start: npt.ArrayLike, hours: float) -> tuple[Array, Array]:
    """Return the exact mean of max(cosz, 0) over a window, and its sunlit fraction.

    The sun's declination and equation of time are those of mid-window;
    within the window only the hour angle moves.

    Parameters
    ----------
    lat, lon : degrees, any shape
    start : datetime64, UTC, of the window's beginning; broadcast against `lat`
    hours : length of the window, at most 24
    """
    first = np.asarray(start, dtype="datetime64[us]")
    middle = ephemeris(first + np.timedelta64(round(hours * 1800e6), "us"))
    width = np.radians(15.0 * hours)
    h1 = hour_angle(first, lon, middle.equation_of_time)
    begin, length = lit_pieces(h1, width, sunset_hour_angle(lat, middle.declination))
    phi = np.radians(lat)
    a = np.sin(phi) * np.sin(middle.declination)
    b = np.cos(phi) * np.cos(middle.declination)
    total = (a * length + 2.0 * b * np.cos(begin + length / 2.0) * np.sin(length / 2.0)).sum(0)
    return np.maximum(total, 0.0) / width, length.sum(0) / width


def lit_nodes(begin: Array, length: Array, width: float) -> tuple[Array, Array]:
    """Return hour angles and weights of 3-point Gauss-Legendre quadrature on each lit piece.

    Parameters
    ----------
    begin, length : of the pieces, as `lit_pieces` gives them
    width : of the whole window, rad

    Returns
    -------
    (nodes, weights)
        With one more, first, axis of 3. The weights sum to the sunlit
        fraction, so that the sum of weight times flux is the window's mean.
        Good for pieces of a few hours; a longer window is the mean of its
        parts.
    """
    place, weight = np.polynomial.legendre.leggauss(3)
    shape = (3,) + (1,) * begin.ndim
    nodes = begin + length * (0.5 + 0.5 * place.reshape(shape))
    return nodes, 0.5 * weight.reshape(shape) * length / width


def sunrise_sunset(date: npt.ArrayLike, lat: npt.ArrayLike, lon: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Return sunrise, sunset and transit around the transit that falls on a UTC date.

    Upper limb with standard refraction (centre at -0.8333 degrees).

    Returns
    -------
    (sunrise, sunset, transit)
        Hours after 00 UTC of `date`, possibly below 0 or above 24; sunrise
        and sunset are NaN in polar day and night.
    """
    day = np.asarray(date, dtype="datetime64[D]").astype("datetime64[us]")
    east = np.asarray(lon, dtype=np.float64) / 15.0

    def at(hours: Array) -> Ephemeris:
        return ephemeris(day + np.round(np.nan_to_num(hours) * 3600e6).astype("timedelta64[us]"))

    transit = np.broadcast_to(12.0, np.broadcast_shapes(day.shape, east.shape, np.shape(lat))).copy()
    for _ in range(3):
        transit = (12.0 - east - at(transit).equation_of_time / 60.0) % 24.0
    found = []
    for side in (-1.0, 1.0):
        event = transit
        for _ in range(5):
            sun = at(event)
            h0 = sunset_hour_angle(lat, sun.declination, np.radians(-0.8333))
            h0 = np.where((h0 > 0.0) & (h0 < np.pi), h0, np.nan)
            noon = 12.0 - east - sun.equation_of_time / 60.0
            noon += 24.0 * np.round((transit - noon) / 24.0)
            event = noon + side * h0 * 12.0 / np.pi
        found.append(event)
    return found[0], found[1], transit
