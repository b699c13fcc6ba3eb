"""The chain of fluxes on real ranks and static fields: same content for any ranks and threads, same values for any
blocks, nothing stored for the sea of a land product."""

from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from pipshpc.campaign import load_campaign
from pipshpc.digest import content_digest
from pipshpc.notes import Report, read_note
from pipshpc.plan import plan
from pipshpc.survey import survey

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("statics")]
FILE = Path(__file__).parents[2] / "jobs" / "campaigns" / "flux_1km.yaml"
COAST = [176.0, -39.0, -176.0, -35.0]  # New Zealand and the sea beyond the date line
BOXES = {
    "coast": COAST,
    "sea": [-140.0, -20.0, -137.0, -17.0],
    "land": [20.0, 2.0, 23.0, 5.0],
    "polar night": [-20.0, -80.0, 0.0, -70.0],
}


@pytest.fixture
def flux_task(tmp_path):
    def make(box=COAST, **changes):
        plain = {"box": box, "grid": "0.05deg", "chunk": [32, 48], "output": str(tmp_path / "out")}
        one = msgspec.structs.replace(load_campaign(FILE), **{**plain, **changes})
        return plan(one, survey(one, tmp_path))[0]

    return make


def unpack(path, product):
    with h5py.File(path) as file:
        data = file[product]
        stored = data[0]
        values = stored * data.attrs["scale_factor"] + data.attrs["add_offset"]
        return np.where(stored == data.attrs["_FillValue"][0], np.nan, values)


def test_same_content_for_any_ranks_and_threads(flux_task, start_ranks, tmp_path):
    found = {}
    for ranks, threads in ((1, 1), (2, 1), (3, 1), (1, 2)):
        task = flux_task(output=str(tmp_path / f"out{ranks}{threads}"))
        done = start_ranks(task, ranks, threads)
        assert done.returncode == 0, done.stderr
        found[ranks, threads] = [content_digest(task.path(p)) for p in task.products]
    assert len(set(map(tuple, found.values()))) == 1


def test_same_values_for_any_blocks(flux_task, start_ranks, tmp_path):
    tasks = [flux_task(output=str(tmp_path / str(k)), chunk=chunk) for k, chunk in enumerate(([32, 48], [80, 160]))]
    for task in tasks:
        done = start_ranks(task, 2)
        assert done.returncode == 0, done.stderr
    for product in tasks[0].products:
        one, two = (unpack(task.path(product), product) for task in tasks)
        assert np.array_equal(one, two, equal_nan=True)
        assert np.isfinite(one).any()


@pytest.mark.parametrize("where", BOXES)
def test_fluxes_are_there_on_every_surface_and_moisture_on_land(flux_task, start_ranks, where):
    task = flux_task(box=BOXES[where])
    done = start_ranks(task, 2)
    assert done.returncode == 0, done.stderr
    fields = {product: unpack(task.path(product), product) for product in task.products}
    for product in ("rn", "hfss", "hfls"):
        assert np.isfinite(fields[product]).all(), product
        assert np.abs(fields[product]).max() < 600
    share = np.isfinite(fields["smi"]).mean()
    assert {"coast": 0 < share < 1, "sea": share == 0, "land": share > 0.95, "polar night": share < 0.05}[where]
    if where == "sea":
        with h5py.File(task.path("smi")) as file:
            assert file["smi"].id.get_num_chunks() == 0
            assert file["smi_count"].id.get_num_chunks() == 0
    if where == "polar night":
        assert fields["rn"].max() < 0


def test_files_say_what_is_idealised_and_what_is_not(flux_task, start_ranks):
    task = flux_task(box=BOXES["sea"])
    assert start_ranks(task, 1).returncode == 0
    with h5py.File(task.path("hfss")) as file:
        text = {name: value.decode() for name, value in file.attrs.items() if isinstance(value, bytes)}
    assert "idealised" in text["comment"]
    assert "sea surface" in text["comment"]
    assert "water by coare36" in text["source"]
    assert '"landcover"' in text["lineage"]
    assert '"ndvi_max"' in text["lineage"]
    assert "energy-balance" in text["source"] or "by-surface" in text["lineage"]


def test_memory_does_not_hold_the_land_mask(flux_task, start_ranks, tmp_path):
    """The mask alone is 3.6 GiB as numbers; blocks of a kilometre and coarse ones stay far below."""
    for grid, box, chunk in (("1/120deg", [20.0, 2.0, 21.0, 3.0], [60, 60]), ("1deg", "globe", [90, 180])):
        task = flux_task(box=box, grid=grid, chunk=chunk, output=str(tmp_path / grid.replace("/", "_")))
        one = start_ranks(task, 1)
        assert one.returncode == 0, one.stderr
        report = read_note(tmp_path / f"{task.id}.1.1.report", Report)
        assert report.peak_mib[0] < 600
