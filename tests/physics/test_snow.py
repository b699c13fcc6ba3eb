"""Snow area and mass: indices against a package, screens, laws of both microwave algorithms."""

import numpy as np
import pytest

from pipshpc import compute

SNOW = {"sr_green": 0.6, "sr_nir": 0.5, "sr_swir1": 0.2, "ts": 268.0, "orog": 500.0, "cosz": 0.5}
SWE = {"tb19h": 220.0, "tb37h": 200.0, "tb37v": 215.0, "forest": 0.2}
DEEP = {"tb10v": 250.0, "tb19v": 240.0, "tb19h": 220.0, "tb37v": 215.0, "tb37h": 200.0}


def test_index_against_spyndex(vectors):
    v = vectors("vegetation_water_snow_indices")
    found = compute("ndsi", sr_green=v["G"], sr_swir1=v["S1"])
    there = np.isfinite(v["NDSI"])
    assert np.allclose(found[there], v["NDSI"][there], atol=2e-6)
    assert np.isnan(found[~there]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"sr_green": 0.09},
        {"sr_nir": 0.1},
        {"sr_swir1": 0.46, "sr_green": 0.9},
        {"ts": 282.0},
        {"sr_swir1": 0.55},
    ],
)
def test_each_screen_takes_snow_away(change):
    assert compute("snc", **SNOW) > 0.6
    assert compute("snc", **{**SNOW, **change}) == 0
    assert compute("snc", "hall1995-binary", **{**SNOW, **change}) == 0


def test_warm_snow_stays_on_mountains_and_night_is_missing():
    assert compute("snc", **{**SNOW, "ts": 282.0, "orog": 1300.0}) > 0.6
    assert np.isnan(compute("snc", **{**SNOW, "cosz": 0.08}))
    assert np.isnan(compute("snc", **{**SNOW, "sr_green": 0.0, "sr_swir1": 0.0}))


@pytest.mark.parametrize(
    "algorithm", ["salomonson-appel2004", "salomonson-appel2006-terra", "salomonson-appel2006-aqua"]
)
def test_cover_is_a_share_and_grows_with_the_index(algorithm):
    band = "sr_swir2" if algorithm.endswith("aqua") else "sr_swir1"
    x = {n: v for n, v in SNOW.items() if n != "sr_swir1"}
    found = compute("snc", algorithm, **x, **{band: np.linspace(0.44, 0.0, 100)})
    assert found.min() >= 0
    assert found.max() <= 1
    assert (np.diff(found) >= 0).all()
    assert found[-1] == 1


@pytest.mark.parametrize("product", ["snd", "snw"])
@pytest.mark.parametrize("algorithm", ["chang1987-foster1997", "kelly2009"])
def test_mass_is_not_negative_and_grows_with_scattering_and_forest(product, algorithm):
    tb37h = np.linspace(225, 140, 80)
    if algorithm == "kelly2009":
        x = {**DEEP, "tb37h": tb37h, "tb37v": tb37h + 15, "forest": 0.2, "forest_density": 0.3}
    else:
        x = {**SWE, "tb37h": tb37h, "tb37v": tb37h + 15}
    found = compute(product, algorithm, **x)
    assert found.min() >= 0
    assert (np.diff(found) >= 0).all()
    denser = compute(product, algorithm, **{**x, "forest_density" if "forest_density" in x else "forest": 0.6})
    assert (denser >= found).all()
    assert denser[-1] > found[-1]


def test_wet_snow_dense_forest_and_missing_channels_are_missing():
    assert compute("snw", **SWE) == pytest.approx(120.0, abs=0.01)
    assert np.isnan(compute("snw", **{**SWE, "tb37v": 250.0}))
    assert np.isnan(compute("snw", **{**SWE, "tb19h": 270.0, "tb37h": 240.0}))
    assert np.isnan(compute("snw", **{**SWE, "forest": 0.8}))
    assert np.isnan(compute("snw", **{**SWE, "tb19h": 0.0}))
    bare = {**SWE, "tb19h": 260.0, "tb37h": 265.0, "tb37v": 280.0}
    assert compute("snw", **bare) == 0  # warm ground that does not scatter
    wet = {**DEEP, "tb37v": 255.0, "tb19v": 262.0, "tb10v": 265.0}
    assert np.isnan(compute("snw", "kelly2009", **wet, forest=0.1, forest_density=0.3))


def test_both_algorithms_see_the_same_order_of_mass():
    chang = compute("snw", **{**SWE, "forest": 0.0})
    kelly = compute("snw", "kelly2009", **DEEP, forest=0.0, forest_density=0.0)
    assert 0.3 < chang / kelly < 3


def test_area_by_microwaves_follows_mass():
    assert compute("snc", "microwave", snw=np.array([0.0, 1.0, 1.1, np.nan]))[:3].tolist() == [0, 0, 1]
    assert np.isnan(compute("snc", "microwave", snw=np.nan))


def test_change_is_antisymmetric():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 500, (2, 100)).astype(np.float32)
    assert np.array_equal(compute("snwchange", snw=a, snw_before=b), -compute("snwchange", snw=b, snw_before=a))
