"""Readers of granules, on the real tile and scene."""

import numpy as np
import pytest

from pipshpc.errors import InputError
from pipshpc.granule import read_landsat8, read_mod11a1, read_mtl


@pytest.fixture(scope="module")
def tile(shared):
    pytest.importorskip("pyhdf", reason="pyhdf is not installed")
    return read_mod11a1(shared / "data/tiles/MOD11A1.hdf")


@pytest.fixture(scope="module")
def scene(shared):
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    return read_landsat8(shared / "data/tiles/L8_232083_20160209")


def test_tile(tile):
    assert tile.grid.shape == (1200, 1200) and str(tile.time) == "2019-11-01"
    lat, lon = tile.grid.geographic(tile.grid.y[[0, -1], None], tile.grid.x[None, [0, -1]])
    assert lat[:, 0] == pytest.approx([-9.996, -0.004], abs=0.002)  # tile v09
    assert lon[1] == pytest.approx([-39.996, -30.004], abs=0.01)  # tile h14, at the equator
    for name, low, high in (("ts_day", 290, 335), ("ts_night", 280, 305), ("emis11", 0.93, 1.0), ("emis12", 0.93, 1.0)):
        values = tile.fields[name][np.isfinite(tile.fields[name])]
        assert values.size > 1e5 and low < np.percentile(values, 1) and np.percentile(values, 99) < high
    both = np.isfinite(tile.fields["ts_day"] + tile.fields["ts_night"])
    assert (tile.fields["ts_day"] > tile.fields["ts_night"])[both].mean() > 0.99
    assert np.nanmax(np.abs(tile.fields["vza_day"])) <= 65.0


def test_stricter_quality_leaves_fewer_pixels_and_they_are_the_same(shared, tile):
    strict = read_mod11a1(shared / "data/tiles/MOD11A1.hdf", worst_error_k=1.0)
    kept = np.isfinite(strict.fields["ts_day"])
    assert 0 < kept.sum() < np.isfinite(tile.fields["ts_day"]).sum()
    assert np.array_equal(strict.fields["ts_day"][kept], tile.fields["ts_day"][kept])


def test_scene(scene):
    assert scene.grid.shape == (134, 184) and scene.scene["sza"] == pytest.approx(37.29728806)
    assert str(scene.time) == "2016-02-09T14:27:29"
    assert 295 < np.nanmedian(scene.fields["bt11"]) < 310
    assert np.nanmedian(scene.fields["bt11"] - scene.fields["bt12"]) == pytest.approx(1.0, abs=2.0)
    for name, values in scene.fields.items():
        assert values.shape == scene.grid.shape and scene.units[name] in ("1", "K")
        if scene.units[name] == "1":
            assert np.nanmin(values) > -0.05 and np.nanmax(values) < 1.2
    lat, lon = scene.grid.geographic(scene.grid.y[:1, None], scene.grid.x[None, :1])
    assert (float(lat[0, 0]), float(lon[0, 0])) == pytest.approx((-33.03, -68.89), abs=0.02)


def test_reflectance_outside_the_atmosphere_by_hand(shared, scene):
    """Counts of one pixel, read apart, by the numbers of the MTL file."""
    rasterio = pytest.importorskip("rasterio")
    folder = shared / "data/tiles/L8_232083_20160209"
    with rasterio.open(next(folder.glob("*00_band4.tif"))) as file:
        counts = file.read(1)[10, 20]
    by_hand = (2e-5 * counts - 0.1) / np.sin(np.radians(52.70271194))
    assert scene.fields["toar_red"][-11, 20] == pytest.approx(by_hand, abs=1e-5)


def test_what_is_no_granule(tmp_path, shared):
    with pytest.raises(InputError, match="wanted one"):
        read_landsat8(tmp_path)
    (tmp_path / "x_MTL.txt").write_text('GROUP = A\n  SUN_AZIMUTH = 60.0\n  NAME = "ab c"\nEND_GROUP = A\nEND\n')
    assert read_mtl(tmp_path / "x_MTL.txt") == {"SUN_AZIMUTH": "60.0", "NAME": "ab c"}
    with pytest.raises(InputError, match="SUN_ELEVATION"):
        read_landsat8(tmp_path)
    pytest.importorskip("pyhdf", reason="pyhdf is not installed")
    (tmp_path / "cut.hdf").write_bytes((shared / "data/tiles/MOD11A1.hdf").read_bytes()[:1000])
    with pytest.raises(InputError):
        read_mod11a1(tmp_path / "cut.hdf")
    with pytest.raises(InputError, match="MOD11A1"):
        read_mod11a1(next((shared / "data/tiles").glob("MOD10A2*.hdf")))
