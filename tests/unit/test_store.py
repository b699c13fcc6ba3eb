"""Chunks as HDF5 stores them; a file exists only when it is whole."""

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipshpc._encode import fletcher32, shuffle, unshuffle2

from pipshpc.digest import content_digest
from pipshpc.errors import OutputError
from pipshpc.plan import plan
from pipshpc.store import ProductFile, encode, make_chunk
from tests.unit.test_plan import campaign, offer


@pytest.mark.parametrize(
    ("dtype", "shape", "noise"),
    [
        ("i2", (37, 23), 50),
        ("u1", (37, 23), 50),
        ("f4", (37, 23), 50),
        ("i2", (360, 720), 500),
        ("i2", (360, 720), 0.6),
    ],
)
def test_hdf5_reads_our_chunks(tmp_path, dtype, shape, noise):
    # Noise of 500 fills the low bytes, which are then stored; noise of 0.6 lets them shrink.
    values = np.abs(np.random.default_rng(0).normal(size=shape) * noise).astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        dataset = file.create_dataset(
            "a", values.shape, dtype, chunks=values.shape, shuffle=values.itemsize > 1, compression="gzip",
            compression_opts=1, fletcher32=True,
        )  # fmt: skip
        dataset.id.write_direct_chunk((0, 0), encode(values))
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(file["a"][:], values)


@given(st.binary(min_size=0, max_size=3000))
def test_shuffle_comes_back(data):
    data += b"\0" * (len(data) % 2) + b"ab"
    out = np.empty(len(data) // 2, np.uint16)
    unshuffle2(np.frombuffer(shuffle(np.frombuffer(data, np.uint8), 2), np.uint8), out)
    assert out.tobytes() == data


def test_fletcher32_by_hand():
    # Two words 0x0102, 0x0304: a = 0x0406, b = 0x0102 + 0x0406 = 0x0508.
    assert fletcher32(np.frombuffer(b"\1\2\3\4", np.uint8)) == 0x05080406


def test_all_fill_needs_no_storage():
    fill = np.full((5, 5), -32768, np.int16)
    assert encode(fill, np.int16(-32768)) == b""
    assert encode(fill) != b""


@pytest.fixture
def file(tmp_path):
    task = plan(campaign(grid="5deg", chunk=[18, 36]), offer())[0]
    return ProductFile(tmp_path / "rlds.nc", task, "rlds", "attempt")


def fill(file, windows=8, skip=()):
    for row in range(2):
        for column in range(2):
            for window in range(windows):
                if (row, column, window) not in skip:
                    value = np.full((18, 36), row + 10 * column + 100 * window, np.int16)
                    chunk = make_chunk(value, np.ones((18, 36), np.uint8), (18, 36))
                    file.write((row, column), [window], [chunk])


def test_nothing_bears_the_name_before_publish(file):
    fill(file)
    assert not file.path.exists()
    digest = file.publish()
    assert digest == content_digest(file.path)
    assert not file.part.exists()
    with h5py.File(file.path) as product:
        assert product["rlds"][3, 20, 5] == 301
        assert product["rlds_count"][:].min() == 1


def test_missing_chunks_read_as_fill(file):
    fill(file, skip={(0, 0, 0)})
    file.publish()
    with h5py.File(file.path) as product:
        assert product["rlds"][0, 0, 0] == -32768
        assert product["rlds_count"][0, 0, 0] == 0


def test_a_damaged_part_is_not_published(file):
    fill(file)
    file.file.close()
    raw = bytearray(file.part.read_bytes())
    at = raw.index(encode(np.full((18, 36), 0, np.int16))[:-4])
    raw[at + 8] ^= 0xFF
    file.part.write_bytes(raw)
    with pytest.raises(OutputError):
        file.publish()
    assert not file.path.exists()


def test_abandon_leaves_nothing(file):
    fill(file, windows=1)
    file.abandon()
    assert list(file.path.parent.iterdir()) == []
