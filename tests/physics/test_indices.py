"""Indices of plants, water and rock: the package's rows, its traps, laws, edges."""

import math

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.product import find_card

BANDS = {"sr_blue": "B", "sr_green": "G", "sr_red": "R", "sr_re1": "RE1", "sr_re2": "RE2", "sr_nir": "N",
         "sr_swir1": "S1", "sr_swir2": "S2"}  # fmt: skip
# Product, algorithm, column, bands, parameters that the package has.
ROWS = [
    ("evi", "huete2002", "EVI_L1", "sr_blue sr_red sr_nir", {"blue_most": 9.0}),
    ("evi", "huete2002", "EVI", "sr_blue sr_red sr_nir", {"blue_most": 9.0, "canopy": 0.5}),
    ("evi", "jiang2008", "EVI2", "sr_red sr_nir", {"canopy": 0.5}),
    ("arvi", "kaufman1992", "ARVI_KT92", "sr_blue sr_red sr_nir", {}),
    ("savi", "huete1988", "SAVI", "sr_red sr_nir", {}),
    ("savi", "rondeaux1996", "OSAVI", "sr_red sr_nir", {}),
    ("savi", "qi1994", "MSAVI", "sr_red sr_nir", {}),
    ("kndvi", None, "kNDVI", "sr_red sr_nir", {}),
    ("nirv", None, "NIRv", "sr_red sr_nir", {}),
    ("gndvi", None, "GNDVI", "sr_green sr_nir", {}),
    ("ndre", None, "NDREI", "sr_re1 sr_nir", {}),
    ("ci", "red-edge", "CIRE", "sr_re1 sr_nir", {}),
    ("ci", "green", "CIG", "sr_green sr_nir", {}),
    ("mtci", None, "MTCI", "sr_red sr_re1 sr_re2", {}),
    ("nbr", None, "NBR", "sr_nir sr_swir2", {}),
    ("ndmi", None, "LSWI", "sr_nir sr_swir1", {}),
    ("ndwi", None, "NDWI", "sr_green sr_nir", {}),
    ("mndwi", None, "MNDWI", "sr_green sr_swir1", {}),
    ("awei", "no-shadow", "AWEInsh", "sr_green sr_nir sr_swir1 sr_swir2", {}),
    ("awei", "shadow", "AWEIsh", "sr_blue sr_green sr_nir sr_swir1 sr_swir2", {}),
    ("ndci", None, "NDCI", "sr_red sr_re1", {}),
    ("ndti", None, "NDTI", "sr_green sr_red", {}),
    ("fai", None, "FAI", "sr_red sr_nir sr_swir1", {}),
    ("ferrous", None, "MSI", "sr_nir sr_swir1", {}),
]
DARK = ["ndvi", "arvi", "kndvi", "nirv", "gndvi", "ndre", "ci", "mtci", "nbr", "ndmi", "ndwi", "mndwi", "ndci", "ndti",
        "ironoxide", "clayratio"]  # fmt: skip
CUT = {"evi", "arvi", "savi"}  # the package leaves what is beyond -1..1


def bands(v, names):
    return {name: v[BANDS[name]] for name in names.split()}


@pytest.mark.parametrize(("product", "algorithm", "column", "names", "parameters"), ROWS)
def test_rows_of_the_package(vectors, product, algorithm, column, names, parameters):
    v = vectors("vegetation_water_snow_indices")
    found = compute(product, algorithm, **bands(v, names), **parameters)
    wanted = np.clip(v[column], -1, 1) if product in CUT else v[column]
    lit = sum(bands(v, names).values()) > 0
    there = lit & np.isfinite(wanted)
    assert there.sum() > 20
    # Float32 of the inputs: what is divided by a small difference has fewer digits.
    close = {"mtci": 2e-4, "qi1994": 4e-6}.get(product if product == "mtci" else algorithm, 2e-6)
    inner = there & np.isfinite(found)
    assert np.allclose(found[inner], wanted[inner], atol=close, rtol=close)
    assert inner.sum() >= there.sum() - 1  # a divisor within the margin of 0


def test_dark_pixels_are_missing(vectors):
    v = vectors("vegetation_water_snow_indices")
    dark = {name: v[column][2] for name, column in BANDS.items()}
    assert sum(dark.values()) == 0
    for product in DARK:
        inputs = find_card(product).algorithms[0].inputs
        assert np.isnan(compute(product, **{name: dark[name] for name in inputs})), product


def test_trap_sign_of_gamma(vectors):
    """The package's ARVI has the paper's gamma with the wrong sign: at gamma 1 it is (N - B)/(N + B)."""
    v = vectors("vegetation_water_snow_indices")
    lit = v["N"] + v["B"] > 0
    x = bands(v, "sr_blue sr_red sr_nir")
    wrong = compute("arvi", **x, gamma=-1.0)
    assert np.allclose(wrong[lit], np.clip(v["ARVI"], -1, 1)[lit], atol=2e-6)
    assert np.nanmax(np.abs(compute("arvi", **x)[lit] - v["ARVI"][lit])) > 0.1


def test_trap_canopy_term_of_the_enhanced_index(vectors):
    """The package's EVI and EVI2 were called with the canopy term of SAVI, 0.5; MODIS has 1."""
    v = vectors("vegetation_water_snow_indices")
    lit = v["N"] + v["R"] > 0
    ours = compute("evi", **bands(v, "sr_blue sr_red sr_nir"), blue_most=9.0)
    assert np.nanmax(np.abs(ours - np.clip(v["EVI"], -1, 1))[lit]) > 0.1


def test_enhanced_index_over_snow_is_the_one_without_blue():
    x = {"sr_red": 0.9, "sr_nir": 0.85}
    assert compute("evi", sr_blue=0.92, **x) == compute("evi", "jiang2008", **x)
    assert abs(compute("evi", sr_blue=0.92, blue_most=9.0, **x)) > 10 * abs(compute("evi", sr_blue=0.92, **x))


def test_enhanced_index_where_its_divisor_is_zero():
    assert np.isnan(compute("evi", sr_blue=(0.4 + 0.6 + 1) / 7.5, sr_red=0.1, sr_nir=0.4, blue_most=9.0))
    found = compute("evi", sr_blue=np.linspace(0, 2, 5001), sr_red=0.1, sr_nir=0.4, blue_most=9.0)
    assert np.nanmax(np.abs(found)) <= 1.0 and np.isnan(found).sum() < 5


def test_two_forms_of_the_enhanced_index_agree_over_land():
    red = np.linspace(0.02, 0.2, 50)
    x = {"sr_red": red, "sr_nir": 0.5 - red}
    assert np.abs(compute("evi", sr_blue=0.5 * red, **x) - compute("evi", "jiang2008", **x)).max() < 0.05


@pytest.mark.parametrize("product", ["gndvi", "ndre", "nbr", "ndmi", "ndwi", "mndwi", "ndci", "ndti"])
def test_normalised_differences_are_odd_and_bounded_and_know_no_scale(product):
    first, second = find_card(product).algorithms[0].inputs
    rng = np.random.default_rng(3)
    a, b = rng.uniform(0.01, 1, 500), rng.uniform(0.01, 1, 500)
    found = compute(product, **{first: a, second: b})
    assert np.allclose(found, -compute(product, **{first: b, second: a}), atol=1e-7)
    assert np.allclose(found, compute(product, **{first: 0.3 * a, second: 0.3 * b}), atol=1e-6)
    wild = compute(product, **{first: a - 0.5, second: b - 0.5})  # negative after correction
    assert np.nanmax(np.abs(wild)) <= 1.0


def test_atmospheric_resistance():
    """Haze adds more to blue than to red: ARVI of the hazy pixel stays nearer to the clear one than NDVI does."""
    clear = {"sr_blue": 0.03, "sr_red": 0.05, "sr_nir": 0.4}
    hazy = {"sr_blue": 0.03 + 0.04, "sr_red": 0.05 + 0.02, "sr_nir": 0.4}
    lost = {}
    for product in ("ndvi", "arvi"):
        one, two = ({k: v for k, v in x.items() if product == "arvi" or k != "sr_blue"} for x in (clear, hazy))
        lost[product] = float(compute(product, **one) - compute(product, **two))
    assert abs(lost["arvi"]) < 0.2 * lost["ndvi"]


def test_suspended_matter_grows_and_saturates():
    rho = np.linspace(-0.05, 0.3, 701)
    found = compute("spm", rho_w=rho)
    seen = rho < 0.95 * 0.1641
    assert (found[rho <= 0] == 0).all() and np.isnan(found[~seen & (rho > 0.157)]).all()
    assert (np.diff(found[seen]) >= 0).all() and np.nanmax(found) < 0.9


def test_chlorophyll_of_the_sea():
    green = np.full(300, 0.004)
    blue = np.geomspace(0.0005, 0.04, 300)
    found = compute("chla", rrs443=blue, rrs488=0.5 * blue, rrs547=green).astype(float)
    assert (np.diff(found) <= 0).all()  # the bluer, the emptier
    assert compute("chla", rrs443=0.5 * blue, rrs488=blue, rrs547=green) == pytest.approx(found, rel=1e-4)
    x = math.log10(2.0)
    wanted = 1e-6 * 10 ** (0.2424 - 2.7423 * x + 1.8017 * x**2 + 0.0015 * x**3 - 1.228 * x**4)
    assert compute("chla", rrs443=0.004, rrs488=0.001, rrs547=0.002) == pytest.approx(wanted, rel=1e-5)
    dark = compute("chla", rrs443=[0.0, -0.001, 0.004], rrs488=[0.0, -0.002, 0.001], rrs547=[0.002, 0.002, -0.001])
    assert np.isnan(dark).all()
    assert compute("chla", "mishra2012", ndci=[-1.0, 0.0, 1.0]).min() >= 0


def test_minerals_by_the_package(vectors):
    v = vectors("vegetation_water_snow_indices")
    lit = v["S2"] > 1e-4
    ratio = compute("clayratio", **bands(v, "sr_swir1 sr_swir2"))
    assert np.allclose((1 - 1 / ratio)[lit], v["NSDSI1"][lit], atol=1e-5, rtol=1e-5)
