"""Chunks as HDF5 stores them: shuffle, deflate by ISA-L, fletcher32; what is constant is encoded once."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from pipshpc._encode import fletcher32, is_constant, shuffle
from pipshpc.digest import chunk_digest
from pipshpc.exchange import Chunk

FILL: dict[str, Any] = {"int16": np.int16(-32768), "uint8": np.uint8(255), "float32": np.float32("nan")}
LEVEL = 1
SAMPLE_BYTES = 16384  # of the low bytes, to see whether they shrink
STORE_RATIO = 0.85


def encode(values: npt.NDArray[Any], fill: Any = None) -> bytes | bytearray:
    """Return one chunk as HDF5 stores it; empty where every value is `fill`, which needs no storage."""
    raw = values.reshape(-1).view(np.uint8)
    if is_constant(raw, values.itemsize):
        first = values.flat[0]
        if fill is not None and (first == fill or (first != first and fill != fill)):
            return b""
        return _encode_constant(values.dtype.str, first.tobytes(), values.size)
    return _encode(raw, values.itemsize)


def _encode(raw: npt.NDArray[np.uint8], itemsize: int) -> bytearray:
    planes = shuffle(raw, itemsize)
    parts = _deflate_high(planes) if itemsize == 2 else [isal_zlib.compress(planes, LEVEL)]
    packed = bytearray().join(parts)
    packed += int(fletcher32(packed)).to_bytes(4, "little")
    return packed


def _deflate_high(planes: bytes) -> list[bytes | memoryview]:
    """Return the parts of a zlib stream of shuffled 16-bit values; low bytes that are noise are stored as they are.

    The low bytes of a measured field hardly shrink, and trying costs most of
    the time (decision record 0002). A sample decides, so the choice depends on
    the values alone. Source of the format: RFC 1950 and RFC 1951.
    """
    half = len(planes) // 2
    if half < 4 * SAMPLE_BYTES:
        return [isal_zlib.compress(planes, LEVEL)]
    low = memoryview(planes)[:half]
    sample = low[(half - SAMPLE_BYTES) // 2 :][:SAMPLE_BYTES]
    if len(isal_zlib.compress(sample, LEVEL)) < STORE_RATIO * SAMPLE_BYTES:
        return [isal_zlib.compress(planes, LEVEL)]
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for at in range(0, half, 65535):
        piece = low[at : at + 65535]
        parts += [struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF), piece]
    parts.append(isal_zlib.compress(memoryview(planes)[half:], LEVEL, wbits=-15))
    parts.append(struct.pack(">I", isal_zlib.adler32(planes)))
    return parts


@lru_cache(maxsize=64)
def _encode_constant(dtype: str, item: bytes, size: int) -> bytearray:
    values = np.full(size, np.frombuffer(item, dtype)[0])
    return _encode(values.view(np.uint8), values.itemsize)


def make_chunk(
    values: npt.NDArray[Any], counts: npt.NDArray[np.uint8], extent: tuple[int, int], fill: Any = None
) -> Chunk:
    """Encode one block and window.

    Parameters
    ----------
    values, counts : (rows, columns) of a whole chunk
    extent : rows and columns of it that lie inside the dataset
    fill : value that stands for missing in `values`
    """
    inside = np.s_[: extent[0], : extent[1]]
    return Chunk(
        encode(values, fill),
        encode(counts, np.uint8(0)),
        _digest(values[inside]),
        _digest(counts[inside]),
    )


def _digest(values: npt.NDArray[Any]) -> bytes:
    if values.flags.c_contiguous and is_constant(values.reshape(-1).view(np.uint8), values.itemsize):
        return _digest_constant(values.dtype.str, values.flat[0].tobytes(), values.shape)
    return chunk_digest(values)


@lru_cache(maxsize=64)
def _digest_constant(dtype: str, item: bytes, shape: tuple[int, ...]) -> bytes:
    return chunk_digest(np.full(shape, np.frombuffer(item, dtype)[0]))
