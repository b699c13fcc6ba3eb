"""Vegetation index, cover and leaf area: packages, laws, edges."""

import numpy as np

from pipshpc import compute


def test_index_cover_and_leaf_area(vectors):
    v = vectors("vegetation_water_snow_indices")
    seen = v["N"] + v["R"] > 0.0
    assert np.allclose(compute("ndvi", sr_red=v["R"], sr_nir=v["N"])[seen], v["NDVI"][seen], atol=1e-6)
    v = vectors("lai_fvc_carlson")
    assert np.allclose(compute("fveg", ndvi=v["NDVI"]), v["FVC"], atol=1e-6)
    there = np.isfinite(v["LAI"])
    # 1 - light has 7 digits in float32: an index of 1 leaves 0.05.
    assert np.allclose(compute("lai", ndvi=v["NDVI"])[there], v["LAI"][there], atol=1e-5)


def test_no_vegetation_has_a_leaf_area_of_zero_where_the_package_has_none(vectors):
    v = vectors("lai_fvc_carlson")
    bare = np.isnan(v["LAI"])
    assert bare.any()
    assert (compute("lai", ndvi=v["NDVI"][bare]) == 0.0).all()


def test_index_of_dark_and_of_negative_reflectances():
    red, nir = [0.0, 0.1, -0.02, 0.05], [0.0, -0.1, 0.05, -0.02]
    found = compute("ndvi", sr_red=red, sr_nir=nir)
    assert np.isnan(found[:2]).all()
    assert np.allclose(found[2:], [1.0, -1.0])


def test_more_green_is_more_cover_and_more_leaves():
    ndvi = np.linspace(-1.5, 1.5, 601)
    for product, name, top in (
        ("fveg", "gutman1998", 1.0),
        ("fveg", "carlson1997", 1.0),
        ("lai", "carlson-ripley", 10.0),
    ):
        found = compute(product, name, ndvi=ndvi).astype(float)
        assert np.isfinite(found).all() and found.min() == 0.0 and found.max() <= top + 1e-4
        assert (np.diff(found) >= -1e-6).all()


def test_leaf_area_of_a_cover_leaves_the_gap():
    lai = np.array([0.0, 0.5, 2.0, 6.0])
    assert np.allclose(compute("lai", "gap-fraction", fveg=1 - np.exp(-0.5 * lai)), lai, atol=2e-5)
    assert np.isfinite(compute("lai", "gap-fraction", fveg=[-1.0, 1.0, 2.0])).all()
