"""netCDF conventions, apart from how the bytes are stored: coordinates, packing, fill values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.forcing import Native
from pipshpc.source.names import Quantity
from pipshpc.source.reader import Float32Array, Found, Times, decode_times
from pipshpc.sourcegrid import SourceGrid, lonlat_grid

# The netCDF library's fill numbers, in force where a variable states none.
DEFAULT_FILL = {"i1": -127, "i2": -32767, "i4": -2147483647, "f4": 9.969209968386869e36, "f8": 9.969209968386869e36}
LATITUDES = ("lat", "latitude", "nav_lat", "xlat")
LONGITUDES = ("lon", "longitude", "nav_lon", "xlong", "long")
TIMES = ("time", "valid_time", "t", "times")
METRES = {"m": 1.0, "metre": 1.0, "meter": 1.0, "metres": 1.0, "meters": 1.0, "km": 1000.0}


@dataclass(frozen=True)
class Variable:
    """A variable of a netCDF or HDF5 file.

    `dims` are names of dimensions; "" where a plain HDF5 file does not say.
    `whole()` reads all of it as stored; `plane(index, rows, columns)` reads
    one two-dimensional field of the last two dimensions as float32, given the
    position along the leading ones.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    whole: Callable[[], npt.NDArray[Any]]
    plane: Callable[[tuple[int, ...], Packing, bool], Float32Array]

    @property
    def short(self) -> str:
        """Name without groups."""
        return self.name.rsplit("/", 1)[-1]

    def text(self, name: str) -> str:
        """An attribute as text; empty where there is none."""
        value = self.attrs.get(name, "")
        return value.strip() if isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Packing:
    """value = stored * scale + offset, and the two stored numbers that mean missing."""

    scale: float
    offset: float
    fill1: float
    fill2: float

    def then(self, scale: float, offset: float) -> Packing:
        """The packing followed by a conversion of units, as one step."""
        return Packing(self.scale * scale, self.offset * scale + offset, self.fill1, self.fill2)


def packing_of(variable: Variable) -> Packing:
    """Read the packing of a variable from its attributes."""
    kind = variable.dtype.str[1:]
    fallback = float(DEFAULT_FILL.get(kind, math.nan))
    fills = [_number(variable.attrs[key]) for key in ("_FillValue", "missing_value") if key in variable.attrs]
    if kind == "i2":
        fills = [f for f in fills if -32768 <= f <= 32767 and f == int(f)]
    fills = fills or [fallback]
    return Packing(
        _number(variable.attrs.get("scale_factor", 1.0)),
        _number(variable.attrs.get("add_offset", 0.0)),
        fills[0],
        fills[-1],
    )


def unpack(raw: npt.NDArray[Any], packing: Packing, flip: bool) -> Float32Array:
    """Bring a field as stored to float32, rows south to north where `flip`."""
    out = np.empty(raw.shape, np.float32)
    kind = raw.dtype.str[1:]
    if kind in ("i2", "f4"):
        from pipshpc._unpack import unpack_tile

        little = np.ascontiguousarray(raw, dtype=f"<{kind}")
        rows, columns = raw.shape
        unpack_tile(
            little.reshape(-1).view(np.uint8), kind, False, 0, rows, columns, out, flip,
            packing.scale, packing.offset, packing.fill1, packing.fill2,
        )  # fmt: skip
        return out
    if raw.dtype.kind not in "iuf":
        raise InputError(f"values of type {raw.dtype} are not numbers")
    missing = (raw == packing.fill1) | (raw == packing.fill2)
    out[...] = raw * np.float64(packing.scale) + packing.offset
    out[missing] = np.nan
    return np.ascontiguousarray(out[::-1]) if flip else out


class CfReader:
    """Finds quantities among the variables of one file by CF's rules.

    Parameters
    ----------
    path : the file
    variables : by full name
    """

    keyed = False

    def __init__(self, path: Path, variables: dict[str, Variable]) -> None:
        self.path = path
        self.variables = variables
        self._grids: dict[tuple[str, str, str], tuple[SourceGrid, bool, int]] = {}
        self._times: dict[str, Times] = {}

    def find(self, quantity: Quantity, stated: Native | None) -> list[Found]:
        """The find by name, else by a standard name that exactly one variable bears."""
        if stated is not None and stated.grib:
            return []
        names = [stated.name] if stated is not None and stated.name else quantity.names
        for name in names:
            for variable in self._fields():
                if name in (variable.name, variable.short):
                    return [self._found(variable, stated)]
        if stated is not None and stated.name:
            return []
        lower = {n.casefold() for n in names}
        hits = [v for v in self._fields() if v.short.casefold() in lower]
        if not hits:
            hits = [v for v in self._fields() if v.text("standard_name") in quantity.standard_names]
            hits = [v for v in hits if len(v.shape) <= 3] or hits
        if len(hits) > 1:
            raise InputError(
                f"{self.path}: {', '.join(v.name for v in hits)} may all be {quantity.long_name}; "
                "say which under 'variables' of the campaign's forcing"
            )
        return [self._found(hits[0], stated)] if hits else []

    def inventory(self) -> list[str]:
        """Names and units of all fields."""
        return [f"{v.name} [{v.text('units') or 'no units'}]" for v in self._fields()]

    def extents(self) -> Iterator[tuple[SourceGrid | None, Times | None]]:
        """Yield grid and times of every field, whatever it is, as far as its axes are understood."""
        for variable in self._fields():
            grid, times = None, None
            with contextlib.suppress(InputError):
                grid = self._grid(variable)[0]
            with contextlib.suppress(InputError):
                times = self._time_axis(variable)[1]
            yield grid, times

    def _fields(self) -> list[Variable]:
        return [v for v in self.variables.values() if len(v.shape) >= 2 and v.dtype.kind in "iuf"]

    def _where(self, variable: Variable) -> str:
        return f"{self.path}: variable '{variable.name}'"

    def _found(self, variable: Variable, stated: Native | None) -> Found:
        grid, flip, columns = self._grid(variable)
        axis, times = self._time_axis(variable)
        leading = variable.shape[:-2]
        for position, size in enumerate(leading):
            if position != axis and size != 1:
                raise InputError(
                    f"{self._where(variable)} has {size} levels along '{variable.dims[position]}'; a field of one "
                    "level is wanted; extract it, or name another variable under 'variables' of the campaign's forcing"
                )
        packing = packing_of(variable)

        def read(index: int, scale: float, offset: float) -> Float32Array:
            place = tuple(index if position == axis else 0 for position in range(len(leading)))
            field = variable.plane(place, packing.then(scale, offset), flip)
            return field if field.shape[1] == columns else np.ascontiguousarray(field[:, :columns])

        units = (stated.units if stated else "") or (variable.text("units") if "units" in variable.attrs else None)
        methods = variable.text("cell_methods")
        return Found(self.path, variable.name, units, times, grid, read, 0, methods)

    def _time_axis(self, variable: Variable) -> tuple[int | None, Times | None]:
        """Which leading dimension is time, and its values; (None, None) for a static field."""
        for position, dim in enumerate(variable.dims[:-2]):
            coordinate = self._time_variable(dim, variable.shape[position])
            if coordinate is not None:
                return position, self._decoded(coordinate)
        if len(variable.shape) > 2 and math.prod(variable.shape[:-2]) > 1:
            raise InputError(
                f"{self._where(variable)}: no time coordinate was found for its dimensions "
                f"{', '.join(variable.dims[:-2]) or variable.shape[:-2]}; '<unit> since <date>' in its units is wanted"
            )
        named = variable.text("coordinates").split()
        for name in (*named, *TIMES):
            scalar = self.variables.get(name)
            if scalar is not None and math.prod(scalar.shape) == 1 and " since " in scalar.text("units"):
                return None, self._decoded(scalar)
        return None, None

    def _time_variable(self, dim: str, size: int) -> Variable | None:
        candidates = [self.variables[dim]] if dim in self.variables else []
        candidates += [v for v in self.variables.values() if v.shape == (size,) and v.short.casefold() in TIMES]
        for v in candidates:
            if v.dims == (dim,) and (" since " in v.text("units") or v.text("standard_name") == "time"):
                return v
        # Called time, but without units: decoding it says what is wrong.
        return candidates[0] if candidates and (not dim or dim.casefold() in TIMES) else None

    def _decoded(self, variable: Variable) -> Times:
        if variable.name not in self._times:
            numbers = np.atleast_1d(variable.whole())
            self._times[variable.name] = decode_times(
                numbers, variable.text("units"), variable.text("calendar") or None, self._where(variable)
            )
        return self._times[variable.name]

    def _grid(self, variable: Variable) -> tuple[SourceGrid, bool, int]:
        mapping = variable.text("grid_mapping")
        y = self._axis(variable, -2, LATITUDES, "latitude", "projection_y_coordinate")
        x = self._axis(variable, -1, LONGITUDES, "longitude", "projection_x_coordinate")
        if y is None or x is None:
            raise InputError(
                f"{self._where(variable)}: its last two dimensions are {variable.dims[-2:]}, for which no 1-D latitude "
                "and longitude (or projection_y_coordinate and projection_x_coordinate) were found; "
                "put the dimensions in the order time, y, x with coordinate variables"
            )
        key = (y.name, x.name, mapping)
        if key not in self._grids:
            try:
                self._grids[key] = self._make_grid(y, x, mapping)
            except InputError as error:
                raise InputError(f"{self._where(variable)}: {error}") from error
        return self._grids[key]

    def _make_grid(self, y: Variable, x: Variable, mapping: str) -> tuple[SourceGrid, bool, int]:
        ys, xs = _unpacked(y), _unpacked(x)
        if y.text("standard_name") != "projection_y_coordinate":
            return lonlat_grid(ys, xs)
        if mapping not in self.variables:
            raise InputError(f"grid_mapping '{mapping}' is missing; without it projected coordinates mean nothing")
        import pyproj

        metres = METRES.get(y.text("units").casefold(), 0.0)
        if not metres:
            raise InputError(f"projection coordinates in '{y.text('units')}'; m or km is wanted")
        try:
            crs = pyproj.CRS.from_cf(dict(self.variables[mapping].attrs)).to_wkt()
        except (pyproj.exceptions.CRSError, KeyError) as error:
            raise InputError(f"grid_mapping '{mapping}' cannot be understood: {error}") from error
        if xs.size > 1 and xs[0] > xs[-1]:
            raise InputError("projection_x_coordinate descends; ascending is wanted")
        flip = bool(ys.size > 1 and ys[0] > ys[-1])
        return SourceGrid((ys[::-1] if flip else ys) * metres, xs * metres, crs), flip, xs.size

    def _axis(
        self, v: Variable, position: int, names: tuple[str, ...], standard: str, projected: str
    ) -> Variable | None:
        dim, size = v.dims[position], v.shape[position]
        if dim:
            one = self.variables.get(dim)
            hits = [one] if one is not None else []
            # HDF5 files may name the scale by its full path, or keep it beside.
            hits += [c for c in self.variables.values() if c.dims == (dim,) and c is not one]
        else:
            hits = [c for c in self.variables.values() if c.shape == (size,)]
        for c in hits:
            if c.shape != (size,):
                continue
            north = c.text("units").casefold().replace(" ", "_")
            by_units = north.startswith(
                ("degree_n", "degrees_n") if standard == "latitude" else ("degree_e", "degrees_e")
            )
            if by_units or c.text("standard_name") in (standard, projected) or c.short.casefold() in names:
                return c
        return None


def _unpacked(variable: Variable) -> npt.NDArray[np.float64]:
    p = packing_of(variable)
    return np.asarray(variable.whole(), dtype=float) * p.scale + p.offset


def _number(value: Any) -> float:
    """An attribute's number, also where it is kept as an array of one."""
    return float(np.asarray(value).reshape(-1)[0])
