"""What a product file says, as one short text: equal for equal contents, whoever wrote the bytes.

The content digest covers the stored values of every dataset, seen through
its filters, with type, shape and chunks, and every attribute. It does not
cover where things lie in the file or how well they are compressed, so files
made by different numbers of ranks or another compressor can be compared. Nor
does it cover the attribute that names the software stack of the job.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.dataset import open_hdf5, plain
from pipshpc.errors import InputError

if TYPE_CHECKING:
    import h5py

READ_BYTES = 4 << 20
STACK = "pipshpc_stack"  # who made it, not what it says
# Dimension scales point at each other by address in the file; the names they point at are what counts.
REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")
MOST_DIFFERENCES = 50


def file_digest(path: str | Path) -> str:
    """Return the XXH3 (128 bit) of a file's bytes as 32 hex digits.

    Raises
    ------
    InputError
        Where the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with Path(path).open("rb") as stream:
            while part := stream.read(READ_BYTES):
                digest.update(part)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a file") from error
    return digest.hexdigest()


ChunkDigests = dict[tuple[str, tuple[int, ...]], bytes]


def chunk_digest(values: npt.NDArray[Any]) -> bytes:
    """Return the 16 bytes that stand for the values of one chunk (of its part inside the dataset)."""
    native = values.dtype.kind in "iuf" and values.dtype.isnative and sys.byteorder == "little"
    if native and values.flags.c_contiguous and values.size:
        return xxhash.xxh3_128_digest(values.reshape(-1).view(np.uint8).data)  # without a copy
    return xxhash.xxh3_128_digest(_value_bytes(values))


def content_digest(path: str | Path, known: ChunkDigests | None = None) -> str:
    """Return the XXH3 (128 bit) of what an HDF5 or netCDF-4 file says, as 32 hex digits.

    Everything is visited in the order of names. The values of a chunked
    dataset go in as the digests of its chunks in row-major order, so that
    whoever wrote the chunks can hand in what is known of them.

    Parameters
    ----------
    known : `chunk_digest` by (dataset name, corner); chunks in it are not read

    Raises
    ------
    InputError
        Where the file cannot be read, or a chunk does not pass its checksum.
    """
    digest = xxhash.xxh3_128()

    def add(kind: str, data: bytes) -> None:
        # Kind and length come first, so that no two sequences of items run into the same bytes.
        digest.update(f"{kind}:{len(data)}:".encode())
        digest.update(data)

    with open_hdf5(path) as handle:
        for name, node in nodes(handle):
            add("node", name.encode())
            for attribute in sorted(set(node.attrs) - {STACK}):
                add("attribute", attribute.encode())
                add("value", _attribute_bytes(node, attribute))
            if _is_dataset(node):
                add("layout", repr(_layout(node)).encode())
                for data in _value_digests(node, Path(path), known or {}):
                    digest.update(data)
    return digest.hexdigest()


def nodes(handle: h5py.File) -> Iterator[tuple[str, h5py.HLObject]]:
    """Yield (name, group or dataset) of a file, the root as ``/``, in the order of names."""
    names: list[str] = []
    handle.visit(names.append)
    yield "/", handle
    for name in sorted(names):
        yield f"/{name}", handle[name]


def _is_dataset(node: h5py.HLObject) -> bool:
    return hasattr(node, "shape") and hasattr(node, "chunks")


def _layout(node: h5py.Dataset) -> tuple[str, Any, Any]:
    return _type_name(node.dtype), node.shape, node.chunks


def _type_name(dtype: np.dtype[Any]) -> str:
    """Name a type without its byte order: that is how values lie in the file, not what they are."""
    if dtype.names:
        return "{" + ", ".join(f"{name}: {_type_name(dtype[name])}" for name in dtype.names) + "}"
    if dtype.kind in "OSU":
        metadata: Any = dtype.metadata or {}
        return "reference" if "ref" in metadata else "text"
    return dtype.newbyteorder("=").str.lstrip("<>|=")


def _pieces(node: h5py.Dataset, path: Path) -> Iterator[tuple[tuple[slice, ...], npt.NDArray[Any]]]:
    """Yield (where, values) of a dataset, a row of chunks at a time, in row-major order of the rows."""
    if node.shape is None:
        return
    if not node.shape or 0 in node.shape:
        yield (), np.asarray(node[()])
        return
    if node.chunks:
        # All of the last axis and one chunk of the others: every chunk is decoded once.
        steps = (*node.chunks[:-1], node.shape[-1])
    else:
        row = node.dtype.itemsize * int(np.prod(node.shape[1:]))
        steps = (max(1, READ_BYTES // max(row, 1)), *node.shape[1:])
    starts = [range(0, size, step) for size, step in zip(node.shape, steps, strict=True)]
    for corner in product(*starts):
        where = tuple(slice(a, min(a + n, size)) for a, n, size in zip(corner, steps, node.shape, strict=True))
        try:
            yield where, np.asarray(node[where])
        except OSError as error:
            raise InputError(f"{path}: {node.name} at {corner}: {error}; the file is damaged, make it again") from error


def _value_digests(node: h5py.Dataset, path: Path, known: ChunkDigests) -> Iterator[bytes]:
    """Yield what stands for the values of a dataset: digests of its chunks, or the values where it has none."""
    if node.shape is None or not node.shape or 0 in node.shape or not node.chunks:
        for _, values in _pieces(node, path):
            yield _value_bytes(values)
        return
    corners = product(*(range(0, size, step) for size, step in zip(node.shape, node.chunks, strict=True)))
    for corner in corners:
        found = known.get((node.name, corner))
        if found is None:
            where = tuple(slice(a, min(a + n, s)) for a, n, s in zip(corner, node.chunks, node.shape, strict=True))
            try:
                found = chunk_digest(np.asarray(node[where]))
            except OSError as error:
                text = f"{path}: {node.name} at {corner}: {error}; the file is damaged, make it again"
                raise InputError(text) from error
        yield found


def _value_bytes(values: npt.NDArray[Any]) -> bytes:
    """Values as little-endian bytes; text of any length with its length in front."""
    if values.dtype.kind in "OSU":
        encoded = (v if isinstance(v, bytes) else str(v).encode() for v in values.ravel().tolist())
        return b"".join(b"%d:%s" % (len(text), text) for text in encoded)
    if values.dtype.names:
        return b"".join(_value_bytes(np.asarray(values[name])) for name in values.dtype.names)
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return little.tobytes()


def _attribute_bytes(node: h5py.HLObject, name: str) -> bytes:
    """An attribute's type and value; a single number and an array of one are the same, as are kinds of text."""
    if name in REFERENCES:
        return repr(_pointed_at(node, name)).encode()
    value = node.attrs[name]
    if isinstance(value, str | bytes | np.bytes_) or np.asarray(value).dtype.kind in "OSU":
        return f"text {plain(value)!r}".encode()
    array = np.asarray(value)
    shape = () if array.size == 1 else array.shape
    return f"{_type_name(array.dtype)} {shape} ".encode() + _value_bytes(array)


def _pointed_at(node: h5py.HLObject, name: str) -> list[Any]:
    """Names behind the references of dimension scales, with the axis where one is given."""
    handle, value = node.file, node.attrs[name]
    if name == "REFERENCE_LIST":
        return sorted((str(handle[ref].name), int(axis)) for ref, axis in value)
    return [[str(handle[ref].name) for ref in np.atleast_1d(refs)] for refs in value]


def difference(a: str | Path, b: str | Path) -> list[str]:
    """Say in words what differs between two files; an empty list means that they say the same.

    At most 50 lines are given, each naming the dataset or attribute.

    Raises
    ------
    InputError
        Where one of the files cannot be read.
    """
    lines: list[str] = []
    with open_hdf5(a) as one, open_hdf5(b) as two:
        left, right = dict(nodes(one)), dict(nodes(two))
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                lines.append(f"{name}: only in {a if name in left else b}")
                continue
            lines += [f"{name}: {text}" for text in _attribute_differences(left[name], right[name])]
            if _is_dataset(left[name]) != _is_dataset(right[name]):
                lines.append(f"{name}: a dataset in one file, a group in the other")
            elif _is_dataset(left[name]):
                lines += [f"{name}: {text}" for text in _value_differences(left[name], right[name], Path(a), Path(b))]
    if len(lines) > MOST_DIFFERENCES:
        lines = [*lines[:MOST_DIFFERENCES], f"and {len(lines) - MOST_DIFFERENCES} more"]
    return lines


def _attribute_differences(one: h5py.HLObject, two: h5py.HLObject) -> Iterator[str]:
    for name in sorted((set(one.attrs) | set(two.attrs)) - {STACK}):
        if name not in one.attrs or name not in two.attrs:
            yield f"attribute '{name}' only in the {'first' if name in one.attrs else 'second'} file"
        elif _attribute_bytes(one, name) != _attribute_bytes(two, name):
            yield f"attribute '{name}': {_shown(one, name)} against {_shown(two, name)}"


def _shown(node: h5py.HLObject, name: str) -> str:
    text = repr(_pointed_at(node, name) if name in REFERENCES else plain(node.attrs[name]))
    return text if len(text) <= 160 else text[:157] + "..."


def _value_differences(one: h5py.Dataset, two: h5py.Dataset, a: Path, b: Path) -> Iterator[str]:
    for what, left, right in zip(("type", "shape", "chunks"), _layout(one), _layout(two), strict=True):
        if left != right:
            yield f"{what} {left} against {right}"
    if one.shape != two.shape or _type_name(one.dtype) != _type_name(two.dtype):
        return
    different, gaps, largest, where_first = 0, 0, 0.0, None
    fill = one.attrs.get("_FillValue")
    for where, values in _pieces(one, a):
        try:
            others = np.asarray(two[where])
        except OSError as error:
            raise InputError(f"{b}: {two.name}: {error}; the file is damaged, make it again") from error
        if _value_bytes(values) == _value_bytes(others):
            continue
        left, right = np.atleast_1d(values), np.atleast_1d(others)
        unequal = left != right
        if left.dtype.kind in "iuf":
            no_left, no_right = _missing(left, fill), _missing(right, fill)
            unequal &= ~(no_left & no_right)
            gaps += int((no_left ^ no_right).sum())
            both = unequal & ~(no_left | no_right)
            apart = np.abs(left[both].astype(np.float64) - right[both].astype(np.float64))
            largest = max(largest, float(apart.max()) if apart.size else 0.0)
        if where_first is None and unequal.any():
            corner = [s.start for s in where] or [0] * unequal.ndim
            where_first = [int(i) + c for i, c in zip(np.argwhere(unequal)[0], corner, strict=True)]
        different += int(unequal.sum())
    if different:
        absent = f", {gaps} of these missing in one file only" if gaps else ""
        yield f"{different} of {one.size} values differ, first at {where_first}{absent}{_in_units(one, largest)}"


def _missing(values: npt.NDArray[Any], fill: Any) -> npt.NDArray[np.bool_]:
    blank = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, np.bool_)
    return np.asarray(blank if fill is None else blank | (values == np.ravel(fill)[0]), np.bool_)


def _in_units(node: h5py.Dataset, largest: float) -> str:
    """Tell the largest difference as stored and, where values are packed, in the units of the variable."""
    if not largest:
        return ""
    scale = abs(float(np.ravel(node.attrs.get("scale_factor", 1.0))[0]))
    units = str(plain(node.attrs.get("units", "")))
    if scale == 1.0:
        return f", by up to {largest:g} {units if units != '1' else ''}".rstrip()
    return f", by up to {largest:g} as stored, that is {largest * scale:.4g} {units}".rstrip()
