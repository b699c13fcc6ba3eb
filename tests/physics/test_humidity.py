"""Water vapour and downscaling against packages and against physics."""

import numpy as np
import pytest

from pipshpc import compute


def test_saturation_against_pytseb(vectors):
    v = vectors("humidity_metpy")
    expected = 100.0 * v["es_bolton_pytseb_hPa"]
    assert np.allclose(compute("vap_in", "dewpoint", tdps_in=v["T_K"]), expected, rtol=5e-6)
    assert np.allclose(compute("vap_in", "relative-humidity", hurs_in=1.0, tas_in=v["T_K"]), expected, rtol=5e-6)


def test_vapour_pressure_against_metpy(vectors):
    v = vectors("humidity_metpy")
    by_q = compute("vap_in", "specific-humidity", huss_in=v["q_metpy"], ps_in=v["p_Pa"])
    assert np.allclose(by_q, v["e_metpy_Pa"], rtol=2e-4)
    # MetPy takes another saturation formula, which departs from Bolton's in deep cold.
    warm = v["Td_K"] > 233.15
    by_dew = compute("vap_in", "dewpoint", tdps_in=v["Td_K"])
    assert np.allclose(by_dew[warm], v["e_metpy_Pa"][warm], rtol=0.008)
    by_rh = compute("vap_in", "relative-humidity", hurs_in=v["rh_metpy"], tas_in=v["T_K"])
    assert np.allclose(by_rh[warm], v["e_metpy_Pa"][warm], rtol=0.008)


def test_vapour_pressure_against_openamundsen(vectors):
    v = vectors("dlr_humidity_openamundsen")
    found = compute("vap_in", "relative-humidity", hurs_in=v["rh"] / 100.0, tas_in=v["T_K"])
    warm = v["T_K"] > 273.15  # below freezing the package takes relative humidity over ice
    assert np.allclose(found[warm], v["vap_pressure_Pa"][warm], rtol=0.005)


def test_specific_humidity_round_trip():
    e = np.linspace(0.0, 6000.0, 50)
    q = 0.622 * e / (95000.0 - 0.378 * e)
    assert np.allclose(compute("vap_in", "specific-humidity", huss_in=q, ps_in=95000.0), e, rtol=1e-6)


def test_packing_noise_below_zero_counts_as_dry():
    assert compute("vap_in", "specific-humidity", huss_in=-1e-4, ps_in=1e5) == 0.0
    assert compute("vap", vap_in=-3.0, tas_in=280.0, tas=270.0) == 0.0


def test_constant_rh_keeps_relative_humidity(vectors):
    v = vectors("humidity_metpy")
    saturation = 100.0 * v["es_bolton_pytseb_hPa"]
    # From saturation at one row's temperature to saturation at the next row's.
    found = compute("vap", vap_in=saturation, tas_in=v["T_K"], tas=np.roll(v["T_K"], 1))
    assert np.allclose(found, np.roll(saturation, 1), rtol=2e-5)


def test_downscaling_to_the_same_height_changes_nothing():
    t, p, e = 271.3, 87654.0, 345.6
    assert compute("tas", tas_in=t, orog=1234.0, orog_in=1234.0) == np.float32(t)
    assert compute("vap", vap_in=e, tas_in=t, tas=t) == np.float32(e)
    assert compute("ps", ps_in=p, tas_in=t, tas=t, orog=1234.0, orog_in=1234.0) == np.float32(p)


def test_downscaling_up_and_down_again():
    there = compute("tas", tas_in=285.0, orog=2500.0, orog_in=400.0)
    back = compute("tas", tas_in=there, orog=400.0, orog_in=2500.0)
    assert back == pytest.approx(285.0, abs=1e-4)
    p_up = compute("ps", ps_in=9.6e4, tas_in=285.0, tas=there, orog=2500.0, orog_in=400.0)
    assert compute("ps", ps_in=p_up, tas_in=there, tas=285.0, orog=400.0, orog_in=2500.0) == pytest.approx(
        9.6e4, rel=1e-6
    )
    assert compute("tas", tas_in=285.0, orog=2500.0, orog_in=400.0, lapse_rate=0.0) == 285.0
