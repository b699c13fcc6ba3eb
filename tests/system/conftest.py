"""A product file as the jobs write it, small enough for every test."""

import numpy as np
import pytest

from pipshpc.plan import plan
from pipshpc.store import FILL, ProductFile, make_chunk
from tests.unit.test_plan import campaign, offer

ROWS, COLUMNS = 30, 60


@pytest.fixture
def product_file(tmp_path):
    """Return a day of `rlds` on 2 degrees, through the store: zonal, with a wave, a gap and an empty window."""
    task = plan(campaign(grid="2deg", chunk=[ROWS, COLUMNS], output=str(tmp_path)), offer())[0]
    path = tmp_path / "rlds_2deg_3h_20190202.nc"
    file = ProductFile(path, task, "rlds", "attempt")
    lat, lon = np.radians(task.window.lat())[:, None], np.radians(task.window.lon())[None, :]
    packing = file.card.packing
    for window in range(8):
        values = 230 + 110 * np.cos(lat) ** 2 + 40 * np.cos(lon + np.pi / 4 * window)
        packed = np.rint((values - packing.add_offset) / packing.scale_factor).astype(np.int16)
        packed[40:50, 100:120] = FILL["int16"]
        if window == 7:
            packed[:] = FILL["int16"]
        counts = np.where(packed == FILL["int16"], 0, 3).astype(np.uint8)
        for row in range(3):
            for column in range(3):
                part = slice(row * ROWS, (row + 1) * ROWS), slice(column * COLUMNS, (column + 1) * COLUMNS)
                chunk = [np.ascontiguousarray(a[part]) for a in (packed, counts)]
                file.write((row, column), [window], [make_chunk(*chunk, (ROWS, COLUMNS))])
    file.publish()
    return path
