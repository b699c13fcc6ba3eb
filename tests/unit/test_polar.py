"""Projected polar grids: corners, areas, round trips, files that others open."""

import shutil
import subprocess

import numpy as np
import pytest

from pipshpc.errors import SpecError
from pipshpc.polar import GRIDS, find_grid, write_polar

SPHEROID = 5.100656217e8  # km2


@pytest.mark.parametrize("name", list(GRIDS))
def test_a_cell_finds_itself(name):
    grid = find_grid(name)
    rows, columns = slice(0, None, 37), slice(0, None, 41)
    lat, lon = grid.geographic(rows, columns)
    seen = np.isfinite(lat) & np.isfinite(lon) & (np.abs(lat) < 89.9)
    row, column = grid.locate(lat[seen], lon[seen])
    wanted = np.meshgrid(np.arange(grid.shape[1])[columns], np.arange(grid.shape[0])[rows])
    assert np.array_equal(column, wanted[0][seen])
    assert np.array_equal(row, wanted[1][seen])


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        # Centres of the upper left cells of NSIDC's grids, from the coordinate files that go with them.
        ("psn25", (31.10, 168.35)),
        ("pss25", (-39.36, -42.24)),
    ],
)
def test_corners_are_those_of_nsidc(name, corner):
    lat, lon = find_grid(name).geographic(slice(0, 1), slice(0, 1))
    assert (lat[0, 0], lon[0, 0]) == pytest.approx(corner, abs=0.15)


def test_areas_of_equal_area_grids_are_equal_and_sum_to_the_globe():
    for name in ("ease2n25", "ease2s25"):
        grid = find_grid(name)
        lat, _ = grid.geographic(slice(300, 420), slice(300, 420))
        assert np.allclose(grid.cell_area(slice(300, 420), slice(300, 420)), 625.0, rtol=1e-6)
        assert np.isfinite(lat).all()
    globe = find_grid("ease2g25")
    total = globe.cell_area(columns=slice(0, 1)).sum() * globe.shape[1]
    assert total == pytest.approx(SPHEROID, rel=0.005)


def test_areas_of_stereographic_grids_are_true_at_70_degrees():
    grid = find_grid("psn25wgs84")
    lat, lon = grid.geographic()
    area = grid.cell_area()
    near = np.abs(lat - 70) < 0.1
    assert np.allclose(area[near], 625, rtol=0.003)
    assert area[np.abs(lat - 89) < 0.5].max() > 640  # true scale lies below: cells at the pole hold more than 625
    assert area[lat < 40].max() < 530
    # A cell's area by its four corners on the sphere of the authalic radius, to 0.5 %.
    y, x = 200, 100
    corners = [grid.geographic(slice(y + a, y + a + 1), slice(x + b, x + b + 1)) for a, b in ((0, 0), (0, 1), (1, 0))]
    points = [(np.radians(a[0, 0]), np.radians(b[0, 0])) for a, b in corners]
    (p0, l0), (p1, l1), (p2, l2) = points
    dx = np.hypot((l1 - l0) * np.cos(p0), p1 - p0) * 6371.007
    dy = np.hypot((l2 - l0) * np.cos(p0), p2 - p0) * 6371.007
    assert dx * dy == pytest.approx(area[y, x], rel=0.01)
    assert lon.shape == grid.shape


def test_blocks_are_parts_of_the_whole():
    grid = find_grid("pss25")
    lat, lon = grid.geographic()
    part = grid.geographic(slice(100, 140), slice(30, 70))
    assert np.array_equal(part[0], lat[100:140, 30:70])
    assert np.array_equal(part[1], lon[100:140, 30:70])


def test_unknown_grids_are_named_with_the_known_ones():
    with pytest.raises(SpecError, match="psn25"):
        find_grid("psn12")


def test_files_open_elsewhere(tmp_path, needs):
    needs("xarray", "rasterio")
    import rasterio
    import xarray

    grid = find_grid("psn25wgs84")
    lat, _ = grid.geographic()
    ice = np.where(lat > 75, 0.9, 0.0).astype(np.float32)
    path = str(tmp_path / "ice.nc")
    about = {"title": "Sea ice"}
    units = {"siconc": {"units": "1", "standard_name": "sea_ice_area_fraction"}}
    write_polar(path, grid, {"siconc": ice}, units, about, "2022-09-13T12:00:00")
    with xarray.open_dataset(path, decode_coords="all") as data:
        assert data.siconc.dims == ("time", "y", "x")
        assert data.siconc.values[0] == pytest.approx(ice)
        assert float(data.lat[0, 0]) == pytest.approx(lat[0, 0])
        assert {"lat", "lon", "crs"} <= set(data.coords)
    with rasterio.open(f"netcdf:{path}:siconc") as data:
        assert data.crs.to_epsg() == 3413
        assert data.transform.c == -3850000
        assert data.transform.f == 5850000
    if shutil.which("cdo"):
        said = subprocess.run(["cdo", "-s", "griddes", path], capture_output=True, text=True, check=True).stdout
        assert "304" in said
        assert "448" in said
    with pytest.raises(SpecError, match="448"):
        write_polar(path, grid, {"siconc": ice[:5]}, units, about, "2022-09-13T12:00:00")
