"""Satellite granules as named fields with units on a known grid: MOD11A1, MOD10A2 (HDF4), Landsat 8 (GeoTIFF).

Readers for looking at single granules with `pipshpc.compute`, and for
campaigns whose forcing they are (`pipshpc.source.granules`). They need
``pyhdf`` and ``rasterio``, which campaigns of forecast fields do not.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError, SiteError
from pipshpc.kernel import compute
from pipshpc.sourcegrid import SourceGrid

Float32Array = npt.NDArray[np.float32]

MODIS_SPHERE = 6371007.181
SNOW_CLASSES = {200: 1.0, 25: 0.0, 37: 0.0, 100: 0.0}  # snow; land, lake, lake ice without it
LANDSAT_BANDS = {2: "blue", 3: "green", 4: "red", 5: "nir", 6: "swir1", 7: "swir2"}
LANDSAT_THERMAL = {10: "bt11", 11: "bt12"}


@dataclass(frozen=True)
class Granule:
    """Fields of one granule: float32 (ny, nx), rows from south to north, NaN where missing.

    `units` holds the unit of each field, `scene` numbers that hold for all of
    it (angles in degrees, times in hours).
    """

    title: str
    time: np.datetime64
    grid: SourceGrid
    fields: dict[str, Float32Array]
    units: dict[str, str]
    scene: dict[str, float] = field(default_factory=dict)


def read_mod11a1(path: Path, worst_error_k: float = 3.0) -> Granule:
    """Read surface temperatures and emissivities of a MODIS tile.

    Parameters
    ----------
    path : MOD11A1 or MYD11A1, HDF-EOS2
    worst_error_k : pixels whose quality bits say a larger error of temperature (1, 2, 3 K, or more) are missing

    Returns
    -------
    Granule
        ts_day, ts_night in K; emis11, emis12 (bands 31 and 32); vza_day, vza_night in degrees, positive to one side;
        hour_day, hour_night in hours of local solar time.

    Raises
    ------
    InputError, SiteError
        A file that cannot be read or is something else; pyhdf missing.
    """
    with _open_hdf4(path) as file:
        return _mod11a1(file, path, worst_error_k)


def _mod11a1(file: Any, path: Path, worst_error_k: float) -> Granule:
    names = file.datasets()
    wanted = {"emis11": ("Emis_31", "1"), "emis12": ("Emis_32", "1")}
    for part in ("Day", "Night"):
        lower = part.lower()
        wanted |= {
            f"ts_{lower}": (f"LST_{part}_1km", "K"),
            f"hour_{lower}": (f"{part}_view_time", "h"),
            f"vza_{lower}": (f"{part}_view_angl", "degree"),
        }
    if missing := [native for native, _ in wanted.values() if native not in names]:
        raise InputError(f"{path} holds no {', '.join(missing)}; a MOD11A1 or MYD11A1 tile is wanted")
    fields = {name: _scaled(file.select(native)) for name, (native, _) in wanted.items()}
    for part in ("Day", "Night"):
        # Bits 0-1: 2 and 3 are not produced; bits 6-7: error up to 1, 2, 3 K, or more.
        quality = np.asarray(file.select(f"QC_{part}").get())[::-1]
        bad = ((quality & 3) > 1) | ((quality >> 6) + 1 > worst_error_k)
        fields[f"ts_{part.lower()}"][bad] = np.nan
    units = {name: unit for name, (_, unit) in wanted.items()}
    return Granule(path.name, _first_day(file, path), _sinusoidal(file, fields["ts_day"].shape, path), fields, units)


def read_mod10a2(path: Path) -> Granule:
    """Read the largest extent of snow of eight days from a MODIS tile.

    Returns
    -------
    Granule
        snowmax, 1 where snow was seen on some day, 0 where land or lake was clear without any; missing where it was
        always cloudy or dark, and on the sea. Its time is the first of the days.

    Raises
    ------
    InputError, SiteError
        As `read_mod11a1`.
    """
    with _open_hdf4(path) as file:
        if "Maximum_Snow_Extent" not in file.datasets():
            raise InputError(f"{path} holds no Maximum_Snow_Extent; a MOD10A2 or MYD10A2 tile is wanted")
        classes = np.asarray(file.select("Maximum_Snow_Extent").get())[::-1]
        values = np.full(classes.shape, np.nan, np.float32)
        for number, share in SNOW_CLASSES.items():
            values[classes == number] = share
        grid = _sinusoidal(file, values.shape, path)
        return Granule(path.name, _first_day(file, path), grid, {"snowmax": values}, {"snowmax": "1"})


def read_granule(path: Path, worst_error_k: float = 3.0) -> Granule:
    """Read a granule of any kind known here: a tile, or the MTL file of a Landsat scene.

    Raises
    ------
    InputError, SiteError
        A file that cannot be read or is something else; a package that reads it is missing.
    """
    if path.name.endswith("_MTL.txt"):
        return read_landsat8(path.parent)
    with path.open("rb") as file:
        head = file.read(4)
    if head != b"\x0e\x03\x13\x01":
        raise InputError(
            f"{path} is no granule that is known; MOD11A1, MYD11A1, MOD10A2, MYD10A2 (HDF4) and "
            "*_MTL.txt of Landsat 8 scenes are read"
        )
    with _open_hdf4(path) as opened:
        snow = "Maximum_Snow_Extent" in opened.datasets()
    return read_mod10a2(path) if snow else read_mod11a1(path, worst_error_k)


@contextmanager
def _open_hdf4(path: Path) -> Iterator[Any]:
    """Open an HDF4 file; what its library says while it is read becomes one sentence."""
    sd = need_package("pyhdf.SD", "pyhdf")
    error_class = need_package("pyhdf.error", "pyhdf").HDF4Error
    try:
        file = sd.SD(str(path))
        try:
            yield file
        finally:
            file.end()
    except error_class as error:
        raise InputError(
            f"{path} cannot be read as HDF4 ({error}); it is cut short or damaged, get it again"
        ) from error


def _first_day(file: Any, path: Path) -> np.datetime64:
    """Date of a tile's first day from its CoreMetadata."""
    text = file.attributes().get("CoreMetadata.0", "")
    date = re.search(r'OBJECT\s*=\s*RANGEBEGINNINGDATE.*?VALUE\s*=\s*"([\d-]+)"', text, re.S)
    if date is None:
        raise InputError(f"{path} does not say its date")
    return np.datetime64(date[1])


def _scaled(dataset: Any) -> Float32Array:
    """One dataset of a tile with its scale, offset and fill value, south up."""
    about = dataset.attributes()
    raw = np.asarray(dataset.get())[::-1]
    values = raw * np.float64(about.get("scale_factor", 1.0)) + np.float64(about.get("add_offset", 0.0))
    low, high = about.get("valid_range", [-np.inf, np.inf])
    # The view angle's range is one of stored numbers too.
    bad = (raw < low) | (raw > high) | (raw == about.get("_FillValue", None))
    return np.asarray(np.where(bad, np.nan, values), dtype=np.float32)


def _sinusoidal(file: Any, shape: tuple[int, ...], path: Path) -> SourceGrid:
    """Grid of a tile of MODIS' sinusoidal projection from its StructMetadata."""
    structure = file.attributes().get("StructMetadata.0", "")
    corners = [
        re.search(rf"{name}=\(([-\d.]+),([-\d.]+)\)", structure) for name in ("UpperLeftPointMtrs", "LowerRightMtrs")
    ]
    if "GCTP_SNSOID" not in structure or None in corners:
        raise InputError(f"{path} is not on MODIS' sinusoidal grid; tiles of it are wanted")
    (west, north), (east, south) = ([float(v) for v in c.groups()] for c in corners if c is not None)
    ny, nx = shape
    y = south + (np.arange(ny) + 0.5) * (north - south) / ny
    x = west + (np.arange(nx) + 0.5) * (east - west) / nx
    return SourceGrid(y, x, crs=f"+proj=sinu +R={MODIS_SPHERE} +units=m")


def read_landsat8(folder: Path) -> Granule:
    """Read a Landsat 8 scene: bands 2 to 7, 10 and 11, by the numbers of its MTL file.

    Returns
    -------
    Granule
        toar_blue ... toar_swir2 (reflectances outside the atmosphere), bt11, bt12 in K, and sr_blue ... sr_swir2
        where the folder holds surface reflectances too; `scene` has sza, saa in degrees and hour (UTC).

    Raises
    ------
    InputError, SiteError
        No MTL file, keys or bands missing, bands on different grids; rasterio missing.
    """
    texts = sorted(folder.glob("*_MTL.txt"))
    if len(texts) != 1:
        raise InputError(f"{folder} holds {len(texts)} files *_MTL.txt, wanted one")
    about = read_mtl(texts[0])
    stem = texts[0].name.removesuffix("_MTL.txt")
    scene = {"sza": 90.0 - _number(about, "SUN_ELEVATION"), "saa": _number(about, "SUN_AZIMUTH") % 360.0}
    grid = _geotiff(_band_file(folder, stem, "2"))[1]
    fields: dict[str, Float32Array] = {}
    for number, name in {**LANDSAT_BANDS, **LANDSAT_THERMAL}.items():
        counts, here = _geotiff(_band_file(folder, stem, str(number)))
        if here.shape != grid.shape or here.crs != grid.crs or here.x[0] != grid.x[0] or here.y[0] != grid.y[0]:
            raise InputError(f"band {number} in {folder} lies on another grid than band 2")
        if number in LANDSAT_THERMAL:
            fields[name] = _brightness_temperature(counts, about, number)
            continue
        mult, add = (_number(about, f"REFLECTANCE_{k}_BAND_{number}") for k in ("MULT", "ADD"))
        fields[f"toar_{name}"] = compute("toar", "counts", counts=counts, sza=scene["sza"], mult=mult, add=add)
        if (made := _band_file(folder, stem, str(number), "sr_")).exists():
            fields[f"sr_{name}"] = np.float32(1e-4) * _geotiff(made)[0]
    day = np.datetime64(about["DATE_ACQUIRED"])
    hours, minutes, seconds = about["SCENE_CENTER_TIME"].rstrip("Z").split(":")
    scene["hour"] = int(hours) + int(minutes) / 60 + float(seconds) / 3600
    units = {name: "K" if name.startswith("bt") else "1" for name in fields}
    return Granule(stem, day + np.timedelta64(round(scene["hour"] * 3600), "s"), grid, fields, units, scene)


def _brightness_temperature(counts: Float32Array, about: dict[str, str], number: int) -> Float32Array:
    """Temperature of a thermal band by the numbers of the MTL file."""
    mult, add = (_number(about, f"RADIANCE_{k}_BAND_{number}") for k in ("MULT", "ADD"))
    k1, k2 = (_number(about, f"{k}_CONSTANT_BAND_{number}") for k in ("K1", "K2"))
    return compute("tb", "counts", counts=counts, mult=mult, add=add, k1=k1, k2=k2)


def read_mtl(path: Path) -> dict[str, str]:
    """Return the keys of a Landsat MTL file, groups flattened, quotes removed."""
    pairs = re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return {key: value.strip('"') for key, value in pairs if key not in ("GROUP", "END_GROUP")}


def _number(about: dict[str, str], key: str) -> float:
    try:
        return float(about[key])
    except (KeyError, ValueError) as error:
        raise InputError(f"the MTL file says no number for {key}; found: {about.get(key, 'nothing')}") from error


def _band_file(folder: Path, stem: str, number: str, kind: str = "") -> Path:
    """Path of a band, as in the archives (_B4.TIF) or as cut out since (_band4.tif)."""
    for name in (f"{stem}_{kind}band{number}.tif", f"{stem}_{kind}B{number}.TIF"):
        if (folder / name).exists():
            return folder / name
    return folder / f"{stem}_{kind}band{number}.tif"


def _geotiff(path: Path) -> tuple[Float32Array, SourceGrid]:
    """First band of a GeoTIFF that is not turned, south up, NaN where missing."""
    rasterio = need_package("rasterio", "rasterio")
    try:
        with rasterio.open(path) as file:
            raw, nodata, to, crs = file.read(1), file.nodata, file.transform, file.crs
    except rasterio.errors.RasterioIOError as error:
        raise InputError(f"{path} cannot be read as GeoTIFF ({error})") from error
    if to.b or to.d or crs is None:
        raise InputError(f"{path} is turned or has no coordinate system; a scene as it is delivered is wanted")
    values = np.asarray(raw, np.float64)
    # Landsat's own fill is 0, whatever the file says.
    values[(raw == 0) | ((raw == nodata) if nodata is not None else False)] = np.nan
    y = to.f + (np.arange(raw.shape[0]) + 0.5) * to.e
    x = to.c + (np.arange(raw.shape[1]) + 0.5) * to.a
    return np.asarray(values[::-1], dtype=np.float32), SourceGrid(y[::-1].copy(), x, crs=crs.to_wkt())


def need_package(module: str, name: str) -> Any:
    """Import a reader, or say what is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SiteError(f"{name} is not installed, which reads this kind of file; 'pip install {name}'") from error
