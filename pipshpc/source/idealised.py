"""An idealised atmosphere: what jobs run on where no analysis is at hand.

It is no weather that ever happened, and says so in every file made of it. On
a 1-degree grid, with latitude p, longitude l, land fraction f and terrain
height z of the real globe, day of year d, local solar time h:

- season s = cos(2 pi (d - 200) / 365.25), 1 in the northern summer;
- temperature at sea level 299.5 - 44 sin(p)^2 - 14 max(0, -sin p)^6
  + s sin(p) (6 + 14 f north of the equator, 6 + 6 f south of it), less
  6.5 K km-1 with height, plus a diurnal wave of (0.5 + 5 f) cos(p) K that
  peaks at 14 h, plus weather of 3.5 K in middle latitudes;
- dew point below temperature by 3.5 K, plus 9 f in the subtropics, plus
  the humid and dry sides of the weather; never by less than 0.2 K;
- pressure of a standard atmosphere at height z, +- 9 hPa of weather;
- cloud fraction 0.58, more at the equator and at 60 degrees, less in the
  subtropics, +- weather;
- wind 6 m s-1, 3 more over the seas of middle latitudes, 2.5 f less over
  land, +- 2 of weather.

As states that a task takes once:
- the sea's temperature 0.8 K above the seasonal air over open sea (f = 0, no
  weather), freezing at 271.35 K, so that sea and air belong together;
- sea ice from 0 to 1 as that air falls from 269.35 to 263.35 K;
- greenness 0.6 + 0.45 s' tanh(p / 20 degrees) with the season s' 45 days
  later, cut to 0..1: where the vegetation stands between its lowest and
  highest index of the year.

With steps of 24 hours each state is the mean of its day: no diurnal wave, and
the lowest temperature of the day (tasmin) is the mean less the wave's height.

Weather is a sum of travelling waves with fixed numbers (`WAVES`), so that
every run gives the same values.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.errors import InputError
from pipshpc.source.base import FieldInfo, Source
from pipshpc.source.names import find_quantity
from pipshpc.source.reader import Float32Array
from pipshpc.sourcegrid import SourceGrid

VERSION = 2  # of the formulas; part of the identity
HOUR = np.timedelta64(1, "h").astype("timedelta64[s]")
STATES = ("tos", "siconc", "greenness")
NAMES = ("tas", "tdps", "ps", "clt", "sfcWind", "orog", *STATES)
FREEZING = 271.35  # of sea water, K
METHODS = {"sfcWind": "_sfc_wind"}
COMMENT = (
    "idealised atmosphere, not an analysis (sea surface, sea ice and season of the vegetation too): a zonal "
    "climatology with seasons, a diurnal cycle and travelling waves; "
    "the values are plausible, but no weather that happened"
)
# Zonal wave number, meridional wave number, period in days (eastward > 0), phase, weight.
WAVES = (
    (3, 4, 9.0, 0.4, 0.35),
    (5, -7, 6.5, 2.1, 0.30),
    (6, 5, 5.0, 4.4, 0.30),
    (8, -12, 4.0, 1.2, 0.25),
    (11, 15, -7.0, 3.3, 0.20),
    (17, -16, 3.0, 5.7, 0.15),
    (29, 24, 2.0, 0.9, 0.12),
)

Float64Array = npt.NDArray[np.float64]


class IdealisedSource(Source):
    """Idealised atmosphere over a period.

    Parameters
    ----------
    start, end : datetime64, end exclusive
    hold : give one time, `start`, to be held over the period
    step_h : hours between times. 1: whole hours from `start`; more: the middles of intervals that begin at 00 UTC,
        so that each stands for its interval without a shift

    Raises
    ------
    InputError
        The period is empty.
    """

    def __init__(self, start: np.datetime64, end: np.datetime64, hold: bool = False, step_h: int = 1) -> None:
        from pipshpc.statics import open_static

        if end <= start:
            raise InputError(f"the period {start} to {end} is empty; its end has to be later")
        self._orog, self._land = open_static("orog"), open_static("land")
        self.grid = SourceGrid(np.arange(-89.5, 90.0), np.arange(0.5, 360.0), None, True)
        step = step_h * HOUR
        first = start
        if step_h > 1 and not hold:
            half = step // 2
            first = np.datetime64(0, "s") - (-(start - half - np.datetime64(0, "s")) // step) * step + half
        self.times = first + np.arange(1 if hold else max(1, -(-(end - first) // step))) * step
        # A single time of many is still one of a series.
        self.step = None if hold or (self.times.size == 1 and step_h == 1) else step
        self.hold = hold
        self._daily = step_h == 24 and not hold
        self.variables, self.states = (*NAMES, "tasmin") if self._daily else NAMES, STATES
        self.fields = {n: self._info(n) for n in self.variables}
        parts = f"idealised {VERSION}{' daily' * self._daily} {self._orog.identity} {self._land.identity}"
        self.identity = xxhash.xxh3_128_hexdigest(parts.encode())
        self.title = "idealised atmosphere"
        self.comment = COMMENT
        if hold:
            self.comment += f"; its state of {start} UTC is held over the whole period while the sun moves"

    def read(self, name: str, index: int) -> Float32Array:
        """Return variable `name` at ``times[index]``."""
        self.need(name)
        if name == "orog":
            return self._height.copy()
        days = float((self.times[index] - np.datetime64("2000-01-01T00:00:00", "s")) / np.timedelta64(1, "D"))
        values = getattr(self, METHODS.get(name, f"_{name}"))(days)
        return np.asarray(np.broadcast_to(values, self.grid.shape), dtype=np.float32).copy()

    def need(self, *names: str) -> None:
        """Raise `InputError` where one of `names` is not among the variables."""
        for name in names:
            if name not in self.variables:
                raise InputError(
                    f"the idealised atmosphere has no '{name}'; it has {', '.join(self.variables)}; "
                    "give a forcing of kind 'files', or an algorithm that does not need it"
                )

    def _info(self, name: str) -> FieldInfo:
        quantity = find_quantity(name)
        return FieldInfo(name, quantity.units, quantity.long_name, name, "time: point", 0, name == "orog")

    @cached_property
    def _height(self) -> Float32Array:
        return self._orog.mean_over(self.grid)

    @cached_property
    def _fraction(self) -> Float64Array:
        """Land fraction of the cells, turned from 180 W to 0 E."""
        tiles = self._land.tile_counts().reshape(180, 4, 360, 4).sum(axis=(1, 3)) / (16 * 900.0)
        return np.asarray(np.roll(tiles, -180, axis=1), dtype=np.float64)

    @cached_property
    def _lat(self) -> Float64Array:
        return np.deg2rad(self.grid.y)[:, None]

    @cached_property
    def _lon(self) -> Float64Array:
        return np.deg2rad(self.grid.x)[None, :]

    def _weather(self, days: float, turn: float) -> Float64Array:
        """Between about -1.5 and 1.5; `turn` gives other quantities other phases."""
        total = np.zeros(self.grid.shape)
        for east, north, period, phase, weight in WAVES:
            total += weight * np.cos(
                east * self._lon + north * self._lat - 2 * np.pi * days / period + phase + turn * east
            )
        return total

    def _tas(self, days: float) -> Float64Array:
        sine, land = np.sin(self._lat), self._fraction
        season = np.cos(2 * np.pi * (days - 200.0) / 365.25)
        yearly = np.where(sine > 0, 6.0 + 14.0 * land, 6.0 + 6.0 * land) * sine * season
        hour = days % 1.0 * 24.0 + self.grid.x[None, :] / 15.0
        daily = 0.0 if self._daily else self._wave * np.cos(2 * np.pi * (hour - 14.0) / 24.0)
        storms = 3.5 * np.sin(2 * self._lat) ** 2 * self._weather(days, 0.0)
        level = 299.5 - 44.0 * sine**2 - 14.0 * np.maximum(0.0, -sine) ** 6
        total = level + yearly + daily + storms - 6.5e-3 * np.maximum(self._height, 0.0)
        return np.asarray(total, np.float64)

    @cached_property
    def _wave(self) -> Float64Array:
        """Height of the diurnal wave."""
        return np.asarray((0.5 + 5.0 * self._fraction) * np.cos(self._lat))

    def _tasmin(self, days: float) -> Float64Array:
        return self._tas(days) - self._wave

    def _tdps(self, days: float) -> Float64Array:
        dry = np.exp(-(((np.abs(self.grid.y)[:, None] - 25.0) / 10.0) ** 2))
        depression = 3.5 + 9.0 * self._fraction * dry - 2.5 * self._weather(days, 0.7)
        return self._tas(days) - np.maximum(depression, 0.2)

    def _ps(self, days: float) -> Float64Array:
        standard = 101325.0 * (1.0 - 2.25577e-5 * np.asarray(self._height, float)) ** 5.25588
        factor = 1.0 - 0.009 * np.sin(2 * self._lat) ** 2 * self._weather(days, 0.3)
        return np.asarray(standard * factor)

    def _sfc_wind(self, days: float) -> Float64Array:
        stormy = 3.0 * np.sin(2 * self._lat) ** 2 * (1.0 - self._fraction)
        return np.maximum(6.0 + stormy - 2.5 * self._fraction + 2.0 * self._weather(days, 1.1), 0.3)

    def _late(self, days: float) -> float:
        """Season of what follows the sun by 45 days."""
        return float(np.cos(2 * np.pi * (days - 245.0) / 365.25))

    def _over_sea(self, days: float) -> Float64Array:
        """Air over open sea in its season, without weather."""
        sine = np.sin(self._lat)
        season = np.cos(2 * np.pi * (days - 200.0) / 365.25)
        level = 299.5 - 44.0 * sine**2 - 14.0 * np.maximum(0.0, -sine) ** 6
        return np.asarray(level + 6.0 * sine * season)

    def _tos(self, days: float) -> Float64Array:
        return np.maximum(self._over_sea(days) + 0.8, FREEZING)

    def _siconc(self, days: float) -> Float64Array:
        return np.clip((FREEZING - 2.0 - self._over_sea(days)) / 6.0, 0.0, 1.0)

    def _greenness(self, days: float) -> Float64Array:
        return np.clip(0.6 + 0.45 * self._late(days) * np.tanh(self.grid.y[:, None] / 20.0), 0.0, 1.0)

    def _clt(self, days: float) -> Float64Array:
        lat = self.grid.y[:, None]
        bands = 0.15 * np.exp(-((lat / 9.0) ** 2)) + 0.17 * np.exp(-(((np.abs(lat) - 60.0) / 14.0) ** 2))
        dry = 0.25 * np.exp(-(((np.abs(lat) - 24.0) / 9.0) ** 2)) * (0.5 + 0.5 * self._fraction)
        return np.clip(0.58 + bands - dry + 0.42 * self._weather(days, 0.7), 0.0, 1.0)
