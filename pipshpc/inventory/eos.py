"""HDF-EOS2 and -EOS5 granules, and Landsat's MTL files: place, time and quality from their metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipshpc.errors import InputError
from pipshpc.granule import MODIS_SPHERE, need_package, read_mtl
from pipshpc.inventory.boxes import box_of, wrap
from pipshpc.inventory.granules import read_name, sinusoidal_box
from pipshpc.inventory.item import Bounds, as_time

QUALITY = {"passed": "good", "suspect": "suspect", "failed": "bad"}
GOOD_IMAGE, FAIR_IMAGE = 7, 4  # of Landsat's marks from 0 to 9


def describe_hdf4(path: Path) -> dict[str, Any]:
    """Return the fields of the item of an HDF4 file; its data have to be there as far as one read tells.

    Raises
    ------
    InputError
        Where the file is damaged.
    """
    sd = need_package("pyhdf.SD", "pyhdf")
    try:
        file = sd.SD(str(path))
        try:
            attributes = file.attributes()
            names = list(file.datasets())
            for number in range(len(names)):
                dataset = file.select(number)
                shape = dataset.info()[2]
                shape = [shape] if isinstance(shape, int) else shape
                if all(shape):
                    # The last element: its part of the file has to be there and to decompress.
                    dataset.get(start=[n - 1 for n in shape], count=[1] * len(shape))
                dataset.endaccess()
        finally:
            file.end()
    except Exception as error:  # pyhdf's own error, whose class is not public
        raise InputError(f"{path}: damaged HDF4: {error}; get the file again") from error
    texts = {name: str(text) for name, text in attributes.items() if "etadata" in name}
    facts = read_metadata(texts)
    facts["properties"]["variables"] = names[:40]
    return facts


def read_metadata(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return place, time, quality and names from EOS metadata (ODL) of a granule.

    Parameters
    ----------
    texts : by name, for example ``CoreMetadata.0`` and ``StructMetadata.0``
    """
    text = "\n".join(texts.values())
    facts: dict[str, Any] = {"properties": {}, "bbox": _place(text)}
    first, last = ((_value(text, f"RANGE{e}DATE"), _value(text, f"RANGE{e}TIME")) for e in ("BEGINNING", "ENDING"))
    if first[0] and last[0]:
        start = as_time(f"{first[0]}T{first[1] or '00:00:00'}")
        end = as_time(f"{last[0]}T{last[1] or '23:59:59'}")
        # The last second of a day stands for its end, which is exclusive here.
        facts["start"], facts["end"] = start, end + timedelta(seconds=1) if end.second == 59 else end
    name, version = _value(text, "SHORTNAME"), _value(text, "VERSIONID")
    if name:
        facts["collection"] = f"{name}.{int(version):03}" if version.isdigit() else name
    granule = read_name(_value(text, "LOCALGRANULEID"))
    if granule is not None:
        facts |= {"id": granule.ident, "sensor": granule.sensor, "platform": granule.platform}
    facts["quality"] = QUALITY.get(_value(text, "AUTOMATICQUALITYFLAG").casefold(), "")
    if missing := _value(text, "QAPERCENTMISSINGDATA"):
        facts["properties"]["missing_percent"] = float(missing)
    return facts


def _value(text: str, name: str) -> str:
    """Return the value of an ODL object; empty where it is not there."""
    found = re.search(rf"OBJECT\s*=\s*{name}\b.*?VALUE\s*=\s*(.+?)\s*\n.*?END_OBJECT\s*=\s*{name}\b", text, re.S)
    return found[1].strip().strip('()"').strip() if found else ""


def _numbers(text: str, name: str) -> list[float]:
    return [float(v) for v in re.findall(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", _value(text, name))]


def _place(text: str) -> Bounds | None:
    """Return the box of a granule: of its grid, else of the polygon or rectangle that the metadata give."""
    corners = [re.search(rf"{n}=\(([-\d.eE+]+),([-\d.eE+]+)\)", text) for n in ("UpperLeftPointMtrs", "LowerRightMtrs")]
    if corners[0] and corners[1] and "GCTP_SNSOID" in text:
        (west, north), (east, south) = ([float(v) / MODIS_SPHERE for v in c.groups()] for c in corners if c)
        return sinusoidal_box(west, south, east - west, north - south)
    if corners[0] and corners[1] and "GCTP_GEO" in text:
        # Packed as degrees, minutes, seconds: DDDMMMSSS.SS
        (west, north), (east, south) = ([_packed(float(v)) for v in c.groups()] for c in corners if c)
        if east - west < 360:
            return wrap(west), south, wrap(east, upper=True), north
        return -180.0, south, 180.0, north
    lon, lat = _numbers(text, "GRINGPOINTLONGITUDE"), _numbers(text, "GRINGPOINTLATITUDE")
    if len(lon) == len(lat) and len(lon) > 2:
        return box_of(lon, lat)
    sides = [_numbers(text, f"{s}BOUNDINGCOORDINATE") for s in ("WEST", "SOUTH", "EAST", "NORTH")]
    if all(len(side) == 1 for side in sides):
        west, south, east, north = (side[0] for side in sides)
        return west, south, east, north
    return None


def _packed(value: float) -> float:
    sign, value = (-1.0 if value < 0 else 1.0), abs(value)
    degrees, rest = divmod(value, 1_000_000.0)
    minutes, seconds = divmod(rest, 1000.0)
    return sign * (degrees + minutes / 60 + seconds / 3600)


def scene_files(mtl: Path) -> list[Path]:
    """Return the files of a Landsat scene: its MTL file and all that begin with its name."""
    stem = mtl.name.removesuffix("_MTL.txt")
    return sorted(p for p in mtl.parent.iterdir() if p.name.startswith(stem) and p.is_file() and p.suffix != ".part")


def describe_scene(mtl: Path) -> dict[str, Any]:
    """Return the fields of the item of a Landsat scene from its MTL file.

    Raises
    ------
    InputError
        Where the MTL file lacks place or time, or a band that it names is not there.
    """
    about, stem = read_mtl(mtl), mtl.name.removesuffix("_MTL.txt")
    corners = [f"CORNER_{corner}_{axis}_PRODUCT" for axis in ("LON", "LAT") for corner in ("UL", "UR", "LR", "LL")]
    clock = about.get("SCENE_CENTER_TIME", "").rstrip("Z")
    try:
        numbers = [float(about[key]) for key in corners]
        time = as_time(f"{about['DATE_ACQUIRED']}T{clock[:15]}")
    except (KeyError, ValueError) as error:
        raise InputError(f"{mtl}: says nothing of {error}; get the file again") from error
    named = read_name(about.get("LANDSAT_PRODUCT_ID", stem)) or read_name(stem)
    facts: dict[str, Any] = {
        "id": named.ident if named else stem,
        "collection": named.collection if named else "landsat",
        "sensor": about.get("SENSOR_ID", named.sensor if named else ""),
        "platform": about.get("SPACECRAFT_ID", "").replace("LANDSAT_", "Landsat-"),
        "bbox": box_of(numbers[:4], numbers[4:]),
        "start": time,
        "end": time,
        "grid": f"UTM {about['UTM_ZONE']}" if "UTM_ZONE" in about else "",
        "quality": _image_quality(about),
        "properties": {"format": "Landsat", "sun_elevation": _float(about.get("SUN_ELEVATION"))},
    }
    if "CLOUD_COVER" in about:
        facts["properties"]["eo:cloud_cover"] = _float(about["CLOUD_COVER"])
    return facts


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _image_quality(about: Mapping[str, str]) -> str:
    marks = [_float(about.get(key)) for key in ("IMAGE_QUALITY_OLI", "IMAGE_QUALITY_TIRS", "IMAGE_QUALITY")]
    told = [mark for mark in marks if mark is not None and mark >= 0]
    if not told:
        return ""
    return "good" if min(told) >= GOOD_IMAGE else "suspect" if min(told) >= FAIR_IMAGE else "bad"
