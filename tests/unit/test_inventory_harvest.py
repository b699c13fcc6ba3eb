"""Folders are taken in whole, once, whatever happens on the way; names and headers say the same as the data."""

import json
import math
import os
import shutil
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipshpc import catalogue
from pipshpc.errors import InputError
from pipshpc.inventory import Inventory, Item
from pipshpc.inventory.granules import SPHERE_M, read_name, tile_box
from pipshpc.inventory.regions import find_region, regions
from pipshpc.inventory.stac import from_stac, to_stac
from pipshpc.source.identity import file_digest
from tests.conftest import write_sample
from tests.unit.forcing_files import write_grib, write_netcdf

rasterio = pytest.importorskip("rasterio")


@pytest.fixture
def stock(tmp_path):
    with Inventory.open(tmp_path / "home" / "inventory.sqlite") as opened:
        yield opened


def write_tiff(path, west=10.0, north=50.0, step=0.5, shape=(20, 40)):
    to = rasterio.transform.from_origin(west, north, step, step)
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "int16"}
    with rasterio.open(path, "w", crs="EPSG:4326", transform=to, **profile) as file:
        file.write(np.arange(shape[0] * shape[1], dtype="i2").reshape(shape), 1)
    return path


def write_mtl(folder, stem="LC08_L1TP_042034_20170616_20170629_01_T1"):
    corners = {"UL": (170.0, 10.0), "UR": (-178.0, 10.0), "LR": (-178.5, 8.0), "LL": (169.5, 8.0)}
    lines = ["GROUP = L1_METADATA_FILE", f'LANDSAT_PRODUCT_ID = "{stem}"', 'SPACECRAFT_ID = "LANDSAT_8"']
    lines += ['SENSOR_ID = "OLI_TIRS"', "DATE_ACQUIRED = 2017-06-16", 'SCENE_CENTER_TIME = "18:33:44.1234560Z"']
    lines += ["CLOUD_COVER = 12.50", "IMAGE_QUALITY_OLI = 5"]
    lines += [
        f"CORNER_{c}_{n}_PRODUCT = {v}" for c, p in corners.items() for n, v in zip(("LON", "LAT"), p, strict=True)
    ]
    (folder / f"{stem}_MTL.txt").write_text("\n".join(lines) + "\nEND_GROUP = L1_METADATA_FILE\nEND\n")
    write_tiff(folder / f"{stem}_B2.TIF")


@pytest.fixture
def archive(tmp_path):
    """A folder with a file of each kind that the tests can make, a product of our own and things that are no data."""
    folder = tmp_path / "archive"
    (folder / "scene").mkdir(parents=True)
    write_netcdf(folder / "classic.nc", kind="NETCDF3_CLASSIC")
    write_netcdf(folder / "era.nc", lat=np.arange(30, 50.1, 5), lon=np.arange(170, 200.1, 5))
    write_grib(folder / "model.grb2")
    write_tiff(folder / "sst_20190701.tif")
    write_mtl(folder / "scene")
    write_sample(folder / "rlds_1deg_3h_20060401.nc")
    catalogue.publish(folder / "rlds_1deg_3h_20060401.nc", {"ranks": 3})
    (folder / "README.txt").write_text("no data")
    (folder / "notes.json").write_text('{"a": 1}')
    (folder / ".hidden").mkdir()
    write_tiff(folder / ".hidden" / "a.tif")
    return folder


def test_each_kind_of_file_is_understood(stock, archive):
    counts = stock.ingest(archive)
    assert (counts.added, counts.damaged) == (6, {})
    found = {item.id.split(".")[0]: item for item in stock.search()}
    utc = {"tzinfo": UTC}
    assert found["classic"].start == datetime(2020, 2, 28, 22, **utc)
    assert found["classic"].end == datetime(2020, 2, 29, 2, **utc)
    assert found["classic"].bbox == (-180, -90, 180, 90)
    assert found["era"].bbox == (167.5, 27.5, -157.5, 52.5)
    assert found["era"].digest == file_digest(archive / "era.nc")
    assert found["model"].properties["variables"] == ["tas"]
    assert found["sst_20190701"].bbox == (10, 40, 30, 50)
    assert found["sst_20190701"].start == datetime(2019, 7, 1, **utc)
    scene = found["LC08_L1TP_042034_20170616_01"]
    assert scene.bbox == (169.5, 8, -178, 10)
    assert (scene.platform, scene.sensor, scene.quality) == ("Landsat-8", "OLI_TIRS", "suspect")
    assert scene.start == scene.end == datetime(2017, 6, 16, 18, 33, 44, 123456, **utc)
    assert len(scene.properties["files"]) == 2
    product = found["rlds_1deg_3h_20060401"]
    assert (product.kind, product.product, product.recipe) == ("product", "rlds", "0123456789abcdef")
    assert [i.id for i in stock.search(kind="product", region="France")] == [product.id]


def test_a_second_look_finds_nothing_new_and_a_changed_file_is_a_revision(stock, archive):
    stock.ingest(archive)
    again = stock.ingest(archive)
    assert (again.added, again.revised, again.same) == (0, 0, 6)
    write_tiff(archive / "sst_20190701.tif", west=20.0)
    write_tiff(archive / "scene" / "LC08_L1TP_042034_20170616_20170629_01_T1_B2.TIF", west=20.0)
    assert stock.ingest(archive).revised == 2
    assert [i.revision for i in stock.revisions(archive / "sst_20190701.tif")] == [1, 2]


def test_a_new_processing_of_a_granule_replaces_the_old_one(stock, tmp_path):
    for made in ("20170629", "20190101"):
        folder = tmp_path / made
        folder.mkdir()
        write_mtl(folder, f"LC08_L1TP_042034_20170616_{made}_01_T1")
        stock.ingest(folder)
    (item,) = stock.search()
    assert item.revision == 2
    assert "20190101" in item.path


@pytest.mark.parametrize("name", ["classic.nc", "era.nc", "model.grb2", "sst_20190701.tif", "rlds_1deg_3h_20060401.nc"])
def test_a_file_that_was_cut_is_told_of_once_and_taken_in_when_it_is_whole(stock, archive, name):
    whole = (archive / name).read_bytes()
    (archive / name).write_bytes(whole[: len(whole) * 3 // 5])
    first = stock.ingest(archive)
    (reason,) = first.damaged.values()
    assert str(archive / name) in reason
    second = stock.ingest(archive)
    assert second.damaged == {}
    assert second.known_damaged == 1
    (archive / name).write_bytes(whole)
    os.utime(archive / name, ns=(1, 1))
    if (archive / name).with_suffix(".json").exists():
        os.utime((archive / name).with_suffix(".json"), ns=(1, 1))
    third = stock.ingest(archive)
    assert (third.added, third.damaged, third.known_damaged) == (1, {}, 0)


def test_a_harvest_that_was_ended_goes_on(stock, archive, monkeypatch):
    monkeypatch.setattr("pipshpc.inventory.harvest.BATCH", 2)
    looked = []

    def watch(path):
        looked.append(path)
        if len(looked) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stock.ingest(archive, watch=watch)
    assert len(stock) == 2
    del looked[:]
    counts = stock.ingest(archive, watch=looked.append)
    assert len(stock) == 6
    assert counts.same >= 2
    assert len(looked) == len(set(looked)) == 5  # one of them is notes.json


def test_what_is_gone_is_named_and_withdrawn_where_asked(stock, archive):
    stock.ingest(archive)
    (archive / "era.nc").unlink()
    assert stock.ingest(archive).missing == [str(archive / "era.nc")]
    assert stock.ingest(archive, withdraw=True).withdrawn == 1
    assert len(stock.search()) == 5
    with pytest.raises(InputError, match="no folder"):
        stock.ingest(archive / "nowhere")


@pytest.mark.parametrize(
    ("name", "ident", "platform", "tile"),
    [
        ("MOD11A1.A2019305.h14v09.061.2019306123456.hdf", "MOD11A1.A2019305.h14v09.061", "Terra", (14, 9)),
        ("MYD021KM.A2019305.0310.061.2019306123456.hdf", "MYD021KM.A2019305.0310.061", "Aqua", None),
        ("VNP13A2.A2019305.h35v08.001.2019321000000.h5", "VNP13A2.A2019305.h35v08.001", "Suomi-NPP", (35, 8)),
        ("LC82320832016040LGN00_MTL.txt", "LC82320832016040", "Landsat-8", None),
        ("LE07_L2SP_042034_20170616_20200903_02_T1_MTL.txt", "LE07_L2SP_042034_20170616_02", "Landsat-7", None),
    ],
)
def test_names_of_granules(name, ident, platform, tile):
    found = read_name(name)
    assert (found.ident, found.platform, found.tile) == (ident, platform, tile)
    assert read_name(f"x{name}") is None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 35), st.integers(0, 17), st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_a_sinusoidal_tile_lies_in_its_box(h, v, fx, fy):
    """The inverse projection, by PROJ, of any point of a tile that is on the globe lies in the box."""
    import pyproj

    size = 2 * math.pi * SPHERE_M / 36
    x, y = (h - 18 + fx) * size, (9 - v - fy) * size
    lon, lat = pyproj.Proj(f"+proj=sinu +R={SPHERE_M} +units=m")(x, y, inverse=True)
    on_globe = abs(y) <= math.pi / 2 * SPHERE_M and abs(x) < math.pi * SPHERE_M * math.cos(y / SPHERE_M) - 1.0
    box = tile_box(h, v)
    if on_globe:
        assert box is not None
        assert box[0] - 1e-6 <= lon <= box[2] + 1e-6
        assert box[1] - 1e-6 <= lat <= box[3] + 1e-6


def test_the_tiles_together_are_the_globe():
    boxes = [b for h in range(36) for v in range(18) if (b := tile_box(h, v))]
    assert len(boxes) == 460  # as the grid's own description counts them
    assert min(b[0] for b in boxes) == -180
    assert max(b[3] for b in boxes) == 90


@pytest.mark.parametrize("tile", ["MOD10A2.A2022033.h09v05.061.2022042050729.hdf", "MOD11A1.hdf"])
def test_real_tiles_say_where_they_are_by_name_and_by_metadata(stock, shared, tmp_path, tile):
    pytest.importorskip("pyhdf")
    (tmp_path / "in").mkdir()
    shutil.copy(shared / "data" / "tiles" / tile, tmp_path / "in" / tile)
    assert stock.ingest(tmp_path / "in").damaged == {}
    (item,) = stock.search()
    h, v = (9, 5) if "h09v05" in tile else (14, 9)
    assert item.bbox == pytest.approx(tile_box(h, v), abs=1e-6)
    assert item.sensor == "MODIS"
    assert item.quality == "good"


texts = st.text(st.characters(codec="utf-8", exclude_characters=",\x00", exclude_categories=["Cs"]), max_size=8)
times = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@settings(max_examples=100, deadline=None)
@given(
    ident=texts.filter(bool),
    words=st.fixed_dictionaries(dict.fromkeys(("collection", "product", "grid", "sensor", "quality", "recipe"), texts)),
    box=st.none() | st.sampled_from([(-180.0, -90.0, 180.0, 90.0), (170.0, -5.0, -170.0, 5.0), (1.5, 2.0, 3.0, 4.0)]),
    span=st.none() | st.tuples(times, times).map(sorted),
    kind=st.sampled_from(["source", "interim", "product"]),
    inputs=st.dictionaries(texts.filter(bool), texts, max_size=3),
    created=times,
    size=st.integers(0, 2**40),
)
def test_an_item_goes_through_stac_and_comes_back(ident, words, box, span, kind, inputs, created, size):
    start, end = span or (None, None)
    item = Item(
        id=ident, bbox=box, start=start, end=end, kind=kind, inputs=inputs, created=created, size=size,
        path="/data/a b.nc", digest="ff", revision=3, properties={"eo:cloud_cover": 2.5}, **words,
    )  # fmt: skip
    through = pystac.Item.from_dict(json.loads(json.dumps(to_stac(item).to_dict())))
    assert from_stac(through.to_dict()) == item


def test_regions_are_found_by_any_of_their_names_and_are_boxes():
    assert find_region("new_zealand") is find_region("NZL")
    for region in regions().values():
        west, south, east, north = region.box
        assert -180 <= west <= 180
        assert -180 <= east <= 180
        assert -90 <= south < north <= 90
    # Capitals lie in their countries.
    for country, (lon, lat) in {"France": (2.35, 48.86), "CHN": (116.4, 39.9), "Fiji": (178.4, -18.1)}.items():
        assert Item(id="x", bbox=find_region(country).box).bbox[1] <= lat <= find_region(country).box[3]
        with Inventory.open(":memory:") as stock:
            stock.add([Item(id="capital", bbox=(lon, lat, lon, lat))])
            assert stock.search(region=country)
