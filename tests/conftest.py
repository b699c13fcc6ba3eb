"""Fixtures that several layers share."""

import importlib.util
import json
import os
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

GLOBE = (-180.0, -90.0, 180.0, 90.0)
FILL = -32768


def pytest_collection_modifyitems(items):
    """Put the tests on the virtual cluster last: what is quick to fail comes first."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is not None)


def pytest_terminal_summary(terminalreporter):
    """Say once for each reason how many tests it skipped."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(r.longrepr[2] if isinstance(r.longrepr, tuple) else r.longrepr) for r in reports)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


def write_sample(path, box=GLOBE, step=1.0, windows=8, gap=False, algorithm="prata1996-um1975", chunk=None):
    """Write a small file with the layout of a product file: zonal bands that move with the sun."""
    west, south, east, north = box
    lat = north - (np.arange(round((north - south) / step)) + 0.5) * step
    lon = west + (np.arange(round((east - west) / step)) + 0.5) * step
    starts = 1143849600 / 3600 + 3.0 * np.arange(windows)  # 2006-04-01T00Z in hours since 1970
    hour = (3.0 * np.arange(windows) + 1.5)[:, None, None]
    values = 330 + 110 * np.cos(np.radians(lat))[None, :, None] ** 2 - 100
    values = values + 40 * np.cos(np.radians(lon)[None, None, :] + 2 * np.pi * (hour - 12) / 24)
    packed = np.rint((values - 350.0) / 0.02).astype("i2")
    if gap:
        packed[:, lat.size // 4 : lat.size // 3, lon.size // 3 : lon.size // 2] = FILL
        packed[-1] = FILL if windows > 1 else packed[-1]
    chunk = chunk or (min(45, lat.size), min(90, lon.size))
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        text = {
            "Conventions": "CF-1.11",
            "title": "Surface downwelling longwave radiation, means of 3 h",
            "institution": "test bench",
            "source": f"rlds version 1, algorithm {algorithm}, from an artificial atmosphere",
            "history": "written by a test",
            "references": "none",
            "comment": "Artificial values.",
            "pipshpc_product": "rlds",
            "pipshpc_algorithm": algorithm,
            "pipshpc_task": "0123456789abcdef",
            "lineage": json.dumps(
                {
                    "task": "0123456789abcdef",
                    "pipshpc": "0.1.0",
                    "kernels": "feed",
                    "forcing": {"title": "an artificial atmosphere", "identity": "cafe", "hold": True},
                    "statics": {"orog": "beef"},
                    "cards": {"rlds": 1},
                    "choices": [{"product": "rlds", "algorithm": algorithm, "reason": "first whose inputs can be had"}],
                    "rejected": {"rlds": {"brutsaert1975": "lower on the card's list"}},
                }
            ),
        }
        for name, value in text.items():
            file.attrs[name] = np.bytes_(value.encode())
        axes = [
            _axis(file, "time", starts + 1.5, "time", "hours since 1970-01-01 00:00:00", "T"),
            _axis(file, "lat", lat, "latitude", "degrees_north", "Y"),
            _axis(file, "lon", lon, "longitude", "degrees_east", "X"),
        ]
        file["time"].attrs["calendar"] = np.bytes_("standard")
        file["time"].attrs["units_metadata"] = np.bytes_("leap_seconds: none")
        pair = file.create_dataset("bnds", (2,), "f4")
        pair.make_scale(f"This is a netCDF dimension but not a netCDF variable.{2:10d}")
        edges = {"time": (starts, starts + 3), "lat": (lat + step / 2, lat - step / 2)}
        edges["lon"] = (lon - step / 2, lon + step / 2)
        for scale, (name, sides) in zip(axes, edges.items(), strict=True):
            bounds = file.create_dataset(f"{name}_bnds", data=np.stack(sides, axis=1))
            bounds.dims[0].attach_scale(scale)
            bounds.dims[1].attach_scale(pair)
        crs = file.create_dataset("crs", data=np.int32(0))
        crs.attrs["grid_mapping_name"] = np.bytes_("latitude_longitude")
        crs.attrs["long_name"] = np.bytes_("WGS 84")
        crs.attrs.update({"semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563})
        crs.attrs["longitude_of_prime_meridian"] = 0.0
        options = {"chunks": (1, *chunk), "compression": "gzip", "compression_opts": 1, "fletcher32": True}
        data = file.create_dataset("rlds", data=packed, shuffle=True, fillvalue=np.int16(FILL), **options)
        data.attrs["_FillValue"] = np.array([FILL], "i2")
        data.attrs.update({"scale_factor": np.float32(0.02), "add_offset": np.float32(350.0)})
        for name, value in {
            "long_name": "Surface downwelling longwave radiation",
            "standard_name": "surface_downwelling_longwave_flux_in_air",
            "units": "W m-2",
            "cell_methods": "time: mean",
            "grid_mapping": "crs",
            "ancillary_variables": "rlds_count",
        }.items():
            data.attrs[name] = np.bytes_(value)
        samples = np.where(packed == FILL, 0, 3).astype("u1")
        count = file.create_dataset("rlds_count", data=samples, fillvalue=np.uint8(0), **options)
        count.attrs["standard_name"] = np.bytes_("number_of_observations")
        count.attrs["long_name"] = np.bytes_("number of forcing time steps in the mean of rlds")
        count.attrs["units"] = np.bytes_("1")
        count.attrs["grid_mapping"] = np.bytes_("crs")
        for dataset in (data, count):
            for axis, scale in enumerate(axes):
                dataset.dims[axis].attach_scale(scale)
    return Path(path)


def _axis(file, name, values, standard_name, units, letter):
    scale = file.create_dataset(name, data=values)
    for key, value in (("standard_name", standard_name), ("long_name", standard_name), ("units", units)):
        scale.attrs[key] = np.bytes_(value)
    scale.attrs["axis"] = np.bytes_(letter)
    scale.attrs["bounds"] = np.bytes_(f"{name}_bnds")
    scale.make_scale(name)
    return scale


@pytest.fixture
def sample():
    """Return the writer of small product files."""
    return write_sample


@pytest.fixture
def product_file(tmp_path):
    """Return a global file of 1 degree with 8 windows, without gaps."""
    return write_sample(tmp_path / "rlds_1deg_3h_20060401.nc")


@pytest.fixture
def needs():
    """Return a function that skips the test where a Python package is not installed."""

    def check(*names):
        for name in names:
            if importlib.util.find_spec(name) is None:
                pytest.skip(f"{name} is not installed")

    return check


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference vectors and real input files, which are not part of the project."""
    path = Path(os.environ.get("PIPSHPC_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}; set PIPSHPC_SHARED to the folder that holds reference/ and data/")
    return path
