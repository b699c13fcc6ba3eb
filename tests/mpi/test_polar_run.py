"""Sea ice on a projected grid on real ranks: same content for any ranks, every cell its own input, holes stay holes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import msgspec
import netCDF4
import numpy as np
import pytest

from pipshpc import compute
from pipshpc.campaign import load_campaign
from pipshpc.catalogue import read_item
from pipshpc.dataset import describe, summarise
from pipshpc.digest import content_digest
from pipshpc.errors import SpecError
from pipshpc.forcing import Forcing
from pipshpc.plan import plan
from pipshpc.polar import find_grid, write_polar
from pipshpc.quicklook import draw
from pipshpc.survey import survey

pytestmark = pytest.mark.mpi
ROOT = Path(__file__).parents[2]
FILE = ROOT / "jobs" / "campaigns" / "seaice_north.yaml"
CHANNELS = ("tb19v", "tb19h", "tb22v", "tb37v")


@pytest.fixture(scope="module", params=["psn25wgs84", "ease2n25"])
def forcing(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("seaice") / "tb.nc"
    script = [sys.executable, str(ROOT / "jobs" / "make_seaice_forcing.py"), str(path), "--grid", request.param]
    subprocess.run([*script, "--hole", "87"], check=True)
    return request.param, path


def make_task(grid, path, tmp_path, **changes):
    plain = {
        "grid": grid,
        "products": ["siconc"],
        "algorithms": {"siconc": "nasateam"},
        "forcing": Forcing(paths=[str(path)], hold=True, downscale=False),
        "output": str(tmp_path / "out"),
        "chunk": [100, 90],
    }
    one = msgspec.structs.replace(load_campaign(FILE), **{**plain, **changes})
    return plan(one, survey(one, tmp_path))[0]


def unpack(path, product="siconc"):
    with h5py.File(path) as file:
        data = file[product]
        stored = data[0]
        return np.where(stored == data.attrs["_FillValue"][0], np.nan, stored * data.attrs["scale_factor"])


def read_direct(path):
    """NASA Team of the file's own arrays, without any plan."""
    with netCDF4.Dataset(path) as file:
        fields = {name: np.ma.filled(file[name][0].astype("f4"), np.nan) for name in CHANNELS}
    return compute("siconc", "nasateam", **fields)


def test_same_content_for_any_ranks_and_each_cell_its_own_input(forcing, start_ranks, tmp_path):
    grid, path = forcing
    digests = {}
    for ranks in (1, 2, 3):
        task = make_task(grid, path, tmp_path, output=str(tmp_path / f"out{ranks}"))
        done = start_ranks(task, ranks)
        assert done.returncode == 0, done.stderr
        digests[ranks] = content_digest(task.path("siconc"))
    assert len(set(digests.values())) == 1
    found, wanted = unpack(task.path("siconc")), read_direct(path)
    assert np.array_equal(np.isnan(found), np.isnan(wanted)), "the hole has grown, shrunk or moved"
    assert np.nanmax(np.abs(found - wanted)) <= 0.51e-4  # half a step of the packing
    lat = find_grid(grid).geographic()[0]
    assert np.isnan(found[lat >= 87]).all()
    assert np.isfinite(found[(lat < 87) & (lat > 80)]).all()


def test_readers_see_where_it_is(forcing, start_ranks, tmp_path):
    import pyproj
    import xarray

    name, path = forcing
    task = make_task(name, path, tmp_path)
    assert start_ranks(task, 2).returncode == 0
    product, grid = task.path("siconc"), find_grid(name)
    with xarray.open_dataset(product, decode_coords="all") as data:
        crs = pyproj.CRS.from_cf(dict(data.crs.attrs))
        assert crs.to_epsg() == grid.epsg
        assert data.siconc.dims == ("time", "y", "x")
        assert {"lat", "lon", "crs"} <= set(data.siconc.coords)
        project = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform
        x, y = project(data.lon.values, data.lat.values)
        assert np.allclose(x, np.broadcast_to(data.x, x.shape), atol=0.1)
        assert np.allclose(y, np.broadcast_to(data.y.values[:, None], y.shape), atol=0.1)
        assert np.allclose(np.diff(data.y_bnds, axis=1), -grid.size)
    item = read_item(product).to_dict()
    assert item["properties"]["proj:code"] == f"EPSG:{grid.epsg}"
    assert item["properties"]["proj:transform"] == [grid.size, 0.0, grid.left, 0.0, -grid.size, grid.top]
    assert item["properties"]["proj:shape"] == list(grid.shape)
    assert item["bbox"][::2] == [-180.0, 180.0]
    assert item["bbox"][3] == 90.0
    json.dumps(item)
    values, area = unpack(product), grid.cell_area()
    there = np.isfinite(values)
    assert summarise(product)[0].mean == pytest.approx((values * area)[there].sum() / area[there].sum(), rel=1e-6)
    assert describe(product).edges == (grid.left, grid.top - grid.size * grid.shape[0],
                                       grid.left + grid.size * grid.shape[1], grid.top)  # fmt: skip
    assert draw(product, out=tmp_path / "map.png", max_width=600).stat().st_size > 10_000


def test_nothing_seen_gives_a_file_of_gaps(start_ranks, tmp_path):
    grid = find_grid("psn25")
    blank = {name: np.full(grid.shape, np.nan, np.float32) for name in CHANNELS}
    path = tmp_path / "tb.nc"
    write_polar(str(path), grid, blank, {n: {"units": "K"} for n in CHANNELS}, {"title": "nothing"}, "2022-09-13T12:00")
    task = make_task("psn25", path, tmp_path)
    done = start_ranks(task, 2)
    assert done.returncode == 0, done.stderr
    assert np.isnan(unpack(task.path("siconc"))).all()


def test_a_part_of_the_grid_has_the_values_of_the_whole(forcing, start_ranks, tmp_path):
    name, path = forcing
    part = make_task(name, path, tmp_path, box=[-60.0, 75.0, 20.0, 86.0], chunk=[17, 33])
    whole = make_task(name, path, tmp_path)
    done = start_ranks(part, 2, more=[whole])
    assert done.returncode == 0, done.stderr
    rows, columns = part.window.slices
    assert part.window.shape < find_grid(name).shape
    found = unpack(part.path("siconc"))
    assert np.nanmax(found) > 0.5
    assert np.array_equal(found, unpack(whole.path("siconc"))[rows, columns], equal_nan=True)


def test_what_needs_the_sun_is_refused_in_one_sentence(tmp_path):
    one = msgspec.structs.replace(
        load_campaign(ROOT / "jobs" / "campaigns" / "demo_idealised.yaml"), grid="psn25", box="globe"
    )
    with pytest.raises(SpecError, match=r"the sun.*latitude-longitude"):
        plan(one, survey(one, tmp_path))
