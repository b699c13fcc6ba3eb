"""Height change of ice sheets: the truth comes back, outliers go, a split changes nothing."""

import numpy as np
import pytest

from pipshpc.errors import SpecError
from pipshpc.icesheet import Points, fit_surface, height_change, mass_rate


def terrain(n=4000, seed=0, noise=0.05, rate=-0.8):
    """Heights over a tilted, curved surface that sinks."""
    rng = np.random.default_rng(seed)
    x, y, t = rng.uniform(0, 6000, n), rng.uniform(0, 6000, n), rng.uniform(2003.0, 2009.9, n)
    h = 1500 + 0.01 * x - 0.006 * y + 2e-7 * (x - 3000) ** 2 + rate * (t - 2006.5) + 0.2 * np.cos(2 * np.pi * t)
    return x, y, t, h + rng.normal(0, noise, n)


def nodes():
    return np.meshgrid(np.arange(1000.0, 5001, 1000), np.arange(1000.0, 5001, 1000))


def test_rate_and_height_come_back():
    x, y = nodes()
    found = height_change(Points.sorted(*terrain()), x, y, 1000.0)
    assert (found.used > 100).all()
    assert np.abs(found.rate + 0.8).max() < 0.02
    assert (np.abs(found.rate + 0.8) < 5 * found.error).all()
    wanted = 1500 + 0.01 * x - 0.006 * y + 2e-7 * (x - 3000) ** 2
    assert np.abs(found.height - wanted).max() < 0.2
    assert np.allclose(found.spread, 0.05, rtol=0.3)


def test_fit_is_that_of_least_squares():
    x, y, t, h = terrain(300, seed=1)
    x, y = (x - 3000) * 1e-3, (y - 3000) * 1e-3
    fit = fit_surface(x, y, t, h)
    turn, since = 2 * np.pi * t, t - t.mean()
    a = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y, since, np.cos(turn), np.sin(turn)], axis=1)
    best = np.linalg.lstsq(a[fit.kept], h[fit.kept], rcond=None)[0]
    assert np.allclose(fit.coefficients, best, atol=1e-8)


def test_outliers_are_edited():
    x, y, t, h = terrain(seed=2)
    bad = np.random.default_rng(3).permutation(h.size)[:120]
    h[bad] += 40.0
    gx, gy = nodes()
    found = height_change(Points.sorted(x, y, t, h), gx, gy, 1000.0)
    assert np.abs(found.rate + 0.8).max() < 0.02
    assert found.edited.sum() >= 0.9 * sum(((x[k] - gx) ** 2 + (y[k] - gy) ** 2 <= 1e6).sum() for k in bad)


def test_a_part_with_halo_gives_the_same_bits():
    x, y, t, h = terrain(seed=4)
    gx, gy = nodes()
    whole = height_change(Points.sorted(x, y, t, h), gx, gy, 700.0)
    mixed = np.random.default_rng(5).permutation(h.size)
    for first, last in ((0, 2), (2, 5)):
        near = mixed[(y[mixed] >= gy[first, 0] - 700) & (y[mixed] <= gy[last - 1, 0] + 700)]
        part = height_change(Points.sorted(x[near], y[near], t[near], h[near]), gx[first:last], gy[first:last], 700.0)
        assert np.array_equal(part.rate, whole.rate[first:last])
        assert np.array_equal(part.used, whole.used[first:last])


def test_few_points_lower_the_order_and_none_is_missing():
    x, y, t, h = terrain(10, seed=6, noise=0.01)
    fit = fit_surface((x - 3000) * 1e-4, (y - 3000) * 1e-4, t, h)
    assert fit is not None
    assert fit.coefficients[3:6].tolist() == [0, 0, 0]
    assert fit_surface(x[:4], y[:4], t[:4], h[:4]) is None
    same = np.zeros(40)
    assert fit_surface(same, same, np.full(40, 2005.0), same) is None  # one place and time
    gx, gy = nodes()
    assert np.isnan(height_change(Points.sorted(x, y, t, h), gx + 1e6, gy, 500.0).rate).all()
    with pytest.raises(SpecError, match="radius"):
        height_change(Points.sorted(x, y, t, h), gx, gy, 0.0)


def test_moving_all_moves_the_result():
    x, y, t, h = terrain(seed=7)
    gx, gy = nodes()
    here = height_change(Points.sorted(x, y, t, h), gx, gy, 1000.0)
    there = height_change(Points.sorted(x + 2e6, y - 1e6, t + 3, h + 100), gx + 2e6, gy - 1e6, 1000.0)
    assert np.allclose(there.rate, here.rate, atol=1e-8)
    assert np.allclose(there.height, here.height + 100, atol=1e-6)


def test_mass_of_a_sinking_sheet():
    assert mass_rate(np.full((2, 2), -1.0), 25e4) == pytest.approx(-917.0)
    assert mass_rate(np.array([-1.0, np.nan]), 1e6, density=850.0) == pytest.approx(-850.0)
