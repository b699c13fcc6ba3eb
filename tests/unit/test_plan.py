"""The plan: which algorithm and why, which time steps make which window, one id for one content."""

import msgspec
import numpy as np
import pytest

from pipshpc.campaign import Campaign, check_campaign
from pipshpc.errors import InputError, SpecError
from pipshpc.forcing import Forcing
from pipshpc.plan import Offer, explain, plan, resolve

FILES = Forcing(kind="files", paths=["x.nc"])
PLAIN = Forcing(kind="files", paths=["x.nc"], downscale=False)


def offer(variables=("tas", "tdps", "clt"), hours=24, step=1, statics=()):
    times = np.datetime64("2019-02-02T00:00:00") + np.arange(0, hours, step) * np.timedelta64(3600, "s")
    step_s = 3600.0 * step if len(times) > 1 else 0.0
    return Offer(variables, times, step_s, "id", "test forcing", "", dict.fromkeys(statics, "d"), "k")


def campaign(**changes):
    plain = {
        "campaign": "test",
        "products": ["rlds"],
        "grid": "1deg",
        "period": "3h",
        "start": "2019-02-02T00:00:00Z",
        "end": "2019-02-03T00:00:00Z",
        "forcing": PLAIN,
    }
    return Campaign(**{**plain, **changes})


def test_one_task_a_day_with_all_windows():
    tasks = plan(campaign(end="2019-02-02T12:00:00Z"), offer())
    assert [len(t.windows) for t in tasks] == [4]
    assert tasks[0].windows[1] == "2019-02-02T03:00:00Z"
    assert [s.first for s in tasks[0].samples[1]] == [f"2019-02-02T0{h}:00:00Z" for h in (3, 4, 5)]


def test_forcing_coarser_than_the_window_is_interpolated_at_its_middle():
    task = plan(campaign(period="1h", end="2019-02-02T06:00:00Z"), offer(step=6))[0]
    sample = task.samples[2][0]
    assert (sample.first, sample.second) == ("2019-02-02T00:00:00Z", "2019-02-02T06:00:00Z")
    assert sample.weight == pytest.approx(2.5 / 6)


def test_one_time_needs_hold():
    with pytest.raises(InputError, match="hold: true"):
        plan(campaign(), offer(hours=1))
    held = msgspec.structs.replace(PLAIN, hold=True)
    task = plan(campaign(forcing=held), offer(hours=1))[0]
    assert all(s.first == "2019-02-02T00:00:00Z" for w in task.samples for s in w)


def test_time_outside_the_forcing_is_refused():
    with pytest.raises(InputError, match="has nothing for 2019-02-03"):
        plan(campaign(end="2019-02-04T00:00:00Z"), offer())


def test_missing_input_names_what_is_missing_and_what_is_there():
    with pytest.raises(InputError, match=r"lacks clt. The forcing \(test forcing\) gives: tas, tdps"):
        resolve(["rlds"], {}, offer(("tas", "tdps")), False)


def test_choice_and_rejection_are_in_words():
    text = "\n".join(explain(resolve(["rlds"], {}, offer(("tas", "huss", "ps", "clt")), False)))
    assert "vap_in: specific-humidity" in text
    assert "not dewpoint: the forcing has no tdps" in text


def test_downscaling_is_planned_where_terrain_is_known():
    names = [s.name for s in resolve(["rlds"], {}, offer(statics=("orog", "orog_in")), True).steps]
    assert names.index("tas_in") < names.index("tas") < names.index("vap") < names.index("rlds")
    assert "orog" not in [s.name for s in resolve(["rlds"], {}, offer(statics=("orog", "orog_in")), False).steps]


def test_id_follows_content_and_nothing_else():
    base = plan(campaign(), offer())[0]
    same = plan(campaign(output="/elsewhere", campaign="other"), offer(), "/base")[0]
    assert base.id == same.id
    others = [
        plan(campaign(grid="0.5deg"), offer())[0],
        plan(campaign(period="6h"), offer())[0],
        plan(campaign(box=[0, 0, 10, 10]), offer())[0],
        plan(campaign(start="2019-02-02T03:00:00Z"), offer())[0],
        plan(campaign(), offer(("tas", "huss", "ps", "clt")))[0],
        msgspec.structs.replace(base, forcing_identity="other"),
        msgspec.structs.replace(base, kernels="other"),
    ]
    assert len({base.id, *(t.id for t in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"products": []}, "products"),
        ({"products": ["nonsense"]}, "unknown product 'nonsense'"),
        ({"algorithms": {"rlds": "magic"}}, "no algorithm 'magic'"),
        ({"end": "2019-02-02T00:00:00Z"}, "key 'end'"),
        ({"end": "2019-02-02T01:00:00Z"}, "whole number of periods"),
        ({"period": "5h"}, "divides a day"),
        ({"period": "soon"}, "key 'period'"),
        ({"start": "yesterday"}, "key 'start'"),
        ({"start": "2019-02-02T01:00:00Z", "end": "2019-02-02T04:00:00Z"}, "multiple of 3h"),
        ({"box": "moon"}, "key 'box'"),
        ({"box": [1.0, 2.0]}, "4"),
        ({"box": [10.0, 0.0, 10.0, 5.0]}, "west equals east"),
        ({"chunk": [0, 5]}, "key 'chunk'"),
    ],
)
def test_bad_campaigns_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        check_campaign(campaign(**changes))
