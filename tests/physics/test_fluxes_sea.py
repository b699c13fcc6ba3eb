"""Turbulent fluxes of open water, snow and ice: against packages, against float64, and laws."""

import numpy as np

from benchmarks.peers import flux_numpy as plain
from pipshpc import compute


def both(algorithm, **x):
    return compute("hfss", algorithm, **x), compute("hfls", algorithm, **x)


def sea(n, seed=0):
    """Return air over water: 12 K colder to 5 K warmer, calm to storm."""
    rng = np.random.default_rng(seed)
    ts = rng.uniform(271, 304, n)
    tas = ts + rng.uniform(-12, 5, n)
    vap = rng.uniform(0.3, 1, n) * plain.saturation(tas)
    return {
        "ts": ts,
        "tas": tas,
        "vap": vap,
        "ps": rng.uniform(9.5e4, 1.04e5, n),
        "sfcWind": 30 * rng.uniform(0, 1, n) ** 1.5,
    }


def test_coare_against_aerobulk(vectors):
    v = vectors("ocean_bulk_aerobulk")
    vap = v["q2_kgkg"] * v["slp_Pa"] / (0.622 + 0.378 * v["q2_kgkg"])
    h, le = both("coare36", ts=v["SST_K"], tas=v["t2_K"], vap=vap, ps=v["slp_Pa"], sfcWind=v["U10"])
    # What is left is the package's own saturation and potential temperature.
    assert np.allclose(h, v["coare3p6_H"], rtol=0.01, atol=0.1)
    assert np.allclose(le, v["coare3p6_LE"], rtol=0.01, atol=0.1)
    assert le.max() > 1000  # nothing is cut off in a storm


def test_coare_is_nearer_to_its_own_family_than_to_others(vectors):
    v = vectors("ocean_bulk_aerobulk")
    vap = v["q2_kgkg"] * v["slp_Pa"] / (0.622 + 0.378 * v["q2_kgkg"])
    _, le = both("coare36", ts=v["SST_K"], tas=v["t2_K"], vap=vap, ps=v["slp_Pa"], sfcWind=v["U10"])
    far = {name: np.abs(le - v[f"{name}_LE"]).mean() for name in ("coare3p6", "coare3p0", "ecmwf", "ncar", "andreas")}
    assert min(far, key=far.get) == "coare3p6"
    assert far["coare3p0"] < far["ecmwf"]


def test_coare_against_pycoare(vectors):
    """pycoare is COARE 3.5 with 0.7 in the stable correction for momentum, and gusts of 0.2 m s-1 where stable."""
    v = vectors("ocean_bulk_pycoare35")
    saturation = 611.21 * np.exp(17.502 * v["t"] / (240.97 + v["t"])) * (1.0007 + v["p"] * 3.46e-6)
    x = {
        "ts": v["ts"] + 273.15,
        "tas": v["t"] + 273.15,
        "vap": v["rh"] * saturation,
        "ps": 100 * v["p"],
        "sfcWind": v["u"],
    }
    h, le = both("coare36", **x)
    unstable = v["hbb"] > 0
    assert unstable.sum() > 10
    assert np.allclose(h[unstable], v["hsb"][unstable], rtol=0.04, atol=1.0)
    assert np.allclose(le[unstable], v["hlb"][unstable], rtol=0.02, atol=2.5)
    assert np.allclose(h, v["hsb"], rtol=0.05, atol=3.0)


def test_coare_against_float64():
    x = sea(40000)
    h, le = both("coare36", **x)
    exact = plain.coare36(**x, steps=10)
    assert np.quantile(np.abs(h - exact[0]), 0.999) < 0.02
    assert np.quantile(np.abs(le - exact[1]), 0.999) < 0.05


def test_ten_steps_are_enough_on_the_sea():
    x = sea(40000, seed=1)
    rest = plain.coare36(**x, steps=60)
    off = [np.abs(a - b) for a, b in zip(both("coare36", **x), rest, strict=True)]
    for part in off:
        assert np.quantile(part, 0.998) < 0.15
        assert part.max() < 1.0
    five = np.abs(plain.coare36(**x, steps=5)[1] - rest[1])
    assert np.quantile(five, 0.998) > np.quantile(off[1], 0.998)


def test_stability_corrections_of_the_sea(float64):
    zeta = np.concatenate([-np.logspace(-6, np.log10(50), 4000), np.logspace(-6, np.log10(50), 4000)])
    for name in ("psi_m_coare", "psi_h_coare"):
        assert np.abs(float64(f"ocean.{name}", zeta=zeta)["result"] - getattr(plain, name)(zeta)).max() < 5e-5


def test_heat_leaves_warm_water():
    ts = np.linspace(275, 300, 200)
    h, le = both("coare36", ts=ts, tas=288.0, vap=1200.0, ps=101325.0, sfcWind=6.0)
    assert (np.diff(h) > 0).all()
    assert (np.diff(le) > 0).all()
    assert h[0] < 0 < h[-1]
    calm = compute("hfls", "coare36", ts=302.0, tas=300.0, vap=2500.0, ps=101325.0, sfcWind=np.linspace(0, 30, 200))
    assert (calm > 10).all()  # gusts carry on in calm air
    assert (np.diff(calm[5:]) > 0).all()


def test_lakes_are_not_salt():
    x = {"ts": 293.0, "tas": 288.0, "vap": 1200.0, "ps": 101325.0, "sfcWind": 4.0}
    assert compute("hfls", "coare36", salt=1.0, **x) > compute("hfls", "coare36", **x)


def test_snow_against_snobal(vectors):
    v = vectors("snow_turbulent_hle1")
    assert (v["rc"] == 0).all()
    x = {"ts": v["ts"], "tas": v["ta"], "vap": v["ea"], "vap_surface": v["es"], "ps": v["press"], "wind": v["u"]}
    h, le = both("marks-dozier1992-station", **x, height_wind=v["zu"], height_air=v["za"], z0m=v["z0"])
    assert np.allclose(-h, v["H"], rtol=0.005, atol=0.1)
    assert np.allclose(-le, v["LE"], rtol=0.005, atol=0.1)


def test_snow_steps_are_enough(float64):
    rng = np.random.default_rng(0)
    n = 20000
    ts = rng.uniform(230, 273, n)
    x = {
        "ts": ts,
        "tas": ts + rng.uniform(-8, 15, n),
        "ps": rng.uniform(6e4, 1.03e5, n),
        "sfcWind": rng.uniform(0.5, 20, n),
    }
    x["vap"] = rng.uniform(0.4, 1, n) * plain.saturation(x["tas"])
    wide = float64("ocean.snow_fluxes", z0_snow=0.0005, wind_least=0.5, **x)
    h, le = both("marks-dozier1992", **x)
    assert np.quantile(np.abs(h - wide["hfss"]), 0.999) < 0.2
    assert np.quantile(np.abs(le - wide["hfls"]), 0.999) < 0.2
    assert np.isfinite(h).all()


def test_melting_snow_is_not_warmer_than_ice():
    x = {"tas": 280.0, "vap": 700.0, "ps": 9e4, "sfcWind": 4.0}
    assert np.array_equal(both("marks-dozier1992", ts=273.16, **x), both("marks-dozier1992", ts=285.0, **x))


def test_edges_of_water_and_ice_are_finite():
    x = {
        "ts": [271.0, 310.0, 271.0, 300.0],
        "tas": [310.0, 250.0, 271.0, 300.0],
        "vap": [5000.0, 0.0, 0.0, 3000.0],
        "ps": 1e5,
    }
    for wind in (0.0, 0.01, 60.0):
        for name in ("coare36", "marks-dozier1992"):
            assert np.isfinite(both(name, sfcWind=wind, **x)).all()
