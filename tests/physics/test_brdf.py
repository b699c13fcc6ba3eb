"""Ross-Li kernels: packages, reciprocity, hot spot, edges."""

import numpy as np
import pytest

from pipshpc import compute


def exact(sza, vza, raa):
    """The kernels in double precision, after Lucht et al. (2000)."""
    s, v, a = np.radians(sza), np.radians(vza), np.radians(raa)
    cx = np.clip(np.cos(s) * np.cos(v) + np.sin(s) * np.sin(v) * np.cos(a), -1, 1)
    xi = np.arccos(cx)
    vol = ((np.pi / 2 - xi) * cx + np.sin(xi)) / (np.cos(s) + np.cos(v)) - np.pi / 4
    sec = 1 / np.cos(s) + 1 / np.cos(v)
    d2 = np.maximum(np.tan(s) ** 2 + np.tan(v) ** 2 - 2 * np.tan(s) * np.tan(v) * np.cos(a), 0)
    t = np.arccos(np.clip(2 * np.sqrt(d2 + (np.tan(s) * np.tan(v) * np.sin(a)) ** 2) / sec, -1, 1))
    geo = (t - np.sin(t) * np.cos(t)) * sec / np.pi - sec + 0.5 * (1 + cx) / np.cos(s) / np.cos(v)
    return {"kvol": vol, "kgeo": geo}


def angles(n=20000, highest=75.0):
    rng = np.random.default_rng(2)
    return rng.uniform(0, highest, n), rng.uniform(0, highest, n), rng.uniform(-180, 360, n)


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_packages(vectors, kernel):
    v = vectors("brdf_rtls_kernels")
    found = compute(kernel, sza=v["sza"], vza=v["vza"], raa=v["raa"])
    # float32: the secants of angles near 80 degrees multiply an error of 1e-7.
    assert np.allclose(found, v[kernel], rtol=5e-5, atol=2e-5)
    assert np.allclose(v[kernel], v[f"{kernel}_pydirectional"], atol=1e-8)


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_single_precision(kernel):
    sza, vza, raa = angles()
    found = compute(kernel, sza=sza, vza=vza, raa=raa)
    wanted = exact(*(np.float32(x).astype(float) for x in (sza, vza, raa)))[kernel]
    # Within 1 degree of the hot spot the kernels have a kink, and cos xi has few digits left there.
    assert np.abs(found - wanted).max() < 2e-3
    assert np.percentile(np.abs(found - wanted), 99) < 1e-5


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_sun_and_sensor_may_change_places(kernel):
    sza, vza, raa = angles()
    there, back = compute(kernel, sza=sza, vza=vza, raa=raa), compute(kernel, sza=vza, vza=sza, raa=raa)
    assert np.allclose(there, back, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_left_and_right_of_the_principal_plane_are_alike(kernel):
    sza, vza, raa = angles(5000)
    one, other = (compute(kernel, sza=sza, vza=vza, raa=sign * raa) for sign in (1.0, -1.0))
    assert np.allclose(one, other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_overhead_sun_and_sensor_give_nothing(kernel):
    assert compute(kernel, sza=0.0, vza=0.0, raa=[0.0, 77.0, 180.0]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_backscatter_is_the_brightest_direction(kernel):
    """raa = 0 is the hot spot: an angle convention turned round would find it at 180 degrees."""
    raa = np.linspace(0.0, 180.0, 181)
    around = compute(kernel, sza=45.0, vza=45.0, raa=raa)
    assert around.argmax() == 0 and around[0] > around[-1] + 0.05


@pytest.mark.parametrize("kernel", ["kvol", "kgeo"])
def test_edges_are_finite(kernel):
    sza, vza, raa = np.meshgrid(
        [0.0, 1e-4, 45.0, 88.9, 89.0, 90.0, 120.0], [0.0, 45.0, 90.0], [0.0, 1e-3, 180.0, 360.0]
    )
    # The exact hot spot rounds to a phase angle whose cosine is above 1 in one of thirty cases.
    hot = np.linspace(0.0, 89.0, 5000)
    assert np.isfinite(compute(kernel, sza=sza, vza=vza, raa=raa)).all()
    assert np.isfinite(compute(kernel, sza=hot, vza=hot, raa=0.0)).all()


def test_a_surface_without_shape_looks_the_same_from_above():
    assert np.allclose(compute("brfnadir", brdf_iso=0.3, brdf_vol=0.0, brdf_geo=0.0, sza=[0.0, 30.0, 70.0]), 0.3)
