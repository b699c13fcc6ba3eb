"""netCDF-4 and other HDF5 through h5py, with a fast way for deflated chunks."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from pipshpc.errors import InputError
from pipshpc.source.cf import CfReader, Packing, Variable, unpack
from pipshpc.source.handles import HANDLES
from pipshpc.source.reader import Float32Array

DEFLATE_ERROR: Any = isal_zlib.error
# Chunks that span several times are kept, decompressed, up to this size per file.
KEEP_BYTES = 160 << 20
INTERNAL = (
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "CLASS",
    "NAME",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
)


class Hdf5Reader(CfReader):
    """One HDF5 file, with or without CF attributes.

    Raises
    ------
    InputError
        The file is truncated or not HDF5.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], npt.NDArray[np.uint8]] = OrderedDict()
        variables: dict[str, Variable] = {}

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "iufSO":
                variables[name] = self._variable(name, item)

        try:
            self._opened().visititems(visit)
        except (OSError, RuntimeError, KeyError) as error:
            self.close()
            raise InputError(f"{path}: damaged HDF5: {error}; get the file again") from error
        super().__init__(path, variables)

    def validate(self) -> None:
        """HDF5 compares the size of the file with what its superblock states when it is opened."""

    def close(self) -> None:
        """Close the file."""
        self._kept.clear()
        HANDLES.drop(self)

    def _opened(self) -> Any:
        return HANDLES.take(self, self._start)

    def _start(self) -> Any:
        try:
            return h5py.File(self.path, "r", locking=False)
        except OSError as error:
            raise InputError(f"{self.path}: truncated or damaged HDF5: {error}; get the file again") from error

    def _variable(self, name: str, dataset: Any) -> Variable:
        attrs = {k: _plain(v) for k, v in dataset.attrs.items() if k not in INTERNAL}
        direct = _direct(dataset)

        def plane(place: tuple[int, ...], packing: Packing, flip: bool) -> Float32Array:
            dataset = self._opened()[name]
            try:
                if direct:
                    return self._tiles(name, dataset, place, packing, flip)
                return unpack(dataset[place], packing, flip)
            except (OSError, RuntimeError, DEFLATE_ERROR, ValueError) as error:
                at = f", index {place[0]}" if place else ""
                raise InputError(
                    f"{self.path}: variable '{name}'{at}: damaged data: {error}; get the file again"
                ) from error

        return Variable(
            name, _dims(name, dataset), dataset.shape, dataset.dtype, attrs, lambda: self._opened()[name][()], plane
        )

    def _tiles(self, name: str, dataset: Any, place: tuple[int, ...], packing: Packing, flip: bool) -> Float32Array:
        """Read a field chunk by chunk, past HDF5's filter pipeline: two to three times faster."""
        from pipshpc._unpack import unpack_tile

        rows, columns = dataset.shape[-2:]
        *thick, chunk_rows, chunk_columns = dataset.chunks
        first = [p // t * t for p, t in zip(place, thick, strict=True)]
        within = [p - f for p, f in zip(place, first, strict=True)]
        plane = int(np.ravel_multi_index(within, thick)) if thick else 0
        kind = dataset.dtype.str[1:]
        shuffled = bool(dataset.shuffle)
        out = np.empty((rows, columns), np.float32)
        for y in range(0, rows, chunk_rows):
            height = min(chunk_rows, rows - y)
            target_y = rows - y - height if flip else y
            for x in range(0, columns, chunk_columns):
                width = min(chunk_columns, columns - x)
                raw = self._chunk(name, dataset, (*first, y, x))
                target = out[target_y : target_y + height, x : x + width]
                if raw is None:
                    part = dataset[(*place, slice(y, y + height), slice(x, x + width))]
                    target[...] = unpack(part, packing, flip)
                    continue
                unpack_tile(
                    raw, kind, shuffled, plane, chunk_rows, chunk_columns, target, flip,
                    packing.scale, packing.offset, packing.fill1, packing.fill2,
                )  # fmt: skip
        return out

    def _chunk(self, name: str, dataset: Any, corner: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
        """Decompressed bytes of a chunk; None where it is not in the file (all fill)."""
        key = (name, corner)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        size = math.prod(dataset.chunks) * dataset.dtype.itemsize
        try:
            mask, packed = dataset.id.read_direct_chunk(corner)
        except (OSError, RuntimeError, ValueError):
            return None
        if mask:
            return None
        raw = np.frombuffer(isal_zlib.decompress(packed, 15, size) if dataset.compression else packed, np.uint8)
        if raw.size != size:
            raise ValueError(f"a chunk has {raw.size} bytes, {size} are wanted")
        if math.prod(dataset.chunks[:-2]) > 1:
            self._kept[key] = raw
            while len(self._kept) * size > KEEP_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return raw


def _direct(dataset: Any) -> bool:
    """Whether the chunks can be decoded without HDF5: little-endian int16 or float32, at most shuffle and deflate."""
    if dataset.chunks is None or dataset.ndim < 2 or dataset.dtype.str not in ("<i2", "<f4"):
        return False
    pipeline = dataset.id.get_create_plist()
    filters = [pipeline.get_filter(i)[0] for i in range(pipeline.get_nfilters())]
    shuffle, deflate = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE
    return filters in ([shuffle, deflate], [deflate])


def _dims(name: str, dataset: Any) -> tuple[str, ...]:
    """Names of the dimensions, from HDF5 dimension scales; "" where there is none."""
    names = []
    for position in range(dataset.ndim):
        try:
            scales = dataset.dims[position]
            label = scales[0].name.lstrip("/") if len(scales) else ""
        except (OSError, RuntimeError, KeyError):
            label = ""
        if not label and dataset.ndim == 1 and dataset.attrs.get("CLASS") in (b"DIMENSION_SCALE", "DIMENSION_SCALE"):
            label = name
        names.append(label)
    return tuple(names)


def _plain(value: Any) -> Any:
    """An attribute as text or number, whichever of HDF5's string types it is kept in."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, h5py.Empty):
        return ""
    return value
