"""GRIB 1 and 2 through ecCodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipshpc.errors import InputError
from pipshpc.forcing import Native
from pipshpc.source.eccodeslib import eccodes
from pipshpc.source.handles import HANDLES
from pipshpc.source.names import Quantity, Selector
from pipshpc.source.reader import Float32Array, Found
from pipshpc.sourcegrid import SourceGrid, lonlat_grid

# Keys that selectors may name. Their types matter: `indicatorOfTypeOfLevel` is
# text ("sfc") unless asked for as an integer, and the code is what the tables list.
# `name`, `units` and `paramId` are left out: each costs ecCodes more than all these.
TEXT_KEYS = ("shortName", "typeOfLevel", "stepType", "stepRange", "centre")
INT_KEYS = (
    "edition", "level", "table2Version", "indicatorOfParameter", "indicatorOfTypeOfLevel",
    "discipline", "parameterCategory", "parameterNumber", "typeOfFirstFixedSurface",
)  # fmt: skip
MEANS = ("avg", "avgua", "avgfc", "avgas", "avgia")
MISSING = -1e30


@dataclass(frozen=True)
class Message:
    """One GRIB message: where it lies and what its header says."""

    offset: int
    length: int
    keys: dict[str, str | int]
    time: np.datetime64
    mean_s: int
    section: str  # digest of the grid section


class GribReader:
    """One GRIB file, indexed once when it is opened.

    Raises
    ------
    InputError
        The file holds no GRIB message, a message is cut short or does not
        end with ``7777``, or ecCodes cannot read a header.
    """

    keyed = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._grids: dict[str, tuple[SourceGrid, _Layout]] = {}
        try:
            self.messages = [self._index(offset, length) for offset, length in spans(path)]
        except Exception:
            self.close()
            raise

    def find(self, quantity: Quantity, stated: Native | None) -> list[Found]:
        """Finds by the table's selectors in order; instants before means."""
        if stated is not None and stated.grib:
            selectors: list[Selector] = [dict(stated.grib)]
        elif stated is not None and stated.name:
            selectors = [{"shortName": stated.name}]
        else:
            selectors = quantity.grib
        kinds = {}
        for selector in selectors:
            chosen = [m for m in self.messages if _matches(m, selector)]
            for mean in (False, True):
                part = [m for m in chosen if (m.keys.get("stepType") in MEANS) == mean and _usable(m)]
                if part and mean not in kinds:
                    units = (stated.units if stated else "") or str(selector.get("units", ""))
                    kinds[mean] = self._found(part, units or self._units(part[0]))
        return [kinds[mean] for mean in (False, True) if mean in kinds]

    def inventory(self) -> list[str]:
        """Short names and levels, codes where ecCodes knows no name; without repeats over time."""
        return list(dict.fromkeys(_short(m) for m in self.messages))

    def validate(self) -> None:
        """Nothing more to do: opening has walked over all messages."""

    def close(self) -> None:
        """Close the file."""
        HANDLES.drop(self)

    def _found(self, messages: list[Message], units: str) -> Found:
        sections = {m.section for m in messages}
        if len(sections) > 1:
            raise InputError(f"{self.path}: {_label(messages[0])} comes on {len(sections)} grids; one is wanted")
        messages = sorted(messages, key=lambda m: m.time)
        times = np.array([m.time for m in messages], dtype="datetime64[s]")
        grid, layout = self._grid(messages[0])
        mean_s = max(m.mean_s for m in messages)

        def read(index: int, scale: float, offset: float) -> Float32Array:
            return self._read(messages[index], layout, scale, offset)

        methods = f"time: mean (over {mean_s // 3600} h)" if mean_s else "time: point"
        return Found(self.path, _label(messages[0]), units, times, grid, read, mean_s, methods)

    def _units(self, message: Message) -> str:
        with self._handle(message.offset, message.length) as handle:
            return str(eccodes.codes_get(handle, "units", str))

    def _index(self, offset: int, length: int) -> Message:
        with self._handle(offset, length) as handle:
            keys: dict[str, str | int] = {}
            for name in TEXT_KEYS:
                with contextlib.suppress(eccodes.KeyValueNotFoundError):
                    keys[name] = str(eccodes.codes_get(handle, name, str))
            for name in INT_KEYS:
                with contextlib.suppress(eccodes.KeyValueNotFoundError, eccodes.WrongTypeError):
                    keys[name] = int(eccodes.codes_get(handle, name, int))
            date = int(eccodes.codes_get(handle, "validityDate", int))
            clock = int(eccodes.codes_get(handle, "validityTime", int))
            seconds = 0
            if keys.get("stepType") in MEANS:
                eccodes.codes_set(handle, "stepUnits", "s")
                first, last = (int(eccodes.codes_get(handle, k, int)) for k in ("startStep", "endStep"))
                seconds = last - first
            section = str(eccodes.codes_get(handle, "md5GridSection", str))
        day = f"{date // 10000:04d}-{date // 100 % 100:02d}-{date % 100:02d}"
        time = np.datetime64(f"{day}T{clock // 100:02d}:{clock % 100:02d}:00", "s")
        return Message(offset, length, keys, time, seconds, section)

    def _grid(self, message: Message) -> tuple[SourceGrid, _Layout]:
        if message.section not in self._grids:
            with self._handle(message.offset, message.length) as handle:
                try:
                    self._grids[message.section] = _grid_of(handle)
                except (InputError, eccodes.CodesInternalError) as error:
                    raise InputError(f"{self.path}: {_label(message)}: {error}") from error
        return self._grids[message.section]

    def _read(self, message: Message, layout: _Layout, scale: float, offset: float) -> Float32Array:
        with self._handle(message.offset, message.length) as handle:
            try:
                bitmap = eccodes.codes_get(handle, "bitmapPresent", int)
                if bitmap:
                    eccodes.codes_set(handle, "missingValue", MISSING)
                values = eccodes.codes_get_float_array(handle, "values")
            except eccodes.CodesInternalError as error:
                raise InputError(
                    f"{self.path}: {_label(message)} of {message.time} cannot be decoded: {error}; get the file again"
                ) from error
        if bitmap:
            values[values < 0.99 * MISSING] = np.nan
        if scale != 1.0:
            values *= np.float32(scale)
        if offset != 0.0:
            values += np.float32(offset)
        return layout.turn(values)

    @contextlib.contextmanager
    def _handle(self, offset: int, length: int) -> Iterator[int]:
        file = HANDLES.take(self, lambda: self.path.open("rb"))
        file.seek(offset)
        try:
            handle = eccodes.codes_new_from_message(file.read(length))
        except eccodes.CodesInternalError as error:
            raise InputError(f"{self.path}: message at byte {offset} is no readable GRIB: {error}") from error
        try:
            yield handle
        finally:
            eccodes.codes_release(handle)


@dataclass(frozen=True)
class _Layout:
    """How the numbers of a message lie: columns first or rows, and which way each runs."""

    ny: int
    nx: int
    flip_y: bool
    flip_x: bool
    by_columns: bool
    columns: int  # to keep; one less than nx where the last repeats the first

    def turn(self, values: Float32Array) -> Float32Array:
        field = values.reshape(self.nx, self.ny).T if self.by_columns else values.reshape(self.ny, self.nx)
        field = field[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.ascontiguousarray(field[:, : self.columns])


def spans(path: Path) -> list[tuple[int, int]]:
    """Offset and length of each message, from the lengths that the messages state.

    Raises
    ------
    InputError
        A message runs past the end of the file, does not end with ``7777``,
        or something that is no GRIB lies between messages.
    """
    size = path.stat().st_size
    found: list[tuple[int, int]] = []
    with path.open("rb") as file:
        at = 0
        while at < size:
            file.seek(at)
            head = file.read(16)
            if head[:4] != b"GRIB":
                if not head.strip(b"\0"):  # some archives pad to blocks
                    at += len(head)
                    continue
                raise InputError(f"{path}: byte {at} is not the start of a GRIB message; get the file again")
            if len(head) < 8:
                raise InputError(f"{path}: truncated: it ends within the header of message {len(found) + 1}")
            length = _length(head)
            if at + length > size:
                raise InputError(
                    f"{path}: truncated: message {len(found) + 1} at byte {at} has {length} bytes, "
                    f"but the file ends after {size - at} of them; get the file again"
                )
            file.seek(at + length - 4)
            if file.read(4) != b"7777":
                raise InputError(
                    f"{path}: message {len(found) + 1} at byte {at} does not end with 7777; get the file again"
                )
            found.append((at, length))
            at += length
    if not found:
        raise InputError(f"{path}: holds no GRIB message")
    return found


def _length(head: bytes) -> int:
    if head[7] >= 2:
        return int.from_bytes(head[8:16], "big")
    length = int.from_bytes(head[4:7], "big")
    # Editions 1 longer than 8 MB count in units of 120 bytes; the exact end is
    # then only known from section 4.
    if length & 0x800000:
        raise InputError("a GRIB 1 message longer than 8 MB is not read; convert the file to GRIB 2")
    return length


def _matches(message: Message, selector: Selector) -> bool:
    return all(str(message.keys.get(key)) == str(wanted) for key, wanted in selector.items() if key != "units")


def _usable(message: Message) -> bool:
    return message.keys.get("stepType") in ("instant", *MEANS)


def _short(message: Message) -> str:
    keys = message.keys
    if keys.get("shortName") not in (None, "unknown"):
        return f"{keys['shortName']} ({keys.get('typeOfLevel')} {keys.get('level')})"
    if "indicatorOfParameter" in keys:
        return f"{keys['indicatorOfParameter']} (level type {keys.get('indicatorOfTypeOfLevel')} {keys.get('level')})"
    code = ".".join(str(keys.get(k)) for k in ("discipline", "parameterCategory", "parameterNumber"))
    return f"{code} ({keys.get('typeOfLevel')} {keys.get('level')})"


def _label(message: Message) -> str:
    keys = message.keys
    name = keys.get("shortName", "unknown")
    if "indicatorOfParameter" in keys:
        code = f"parameter {keys['indicatorOfParameter']}, level type {keys.get('indicatorOfTypeOfLevel')}"
    else:
        code = f"parameter {keys.get('discipline')}.{keys.get('parameterCategory')}.{keys.get('parameterNumber')}"
        code += f", {keys.get('typeOfLevel')}"
    return f"{name} ({code}, level {keys.get('level')}, {keys.get('stepType')})"


def _grid_of(handle: int) -> tuple[SourceGrid, _Layout]:
    """Grid and layout of a message."""

    def number(key: str) -> float:
        return float(eccodes.codes_get(handle, key, float))

    def flag(key: str) -> bool:
        return bool(eccodes.codes_get(handle, key, int))

    kind = eccodes.codes_get(handle, "gridType", str)
    readable = ("regular_ll", "regular_gg", "lambert")
    if kind not in readable:
        raise InputError(f"grid type '{kind}' is not read; convert it to one of {', '.join(readable)}")
    with contextlib.suppress(eccodes.KeyValueNotFoundError):
        if flag("alternativeRowScanning"):
            raise InputError("rows scan in alternating directions, which is not read; convert the file")
    flip_y, flip_x = not flag("jScansPositively"), flag("iScansNegatively")
    by_columns = flag("jPointsAreConsecutive")
    if kind == "lambert":
        grid = _lambert(handle, number, flip_y, flip_x)
        ny, nx = grid.shape
        return grid, _Layout(ny, nx, flip_y, flip_x, by_columns, nx)
    ny, nx = (int(eccodes.codes_get(handle, key, int)) for key in ("Nj", "Ni"))
    lat = np.sort(eccodes.codes_get_array(handle, "distinctLatitudes"))
    first, last = number("longitudeOfFirstGridPointInDegrees"), number("longitudeOfLastGridPointInDegrees")
    if flip_x:
        first, last = last, first
    # The header rounds to a thousandth (edition 1) or a millionth of a degree;
    # a row that goes round the globe has exactly equal steps.
    step = ((last - first) % 360.0 or 360.0) / max(nx - 1, 1)
    if abs(step * nx - 360.0) < 0.5 * step:
        step = 360.0 / nx
    grid, _, columns = lonlat_grid(lat, first + step * np.arange(nx))
    return grid, _Layout(ny, nx, flip_y, flip_x, by_columns, columns)


def _lambert(handle: int, number: Any, flip_y: bool, flip_x: bool) -> SourceGrid:
    """Lambert conformal conic: the first point is projected, the others are equal steps away."""
    nx, ny = (int(eccodes.codes_get(handle, key, int)) for key in ("Nx", "Ny"))
    try:
        a, b = number("earthMajorAxisInMetres"), number("earthMinorAxisInMetres")
        globe = f"+a={a:.10g} +b={b:.10g}"
    except eccodes.CodesInternalError:
        globe = f"+R={number('radius'):.10g}"
    crs = (
        f"+proj=lcc +lat_1={number('Latin1InDegrees'):g} +lat_2={number('Latin2InDegrees'):g} "
        f"+lat_0={number('LaDInDegrees'):g} +lon_0={number('LoVInDegrees'):g} {globe} +units=m +no_defs"
    )
    import pyproj

    projection = pyproj.Proj(crs)
    x0, y0 = projection(number("longitudeOfFirstGridPointInDegrees"), number("latitudeOfFirstGridPointInDegrees"))
    dx, dy = number("DxInMetres"), number("DyInMetres")
    x = x0 + dx * np.arange(nx) * (-1 if flip_x else 1)
    y = y0 + dy * np.arange(ny) * (-1 if flip_y else 1)
    return SourceGrid(np.sort(y), np.sort(x), crs)
