"""A product file as its reader sees it: what it holds, and its values band by band."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.grid import geographic_bounds

if TYPE_CHECKING:
    import h5py

DoubleArray = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
TimeArray = npt.NDArray[np.datetime64]
CONTIGUOUS_BAND_BYTES = 4 << 20
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Description:
    """What one variable of a product file is: axes, windows, packing and origin.

    `lat` and `lon` are cell centres in degrees as they are stored; longitudes
    of a box across the date line go on beyond 180. On a projected grid (`epsg`
    not 0) they are its y and x, m, and `area` has the cells' areas. `windows` holds start and
    end (exclusive) of each time step.
    """

    path: Path
    variable: str
    long_name: str
    units: str
    lat: DoubleArray  # (rows,)
    lon: DoubleArray  # (columns,)
    windows: TimeArray  # (times, 2)
    scale: float
    offset: float
    fill: float | None
    band_rows: int
    attributes: dict[str, Any] = field(default_factory=dict)  # of the file
    variable_attributes: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(default_factory=dict)
    epsg: int = 0
    geographic: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)  # bounds in degrees of a projected grid
    area: DoubleArray | None = None  # (rows, columns), km2, of a projected grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Times, rows, columns."""
        return len(self.windows), self.lat.size, self.lon.size

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north edges in degrees (east may pass 180)."""
        return self.geographic if self.epsg else self.edges

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top edges in the grid's own coordinates."""
        if self.epsg:
            (left, right), (bottom, top) = _edges(self.lon), _edges(self.lat)
            return left, bottom, right, top
        west, east = _edges(self.lon)
        south, north = _edges(self.lat)
        return max(west, east - 360.0), max(south, -90.0), east, min(north, 90.0)

    @property
    def area_weights(self) -> DoubleArray:
        """Relative area of a cell of each row: the difference of the sine of its edges.

        On a projected grid of each cell: (rows, columns).
        """
        if self.area is not None:
            return self.area
        south, north = _edges(self.lat)
        half = 0.5 * (north - south) / self.lat.size
        upper = np.radians(np.clip(self.lat + half, -90, 90))
        return np.asarray(np.sin(upper) - np.sin(np.radians(np.clip(self.lat - half, -90, 90))), np.float64)

    def fact(self, *names: str) -> Any:
        """Return the first of `names` that the variable, the file or the lineage states, else ''."""
        for name in names:
            for source in (self.variable_attributes, self.attributes, self.lineage):
                if source.get(name) not in (None, ""):
                    return source[name]
        return ""


def _edges(centres: DoubleArray) -> tuple[float, float]:
    """Lower and upper edge of an axis of equally wide cells; a single cell counts as 1 degree wide."""
    low, high = float(centres.min()), float(centres.max())
    half = 0.5 * (high - low) / (centres.size - 1) if centres.size > 1 else 0.5
    # Twelve digits rid 89.975 + 0.025 of its last bit; no grid is finer than that.
    return round(low - half, 12), round(high + half, 12)


@contextmanager
def open_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises
    ------
    InputError
        Where the file is missing, is not HDF5, or is cut off.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of a product file (netCDF-4/HDF5)")
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        detail = "is not HDF5" if not h5py.is_hdf5(path) else "cannot be opened as HDF5; it may be cut off"
        raise InputError(f"{path}: {detail} ({error}); a product file is netCDF-4/HDF5, make it again") from error
    with handle:
        yield handle


def plain(value: Any) -> Any:
    """Turn an HDF5 attribute into text, a number, or a list of these."""
    if isinstance(value, bytes | np.bytes_):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "SO":
            items = [plain(v) for v in value.ravel().tolist()]
            return items[0] if len(items) == 1 else items
        return value.item() if value.size == 1 else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float) else str(value)


def _attributes(node: h5py.HLObject) -> dict[str, Any]:
    hidden = {"DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
    return {name: plain(node.attrs[name]) for name in node.attrs if name not in hidden}


def describe(path: str | Path, variable: str | None = None) -> Description:
    """Read what a product file holds, without its values.

    Parameters
    ----------
    path : product file with dimensions time, lat, lon
    variable : its variable; if not given the first on (time, lat, lon) that is not a count

    Raises
    ------
    InputError
        Where the file cannot be read or has no such variable.
    """
    with open_hdf5(path) as handle:
        name = _find_variable(handle, Path(path), variable)
        data = handle[name]
        attributes = _attributes(data)
        file_attributes = _attributes(handle)
        projected = _epsg(handle, attributes)
        axes = ("time", "y", "x") if projected else ("time", "lat", "lon")
        for axis, size in zip(axes, data.shape, strict=True):
            if axis not in handle or handle[axis].shape != (size,):
                raise InputError(f"{path}: variable '{name}' has {size} steps in {axis}, but no such axis is there")
        row_bytes = data.shape[2] * data.dtype.itemsize
        band_rows = data.chunks[1] if data.chunks else max(1, CONTIGUOUS_BAND_BYTES // row_bytes)
        fill = attributes.get("_FillValue")
        return Description(
            path=Path(path),
            variable=name,
            long_name=str(attributes.get("long_name", name)),
            units=str(attributes.get("units", "1")),
            lat=handle[axes[1]][:].astype(np.float64),
            lon=handle[axes[2]][:].astype(np.float64),
            windows=_windows(handle, Path(path)),
            scale=float(attributes.get("scale_factor", 1.0)),
            offset=float(attributes.get("add_offset", 0.0)),
            fill=None if fill is None else float(fill),
            band_rows=int(band_rows),
            attributes=file_attributes,
            variable_attributes=attributes,
            lineage=_lineage(file_attributes.get("lineage")),
            epsg=projected,
            geographic=geographic_bounds(handle["lat"][:], handle["lon"][:]) if projected else (0.0, 0.0, 0.0, 0.0),
            area=handle["areacello"][:].astype(np.float64) if projected else None,
        )


def _epsg(handle: h5py.File, attributes: dict[str, Any]) -> int:
    """Code of the projection that a variable lies in; 0 for latitude and longitude."""
    mapping = str(attributes.get("grid_mapping", ""))
    if mapping not in handle or not all(name in handle for name in ("y", "x", "lat", "lon", "areacello")):
        return 0
    return int(plain(handle[mapping].attrs.get("epsg_code", 0)))


def _find_variable(handle: h5py.File, path: Path, variable: str | None) -> str:
    import h5py

    fields = [n for n, d in handle.items() if isinstance(d, h5py.Dataset) and d.ndim == 3 and d.dtype.kind in "iuf"]
    if variable is not None:
        if variable not in fields:
            raise InputError(
                f"{path}: no variable '{variable}' on (time, lat, lon); it has: {', '.join(fields) or 'none'}"
            )
        return variable
    named = [n for n in fields if n == path.name.partition("_")[0]]
    chosen = named + [n for n in fields if not n.endswith("_count")]
    if not chosen:
        raise InputError(
            f"{path}: no variable on (time, lat, lon); a product file as `pipshpc run` writes it is wanted"
        )
    return str(chosen[0])


def _lineage(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _windows(handle: h5py.File, path: Path) -> TimeArray:
    """Start and end of each step; without bounds both are the time itself."""
    time = handle["time"]
    units = str(plain(time.attrs.get("units", "")))
    match = re.fullmatch(r"(second|minute|hour|day)s? since (\d{4}-\d\d-\d\d)[T ]?(\d\d:\d\d(?::\d\d)?)?.*", units)
    if not match:
        raise InputError(f"{path}: time has units '{units}'; wanted '<seconds|minutes|hours|days> since YYYY-MM-DD'")
    origin = np.datetime64(f"{match.group(2)}T{match.group(3) or '00:00'}", "s")
    bounds = str(plain(time.attrs.get("bounds", "")))
    values = handle[bounds][:] if bounds in handle else np.repeat(time[:][:, None], 2, axis=1)
    seconds = np.rint(np.asarray(values, np.float64) * SECONDS[match.group(1)]).astype("timedelta64[s]")
    return np.asarray(origin + seconds)


def read_bands(data: h5py.Dataset, about: Description, time: int) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield (first row, stored values) of one time step, a row of chunks at a time: each chunk is decoded once."""
    try:
        for first in range(0, data.shape[1], about.band_rows):
            yield first, data[time, first : first + about.band_rows, :]
    except OSError as error:
        where = f"{about.path}: variable '{about.variable}', window {time}"
        raise InputError(f"{where}: {error}; the file is damaged, make it again") from error


def seen(values: npt.NDArray[Any], fill: float | None) -> npt.NDArray[np.bool_] | None:
    """Return which stored values are data, or None where all are: that is the common case and the quick one."""
    if values.dtype.kind == "f":
        mask = np.isfinite(values) if fill is None or np.isnan(fill) else np.isfinite(values) & (values != fill)
    elif fill is None:
        return None
    else:
        mask = values != values.dtype.type(fill)
    return None if mask.all() else mask


@dataclass(frozen=True)
class WindowStatistics:
    """One time window of a variable in numbers; NaN where it holds no value at all."""

    start: str  # ISO 8601, UTC
    end: str  # exclusive
    minimum: float
    mean: float  # weighted by cell area
    maximum: float
    missing: float  # fraction of cells without a value


def summarise(path: str | Path, variable: str | None = None) -> list[WindowStatistics]:
    """Return minimum, area-weighted mean, maximum and missing fraction of each time window.

    Every value is read once, one row of chunks at a time.

    Parameters
    ----------
    path : product file
    variable : one of its variables; the product if not given

    Raises
    ------
    InputError
        Where the file cannot be read or has no such variable.
    """
    about = describe(path, variable)
    with open_hdf5(path) as handle:
        data = handle[about.variable]
        return [_summarise_window(data, about, k) for k in range(about.shape[0])]


def _summarise_window(data: h5py.Dataset, about: Description, time: int) -> WindowStatistics:
    weights, columns = about.area_weights, about.lon.size
    low, high, total, weight, count = np.inf, -np.inf, 0.0, 0.0, 0
    for first, stored in read_bands(data, about, time):
        band = weights[first : first + len(stored)]
        mask = seen(stored, about.fill)
        if band.ndim == 2:
            some = np.ones(stored.shape, bool) if mask is None else mask
            values = stored[some]
            if values.size:
                low, high = min(low, float(values.min())), max(high, float(values.max()))
            total, weight = total + float((band[some] * values).sum()), weight + float(band[some].sum())
            count += values.size
            continue
        if mask is None:
            values, per_row = stored, np.full(len(stored), columns)
        else:
            values, per_row = stored[mask], mask.sum(axis=1)
            stored = np.where(mask, stored, stored.dtype.type(0))
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        exact = np.int64 if stored.dtype.kind in "iu" else np.float64
        total += float(band @ stored.sum(axis=1, dtype=exact))
        weight += float(band @ per_row)
        count += int(per_row.sum())
    start, end = (np.datetime_as_string(t, unit="s") + "Z" for t in about.windows[time])
    if not count:
        return WindowStatistics(start, end, np.nan, np.nan, np.nan, 1.0)
    minimum, mean, maximum = (x * about.scale + about.offset for x in (low, total / weight, high))
    return WindowStatistics(start, end, minimum, mean, maximum, 1.0 - count / (about.lat.size * columns))


def block_mean(data: h5py.Dataset, about: Description, time: int, factor: int) -> FloatArray:
    """Return one window at 1/factor of its resolution: means over the valid cells of each block.

    Parameters
    ----------
    data : (times, rows, columns), as stored
    about : its description
    time : index of the window
    factor : cells per side of a block; blocks at the lower and right edge may be smaller

    Returns
    -------
    (ceil(rows / factor), ceil(columns / factor)) float32
        In the units of the variable, NaN where a block holds no valid cell.
    """
    rows, columns = about.lat.size, about.lon.size
    shape = -(-rows // factor), -(-columns // factor)
    left = np.arange(0, columns, factor)
    total, count = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    for first, stored in read_bands(data, about, time):
        mask = seen(stored, about.fill)
        values = stored if mask is None else np.where(mask, stored, stored.dtype.type(0))
        exact = np.int32 if values.dtype.kind in "iu" else np.float64
        upper = first // factor
        starts = np.maximum(np.arange(upper, -(-(first + len(stored)) // factor)) * factor - first, 0)
        target = slice(upper, upper + starts.size)
        total[target] += np.add.reduceat(_fold(values, starts, exact), left, axis=1)
        if mask is None:
            heights = np.diff(np.append(starts, len(stored)))
            count[target] += heights[:, None] * np.diff(np.append(left, columns))
        else:
            count[target] += np.add.reduceat(_fold(mask, starts, np.int32), left, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count * about.scale + about.offset, np.float32)


def _fold(values: npt.NDArray[Any], starts: IntArray, dtype: Any) -> npt.NDArray[Any]:
    """Add up rows between `starts`: whole rows at a time, which is far quicker than reduceat down the columns."""
    stops = np.append(starts[1:], len(values))
    return np.stack([values[a:b].sum(axis=0, dtype=dtype) for a, b in zip(starts, stops, strict=True)])
