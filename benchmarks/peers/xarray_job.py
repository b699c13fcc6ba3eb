"""The job in xarray, dask and netCDF4: ``python -m benchmarks.peers.xarray_job IN OUT STEPS GRID_STEP WAY``.

Three ways: ``plain`` is `interp` as its documentation shows it; ``bands`` is
`interp` in single precision, along latitude first (cheap), then along
longitude in bands of rows, so that what a worker holds stays small;
``weights`` takes the neighbours by index and weighs them itself, in bands.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import dask
import numpy as np
import xarray as xr

WORKERS = 2
BAND = 900  # rows of output that one dask task makes


def flux(forcing: xr.Dataset) -> xr.DataArray:
    """Vapour pressure by Bolton (1980), clear sky by Prata (1996), clouds by Konzelmann et al. (1994)."""
    f = np.float32
    celsius = forcing.d2m - f(273.15)
    vap = f(611.2) * np.exp(f(17.67) * celsius / (celsius + f(243.5)))
    w = f(0.465) * vap / forcing.t2m
    clear = f(1) - (f(1) + w) * np.exp(-np.sqrt(f(1.2) + f(3) * w))
    n2, t2 = forcing.tcc * forcing.tcc, forcing.t2m * forcing.t2m
    return (clear + n2 * n2 * (f(0.952) - clear)) * f(5.670374419e-8) * t2 * t2


def interpolate(forcing: xr.Dataset, lat: xr.DataArray, lon: xr.DataArray, way: str) -> xr.Dataset:
    """Bring the forcing to the pixels."""
    band = {"lat": min(BAND, lat.size)}
    if way == "plain":
        return forcing.interp(latitude=lat, longitude=lon)
    forcing = forcing.astype("f4")
    if way == "bands":
        return forcing.interp(latitude=lat).astype("f4").chunk(band).interp(longitude=lon).astype("f4")
    row, column = (np.arange(forcing.sizes[name]) for name in ("latitude", "longitude"))
    y = np.interp(lat.values, forcing.latitude.values[::-1], row[::-1])  # latitudes fall
    x = np.interp(lon.values, forcing.longitude.values, column)
    j, i = (xr.DataArray(np.floor(p).astype(int), dims=d) for p, d in ((y, "lat"), (x, "lon")))
    wy, wx = (xr.DataArray((p - np.floor(p)).astype("f4"), dims=d) for p, d in ((y, "lat"), (x, "lon")))
    bare = forcing.drop_vars(["latitude", "longitude"])
    low, high = bare.isel(latitude=j), bare.isel(latitude=j + 1)
    tall = (low + wy * (high - low)).chunk(band)
    left, right = tall.isel(longitude=i), tall.isel(longitude=i + 1)
    return left + wx * (right - left)


def run(source: str, target: str, steps: int, step: float, way: str) -> None:
    """Read, interpolate, compute and write."""
    rows = round(180 / step)
    lat = xr.DataArray(90 - step * (np.arange(rows) + 0.5), dims="lat")
    lon = xr.DataArray(-180 + step * (np.arange(2 * rows) + 0.5), dims="lon")
    forcing = xr.open_dataset(source, chunks={"time": 1}).isel(time=slice(0, steps))
    # One more column closes the circle.
    closed = np.append(forcing.longitude.values, 360.0)
    forcing = forcing.pad(longitude=(0, 1), mode="wrap").assign_coords(longitude=closed)
    fine = interpolate(forcing, lat, lon % 360, way)
    result = flux(fine).drop_vars(["latitude", "longitude"], errors="ignore").assign_coords(lat=lat, lon=lon)
    encoding = {
        "dtype": "i2",
        "scale_factor": np.float32(0.02),
        "add_offset": np.float32(350.0),
        "_FillValue": np.int16(-32768),
        "zlib": True,
        "complevel": 1,
        "shuffle": True,
        "chunksizes": (1, min(360, rows), min(720, 2 * rows)),
    }
    result.transpose("time", "lat", "lon").to_dataset(name="rlds").to_netcdf(
        target, engine="netcdf4", encoding={"rlds": encoding}
    )


def main() -> None:
    """Run the job and print what it took, without the start of the interpreter."""
    source, target, steps, step, way = sys.argv[1:6]
    begin = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        run(source, target, int(steps), float(step), way)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": time.perf_counter() - begin, "peak_mib": usage.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
