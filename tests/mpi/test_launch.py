"""Several tasks in one start of the ranks: notes beside each, one bad task stops no other, held stages."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import msgspec
import pytest

from pipshpc.catalogue import is_complete
from pipshpc.digest import content_digest
from pipshpc.forcing import Forcing
from pipshpc.ledger import Kept, parts_of
from pipshpc.notes import Beat, Failure, Report, note_path, read_note
from pipshpc.plan import plan
from pipshpc.site import launch_command, launch_environment, load_site
from pipshpc.survey import survey
from pipshpc.task import write_task
from tests.mpi.conftest import write_forcing
from tests.mpi.test_resume import ranks_of, wait_until
from tests.unit.test_plan import campaign

pytestmark = pytest.mark.mpi
HOURS = ("00", "03", "06", "09")


@pytest.fixture
def launch(tmp_path):
    """Return a function that starts one launch of several task files."""

    def start(paths, ranks=2, options=(), environment=None, wait=True):
        site = load_site("local")
        argv = [sys.executable, "-m", "pipshpc.run", *map(str, paths), "--notes", *options]
        process = subprocess.Popen(
            launch_command(site, ranks, 1, argv),
            env={**os.environ, **launch_environment(site, 1), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if wait:
            out, err = process.communicate(timeout=120)
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)
        return process

    return start


def make_files(make_task, tmp_path, count, **changes):
    """Write tasks of three hours each; return [(task, path)]."""
    made = []
    for first, last in list(pairwise(HOURS))[:count]:
        times = {"start": f"2019-02-02T{first}:00:00Z", "end": f"2019-02-02T{last}:00:00Z"}
        task = make_task(output=tmp_path / f"out{first}", **{**times, **changes})
        write_task(task, tmp_path / f"{task.id}.json")
        made.append((task, tmp_path / f"{task.id}.json"))
    return made


def test_a_launch_makes_its_tasks_and_a_bad_one_stops_no_other(make_task, launch, tmp_path):
    (one, first), (two, second), (three, third) = make_files(make_task, tmp_path, 3)
    bad = msgspec.structs.replace(two, forcing_identity="0" * 32)
    write_task(bad, second)
    (tmp_path / "cut.json").write_text('{"products": ["rl')
    launched = time.time()
    done = launch(
        [first, second, tmp_path / "cut.json", third],
        options=["--attempt", "a1"],
        environment={"PIPSHPC_LAUNCHED": str(launched)},
    )
    assert done.returncode == 3, done.stderr
    assert is_complete(one.path("rlds"), one.id) and is_complete(three.path("rlds"), three.id)
    assert not bad.path("rlds").exists()
    failed = read_note(note_path(second, "failed"), Failure)
    assert (failed.exit_code, failed.attempt) == (3, "a1") and "plan again" in failed.message
    assert read_note(note_path(tmp_path / "cut.json", "failed"), Failure).exit_code == 2
    assert not note_path(first, "failed").exists() and not note_path(third, "failed").exists()
    assert done.stderr.count("error: ") == 2 and "Traceback" not in done.stderr
    early, late = (read_note(note_path(path, "report"), Report) for path in (first, third))
    # Starting Python and MPI is charged to the first task of the launch only.
    assert early.startup_s > late.startup_s > 0
    assert early.cpu_s > late.cpu_s > 0
    assert early.written_bytes >= 0 and early.read_bytes >= 0
    beat = read_note(note_path(third, "progress"), Beat)
    assert (beat.stage, beat.done, beat.total, beat.attempt) == ("done", late.blocks, late.blocks, "a1")


def test_what_is_complete_is_passed_over(make_task, launch, tmp_path):
    files = make_files(make_task, tmp_path, 3)
    assert launch([path for _, path in files[:2]]).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out*/*.nc")}
    assert len(before) == 2
    done = launch([path for _, path in files])
    assert done.returncode == 0, done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert is_complete(files[2][0].path("rlds"), files[2][0].id)


MANY = {"grid": "0.5deg", "chunk": [40, 60], "products": ["rlds", "vap"]}  # 108 blocks


@pytest.mark.parametrize("stage", ["read", "compute", "write", "publish"])
def test_a_held_stage_is_told_and_a_kill_there_loses_what_it_says(make_task, launch, tmp_path, stage):
    [(task, path)] = make_files(make_task, tmp_path, 1, **MANY)
    process = launch([path], 2, ["--hold", f"{stage}:60"], wait=False)
    note = note_path(path, "progress")

    def held():
        beat = read_note(note, Beat)
        found = beat is not None and beat.stage == stage
        return found and (stage != "write" or beat.done > 0) and time.time() - beat.started > 1.0

    wait_until(held)
    beat = read_note(note, Beat)
    ranks_of(process)[1].kill()
    process.communicate(timeout=60)
    assert process.returncode != 0
    kept = [Kept(task.path(p), task.id) for p in task.products]
    there = [len(k.blocks([0])) for k in kept]
    for one in kept:
        one.close()
    assert beat.done <= min(there)
    assert {"read": 0, "compute": 0, "write": 2, "publish": 108}[stage] >= min(there)
    assert (min(there) > 0) == (stage in ("write", "publish"))
    done = launch([path], 1, environment={"PIPSHPC_HOLD": ""})
    assert done.returncode == 0, done.stderr
    report = read_note(note_path(path, "report"), Report)
    assert report.blocks_kept == min(there)
    assert not parts_of(task.path("rlds")) and not parts_of(task.path("vap"))


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_a_held_task_hears_the_word_to_stop(make_task, launch, tmp_path, stage):
    (task, first), (_, second) = make_files(make_task, tmp_path, 2, **MANY)
    process = launch([first, second], 3, environment={"PIPSHPC_HOLD": f"{stage}:60"}, wait=False)
    wait_until(lambda: (b := read_note(note_path(first, "progress"), Beat)) is not None and b.stage == stage)
    time.sleep(0.5)
    begin = time.monotonic()
    os.kill(ranks_of(process)[1].pid, signal.SIGTERM)  # one rank hears it: all stop
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert time.monotonic() - begin < 20
    assert read_note(note_path(first, "failed"), Failure).exit_code == 75
    assert not note_path(second, "progress").exists()  # its turn never came
    assert not task.path("rlds").exists() and len(parts_of(task.path("rlds"))) <= 1


def test_a_bad_hold_is_refused(make_task, launch, tmp_path):
    [(_, path)] = make_files(make_task, tmp_path, 1)
    done = launch([path], 1, ["--hold", "sleep:3"])
    assert done.returncode == 2 and "read|compute|write|publish" in done.stderr


def test_small_batches_give_the_same_content(make_task, launch, tmp_path):
    digests = set()
    for mib in ("96", "0.001"):
        task = make_task(output=tmp_path / mib, end="2019-02-02T12:00:00Z")
        write_task(task, tmp_path / f"{mib}.json")
        assert launch([tmp_path / f"{mib}.json"], 2, ["--batch-mib", mib]).returncode == 0
        digests.add(content_digest(task.path("rlds")))
        report = read_note(note_path(tmp_path / f"{mib}.json", "report"), Report)
        assert report.blocks == 30 * (1 if mib == "96" else 4)
    assert len(digests) == 1


@pytest.fixture
def daily(tmp_path):
    """Three daily files, their three tasks and the tasks' files."""
    folder = tmp_path / "in"
    folder.mkdir()
    for day in range(3):
        write_forcing(folder / f"d{day}.nc", seed=day, first_h=24 * day)
    forcing = Forcing(kind="files", paths=[str(folder / "*.nc")], downscale=False)
    one = campaign(
        forcing=forcing, chunk=[40, 60], output=str(tmp_path / "out"), end="2019-02-05T00:00:00Z", products=["rlds"]
    )
    tasks = plan(one, survey(one, tmp_path))
    paths = [tmp_path / f"{task.id}.json" for task in tasks]
    for task, path in zip(tasks, paths, strict=True):
        write_task(task, path)
    return folder, tasks, paths


def test_a_file_cut_short_costs_its_own_task_only(daily, launch):
    folder, tasks, paths = daily
    raw = (folder / "d1.nc").read_bytes()
    (folder / "d1.nc").write_bytes(raw[: len(raw) // 2])
    done = launch(paths)
    assert done.returncode == 3
    failed = read_note(note_path(paths[1], "failed"), Failure)
    assert "d1.nc: truncated or damaged HDF5" in failed.message and "get the file again" in failed.message
    published = {path.name for path in tasks[0].path("rlds").parent.iterdir()}
    assert not any("20190203" in name or ".part" in name for name in published)
    assert all(is_complete(tasks[k].path("rlds"), tasks[k].id) for k in (0, 2))
    (folder / "d1.nc").write_bytes(raw)  # the file is got again
    assert launch(paths).returncode == 0
    assert all(is_complete(task.path("rlds"), task.id) for task in tasks)
    assert not note_path(paths[1], "failed").exists()


def test_a_step_that_cannot_be_decoded_costs_that_step_only(daily, launch, tmp_path):
    folder, tasks, _ = daily
    import h5py

    with h5py.File(folder / "d2.nc") as file:
        info = file["t2m"].id.get_chunk_info_by_coord((7, 0, 0))
        assert file["t2m"].chunks[0] == 1
    raw = bytearray((folder / "d2.nc").read_bytes())
    raw[info.byte_offset + 2 : info.byte_offset + 60] = b"\xff" * 58
    (folder / "d2.nc").write_bytes(raw)
    one = campaign(forcing=tasks[2].forcing, chunk=[40, 60], output=str(tmp_path / "o"), start="2019-02-04T00:00:00Z",
                   end="2019-02-05T00:00:00Z")  # fmt: skip
    [task] = plan(one, survey(one, tmp_path))
    write_task(task, tmp_path / "bad.json")
    done = launch([tmp_path / "bad.json"])
    assert done.returncode == 0, done.stderr
    assert read_note(tmp_path / "bad.report", Report).missing_states == ["2019-02-04T07:00:00Z"]
    with h5py.File(task.path("rlds")) as file:
        counts = file["rlds_count"][:, 90, 100]
    assert counts.tolist() == [3, 3, 2, 3, 3, 3, 3, 3]


def test_a_wrong_input_is_told_by_all_ranks_where_static_fields_are_shared(make_task, launch, tmp_path):
    task = make_task(forcing=Forcing(kind="idealised"))
    if not task.statics:
        pytest.skip("static fields are not installed")
    write_task(msgspec.structs.replace(task, forcing_identity="0" * 32), tmp_path / "t.json")
    done = launch([tmp_path / "t.json"], 3)
    assert done.returncode == 3 and "plan again" in done.stderr


LIMITED = (
    "import resource; from mpi4py import MPI; resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20)); "
    "from pipshpc.run import main; main()"
)


def test_a_disk_that_takes_no_more_ends_the_launch_and_what_is_done_stays(make_task, launch, tmp_path):
    """The limit of a file's size stands for the disk's."""
    (task, first), (_, second) = make_files(make_task, tmp_path, 2, grid="0.1deg", chunk=[120, 120])
    words = [sys.executable, "-c", LIMITED, str(first), str(second), "--notes"]
    site = load_site("local")
    done = subprocess.run(
        launch_command(site, 2, 1, words),
        env={**os.environ, **launch_environment(site, 1)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    failed = read_note(note_path(first, "failed"), Failure)
    assert failed.exit_code == 5 and "is the disk full?" in failed.message
    assert not note_path(second, "progress").exists()
    assert not task.path("rlds").exists()
    assert launch([first], 1).returncode == 0
    report = read_note(note_path(first, "report"), Report)
    assert 0 < report.blocks_kept < report.blocks
