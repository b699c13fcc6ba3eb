"""STAC items: the record that a product file is whole, where it lies in space and time, and how it was made.

The item is written last. Whoever finds one with the right task and size
beside a file need not open the file to know that it is done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipshpc.errors import InputError, OutputError

if TYPE_CHECKING:
    import numpy as np
    import pystac

    from pipshpc.dataset import Description

ASSET = "data"
MEDIA_TYPE = "application/x-netcdf"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
# Multihash head of XXH3 with 128 bits: code 0xb3e4 as a varint, then 16 as the number of bytes.
MULTIHASH_XXH3_128 = "e4e70210"

Bounds = tuple[float, float, float, float]


def item_path(path: str | Path) -> Path:
    """Return where the item of a product file is: beside it, with the ending ``.json``."""
    return Path(path).with_suffix(".json")


def is_complete(path: str | Path, task_id: str) -> bool:
    """Say whether a product file is published as the result of a task: item there, task and size equal.

    It reads the item only, so thousands of files can be asked about at start-up.
    """
    path = Path(path)
    try:
        item = msgspec.json.decode(item_path(path).read_bytes())
        told = item["properties"]["pipshpc:task"], item["assets"][ASSET]["file:size"]
        return bool(told == (task_id, path.stat().st_size))
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return False


def publish(
    path: str | Path,
    run: Mapping[str, Any] | None = None,
    content: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write the item of a finished product file, whole or not at all, and return its path.

    Parameters
    ----------
    path : product file under its final name
    run : facts of this run, for example ranks, seconds, host; they stay out of the file itself
    content : content digest, where it is known already; it takes one reading of the file otherwise
    record : further properties of the item, see `pipshpc.record`

    Raises
    ------
    InputError
        Where the file cannot be read.
    OutputError
        Where the item cannot be written.
    """
    item = make_item(path, run, content, record)
    target = item_path(path)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    text = msgspec.json.format(msgspec.json.encode(item.to_dict(include_self_link=False)), indent=2)
    try:
        with part.open("wb") as stream:
            stream.write(text + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written ({error}); check the folder and its free space") from error
    return target


def read_item(path: str | Path) -> pystac.Item:
    """Return the item of a product file; `path` is the file or the item.

    Raises
    ------
    InputError
        Where there is no item, or it is not one.
    """
    import pystac

    target = item_path(path)
    try:
        return pystac.Item.from_dict(msgspec.json.decode(target.read_bytes()))
    except OSError as error:
        raise InputError(
            f"{target}: no catalogue item ({error.strerror}); the file beside it is not finished"
        ) from error
    except (
        msgspec.DecodeError,
        pystac.STACError,
        pystac.STACTypeError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise InputError(f"{target}: is not a STAC item ({error}); remove it and run the campaign again") from error


def make_item(
    path: str | Path,
    run: Mapping[str, Any] | None = None,
    content: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> pystac.Item:
    """Describe a product file as a STAC item; see `publish` for the parameters."""
    import pystac
    from pystac.extensions.file import SCHEMA_URI as FILE
    from pystac.extensions.projection import SCHEMA_URI as PROJECTION

    from pipshpc.dataset import describe
    from pipshpc.digest import content_digest

    about = describe(path)
    facts = dict(run or {})
    created = facts.pop("created", None) or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    properties = {
        "title": f"{about.long_name}, {about.path.stem}",
        "created": created,
        **_origin(about),
        "pipshpc:digest": content or content_digest(path),
        **_projection(about),
        **(record or {}),
    }
    if facts:
        properties["pipshpc:run"] = facts
    bbox, geometry = footprint(about.bounds)
    item = pystac.Item(
        id=about.path.stem,
        geometry=geometry,
        bbox=bbox,
        datetime=None,
        start_datetime=_as_datetime(about.windows[0, 0]),
        end_datetime=_as_datetime(about.windows[-1, 1]),
        properties=properties,
        stac_extensions=[FILE, PROJECTION, PROCESSING],
    )
    item.add_asset(ASSET, _data_asset(about))
    picture = about.path.with_suffix(".png")
    if picture.is_file():
        item.add_asset(
            "overview", pystac.Asset(f"./{picture.name}", "Quicklook", media_type="image/png", roles=["overview"])
        )
    return item


def _origin(about: Description) -> dict[str, Any]:
    """Return what made the file, from its own attributes."""
    from pipshpc.prose import tell_lineage

    product = str(about.fact("pipshpc_product", "product") or about.variable)
    cards = about.lineage.get("cards")
    version = cards.get(product) if isinstance(cards, dict) else about.fact("product_version")
    found = {
        "pipshpc:product": product,
        "pipshpc:product_version": version,
        "pipshpc:algorithm": about.fact("pipshpc_algorithm", "algorithm"),
        "pipshpc:task": about.fact("pipshpc_task", "task"),
        "pipshpc:stack": about.fact("pipshpc_stack"),
        "pipshpc:lineage": about.lineage,
        "processing:lineage": " ".join(tell_lineage(about)),
        "processing:software": {"pipshpc": str(about.fact("pipshpc"))} if about.fact("pipshpc") else None,
    }
    return {key: value for key, value in found.items() if value not in (None, "", {})}


def _projection(about: Description) -> dict[str, Any]:
    west, south, east, north = about.edges
    _, rows, columns = about.shape
    dx, dy = round((east - west) / columns, 12), round((north - south) / rows, 12)
    return {
        "proj:code": f"EPSG:{about.epsg or 4326}",
        "proj:shape": [rows, columns],
        "proj:bbox": [west, south, east, north],
        "proj:transform": [dx, 0.0, west, 0.0, -dy, north],
    }


def _data_asset(about: Description) -> pystac.Asset:
    import pystac

    from pipshpc.digest import file_digest

    band: dict[str, Any] = {"name": about.variable, "description": about.long_name, "unit": about.units}
    if about.fill is not None:
        band["nodata"] = about.fill if about.fill == about.fill else "nan"
    return pystac.Asset(
        href=f"./{about.path.name}",
        title=about.long_name,
        media_type=MEDIA_TYPE,
        roles=["data"],
        extra_fields={
            "file:size": about.path.stat().st_size,
            "file:checksum": MULTIHASH_XXH3_128 + file_digest(about.path),
            "bands": [band],
        },
    )


def _as_datetime(time: np.datetime64) -> datetime:
    found = time.astype("datetime64[s]").item()
    assert isinstance(found, datetime)
    return found.replace(tzinfo=UTC)


def footprint(bounds: Bounds) -> tuple[list[float], dict[str, Any]]:
    """Return bounding box and geometry (GeoJSON, RFC 7946) of a box whose east may pass 180.

    A box across the date line has a bounding box with west > east and a
    geometry of two parts, one on each side.
    """
    west, south, east, north = bounds
    if east - west >= 360.0:
        return [-180.0, south, 180.0, north], _polygons((-180.0, 180.0), south=south, north=north)
    turn = 360.0 * ((west + 180.0) // 360.0)
    west, east = west - turn, east - turn
    if east <= 180.0:
        return [west, south, east, north], _polygons((west, east), south=south, north=north)
    sides = (west, 180.0), (-180.0, east - 360.0)
    return [west, south, east - 360.0, north], _polygons(*sides, south=south, north=north)


def _polygons(*spans: tuple[float, float], south: float, north: float) -> dict[str, Any]:
    """Return one polygon per span of longitudes, counter-clockwise."""
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in spans]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}
