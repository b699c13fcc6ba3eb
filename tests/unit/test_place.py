"""Parts of large fields: the same bits as with the whole field, over the date line too, and no more memory than the
block's own size asks for."""

import numpy as np
import pytest

from pipshpc.chain import compile_chain, run_block, sun_table
from pipshpc.place import GATHER, place_block, read_part
from pipshpc.product import load_cards
from pipshpc.sourcegrid import SourceGrid
from pipshpc.statics import open_static
from pipshpc.task import Recipe, Sample, Step

CARDS = load_cards()
NY, NX = 360, 720
GRIDS = {
    "from the date line": SourceGrid(-90 + (np.arange(NY) + 0.5) / 2, -180 + (np.arange(NX) + 0.5) / 2, None, True),
    "from Greenwich": SourceGrid(-90 + (np.arange(NY) + 0.5) / 2, (np.arange(NX) + 0.5) / 2, None, True),
}
VALUES = np.random.default_rng(5).normal(size=(NY, NX)).astype(np.float32)
SCALED = Recipe(  # stored as float32, so that every bit is seen
    steps=[
        Step(name="orog", kind="static", source="orog"),
        Step(name="z0h", kind="kernel", source="z0h", algorithm="fixed", inputs={"z0m": "orog"}),
    ],
    outputs=["z0h"],
    choices=[],
)
FACTOR = float(np.exp(-2.3))
# West, step in degrees, columns: in the middle, over the date line, over Greenwich, all round, and coarser.
BLOCKS = [(10.0, 0.1, 100), (170.0, 0.1, 201), (-3.0, 0.05, 120), (-180.0, 0.5, 720), (-180.0, 4.0, 90)]


class Field:
    """Reads parts of an array, and remembers the largest."""

    def __init__(self, values):
        self.values, self.largest = values, 0

    def __call__(self, row, rows, column, columns):
        self.largest = max(self.largest, rows * columns)
        return np.take(self.values[row : row + rows], np.arange(column, column + columns), axis=1, mode="wrap").copy()


def coordinates(west, step, columns, rows=40):
    return 20.0 - (np.arange(rows) + 0.5) * step, west + (np.arange(columns) + 0.5) * step


def interpolate(lat, lon, place, address, parts=None):
    """One interpolated field times `FACTOR`, through the block machine."""
    chain = compile_chain(SCALED, CARDS, {"orog": 1})
    values = [np.empty((1, lat.size, lon.size), np.float32)]
    counts = [np.empty((1, lat.size, lon.size), np.uint8)]
    sample = Sample(first="", second="", weight=0.0, start="2019-06-21T00:00:00Z", seconds=3600.0)
    table = sun_table([sample], 3600.0)
    addresses = np.full((1, 1), address, np.uint64)
    bounds = np.array([0, 1], np.int32)
    run_block(chain, lat, lon, lon.size, [None, place] if parts else [place, place], addresses, bounds, table, values,
              counts, parts)  # fmt: skip
    return values[0]


@pytest.mark.parametrize("nearest", [False, True])
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
def test_a_part_gives_the_bits_of_the_whole(grid, block, nearest):
    lat, lon = coordinates(*block, rows=20)
    field = 1.0 + np.abs(VALUES)
    closed = np.concatenate([field, field[:, :1]], axis=1)
    whole = interpolate(lat, lon, place_block(grid, NX + 1, lat, lon, nearest), closed.ctypes.data)
    reader = Field(field)
    part = read_part(reader, grid, lat, lon, nearest)
    assert np.array_equal(whole, interpolate(lat, lon, None, 0, {0: part}))
    assert len(np.unique(whole)) > 20


@pytest.mark.parametrize("step", [1 / 120, 0.05, 0.5, 4.0])
def test_a_part_is_bounded_by_the_block(step):
    grid = SourceGrid(-90 + (np.arange(10800) + 0.5) / 60, -180 + (np.arange(21600) + 0.5) / 60, None, True)
    columns = min(720, round(360 / step))
    rows = min(360, round(100 / step))
    lat, lon = 90 - (np.arange(rows) + 0.5) * step, -180 + (np.arange(columns) + 0.5) * step

    def read(row, height, column, width):
        assert row >= 0
        assert row + height <= 10800
        return np.zeros((height, width), np.float32)

    part = read_part(read, grid, lat, lon)
    padded = -(-columns // 16) * 16
    assert part.values.size <= max(GATHER, 4) * rows * padded


def test_the_nearest_class_is_a_class():
    grid = GRIDS["from the date line"]
    classes = np.arange(NY * NX, dtype=np.float32).reshape(NY, NX) % 17
    lat, lon = coordinates(-180.0, 0.07, 300)
    part = read_part(Field(classes), grid, lat, lon, nearest=True)
    rows = np.round((lat + 90) * 2 - 0.5).astype(int)
    columns = np.round((lon + 180) * 2 - 0.5).astype(int) % NX
    found = interpolate(lat, lon, None, 0, {0: part})[0] / FACTOR
    assert np.allclose(found, classes[rows][:, columns], atol=1e-4)


def test_readers_of_the_land_mask_agree_with_the_whole():
    try:
        land = open_static("land")
    except Exception as error:
        pytest.skip(str(error))
    from pipshpc.statics import Reader

    assert land.large
    assert not open_static("orog").large
    reader = Reader(land)
    around = reader.part(12000, 8, 43190, 30)
    assert np.array_equal(around[:, :10], land.read(window=(12000, 12008, 43190, 43200)))
    assert np.array_equal(around[:, 10:], land.read(window=(12000, 12008, 0, 20)))
    reader.close()
