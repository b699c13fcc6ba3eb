"""Gross and net production: the official code's vectors, a year's laws, edges."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.kernel import evaluate_stateful
from pipshpc.product import find_card

DAY = 86400.0
GRAM = 1e3 * DAY  # from kg m-2 s-1 to g m-2 a day
IGBP = {"ENF": 1, "EBF": 2, "DNF": 3, "DBF": 4, "MF": 5, "CShrub": 6, "OShrub": 7, "WSavannas": 8, "Savannas": 9,
        "Grass": 10, "Crop": 12}  # fmt: skip
YEAR = np.arange(365.0)


@pytest.fixture
def days(vectors):
    """The official code's days as inputs in SI."""
    v = vectors("npp_mod17_daily")
    kind = np.array([IGBP[name.split("=")[0]] for name in v["pft"]], float)
    x = {"fapar": v["fpar"], "tasmin": v["tmin"] + 273.15, "vpd": v["vpd"], "rsds": v["par"] / 0.45e-6 / DAY}
    return v, {**x, "landtype": kind}


def test_gross_production_of_the_official_code(days):
    v, x = days
    assert len(set(v["pft"])) == 11  # all classes
    assert np.allclose(GRAM * compute("gpp", **x), v["gpp"], atol=1e-5, rtol=1e-5)


def test_upkeep_of_the_official_code(days, float64):
    v, x = days
    more = {"lai": v["lai"], "tas": v["tmean"] + 273.15, "landtype": x["landtype"]}
    assert np.allclose(GRAM * float64("npp.respiration_leaf", **more)["result"], v["mr_leaf"], rtol=1e-6)
    assert np.allclose(GRAM * float64("npp.respiration_root", **more)["result"], v["mr_froot"], rtol=1e-6)
    net = float64("npp.psn_mod17", **{**x, **more}, par_share=0.45)["result"]
    assert np.allclose(GRAM * net, v["psn_net"], atol=1e-6)


def season(n=12):
    """A year of weather and leaves, (365, n)."""
    wave = np.cos(2 * np.pi * (YEAR[:, None] - 200) / 365)
    kind = np.resize(np.array(list(IGBP.values()), float), n) + 0 * wave
    green = 0.5 + 0.4 * wave + 0.01 * np.arange(n)
    tas = 285 + 12 * wave + np.linspace(-5, 5, n)
    x = {"fapar": 0.9 * green, "tasmin": tas - 6, "vpd": 700 + 300 * wave, "rsds": 180 + 120 * wave}
    x |= {"lai": 5 * green, "tas": tas, "landtype": kind}
    return {name: values + 0 * kind for name, values in x.items()}


def integrate(step, name, states, x, **parameters):
    """Integrate a stateful point function; return the output of each day and the last state."""
    state = {s: np.zeros(next(iter(x.values())).shape[1]) for s in states}
    results = []
    for day in range(365):
        made = step(name, **{k: v[day] for k, v in x.items()}, **state, **parameters)
        state = {s: made[f"next_{s}"] for s in states}
        results.append(made["npp"])
    return np.array(results), state


NUMBERS = {"par_share": 0.45, "growth": 0.2, "seconds": DAY}
STATES = ("psn_sum", "warm_sum", "lai_max")


def test_a_year_is_the_sum_of_its_days_less_wood_and_growth(float64):
    x = season()
    made, state = integrate(float64, "npp.npp_mod17", STATES, x, **NUMBERS)
    without = {k: x[k] for k in ("fapar", "tasmin", "vpd", "rsds", "lai", "tas", "landtype")}
    net = DAY * float64("npp.psn_mod17", **without, par_share=0.45)["result"].sum(0)
    wood = float64("npp.wood_upkeep", landtype=x["landtype"][0])["result"]
    upkeep = wood * x["lai"].max(0) * (2 ** ((x["tas"] - 293.15) / 10)).sum(0)
    assert np.allclose(made[-1], np.maximum(0.8 * (net - upkeep), 0), rtol=1e-9)
    assert np.allclose(state["lai_max"], x["lai"].max(0))
    assert (wood[x["landtype"][0] < 9.5] > 0).all() and (wood[x["landtype"][0] > 9.5] == 0).all()


def test_a_year_of_the_temperate_zone_is_of_the_known_size(float64):
    made, _ = integrate(float64, "npp.npp_mod17", STATES, season(), **NUMBERS)
    assert ((made[-1] > 0.1) & (made[-1] < 2.0)).all()  # kg m-2 a year; MOD17A3 has 0.1 to 1.5


def test_net_is_less_than_gross_and_not_negative(float64):
    x = season()
    made, _ = integrate(float64, "npp.npp_mod17", STATES, x, **NUMBERS)
    gross = np.cumsum(DAY * compute("gpp", **{k: x[k] for k in ("fapar", "tasmin", "vpd", "rsds", "landtype")}), axis=0)
    assert (made >= 0).all() and (made < gross * (1 + 1e-5) + 1e-9).all()


def test_two_half_days_are_a_day(float64):
    x = {k: v[180] for k, v in season().items()}
    start = {"psn_sum": 0.3, "warm_sum": 100.0, "lai_max": 2.0}
    whole = float64("npp.npp_mod17", **x, **start, **NUMBERS)
    half = float64("npp.npp_mod17", **x, **start, **{**NUMBERS, "seconds": DAY / 2})
    again = float64("npp.npp_mod17", **x, **{s: half[f"next_{s}"] for s in STATES}, **{**NUMBERS, "seconds": DAY / 2})
    assert np.allclose(whole["npp"], again["npp"], rtol=1e-12)


def test_no_production_where_it_is_cold_dry_or_dark():
    x = {"fapar": 0.8, "tasmin": 290.0, "vpd": 300.0, "rsds": 200.0, "landtype": 4.0}
    assert compute("gpp", **x) > 0
    for change in ({"tasmin": 260.0}, {"vpd": 5000.0}, {"rsds": -1.0}, {"fapar": -0.1}):
        assert compute("gpp", **{**x, **change}) == 0


def test_missing_where_nothing_grows():
    x = {"fapar": 0.8, "tasmin": 290.0, "vpd": 300.0, "rsds": 200.0}
    found = compute("gpp", **x, landtype=np.arange(17.0))
    assert np.flatnonzero(np.isnan(found)).tolist() == [0, 13, 15, 16]
    assert found[11] == found[10] and found[14] == found[12]


def test_absorbed_light_grows_with_green_and_is_bounded():
    ndvi = np.linspace(-1, 1, 401)
    for name, more in (("sellers1994", {"landtype": 4.0}), ("fisher2008", {})):
        found = compute("fapar", name, ndvi=ndvi, **more).astype(float)
        assert found.min() == 0 and found.max() <= 1 and (np.diff(found) >= 0).all()
    assert compute("fapar", ndvi=1.0, landtype=12.0) == pytest.approx(0.95)  # the ratio itself is infinite


def test_casa_by_hand_and_its_best_temperature(float64):
    x = {"fapar": 0.6, "rsds": 200.0, "topt": 298.15, "evap_share": 1.0, "efficiency": 3.89e-10, "par_share": 0.5}
    # Te1 = 0.8 + 0.5 - 0.3125; Te2 = 1.1814/((1 + e^-2)(1 + e^-3)); W = 1
    wanted = 0.6 * 100 * 3.89e-10 * 0.9875 * 1.1814 / ((1 + np.exp(-2)) * (1 + np.exp(-3)))
    assert float64("npp.npp_rate_casa", tas=298.15, **x)["result"] == pytest.approx(wanted, rel=1e-6)
    tas = np.linspace(233.0, 333.0, 401)
    rate = float64("npp.npp_rate_casa", tas=tas, **x)["result"]
    assert np.isfinite(rate).all() and abs(tas[rate.argmax()] - 298.15) < 3.0
    dry = float64("npp.npp_rate_casa", tas=298.15, **{**x, "evap_share": 0.0})["result"]
    assert dry == pytest.approx(wanted / 2, rel=1e-6)


def test_year_of_the_compiled_steps_and_a_restart(float64):
    """Single precision over a year is within 1e-5; a year in two parts is the year, to the bit."""
    x = season(33)
    mod17 = find_card("npp").algorithm("mod17")
    whole, last = evaluate_stateful(mod17, x)
    made, _ = integrate(float64, "npp.npp_mod17", STATES, x, **NUMBERS)
    assert np.allclose(whole["npp"][-1], made[-1], rtol=1e-5, atol=1e-6)
    first, state = evaluate_stateful(mod17, {k: v[:173] for k, v in x.items()})
    second, end = evaluate_stateful(mod17, {k: v[173:] for k, v in x.items()}, state)
    assert np.array_equal(np.concatenate([first["npp"], second["npp"]]), whole["npp"])
    assert all(np.array_equal(end[name], last[name]) for name in STATES)


def test_a_missing_day_counts_nothing():
    x = season(17)
    holes = {k: v.copy() for k, v in x.items()}
    holes["rsds"][100, 3] = np.nan
    found, state = evaluate_stateful(find_card("npp").algorithm("mod17"), holes)
    without, kept = evaluate_stateful(
        find_card("npp").algorithm("mod17"), {k: np.delete(v, 100, 0) for k, v in x.items()}
    )
    assert np.isnan(found["npp"][100, 3]) and found["npp"][-1, 3] == without["npp"][-1, 3]
    assert state["psn_sum"][3] == kept["psn_sum"][3]


def test_casa_adds_up_its_months():
    x = season(16)
    x["topt"] = 0 * x["tas"] + 292.0
    x["evap_share"] = 0 * x["tas"] + 0.7
    names = ("fapar", "rsds", "tas", "topt", "evap_share")
    found, _ = evaluate_stateful(find_card("npp").algorithm("casa1993"), {n: x[n] for n in names})
    assert (np.diff(found["npp"], axis=0) >= 0).all()
    assert ((found["npp"][-1] > 0.1) & (found["npp"][-1] < 2.0)).all()
