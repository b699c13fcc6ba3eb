import itertools
import json
import socket

import pytest

from pipshpc import catalogue
from pipshpc.digest import content_digest, file_digest
from pipshpc.errors import InputError, OutputError

TASK = "0123456789abcdef"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the catalogue asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_published_item_reads_back(product_file):
    run = {"ranks": 2, "seconds": 3.5, "host": "node-1", "created": "2026-01-02T03:04:05Z"}
    path = catalogue.publish(product_file, run)
    assert path == product_file.with_suffix(".json")
    item = catalogue.read_item(product_file)
    assert item.id == product_file.stem
    assert item.bbox == [-180, -90, 180, 90]
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2006-04-01T00:00:00Z"
    assert item.properties["end_datetime"] == "2006-04-02T00:00:00Z"
    assert item.properties["pipshpc:product"] == "rlds"
    assert item.properties["pipshpc:product_version"] == 1
    assert item.properties["pipshpc:algorithm"] == "prata1996-um1975"
    assert item.properties["pipshpc:task"] == TASK
    assert item.properties["pipshpc:digest"] == content_digest(product_file)
    assert item.properties["pipshpc:run"] == {"ranks": 2, "seconds": 3.5, "host": "node-1"}
    assert item.properties["created"] == "2026-01-02T03:04:05Z"
    assert item.properties["proj:shape"] == [180, 360]
    assert item.properties["proj:transform"] == [1.0, 0.0, -180.0, 0.0, -1.0, 90.0]
    asset = item.assets["data"]
    assert asset.href == f"./{product_file.name}"
    assert asset.media_type == "application/x-netcdf"
    assert asset.roles == ["data"]
    assert asset.extra_fields["file:size"] == product_file.stat().st_size
    assert asset.extra_fields["file:checksum"] == "e4e70210" + file_digest(product_file)
    assert asset.extra_fields["bands"][0]["unit"] == "W m-2"


def test_item_follows_the_stac_schema(product_file, needs):
    needs("jsonschema")
    import pystac
    from pystac.validation import JsonSchemaSTACValidator

    item = json.loads(catalogue.publish(product_file).read_text())
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])


def test_an_item_is_not_touched_by_what_the_run_was(product_file):
    before = product_file.read_bytes()
    catalogue.publish(product_file, {"ranks": 1})
    catalogue.publish(product_file, {"ranks": 4})
    assert product_file.read_bytes() == before
    assert catalogue.read_item(product_file).properties["pipshpc:run"] == {"ranks": 4}
    assert not list(product_file.parent.glob("*.part"))


def test_complete_means_item_task_and_size(product_file):
    assert not catalogue.is_complete(product_file, TASK)
    item = catalogue.publish(product_file)
    assert catalogue.is_complete(product_file, TASK)
    assert not catalogue.is_complete(product_file, "another")
    whole = product_file.read_bytes()
    product_file.write_bytes(whole[:-1])
    assert not catalogue.is_complete(product_file, TASK)
    product_file.unlink()
    assert not catalogue.is_complete(product_file, TASK)
    product_file.write_bytes(whole)
    assert catalogue.is_complete(product_file, TASK)
    for damage in ("", "[]", "{}", item.read_text()[:200]):
        item.write_text(damage)
        assert not catalogue.is_complete(product_file, TASK)


@pytest.mark.parametrize(
    ("bounds", "bbox", "kind"),
    [
        ((-180, -90, 180, 90), [-180, -90, 180, 90], "Polygon"),
        ((165, -50, 190, -30), [165, -50, -170, -30], "MultiPolygon"),
        ((10, 20, 30, 40), [10, 20, 30, 40], "Polygon"),
        ((170, -10, 180, 10), [170, -10, 180, 10], "Polygon"),
        ((182, -10, 190, 10), [-178, -10, -170, 10], "Polygon"),
        ((0, -90, 360, 90), [-180, -90, 180, 90], "Polygon"),
    ],
)
def test_footprint_splits_at_the_date_line(bounds, bbox, kind):
    found, geometry = catalogue.footprint(bounds)
    assert found == bbox
    assert geometry["type"] == kind
    polygons = geometry["coordinates"] if kind == "MultiPolygon" else [geometry["coordinates"]]
    area = 0.0
    for ring in (p[0] for p in polygons):
        assert ring[0] == ring[-1]
        assert all(-180 <= x <= 180 for x, _ in ring)
        signed = sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(ring)) / 2
        assert signed > 0  # counter-clockwise
        area += signed
    west, south, east, north = bounds
    assert area == pytest.approx((east - west) * (north - south))


def test_box_across_the_date_line(sample, tmp_path):
    path = sample(tmp_path / "rlds_box.nc", box=(165, -50, 190, -30), step=0.5, windows=2)
    item = json.loads(catalogue.publish(path).read_text())
    assert item["bbox"] == [165.0, -50.0, -170.0, -30.0]
    assert item["properties"]["proj:bbox"] == [165.0, -50.0, 190.0, -30.0]


def test_quicklook_is_an_asset_where_there_is_one(product_file):
    product_file.with_suffix(".png").write_bytes(b"")
    catalogue.publish(product_file)
    assert catalogue.read_item(product_file).assets["overview"].media_type == "image/png"


def test_what_cannot_be_read_is_said(product_file):
    with pytest.raises(InputError, match="no catalogue item"):
        catalogue.read_item(product_file)
    catalogue.item_path(product_file).write_text('{"type": "Feature"}')
    with pytest.raises(InputError, match="not a STAC item"):
        catalogue.read_item(product_file)
    catalogue.item_path(product_file).unlink()
    catalogue.item_path(product_file).mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        catalogue.publish(product_file)
    assert not list(product_file.parent.glob("*.part"))
