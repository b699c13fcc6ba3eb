"""Table of the atmosphere: interpolation, correction, aerosol depth; and 6S itself where it is installed."""

import numpy as np
import pytest

from pipshpc import sixs
from pipshpc.atmosphere import AtmosphereTable, Band, dark_target, fold
from pipshpc.errors import InputError, SiteError, SpecError

AXES = {
    "aod": np.array([0.0, 0.2, 0.6, 1.2, 2.0], np.float32),
    "sza": np.array([0.0, 30.0, 50.0, 70.0], np.float32),
    "vza": np.array([0.0, 30.0, 60.0], np.float32),
    "raa": np.array([0.0, 60.0, 120.0, 180.0], np.float32),
}


def invented(brightness=0.06):
    """Terms that are linear along each axis, so that interpolation has to be exact."""
    t, s, v, a = np.meshgrid(*AXES.values(), indexing="ij")
    path = 0.01 + brightness * t + 1e-4 * s + 5e-5 * v + 1e-5 * a
    terms = np.stack([path, 0.95 - 0.12 * t - 1e-3 * s - 5e-4 * v, 0.05 + 0.04 * t, 0 * t], axis=-1)
    return Band(terms.astype(np.float32), 0.645, (0.003, 0.9), (0.07, 1.0), (0.001, 0.7))


@pytest.fixture
def table():
    return AtmosphereTable(AXES, {"red": invented(), "blue": invented(0.12), "swir2": invented(0.004)}, "continental")


def scene(n=500):
    rng = np.random.default_rng(6)
    return {
        "aod": rng.uniform(0, 2, n),
        "sza": rng.uniform(0, 70, n),
        "vza": rng.uniform(0, 60, n),
        "raa": rng.uniform(0, 180, n),
    }


def test_interpolation_of_linear_terms_is_exact(table):
    x = scene()
    found = table.terms("red", **x)
    assert np.allclose(
        found["path"], 0.01 + 0.06 * x["aod"] + 1e-4 * x["sza"] + 5e-5 * x["vza"] + 1e-5 * x["raa"], atol=1e-6
    )
    assert np.allclose(found["salb"], 0.05 + 0.04 * x["aod"], atol=1e-6)
    two = table.terms("red", **x, threads=2)
    assert all(found[n].tobytes() == two[n].tobytes() for n in found)


def test_ends_of_the_table(table):
    beyond = table.terms("red", aod=[-1.0, 3.0], sza=20.0, vza=0.0, raa=0.0)
    ends = table.terms("red", aod=[0.0, 2.0], sza=20.0, vza=0.0, raa=0.0)
    assert np.array_equal(beyond["path"], ends["path"])
    low = table.terms("red", aod=[0.1, 0.1, np.nan], sza=[70.5, 70.0, 20.0], vza=[0.0, 60.1, 0.0], raa=0.0)
    assert np.isnan(low["path"]).all()
    assert fold([0.0, 190.0, -170.0, 350.0, 540.0]).tolist() == [0.0, 170.0, 170.0, 10.0, 180.0]


def test_correction_undoes_the_atmosphere(table):
    x = scene()
    sr = np.random.default_rng(3).uniform(0, 0.8, 500)
    t = table.terms("red", **x)
    gas = table.transmittance("red", x["sza"], x["vza"], 20.0, 0.3)
    toar = gas * (t["path"] + t["tscat"] * sr / (1 - t["salb"] * sr))
    assert np.allclose(table.correct("red", toar, **x), sr, atol=1e-5)


def test_more_gas_lets_less_through(table):
    thin = table.transmittance("red", 30.0, 0.0, [0.0, 10.0, 50.0], 0.3)
    assert (np.diff(thin) < 0).all() and thin[0] < 1.0
    assert table.transmittance("red", 60.0, 0.0, 10.0, 0.3) < table.transmittance("red", 0.0, 0.0, 10.0, 0.3)


def test_aerosol_depth_comes_back(table):
    x = scene()
    sr = np.random.default_rng(5).uniform(0.01, 0.06, 500)
    t = table.terms("red", **x)
    toar = t["path"] + t["tscat"] * sr / (1 - t["salb"] * sr)
    angles = {k: x[k] for k in ("sza", "vza", "raa")}
    assert np.allclose(table.aerosol_depth("red", toar, sr, **angles), x["aod"], atol=0.01)


def test_bright_ground_tells_nothing_of_aerosol(table):
    assert np.isnan(table.aerosol_depth("red", 0.5, [0.6, 0.9], 30.0, 0.0, 0.0)).all()
    assert np.isnan(table.aerosol_depth("red", [0.9, np.nan], 0.02, 30.0, 0.0, 0.0)).all()


def test_dark_target_finds_one_haze_over_a_patchwork(table):
    rng = np.random.default_rng(11)
    swir2 = rng.uniform(0.02, 0.12, (40, 60))
    sr = {"swir2": swir2, "red": 0.5 * swir2, "blue": 0.25 * swir2}
    toar = {}
    for band, ground in sr.items():
        t = table.terms(band, 0.45, 35.0, 10.0, 90.0)
        gas = table.transmittance(band, 35.0, 10.0, 20.0, 0.3)
        toar[band] = (gas * (t["path"] + t["tscat"] * ground / (1 - t["salb"] * ground))).astype(np.float32)
    usable = np.ones((40, 60), bool)
    usable[:10, :10] = False
    found = dark_target(table, toar, usable, 35.0, 10.0, 90.0)
    assert found.shape == (4, 6) and np.isnan(found[0, 0]) and np.isfinite(found).sum() == 23
    # The relation of the bands holds at the ground; at 2.13 um the air itself is taken to be clear.
    assert np.nanmean(found) == pytest.approx(0.45, abs=0.06) and np.nanstd(found) < 0.02


def test_table_of_one_geometry_serves_all():
    axes = {**AXES, "sza": AXES["sza"][1:2], "vza": AXES["vza"][:1], "raa": AXES["raa"][:1]}
    band = Band(np.ascontiguousarray(invented().terms[:, 1:2, :1, :1]), 0.645, (0, 1), (0, 1), (0, 1))
    found = AtmosphereTable(axes, {"red": band}, "continental").terms("red", 0.4, [10.0, 60.0], 20.0, 90.0)
    assert np.allclose(found["path"], 0.01 + 0.024 + 0.003, atol=1e-6)


def test_file_keeps_the_table(table, tmp_path):
    table.save(tmp_path / "table.h5")
    again = AtmosphereTable.load(tmp_path / "table.h5")
    assert again.bands.keys() == table.bands.keys() and again.bands["red"].ozone == table.bands["red"].ozone
    assert np.array_equal(again.bands["blue"].terms, table.bands["blue"].terms)
    assert [p.name for p in tmp_path.iterdir()] == ["table.h5"]
    (tmp_path / "other").write_text("no table")
    with pytest.raises(InputError, match="makes one"):
        AtmosphereTable.load(tmp_path / "other")
    with pytest.raises(SpecError, match="it has: blue, red, swir2"):
        again.band("green")


def test_deck_of_6s_as_text():
    text = sixs.deck(sixs.Scene(0.2, 40.0, 20.0, 90.0, (0.62, 0.67), water=2.0, ozone=0.3))
    air = ["0", "40 0.0 20 90 1 1", "8", "2 0.3", "1", "0", "0.2", "0.0", "-1000.0"]
    assert text.splitlines() == [*air, "0", "0.62 0.67", "0", "0", "0", "0.1", "-1"]
    clean = sixs.deck(sixs.Scene(0.0, 40.0, 20.0, 90.0, (0.645,))).splitlines()
    assert clean[4:6] == ["0", "-1"] and clean[8:10] == ["-1", "0.645"]
    with pytest.raises(InputError, match="no 'toar'"):
        sixs.parse("End of file")


@pytest.fixture(scope="module")
def installed():
    try:
        return sixs.binary()
    except SiteError as error:
        pytest.skip(str(error))


def test_table_against_6s_between_its_nodes(installed):
    grid = {"aod": (0.0, 0.2, 0.4), "sza": (30.0, 45.0), "vza": (0.0, 20.0), "raa": (60.0, 120.0)}
    made = sixs.make(["red"], grid)
    scene = sixs.Scene(0.3, 38.0, 10.0, 100.0, (0.62, 0.67), water=2.0, ozone=0.3, sr=0.15)
    toar = sixs.run(scene, installed)["toar"]
    found = made.correct("red", toar, scene.aod, scene.sza, scene.vza, scene.raa, water=20.0, ozone=0.3)
    assert float(found) == pytest.approx(0.15, abs=0.003)
    seen = toar / made.transmittance("red", scene.sza, scene.vza, 20.0, 0.3)
    depth = made.aerosol_depth("red", seen, 0.15, scene.sza, scene.vza, scene.raa)
    assert np.isnan(depth) or float(depth) == pytest.approx(0.3, abs=0.2)


def test_backscatter_is_where_the_sensor_stands_by_the_sun(installed):
    """Convention of 6S, on which the table rests: molecules scatter as much back as forward, aerosol forward."""
    back, forward = (sixs.run(sixs.Scene(0.5, 60.0, 60.0, raa, (0.87,)), installed)["path"] for raa in (0.0, 180.0))
    assert forward > 1.5 * back
