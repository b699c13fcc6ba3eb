"""Items of the inventory as STAC items, and STAC items as items of the inventory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import msgspec

from pipshpc.catalogue import ASSET, footprint, item_path
from pipshpc.errors import InputError
from pipshpc.inventory.boxes import box_of
from pipshpc.inventory.item import Bounds, Item, as_time, path_id
from pipshpc.record import INPUTS, STACK, STATICS, TASK

if TYPE_CHECKING:
    import pystac

KEPT = ("pipshpc:algorithm", "pipshpc:product_version", "pipshpc:task", STACK)
OWN = "pipshpc:item"  # what STAC has no word for
LONG = ("pipshpc:lineage", "processing:lineage", TASK, INPUTS, STATICS)  # stays beside the file
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"


def static_id(name: str) -> str:
    """Return the id of a static field."""
    return f"static.{name}"


def read_stac(path: Path) -> Item:
    """Return the item of a STAC file: of one of our products, or of anybody else's data.

    Raises
    ------
    InputError
        Where it is no STAC item, or, for a product, the file beside it is not the one that it tells of.
    """
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: is not JSON ({error}); get the file again") from error
    if not is_stac(raw):
        raise InputError(f"{path}: is not a STAC item; 'type: Feature' and 'stac_version' are wanted")
    try:
        return from_stac(raw, path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not a STAC item that can be used ({error!r}); make it again") from error


def is_stac(raw: Any) -> bool:
    """Say whether decoded JSON is a STAC item."""
    return isinstance(raw, dict) and raw.get("type") == "Feature" and "stac_version" in raw


def from_stac(raw: Mapping[str, Any], path: Path | None = None) -> Item:
    """Return an item from the dict of a STAC item that lies at `path`."""
    properties = dict(raw["properties"])
    data = _data_path(raw, path)
    if "pipshpc:digest" in properties:
        return _from_product(raw, properties, Path(data))
    start, end = _period(properties)
    own = properties.pop(OWN, {})
    instruments = properties.pop("instruments", None) or [""]
    checksum = _asset(raw).get("file:checksum", "")
    return Item(
        id=raw["id"],
        collection=raw.get("collection") or "",
        kind=own.get("kind", "source"),
        path=data,
        digest=own.get("digest", checksum),
        bbox=_bbox(raw),
        start=start,
        end=end,
        product=own.get("product", ""),
        grid=own.get("grid", ""),
        sensor=",".join(instruments),
        platform=properties.pop("platform", None) or "",
        quality=own.get("quality", ""),
        recipe=own.get("recipe", ""),
        size=int(_asset(raw).get("file:size", 0)),
        properties={k: v for k, v in properties.items() if k not in ("datetime", "created", "version")},
        inputs=own.get("inputs", {}),
        created=_time(properties.get("created")),
        revision=int(own.get("revision", 0)),
        withdrawn=_time(own.get("withdrawn")),
    )


def _from_product(raw: Mapping[str, Any], properties: Mapping[str, Any], data: Path) -> Item:
    """Return the item of a product file of our own, which must be as long as its STAC item says."""
    told, found = int(raw["assets"][ASSET]["file:size"]), data.stat().st_size if data.is_file() else -1
    if told != found:
        what = f"has {found} bytes" if found >= 0 else "is not there"
        raise InputError(f"{data}: {what}, its STAC item tells of {told}; make the file again")
    product = str(properties["pipshpc:product"])
    step = abs(float(properties["proj:transform"][0]))
    start, end = _period(dict(properties))
    inputs = {path_id(path): digest for path, digest in properties.get(INPUTS, {}).items()}
    inputs |= {static_id(name): digest for name, digest in properties.get(STATICS, {}).items()}
    kept = {name: properties[name] for name in KEPT if name in properties}
    return Item(
        id=str(properties.get("pipshpc:id") or path_id(data)),
        collection=f"{product}_{step:g}deg",
        kind="product",
        path=os.path.abspath(data),  # noqa: PTH100
        digest=str(properties["pipshpc:digest"]),
        bbox=_bbox(raw),
        start=start,
        end=end,
        product=product,
        grid=f"{step:g}deg",
        quality="good",
        recipe=str(properties.get("pipshpc:task", "")),
        size=found,
        properties=kept | {"pipshpc:run": properties.get("pipshpc:run", {})},
        inputs=inputs,
        created=_time(properties.get("created")),
        withdrawn=_time(properties.get("pipshpc:withdrawn")),
    )


def _asset(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    assets = raw.get("assets") or {}
    return assets.get(ASSET) or next((a for a in assets.values() if "data" in (a.get("roles") or ())), {})


def _data_path(raw: Mapping[str, Any], path: Path | None) -> str:
    """Return where the data of an item are: an absolute path, or the address that it gives."""
    href = _asset(raw).get("href", "")
    parsed = urlparse(href)
    if parsed.scheme == "file":
        return unquote(parsed.path)
    if parsed.scheme or not href:
        return str(href)
    return str(os.path.abspath((path.parent if path else Path()) / href))  # noqa: PTH100


def _bbox(raw: Mapping[str, Any]) -> Bounds | None:
    box = raw.get("bbox")
    if box:
        west, south, east, north = (float(v) for v in (box if len(box) == 4 else (*box[:2], *box[3:5])))
        return west, south, east, north
    points = list(_points((raw.get("geometry") or {}).get("coordinates") or []))
    return box_of([p[0] for p in points], [p[1] for p in points]) if points else None


def _points(nested: Any) -> Any:
    if nested and isinstance(nested[0], int | float):
        yield nested
    else:
        for part in nested:
            yield from _points(part)


def _time(text: str | None) -> datetime | None:
    return as_time(text) if text else None


def _period(properties: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    start, end = _time(properties.pop("start_datetime", None)), _time(properties.pop("end_datetime", None))
    moment = _time(properties.pop("datetime", None))
    if properties.get(OWN, {}).get("timeless"):
        return None, None
    return (start, end) if start and end else (moment, moment)


def to_stac(item: Item) -> pystac.Item:
    """Return an item as pystac has it; `from_stac` gives the same item back.

    Inputs become links of the relation ``derived_from``.
    """
    import pystac

    bbox, geometry = (None, None) if item.bbox is None else footprint(_unrolled(item.bbox))
    own = {name: getattr(item, name) for name in ("kind", "digest", "product", "grid", "quality", "recipe", "revision")}
    own = {key: value for key, value in own.items() if value} | ({"inputs": dict(item.inputs)} if item.inputs else {})
    if item.withdrawn:
        own["withdrawn"] = _iso(item.withdrawn)
    if item.start is None:
        own["timeless"] = True
    properties: dict[str, Any] = {**item.properties, OWN: own}
    if item.platform:
        properties["platform"] = item.platform
    if item.sensor:
        properties["instruments"] = item.sensor.split(",")
    if item.created:
        properties["created"] = _iso(item.created)
    instant = item.start == item.end
    made = pystac.Item(
        id=item.id,
        geometry=geometry,
        bbox=list(item.bbox) if item.bbox else bbox,
        # An item has to have a time; one without is "timeless" and dated by when it was made.
        datetime=(item.start or item.created or as_time("1970-01-01")) if instant else None,
        start_datetime=None if instant else item.start,
        end_datetime=None if instant else item.end,
        properties=properties,
        stac_extensions=[FILE_EXTENSION] if item.size else [],
        collection=item.collection or None,
    )
    if item.path:
        extra = {"file:size": item.size} if item.size else {}
        made.add_asset(ASSET, pystac.Asset(item.path, roles=["data"], extra_fields=extra))
    for parent in item.inputs:
        made.add_link(pystac.Link("derived_from", f"./{parent}.json", title=parent))
    return made


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _unrolled(box: Bounds) -> Bounds:
    west, south, east, north = box
    return west, south, east + 360.0 if west > east else east, north


def sidecar(path: str | Path) -> dict[str, Any]:
    """Return the STAC item beside a product file as it stands there; empty where there is none."""
    try:
        raw = msgspec.json.decode(item_path(path).read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return raw if is_stac(raw) else {}
