"""Soil moisture by the edges of the scatter: two passes over real ranks give the same bits, however the work is cut."""

import json
import signal
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from pipshpc import compute
from pipshpc.campaign import load_campaign
from pipshpc.digest import content_digest
from pipshpc.passes import REDUCTIONS
from pipshpc.plan import plan
from pipshpc.survey import survey
from tests.mpi.test_resume import ranks_of, wait_until

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("statics")]
FILE = Path(__file__).parents[2] / "jobs" / "campaigns" / "flux_1km.yaml"
SAHEL = [10.0, 4.0, 20.0, 16.0]  # bare to dense, about noon at 12 UTC
ALGORITHMS = {"tvdi": "sandholt2002-land"}


@pytest.fixture
def dryness(tmp_path):
    def make(name, **changes):
        campaign = load_campaign(FILE)
        plain = {
            "products": ["tvdi"],
            "algorithms": {**campaign.algorithms, **ALGORITHMS},
            "box": SAHEL,
            "grid": "0.05deg",
            "chunk": [48, 64],
            "period": "3h",
            "output": str(tmp_path / name),
        }
        one = msgspec.structs.replace(campaign, **{**plain, **changes})
        return plan(one, survey(one, tmp_path))[0]

    return make


def read(task):
    with h5py.File(task.path("tvdi")) as file:
        data = file["tvdi"]
        stored = data[...]
        values = stored * data.attrs["scale_factor"] + data.attrs["add_offset"]
        return np.where(stored == data.attrs["_FillValue"][0], np.nan, values), json.loads(data.attrs["tvdi"])


def test_same_content_for_any_ranks_and_threads(dryness, start_ranks):
    found = set()
    for ranks, threads in ((1, 1), (2, 1), (3, 1), (1, 2)):
        task = dryness(f"out{ranks}{threads}")
        done = start_ranks(task, ranks, threads)
        assert done.returncode == 0, done.stderr
        found.add(content_digest(task.path("tvdi")))
    assert len(found) == 1


def test_blocks_and_batches_change_no_value_and_no_edge(dryness, start_ranks):
    tasks = [dryness("small"), dryness("large", chunk=[120, 200])]
    assert start_ranks(tasks[0], 2, options=["--batch-mib", "1"]).returncode == 0
    assert start_ranks(tasks[1], 2).returncode == 0
    (one, edges), (two, same) = map(read, tasks)
    assert np.array_equal(one, two, equal_nan=True)
    assert edges == same


def test_index_follows_the_edges_by_day_and_is_missing_by_night(dryness, start_ranks):
    task = dryness("day")
    assert start_ranks(task, 2).returncode == 0
    values, edges = read(task)
    assert len(edges) == 8
    lit = [bool(step["pixels"]) for step in edges]
    assert lit == [bool(np.isfinite(v).any()) for v in values]
    assert lit[3] and not lit[0] and not lit[-1]  # 9 to 12 UTC; about midnight
    noon = values[3][np.isfinite(values[3])]
    # One in a hundred lies beyond each edge, so both ends are reached and most lies between.
    assert (noon == 0).mean() < 0.2 and (noon == 1).mean() < 0.2
    assert 0.2 < np.median(noon) < 0.8
    assert edges[3]["dry_offset"] > edges[3]["wet_offset"]


def test_a_resumed_task_has_the_edges_of_all_pixels(dryness, start_ranks):
    whole, cut = dryness("whole"), dryness("cut")
    assert start_ranks(whole, 2).returncode == 0
    process = start_ranks(cut, 2, wait=False, options=["--hold", "write:60"])
    wait_until(lambda: process.progress.exists() and json.loads(process.progress.read_text())["stage"] == "write")
    ranks_of(process)[0].send_signal(signal.SIGTERM)
    assert process.wait(60) == 75
    done = start_ranks(cut, 1)
    assert done.returncode == 0, done.stderr
    assert content_digest(cut.path("tvdi")) == content_digest(whole.path("tvdi"))


def test_few_pixels_give_no_edge():
    tvdi = REDUCTIONS["tvdi"]
    field = {n: np.full((3, 3), v, np.float32) for n, v in {"ts": 300, "ndvi": 0.5, "orog": 0, "cosz": 0.9}.items()}
    assert np.isnan(tvdi.results(tvdi.counts(field))).all()
    assert tvdi.counts({**field, "cosz": field["cosz"] - 0.6}).sum() == 0
    assert tvdi.counts({**field, "ts": field["ts"] - 30}).sum() == 0
    assert tvdi.counts({**field, "surface": field["orog"]}).sum() == 0  # water
    missing = {"ts": 300.0, "ndvi": 0.5, "orog": 0.0, "cosz": 0.9} | dict.fromkeys(
        ("dry_offset", "dry_slope", "wet_offset", "wet_slope"), np.nan
    )
    assert np.isnan(compute("smi", "tvdi-daylight", **missing))
