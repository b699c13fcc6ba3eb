"""Tasks on real MPI ranks: the same values and attributes for any number of ranks and threads; errors come first."""

import msgspec
import pytest

from pipshpc.catalogue import is_complete
from pipshpc.digest import content_digest

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def digests():
    return {}


@pytest.mark.parametrize(("ranks", "threads"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (1, 2), (2, 2)])
def test_same_content_for_any_ranks_and_threads(make_task, start_ranks, digests, ranks, threads):
    task = make_task()
    done = start_ranks(task, ranks, threads)
    assert done.returncode == 0, done.stderr
    path = task.path("rlds")
    assert is_complete(path, task.id)
    digests[ranks, threads] = content_digest(path)
    assert set(digests.values()) == {digests[1, 1]}
    assert not list(path.parent.glob("*.part"))


def test_forcing_that_changed_since_the_plan_is_refused(make_task, start_ranks):
    task = msgspec.structs.replace(make_task(), forcing_identity="0" * 32)
    done = start_ranks(task, 2)
    assert done.returncode == 3
    assert "plan again" in done.stderr
    assert not task.path("rlds").parent.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(make_task, start_ranks, tmp_path):
    (tmp_path / "file").write_text("in the way")
    task = make_task(output=tmp_path / "file" / "out")
    done = start_ranks(task, 2)
    assert done.returncode == 5
    assert "cannot be created" in done.stderr
    assert "Traceback" not in done.stderr
