"""Grids and boxes are arithmetic: every cell once, boxes as their centres say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc.errors import SpecError
from pipshpc.grid import GLOBE, Box, Grid


@pytest.mark.parametrize(
    ("text", "shape"), [("0.05deg", (3600, 7200)), ("1/120deg", (21600, 43200)), ("2.5deg", (72, 144))]
)
def test_parse_reads_back(text, shape):
    grid = Grid.parse(text)
    assert grid.shape == shape
    assert Grid.parse(grid.name) == grid


@pytest.mark.parametrize("text", ["0.07deg", "5km", "-1deg", "0deg", "deg"])
def test_parse_refuses(text):
    with pytest.raises(SpecError, match="grid"):
        Grid.parse(text)


def test_globe_has_all_cells_and_edges():
    window = Grid.parse("0.05deg").window(GLOBE)
    assert window.shape == (3600, 7200)
    assert window.bounds == (-180.0, -90.0, 180.0, 90.0)
    assert window.lat()[[0, -1]] == pytest.approx([89.975, -89.975])
    assert window.lon()[[0, -1]] == pytest.approx([-179.975, 179.975])


def test_box_across_the_date_line_goes_on_beyond_180():
    window = Grid.parse("0.5deg").window(Box(170, -10, -170, 10))
    assert window.lon()[[0, -1]] == pytest.approx([170.25, 189.75])
    assert window.shape == (40, 40)


def test_west_equals_east_is_refused():
    with pytest.raises(SpecError, match="west equals east"):
        Box(10, 0, 10, 5)


def test_box_without_a_centre_is_refused():
    with pytest.raises(SpecError, match="no cell centre"):
        Grid.parse("1deg").window(Box(10.1, 10.1, 10.2, 10.2))


@given(
    west=st.floats(-180, 179),
    width=st.floats(1.5, 359),
    south=st.floats(-90, 88),
    height=st.floats(1.5, 170),
)
def test_window_holds_exactly_the_centres_inside(west, width, south, height):
    north = min(south + height, 90)
    east = west + width if west + width <= 180 else west + width - 360
    if abs(east - west) < 1e-6:
        return
    window = Grid.parse("1deg").window(Box(west, south, east, north))
    lat, lon = window.lat(), window.lon()
    assert np.all((lat > south - 1e-6) & (lat < north + 1e-6))
    assert np.all((lon > west - 1e-6) & (lon < west + width + 1e-6))
    assert lat[0] + 1 > north - 1e-6 or lat[0] > 89
    assert lon[-1] + 1 > west + width - 1e-6
