"""Windows of projected grids: names, boxes, blocks, and the words for what is not known."""

import numpy as np
import pytest

from pipshpc.errors import SpecError
from pipshpc.grid import GLOBE, Box, Grid, PolarWindow, find_window, parse_grid, window_of
from pipshpc.polar import GRIDS


@pytest.mark.parametrize("name", GRIDS)
def test_the_name_of_a_grid_reads_back(name):
    grid = parse_grid(name)
    assert grid.name == name
    window = find_window(grid, GLOBE)
    assert window == PolarWindow(grid, (0, 0), grid.shape)


def test_degrees_are_regular_grids_still():
    assert parse_grid("0.25deg") == Grid.parse("0.25deg")
    assert find_window(parse_grid("1deg"), Box(0, 0, 10, 10)) == Grid.parse("1deg").window(Box(0, 0, 10, 10))


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(SpecError, match=r"0\.05deg.*psn25.*ease2n25"):
        parse_grid("psn99")


def test_a_box_holds_all_its_centres_and_touches_its_edges():
    grid, box = GRIDS["psn25"], Box(170.0, 70.0, -170.0, 80.0)
    window = find_window(grid, box)
    lat, lon = grid.geographic()
    inside = (lat >= 70) & (lat <= 80) & ((lon >= 170) | (lon <= -170))
    rows, columns = window.slices
    assert inside[rows, columns].sum() == inside.sum()
    assert inside[rows, columns][0].any()
    assert inside[rows, columns][:, -1].any()


def test_blocks_are_cut_from_the_window():
    window = window_of(GRIDS["ease2n25"], (100, 200), (50, 60))
    lat, lon = window.place((0, 0), (50, 60))
    part = window.place((10, 20), (5, 7))
    assert np.array_equal(part[0], lat[10:15, 20:27])
    assert np.array_equal(part[1], lon[10:15, 20:27])


@pytest.mark.parametrize(("name", "pole"), [("psn25", 90.0), ("pss25", -90.0), ("ease2n25", 90.0), ("ease2s25", -90.0)])
def test_a_cap_goes_round_and_reaches_the_pole(name, pole):
    west, south, east, north = find_window(parse_grid(name), GLOBE).bounds
    assert (west, east) == (-180.0, 180.0)
    assert pole in (south, north)


def test_a_box_beyond_the_grid_is_refused():
    with pytest.raises(SpecError, match="holds no cell centre"):
        find_window(parse_grid("psn25"), Box(0.0, -60.0, 10.0, -50.0))
