"""Snow that is carried from step to step: the compiled original over a season, mass, restarts, series over days."""

import numpy as np
import pytest

from pipshpc.kernel import evaluate_series, evaluate_stateful
from pipshpc.product import find_card

FREEZE = 273.16
SNOBAL = find_card("snw").algorithm("snobal")
SNOW17 = find_card("snw").algorithm("snow17")
DEGREES = find_card("smb").algorithm("degree-day")
PRESSURE = 101324.6 * (288.0 / 275.0) ** (9.80665 * 28.9644 / (8314.32 * -6.5e-3))  # Pa, at 2000 m


def season(v):
    """Forcing of Snobal's reference season, (hours, 1)."""
    x = {"rss": v["net_solar"], "rlds": v["thermal"], "tas": v["air_temp"] + FREEZE, "vap": v["vapor_pressure"]}
    x |= {"sfcWind": v["wind_speed"], "tsl": v["soil_temp"] + FREEZE, "pr": v["precip"] / 3600}
    x |= {"snowshare": v["percent_snow"], "newdensity": v["snow_density"], "tpr": v["precip_temp"] + FREEZE}
    return {n: a[:, None].astype(np.float32) for n, a in x.items()} | {"ps": np.float32(PRESSURE)}


def test_snobal_against_the_compiled_original(vectors):
    forcing, wanted = vectors("snow_snobal_forcing"), vectors("snow_snobal_daily")
    out, _ = evaluate_stateful(SNOBAL, season(forcing))
    days = [slice(1 + 24 * d, 25 + 24 * d) for d in range(wanted["SWI"].size)]
    means = {"net_rad": "rnsn", "sensible_heat": "hfssn", "latent_heat": "hflsn", "snow_soil": "hfgsn"}
    means |= {"precip_advected": "hfprsn", "sum_EB": "hfsn"}
    for column, name in means.items():
        found = [out[name][day].mean() for day in days]
        assert np.allclose(found, wanted[column], atol=0.01), column
    for column, name, tolerance in (("evaporation", "evsn", 1e-3), ("snowmelt", "snm", 0.05), ("SWI", "mrrosn", 0.05)):
        found = [out[name][day].sum(dtype=float) * 3600 for day in days]
        assert np.allclose(found, wanted[column], atol=tolerance), column
    last = [min(day.stop, len(out["snw"])) - 1 for day in days]
    ends = {"thickness": ("snd", 5e-5), "snow_density": ("rhosn", 0.01), "specific_mass": ("snw", 0.01)}
    ends |= {"liquid_water": ("lwsn", 1e-3)}
    for column, (name, tolerance) in ends.items():
        assert np.allclose(out[name][last, 0], wanted[column], atol=tolerance), column
    for column, name in (("temp_surf", "tsn"), ("temp_lower", "tsnlower"), ("temp_snowcover", "tsnmean")):
        assert np.allclose(out[name][last, 0] - FREEZE, wanted[column], atol=2e-3), column


def winter(pixels=40, hours=2000, seed=0):
    """A winter of snow, rain, thaw and cold, another for each pixel."""
    rng = np.random.default_rng(seed)
    t = np.arange(hours)[:, None]
    warm = (
        rng.uniform(-12, 2, pixels) + 14 * (t / hours) + 6 * np.sin(2 * np.pi * t / 24) + rng.normal(0, 1, (1, pixels))
    )
    tas = FREEZE + warm
    wet = rng.random((hours, pixels)) < 0.08
    x = {"rss": np.maximum(0, 150 * np.sin(2 * np.pi * (t - 6) / 24)) + 0 * warm, "tas": tas, "tpr": tas}
    x |= {"rlds": 0.75 * 5.67e-8 * tas**4, "vap": 0.7 * 611 * np.exp(17.5 * warm / (241 + warm))}
    x |= {"sfcWind": rng.uniform(0.5, 8, (hours, pixels)), "tsl": np.full_like(tas, 273.0)}
    x |= {"pr": np.where(wet, rng.uniform(0, 2e-3, (hours, pixels)), 0), "newdensity": np.full_like(tas, 90.0)}
    x |= {"snowshare": np.clip(0.5 - 0.5 * warm, 0, 1)}
    return {n: np.broadcast_to(a, tas.shape).astype(np.float32) for n, a in x.items()} | {"ps": np.float32(8e4)}


def test_snobal_keeps_mass_over_a_season():
    x = winter()
    out, state = evaluate_stateful(SNOBAL, x)
    fallen = x["pr"][:-1].sum(0, dtype=float) * 3600  # that of the last hour falls in the next
    gained = out["evsn"].sum(0, dtype=float) * 3600
    lost = out["mrrosn"].sum(0, dtype=float) * 3600
    assert fallen.min() > 100
    assert lost.max() > 50
    assert out["snw"].max() > 50
    assert np.abs(fallen + gained - lost - out["snw"][-1]).max() < 1e-3
    assert np.abs(state["mass"] + state["mass_rest"].astype(float) - out["snw"][-1]).max() < 1e-4


def test_snobal_is_a_state_of_snow():
    out, _ = evaluate_stateful(SNOBAL, winter(seed=1))
    assert all(np.isfinite(a).all() for a in out.values())
    assert out["snw"].min() >= 0
    assert out["rhosn"].max() <= 751
    assert out["tsn"].max() <= FREEZE + 1e-3
    assert (out["lwsn"] <= out["snw"] + 1e-4).all()
    none = out["snw"] == 0
    assert none.any()
    assert (out["snd"][none] == 0).all()
    closing = out["rnsn"] + out["hfssn"] + out["hflsn"] + out["hfgsn"] + out["hfprsn"] - out["hfsn"]
    assert np.abs(closing).max() < 0.01


@pytest.mark.parametrize("algorithm", [SNOBAL, SNOW17, DEGREES], ids=lambda a: a.name)
def test_a_restart_gives_the_same_bits(algorithm):
    x = winter(pixels=37, hours=500, seed=2) | {"doy": np.linspace(1, 200, 500)[:, None], "lat": 45.0}
    x = {n: np.broadcast_to(np.asarray(x[n], np.float32), (500, 37)) for n in algorithm.inputs}
    whole, end = evaluate_stateful(algorithm, x)
    first, between = evaluate_stateful(algorithm, {n: a[:211] for n, a in x.items()})
    second, last = evaluate_stateful(algorithm, {n: a[211:] for n, a in x.items()}, between)
    for name in whole:
        assert np.array_equal(np.concatenate([first[name], second[name]]), whole[name]), name
    assert all(np.array_equal(last[n], end[n]) for n in end)


def test_a_pixel_does_not_know_its_neighbours():
    """Sorting by step must not change a bit: light and heavy packs in any company."""
    x = winter(pixels=300, hours=300, seed=3)
    whole, _ = evaluate_stateful(SNOBAL, x)
    some = np.random.default_rng(4).permutation(300)[:90]
    part, _ = evaluate_stateful(SNOBAL, {n: a[:, some] if np.ndim(a) else a for n, a in x.items()})
    assert all(np.array_equal(part[n], whole[n][:, some]) for n in part)


def test_a_missing_hour_keeps_the_snow():
    x = winter(pixels=16, hours=300, seed=5)
    x["tas"] = x["tas"].copy()
    x["tas"][200, 3] = np.nan
    out, _ = evaluate_stateful(SNOBAL, x)
    assert np.flatnonzero(np.isnan(out["snw"][200])).tolist() == [3]
    assert np.isfinite(out["snw"][201]).all()


def test_snow17_against_jsnow17(vectors):
    v = vectors("snow_degreeday_snow17")
    x = {
        "tas": v["temp_C"] + 273.15,
        "pr": v["precip_mm"] / 86400,
        "doy": v["doy"],
        "lat": np.full(v["doy"].size, 45.0),
    }
    out, state = evaluate_stateful(SNOW17, {n: a[:, None] for n, a in x.items()})
    assert np.allclose(out["snw"][:, 0], v["w_i"] + v["w_q"], atol=2e-3)
    assert np.allclose(86400 * out["mrro"][:, 0], v["rain_plus_melt_mm"], atol=2e-3)
    assert state["ice"][0] == pytest.approx(v["w_i"][-1], abs=2e-3)
    fallen = v["precip_mm"].sum()
    assert fallen - 86400 * out["mrro"].sum(dtype=float) - out["snw"][-1, 0] == pytest.approx(0, abs=1e-2)


def test_snow17_keeps_mass_south_and_north():
    rng = np.random.default_rng(6)
    x = {"tas": 273.15 + rng.normal(0, 8, (400, 64)), "pr": rng.uniform(0, 2e-4, (400, 64))}
    x |= {"doy": np.tile(np.arange(400.0)[:, None] % 365, 64), "lat": np.tile(np.linspace(-60, 60, 64), (400, 1))}
    out, _ = evaluate_stateful(SNOW17, x)
    left = 86400 * (np.float32(1) * x["pr"].astype(np.float32)).sum(0, dtype=float)
    left -= 86400 * out["mrro"].sum(0, dtype=float) + out["snw"][-1]
    assert np.abs(left).max() < 0.02
    assert out["snw"].min() >= 0


def test_degree_days_against_the_plain_equations():
    rng = np.random.default_rng(7)
    t, pr = rng.normal(-3, 8, (365, 32)), rng.uniform(0, 1e-4, (365, 32))
    out, _ = evaluate_stateful(DEGREES, {"tas": 273.15 + t, "pr": pr})
    snow = np.zeros(32)
    for day in range(365):
        fallen = np.clip((2 - t[day]) / 2, 0, 1) * pr[day] * 86400
        snow += fallen
        could = 3 * np.maximum(t[day], 0)
        melt = np.minimum(snow, could)
        off = melt + (could - melt) * 8 / 3
        snow -= melt
        assert np.allclose(86400 * out["smb"][day], fallen - off, atol=3e-3)  # 1e-5 K of temperature
    spread, _ = evaluate_stateful(DEGREES, {"tas": 273.15 + t, "pr": pr}, parameters={"spread": 5.0})
    assert (spread["pdd"] >= out["pdd"] - 1e-4).all()  # variation only adds degree days
    assert spread["pdd"][t < -25].max(initial=0) < 1e-3


def days_of_snow(seed=8, n=12, pixels=50):
    rng = np.random.default_rng(seed)
    snc = rng.random((n, pixels)).astype(np.float32)
    snc[rng.random((n, pixels)) < 0.5] = np.nan
    return snc


def test_maximum_over_days_knows_no_order():
    snc = days_of_snow()
    card = find_card("sncmax").algorithms[0]
    found = evaluate_series(card, {"snc": snc})["sncmax"]
    with np.errstate(all="ignore"):
        assert np.array_equal(found, np.nanmax(snc, axis=0), equal_nan=True)
    assert np.array_equal(evaluate_series(card, {"snc": snc[::-1]})["sncmax"], found, equal_nan=True)
    assert np.isnan(evaluate_series(card, {"snc": np.full((3, 16), np.nan)})["sncmax"]).all()


def bridged(snc, day, reach):
    """The rule for one pixel, look by look."""
    seen = np.flatnonzero(np.isfinite(snc))
    out = np.full(snc.size, np.nan)
    for t in range(snc.size):
        before = [k for k in seen if k <= t and day[t] - day[k] <= reach]
        after = [k for k in seen if k >= t and day[k] - day[t] <= reach]
        if before and after:
            a, b = before[-1], after[0]
            share = 0 if a == b else (day[t] - day[a]) / (day[b] - day[a])
            out[t] = snc[a] + share * (snc[b] - snc[a])
        elif before or after:
            out[t] = snc[before[-1] if before else after[0]]
    return out


def test_gaps_are_bridged_by_the_rule():
    snc = days_of_snow(seed=9, n=40)
    day = np.cumsum(np.random.default_rng(1).integers(1, 4, 40)).astype(np.float32)
    card = find_card("sncfill").algorithms[0]
    found = evaluate_series(card, {"snc": snc}, day, {"reach": 4.0})["sncfill"]
    wanted = np.stack([bridged(snc[:, i], day, 4.0) for i in range(snc.shape[1])], axis=1)
    assert np.isnan(wanted).any()
    assert np.allclose(found, wanted, atol=1e-6, equal_nan=True)
    seen = np.isfinite(snc)
    assert np.array_equal(found[seen], snc[seen])  # what was seen stays


@pytest.mark.parametrize(
    ("days", "code"),
    [
        ([25, 25, 200, 50], 200),
        ([25, 100, 25], 100),
        ([25, 37, 25], 25),
        ([37, 37, 25], 37),
        ([39, 50, 50], 39),
        ([50, 50, 50], 50),
        ([11, 11], 11),
        ([50, 11, 1], 1),
        ([50, np.nan, 25], 25),
        ([37, 25], 25),
    ],
)
def test_class_of_a_period(days, code):
    card = find_card("sncclass").algorithms[0]
    found = evaluate_series(card, {"snowcode": np.array(days, float)[:, None]})["sncclass"]
    assert found[0] == code


def test_maximum_extent_against_a_real_tile(shared, needs):
    """The tile's own record of days, made into eight daily maps, gives the tile's own snow."""
    needs("pyhdf")
    from pyhdf.SD import SD

    path = shared / "data" / "tiles" / "MOD10A2.A2022033.h09v05.061.2022042050729.hdf"
    if not path.exists():
        pytest.skip(f"no {path}")
    tile = SD(str(path))
    extent, days = tile.select("Maximum_Snow_Extent")[:], tile.select("Eight_Day_Snow_Cover")[:]
    extent, days = extent[::3, ::3].ravel(), days[::3, ::3].ravel()
    # A day without snow may have been bare, cloudy or water: take it for what the period was, or bare under snow.
    other = np.where(extent == 200, 25, extent).astype(np.float32)
    daily = np.stack([np.where(days >> bit & 1, np.float32(200), other) for bit in range(8)])
    found = evaluate_series(find_card("sncclass").algorithms[0], {"snowcode": daily})["sncclass"]
    assert (extent == 200).mean() > 0.3
    assert (found == extent)[(days > 0) | (extent != 200)].mean() > 0.999
    assert ((days > 0) == (extent == 200)).mean() > 0.995
