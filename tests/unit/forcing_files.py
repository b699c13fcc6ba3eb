"""Small forcing files of every kind, made for the tests with the libraries that users make theirs with."""

from pathlib import Path

import netCDF4
import numpy as np

LAT = np.linspace(-90, 90, 19)
LON = np.arange(0, 360, 10.0)


def field(k, lat=LAT, lon=LON):
    """A temperature that tells time, row and column apart, the same place the same value on any axes."""
    return 250 + 0.3 * lat[:, None] + 5 * np.cos(np.deg2rad(lon))[None, :] + k


def write_netcdf(
    path: Path,
    kind="NETCDF4",
    lat=LAT,
    lon=LON,
    times=range(4),
    names=("t2m",),
    units="K",
    dtype="f4",
    time_units="hours since 2020-02-28 22:00:00",
    calendar="standard",
    scale=None,
    fill=None,
    coordinates=("latitude", "longitude", "time"),
    **storage,
):
    y, x, t = coordinates
    with netCDF4.Dataset(path, "w", format=kind) as d:
        d.createDimension(t, None if kind != "NETCDF4" else len(times))
        d.createDimension(y, len(lat))
        d.createDimension(x, len(lon))
        v = d.createVariable(t, "f8", (t,))
        if time_units:
            v.units = time_units
        v.calendar = calendar
        v[:] = list(times)
        v = d.createVariable(y, "f4", (y,))
        v.units = "degrees_north"
        v[:] = lat
        v = d.createVariable(x, "f4", (x,))
        v.units = "degrees_east"
        v[:] = lon
        for name in names:
            v = d.createVariable(name, dtype, (t, y, x), fill_value=fill, **storage)
            if units is not None:
                v.units = units
            if scale:
                v.scale_factor, v.add_offset = scale
            values = np.ma.masked_invalid([field(k, np.asarray(lat), np.asarray(lon)) for k in times])
            if fill is not None:
                values[0, 2, 3] = np.ma.masked
            v[:] = values
    return path


def write_grib(path: Path, times=range(2), short_name="2t", edition=2, step_type="instant"):
    from pipshpc.source.eccodeslib import eccodes

    with path.open("wb") as file:
        for k in times:
            h = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
            keys = {
                "Ni": 36, "Nj": 19,
                "latitudeOfFirstGridPointInDegrees": 90.0, "latitudeOfLastGridPointInDegrees": -90.0,
                "longitudeOfFirstGridPointInDegrees": 0.0, "longitudeOfLastGridPointInDegrees": 350.0,
                "iDirectionIncrementInDegrees": 10.0, "jDirectionIncrementInDegrees": 10.0,
            }  # fmt: skip
            for key, value in keys.items():
                eccodes.codes_set(h, key, value)
            eccodes.codes_set(h, "dataDate", 20200228)
            eccodes.codes_set(h, "dataTime", 2200)
            eccodes.codes_set(h, "shortName", short_name)
            eccodes.codes_set(h, "stepType", step_type)
            eccodes.codes_set(h, "stepRange", str(k) if step_type == "instant" else f"{k}-{k + 6}")
            eccodes.codes_set(h, "bitsPerValue", 16)
            values = field(k)[::-1]
            if k == 0:
                eccodes.codes_set(h, "bitmapPresent", 1)
                eccodes.codes_set(h, "missingValue", 9999.0)
                values[0, 0] = 9999.0
            eccodes.codes_set_values(h, values.reshape(-1))
            eccodes.codes_write(h, file)
            eccodes.codes_release(h)
    return path
