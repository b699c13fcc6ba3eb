"""Campaigns whose forcing is real granules: what is stored is what the tile holds, on any ranks."""

import math

import h5py
import numpy as np
import pytest

from pipshpc.campaign import Campaign, check_campaign
from pipshpc.digest import content_digest
from pipshpc.errors import InputError, SpecError
from pipshpc.forcing import Forcing
from pipshpc.granule import MODIS_SPHERE, read_mod11a1
from pipshpc.plan import plan
from pipshpc.source import open_source
from pipshpc.survey import survey

TILE_BOX = [-40.0, -8.0, -36.0, -4.0]


@pytest.fixture(scope="module", autouse=True)
def _readers():
    pytest.importorskip("pyhdf", reason="pyhdf is not installed")
    pytest.importorskip("rasterio", reason="rasterio is not installed")


@pytest.fixture
def granules(tmp_path, shared):
    def make(path, products, start, end, name="out", paths=(), **changes):
        forcing = {"resample": changes.pop("resample", "nearest")}
        one = Campaign(
            campaign="granules",
            products=products,
            grid=changes.pop("grid", "0.02deg"),
            period="1d",
            start=start,
            end=end,
            box=changes.pop("box", TILE_BOX),
            forcing=Forcing(kind="granules", paths=[str(shared / "data/tiles" / path), *paths], **forcing),
            output=str(tmp_path / name),
            **changes,
        )
        check_campaign(one)
        return plan(one, survey(one, tmp_path))

    return make


def stored(task, product):
    with h5py.File(task.path(product)) as file:
        data = file[product]
        raw = data[...]
        values = raw * data.attrs["scale_factor"] + data.attrs["add_offset"]
        return np.where(raw == data.attrs["_FillValue"][0], np.nan, values)


def by_hand(tile, name, lat, lon):
    """Nearest pixel by the formula of the sinusoidal projection, apart from pyproj."""
    y = np.radians(lat) * MODIS_SPHERE
    x = np.radians(lon) * np.cos(np.radians(lat)) * MODIS_SPHERE
    rows = np.rint((y - tile.grid.y[0]) / np.diff(tile.grid.y).mean()).astype(int)
    columns = np.rint((x - tile.grid.x[0]) / np.diff(tile.grid.x).mean()).astype(int)
    inside = (rows >= 0) & (rows < 1200) & (columns >= 0) & (columns < 1200)
    return np.where(inside, tile.fields[name][rows.clip(0, 1199), columns.clip(0, 1199)], np.nan)


@pytest.mark.mpi
def test_a_tile_pixel_by_pixel_on_any_ranks(granules, start_ranks, shared):
    digests = set()
    for ranks, threads in ((1, 1), (3, 1), (1, 2)):
        (task,) = granules(
            "MOD11A1.hdf", ["ts", "emis"], "2019-11-01T00:00:00Z", "2019-11-02T00:00:00Z", f"o{ranks}{threads}",
            chunk=[48, 64],
        )  # fmt: skip
        done = start_ranks(task, ranks, threads)
        assert done.returncode == 0, done.stderr
        digests.add((content_digest(task.path("ts")), content_digest(task.path("emis"))))
    assert len(digests) == 1
    tile = read_mod11a1(shared / "data/tiles/MOD11A1.hdf")
    lat = -4.0 - 0.02 * (np.arange(200)[:, None] + 0.5)
    lon = -40.0 + 0.02 * (np.arange(200)[None, :] + 0.5)
    found, expected = stored(task, "ts")[0], by_hand(tile, "ts_day", lat, lon)
    # A centre on the border of two pixels may fall to either; no hole is filled and none made beyond that.
    agree = (np.abs(found - expected) < 0.006) | (np.isnan(found) & np.isnan(expected))
    assert agree.mean() > 0.999 and np.isfinite(found).mean() > 0.3
    emis = stored(task, "emis")[0]
    both = np.isfinite(emis)
    assert np.all((emis[both] > 0.93) & (emis[both] < 1.0))
    assert both.mean() > 0.3


@pytest.mark.mpi
def test_landsat_indices_and_albedo(granules, start_ranks):
    (task,) = granules(
        "L8_232083_20160209/*_MTL.txt", ["ndvi", "albedo"], "2016-02-09T00:00:00Z", "2016-02-10T00:00:00Z",
        grid="1/3600deg", box=[-68.88, -33.02, -68.85, -33.005],
    )  # fmt: skip
    done = start_ranks(task, 2)
    assert done.returncode == 0, done.stderr
    ndvi, albedo = stored(task, "ndvi")[0], stored(task, "albedo")[0]
    assert np.isfinite(ndvi).mean() > 0.9
    assert np.nanmin(ndvi) > -0.3 and np.nanmax(ndvi) < 1.0 and np.nanmax(ndvi) > 0.5  # vineyards in a desert
    assert 0.05 < np.nanmedian(albedo) < 0.35


@pytest.mark.mpi
def test_snow_of_eight_days(granules, start_ranks, shared):
    (name,) = (p.name for p in (shared / "data/tiles").glob("MOD10A2*.hdf"))
    (task,) = granules(
        name, ["snc"], "2022-02-02T00:00:00Z", "2022-02-03T00:00:00Z",
        grid="0.05deg", box=[-112.0, 32.0, -100.0, 39.0], resample="mean",
    )  # fmt: skip
    done = start_ranks(task, 2)
    assert done.returncode == 0, done.stderr
    share = stored(task, "snc")[0]
    assert np.nanmin(share) == 0.0 and np.nanmax(share) == 1.0
    assert ((share > 0.1) & (share < 0.9)).any()  # cells on the snow line
    lat = 39.0 - 0.05 * (np.arange(140) + 0.5)
    north, south = np.nanmean(share[lat > 38]), np.nanmean(share[lat < 33])
    assert north > 0.5 > south


def test_granules_of_a_day_in_any_order_make_the_same_field(tmp_path, shared):
    """A second granule fills only what the first by name misses."""
    whole = shared / "data/tiles/MOD11A1.hdf"
    (tmp_path / "a.hdf").symlink_to(whole)
    (tmp_path / "b.hdf").symlink_to(whole)
    spec = {"kind": "granules", "grid": "0.05deg", "box": TILE_BOX}
    one, two, alone = (
        open_source(Forcing(paths=[str(tmp_path / n) for n in names], **spec)).read("ts_day", 0)
        for names in (("a.hdf", "b.hdf"), ("b.hdf", "a.hdf"), ("a.hdf",))
    )
    assert np.array_equal(one, two, equal_nan=True) and np.array_equal(one, alone, equal_nan=True)


def test_mean_over_cells_keeps_the_mean_of_the_pixels(shared):
    tile = read_mod11a1(shared / "data/tiles/MOD11A1.hdf")
    spec = Forcing(
        kind="granules", paths=[str(shared / "data/tiles/MOD11A1.hdf")], grid="1deg", box=TILE_BOX, resample="mean"
    )
    found = open_source(spec).read("ts_day", 0)[:4, :4]
    lat, lon = tile.grid.geographic(tile.grid.y[:, None], tile.grid.x[None, :])
    for j, i in ((0, 1), (3, 3)):
        cell = (np.floor(lat) == -8 + j) & (np.floor(lon) == -40 + i)
        expected = np.nanmean(tile.fields["ts_day"][cell].astype(float))
        assert math.isclose(found[j, i], expected, abs_tol=1e-3)


def test_what_cannot_be_made_is_said_before_any_job(granules, tmp_path, shared):
    day = ("2019-11-01T00:00:00Z", "2019-11-02T00:00:00Z")
    cut = tmp_path / "cut.hdf"
    cut.write_bytes((shared / "data/tiles/MOD11A1.hdf").read_bytes()[:1_000_000])
    with pytest.raises(InputError, match=r"cut\.hdf cannot be read as HDF4 .*get it again"):
        granules("MOD11A1.hdf", ["ts"], *day, paths=[str(cut)])
    with pytest.raises(InputError, match="2019-11-02"):
        granules("MOD11A1.hdf", ["ts"], "2019-11-01T00:00:00Z", "2019-11-03T00:00:00Z")
    with pytest.raises(InputError, match="'albedo' cannot be made"):
        granules("MOD11A1.hdf", ["albedo"], *day, algorithms={"albedo": "liang2001-landsat"})
    (tmp_path / "note.hdf").write_text("no granule")
    with pytest.raises(InputError, match="no granule that is known"):
        granules("MOD11A1.hdf", ["ts"], *day, paths=[str(tmp_path / "note.hdf")])
    spec = Forcing(kind="granules", paths=["x.hdf"])
    with pytest.raises(SpecError, match="stands for its day"):
        check_campaign(Campaign("c", ["ts"], "1deg", "3h", day[0], day[1], spec))


def test_another_day_does_not_rename_a_task(granules, shared, tmp_path):
    """A task names only the granules of its own day."""
    day = ("2019-11-01T00:00:00Z", "2019-11-02T00:00:00Z")
    order = {"algorithms": {"ts": "granule-day"}}
    (alone,) = granules("MOD11A1.hdf", ["ts"], *day, **order)
    (scene,) = (shared / "data/tiles/L8_232083_20160209").glob("*_MTL.txt")
    (among,) = granules("MOD11A1.hdf", ["ts"], *day, paths=[str(scene)], **order)
    assert alone.id == among.id
    assert [p.rsplit("/", 1)[1] for p in among.forcing.paths] == ["MOD11A1.hdf"]
