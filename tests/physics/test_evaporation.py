"""Latent heat and reference evaporation without surface temperature: against packages and float64, and laws."""

import numpy as np
import pytest

from benchmarks.peers import flux_numpy as plain
from pipshpc import compute

PFT = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12])  # IGBP class of the eleven plant types of MOD16's table
WIND_TO_2M = 4.87 / np.log(67.8 * 10 - 5.42)
DAY = 86400.0


def air(n, seed=0):
    """Return air and energy of all kinds, dry to saturated, frost to heat."""
    rng = np.random.default_rng(seed)
    tas = rng.uniform(240, 318, n)
    return {
        "rn": rng.uniform(-100, 800, n),
        "hfdsl": rng.uniform(-30, 100, n),
        "tas": tas,
        "vap": rng.uniform(0, 1, n) * plain.tetens(tas),
        "ps": rng.uniform(6e4, 1.03e5, n),
    }


def plants(n, seed=1):
    rng = np.random.default_rng(seed)
    lai = rng.uniform(0, 7, n)
    return {
        "rsds": np.maximum(rng.uniform(-300, 900, n), 0),
        "tasmin": rng.uniform(255, 300, n),
        "lai": lai,
        "fapar": 1 - np.exp(-0.5 * lai),
        "landtype": rng.integers(0, 17, n).astype(float),
    }


def test_ptjpl_against_package(vectors):
    """TRAP: the package holds saturation pressure above 1 kPa; the vectors keep to air warmer than 7.5 degC."""
    v = vectors("le_ptjpl")
    tas = v["Ta_C"] + 273.15
    assert (v["Ta_C"] > 7.0).all()
    vap = v["RH"] * plain.tetens(tas)
    # The package's psychrometric constant is 66.2 Pa K-1: the pressure that gives it.
    ps = np.full_like(vap, 1e5)
    for _ in range(5):
        ps = 66.2 * 0.622 * plain.vaporization(tas) / plain.capacity(vap, ps)
    x = {"rn": v["Rn_Wm2"], "hfdsl": v["G_Wm2"], "tas": tas, "vap": vap, "ps": ps, "ndvi": v["NDVI"]}
    x |= {"fapar_max": v["fAPARmax"], "topt": v["Topt_C"] + 273.15}
    found = compute("hfls", "ptjpl2008", rh_least=0.7, floor_topt=1.0, **x)
    assert np.allclose(found, v["LE_Wm2"], rtol=0.005, atol=0.2)


def test_cold_air_is_not_given_the_saturation_of_mild_air(float64):
    """TRAP: with the package's floor of 1 kPa air of -10 degC would evaporate into a deficit four times too large."""
    found = float64("evaporation.tetens", tas=263.15)["result"]
    assert found == pytest.approx(286.6, rel=0.005)  # standard tables, over water
    assert found < 1000


def test_ptjpl_without_plants_is_soil():
    """The package has no number where the vegetation index is below 0.05; ours leaves the soil."""
    x = {"rn": 400.0, "hfdsl": 50.0, "tas": 295.0, "ps": 1e5, "fapar_max": 0.6, "topt": 298.0}
    bare = compute("hfls", "ptjpl2008", ndvi=np.array([-0.2, 0.0, 0.05]), vap=1500.0, **x)
    assert np.ptp(bare) < 0.01
    assert 0 < bare[0] < 350


def test_mod16_against_its_authors_code(vectors):
    v = vectors("le_mod16")
    kind = PFT[[int(text.split("=")[1]) for text in v["pft"]]].astype(float)
    topen = np.array([plain.CLASSES[int(k)][0] for k in kind])
    day, night = v["sw_rad_day"] * (1 - v["sw_albedo"]) + v["lw_net_day"], v["lw_net_night"]
    # The heat into the ground of the user's guide (eq. 9 and what it limits), which is not a part of the kernel.
    warm = (v["temp_annual"] < 298.15) & (v["temp_annual"] > 273.15 + topen) & (v["temp_day"] - v["temp_night"] >= 5)
    ground = []
    for rn, t in ((day, v["temp_day"]), (night, v["temp_night"])):
        g = np.where(warm, 4.73 * (t - 273.15) - 20.87, 0)
        ground.append(np.where(np.abs(g) > 0.39 * np.abs(rn), 0.39 * rn, g))
    ground[0] = np.where((day - ground[0] < 0) & (day > 0), day, ground[0])
    ground[1] = np.where((day > 0) & (night - ground[1] < -0.5 * day), night + 0.5 * day, ground[1])
    same = {"tasmin": v["tmin"], "ps": v["pressure"], "lai": v["lai"], "fapar": v["fpar"], "landtype": kind}
    for rn, g, part, rsds in ((day, ground[0], "day", v["sw_rad_day"]), (night, ground[1], "night", 0.0)):
        tas = v[f"temp_{part}"]
        vap = plain.tetens(tas) - v[f"vpd_{part}"]
        found = compute("hfls", "mod16", rn=rn, hfdsl=g, rsds=rsds, tas=tas, vap=vap, **same)
        assert np.abs(found - v[f"LE_{part}"]).max() < 0.01


def test_soil_resistance_of_the_jpl_form(vectors):
    """TRAP: the JPL form of MOD16 lets the soil's resistance fall with the deficit, as printed (eq. 26)."""
    v = vectors("le_pmjpl")
    vpd = plain.tetens(v["Ta_C"] + 273.15) * (1 - v["RH"])
    between = np.clip((vpd - v["VPD_open"]) / (v["VPD_closed"] - v["VPD_open"]), 0, 1)
    span = v["RBL_max"] - v["RBL_min"]
    assert np.allclose(v["rtot"], (v["RBL_max"] - span * between) * v["rcorr"], rtol=0.02)
    assert np.allclose(v["fwet"], np.where(v["RH"] < 0.7, 1e-4, v["RH"] ** 4), atol=1e-6)
    # The authors' own code, and ours with it, has it the other way round: test_mod16_against_its_authors_code.


@pytest.mark.parametrize("algorithm", ["ptjpl2008", "mod16"])
def test_float32_against_float64(algorithm, float64):
    x = air(30000)
    if algorithm == "ptjpl2008":
        rng = np.random.default_rng(2)
        x |= {
            "ndvi": rng.uniform(-0.1, 0.95, 30000),
            "fapar_max": rng.uniform(0.1, 0.95, 30000),
            "topt": rng.uniform(278, 310, 30000),
        }
        exact = plain.ptjpl(**x)
    else:
        x |= plants(30000)
        exact = plain.mod16(**x)
    off = np.abs(compute("hfls", algorithm, **x) - exact)
    assert np.quantile(off, 0.999) < 0.02
    assert off.max() < 0.5


def test_nothing_evaporates_from_shut_leaves_in_dry_air():
    x = {"rn": 0.0, "hfdsl": 0.0, "rsds": 0.0, "tas": 290.0, "tasmin": 280.0, "ps": 1e5, "landtype": 10.0}
    assert compute("hfls", "mod16", vap=0.0, lai=3.0, fapar=1.0, **x) == pytest.approx(0.0, abs=1e-3)


def test_edges_of_air_are_finite():
    x = {"tas": [240.0, 318.0, 273.15], "vap": [0.0, 0.0, 611.0], "ps": 50000.0, "hfdsl": 0.0}
    for rn in (-100.0, 0.0, 900.0):
        for lai in (0.0, 10.0):
            more = {"rsds": 500.0, "tasmin": 260.0, "lai": lai, "fapar": min(lai, 1.0), "landtype": 0.0}
            assert np.isfinite(compute("hfls", "mod16", rn=rn, **x, **more)).all()
        assert np.isfinite(compute("hfls", "ptjpl2008", rn=rn, ndvi=1.0, fapar_max=0.0, topt=250.0, **x)).all()
        assert np.isfinite(compute("et0", rn=rn, sfcWind=0.0, **x)).all()


def test_et0_daily_against_refet(vectors):
    v = vectors("et0_refet_daily")
    x = {
        "tasmax": v["tmax"] + 273.15,
        "tasmin": v["tmin"] + 273.15,
        "vap": 1000 * v["ea"],
        "ps": 1000 * v["psy"] / 0.000665,
    }
    x |= {"sfcWind": v["u2"] / WIND_TO_2M, "rn": v["rn"] * 1e6 / DAY, "hfdsl": 0.0}
    grass = DAY * compute("et0", "fao56-daily", **x)
    tall = DAY * compute("et0", "fao56-daily", numerator=1600.0, denominator=0.38, **x)
    assert np.allclose(grass, v["eto_mm"], atol=2e-4)
    assert np.allclose(tall, v["etr_mm"], atol=4e-4)


def test_et0_daily_against_pyet(vectors):
    """pyet forms net radiation from shortwave itself; here by the same equations of FAO-56 (37 to 39)."""
    v = vectors("et0_pyet")
    day = np.array([np.datetime64(d) - np.datetime64(d[:4], "Y") for d in v["date"]]).astype(int) + 1
    turn = 2 * np.pi * day / 365
    tilt, distance = 0.409 * np.sin(turn - 1.39), 1 + 0.033 * np.cos(turn)
    sunset = np.arccos(-np.tan(0.7) * np.tan(tilt))
    toa = (
        24
        * 60
        / np.pi
        * 0.082
        * distance
        * (sunset * np.sin(0.7) * np.sin(tilt) + np.cos(0.7) * np.cos(tilt) * np.sin(sunset))
    )
    low, high = v["tmin"] + 273.15, v["tmax"] + 273.15
    vap = v["rh"] / 100 * 0.5 * (plain.tetens(low) + plain.tetens(high))
    clear = np.clip(v["rs"] / ((0.75 + 2e-5 * 350) * toa), 0.3, 1)
    longwave = 4.903e-9 * 0.5 * (low**4 + high**4) * (0.34 - 0.14 * np.sqrt(vap / 1000)) * (1.35 * clear - 0.35)
    ps = 101300 * ((293 - 0.0065 * 350) / 293) ** 5.26
    found = DAY * compute("et0", "fao56-daily", tasmax=high, tasmin=low, vap=vap, ps=ps, sfcWind=v["wind"] / WIND_TO_2M,
                          rn=(0.77 * v["rs"] - longwave) * 1e6 / DAY, hfdsl=0.0)  # fmt: skip
    # The package takes the mean temperature it is given, not that of the extremes.
    assert np.corrcoef(found, v["pm_fao56"])[0, 1] > 0.999
    assert np.abs(found - v["pm_fao56"]).max() < 0.15


def test_et0_hourly_against_its_own_units():
    x = air(20000) | {"sfcWind": np.random.default_rng(3).uniform(0, 15, 20000)}
    assert np.abs(compute("et0", "asce2005-hourly", **x) - plain.et0_hourly(**x)).max() < 2e-9


def test_et0_rises_with_energy_wind_and_dryness():
    x = {"tas": 298.0, "ps": 95000.0, "hfdsl": 0.0}
    step = np.linspace(0, 1, 100)
    assert (np.diff(compute("et0", rn=600 * step, vap=1500.0, sfcWind=3.0, **x)[1:]) > 0).all()
    assert (np.diff(compute("et0", rn=100.0, vap=500.0, sfcWind=15 * step, **x)) > 0).all()
    assert (np.diff(compute("et0", rn=400.0, vap=3000 * step, sfcWind=3.0, **x)) < 0).all()
