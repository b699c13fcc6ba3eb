"""Seasons of plants: packages, the curve that made the series, laws, edges."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.kernel import evaluate_series
from pipshpc.product import find_card

NAMES = ["savgol", "whittaker", "double-logistic"]
DAYS = np.arange(0.0, 365.0, 8.0)


def curve(t, base=0.15, top=0.75, rise=120.0, fast=0.07, fall=280.0, slow=0.05):
    return base + (top - base) * (1 / (1 + np.exp(-fast * (t - rise))) - 1 / (1 + np.exp(-slow * (t - fall))))


def seasons(name, ndvi, day=DAYS, **parameters):
    """All that one run gives: sos, eos, pos, gsl, amplitude, and the numbers of the fit."""
    weights = {"weight": parameters.pop("weight")} if "weight" in parameters else {}
    return evaluate_series(find_card("sos").algorithm(name), {"ndvi": ndvi, **weights}, day, parameters)


@pytest.mark.parametrize(("half", "column"), [(3, "savgol_w7p2"), (2, "savgol_w5p2")])
def test_running_parabolas_of_the_package(vectors, half, column):
    v = vectors("phenology_smoothing")
    assert np.allclose(compute("ndvismooth", "savgol", ndvi=v["ndvi_noisy"], half=half), v[column], atol=1e-6)


def test_running_parabolas_of_windows_of_nine_are_the_same_away_from_the_ends(vectors):
    v = vectors("phenology_smoothing")
    found = compute("ndvismooth", "savgol", ndvi=v["ndvi_noisy"], half=4.0)
    assert np.allclose(found[4:-4], v["savgol_w9p2_nearest"][4:-4], atol=1e-6)


@pytest.mark.parametrize("smoothness", [1, 10, 100])
def test_whittaker_of_the_package(vectors, smoothness):
    v = vectors("phenology_smoothing")
    found = compute("ndvismooth", "whittaker", ndvi=v["ndvi_noisy"], smoothness=smoothness)
    assert np.allclose(found, v[f"whit_l{smoothness}"], atol=1e-6)
    x = {"ndvi": v["ndvi_noisy"], "weight": v["weight"], "smoothness": smoothness}
    assert np.allclose(compute("ndvismooth", "whittaker-weighted", **x), v[f"whit_w_l{smoothness}"], atol=1e-6)


def test_days_of_the_curve(vectors):
    """The truth of the file's header: 20 % at 99.9 and 306.8, 50 % at 119.51 and 280.18, the peak at 189.52."""
    v = vectors("phenology_smoothing")
    truth = {0.2: (99.9, 306.8), 0.5: (119.51, 280.18)}
    for name, close in (("savgol", 1.0), ("whittaker", 1.0), ("double-logistic", 0.5)):
        for threshold, (sos, eos) in truth.items():
            found = seasons(name, v["ndvi_true"], threshold=threshold, period=0.0)
            assert found["sos"] == pytest.approx(sos, abs=close), name
            assert found["eos"] == pytest.approx(eos, abs=close), name
            assert found["pos"] == pytest.approx(189.52, abs=1.0), name
            assert found["gsl"] == pytest.approx(found["eos"] - found["sos"], abs=1e-3)


NUMBERS = ("base", "top", "rise", "rate_rise", "fall", "rate_fall")


def test_numbers_of_the_fit(vectors):
    """Of the file's header: the series without noise, and the weighted fit of the one with noise."""
    v = vectors("phenology_smoothing")
    clean = seasons("double-logistic", v["ndvi_true"], period=0.0)
    for name, wanted in zip(NUMBERS, (0.15, 0.75, 120.0, 0.07, 280.0, 0.05), strict=True):
        assert clean[name] == pytest.approx(wanted, rel=1e-4)
    weighted = seasons("double-logistic-weighted", v["ndvi_noisy"], weight=v["weight"], period=0.0)
    for name, wanted in zip(NUMBERS, (0.127311, 0.752958, 118.448971, 0.056585, 281.452115, 0.048292), strict=True):
        assert weighted[name] == pytest.approx(wanted, rel=1e-4)
    fitted = curve(v["day"], *(float(weighted[n][0]) for n in NUMBERS))
    assert np.allclose(fitted, v["dl_fit_weighted"], atol=1e-5)


def test_many_fits_come_to_rest_where_the_package_does(needs):
    needs("scipy")
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(5)
    n = 40
    truth = [(0.1 + 0.1 * a, 0.5 + 0.3 * b, 90 + 60 * c, 0.04 + 0.06 * d, 250 + 50 * e, 0.04 + 0.06 * f)
             for a, b, c, d, e, f in rng.random((n, 6))]  # fmt: skip
    ndvi = np.array([curve(DAYS, *p) for p in truth]).T + rng.normal(0, 0.01, (DAYS.size, n))
    found = seasons("double-logistic", ndvi, period=0.0)
    ours = np.array([curve(DAYS, *(float(found[k][i]) for k in NUMBERS)) for i in range(n)]).T
    best = np.array([curve(DAYS, *curve_fit(curve, DAYS, ndvi[:, i], truth[i], maxfev=5000)[0]) for i in range(n)]).T
    squares = [((x - ndvi) ** 2).sum(0) for x in (ours, best)]
    assert (squares[0] <= squares[1] * 1.001 + 1e-6).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_season_across_the_end_of_the_year(name):
    """A year that is turned by some steps has its season as many steps earlier, on negative days where need be."""
    year = 46 * 8.0
    north = seasons(name, curve(DAYS), period=year)
    for steps in (5, 17, 23, 30, 40):
        south = seasons(name, np.roll(curve(DAYS), -steps), period=year)
        for key in ("sos", "eos", "pos"):
            away = (south[key] + 8.0 * steps - north[key] + year / 2) % year - year / 2
            assert abs(away) < 0.2, (key, steps)
        assert south["gsl"] == pytest.approx(north["gsl"], abs=0.3)
        assert south["sos"] < south["pos"] < south["eos"]


@pytest.mark.parametrize("name", NAMES)
def test_evergreen_desert_and_missing_pixels_have_no_season(name):
    wave = np.cos(2 * np.pi * (DAYS - 180) / 365)
    ndvi = np.stack([0.8 + 0.04 * wave, 0.05 + 0.0 * wave, np.full(46, np.nan), 0.5 + 0.2 * wave], axis=1)
    found = seasons(name, ndvi)
    for key in ("sos", "eos", "pos", "gsl"):
        assert np.isnan(found[key][:3]).all() and np.isfinite(found[key][3]), key
    assert found["amplitude"][0] == pytest.approx(0.08, abs=0.02) and np.isnan(found["amplitude"][2])
    assert (seasons(name, ndvi[:, :1], least=0.05)["sos"] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gaps_cost_little(name):
    ndvi = np.repeat(curve(DAYS)[:, None], 20, axis=1)
    rng = np.random.default_rng(2)
    for i in range(1, 20):
        ndvi[rng.choice(46, 10, replace=False), i] = np.nan
    found = seasons(name, ndvi)
    assert np.abs(found["sos"] - found["sos"][0]).max() < 8.0
    assert np.abs(found["eos"] - found["eos"][0]).max() < 8.0
    few = np.full((46, 1), np.nan)
    few[::15] = 0.3
    assert np.isnan(seasons(name, few)["amplitude"]).all()


@pytest.mark.parametrize("name", ["savgol", "whittaker"])
def test_what_smoothing_leaves_as_it_is(name):
    line = 0.2 + 0.01 * np.arange(46.0)
    x = {"half": 3.0} if name == "savgol" else {"smoothness": 50.0}
    assert np.allclose(compute("ndvismooth", name, ndvi=line, **x), line, atol=1e-6)
    holes = line.copy()
    holes[[0, 7, 8, 30]] = np.nan
    inner = slice(1, None)
    assert np.allclose(compute("ndvismooth", name, ndvi=holes, **x)[inner], line[inner], atol=4e-3)
    if name == "savgol":
        bent = 0.1 + 0.0004 * np.arange(46.0) ** 2
        assert np.allclose(compute("ndvismooth", name, ndvi=bent), bent, atol=1e-6)


def test_the_mean_stays_when_whittaker_smooths():
    rng = np.random.default_rng(4)
    noisy = rng.random((46, 33))
    found = compute("ndvismooth", "whittaker", ndvi=noisy, smoothness=100.0)
    assert np.allclose(found.mean(0), noisy.mean(0), atol=1e-6)  # sums of second differences are 0 against 1
    assert np.allclose((np.arange(46) @ found), (np.arange(46) @ noisy), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_do_not_know_of_each_other(name):
    rng = np.random.default_rng(1)
    ndvi = curve(DAYS)[:, None] + rng.normal(0, 0.02, (46, 300))
    ndvi[rng.random(ndvi.shape) < 0.05] = np.nan
    whole = seasons(name, ndvi)
    for part in (slice(0, 1), slice(100, 117), slice(255, 258)):
        alone = seasons(name, ndvi[:, part])
        for key in ("sos", "eos", "pos", "amplitude"):
            assert np.array_equal(whole[key][part], alone[key], equal_nan=True), key


@pytest.mark.parametrize("name", NAMES)
def test_series_that_are_too_short_or_too_long_are_missing(name):
    for n in (3, 500):
        assert np.isnan(seasons(name, np.linspace(0, 1, n), np.arange(float(n)))["sos"]).all()
