"""What a product file says of its grid: coordinates with bounds, areas, the CF grid mapping."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from pipshpc.grid import PolarWindow, Window


def write_metres(
    file: h5py.File, window: PolarWindow
) -> tuple[list[h5py.Dataset], list[tuple[str, Any, h5py.Dataset]]]:
    """Write what places a projected grid in the world.

    Returns
    -------
    scales : y and x
    bounds : name, (n, 2) edges in m and scale of each
    """
    rows, columns = window.slices
    half = window.grid.size / 2
    scales, bounds = [], []
    for name, axis, letter in (("y", window.grid.y[rows], "Y"), ("x", window.grid.x[columns], "X")):
        scale = file.create_dataset(name, data=axis)
        describe = {"standard_name": f"projection_{name}_coordinate", "long_name": f"{name} of the projection"}
        _note(scale, **describe, units="m", axis=letter, bounds=f"{name}_bnds")
        scale.make_scale(name)
        scales.append(scale)
        edges = np.stack([axis - half, axis + half], axis=1)
        bounds.append((f"{name}_bnds", edges[:, ::-1] if name == "y" else edges, scale))
    lat, lon = window.grid.geographic(rows, columns)
    plain = {"lat": ("latitude", "degrees_north", lat), "lon": ("longitude", "degrees_east", lon)}
    plain["areacello"] = ("cell_area", "km2", window.grid.cell_area(rows, columns))
    for name, (standard, units, values) in plain.items():
        # The last bits of PROJ's sines follow the machine; a nanodegree is a tenth of a millimetre.
        field = file.create_dataset(name, data=np.round(values, 9), compression="gzip", compression_opts=1)
        _note(field, standard_name=standard, long_name=standard.replace("_", " "), units=units, grid_mapping="crs")
        for number, scale in enumerate(scales):
            field.dims[number].attach_scale(scale)
    crs = file.create_dataset("crs", data=np.int32(0))
    for name, value in window.grid.grid_mapping().items():
        if isinstance(value, str):
            _note(crs, **{name: value})
        else:
            crs.attrs[name] = np.asarray(value, np.float64)
    crs.attrs["epsg_code"] = np.int32(window.grid.epsg)
    return scales, bounds


def write_degrees(
    file: h5py.File, window: Window, time: h5py.Dataset
) -> tuple[list[h5py.Dataset], list[tuple[str, Any, h5py.Dataset]]]:
    """Write latitudes and longitudes; return the scales and their bounds."""
    lat, lon, half = window.lat(), window.lon(), window.grid.step / 2
    y = file.create_dataset("lat", data=lat)
    _note(y, standard_name="latitude", long_name="latitude", units="degrees_north", axis="Y", bounds="lat_bnds")
    x = file.create_dataset("lon", data=lon)
    _note(x, standard_name="longitude", long_name="longitude", units="degrees_east", axis="X", bounds="lon_bnds")
    for scale in (time, y, x):
        scale.make_scale(scale.name[1:])
    return [y, x], [
        ("lat_bnds", np.stack([lat + half, lat - half], axis=1), y),
        ("lon_bnds", np.stack([lon - half, lon + half], axis=1), x),
    ]


def write_wgs84(file: h5py.File) -> None:
    """Write the grid mapping of latitude and longitude."""
    crs = file.create_dataset("crs", data=np.int32(0))
    _note(crs, grid_mapping_name="latitude_longitude", long_name="WGS 84", geographic_crs_name="WGS 84")
    _note(crs, horizontal_datum_name="World Geodetic System 1984", reference_ellipsoid_name="WGS 84")
    _note(crs, prime_meridian_name="Greenwich")
    crs.attrs["semi_major_axis"] = 6378137.0
    crs.attrs["inverse_flattening"] = 298.257223563
    crs.attrs["longitude_of_prime_meridian"] = 0.0


def note_field(field: h5py.Dataset) -> None:
    """Name the auxiliary coordinates and the areas of a field on a projected grid."""
    _note(field, coordinates="lat lon", cell_measures="area: areacello")


def _note(target: h5py.Dataset, **attributes: str) -> None:
    for name, value in attributes.items():
        target.attrs[name] = np.bytes_(value.encode("utf-8"))
