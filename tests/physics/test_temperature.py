"""Surface temperature: packages and their faults, laws, edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import compute
from pipshpc.kernel import evaluate
from pipshpc.product import find_card

WINDOW = ["gsw-du2015", "sobrino2003", "jimenez-munoz2014"]


def inputs(v):
    return {"bt11": v["t11"], "bt12": v["t12"], "emis11": v["e11"], "emis12": v["e12"], "prw": 10.0 * v["cwv"]}


@pytest.mark.parametrize(
    ("name", "column"), [("gsw-du2015", "lst_gsw_du2015_K"), ("sobrino2003", "lst_sobrino2003_modis_K")]
)
def test_split_windows(vectors, name, column):
    v = vectors("lst_splitwindow")
    assert np.allclose(compute("ts", name, **inputs(v)), v[column], atol=2e-3)


def test_the_slip_of_pylandtemp_is_not_reproduced(vectors):
    """TRAP: the package has 1.387 where the paper has 1.378; else the numbers are the same."""
    v = vectors("lst_splitwindow")
    found = compute("ts", "jimenez-munoz2014", **inputs(v)).astype(float)
    apart = v["t11"] - v["t12"]
    assert np.allclose(found + 0.009 * apart, v["lst_jm_pylandtemp_c1_1.387_K"], atol=2e-3)
    assert np.abs(found - v["lst_jm_pylandtemp_c1_1.387_K"]).max() > 0.02


def test_coefficients_meet_at_the_ends_of_their_ranges():
    """The mean of two sets in an overlap lies between both; the steps at its ends stay below 2 K."""
    prw = np.linspace(0.0, 70.0, 7001)
    found = compute("ts", bt11=300.0, bt12=298.0, emis11=0.97, emis12=0.975, prw=prw).astype(float)
    ends = prw[1:][np.abs(np.diff(found)) > 1e-3]
    assert np.allclose(ends, [20.0, 25.0, 30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 63.0], atol=0.02)
    assert np.abs(np.diff(found)).max() < 2.0


@pytest.mark.parametrize("name", WINDOW)
def test_lower_emissivity_means_a_hotter_surface(name):
    e = np.linspace(0.90, 1.0, 50)
    found = compute("ts", name, bt11=300.0, bt12=299.0, emis11=e, emis12=e, prw=15.0).astype(float)
    assert (np.diff(found) < 0.0).all()


@pytest.mark.parametrize("name", WINDOW)
def test_clouds_are_missing(name):
    found = compute(
        "ts",
        name,
        bt11=[290.0, 290.0, 290.0, 100.0],
        bt12=[281.0, 295.0, 289.0, 99.0],
        emis11=0.97,
        emis12=0.97,
        prw=10.0,
    )
    assert np.isnan(found).tolist() == [True, True, False, True]


@given(st.floats(220.0, 330.0), st.floats(0.0, 4.0), st.floats(0.94, 0.99), st.floats(0.0, 60.0))
def test_split_windows_in_single_precision(bt11, apart, e, prw):
    """Against the same formula in double precision, for the ranges' own coefficients."""
    air = {
        k: np.float32(x)
        for k, x in {"bt11": bt11, "bt12": bt11 - apart, "emis11": e, "emis12": e + 0.004, "prw": prw}.items()
    }
    a, b, e1, e2, w = (float(air[k]) for k in ("bt11", "bt12", "emis11", "emis12", "prw"))
    d, g, w = a - b, 1 - 0.5 * (e1 + e2), 0.1 * w
    sobrino = a + 1.02 + 1.79 * d + 1.2 * d * d + (34.83 - 0.68 * w) * g + (-73.27 - 5.19 * w) * (e1 - e2)
    jimenez = a + 1.378 * d + 0.183 * d * d - 0.268 + (54.3 - 2.238 * w) * g + (-129.2 + 16.4 * w) * (e1 - e2)
    assert compute("ts", "sobrino2003", **air) == pytest.approx(sobrino, abs=5e-4)
    assert compute("ts", "jimenez-munoz2014", **air) == pytest.approx(jimenez, abs=5e-4)


def test_planck_there_and_back():
    t = np.linspace(180.0, 340.0, 100)
    radiance = 1.191042972e8 / 11.03**5 / (np.exp(14387.7688 / (11.03 * t)) - 1)
    assert np.allclose(compute("tb", "planck", radiance=radiance), t, atol=2e-3)
    counts = (774.8853 / (np.exp(1321.0789 / t) - 1) - 0.1) / 3.342e-4
    assert np.allclose(compute("tb", counts=counts), t, atol=3e-3)
    assert np.isnan(compute("tb", "planck", radiance=[0.0, -1.0])).all()


def test_one_channel_agrees_with_two_where_the_air_is_dry():
    """Independent formulas for one sensor: a black surface under 10 kg m-2 and a usual difference of the bands."""
    one = compute("ts", "single-channel", bt11=295.0, emis11=0.98, prw=10.0)
    two = compute("ts", "jimenez-munoz2014", bt11=295.0, bt12=294.2, emis11=0.98, emis12=0.984, prw=10.0)
    assert abs(float(one) - float(two)) < 1.5


def test_more_water_between_means_more_correction():
    prw = np.linspace(5.0, 30.0, 30)
    found = compute("ts", "single-channel", bt11=300.0, emis11=0.97, prw=prw).astype(float)
    assert (np.diff(found) > 0.0).all() and found[0] > 300.0


def test_a_black_surface_has_its_brightness_temperature():
    assert compute("ts", "emissivity-only", bt11=300.0, emis11=1.0) == pytest.approx(300.0, abs=1e-4)


@given(st.floats(250.0, 330.0), st.floats(250.0, 330.0), st.floats(0.05, 1.0))
def test_soil_and_canopy_make_the_surface(tcan, tsoil, fveg):
    ts = (fveg * tcan**4 + (1 - fveg) * tsoil**4) ** 0.25
    # What float32 leaves of the surface temperature is divided by the cover.
    assert compute("tcan", ts=ts, fveg=fveg, tsoil=tsoil) == pytest.approx(tcan, abs=2e-4 / fveg + 1e-3)


def test_canopy_that_cannot_be_is_missing():
    found = compute("tcan", ts=[300.0, 300.0, 250.0], fveg=[0.0, 0.04, 0.1], tsoil=[300.0, 300.0, 330.0])
    assert np.isnan(found).all()


@pytest.mark.parametrize("name", [a.name for a in find_card("ts").algorithms if "bt11" in a.inputs])
def test_whatever_comes_is_a_temperature_or_missing(name):
    algorithm = find_card("ts").algorithm(name)
    rng = np.random.default_rng(3)
    ends = {"bt11": (140, 360), "bt12": (140, 360), "emis11": (0.8, 1.0), "emis12": (0.8, 1.0), "prw": (-1, 80)}
    values = {n: rng.uniform(*ends[n], 5000) for n in algorithm.inputs}
    found = next(iter(evaluate(algorithm, values).values()))
    there = found[np.isfinite(found)]
    assert not np.isinf(found).any() and there.size and (there > 100.0).all()
