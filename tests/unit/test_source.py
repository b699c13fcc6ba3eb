"""Forcing of every format gives the same numbers on the same grid."""

import h5py
import numpy as np
import pytest
from forcing_files import LAT, LON, field, write_grib, write_netcdf

from pipshpc.errors import InputError
from pipshpc.forcing import Forcing, Native
from pipshpc.schema import convert
from pipshpc.source import check, open_source


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(*paths, **stated):
    return open_source(Forcing(paths=[str(p) for p in paths], **stated))


def on_grid(source, k):
    """The field that `write_netcdf` means for time k, on the source's own axes."""
    return field(k, source.grid.y, source.grid.x)


STORED = {
    "netcdf4-float": {},
    "netcdf4-deflated": {"zlib": True, "shuffle": True, "chunksizes": (1, 7, 11)},
    "netcdf4-deflated-no-shuffle": {"zlib": True, "shuffle": False, "chunksizes": (1, 19, 36)},
    "netcdf4-times-in-a-chunk": {"zlib": True, "chunksizes": (3, 8, 36)},
    "netcdf4-checksummed": {"zlib": True, "fletcher32": True},
    "netcdf4-double": {"dtype": "f8", "zlib": True},
    "classic-float": {"kind": "NETCDF3_CLASSIC"},
    "offset64-float": {"kind": "NETCDF3_64BIT_OFFSET"},
    "data64-double": {"kind": "NETCDF3_64BIT_DATA", "dtype": "f8"},
}
PACKED = {"dtype": "i2", "scale": (0.002, 260.0)}


@pytest.mark.parametrize("storage", STORED.values(), ids=STORED.keys())
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("down", [False, True], ids=["ascending", "descending"])
def test_every_storage_gives_the_same_field(tmp_path, storage, packed, down):
    options = {**storage, **(PACKED if packed else {})}
    path = write_netcdf(tmp_path / "f.nc", lat=LAT[::-1] if down else LAT, fill=-9999 if packed else 1e20, **options)
    source = opened(path)
    assert source.variables == ("tas",)
    assert source.grid.periodic and source.grid.crs is None
    np.testing.assert_array_equal(source.grid.y, LAT)
    assert str(source.times[3]) == "2020-02-29T01:00:00" and source.step == np.timedelta64(3600, "s")
    for k in (3, 0):
        got = source.read("tas", k)
        assert got.dtype == np.float32 and got.flags.c_contiguous
        missing = np.isnan(got)
        assert missing.sum() == (k == 0)
        if k == 0:
            assert missing[16 if down else 2, 3]
        np.testing.assert_allclose(got[~missing], on_grid(source, k)[~missing], atol=0.0011 if packed else 2e-5)


@pytest.mark.parametrize("lon", [np.arange(-180, 180, 10.0), np.roll(np.where(LON < 180, LON, LON - 360), 5), LON])
def test_longitudes_of_any_convention_are_one_ascending_turn(tmp_path, lon):
    source = opened(write_netcdf(tmp_path / "f.nc", lon=lon))
    assert source.grid.periodic and np.all(np.diff(source.grid.x) == 10)
    np.testing.assert_allclose(source.read("tas", 1), on_grid(source, 1), atol=2e-5)


def test_repeated_last_column_is_dropped(tmp_path):
    source = opened(write_netcdf(tmp_path / "f.nc", lon=np.arange(0, 361, 10.0), zlib=True))
    assert source.grid.shape == (19, 36) and source.grid.periodic
    np.testing.assert_allclose(source.read("tas", 1), on_grid(source, 1), atol=2e-5)


@pytest.mark.parametrize("edition", [1, 2])
def test_grib_gives_the_same_field(tmp_path, edition):
    source = opened(write_grib(tmp_path / "f.grib", edition=edition, times=range(3)))
    assert source.variables == ("tas",) and source.times.size == 3
    got = source.read("tas", 0)
    assert np.argwhere(np.isnan(got)).tolist() == [[18, 0]]
    np.testing.assert_allclose(source.read("tas", 2), on_grid(source, 2), atol=1e-3)


def test_grib_mean_says_so(tmp_path):
    source = opened(write_grib(tmp_path / "f.grib", step_type="avg", times=[0]))
    assert source.fields["tas"].mean_s == 6 * 3600
    assert "tas are means over the 6 h before" in source.comment


def test_plain_hdf5_without_attributes_reads_with_stated_units(tmp_path):
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as f:
        f["lat"], f["lon"] = LAT, LON
        f["time"] = np.arange(4)
        f["time"].attrs["units"] = "hours since 2020-02-28 22:00"
        f["group/airtemp"] = np.array([field(k) - 273.15 for k in range(4)])
    source = opened(path, variables={"tas": Native(name="airtemp", units="degC")})
    np.testing.assert_allclose(source.read("tas", 2), on_grid(source, 2), atol=3e-5)


def test_several_files_are_joined_in_time_whatever_their_order(tmp_path):
    write_netcdf(tmp_path / "b.nc", times=range(4, 8))
    write_netcdf(tmp_path / "c.nc", times=range(4))
    source = opened(tmp_path / "*.nc")
    assert source.times.size == 8
    np.testing.assert_allclose(source.read("tas", 6), on_grid(source, 6), atol=2e-5)
    # The identity is that of the content: file names and order do not matter.
    (tmp_path / "b.nc").rename(tmp_path / "z.nc")
    assert opened(tmp_path / "*.nc").identity == source.identity


def test_variables_of_several_files_go_together(tmp_path):
    write_netcdf(tmp_path / "t.nc")
    write_netcdf(tmp_path / "d.nc", names=("d2m",))
    source = opened(tmp_path / "t.nc", tmp_path / "d.nc")
    assert source.variables == ("tas", "tdps")


@pytest.mark.parametrize(
    ("names", "units", "canonical", "factor", "offset"),
    [
        (("t2m",), "degC", "tas", 1, 273.15),
        (("sp",), "hPa", "ps", 100, 0),
        (("PS",), "millibars", "ps", 100, 0),
        (("z",), "m**2 s**-2", "orog", 1 / 9.80665, 0),
        (("Qair",), "g kg-1", "huss", 1e-3, 0),
        (("tcwv",), "kg m**-2", "prw", 1, 0),
    ],
)
def test_units_are_converted_by_the_table(tmp_path, names, units, canonical, factor, offset):
    source = opened(write_netcdf(tmp_path / "f.nc", names=names, units=units))
    np.testing.assert_allclose(source.read(canonical, 1), on_grid(source, 1) * factor + offset, rtol=1e-6)


def test_percent_becomes_a_fraction_between_0_and_1(tmp_path):
    source = opened(write_netcdf(tmp_path / "f.nc", names=("CLDTOT",), units="%"))
    assert np.all(source.read("clt", 0) == 1.0)  # values of 250 % are clipped


@pytest.mark.parametrize(
    ("units", "calendar", "values"),
    [
        ("days since 2020-02-28 22:00", "proleptic_gregorian", np.arange(4) / 24),
        ("seconds since 1970-01-01", "standard", 1582927200 + 3600 * np.arange(4)),
        ("hours since 1900-01-01 00:00:00.0", "gregorian", 1053310 + np.arange(4)),
    ],
)
def test_time_units_come_out_in_whole_seconds(tmp_path, units, calendar, values):
    path = write_netcdf(tmp_path / "f.nc", times=values, time_units=units, calendar=calendar)
    np.testing.assert_array_equal(
        opened(path).times, np.datetime64("2020-02-28T22:00:00") + np.arange(4) * np.timedelta64(3600, "s")
    )


def test_standard_name_finds_what_the_names_do_not(tmp_path):
    import netCDF4

    path = write_netcdf(tmp_path / "f.nc", names=("odd",))
    with netCDF4.Dataset(path, "a") as d:
        d["odd"].standard_name = "air_temperature"
    assert opened(path).variables == ("tas",)


def test_held_state_serves_any_period(tmp_path):
    path = write_netcdf(tmp_path / "f.nc", times=[0])
    with open_source(Forcing(paths=[str(path)], hold=True), ".", "2020-03-01", "2020-03-05") as source:
        assert source.select(np.datetime64("2020-03-01"), np.datetime64("2020-03-05")).tolist() == [0]
        assert "held over the whole period" in source.comment


def test_select_takes_the_period_end_exclusive(tmp_path):
    source = opened(write_netcdf(tmp_path / "f.nc", times=range(48), time_units="hours since 2020-01-01"))
    assert source.select(np.datetime64("2020-01-01T03"), np.datetime64("2020-01-01T06")).tolist() == [3, 4, 5]


def test_check_returns_the_identity(tmp_path):
    path = write_netcdf(tmp_path / "f.nc")
    spec = Forcing(paths=["f.nc"])
    assert check(spec, tmp_path, box=(-10, -10, 10, 10), wanted=["tas"]) == opened(path).identity


def test_identity_changes_with_the_content(tmp_path):
    path = write_netcdf(tmp_path / "f.nc")
    first = opened(path).identity
    write_netcdf(path, times=range(1, 5))
    assert opened(path).identity != first


def test_forcing_is_read_strictly_from_yaml():
    spec = convert(
        {"paths": ["a.nc"], "variables": {"tas": "T", "ps": {"name": "P", "units": "hPa"}}}, Forcing, "c.yaml"
    )
    assert spec.native("tas") == Native(name="T")
    assert spec.native("ps") == Native(name="P", units="hPa")
    for wrong in ({"path": ["a.nc"]}, {}, {"kind": "idealised", "paths": ["a"]}, {"paths": ["a"], "hold": "yes"}):
        with pytest.raises(Exception, match=r"c\.yaml"):
            convert(wrong, Forcing, "c.yaml")


def test_reading_what_is_not_there_is_an_input_error(tmp_path):
    source = opened(write_netcdf(tmp_path / "f.nc"))
    with pytest.raises(InputError, match=r"'ps'.*looked for: names ps, sp.*there is: t2m \[K\]"):
        source.read("ps", 0)
    with pytest.raises(InputError, match="time index 4 of 4"):
        source.read("tas", 4)


def test_ncep_flux_file(shared):
    source = opened(shared / "data/global/flxf2006040100.grb", hold=True)
    assert {"tas", "huss", "ps", "clt", "orog", "rlds", "rlds_mean", "rsds_mean"} <= set(source.variables)
    assert source.grid.shape == (94, 192) and source.grid.periodic
    assert source.grid.y[0] == pytest.approx(-88.542, abs=1e-3)
    assert str(source.times[0]) == "2006-04-01T00:00:00"
    weights = np.cos(np.deg2rad(source.grid.y))[:, None] * np.ones(192)
    assert np.average(source.read("tas", 0), weights=weights) == pytest.approx(286.0, abs=1.5)
    # South comes first: Antarctica is high.
    assert source.read("orog", 0)[2].mean() > 2000
    assert source.fields["clt"].mean_s == 6 * 3600 and "clt" in source.comment


def test_hrrr_files_on_a_lambert_grid(shared):
    from pipshpc.source.eccodeslib import eccodes

    source = opened(shared / "data/regional/hrrr*.grib2")
    assert source.times.size == 5 and source.step == np.timedelta64(3600, "s")
    path = sorted((shared / "data/regional").glob("hrrr*.grib2"))[0]
    with path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
        lat, lon = (eccodes.codes_get_array(handle, k).reshape(78, 41) for k in ("latitudes", "longitudes"))
        eccodes.codes_release(handle)
    fy, fx = source.grid.locate(lat, lon)
    np.testing.assert_allclose(fy, np.arange(78)[:, None] * np.ones(41), atol=2e-4)
    np.testing.assert_allclose(fx, np.arange(41)[None, :] * np.ones((78, 1)), atol=2e-4)
    assert np.isnan(source.grid.locate(50.0, -116.0)[0])


def test_wfde5_file(shared):
    source = opened(shared / "data/regional/UK_WFDE5_FAPAR_2018_JuneJuly.nc")
    assert {"tas", "huss", "ps", "rsds"} <= set(source.variables) and not source.grid.periodic
    assert source.times.size == 1464
