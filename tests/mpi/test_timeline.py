"""Composites, states that go from task to task, and series of a year: the same bits for any ranks, after any stop."""

import json
import signal
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from pipshpc.campaign import check_campaign, load_campaign
from pipshpc.digest import content_digest
from pipshpc.errors import SpecError
from pipshpc.forcing import Forcing
from pipshpc.plan import plan
from pipshpc.survey import survey
from tests.mpi.test_resume import ranks_of, wait_until
from tests.unit.test_plan import campaign as plain_campaign

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("statics")]
FILE = Path(__file__).parents[2] / "jobs" / "campaigns" / "flux_1km.yaml"
BOX = [20.0, 2.0, 26.0, 8.0]


@pytest.fixture
def campaign(tmp_path):
    """Return a function that plans small campaigns from idealised days."""

    def make(name, **changes):
        base = load_campaign(FILE)
        plain = {
            "products": ["gdd"],
            "algorithms": {"ndvi": "range-and-season"},
            "forcing": msgspec.structs.replace(base.forcing, step_h=24),
            "box": BOX,
            "grid": "0.25deg",
            "chunk": [8, 10],
            "period": "1mon",
            "start": "2004-01-01T00:00:00Z",
            "end": "2004-04-01T00:00:00Z",
            "output": str(tmp_path / name),
        }
        one = msgspec.structs.replace(base, **{**plain, **changes})
        check_campaign(one)
        return plan(one, survey(one, tmp_path))

    return make


def make_all(tasks, start_ranks, ranks=1, threads=1):
    done = start_ranks(tasks[0], ranks, threads, more=tasks[1:])
    assert done.returncode == 0, done.stderr
    return {Path(t.path(p)).name: content_digest(t.path(p)) for t in tasks for p in t.products}


def read(path, product):
    with h5py.File(path) as file:
        data = file[product]
        values = data[0] * data.attrs.get("scale_factor", 1.0) + data.attrs.get("add_offset", 0.0)
        fill = data.attrs["_FillValue"][0]
        return np.where(data[0] == fill, np.nan, values), file[f"{product}_count"][0]


@pytest.mark.parametrize(
    ("product", "period", "end"), [("gdd", "1mon", "2004-03-01"), ("ndvimax", "16d", "2004-02-02")]
)
def test_same_content_for_any_ranks_and_threads(campaign, start_ranks, product, period, end):
    found = [
        make_all(campaign(f"{r}{t}", products=[product], period=period, end=f"{end}T00:00:00Z"), start_ranks, r, t)
        for r, t in ((1, 1), (2, 1), (3, 1), (1, 2))
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == {"gdd": 4, "ndvimax": 2}[product]  # the state has files of its own


def test_months_one_after_another_end_where_the_year_in_one_go_does(campaign, start_ranks):
    months = campaign("months", end="2005-01-01T00:00:00Z")
    year = campaign("year", period="1y", end="2005-01-01T00:00:00Z")
    assert [len(t.steps) for t in months] == [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]  # a leap year
    assert not months[0].before and [t.before for t in months[1:]] == [t.id for t in months[:-1]]
    make_all(months, start_ranks, 2)
    make_all(year, start_ranks, 2)
    last, _ = read(months[-1].path("gdd"), "gdd")
    whole, _ = read(year[0].path("gdd"), "gdd")
    assert np.array_equal(last, whole, equal_nan=True)
    for product in ("gdd", "gdd_gdd"):
        assert np.array_equal(read(months[-1].path(product), product)[0], read(year[0].path(product), product)[0])
    first, _ = read(months[0].path("gdd"), "gdd")
    assert (whole > 5 * first).all() and whole.min() > 3000  # K day of a tropical year above 10 C


def test_a_restart_in_the_middle_gives_the_same(campaign, start_ranks):
    through = make_all(campaign("through"), start_ranks, 2)
    parts = campaign("parts")
    make_all(parts[:1], start_ranks, 1)
    process = start_ranks(parts[1], 2, wait=False, options=["--hold", "write:60"])
    wait_until(lambda: process.progress.exists() and json.loads(process.progress.read_text())["stage"] == "write")
    ranks_of(process)[0].send_signal(signal.SIGKILL)
    process.wait(60)
    make_all(parts[1:], start_ranks, 3)
    assert through == {p.name: content_digest(p) for p in sorted(Path(parts[0].output_dir).glob("*.nc"))}


def test_a_state_that_is_not_there_is_named(campaign, start_ranks):
    tasks = campaign("gap")
    done = start_ranks(tasks[1], 2)
    assert done.returncode == 3
    assert "gdd_gdd" in done.stderr and f"make task {tasks[0].id} first" in done.stderr
    assert not list(Path(tasks[1].output_dir).glob("*.nc*"))


def test_composites_end_with_the_year(campaign, start_ranks):
    days = {"start": "2004-12-02T00:00:00Z", "end": "2005-01-17T00:00:00Z"}
    tasks = campaign("ends", products=["ndvimax"], period="16d", **days)
    assert [t.windows[0][:10] for t in tasks] == ["2004-12-02", "2004-12-18", "2005-01-01"]
    assert [len(t.steps) for t in tasks] == [16, 14, 16]
    make_all(tasks, start_ranks, 2)
    values, share = read(tasks[1].path("ndvimax"), "ndvimax")
    assert np.isfinite(values).all() and (share == 100).all()
    with h5py.File(tasks[1].path("ndvimax")) as file:
        assert np.diff(file["time_bnds"][0])[0] == 14 * 24
        assert file["ndvimax_count"].attrs["units"] == b"percent"


def test_a_missing_day_costs_that_day_only(tmp_path, start_ranks):
    import netCDF4

    def write(path, days):
        with netCDF4.Dataset(path, "w") as file:
            for name, size in (("time", len(days)), ("latitude", 37), ("longitude", 72)):
                file.createDimension(name, size)
            for name, units, values in (
                ("time", "days since 2019-01-01 12:00:00", days),
                ("latitude", "degrees_north", np.linspace(90, -90, 37)),
                ("longitude", "degrees_east", np.arange(72) * 5.0),
            ):
                file.createVariable(name, "f8", (name,))[:] = values
                file[name].units = units
            data = file.createVariable("t2m", "f4", ("time", "latitude", "longitude"))
            data.units = "K"
            data[:] = 293.15
        return path

    found = []
    for name, days in (("all", list(range(8))), ("gap", [0, 1, 2, 4, 5, 6, 7])):
        paths = [str(write(tmp_path / f"{name}{day}.nc", [day])) for day in days]
        base = plain_campaign(
            products=["gdd"], grid="5deg", period="8d", start="2019-01-01T00:00:00Z", end="2019-01-09T00:00:00Z",
            chunk=[18, 36], output=str(tmp_path / name), forcing=Forcing(paths=paths, downscale=False),
        )  # fmt: skip
        task = plan(base, survey(base, tmp_path))[0]
        make_all([task], start_ranks, 2)
        found.append(read(task.path("gdd"), "gdd"))
    (whole, all_days), (less, share) = found
    assert np.allclose(whole, 80.0) and np.allclose(less, 70.0)
    assert (all_days == 100).all() and (share == 88).all()  # 7 of 8


def test_a_mean_of_eight_days_is_the_mean_of_their_means(campaign, start_ranks):
    days = {"products": ["rlds"], "start": "2004-01-09T00:00:00Z", "end": "2004-01-17T00:00:00Z"}
    whole = campaign("whole", period="8d", **days)
    each = campaign("each", period="1d", **days)
    assert (len(whole), len(each)) == (1, 8)
    make_all([*whole, *each], start_ranks, 2)
    mean, count = read(whole[0].path("rlds"), "rlds")
    parts = np.array([read(task.path("rlds"), "rlds")[0] for task in each])
    assert np.abs(parts.mean(axis=0) - mean).max() < 0.021  # both are rounded to 0.02
    assert (count == 32).all()  # four samples a day


def test_published_days_make_the_composite_that_the_chain_makes(campaign, start_ranks, tmp_path):
    days = {"start": "2004-05-08T00:00:00Z", "end": "2004-05-24T00:00:00Z"}
    make_all(campaign("days", products=["ndvi"], period="1d", **days), start_ranks, 2)
    direct = campaign("direct", products=["ndvimax"], period="16d", **days)
    own = Forcing(paths=[str(tmp_path / "days" / "ndvi_*.nc")], variables={"ndvi": "ndvi"}, downscale=False)
    again = campaign("again", products=["ndvimax"], algorithms={}, period="16d", forcing=own, **days)
    make_all([*direct, *again], start_ranks, 2)
    (one, all_days), (two, share) = (read(tasks[0].path("ndvimax"), "ndvimax") for tasks in (direct, again))
    assert np.array_equal(one, two)  # both are stored in steps of 0.0001
    assert np.array_equal(all_days, share)


def test_what_does_not_fit_is_said_before_anything_starts(campaign):
    with pytest.raises(SpecError, match="made of many steps"):
        campaign("short", period="1d", end="2004-01-02T00:00:00Z")
    with pytest.raises(SpecError, match="wanted a border of windows of 1mon, such as 2004-02-01"):
        campaign("border", start="2004-01-05T00:00:00Z")
    with pytest.raises(SpecError, match="give each its own chain"):
        campaign("mixed", products=["gdd", "tas"])
