"""The state of the ground by land cover and season, and the temperature of its energy balance: laws and edges."""

import numpy as np
import pytest

from pipshpc.kernel import compute

AIR = {"tas": 298.15, "vap": 1583.9, "ps": 100000.0, "sfcWind": 3.0, "rlds": 380.0, "emis": 0.97}
LAND = AIR | {"albedo": 0.2, "fveg": 0.5, "smi": 0.5, "z0m": 0.05, "d0": 0.2, "z0h": 0.005}
SIGMA = 5.670374419e-8


def balance(**given):
    return np.asarray(compute("ts", "energy-balance", **(LAND | given)), float)


def test_more_sun_and_less_water_warm_the_ground():
    sun = balance(rsds=np.linspace(0, 1000, 21))
    assert (np.diff(sun) > 0).all()
    dry = balance(rsds=600.0, smi=np.linspace(1, 0, 21))
    assert (np.diff(dry) >= 0).all()
    assert dry[-1] - dry[0] > 3


def test_a_clear_night_is_colder_than_the_air_and_wind_makes_up_for_it():
    night = balance(rsds=0.0, rlds=280.0, sfcWind=np.array([1.0, 3.0, 8.0, 20.0]))
    assert (night < AIR["tas"]).all()
    assert (np.diff(night) > 0).all()


@pytest.mark.parametrize("sun", [0.0, 1200.0])
def test_the_difference_to_the_air_is_held(sun):
    rng = np.random.default_rng(2)
    n = 4000
    found = balance(
        rsds=sun, tas=rng.uniform(220, 320, n), vap=rng.uniform(0, 2000, n), ps=rng.uniform(5e4, 1.05e5, n),
        sfcWind=rng.uniform(0, 25, n), smi=rng.uniform(0, 1, n), fveg=rng.uniform(0, 1, n),
        z0m=rng.uniform(5e-4, 3, n), d0=rng.uniform(0, 20, n), z0h=rng.uniform(1e-9, 0.1, n),
    )  # fmt: skip
    assert np.isfinite(found).all()
    rng = np.random.default_rng(2)
    assert (np.abs(found - rng.uniform(220, 320, n)) <= 40.001).all()


def test_without_evaporation_the_balance_is_that_of_radiation_and_heat():
    """Dry ground, soil heat off: what radiation leaves goes into the air, linear in the difference."""
    given = {"rsds": 400.0, "smi": 0.0, "vap": 1.0, "ground": 0.0, "least": 1e7}
    dt = balance(**given) - AIR["tas"]
    left = 400 * 0.8 + AIR["emis"] * (AIR["rlds"] - SIGMA * AIR["tas"] ** 4 - 4 * SIGMA * AIR["tas"] ** 3 * dt)
    double = balance(**given, z0_ref=0.03, z_blend=50.0) - AIR["tas"]
    assert dt == pytest.approx(double)
    heat = left / dt  # conductance of the air in W m-2 K-1
    assert 5 < heat < 40


def test_ice_does_not_get_warmer_than_melting():
    found = compute("ts", "energy-balance-ice", **(AIR | {"albedo": 0.5, "rsds": np.linspace(0, 1000, 50)}))
    assert found.max() == pytest.approx(273.15, abs=1e-3)


def test_lakes_cool_with_height_and_no_water_below_freezing():
    found = compute("ts", "sea", tos=290.0, orog=np.array([-5.0, 0.0, 1000.0, 3800.0]))
    assert np.allclose(found, [290.0, 290.0, 283.5, 271.35], atol=1e-3)


def test_every_class_has_a_height_and_an_albedo():
    classes = np.arange(17.0)
    height = compute("hc", landtype=classes, lai=3.0)
    assert (height[1:6] >= 15).all()
    assert (height[[0, 13, 15, 16]] == np.float32(0.01)).all()
    assert (compute("hc", landtype=classes, lai=0.0) <= height).all()
    albedo = compute("albedo", "cover-and-season", landtype=classes, fveg=0.6, siconc=0.0)
    assert albedo[0] == np.float32(0.06)
    assert albedo[15] == np.float32(0.75)
    assert ((albedo > 0.05) & (albedo < 0.8)).all()


def test_water_is_where_mask_or_cover_has_it():
    land, cover = np.meshgrid([0.0, 1.0], [0.0, 12.0])
    assert compute("landtype", land=land.ravel(), landcover=cover.ravel()).tolist() == [0, 0, 0, 12]


def test_the_index_stays_in_its_range():
    found = compute(
        "ndvi", "range-and-season", ndvi_min=0.1, ndvi_max=0.7, greenness=np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    )
    assert np.allclose(found, [0.1, 0.1, 0.4, 0.7, 0.7], atol=1e-6)
