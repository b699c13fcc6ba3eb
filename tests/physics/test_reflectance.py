"""From counts to the reflectance of the surface: laws and edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import compute


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.3), st.floats(0.3, 1.0), st.floats(0.3, 1.0), st.floats(0.0, 0.3))
def test_surface_below_the_atmosphere_comes_back(sr, path, tgas, tscat, salb):
    toar = tgas * (path + tscat * sr / (1 - salb * sr))
    assert compute("sr", toar=toar, path=path, tgas=tgas, tscat=tscat, salb=salb) == pytest.approx(sr, abs=2e-5)


def test_without_air_the_surface_is_what_the_sensor_sees():
    toar = np.linspace(0.0, 1.2, 30)
    assert np.allclose(compute("sr", toar=toar, path=0.0, tgas=1.0, tscat=1.0, salb=0.0), toar, atol=1e-6)


def test_darker_than_the_air_is_cut_and_no_transmittance_is_missing():
    found = compute("sr", toar=[0.01, 0.05], path=0.1, tgas=0.9, tscat=[0.8, 0.0], salb=0.1)
    assert found[0] == np.float32(-0.01) and np.isnan(found[1])


def test_low_sun_is_missing_and_a_high_one_divides():
    found = compute("toar", counts=10000.0, sza=[0.0, 60.0, 89.0, 89.5, 120.0])
    assert found[:2] == pytest.approx([0.1, 0.2], abs=1e-6)
    assert np.isfinite(found[2]) and np.isnan(found[3:]).all()


def test_white_perfect_reflector():
    """pi L = E cos(z): reflectance 1 at any height of the sun."""
    sza = np.array([0.0, 30.0, 75.0])
    radiance = 1550.0 * np.cos(np.radians(sza)) / np.pi
    assert np.allclose(compute("toar", "radiance", radiance=radiance, sza=sza, toa_band=1550.0), 1.0, atol=1e-5)


def test_darkest_object_becomes_one_per_cent():
    assert compute("sr", "dark-object", toar=0.07, sza=[0.0, 50.0, 80.0], toar_dark=0.07) == pytest.approx(0.01)
