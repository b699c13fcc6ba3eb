"""What a file of any known format is: one item from its headers, or the reason why it is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.inventory.boxes import box_of, wrap
from pipshpc.inventory.granules import read_name, tile_box
from pipshpc.inventory.item import Bounds, as_time, path_id

HDF5, HDF4, GRIB, CLASSIC = b"\x89HDF\r\n\x1a\n", b"\x0e\x03\x13\x01", b"GRIB", b"CDF"
TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
ENDINGS = {
    ".grb",
    ".grib",
    ".grb2",
    ".grib2",
    ".nc",
    ".nc4",
    ".cdf",
    ".h5",
    ".he5",
    ".hdf5",
    ".hdf",
    ".he4",
    ".tif",
    ".tiff",
}
EDGE_POINTS = 33
Facts = dict[str, Any]  # fields of an item


def describe_file(path: Path) -> Facts:
    """Return the fields of the item of a source file, from its name and headers.

    Raises
    ------
    InputError
        Where the file is empty, cut short, damaged, or of no known format.
    SiteError
        Where the library that reads its format is not installed.
    """
    facts: Facts = {"id": path_id(path), "collection": path.parent.name, "kind": "source", "properties": {}}
    named = read_name(path.name)
    if named is not None:
        facts |= {
            "id": named.ident, "collection": named.collection, "sensor": named.sensor, "platform": named.platform,
            "start": named.start, "end": named.end,
        }  # fmt: skip
        if named.tile is not None:
            facts["bbox"] = tile_box(*named.tile)
            facts["grid"] = "sinusoidal"
            facts["properties"]["modis:tile"] = "h{:02}v{:02}".format(*named.tile)
    read, label = _reader(path)
    found = read(path)
    properties = {**facts.pop("properties"), **found.pop("properties", {}), "format": label}
    if named is not None and named.tile is not None:
        found.pop("bbox", None)  # that of the tile is exact
    return facts | {k: v for k, v in found.items() if v not in (None, "")} | {"properties": properties}


def _reader(path: Path) -> tuple[Callable[[Path], Facts], str]:
    """Return what reads a file, by its first bytes, and the name of its format."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise InputError(f"{path}: is empty; get the file again")
    if head.startswith(HDF5):
        return _hdf5, "HDF5"
    if head.startswith(HDF4):
        from pipshpc.inventory.eos import describe_hdf4

        return describe_hdf4, "HDF4"
    if head.startswith(GRIB):
        return _gridded, "GRIB"
    if head.startswith(CLASSIC):
        return _gridded, "netCDF-3"
    if head.startswith(TIFF):
        return _tiff, "GeoTIFF"
    kinds = "GRIB, netCDF, HDF4, HDF5 or GeoTIFF"
    raise InputError(f"{path}: starts with {head[:8]!r}, which is not {kinds}; get the file again or move it away")


def _hdf5(path: Path) -> Facts:
    """Read HDF-EOS5 by its metadata, and all else as CF."""
    from pipshpc.dataset import open_hdf5, plain
    from pipshpc.inventory.eos import read_metadata

    with open_hdf5(path) as handle:
        attributes = {name: plain(handle.attrs[name]) for name in handle.attrs}
        eos = handle.get("HDFEOS INFORMATION")
        texts = {name: str(plain(eos[name][()])) for name in eos if "Metadata" in name} if eos is not None else {}
    facts = read_metadata(texts) if texts else {}
    if not facts.get("bbox"):
        gridded = _gridded(path)
        facts = {**gridded, **{k: v for k, v in facts.items() if v not in (None, {}, "")}}
    for field, value in _from_attributes(attributes).items():
        if not facts.get(field):
            facts[field] = value
    return facts


def _from_attributes(attributes: dict[str, Any]) -> Facts:
    """Return what attributes of the discovery conventions (ACDD) and of VIIRS files say."""
    facts: Facts = {}
    names = ("lon_min", "lat_min", "lon_max", "lat_max")
    for keys in (
        tuple(f"geospatial_{n}" for n in names),
        ("WestBoundingCoordinate", "SouthBoundingCoordinate", "EastBoundingCoordinate", "NorthBoundingCoordinate"),
    ):
        if all(k in attributes for k in keys):
            west, south, east, north = (float(attributes[k]) for k in keys)
            facts["bbox"] = _box(west, south, east, north)
    for first, last in (
        ("time_coverage_start", "time_coverage_end"),
        ("StartTime", "EndTime"),
        ("PGE_StartTime", "PGE_EndTime"),
    ):
        if first in attributes and last in attributes:
            facts["start"], facts["end"] = (as_time(str(attributes[k]).strip()) for k in (first, last))
            break
    for field, keys in {
        "platform": ("platform", "PlatformShortName", "SatelliteInstrument"),
        "sensor": ("instrument", "InstrumentShortname"),
    }.items():
        word = next((str(attributes[k]) for k in keys if k in attributes), "")
        if word.strip():
            facts[field] = word.strip()
    return facts


def _gridded(path: Path) -> Facts:
    """Read grid, times and quantities of a file with the readers of forcing."""
    from pipshpc.source.cf import CfReader
    from pipshpc.source.files import open_reader
    from pipshpc.source.names import quantities

    reader = open_reader(path)
    boxes: list[Bounds] = []
    times: list[npt.NDArray[np.datetime64]] = []
    names: list[str] = []
    try:
        reader.validate()
        for name, quantity in quantities().items():
            try:
                finds = reader.find(quantity, None)
            except InputError:
                continue  # of two grids, or on axes that are not understood: not what this looks for
            for found in finds[:1]:
                names.append(name)
                box = grid_box(found.grid)
                if box is not None and box not in boxes:
                    boxes.append(box)
                if found.times is not None:
                    times.append(found.times)
        native = reader.inventory()
        # Quantities that no campaign takes as forcing still have a place and a time.
        for grid, moments in reader.extents() if isinstance(reader, CfReader) and not boxes else ():
            box = grid_box(grid) if grid is not None else None
            boxes += [box] if box is not None else []
            times += [moments] if moments is not None else []
    finally:
        reader.close()
    properties: Facts = {"variables": names or native[:40]}
    return {"bbox": max(boxes, key=_area, default=None), "properties": properties, **_span(times)}


def _span(times: list[npt.NDArray[np.datetime64]]) -> Facts:
    """Return start and end of some times: up to where the next one would be."""
    if not times:
        return {}
    joined = np.unique(np.concatenate([t.astype("datetime64[s]") for t in times]))
    step = np.diff(joined).min() if joined.size > 1 else np.timedelta64(0, "s")
    start, end = (int(t.astype(np.int64)) for t in (joined[0], joined[-1] + step))
    return {"start": datetime.fromtimestamp(start, UTC), "end": datetime.fromtimestamp(end, UTC)}


def grid_box(grid: Any) -> Bounds | None:
    """Return the box around a `SourceGrid`, in degrees."""
    south, north, west, east = grid.edges
    if grid.crs is None:
        return _box(west, south, east, north)
    return projected_box(west, south, east, north, grid.crs)


def projected_box(west: float, south: float, east: float, north: float, crs: Any) -> Bounds | None:
    """Return the box around a rectangle of a projection, by points along its edges."""
    import pyproj

    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    along = np.linspace(0.0, 1.0, EDGE_POINTS)
    x, y = west + along * (east - west), south + along * (north - south)
    full = np.full(EDGE_POINTS, 1.0)
    lon, lat = to_degrees.transform(
        np.concatenate([x, x, west * full, east * full]), np.concatenate([south * full, north * full, y, y])
    )
    known = np.isfinite(lon) & np.isfinite(lat)
    if not known.any():
        return None
    return box_of(lon[known].tolist(), np.clip(lat[known], -90, 90).tolist())


def _box(west: float, south: float, east: float, north: float) -> Bounds | None:
    if not all(np.isfinite(v) for v in (west, south, east, north)) or south > north:
        return None
    south, north = max(south, -90.0), min(north, 90.0)
    if east - west >= 360.0 - 1e-3:  # single precision leaves such gaps
        return -180.0, south, 180.0, north
    # An edge that is on the date line belongs to the side that the box is on.
    low, high = wrap(west), wrap(east, upper=True)
    return (-180.0 if low == 180.0 else low), south, high, north


def _area(box: Bounds) -> float:
    west, south, east, north = box
    return (east - west + (360.0 if west > east else 0.0)) * (north - south)


def _tiff(path: Path) -> Facts:
    """Read place and time of a GeoTIFF; all of its last strip or tile has to be there."""
    from pipshpc.granule import need_package

    rasterio = need_package("rasterio", "rasterio")
    try:
        with rasterio.open(path) as file:
            if file.crs is None:
                raise InputError(f"{path}: has no coordinate system; a GeoTIFF is wanted")
            bounds, tags, bands = file.bounds, file.tags(), [d or "" for d in file.descriptions]
            crs, shape = file.crs, file.shape
            rows = (shape[0] - 1, shape[0]), (shape[1] - 1, shape[1])
            file.read(1, window=rows)
    except rasterio.errors.RasterioError as error:
        raise InputError(f"{path}: damaged GeoTIFF: {error}; get the file again") from error
    box = (
        _box(bounds.left, bounds.bottom, bounds.right, bounds.top)
        if crs.is_geographic
        else projected_box(bounds.left, bounds.bottom, bounds.right, bounds.top, crs.to_wkt())
    )
    facts: Facts = {"bbox": box, "properties": {"proj:shape": list(shape), "bands": len(bands)}}
    stamp = re.fullmatch(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", str(tags.get("TIFFTAG_DATETIME", "")))
    return facts | (_day_of(path.name) if stamp is None else _instant(stamp))


def _instant(stamp: re.Match[str]) -> Facts:
    try:
        year, month, day, hour, minute, second = (int(part) for part in stamp.groups())
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return {}
    return {"start": time, "end": time}


def _day_of(name: str) -> Facts:
    """Return the day in the name of a file: 20190701, 2019-07-01 or A2019182."""
    day = None
    if match := re.search(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?([0-2]\d|3[01])(?!\d)", name):
        try:
            day = datetime(int(match[1]), int(match[2]), int(match[3]), tzinfo=UTC)
        except ValueError:
            return {}
    elif match := re.search(r"A((?:19|20)\d\d)([0-3]\d\d)(?!\d)", name):
        day = datetime(int(match[1]), 1, 1, tzinfo=UTC) + timedelta(days=int(match[2]) - 1)
    return {"start": day, "end": day + timedelta(days=1)} if day else {}
