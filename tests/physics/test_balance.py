"""Upward and net radiation: the package and its fault, laws, edges."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import compute

SIGMA = 5.670374419e-8
STATE = st.tuples(
    st.floats(180.0, 340.0), st.floats(0.85, 1.0), st.floats(50.0, 500.0), st.floats(0.0, 1200.0), st.floats(0.0, 1.0)
)


def test_components_of_the_package(vectors):
    v = vectors("net_radiation_verma")
    ratio = 5.670374419e-8 / 5.67036713e-8  # its constant
    albedo = np.clip(v["albedo"], 0.0, 1.0)  # one row has 1.2, and the package reflects no more than all
    ts, tas = v["ST_C"] + 273.15, v["Ta_C"] + 273.15
    vap = v["RH"] * 611.3 * 10 ** (7.5 * v["Ta_C"] / (v["Ta_C"] + 237.3))
    down = compute("rlds", "prata1996-um1975", tas=tas, vap=vap, clt=0.0).astype(float)
    up = compute("rlus", "emission", ts=ts, emis=v["emissivity"]).astype(float)
    assert np.allclose(down, ratio * v["LWin_Wm2"], atol=2e-3)
    assert np.allclose(up, ratio * v["LWout_Wm2"], atol=1e-3)
    assert np.allclose(compute("rsus", "albedo", rsds=v["SWin_Wm2"], albedo=albedo), v["SWout_Wm2"], atol=1e-3)
    assert np.allclose(compute("rns", "albedo", rsds=v["SWin_Wm2"], albedo=albedo), v["SWnet_Wm2"], atol=1e-3)
    short = compute("rns", "albedo", rsds=v["SWin_Wm2"], albedo=albedo).astype(float)
    assert np.allclose(short + (down - up) / ratio, v["Rn_unclipped_Wm2"], atol=5e-3)


def test_two_faults_of_the_package_are_not_reproduced(vectors):
    """TRAP: it forgets what the ground reflects of the sky's radiation, and cuts net radiation at 0."""
    v = vectors("net_radiation_verma")
    ratio = 5.670374419e-8 / 5.67036713e-8
    found = compute(
        "rn",
        "components",
        rsds=v["SWin_Wm2"],
        albedo=np.clip(v["albedo"], 0.0, 1.0),
        rlds=ratio * v["LWin_Wm2"],
        emis=v["emissivity"],
        ts=v["ST_C"] + 273.15,
    )
    reflected = (1 - v["emissivity"]) * v["LWin_Wm2"]
    assert np.allclose(found, v["Rn_unclipped_Wm2"] - reflected, atol=0.02)
    assert (v["Rn_Wm2"] >= 0.0).all() and (found < -20.0).any()


@given(STATE)
def test_net_is_short_plus_long_however_it_is_made(state):
    ts, emis, rlds, rsds, albedo = state
    rsus, rlus = compute("rsus", "albedo", rsds=rsds, albedo=albedo), compute("rlus", ts=ts, emis=emis, rlds=rlds)
    rns, rnl = compute("rns", rsds=rsds, rsus=rsus), compute("rnl", rlds=rlds, rlus=rlus)
    direct = compute("rn", "components", rsds=rsds, albedo=albedo, rlds=rlds, emis=emis, ts=ts)
    assert abs(float(compute("rn", rns=rns, rnl=rnl)) - float(direct)) < 5e-4
    assert abs(float(compute("rnl", "grey-body", ts=ts, emis=emis, rlds=rlds)) - float(rnl)) < 3e-4
    assert abs(float(compute("rns", "albedo", rsds=rsds, albedo=albedo)) - float(rns)) < 2e-4


@given(STATE)
def test_upward_longwave_lies_between_the_sky_and_the_black_body(state):
    ts, emis, rlds, _, _ = state
    black = SIGMA * ts**4
    up = float(compute("rlus", ts=ts, emis=emis, rlds=rlds))
    assert min(black, rlds) - 1e-3 <= up <= max(black, rlds) + 1e-3
    assert float(compute("rlus", "emission", ts=ts, emis=emis)) <= min(up, black) + 1e-3


def test_single_precision():
    rng = np.random.default_rng(5)
    ends = {"rsds": (0, 1200), "albedo": (0, 1), "rlds": (60, 500), "emis": (0.85, 1), "ts": (190, 340)}
    x = {n: rng.uniform(*e, 20000).astype(np.float32) for n, e in ends.items()}
    d = {n: v.astype(float) for n, v in x.items()}
    exact = (1 - d["albedo"]) * d["rsds"] + d["emis"] * (d["rlds"] - SIGMA * d["ts"] ** 4)
    assert np.abs(compute("rn", "components", **x) - exact).max() < 5e-4
    exact = d["emis"] * SIGMA * d["ts"] ** 4 + (1 - d["emis"]) * d["rlds"]
    assert np.abs(compute("rlus", **{n: x[n] for n in ("ts", "emis", "rlds")}) - exact).max() < 3e-4


def test_polar_night_has_no_sunlight_and_loses_heat():
    night = {"rsds": 0.0, "albedo": 0.8}
    assert compute("rsus", "albedo", **night) == 0.0 and compute("rns", "albedo", **night) == 0.0
    assert compute("rsus", rsds=0.0, rsdsdiff=[0.0, 3.0], albedobs=0.8, albedows=0.7).tolist() == [0.0, 0.0]
    assert -100.0 < compute("rn", "components", rlds=130.0, emis=0.99, ts=235.0, **night) < 0.0


@given(st.floats(0, 1200), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_sky_and_blue_sky_reflect_alike(rsds, diffuse, black, white):
    """The two parts of the light by their own albedos are the blue-sky albedo of both."""
    parts = compute("rsus", rsds=rsds, rsdsdiff=diffuse * rsds, albedobs=black, albedows=white)
    blue = compute("albedo", albedobs=black, albedows=white, rsds=rsds, rsdsdiff=diffuse * rsds)
    whole = compute("rsus", "albedo", rsds=rsds, albedo=blue)
    assert abs(float(parts) - float(whole)) < 0.011  # below 0.01 W m-2 of light the albedo is the white-sky one
    assert -1e-6 <= parts <= rsds * (1 + 1e-6)
