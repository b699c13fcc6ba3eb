"""Static fields: what is kept, means over cells, months; and the idealised atmosphere that stands on them."""

import hashlib
import subprocess
import zipfile

import h5py
import numpy as np
import pytest

from pipshpc import fetch, statics
from pipshpc.errors import InputError, SiteError, SpecError
from pipshpc.forcing import Forcing
from pipshpc.source import open_source
from pipshpc.sourcegrid import SourceGrid, lonlat_grid


def kept(name):
    if not statics.static_path(name).is_file():
        pytest.skip(f"static field '{name}' is not on this machine; 'python -m pipshpc.statics fetch' takes it")
    return statics.open_static(name)


def write_static(folder, monkeypatch, name="orog", values=None, lat0=-90.0):
    """A small static field, as `fetch` keeps them."""
    monkeypatch.setenv("PIPSHPC_STATICS", str(folder))
    ny, nx = values.shape[-2:]
    y = lat0 + (np.arange(ny) + 0.5) * 180 / ny
    x = (np.arange(nx) + 0.5) * 360 / nx
    fetch._keep(statics.static_path(name), (values, y, x, "m", 1.0), [])
    return statics.open_static(name)


def test_unknown_and_missing_fields(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPSHPC_STATICS", str(tmp_path))
    with pytest.raises(SpecError, match=r"unknown static field 'sand'; known are: land, orog"):
        statics.open_static("sand")
    with pytest.raises(SiteError, match=r"run 'python -m pipshpc\.statics fetch'"):
        statics.open_static("orog")
    statics.static_path("orog").write_bytes(b"\x89HDF\r\n\x1a\nbroken")
    with pytest.raises(SiteError, match="damaged"):
        statics.open_static("orog")


def test_mean_over_keeps_the_integral_over_the_globe(tmp_path, monkeypatch):
    values = np.random.default_rng(1).integers(0, 5000, (180, 360)).astype(np.int16)
    field = write_static(tmp_path, monkeypatch, values=values)
    area = np.diff(np.sin(np.deg2rad(np.arange(-90, 91.0))))[:, None]
    for lat, lon in (
        (np.linspace(-88, 88, 45), np.arange(0, 360, 4.0)),
        (np.linspace(88.5, -88.5, 60), np.arange(-180, 180, 7.5)),
    ):
        grid = lonlat_grid(lat, lon)[0]
        edges = np.clip(np.concatenate([[-90], (grid.y[1:] + grid.y[:-1]) / 2, [90]]), -90, 90)
        weight = np.diff(np.sin(np.deg2rad(edges)))[:, None]
        mean = field.mean_over(grid)
        assert mean.shape == grid.shape
        assert (mean * weight).sum() / (weight.sum() * grid.x.size) == pytest.approx(
            (values * area).sum() / 720, rel=1e-6
        )


def test_mean_over_whole_cells_is_their_plain_mean_along_a_row(tmp_path, monkeypatch):
    values = np.arange(180 * 360).reshape(180, 360).astype(np.int16)
    field = write_static(tmp_path, monkeypatch, values=values % 1000)
    grid = SourceGrid(np.array([-1.0, 1.0, 3.0]), np.array([2.0, 6.0, 10.0]))
    stored = field.read()
    block = stored[[89, 90], 4:8].mean(axis=1)  # latitudes -1..0 and 0..1, of all but equal area
    assert field.mean_over(SourceGrid(np.array([-2.0, 0.0, 2.0]), grid.x))[1, 1] == pytest.approx(
        block.mean(), rel=1e-4
    )


def test_months_are_joined_at_their_middles():
    assert statics.months_of(15.5)[::2] == (1, 0.0)
    assert statics.months_of(45.0) == (2, 3, 0.0)
    first, second, weight = statics.months_of(1.0)
    assert (first, second) == (12, 1) and weight == pytest.approx((365 + 1 - 349.5) / 31)
    assert statics.months_of(366.0)[:2] == (12, 1)


def test_wrong_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPSHPC_STATICS", str(tmp_path))
    monkeypatch.setattr(fetch, "_take", lambda origin: b"something else")
    with pytest.raises(SiteError, match=r"has sha256 [0-9a-f]{64}, statics\.yaml wants a253c7"):
        fetch.fetch(("landcover",))
    assert not list(tmp_path.iterdir())


def test_no_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPSHPC_STATICS", str(tmp_path))

    def fail(command, where):
        raise subprocess.CalledProcessError(1, command, stderr="could not be found\n")

    monkeypatch.setattr(fetch, "_run", fail)
    with pytest.raises(SiteError, match=r"'linke' cannot be had: pvlib .*could not be found; check the network"):
        fetch.fetch(("linke",))


def test_fetch_takes_unpacks_and_keeps(tmp_path, monkeypatch):
    """The whole way with a wheel made here: Linke turbidity of 20 codes a unit, north first, months last."""
    codes = np.zeros((4, 8, 12), np.uint8)
    codes[0, 0, 6] = 60  # July, northernmost row, westernmost column
    with h5py.File(tmp_path / "l.h5", "w") as file:
        file["LinkeTurbidity"] = codes
    raw = (tmp_path / "l.h5").read_bytes()
    table = tmp_path / "statics.yaml"
    table.write_text(
        'linke:\n  parts:\n    - {installer: "pip", package: "p", version: "1", member: "d/l.h5",'
        f' encoding: "pvlib-linke", title: "t", licence: "l", sha256: "{hashlib.sha256(raw).hexdigest()}"}}\n'
    )

    def download(command, where):
        assert command[1:4] == ["-m", "pip", "download"] and command[-1] == "p==1"
        with zipfile.ZipFile(where / "p-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("d/l.h5", raw)

    monkeypatch.setenv("PIPSHPC_STATICS", str(tmp_path / "kept"))
    monkeypatch.setattr(fetch, "TABLE", table)
    monkeypatch.setattr(fetch, "_run", download)
    said = []
    fetch.fetch(("linke",), said.append)
    fetch.fetch(("linke",), said.append)
    assert [line.split(":")[1].split()[0] for line in said] == ["taking", "fetched", "there"]
    field = statics.open_static("linke")
    assert field.read(month=7)[3, 0] == pytest.approx(3.0) and field.read(month=7).sum() == pytest.approx(3.0)
    assert field.grid.y[3] == 67.5 and field.grid.x[0] == -157.5
    assert field.read(day=196.5)[3, 0] == pytest.approx(3.0)
    assert [p.name for p in (tmp_path / "kept").iterdir()] == [f"linke-{statics.LAYOUT}.h5"]
    with pytest.raises(SpecError, match="month None: month 1 to 12 is wanted"):
        field.read()


def test_terrain_is_where_it_is():
    orog = kept("orog")
    assert orog.grid.shape == (2161, 4320) and orog.grid.periodic
    places = {
        "Everest": (27.99, 86.92, 5000, 8900),
        "Dead Sea": (31.5, 35.45, -430, -150),
        "Qattara": (29.8, 27.0, -135, -20),
        "Netherlands": (52.5, 4.9, -10, 30),
        "Greenland": (72.0, -40.0, 2800, 3200),
        "South Pole": (-90.0, 0.0, 2700, 2900),
        "Pacific": (0.0, -150.0, 0, 0),
        "Black Sea": (43.0, 34.0, 0, 0),
    }
    for place, (lat, lon, low, high) in places.items():
        assert low <= orog.sample(lat, lon) <= high, place
    area = np.cos(np.deg2rad(orog.grid.y))
    assert np.average(orog.read().mean(axis=1), weights=area) == pytest.approx(232, abs=5)


def test_terrain_agrees_with_that_of_forecast_models(shared):
    orog = kept("orog")
    for path, least in (
        ("data/regional/hrrr.20180722.t15z.wrfsfcf01.grib2", 0.96),
        ("data/global/flxf2006040100.grb", 0.98),
    ):
        with open_source(Forcing(paths=[str(shared / path)], hold=True)) as source:
            mean, model = orog.mean_over(source.grid), source.read("orog", 0)
        assert np.corrcoef(mean.ravel(), model.ravel())[0, 1] > least
        assert abs(mean.mean() - model.mean()) < 25


def test_land_mask_and_its_tiles():
    land = kept("land")
    tiles = land.tile_counts()
    assert tiles.shape == (720, 1440) and tiles.max() == 900
    area = np.cos(np.deg2rad(np.arange(720) / 4 - 89.875))
    assert np.average(tiles.mean(axis=1), weights=area) / 900 == pytest.approx(0.293, abs=0.006)
    j, i = 3000, 20000
    assert land.stored(window=(j, j + 30, i // 30 * 30, i // 30 * 30 + 30)).sum() == tiles[j // 30, i // 30]


def test_land_cover_has_forest_in_the_amazon_and_barren_in_the_sahara():
    cover = kept("landcover")

    def at(lat, lon):
        fy, fx = cover.grid.locate(lat, lon)
        return int(
            cover.stored(window=(round(float(fy)), round(float(fy)) + 1, round(float(fx)), round(float(fx)) + 1))[0, 0]
        )

    assert (at(-5.0, -65.0), at(23.0, 10.0), at(0.0, -150.0), at(75.0, -40.0)) == (2, 16, 0, 15)


def test_linke_turbidity_is_plausible_and_smooth_in_time():
    linke = kept("linke")
    june = linke.read(month=6)
    assert 1.0 < june.mean() < 5.0
    assert np.abs(linke.read(day=166.0) - june).max() < 1e-6


def test_idealised_atmosphere_is_plausible_repeatable_and_says_what_it_is():
    kept("orog"), kept("land")
    spec = Forcing(kind="idealised")
    source = open_source(spec, ".", "2026-07-01", "2026-07-02")
    assert source.times.size == 24 and source.step == np.timedelta64(3600, "s")
    assert "not an analysis" in source.comment
    tas, tdps, ps, clt = (source.read(n, 12) for n in ("tas", "tdps", "ps", "clt"))
    assert tas.min() > 190 and tas.max() < 320 and np.all(tdps <= tas - 0.19)
    assert ps.min() > 45e3 and ps.max() < 105e3
    assert clt.min() >= 0 and clt.max() <= 1 and abs(clt.mean() - 0.6) < 0.15
    again = open_source(spec, ".", "2026-07-01T06:00:00", "2026-07-01T18:00:00")
    np.testing.assert_array_equal(again.read("tas", 6), tas)
    assert again.identity == source.identity
    # Summer in the north, and the day warmer than the night at 100 W (12 UTC is 5 h, 21 UTC is 14 h there).
    winter = open_source(spec, ".", "2026-01-01", "2026-01-02")
    assert tas[120:].mean() > winter.read("tas", 12)[120:].mean() + 5
    assert source.read("tas", 21)[130, 260] > tas[130, 260] + 3
    with pytest.raises(InputError, match="idealised atmosphere has no 'od550aer'; it has tas"):
        source.read("od550aer", 0)
    held = open_source(Forcing(kind="idealised", hold=True), ".", "2026-07-01", "2026-07-03")
    assert held.times.size == 1 and "held" in held.comment
