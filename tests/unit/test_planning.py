"""Plans that grow: own files of each task, chains, campaigns that wait for input, a million steps in little memory."""

import tracemalloc
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from pipshpc.campaign import Chain, Cycle
from pipshpc.errors import InputError, SpecError
from pipshpc.forcing import Forcing
from pipshpc.inputs import open_planned
from pipshpc.plan import Plan, iter_days, plan, plan_ready
from pipshpc.source.handles import HANDLES
from pipshpc.survey import survey
from pipshpc.task import Task
from tests.mpi.conftest import write_forcing
from tests.unit.test_plan import PLAIN, campaign, offer

NAMES = ("t2m", "d2m", "tcc")
IDEALISED = Forcing(kind="idealised", downscale=False)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path):
    """A folder of daily files; `add(day)` lets one arrive."""

    class Archive:
        folder = tmp_path / "in"
        forcing = Forcing(kind="files", paths=[str(tmp_path / "in" / "*.nc")], downscale=False)

        def add(self, day, **changes):
            self.folder.mkdir(exist_ok=True)
            path = self.folder / f"d{day:02d}.nc"
            return write_forcing(path, seed=day, first_h=24 * (day - 2), **changes)

        def campaign(self, days=3, **changes):
            plain = {"forcing": self.forcing, "end": f"2019-02-{2 + days:02d}T00:00:00Z"}
            return campaign(**{**plain, **changes})

        def plan(self, days=3, **changes):
            one = self.campaign(days, **changes)
            return plan(one, survey(one, tmp_path))

        def ready(self, now="2019-02-05T12:00:00", **changes):
            one = self.campaign(**{"end": "open", "cycle": Cycle(), **changes})
            return plan_ready(one, survey(one, tmp_path), ".", datetime.fromisoformat(now).replace(tzinfo=UTC))

    return Archive()


def test_a_task_names_only_its_own_files_and_later_files_rename_nothing(archive):
    for day in (2, 3, 4):
        archive.add(day)
    before = archive.plan(3)
    assert [t.forcing.paths for t in before] == [[str(archive.folder / f"d{d:02d}.nc")] for d in (2, 3, 4)]
    assert len({t.forcing_identity for t in before}) == 3
    archive.add(5)
    after = archive.plan(4)
    assert [t.id for t in after[:3]] == [t.id for t in before]
    archive.add(3, spread=2.0)  # one day in the middle is replaced
    assert [a.id == b.id for a, b in zip(archive.plan(3), before, strict=True)] == [True, False, True]


def test_interpolation_over_a_border_of_files_needs_both(archive):
    for day in (2, 3):
        archive.add(day, steps=4, step_h=6)
    first, second = archive.plan(2, period="1h")
    assert len(first.forcing.paths) == 2 and len(second.forcing.paths) == 1
    with open_planned(first, check=True) as source:
        assert source.times.size == 8


@pytest.mark.parametrize("kind", ["cut", "replaced"])
def test_a_file_that_changed_since_the_plan_is_named_and_costs_its_tasks_only(archive, kind):
    for day in (2, 3):
        path = archive.add(day)
    first, second = archive.plan(2)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:20000])
        said = r"d03\.nc: truncated or damaged HDF5.*get the file again"
    else:
        archive.add(3, spread=2.0)
        said = r"d03\.nc has changed since the plan and is not what task \w+ was planned with; .*plan again"
    with pytest.raises(InputError, match=said):
        open_planned(second, check=True)
    open_planned(first, check=True).close()


def test_a_name_with_brackets_is_a_name_and_no_pattern(archive):
    odd = archive.add(2).rename(archive.folder / "d[02].nc")
    [task] = archive.plan(1)
    with open_planned(task, check=True) as source:
        assert source.holdings.paths == (str(odd),)


def test_few_files_are_open_at_a_time(archive, monkeypatch):
    monkeypatch.setattr(HANDLES, "keep", 3)
    for day in range(2, 10):
        archive.add(day)
    from pipshpc.source import open_source

    with open_source(archive.forcing) as source:
        fields = [source.read("tas", k) for k in range(0, source.times.size, 7)]
        assert len(HANDLES) <= 3
    again = [source.read("tas", k) for k in range(0, source.times.size, 7)]  # they open themselves again
    np.testing.assert_array_equal(fields, again)
    source.close()


def test_a_cycling_campaign_makes_what_is_there_and_names_what_waits(archive):
    tasks, waiting = archive.ready()
    assert not tasks
    assert [w.day for w in waiting] == ["2019-02-02", "2019-02-03", "2019-02-04"]
    assert [w.late for w in waiting] == [True, True, False]
    assert "no file matches" in waiting[0].why
    archive.add(2)
    archive.add(4)
    tasks, waiting = archive.ready()
    assert [t.windows[0][:10] for _, t in tasks] == ["2019-02-02", "2019-02-04"]
    assert [w.day for w in waiting] == ["2019-02-03"]
    assert "has nothing for 2019-02-03T00:00:00Z" in waiting[0].why
    ids = {t.id for _, t in tasks}
    archive.add(3)
    later, waiting = archive.ready()
    assert len(later) == 3 and not waiting
    assert ids < {t.id for _, t in later}
    with pytest.raises(InputError, match="gap"):
        (archive.folder / "d03.nc").unlink()
        archive.plan(3)


def test_a_day_waits_while_its_file_is_not_whole_or_lacks_a_variable(archive):
    archive.add(2)
    half = archive.add(3)
    half.write_bytes(half.read_bytes()[:20000])
    tasks, [waiting] = archive.ready("2019-02-04T00:00:00")
    assert len(tasks) == 1
    assert "d03.nc: truncated or damaged HDF5" in waiting.why
    archive.add(3, names=("t2m", "d2m"))
    tasks, [waiting] = archive.ready("2019-02-04T00:00:00")
    assert len(tasks) == 1
    assert "has no 'clt' for 2019-02-03T00:00:00Z" in waiting.why


def test_a_day_of_coarse_forcing_waits_for_the_step_after_it_and_is_made_once(archive):
    archive.add(2, steps=4, step_h=6)
    tasks, [waiting] = archive.ready("2019-02-03T00:00:00", period="1h")
    assert not tasks and waiting.day == "2019-02-02"
    archive.add(3, steps=4, step_h=6)
    tasks, _ = archive.ready("2019-02-03T00:00:00", period="1h")
    archive.add(4, steps=4, step_h=6)
    later, _ = archive.ready("2019-02-03T00:00:00", period="1h")
    assert [t.id for _, t in tasks] == [t.id for _, t in later][:1]


def test_an_open_end_is_for_cycling_campaigns():
    with pytest.raises(SpecError, match="open"):
        list(iter_days(campaign(end="open")))


def test_chains_share_out_the_products():
    one = campaign(
        products=["rlds", "vap"], chains=[Chain(products=["rlds"]), Chain(products=["vap"])], end="2019-02-03T00:00:00Z"
    )
    made = Plan(one, offer())
    found = list(made)
    assert [(k, t.products) for k, t in found] == [(0, ["rlds"]), (1, ["vap"])]
    alone = plan(campaign(products=["rlds"]), offer())[0]
    assert found[0][1].id == alone.id  # neither resources nor the company change what it is
    line = made.describe(*found[1])
    assert (line.task, line.chain, line.products) == (found[1][1].id, 1, ["vap"])
    assert (line.start, line.end) == ("2019-02-02T00:00:00Z", "2019-02-03T00:00:00Z")
    assert line.fields == 8 and line.pixels == 8 * 180 * 360 and line.blocks == 1


def test_planned_blocks_are_those_of_the_heartbeat():
    from dataclasses import replace

    from pipshpc.inputs import make_batches

    coarse = replace(offer(), cells=3 << 20)  # 36 MiB a state of three fields: two states in a batch
    made = Plan(campaign(chunk=[90, 120]), coarse)
    [(chain, task)] = made
    assert made.describe(chain, task).blocks == 6 * len(make_batches(task, 4 * 3 * (3 << 20)))
    assert made.describe(chain, task).blocks == 6 * 8


def test_ids_are_unique_and_those_of_the_content_in_any_order():
    century = campaign(forcing=PLAIN, end="2020-02-02T00:00:00Z")
    given = offer(hours=24 * 366)
    tasks = plan(century, given)
    ids = [t.id for t in tasks]
    assert len(set(ids)) == len(ids) == 365
    days = list(iter_days(century))
    for k in (300, 0, 17):  # alone, in another order, from a plan of its own
        assert Plan(century, given).make(0, *days[k]).id == ids[k]
    # Read back from a file nothing is shared, and the id is the same.
    read = msgspec.json.decode(msgspec.json.encode(tasks[17]), type=Task)
    assert read.id == ids[17]
    moved = msgspec.structs.replace(tasks[17], output_dir="/elsewhere")
    assert moved.id == ids[17]
    assert msgspec.structs.replace(tasks[17], kernels="other").id != ids[17]


def test_memory_of_the_iterator_does_not_grow():
    def peak(days):
        made = iter(Plan(campaign(end=f"{np.datetime64('2019-02-02') + days}T00:00:00Z"), given))
        next(made)
        tracemalloc.start()
        count = sum(1 for _ in made)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == days - 1
        return most

    given = offer(hours=24 * 1000)
    peak(10)
    # A task is about 8 kB; what Python's collector has yet to take is much less.
    assert peak(900) < peak(90) + 810 * 400


@pytest.mark.parametrize("period", ["1h", "3h", "6h", "1d"])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_samples_cover_each_window_once(period, step):
    task = plan(campaign(period=period), offer(step=step))[0]
    for begin, samples in zip(task.windows, task.samples, strict=True):
        at = np.datetime64(begin.rstrip("Z"))
        for sample in samples:
            assert np.datetime64(sample.start.rstrip("Z")) == at
            assert 0 < sample.seconds <= 10800
            at += np.timedelta64(round(sample.seconds), "s")
        assert at == np.datetime64(begin.rstrip("Z")) + np.timedelta64(task.period_s, "s")
