"""Diagnoses made of basic products: classes, trends, last years, seasons of snow."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.kernel import evaluate_series
from pipshpc.product import find_card

YEARS = 365.25 * np.arange(20.0)


def test_trend_of_packages(needs):
    needs("scipy")
    from scipy import stats

    rng = np.random.default_rng(0)
    cover = 0.4 - 0.004 * np.arange(20)[:, None] + rng.normal(0, 0.02, (20, 40))
    slope = compute("fveg_trend", fveg=cover, day=YEARS)
    z = compute("fveg_trend_z", fveg=cover, day=YEARS)
    for i in range(40):
        assert slope[i] == pytest.approx(stats.linregress(np.arange(20), cover[:, i]).slope, rel=2e-4, abs=1e-6)
        tau = stats.kendalltau(np.arange(20), cover[:, i]).statistic  # (concordant - discordant)/190
        s = round(tau * 190)
        assert z[i] == pytest.approx((s - np.sign(s)) / np.sqrt(20 * 19 * 45 / 18), abs=1e-4)
    assert np.allclose(compute("fveg_mean", fveg=cover, day=YEARS), cover.mean(0), atol=1e-6)


def test_trend_of_years_with_gaps_and_of_too_few():
    cover = np.repeat((0.5 - 0.01 * np.arange(20.0))[:, None], 3, axis=1)
    cover[[2, 3, 11], 1] = np.nan
    cover[2:, 2] = np.nan
    slope = compute("fveg_trend", fveg=cover, day=YEARS)
    assert slope[:2] == pytest.approx([-0.01, -0.01], rel=1e-4) and np.isnan(slope[2])


def test_desert_is_what_surely_loses_cover_in_sparse_land():
    x = {"fveg_trend_z": -3.0, "fveg_mean": 0.2}
    trend = 0.2 * np.array([-0.05, -0.02, -0.008, -0.002, 0.002, 0.01])
    assert compute("desertclass", fveg_trend=trend, **x).tolist() == [3, 2, 1, 0, 0, 4]
    assert compute("desertclass", fveg_trend=-0.01, **{**x, "fveg_trend_z": -1.0}) == 0
    assert np.isnan(compute("desertclass", fveg_trend=-0.01, fveg_trend_z=-3.0, fveg_mean=0.7))


def test_chain_from_cover_to_desert():
    rng = np.random.default_rng(3)
    cover = 0.25 + rng.normal(0, 0.004, (20, 30)) - 0.005 * np.arange(20)[:, None]
    names = ("fveg_trend", "fveg_trend_z", "fveg_mean")
    parts = {name: compute(name, fveg=cover, day=YEARS) for name in names}
    assert (compute("desertclass", **parts) >= 2).all()
    still = 0.25 + rng.normal(0, 0.004, (20, 1000))
    parts = {name: compute(name, fveg=still, day=YEARS) for name in names}
    assert (compute("desertclass", **parts) > 0).mean() < 0.08  # 5 % are surely wrong


def test_last_year_against_the_others():
    rng = np.random.default_rng(2)
    npp = rng.normal(0.6, 0.1, (15, 25))
    found = compute("npp_anomaly", npp=npp)
    assert np.allclose(found, (npp[-1] - npp[:-1].mean(0)) / npp[:-1].std(0, ddof=1), atol=1e-4)
    assert np.isnan(compute("npp_anomaly", npp=np.full(9, 0.5)))
    assert np.isnan(compute("npp_anomaly", npp=[0.5, 0.4, 0.3]))
    npp[-1, 0] = np.nan
    assert np.isnan(compute("npp_anomaly", npp=npp)[0])


def test_percentiles_of_packages(needs):
    needs("scipy")
    from scipy import stats

    rng = np.random.default_rng(6)
    smi = np.round(rng.random((12, 50)), 1)  # many are equal
    found = compute("smi_percentile", smi=smi)
    for i in range(50):
        wanted = stats.percentileofscore(smi[:-1, i].astype(np.float32), np.float32(smi[-1, i]), kind="mean") / 100
        assert found[i] == pytest.approx(wanted, abs=1e-6)
    z = np.linspace(-6, 6, 201)
    normal = compute("smi_percentile", "normal", smi=0.5 + 0.1 * z, smi_mean=0.5, smi_sd=0.1)
    assert np.allclose(normal, stats.norm.cdf(z), atol=2e-6)
    assert np.isnan(compute("smi_percentile", "normal", smi=0.5, smi_mean=0.5, smi_sd=0.0))


def test_drought_by_the_percentile():
    percentile = [0.5, 0.31, 0.3, 0.2, 0.1, 0.05, 0.02, 0.0]
    assert compute("droughtclass", smi_percentile=percentile).tolist() == [0, 0, 1, 2, 3, 4, 5, 5]
    dry = np.append(np.linspace(0.3, 0.6, 30), 0.1)
    assert compute("droughtclass", smi_percentile=compute("smi_percentile", smi=dry)) == 5


def test_harvest_goes_with_production_and_is_of_fields_only():
    kinds = np.arange(17.0)
    found = compute("cropyield", npp=0.5, landtype=kinds)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [12, 14]
    assert found[14] == pytest.approx(0.5 * found[12])
    assert 0.3 < found[12] < 0.6  # 3 to 6 t a hectare: wheat
    assert compute("cropyield", npp=1.0, landtype=12.0) == pytest.approx(2 * found[12])


def test_forest_by_its_anomaly():
    anomaly = [-3.0, -1.5, 0.0, 2.0]
    assert compute("foreststate", npp_anomaly=anomaly, landtype=1.0).tolist() == [2, 1, 0, 3]
    assert np.isnan(compute("foreststate", npp_anomaly=anomaly, landtype=10.0)).all()


def test_haze_water_and_rock_by_thresholds():
    assert compute("airclass", od550aer=[0.05, 0.1, 0.3, 0.7, 3.0]).tolist() == [0, 1, 2, 3, 4]
    x = {"spm": [0.0, 0.02, 0.2, 0.2, 0.0], "fai": [0.0, 0.0, 0.0, 0.1, 0.0]}
    assert compute("waterstate", mndwi=[0.5, 0.5, 0.5, 0.5, -0.2], **x).tolist() == [1, 2, 3, 4, 0]
    x = {"ironoxide": [1.0, 3.0, 1.0, 3.0, 3.0], "clayratio": [1.0, 1.0, 2.0, 2.0, 2.0]}
    found = compute("alteration", ndvi=[0.1, 0.1, 0.1, 0.1, 0.5], **x)
    assert found[:4].tolist() == [0, 1, 2, 3] and np.isnan(found[4])


def snow_by_a_loop(snc, step):
    """Days, longest cover and its start, one pixel after another."""
    covered, state = [], False
    for value in snc:
        state = state if np.isnan(value) else value >= 0.5
        covered.append(state)
    best, start, run = 0, np.nan, 0
    for t, snow in enumerate(covered):
        run = run + 1 if snow else 0
        if run > best:
            best, start = run, (t - run + 1) * step
    return sum(covered) * step, best * step, start


@pytest.mark.parametrize("step", [1.0, 8.0])
def test_seasons_of_snow(step):
    rng = np.random.default_rng(8)
    smooth = np.cumsum(rng.normal(0, 0.3, (120, 40)), axis=0)
    snc = np.clip(0.5 + smooth, 0, 1)
    snc[rng.random(snc.shape) < 0.2] = np.nan
    found = evaluate_series(find_card("snowseason").algorithms[0], {"snc": snc}, step * np.arange(120.0))
    for i in range(40):
        days, season, start = snow_by_a_loop(snc[:, i].astype(np.float32), step)
        assert (found["days"][i], found["season"][i]) == (days, season)
        assert found["start"][i] == start or (np.isnan(start) and np.isnan(found["start"][i]))
    clouds = np.full((10, 1), np.nan)
    clouds[:3] = 1.0
    assert np.isnan(compute("snowdays", snc=clouds)).all()
