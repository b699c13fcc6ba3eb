"""Write product files: CF netCDF-4 in HDF5, whole chunks, published only when complete.

Ranks encode their own chunks (shuffle, deflate by ISA-L, fletcher32); one
writer rank per file takes them in the order of the blocks, so the layout of a
file does not depend on the number of ranks (ISA-L now and then finds another,
equally valid encoding of the same values, so bytes are not promised). Decision record 0002 has the
figures against collective writing through HDF5's own filters.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipshpc import __version__
from pipshpc.axes import note_field, write_degrees, write_metres, write_wgs84
from pipshpc.digest import STACK, ChunkDigests, content_digest
from pipshpc.encode import FILL, LEVEL, encode, make_chunk
from pipshpc.errors import OutputError
from pipshpc.exchange import Chunk
from pipshpc.grid import AnyWindow, PolarWindow
from pipshpc.ledger import INLINE_BYTES, Entry, Ledger, Place, check_of, parts_of, remove
from pipshpc.product import Card
from pipshpc.prose import tell_surfaces
from pipshpc.schema import convert
from pipshpc.task import Task

NEAR_END_BYTES, HEAD_BYTES = 4096, 64
WRITEBACK_BYTES = 8 << 20
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def start_writeback(fd: int) -> None:
    """Let the disk begin with what has been written, so that the last fsync has little left to wait for."""
    with contextlib.suppress(AttributeError):  # Linux only
        # 2 is SYNC_FILE_RANGE_WRITE: start, do not wait; a length of 0 is the whole file.
        ctypes.CDLL(None).sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 2)


class ProductFile:
    """One product file being written; nothing bears its final name before `publish`.

    Parameters
    ----------
    path : final path
    task : what is made
    product : which of its products
    attempt : text that tells this attempt from others, part of the temporary name
    """

    def __init__(self, path: Path, task: Task, product: str, attempt: str) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.{attempt}.part")
        self.card = convert(task.cards[product], Card, f"task {task.id}: card '{product}'")
        self.task = task
        self.sizes: dict[tuple[str, int, int, int], int] = {}
        self.digests: ChunkDigests = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The 1.10 format is the oldest with a compact index of fixed-size chunk tables.
            # Nobody else opens an unfinished file, so HDF5's lock is not needed, which some file systems refuse.
            self.file = h5py.File(self.part, "w", libver=("v110", "v110"), locking=False)
        except OSError as error:
            raise OutputError(
                f"{self.part}: cannot be created ({error}); check the folder and its free space"
            ) from error
        self.values, self.counts = _create(self.file, task, self.card)
        self.ledger = Ledger(self.part, task.id)
        self._fd = os.open(self.part, os.O_RDONLY)
        self._unsent = 0

    def write(self, block: tuple[int, int], windows: Sequence[int], chunks: Sequence[Chunk]) -> None:
        """Store the encoded chunks of one block, one per window, and note that they are there.

        Raises
        ------
        OutputError
            Where the disk takes no more.
        """
        self.ledger.add([self._write_one(block, w, c) for w, c in zip(windows, chunks, strict=True)])
        self._unsent += sum(len(c.values) + len(c.counts) for c in chunks)
        if self._unsent > WRITEBACK_BYTES:
            start_writeback(self._fd)
            self._unsent = 0

    def _write_one(self, block: tuple[int, int], window: int, chunk: Chunk) -> Entry:
        places = []
        at = (window, block[0] * self.task.chunk[0], block[1] * self.task.chunk[1])
        for dataset, data, digest in (
            (self.values, chunk.values, chunk.values_digest),
            (self.counts, chunk.counts, chunk.counts_digest),
        ):
            self.digests[(dataset.name, at)] = digest
            places.append(Place(0, len(data), b"" if len(data) > INLINE_BYTES else bytes(data)))
            if len(data):
                try:
                    dataset.id.write_direct_chunk(at, data)
                except OSError as error:
                    raise OutputError(f"{self.part}: cannot be written ({error}); is the disk full?") from error
                self.sizes[(dataset.name, *at)] = len(data)
                if len(data) > INLINE_BYTES:
                    places[-1] = Place(self._offset(dataset, at, data), len(data))
        check = check_of(chunk.values, chunk.counts)
        return Entry(window, block, places[0], places[1], chunk.values_digest, chunk.counts_digest, check)

    def _offset(self, dataset: h5py.Dataset, at: tuple[int, int, int], data: bytes | bytearray | memoryview) -> int:
        """Return where the chunk just written lies.

        HDF5 puts it near the end of the file, before what is left of its block
        for small pieces: so look there for its first bytes. Asking HDF5 walks
        over all chunks (decision record 0007).
        """
        start = max(0, self.file.id.get_filesize() - len(data) - NEAR_END_BYTES)
        found = os.pread(self._fd, NEAR_END_BYTES + HEAD_BYTES, start).rfind(bytes(data[:HEAD_BYTES]))
        return start + found if found >= 0 else int(dataset.id.get_chunk_info_by_coord(at).byte_offset)

    def publish(self) -> str:
        """Finish, give the file its name, and remove what is left over; return the content digest."""
        digest = self.finish()
        self.reveal()
        self.clear()
        return digest

    def tell(self, facts: dict[str, Any]) -> None:
        """State what was found on the way, by name, as attributes of the data variable; the same from run to run."""
        for name, value in facts.items():
            _attribute(self.file[self.values_name], name, json.dumps(value))

    def finish(self) -> str:
        """Close, verify and make durable; return the content digest.

        Raises
        ------
        OutputError
            Where a chunk is missing or has another size than was written.
        """
        try:
            self.file.close()
            self._verify()
            digest = content_digest(self.part, self.digests)
            fd = os.open(self.part, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._close_handles()
        except OSError as error:
            raise OutputError(f"{self.part}: cannot be completed ({error}); is the disk full?") from error
        return digest

    def reveal(self) -> None:
        """Give the finished file its name.

        The unfinished name and its ledger stay until `clear`: an attempt that
        dies before all files of the task count as done leaves its blocks to
        the next one.
        """
        twin = self.path.with_name(f"{self.part.name.removesuffix('.part')}.twin.part")
        try:
            try:
                os.link(self.part, twin)
            except OSError:  # not every file system has hard links
                self.part.replace(self.path)
                remove(self.part)  # its ledger
            else:
                twin.replace(self.path)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be given its name ({error}); check the folder") from error

    def clear(self) -> None:
        """Remove this attempt's ledger, and what earlier ones left; the last act, when the file counts as done."""
        for part in {self.part, *parts_of(self.path)}:
            remove(part)

    def _verify(self) -> None:
        with h5py.File(self.part, "r", locking=False) as file:
            for dataset in (file[self.values_name], file[self.counts_name]):
                wanted = {key: size for key, size in self.sizes.items() if key[0] == dataset.name}
                found = dataset.id.get_num_chunks(), dataset.id.get_storage_size()
                if found != (len(wanted), sum(wanted.values())):
                    raise OutputError(
                        f"{self.part}: {dataset.name} holds {found[0]} chunks of {found[1]} bytes, wanted "
                        f"{len(wanted)} of {sum(wanted.values())} as written; the file is not published, run again"
                    )
                for key in list(wanted)[:1] + list(wanted)[-1:]:
                    # Reading runs the checksum and the decoder; HDF5 raises OSError where they fail.
                    dataset[tuple(slice(a, a + n) for a, n in zip(key[1:], dataset.chunks, strict=True))]

    @property
    def values_name(self) -> str:
        """Name of the data variable."""
        return self.card.id

    @property
    def counts_name(self) -> str:
        """Name of the variable with the number of samples."""
        return f"{self.card.id}_count"

    def suspend(self) -> None:
        """Close the unfinished file; its blocks stay for the next attempt."""
        self._close_handles()
        # Where the disk is full the structures cannot be written, but the chunks that the ledger names are there.
        with contextlib.suppress(OSError, RuntimeError):
            self.file.close()

    def _close_handles(self) -> None:
        self.ledger.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def abandon(self) -> None:
        """Close and remove the unfinished file."""
        self.suspend()
        remove(self.part)


def _create(file: h5py.File, task: Task, card: Card) -> tuple[h5py.Dataset, h5py.Dataset]:
    """Lay out the file: coordinates, bounds, grid mapping, attributes, empty datasets."""
    window = task.window
    for name, value in _global_attributes(task, card).items():
        _attribute(file, name, value)
    scales = _coordinates(file, task, window)
    shape = (len(task.windows), *window.shape)
    chunks = (1, *task.chunk)
    fill = FILL[card.packing.dtype]
    values = _dataset(file, card.id, shape, fill.dtype, chunks, fill)
    counts = _dataset(file, f"{card.id}_count", shape, np.dtype("uint8"), chunks, np.uint8(0))
    packing = card.packing
    _describe(values, long_name=card.long_name, units=card.units, cell_methods=card.cell_methods, grid_mapping="crs")
    if card.standard_name:
        _describe(values, standard_name=card.standard_name)
    _describe(values, ancillary_variables=f"{card.id}_count")
    low, high = card.valid_range
    if packing.dtype != "float32":
        values.attrs["scale_factor"] = np.float32(packing.scale_factor)
        values.attrs["add_offset"] = np.float32(packing.add_offset)
        low, high = ((v - packing.add_offset) / packing.scale_factor for v in (low, high))
    values.attrs["valid_range"] = np.array([low, high]).round().astype(values.dtype)
    if task.steps:
        _describe(counts, long_name=f"share of the steps that are in {card.id}", units="percent", grid_mapping="crs")
    else:
        _describe(
            counts,
            standard_name="number_of_observations",
            long_name=f"number of samples in the mean of {card.id}",
            units="1",
            grid_mapping="crs",
        )
    for dataset in (values, counts):
        if isinstance(window, PolarWindow):
            note_field(dataset)
        for axis, scale in enumerate(scales):
            dataset.dims[axis].attach_scale(scale)
    return values, counts


def _dataset(
    file: h5py.File, name: str, shape: tuple[int, ...], dtype: Any, chunks: tuple[int, ...], fill: Any
) -> h5py.Dataset:
    dataset = file.create_dataset(
        name,
        shape,
        dtype,
        chunks=chunks,
        shuffle=dtype.itemsize > 1,
        compression="gzip",
        compression_opts=LEVEL,
        fletcher32=True,
        fillvalue=fill,
    )
    if name.endswith("_count"):
        return dataset  # 0 samples is a value, not a gap
    dataset.attrs.create("_FillValue", np.array([fill], dtype))
    return dataset


def _coordinates(file: h5py.File, task: Task, window: AnyWindow) -> list[h5py.Dataset]:
    starts = np.array([(datetime.fromisoformat(t) - EPOCH).total_seconds() / 3600 for t in task.windows])
    length = task.period_s / 3600
    time = file.create_dataset("time", data=starts + length / 2)
    _describe(time, standard_name="time", long_name="middle of the averaging window", axis="T", bounds="time_bnds")
    _describe(time, units="hours since 1970-01-01 00:00:00", calendar="standard", units_metadata="leap_seconds: none")
    if isinstance(window, PolarWindow):
        time.make_scale("time")
        scales, edges = write_metres(file, window)
    else:
        scales, edges = write_degrees(file, window, time)
    # netCDF wants a scale for the bounds' second dimension; this text says that it is no variable.
    pair = file.create_dataset("bnds", (2,), "f4")
    pair.make_scale(f"This is a netCDF dimension but not a netCDF variable.{2:10d}")
    for name, values, scale in (("time_bnds", np.stack([starts, starts + length], axis=1), time), *edges):
        bounds = file.create_dataset(name, data=values)
        bounds.dims[0].attach_scale(scale)
        bounds.dims[1].attach_scale(pair)
    if not isinstance(window, PolarWindow):
        write_wgs84(file)
    return [time, *scales]


def _global_attributes(task: Task, card: Card) -> dict[str, str]:
    """Return the attributes that say what the file is and how it came to be.

    Nothing in them changes from run to run but the stack that the job had
    loaded, which the content digest leaves out: another stack must not make
    another product.
    """
    choice = next(c for c in task.recipe.choices if c.product == card.id)
    algorithm = card.algorithm(choice.algorithm)
    parts = [card.algorithm(name) for name in dict.fromkeys(algorithm.by.values())]
    references = algorithm.references or list(dict.fromkeys(r for part in parts for r in part.references))
    how = f"{algorithm.name} ({tell_surfaces(algorithm)})" if parts else algorithm.name
    return {
        "Conventions": "CF-1.11",
        "title": f"{card.long_name}, {task.grid}, {_tell_period(task)}",
        "institution": "made with pipshpc",
        "source": f"{card.id} version {card.version}, algorithm {how}, from {task.forcing_title}",
        "history": f"pipshpc {__version__}, task {task.id}",
        "references": "; ".join(references),
        "comment": task.forcing_comment,
        "pipshpc_product": card.id,
        "pipshpc_algorithm": algorithm.name,
        "pipshpc_task": task.id,
        "lineage": json.dumps(lineage(task), sort_keys=True),
        **loaded_stack(),
    }


def _tell_period(task: Task) -> str:
    if task.steps:
        return f"{len(task.steps)} steps of {task.step_s / 3600:g} h"
    return f"means of {task.period_s / 3600:g} h"


def loaded_stack(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the attribute that names the stack this process has loaded, with its digest; empty where it has none."""
    words = environ.get("PIPSHPC_STACK"), environ.get("PIPSHPC_STACK_DIGEST")
    return {STACK: " ".join(filter(None, words))} if all(words) else {}


def lineage(task: Task) -> dict[str, object]:
    """Return where a task's results come from: cards, choices, inputs and kernels, each with version or digest."""
    return {
        "task": task.id,
        "pipshpc": __version__,
        "kernels": task.kernels,
        "forcing": {"title": task.forcing_title, "identity": task.forcing_identity, "hold": task.forcing.hold},
        "statics": task.statics,
        "cards": {name: card["version"] for name, card in task.cards.items()},
        "choices": [{"product": c.product, "algorithm": c.algorithm, "reason": c.reason} for c in task.recipe.choices],
        "rejected": {c.product: c.rejected for c in task.recipe.choices if c.rejected},
    }


def _describe(target: h5py.Dataset, **attributes: str) -> None:
    for name, value in attributes.items():
        _attribute(target, name, value)


def _attribute(target: Any, name: str, value: str) -> None:
    """Write text as netCDF's NC_CHAR, which every reader takes."""
    target.attrs[name] = np.bytes_(value.encode("utf-8")) if value else np.bytes_(b" ")


__all__ = ["FILL", "LEVEL", "ProductFile", "encode", "lineage", "make_chunk", "start_writeback"]
