"""netCDF-3: classic, 64-bit offset and 64-bit data, read without a library.

The header is small and well documented, and reading it here gives what the
netCDF library does not: the size that the file must have, so that a file that
was cut short is an error and not zeros.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from pipshpc.errors import InputError
from pipshpc.source.cf import CfReader, Packing, Variable, unpack
from pipshpc.source.handles import HANDLES
from pipshpc.source.reader import Float32Array

TYPES = {1: "i1", 2: "S1", 3: "i2", 4: "i4", 5: "f4", 6: "f8", 7: "u1", 8: "u2", 9: "u4", 10: "i8", 11: "u8"}
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12


@dataclass(frozen=True)
class _Entry:
    """A variable as the header describes it."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]
    begin: int
    record: bool

    @property
    def slab(self) -> int:
        """Bytes of one record, or of all of a variable without records."""
        return math.prod(self.shape[1:] if self.record else self.shape) * self.dtype.itemsize


class ClassicReader(CfReader):
    """One netCDF-3 file.

    Raises
    ------
    InputError
        The header cannot be read, or the file is shorter than it says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            entries, self._records = _Header(self._opened()).read()
        except (ValueError, KeyError, UnicodeDecodeError, OverflowError, MemoryError) as error:
            self.close()
            raise InputError(f"{path}: truncated or damaged netCDF-3 header: {error}; get the file again") from error
        recorded = [e for e in entries if e.record]
        # Records are padded to 4 bytes, unless there is only one variable with records.
        self._stride = recorded[0].slab if len(recorded) == 1 else sum(-(-e.slab // 4) * 4 for e in recorded)
        self._entries = entries
        super().__init__(path, {e.name: self._variable(e) for e in entries})
        try:
            self.validate()
        except InputError:
            self.close()
            raise

    def validate(self) -> None:
        """Compare the size of the file with what the header needs."""
        need = 0
        for e in self._entries:
            if e.record and not self._records:
                continue
            need = max(need, e.begin + (self._stride * (self._records - 1) if e.record else 0) + e.slab)
        size = self.path.stat().st_size
        if size < need:
            raise InputError(
                f"{self.path}: truncated: the netCDF-3 header needs {need} bytes, the file has {size}; "
                "get the file again"
            )

    def close(self) -> None:
        """Close the file."""
        HANDLES.drop(self)

    def _opened(self) -> Any:
        return HANDLES.take(self, lambda: self.path.open("rb"))

    def _variable(self, entry: _Entry) -> Variable:
        def bytes_at(offset: int, count: int) -> npt.NDArray[Any]:
            file = self._opened()
            file.seek(offset)
            data = file.read(count * entry.dtype.itemsize)
            if len(data) != count * entry.dtype.itemsize:
                raise InputError(f"{self.path}: variable '{entry.name}': the file ends within the data")
            return np.frombuffer(data, entry.dtype)

        def whole() -> npt.NDArray[Any]:
            if not entry.record:
                return bytes_at(entry.begin, math.prod(entry.shape)).reshape(entry.shape)
            count = math.prod(entry.shape[1:])
            parts = [bytes_at(entry.begin + r * self._stride, count) for r in range(self._records)]
            return np.array(parts, entry.dtype).reshape(entry.shape)

        def plane(place: tuple[int, ...], packing: Packing, flip: bool) -> Float32Array:
            rows, columns = entry.shape[-2:]
            within = place
            offset = entry.begin
            if entry.record:
                offset += place[0] * self._stride
                within = (0, *place[1:])
            index = int(np.ravel_multi_index(within, entry.shape[:-2])) if within else 0
            offset += index * rows * columns * entry.dtype.itemsize
            return unpack(bytes_at(offset, rows * columns).reshape(rows, columns), packing, flip)

        return Variable(entry.name, entry.dims, entry.shape, entry.dtype, entry.attrs, whole, plane)


class _Header:
    """Walks over the header of a netCDF-3 file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        magic = self._take(4)
        self._version = magic[3]
        if magic[:3] != b"CDF" or self._version not in (1, 2, 5):
            raise ValueError(f"starts with {magic!r}")

    def read(self) -> tuple[list[_Entry], int]:
        """Variables and the number of records."""
        records = self._count()
        unlimited = 0xFFFFFFFFFFFFFFFF if self._version == 5 else 0xFFFFFFFF
        if records == unlimited:
            raise ValueError("the number of records was never written: the writing was broken off")
        dims = [(self._name(), self._count()) for _ in range(self._list(DIMENSIONS))]
        self._attributes()
        entries = []
        for _ in range(self._list(VARIABLES)):
            name = self._name()
            ids = [self._count() for _ in range(self._count())]
            attrs = self._attributes()
            dtype = np.dtype(f">{TYPES[self._int4()]}")
            self._count()  # stated size; useless for large variables, computed instead
            begin = self._int4() if self._version == 1 else self._int8()
            record = bool(ids) and dims[ids[0]][1] == 0
            shape = tuple(records if dims[i][1] == 0 else dims[i][1] for i in ids)
            entries.append(_Entry(name, tuple(dims[i][0] for i in ids), shape, dtype, attrs, begin, record))
        return entries, records

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise ValueError("the file ends within the header")
        return data

    def _int4(self) -> int:
        return int.from_bytes(self._take(4), "big")

    def _int8(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def _count(self) -> int:
        return self._int8() if self._version == 5 else self._int4()

    def _name(self) -> str:
        return self._padded(self._count()).decode("utf-8")

    def _padded(self, count: int) -> bytes:
        return self._take(-(-count // 4) * 4)[:count]

    def _list(self, tag: int) -> int:
        found, count = self._int4(), self._count()
        if found not in (0, tag) or (found == 0 and count):
            raise ValueError(f"list tag {found} where {tag} is wanted")
        return count

    def _attributes(self) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for _ in range(self._list(ATTRIBUTES)):
            name = self._name()
            kind = TYPES[self._int4()]
            count = self._count()
            data = self._padded(count * np.dtype(kind).itemsize)
            if kind == "S1":
                attrs[name] = data.decode("utf-8", "replace").rstrip("\0")
            else:
                values = np.frombuffer(data, f">{kind}")
                attrs[name] = values[0] if count == 1 else values
        return attrs
