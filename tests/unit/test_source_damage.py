"""Bad input: each kind of damage, made for real, is named before anything is computed."""

import netCDF4
import numpy as np
import pytest
from forcing_files import LAT, LON, write_grib, write_netcdf

from pipshpc.errors import InputError, SpecError
from pipshpc.forcing import Forcing, Native
from pipshpc.source import check


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def refuse(match, *paths, error=InputError, wanted=("tas",), **stated):
    period = {k: stated.pop(k) for k in ("start", "end", "box") if k in stated}
    with pytest.raises(error, match=match):
        check(Forcing(paths=[str(p) for p in paths], **stated), ".", wanted=wanted, **period)


def cut(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)] if keep < 1 else data[:keep])
    return path


def test_missing_file_is_named(tmp_path):
    refuse(r"gone\.nc: file does not exist", tmp_path / "gone.nc")
    refuse(r"no file matches '.*gone\*\.nc'", tmp_path / "gone*.nc")
    refuse("is a folder; give files", tmp_path)


def test_empty_and_foreign_files(tmp_path):
    (tmp_path / "e.nc").touch()
    refuse(r"e\.nc: is empty", tmp_path / "e.nc")
    (tmp_path / "t.nc").write_text("not a data file")
    refuse(r"t\.nc: starts with b'not a da'; GRIB, netCDF or HDF5 is wanted", tmp_path / "t.nc")


@pytest.mark.parametrize("edition", [1, 2])
def test_truncated_grib(tmp_path, edition):
    path = write_grib(tmp_path / "f.grib", edition=edition)
    refuse(r"f\.grib: truncated: message 2 at byte \d+ has \d+ bytes, but the file ends after", cut(path, 0.9))


def test_grib_without_its_end(tmp_path):
    path = write_grib(tmp_path / "f.grib")
    data = bytearray(path.read_bytes())
    data[-4:] = b"0000"
    path.write_bytes(data)
    refuse("message 2 at byte .* does not end with 7777", path)


def test_noise_between_grib_messages(tmp_path):
    path = write_grib(tmp_path / "f.grib")
    path.write_bytes(path.read_bytes() + b"oops, something else")
    refuse(r"byte \d+ is not the start of a GRIB message", path)


@pytest.mark.parametrize("keep", [0.95, 0.5, 600])
def test_truncated_hdf5(tmp_path, keep):
    path = write_netcdf(tmp_path / "f.nc", lat=np.linspace(-90, 90, 91))
    refuse(r"f\.nc: truncated or damaged HDF5", cut(path, keep))


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_truncated_netcdf3(tmp_path, kind):
    path = write_netcdf(tmp_path / "f.nc", kind=kind, names=("t2m", "d2m"))
    refuse(r"truncated: the netCDF-3 header needs \d+ bytes, the file has \d+", cut(path, 0.98))
    refuse("truncated or damaged netCDF-3 header", cut(path, 100))


def test_damaged_chunk_is_named(tmp_path):
    path = write_netcdf(tmp_path / "f.nc", dtype="i2", scale=(0.01, 260), zlib=True, chunksizes=(1, 19, 36))
    import h5py

    with h5py.File(path) as f:
        info = f["t2m"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[info.byte_offset + 2 : info.byte_offset + 40] = b"\xff" * 38
    path.write_bytes(data)
    refuse("variable 't2m', index 0: damaged data", path)


def test_missing_variable_says_what_was_sought_and_what_is_there(tmp_path):
    path = write_netcdf(tmp_path / "f.nc", names=("u10",), units="m s-1")
    refuse(r"variable 'tas' .* is not in .*f\.nc; looked for: names tas, t2m, .*standard_name air_temperature; .*"
           r"there is: u10 \[m s-1\];", path)  # fmt: skip
    refuse(r"looked for: Temp as the campaign says; there is: u10", path, variables={"tas": "Temp"})


def test_missing_grib_parameter(tmp_path):
    path = write_grib(tmp_path / "f.grib")
    refuse(
        r"variable 'ps' .* looked for: GRIB .*there is: 2t \(heightAboveGround 2\)",
        path,
        wanted=("ps",),
    )


@pytest.mark.parametrize(("units", "said"), [(None, "no units are given"), ("", "no units"), ("furlong", "'furlong'")])
def test_missing_or_wrong_units(tmp_path, units, said):
    path = write_netcdf(tmp_path / "f.nc", units=units)
    refuse(rf"f\.nc: 't2m': .*{said}.*understood are: k, kelvin.*state the true ones under 'variables'", path)
    assert check(Forcing(paths=[str(path)], variables={"tas": Native(name="t2m", units="K")}), wanted=["tas"])


def test_duplicate_times_name_both_files(tmp_path):
    a, b = write_netcdf(tmp_path / "a.nc"), write_netcdf(tmp_path / "b.nc", times=range(3, 6))
    refuse(r"time 2020-02-29T01:00:00 of 't2m' is there in .*a\.nc and in .*b\.nc", a, b)
    refuse(r"is there twice in .*c\.nc", write_netcdf(tmp_path / "c.nc", times=[0, 1, 1, 2]))


def test_gap_names_files_and_times(tmp_path):
    a, b = write_netcdf(tmp_path / "a.nc"), write_netcdf(tmp_path / "b.nc", times=range(6, 9))
    refuse(
        r"gap: after 2020-02-29T01:00:00 \(.*a\.nc\) comes 2020-02-29T04:00:00 \(.*b\.nc\), but its step is 1 h", a, b
    )


def test_grib_gap(tmp_path):
    refuse("gap: after 2020-02-28T23:00:00", write_grib(tmp_path / "f.grib", times=[0, 1, 3]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_units": ""}, "time units are ''"),
        ({"time_units": "months since 2000-01-01"}, "cannot be read"),
        ({"time_units": "fortnights since never"}, "cannot be read"),
        ({"times": [0, 1, np.nan, 3]}, "missing values"),
    ],
)
def test_time_axis_that_means_nothing(tmp_path, options, said):
    refuse(said, write_netcdf(tmp_path / "f.nc", **options))


def test_period_not_covered(tmp_path):
    path = write_netcdf(tmp_path / "f.nc")
    refuse("does not cover the period .* it holds 2020-02-28T22:00:00 to 2020-02-29T01:00:00 every 1 h",
           path, start="2020-03-01", end="2020-03-02")  # fmt: skip
    refuse("does not cover the period", path, start="2020-02-28T22", end="2020-02-29T06")
    one = write_netcdf(tmp_path / "one.nc", times=[0])
    refuse("set 'hold: true'", one, start="2020-02-28T22", end="2020-02-29T22")


def test_hold_needs_a_single_time(tmp_path):
    refuse("holds 4 times, but 'hold: true' holds one state", write_netcdf(tmp_path / "f.nc"), hold=True)


def test_box_not_covered(tmp_path):
    path = write_netcdf(tmp_path / "f.nc", lat=np.arange(30, 60.0), lon=np.arange(0, 30.0))
    refuse("covers latitude 29.5 to 59.5, longitude -0.5 to 29.5 .* asked for west -20", path, box=(-20, 40, 10, 50))


def test_files_of_different_grids(tmp_path):
    a = write_netcdf(tmp_path / "a.nc")
    b = write_netcdf(tmp_path / "b.nc", times=range(4, 8), lat=LAT * 0.9)
    refuse(r"b\.nc: 't2m' is on another grid", a, b)
    c = write_netcdf(tmp_path / "c.nc", names=("d2m",), lon=LON[:18])
    refuse(r"c\.nc: 'd2m' is on another grid .* than 't2m'", a, c, wanted=("tas", "tdps"))


def test_variables_at_different_times(tmp_path):
    a = write_netcdf(tmp_path / "a.nc")
    b = write_netcdf(tmp_path / "b.nc", names=("d2m",), times=range(1, 5))
    refuse(
        "have different times: 2020-02-28T22:00:00 is there for 't2m' but not for 'd2m'", a, b, wanted=("tas", "tdps")
    )
    assert check(Forcing(paths=[str(a), str(b)]), wanted=["tas"])  # what nobody asked for does no harm


def test_levels_are_refused(tmp_path):
    path = tmp_path / "f.nc"
    with netCDF4.Dataset(path, "w") as d:
        for name, values, units in (("time", [0], "hours since 2000-01-01"), ("level", [1000, 850], "hPa"),
                                    ("lat", LAT, "degrees_north"), ("lon", LON, "degrees_east")):  # fmt: skip
            d.createDimension(name, len(values))
            d.createVariable(name, "f8", (name,)).units = units
            d[name][:] = values
        d.createVariable("T2M", "f4", ("time", "level", "lat", "lon")).units = "K"
    refuse("variable 'T2M' has 2 levels along 'level'", path)


def test_field_without_a_number(tmp_path):
    path = write_netcdf(tmp_path / "f.nc")
    with netCDF4.Dataset(path, "a") as d:
        d["t2m"][:] = np.nan
    refuse("'tas' at 2020-02-28T22:00:00 holds no valid number", path)


def test_unknown_quantity_in_the_campaign(tmp_path):
    path = write_netcdf(tmp_path / "f.nc")
    refuse("unknown quantity temperature; known are: tas", path, error=SpecError, variables={"temperature": "t2m"})
