"""Where places lie on grids of every kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc.errors import InputError
from pipshpc.sourcegrid import SourceGrid, lonlat_grid

GLOBE = lonlat_grid(np.linspace(90, -90, 181), np.arange(360.0))[0]
GAUSS = SourceGrid(np.array([-88.5, -86.7, 0.0, 86.7, 88.5]), np.arange(0, 360, 1.875), None, True)
EUROPE = lonlat_grid(np.arange(35.0, 60.1, 0.5), np.arange(-10.0, 30.1, 0.5))[0]
DATELINE = lonlat_grid(np.arange(-20.0, 0.1), np.array([170.0, 175, 180, -175, -170]))[0]
LCC = "+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=262.5 +R=6371229"
LAMBERT = SourceGrid(np.arange(-150e3, 150.1e3, 3e3), np.arange(-90e3, 90.1e3, 3e3), LCC)


@given(st.floats(-90, 90), st.floats(-720, 720))
def test_linear_function_is_found_again_on_the_globe(lat, lon):
    fy, fx = GLOBE.locate(lat, lon)
    assert GLOBE.y[0] + fy == pytest.approx(lat, abs=1e-9)
    assert 0 <= fx < 360
    assert (fx - lon) % 360 == pytest.approx(0, abs=1e-9) or (fx - lon) % 360 == pytest.approx(360, abs=1e-9)


def test_periodic_wrap_stays_below_the_number_of_columns():
    fx = GAUSS.locate(0.0, np.array([-0.9375, 359.0625, 358.125, 0.0, 360.0, -1e-13]))[1]
    np.testing.assert_allclose(fx[:5], [191.5, 191.5, 191.0, 0.0, 0.0])
    assert fx[5] < 192


def test_poleward_of_the_last_row_is_clamped():
    fy = GAUSS.locate(np.array([-90.0, -89.0, 89.9]), 0.0)[0]
    assert fy.tolist() == [0.0, 0.0, 4.0]


def test_outside_is_nan_but_the_outer_half_cell_belongs_to_the_grid():
    fy = EUROPE.locate(np.array([34.7, 34.8, 35.0, 60.2, 60.3]), 0.0)[0]
    assert np.isnan(fy).tolist() == [True, False, False, False, True]
    fx = EUROPE.locate(40.0, np.array([-10.3, -10.2, 349.8, 30.2, 180.0]))[1]
    assert np.isnan(fx).tolist() == [True, False, False, False, True]


def test_grid_across_the_date_line():
    assert DATELINE.locate(-10.0, np.array([172.5, -172.5]))[1].tolist() == [0.5, 3.5]
    assert DATELINE.covers(168, -20, -168, 0) and not DATELINE.covers(160, -20, -170, 0)
    assert not DATELINE.covers(-170, -20, 170, 0)  # the other way round the globe


@pytest.mark.parametrize(
    ("grid", "box", "inside"),
    [
        (GLOBE, (-180, -90, 180, 90), True),
        (GLOBE, (170, -10, -170, 10), True),
        (GAUSS, (-180, -90, 180, 90), True),
        (EUROPE, (-10.25, 34.75, 30.25, 60.25), True),
        (EUROPE, (349.75, 34.75, 390.25, 60.25), True),
        (EUROPE, (-11, 36, 20, 50), False),
        (EUROPE, (0, 36, 20, 61), False),
        (EUROPE, (-180, -90, 180, 90), False),
        (LAMBERT, (-98, 38, -97, 39), True),
        (LAMBERT, (-100, 38, -97, 39), False),
    ],
)
def test_covers(grid, box, inside):
    assert grid.covers(*box) == inside


def test_error_says_what_is_covered_and_what_was_asked():
    covered = r"it covers latitude 34\.75 to 60\.25, longitude -10\.25 to 30\.25"
    asked = "asked for west -20, south 40, east 0, north 50"
    with pytest.raises(InputError, match=rf"winds\.nc does not cover the box: {covered} .* {asked}"):
        EUROPE.need_cover(-20, 40, 0, 50, title="winds.nc")
    with pytest.raises(InputError, match="about latitude 37"):
        LAMBERT.need_cover(-20, 40, 0, 50, title="x")


def test_projected_grid_round_trip():
    lat, lon = LAMBERT.geographic(LAMBERT.y[:, None], LAMBERT.x[None, :])
    fy, fx = LAMBERT.locate(lat, lon)
    np.testing.assert_allclose(fy, np.arange(LAMBERT.y.size)[:, None] + 0 * fx, atol=1e-6)
    np.testing.assert_allclose(fx, np.arange(LAMBERT.x.size)[None, :] + 0 * fy, atol=1e-6)


@pytest.mark.parametrize(
    ("y", "x"), [([0.0, 2, 1], [0.0, 1]), ([0.0, 95.0], [0.0, 1]), ([0.0, np.nan], [0.0, 1]), ([[0.0]], [0.0])]
)
def test_axes_that_are_none_are_refused(y, x):
    with pytest.raises(InputError):
        lonlat_grid(np.array(y), np.array(x))
