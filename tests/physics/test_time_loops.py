"""Loops that know of time: series of pixels and steps with a state, on plain arrays."""

import numpy as np
import pytest

from pipshpc.kernel import compute, evaluate_series, evaluate_stateful
from pipshpc.product import load_cards

HIGHEST = load_cards()["ndvimax"].algorithm()
DEGREES = load_cards()["gdd"].algorithm()


def looks(n=23, pixels=1000, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.uniform(-0.2, 0.9, (n, pixels)).astype(np.float32)
    values[rng.random((n, pixels)) < 0.4] = np.nan
    values[:, 7] = np.nan
    return values


@pytest.mark.parametrize("pixels", [1, 15, 16, 255, 256, 257, 1000])
def test_a_series_is_the_same_however_many_pixels_and_threads_there_are(pixels):
    values = looks()
    whole = evaluate_series(HIGHEST, {"ndvi": values})
    part = evaluate_series(HIGHEST, {"ndvi": values[:, :pixels]}, threads=2)
    for name, out in whole.items():
        assert np.array_equal(out[:pixels], part[name], equal_nan=True)


def test_the_highest_is_numpys_and_the_order_of_days_does_not_matter():
    values = looks()
    values[:, 8] = 0.25
    found = evaluate_series(HIGHEST, {"ndvi": values})
    seen = np.isfinite(values).any(axis=0)
    assert np.array_equal(found["most"][seen], np.nanmax(values[:, seen], axis=0))
    assert np.isnan(found["most"][~seen]).all() and not seen[7]
    assert np.array_equal(found["seen"], np.isfinite(values).sum(axis=0))
    assert found["when"][8] == 0  # the first of equals
    turned = evaluate_series(HIGHEST, {"ndvi": values[::-1]}, day=np.arange(len(values))[::-1])
    assert np.array_equal(found["most"], turned["most"], equal_nan=True)


def test_days_are_the_callers():
    assert evaluate_series(HIGHEST, {"ndvi": [0.1, 0.3, 0.2]}, day=[0, 16, 32])["when"][0] == 16
    assert compute("ndvimax", ndvi=[0.1, np.nan, 0.2]) == np.float32(0.2)


def test_parts_of_a_season_give_what_the_whole_gives():
    rng = np.random.default_rng(1)
    tas = rng.normal(288, 8, (120, 100)).astype(np.float32)
    _, whole = evaluate_stateful(DEGREES, {"tas": tas})
    _, first = evaluate_stateful(DEGREES, {"tas": tas[:50]})
    _, both = evaluate_stateful(DEGREES, {"tas": tas[50:]}, state=first)
    assert np.array_equal(whole["gdd"], both["gdd"])
    assert np.allclose(whole["gdd"], np.maximum(tas.astype(float) - 283.15, 0).sum(axis=0), rtol=1e-5)


def test_a_missing_day_costs_that_day_only():
    tas = np.full((5, 3), 293.15, np.float32)
    tas[2, 1] = np.nan
    outs, state = evaluate_stateful(DEGREES, {"tas": tas})
    assert state["gdd"] == pytest.approx([50.0, 40.0, 50.0], abs=1e-3)
    assert not outs  # all that it gives is its state
