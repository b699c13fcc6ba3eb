"""The driver from end to end, with launches that are played: who is tried again, when, and on what."""

import threading
import time

import msgspec
import pytest

from pipshpc.drive import dispatch, driver, endings, hearing
from pipshpc.drive.course import COMPLETED, FAILED
from pipshpc.drive.diary import Diary
from pipshpc.drive.driver import Desk, EngineLost
from pipshpc.drive.launches import SMALLEST_BATCH_MIB
from tests.unit.stage_engine import end_of, stage, told

MEMORY_SITE = """name: "roomy"
launcher:
  command: ["start", "-n", "{ranks}"]
  options: {memory_mib: ["--memory", "{memory_mib}"]}
cores: 2
memory_gib: 1
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(driver, "LOOK_S", 0.02)
    # The waits between tries are laws of the verdict, tested there.
    judge = endings.judge

    def impatient(*given):
        verdict = judge(*given)
        object.__setattr__(verdict, "wait_s", min(verdict.wait_s, 0.01))
        return verdict

    monkeypatch.setattr(endings, "judge", impatient)


def once(first, then=lambda launched: launched.finish()):
    """Play the first launch of each task one way, and what follows another."""
    seen = set()

    def play(launched):
        new = not seen.intersection(launched.tasks)
        seen.update(launched.tasks)
        return (first if new else then)(launched)

    return play


def wait_until(what, patience_s=10):
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


class Behind:
    """Run a driver in a thread."""

    def __init__(self, one):
        self.one, self.thread = one, threading.Thread(target=one.driver.run, daemon=True)
        self.thread.start()

    def end(self, patience_s=10):
        self.thread.join(patience_s)
        assert not self.thread.is_alive()


def attempts(one):
    return [(e["cause"], e["next"], e["charged"]) for e in told(one.journal, "attempt ended")]


@pytest.mark.parametrize(
    ("code", "said", "log", "expected"),
    [
        (1, "", "ZeroDivisionError", ("FAILED", "again", True)),
        (75, "stopped at a block border", "", ("STOPPED", "again", False)),
        (143, "", "*** STEP 7.0 ON n1 CANCELLED AT x DUE TO PREEMPTION ***", ("PREEMPTED", "again", False)),
        (5, "out.part: cannot be written (No space left on device)", "", ("I/O", "wait", False)),
        (137, "", "Detected 1 oom-kill event(s)", ("OUT_OF_MEMORY", "again", True)),
    ],
)
def test_what_may_pass_is_tried_again(tmp_path, code, said, log, expected):
    def strike(launched):
        launched.beat(done=4)
        launched.log.write_text(log)
        if said:
            launched.fail(0, code, said)
        return code

    one = stage(tmp_path, once(strike))
    one.driver.run()
    assert attempts(one) == [expected]
    assert told(one.journal, "attempt ended")[0]["blocks_done"] == 4
    assert one.course.count(COMPLETED) == 1 and not one.status.failed
    assert one.driver.stop_asked == "done"


@pytest.mark.parametrize(("code", "tries"), [(1, 3), (3, 1)])
def test_what_stays_wrong_is_given_up_and_told_once(tmp_path, code, tries):
    def strike(launched):
        launched.beat()
        launched.fail(0, code, "era.nc: is cut short; get the file again")
        return code

    one = stage(tmp_path, strike)
    one.driver.run()
    assert len(one.engine.launches) == tries
    assert len(told(one.journal, "failed")) == 1
    assert "get the file again" in next(iter(one.status.failed.values()))
    assert one.course.count(FAILED) == 1


def test_a_block_that_ends_too_soon_charges_nothing(tmp_path):
    one = stage(tmp_path, once(lambda _: {"exit_code": None, "started": False, "left_s": 1.0}))
    one.driver.run()
    assert attempts(one) == [("BLOCK_ENDS", "again", False)]
    attempt = next(iter(one.course.tasks.values())).attempts
    assert (attempt.charged, attempt.uncharged) == (0, 0)


def test_the_higher_priority_goes_first(tmp_path):
    more = 'chains: [{products: ["rlds"]}, {products: ["vap"], priority: 5}]'
    one = stage(tmp_path, lambda launched: launched.finish(), days=3, more=more)
    one.driver.run()
    assert [e["products"] for e in by_launch(one)][:3] == [["vap"]] * 3
    assert [launched.priority for launched in one.engine.launches] == [5, 5, 5, 0, 0, 0]


def by_launch(one):
    lines = {line["task"]: line for line in one.driver.planned}
    return [lines[launched.tasks[0]] for launched in one.engine.launches]


def test_launches_grow_until_starting_is_a_tenth(tmp_path):
    one = stage(tmp_path, lambda launched: launched.finish(seconds=1.0, startup_s=1.0), days=60)
    one.driver.run()
    sizes = [len(launched.tasks) for launched in one.engine.launches]
    assert sizes[0] == 1  # nothing is known yet
    assert max(sizes) == 9  # 1 s of 10
    assert sizes[-1] == 1  # the end is shared out
    assert one.course.count(COMPLETED) == 60


def test_what_a_launch_did_not_come_to_goes_on_uncharged(tmp_path):
    def strike(launched):
        launched.beat(0, done=2)
        return 137

    def later(launched):
        return launched.finish()

    one = stage(tmp_path, once(strike, later), days=3)
    tasks = {t.id: t for t in one.prepared.tasks}
    one.driver.desk.sizes.tasks_per_launch = lambda *_: 3
    one.engine.play = wait_for_beat(one, strike, later)
    one.driver.run()
    causes = [(e["cause"], e["charged"]) for e in told(one.journal, "attempt ended")]
    assert causes == [("FAILED", True), ("NOT_REACHED", False), ("NOT_REACHED", False)]
    assert all(one.course.task(name).state == COMPLETED for name in tasks)


def wait_for_beat(one, first, then):
    """Let the first launch end only after the driver heard of it."""

    def strike(launched):
        code = first(launched)
        wait_until(lambda: told(one.journal, "started"))
        return code

    return once(strike, then)


def test_a_task_with_bad_input_does_not_stop_the_next_of_its_launch(tmp_path):
    def strike(launched):
        launched.beat(0)
        launched.fail(0, 3, "era.nc: is cut short")
        launched.beat(1)
        launched.publish(1)
        return 3

    one = stage(tmp_path, strike, days=2)
    one.driver.desk.sizes.tasks_per_launch = lambda *_: 2
    one.driver.run()
    assert [t.state for t in one.course.tasks.values()] == [FAILED, COMPLETED]
    assert len(one.engine.launches) == 1


def test_pause_resume_cancel_come_through_the_journal(tmp_path):
    gate = threading.Event()

    def play(launched):
        gate.wait(10)
        return launched.finish()

    one = stage(tmp_path, play, days=12)
    one.journal.write("pause", by="a person")
    one.driver._hear_verbs()
    one.driver.run()
    assert one.driver.stop_asked == "paused" and not one.engine.launches
    one.driver.stop_asked = ""
    one.journal.write("resume", by="a person")
    one.driver._hear_verbs()
    behind = Behind(one)
    wait_until(lambda: one.engine.launches)
    one.journal.write("cancel", by="a person")
    behind.end()
    assert one.driver.stop_asked == "cancelled"
    gate.set()


def test_a_resume_that_nobody_heard_yet_keeps_the_driver(tmp_path):
    one = stage(tmp_path, lambda launched: launched.finish(), days=2)
    one.journal.write("pause", by="a person")
    one.driver._hear_verbs()
    one.journal.write("resume", by="a person")
    one.driver.run()
    assert one.driver.stop_asked == "done" and one.status.done == 2


def in_a_row(one):
    """Let each task of a stage follow the one before it."""
    tasks = one.prepared.tasks
    for k in range(1, len(tasks)):
        tasks[k] = msgspec.structs.replace(tasks[k], before=tasks[k - 1].id)
    one.prepared.pending[:] = tasks
    one.driver.__init__(Desk(one.prepared, one.engine, Diary(one.journal), one.status), lambda _: None)
    return [t.id for t in tasks]


def test_tasks_that_follow_one_another_are_made_one_after_another(tmp_path):
    one = stage(tmp_path, lambda launched: launched.finish(), days=4, cores=4)
    names = in_a_row(one)
    one.driver.run()
    events = [(e["event"], e["task"]) for e in told(one.journal, "submitted", "completed") if e["event"] == "completed"]
    assert [name for _, name in events] == names
    assert all(len(launch.tasks) == 1 for launch in one.engine.launches)


def test_what_follows_a_failed_task_is_not_tried_until_that_is_there(tmp_path):
    def play(launched):
        if launched.attempt != "L1":
            return launched.finish()
        launched.beat()
        launched.fail(0, 3, "era.nc: is cut short")
        return 3

    one = stage(tmp_path, play, days=3)
    names = in_a_row(one)
    one.driver.run()
    failed = {e["task"]: e["cause"] for e in told(one.journal, "failed")}
    assert failed == {names[0]: "INPUT", names[1]: "PREDECESSOR", names[2]: "PREDECESSOR"}
    assert len(one.engine.launches) == 1
    one.driver.stop_asked = ""
    one.journal.write("retry", tasks="all", by="a person")
    one.driver._hear_verbs()
    one.driver.run()
    assert not one.status.failed and one.status.done == 3


def test_retry_while_running_tries_what_was_given_up(tmp_path):
    gate = threading.Event()

    def play(launched):
        if launched.attempt == "L1":
            launched.beat()
            launched.fail(0, 3, "era.nc: is cut short")
            return 3
        if launched.attempt == "L2":
            gate.wait(10)
        return launched.finish()

    one = stage(tmp_path, play, days=2)
    behind = Behind(one)
    wait_until(lambda: one.status.failed)
    one.journal.write("retry", tasks="all", by="a person")
    wait_until(lambda: not one.status.failed)
    gate.set()
    behind.end()
    assert one.course.count(COMPLETED) == 2


def test_a_campaign_that_is_made_longer_goes_on_without_a_stop(tmp_path):
    gate = threading.Event()

    def play(launched):
        gate.wait(10)
        return launched.finish()

    one = stage(tmp_path, play, days=1)
    behind = Behind(one)
    wait_until(lambda: one.engine.launches)
    one.path.write_text(one.path.read_text().replace(end_of(1), end_of(3)))
    one.journal.write("extend", end=end_of(3), by="a person")
    wait_until(lambda: one.status.total == 3)
    gate.set()
    behind.end()
    assert one.course.count(COMPLETED) == 3
    assert len({name for launched in one.engine.launches for name in launched.tasks}) == 3


def test_a_campaign_file_that_became_faulty_stops_nothing(tmp_path):
    gate = threading.Event()

    def play(launched):
        gate.wait(10)
        return launched.finish()

    one = stage(tmp_path, play)
    behind = Behind(one)
    wait_until(lambda: one.engine.launches)
    one.path.write_text("campaign: 7")
    one.journal.write("replan", by="a person")
    wait_until(lambda: told(one.journal, "not planned again"))
    gate.set()
    behind.end()
    assert one.course.count(COMPLETED) == 1


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_launch_that_does_not_get_on_is_ended(tmp_path, monkeypatch, earlier):
    ended = threading.Event()
    monkeypatch.setattr(hearing, "end_launch", lambda *_: ended.set())

    def strike(launched):
        if earlier:  # a task that failed leaves a heartbeat that stands still
            launched.beat(0, done=5)
            launched.fail(0, 3, "era.nc: is cut short")
        while not ended.wait(0.02):
            launched.beat(earlier, stage="write", done=3)
        return 137

    one = stage(tmp_path, once(strike), days=1 + earlier, retry="stalled_s: 0.3")
    one.driver.desk.sizes.tasks_per_launch = lambda *_: 1 + earlier
    one.driver.run()
    last = told(one.journal, "attempt ended")[-1]
    assert last["cause"] == "STALLED" and "stage 'write'" in last["reason"]
    assert (one.course.count(COMPLETED), one.course.count(FAILED)) == (1, earlier)


def test_silence_is_not_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "SILENT_S", 5.0)

    def play(launched):
        launched.beat(age=6)
        wait_until(lambda: told(one.journal, "silent"))
        launched.beat()
        wait_until(lambda: told(one.journal, "heard"))
        return launched.finish()

    one = stage(tmp_path, play)
    one.driver.run()
    assert not told(one.journal, "attempt ended")
    kinds = [e["event"] for e in told(one.journal, "started", "silent", "heard", "completed")]
    assert kinds == ["started", "silent", "heard", "completed"]


def test_published_files_are_the_last_word(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "SILENT_S", 5.0)

    def play(launched):
        launched.publish(report=False)
        raise RuntimeError("ManagerLost")

    one = stage(tmp_path, play)
    one.driver.run()
    assert one.course.count(COMPLETED) == 1 and not told(one.journal, "attempt ended")


def test_a_task_is_done_when_its_report_is_there_too(tmp_path):
    def play(launched):
        launched.publish(report=False)
        time.sleep(0.3)
        assert not told(one.journal, "completed")
        launched.publish()
        wait_until(lambda: told(one.journal, "completed"))
        return 0

    one = stage(tmp_path, play)
    one.driver.run()
    assert not told(one.journal, "attempt ended") and len(one.status.reports) == 1


def test_a_launch_that_nobody_hears_of_again_is_over_when_its_files_are_there(tmp_path, monkeypatch):
    monkeypatch.setattr(hearing, "SILENT_S", 5.0)
    never = threading.Event()

    def play(launched):
        launched.publish()
        launched.beat(age=6)  # the word of its end is lost
        never.wait(10)
        return 0

    one = stage(tmp_path, play)
    Behind(one).end()
    assert one.course.count(COMPLETED) == 1
    never.set()


def test_memory_grows_by_half_and_then_batches_shrink(tmp_path):
    site = tmp_path / "roomy.yaml"
    site.write_text(MEMORY_SITE)

    def strike(launched):
        launched.beat()
        launched.log.write_text("Detected 1 oom-kill event(s)")
        return 137

    one = stage(tmp_path, strike, retry="charged: 4", site=str(site))
    one.driver.run()
    asked = [(launched.option("--memory"), launched.option("--batch-mib")) for launched in one.engine.launches]
    # The share of a core is 512 MiB; 95 % of the node's 1 GiB is all that there is.
    assert asked == [(None, None), (768, None), (972, 24), (972, SMALLEST_BATCH_MIB)]


def test_a_full_disk_is_waited_for_before_a_launch_too(tmp_path, monkeypatch):
    write, times = dispatch.write_task, []

    def full(*given):
        times.append(1)
        if len(times) < 3:
            raise OSError(28, "No space left on device")
        write(*given)

    monkeypatch.setattr(dispatch, "write_task", full)
    one = stage(tmp_path, lambda launched: launched.finish())
    one.driver.run()
    assert attempts(one) == [("I/O", "wait", False)] * 2
    assert one.course.count(COMPLETED) == 1


def test_a_lost_message_server_ends_the_engine_and_not_the_campaign(tmp_path):
    gate = threading.Event()
    one = stage(tmp_path, lambda _: gate.wait(10))
    one.engine.lives = False
    with pytest.raises(EngineLost):
        one.driver.run()
    gate.set()
