"""Aerodynamic roughness against pyTSEB and against what must hold."""

import numpy as np
import pytest

from pipshpc import compute

TREES = "raupach1994-schaudt2000"
# The package gives water, urban, snow and barren 1 cm, and the ground between plants nothing.
AS_PACKAGE = {"z0_water": 0.01, "z0_urban": 0.01, "z0_snow": 0.01, "z0_barren": 0.01, "z0_least": 1e-9}


def rows(v, product, **parameters):
    of = zip(v["landcover_IGBP"], v["LAI"], v["h_C"], v["w_C"], strict=True)
    return np.array([compute(product, TREES, landtype=a, lai=b, hc=c, crown=d, **parameters) for a, b, c, d in of])


def test_roughness_against_pytseb(vectors):
    v = vectors("roughness_schaudt_pytseb")
    known = v["landcover_IGBP"] != 11
    assert np.allclose(rows(v, "z0m", **AS_PACKAGE)[known], v["z_0M"][known], rtol=1e-5)
    assert np.allclose(rows(v, "d0")[known], v["d_0"][known], rtol=1e-5, atol=1e-6)


def test_wetland_is_not_left_without_roughness(vectors):
    """TRAP: pyTSEB has no branch for IGBP 11 and gives a wetland 15 m high a roughness of 2 cm."""
    v = vectors("roughness_schaudt_pytseb")
    wet = v["landcover_IGBP"] == 11
    ours, theirs = rows(v, "z0m", **AS_PACKAGE)[wet], v["z_0M"][wet]
    assert wet.any()
    assert (theirs < 0.01 * v["h_C"][wet]).all()
    assert np.allclose(ours, v["h_C"][wet] / 8)


def test_water_is_not_as_rough_as_soil(vectors):
    """TRAP: pyTSEB gives water the centimetre of bare soil; ours is a calm sea's."""
    v = vectors("roughness_schaudt_pytseb")
    water = v["landcover_IGBP"] == 0
    assert (v["z_0M"][water] == 0.01).all()
    assert (rows(v, "z0m")[water] < 0.001).all()


def test_raupach_factors(vectors, float64):
    v = vectors("roughness_raupach_factors")
    assert np.allclose(float64("roughness.raupach_z0", area=v["lambda_"])["result"], v["z0M_over_h"], rtol=1e-6)
    assert np.allclose(float64("roughness.raupach_d", area=v["lambda_"])["result"], v["d_over_h"], rtol=1e-6)


@pytest.mark.parametrize("algorithm", [TREES, "massman1997-su2002"])
def test_canopies_are_rougher_than_ground_and_lower_than_their_height(algorithm):
    lai, hc, kind = (a.ravel() for a in np.meshgrid(np.linspace(0, 8, 41), np.linspace(0, 50, 26), np.arange(18.0)))
    extra = {"landtype": kind} if algorithm == TREES else {}
    z0m, d0 = compute("z0m", algorithm, lai=lai, hc=hc, **extra), compute("d0", algorithm, lai=lai, hc=hc, **extra)
    assert np.isfinite(z0m).all()
    assert np.isfinite(d0).all()
    assert (z0m >= 1e-5).all()
    assert (z0m <= 20.0).all()
    assert (d0 >= 0).all()
    assert (d0 <= hc + 1e-6).all()


def test_roughness_goes_with_height():
    hc = np.linspace(1, 40, 40)
    for kind in (1.0, 4.0, 6.0, 9.0, 10.0, 12.0):
        assert np.allclose(np.diff(compute("z0m", TREES, landtype=kind, lai=3.0, hc=hc), 2), 0, atol=1e-5)


def test_massman_without_leaves_is_ground():
    assert compute("d0", "massman1997-su2002", lai=0.0, hc=20.0) == 0.0
    assert compute("z0m", "massman1997-su2002", lai=0.0, hc=0.0) == pytest.approx(0.001)
    dense = compute("d0", "massman1997-su2002", lai=np.linspace(0, 10, 200), hc=1.0)
    assert (np.diff(dense) > -1e-6).all()  # no step where the series takes over


def test_heat_has_the_smaller_roughness_and_bare_ground_follows_the_wind():
    fveg = np.linspace(0, 1, 21)
    x = {"z0m": 0.05, "d0": 0.2, "hc": 0.5, "sfcWind": 4.0, "tas": 290.0, "ps": 1e5}
    z0h = compute("z0h", "su2002", fveg=fveg, lai=4 * fveg, **x)
    assert (z0h > 0).all()
    assert (z0h <= 0.05).all()
    bare = {**x, "d0": 0.0, "hc": 0.0, "sfcWind": np.linspace(1, 20, 30)}
    assert (np.diff(compute("z0h", "su2002", fveg=0.0, lai=0.0, **bare)) < 0).all()


def test_extremes_are_finite(float64):
    x = {
        "lai": [0, 0, 10, 10],
        "fveg": [0, 1, 0, 1],
        "hc": [0, 50, 0, 50],
        "z0m": [1e-5, 1e-5, 5, 5],
        "d0": [0, 0, 0, 40],
    }
    for wind in (0.0, 40.0):
        z0h = compute("z0h", "su2002", sfcWind=wind, tas=220.0, ps=5e4, **x)
        assert (z0h >= 1e-9 * 0.999).all()
        assert (z0h <= 5).all()
        wide = float64("roughness.z0h_su", sfcWind=wind, tas=220.0, ps=5e4, z_blend=50.0, z0_ref=0.03, **x)["result"]
        assert np.allclose(z0h, wide, rtol=1e-3)


def test_leaf_area_and_cover_of_carlson(vectors, float64):
    v = vectors("lai_fvc_carlson")
    kept = np.isfinite(v["LAI"]) & (v["LAI"] < 10 - 1e-6) & (v["NDVI"] < 1.0)
    found = float64("evaporation.leaf_area_carlson", ndvi=v["NDVI"])["result"]
    assert np.allclose(found[kept & (v["NDVI"] < 0.98)], v["LAI"][kept & (v["NDVI"] < 0.98)], atol=1e-5)
    assert np.isfinite(found).all()  # the package has no number where nothing is green, and infinity at 1
