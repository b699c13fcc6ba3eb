"""What a campaign will take: more work costs more, earlier runs teach, and it is said where figures come from."""

import msgspec
import pytest
from story import Story

from pipshpc.site import Launcher, Scheduler, Site
from pipshpc.view.cost import History, read_history, reckon, size, tell_cost

LOCAL = Site(name="here", launcher=Launcher(command=["mpiexec", "-n", "{ranks}"]), cores=4, memory_gib=8)
CLUSTER = msgspec.structs.replace(
    LOCAL, name="there", scheduler=Scheduler(kind="slurm", max_nodes=8, block_nodes=2, time="01:00:00")
)


def lines(tmp_path, days, **plan):
    return Story(tmp_path / "story").plan(days, **plan).lines


def cost(planned, site=LOCAL, history=None, pending=None, per_launch=None):
    ids = {line["task"] for line in planned} if pending is None else pending
    return reckon(planned, ids, site, history or History(), per_launch or {})


def test_nothing_to_do_costs_nothing(tmp_path):
    found = cost(lines(tmp_path, 5), pending=set())
    assert (found.launches, found.core_hours, found.bytes_most, found.wall_s) == (0, 0, 0, 0)
    assert tell_cost(found) == ["nothing is left to do"]


def test_twice_the_days_cost_twice_the_core_hours(tmp_path):
    planned = lines(tmp_path, 200, pixels=10**9)
    one, two = cost(planned[:100], per_launch={0: 1}), cost(planned, per_launch={0: 1})
    assert two.core_hours == pytest.approx(2 * one.core_hours, rel=1e-9)
    assert (two.bytes_most, two.blocks, two.launches) == (2 * one.bytes_most, 2 * one.blocks, 2 * one.launches)
    assert one.bytes_expected < one.bytes_most


def test_no_time_is_won_from_nothing(tmp_path):
    found = cost(lines(tmp_path, 50, pixels=10**10), site=CLUSTER)
    assert found.wall_s * found.pilot_nodes * CLUSTER.core_count >= 0
    assert found.core_hours <= found.node_hours * CLUSTER.core_count * (1 + 1e-9)


def test_a_cluster_packs_tasks_into_pilot_jobs(tmp_path):
    found = cost(lines(tmp_path, 200, pixels=10**10), site=CLUSTER)
    assert found.pilot_nodes == 2
    assert found.pilot_blocks >= 4  # eight nodes at a time, two in each
    assert cost(lines(tmp_path, 200)).pilot_blocks == 0


def test_starting_is_kept_below_a_tenth_by_several_tasks_a_launch(tmp_path):
    short, long = (cost(lines(tmp_path / str(p), 400, pixels=p), site=LOCAL).launches for p in (10**7, 10**11))
    assert short < long == 400
    assert cost(lines(tmp_path / "five", 400), per_launch={0: 5}).launches == 80


def test_earlier_runs_teach(tmp_path, monkeypatch):
    story = Story(tmp_path / "story", monkeypatch).plan(20, pixels=10**8)
    story.driver(site="here")
    for k in range(10):
        story.start(k)
        story.complete(k, seconds=50.0, written_bytes=5 * 10**7, peak_mib=300 + k)
    story.start(10)
    story.complete(10, seconds=1.0, blocks_kept=49)  # mostly the work of the attempt before
    history = read_history([story.folder], "here")
    found = cost(story.lines, history=history, per_launch={0: 1})
    assert history.tasks == 10
    assert found.core_hours * 3600 == pytest.approx(20 * (50 + 2) * 2)
    assert found.bytes_expected == 20 * 5 * 10**7
    assert found.peak_mib == 309
    assert "10 tasks made here before" in found.basis
    assert read_history([story.folder], "there").tasks == 0


def test_figures_without_experience_say_so(tmp_path):
    text = "\n".join(tell_cost(cost(lines(tmp_path, 3))))
    assert "built-in rates" in text
    assert "factor of three" in text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (3 * 2**50, "3072.0 TiB")]
)
def test_sizes(number, text):
    assert size(number) == text
