"""Weights of the Ross-Li model from looks: round trips, gaps, few looks."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.brdf import PRIOR_GEO, PRIOR_VOL, invert
from pipshpc.errors import InputError

N = 700  # more than two pieces, and a rest


@pytest.fixture
def looks():
    """Sixteen days of a wide-swath sensor over N pixels of known weights."""
    rng = np.random.default_rng(8)
    angles = {
        "sza": rng.uniform(25, 55, (16, N)),
        "vza": rng.uniform(0, 62, (16, N)),
        "raa": rng.uniform(0, 180, (16, N)),
    }
    truth = {
        "brdf_iso": rng.uniform(0.05, 0.6, N),
        "brdf_vol": rng.uniform(0.0, 0.3, N),
        "brdf_geo": rng.uniform(0.0, 0.08, N),
    }
    return angles, truth


def model(angles, truth):
    kernels = {k: compute(k, **angles).astype(float) for k in ("kvol", "kgeo")}
    return truth["brdf_iso"] + truth["brdf_vol"] * kernels["kvol"] + truth["brdf_geo"] * kernels["kgeo"]


def test_weights_come_back(looks):
    angles, truth = looks
    found = invert(model(angles, truth), **angles)
    assert (found.quality == 1).all() and (found.looks == 16).all()
    for part, name in ((found.iso, "brdf_iso"), (found.vol, "brdf_vol"), (found.geo, "brdf_geo")):
        assert np.allclose(part, truth[name], atol=2e-5)
    assert (found.rmse < 1e-6).all()


def test_noise_shows_in_the_misfit_and_less_in_the_albedo(looks):
    angles, truth = looks
    rng = np.random.default_rng(9)
    found = invert(model(angles, truth) + rng.normal(0, 0.005, (16, N)), **angles)
    assert 0.003 < found.rmse.mean() < 0.005
    white = compute("albedows", **truth)
    ours = compute("albedows", brdf_iso=found.iso, brdf_vol=found.vol, brdf_geo=found.geo)
    assert np.sqrt(np.mean((ours - white) ** 2)) < 0.02
    assert abs(float((ours - white).mean())) < 0.002


def test_cloudy_looks_do_not_count(looks):
    angles, truth = looks
    y = model(angles, truth)
    bad = y.copy()
    bad[::2] = np.nan
    weight = np.ones((16, N))
    weight[::2] = 0.0
    half = {k: v[1::2] for k, v in angles.items()}
    few = invert(y[1::2], **half)
    for other in (invert(bad, **angles), invert(np.where(weight > 0, y, 9.0), **angles, weight=weight)):
        assert (other.looks == 8).all()
        assert np.allclose(other.iso, few.iso, atol=1e-6) and np.allclose(other.vol, few.vol, atol=1e-6)


def test_order_of_looks_and_number_of_threads_do_not_matter(looks):
    angles, truth = looks
    y = model(angles, truth) + np.random.default_rng(1).normal(0, 0.01, (16, N))
    one, two = invert(y, **angles), invert(y, **angles, threads=2)
    assert one.iso.tobytes() == two.iso.tobytes() and one.geo.tobytes() == two.geo.tobytes()
    turned = invert(y[::-1], **{k: v[::-1] for k, v in angles.items()})
    assert np.allclose(turned.iso, one.iso, atol=1e-6) and np.allclose(turned.geo, one.geo, atol=1e-6)


def test_few_looks_take_the_shape_of_the_prior(looks):
    angles, truth = looks
    like_prior = {
        "brdf_iso": truth["brdf_iso"],
        "brdf_vol": PRIOR_VOL * truth["brdf_iso"],
        "brdf_geo": PRIOR_GEO * truth["brdf_iso"],
    }
    few = {k: v[:3] for k, v in angles.items()}
    found = invert(model(few, like_prior), **few)
    assert (found.quality == 2).all()
    assert np.allclose(found.iso, truth["brdf_iso"], atol=2e-5)
    assert np.allclose(found.vol, PRIOR_VOL * found.iso, atol=1e-6)


def test_looks_that_are_all_alike_cannot_tell_the_shape(looks):
    _, truth = looks
    same = {"sza": np.full((16, N), 40.0), "vza": np.full((16, N), 20.0), "raa": np.full((16, N), 90.0)}
    found = invert(model(same, truth), **same)
    assert (found.quality == 2).all() and np.isfinite(found.iso).all()


def test_isotropic_weight_is_never_below_zero(looks):
    angles, _ = looks
    dark = {"brdf_iso": np.full(N, -0.05), "brdf_vol": np.full(N, 0.2), "brdf_geo": np.full(N, 0.01)}
    found = invert(model(angles, dark), **angles)
    assert (found.quality == 2).all() and (found.iso >= 0.0).all()


def test_no_look_is_missing_and_no_axis_of_looks_is_an_error(looks):
    angles, truth = looks
    y = model(angles, truth)
    y[:, 5] = np.nan
    found = invert(y, **angles)
    assert np.flatnonzero(np.isnan(found.iso)).tolist() == [5] and found.quality[5] == 0 and found.looks[5] == 0
    with pytest.raises(InputError, match="at least one"):
        invert(np.empty((0, 4)), 0.0, 0.0, 0.0)
