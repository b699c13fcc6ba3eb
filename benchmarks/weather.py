"""Input that the benchmark makes: a smooth synthetic atmosphere in an ERA5-like netCDF-4 file.

Fields have a zonal climate, land-like standing waves and travelling weather
whose variance falls with the cube of the wavenumber, as that of the
troposphere does; no noise is added to what packing leaves, so they compress
like analysed fields.
"""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import numpy.typing as npt

NAMES = ("t2m", "d2m", "tcc")
PACKING = {"t2m": (0.002, 260.0), "d2m": (0.002, 255.0), "tcc": (1.0 / 65000.0, 0.5)}
UNITS = {"t2m": "K", "d2m": "K", "tcc": "(0 - 1)"}
STANDARD = {
    "t2m": "air_temperature",
    "d2m": "dew_point_temperature",
    "tcc": "cloud_area_fraction",
}


class Weather:
    """A moving atmosphere on a global grid of `step` degrees, poles included.

    Parameters
    ----------
    step : degrees
    seed : of the waves' phases
    """

    def __init__(self, step: float, seed: int = 7) -> None:
        self.lat = np.linspace(90.0, -90.0, round(180 / step) + 1)
        self.lon = np.arange(round(360 / step)) * step
        shape = self.lat.size, self.lon.size
        ky = np.fft.fftfreq(shape[0])[:, None] * shape[0]
        kx = np.fft.rfftfreq(shape[1])[None, :] * shape[1]
        # Amplitude ~ k^-2 in two dimensions is an energy spectrum of k^-3; flat below wavenumber 4.
        amplitude = 1.0 / (16.0 + kx**2 + (2 * ky) ** 2)
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(3, *amplitude.shape)) + 1j * rng.normal(size=(3, *amplitude.shape))
        self._waves = amplitude * noise
        self._kx, self._shape = kx, shape

    def wave(self, number: int, hours: float) -> npt.NDArray[np.float64]:
        """Return one of three independent fields of zero mean and unit variance, drifting east by 10 degrees a day."""
        turned = self._waves[number] * np.exp(-1j * self._kx * np.deg2rad(10.0 * hours / 24))
        field = np.fft.irfft2(turned, s=self._shape)
        return (field - field.mean()) / field.std()

    def state(self, hours: float) -> dict[str, npt.NDArray[np.float64]]:
        """Return t2m (K), d2m (K) and tcc (0..1) at a time."""
        lat, lon = np.deg2rad(self.lat)[:, None], np.deg2rad(self.lon)[None, :]
        sun = np.maximum(0.0, np.cos(lat) * np.cos(lon + np.pi * (hours - 12) / 12))
        warmth, moisture, cloud = (self.wave(k, hours) for k in range(3))
        t2m = 301.0 - 48.0 * np.sin(lat) ** 2 + 6.0 * sun + 7.0 * warmth * (0.3 + np.sin(lat) ** 2)
        depression = 1.0 + 9.0 * np.exp(0.5 * moisture - 0.4 * cloud) * np.cos(lat) ** 2
        tcc = np.clip(0.6 + 0.45 * cloud, 0.0, 1.0)
        return {"t2m": t2m, "d2m": t2m - depression, "tcc": tcc}


def write_forcing(path: Path, weather: Weather, steps: int) -> Path:
    """Write `steps` hourly states as a reanalysis comes: int16, deflate 1, shuffled, one time per chunk."""
    part = path.with_suffix(".part")
    shape = weather.lat.size, weather.lon.size
    with netCDF4.Dataset(part, "w") as file:
        for name, size in (("time", steps), ("latitude", shape[0]), ("longitude", shape[1])):
            file.createDimension(name, size)
        time = file.createVariable("time", "i4", ("time",))
        time.units, time.calendar, time.standard_name = "hours since 2019-02-02 00:00:00", "standard", "time"
        time[:] = np.arange(steps)
        for name, units, values in (
            ("latitude", "degrees_north", weather.lat),
            ("longitude", "degrees_east", weather.lon),
        ):
            axis = file.createVariable(name, "f4", (name,))
            axis.units, axis.standard_name = units, name
            axis[:] = values
        for name in NAMES:
            data = file.createVariable(
                name,
                "i2",
                ("time", "latitude", "longitude"),
                zlib=True,
                complevel=1,
                shuffle=True,
                chunksizes=(1, *shape),
                fill_value=-32767,
            )
            data.scale_factor, data.add_offset = PACKING[name]
            data.units, data.standard_name = UNITS[name], STANDARD[name]
        for k in range(steps):
            for name, values in weather.state(float(k)).items():
                file[name][k] = values
    part.replace(path)
    return path
