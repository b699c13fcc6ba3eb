"""One image of a stack, and a node's copy of it: whole or not there, shared, and gone with its last job."""

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipshpc.errors import OutputError, SiteError
from pipshpc.site import Launcher, Site
from pipshpc.stack.staging import image_folder, pack, run_lines, stage_lines

LATER = 4_000_000_000  # unix time
KINDS = [
    "tar",
    pytest.param("squashfs", marks=pytest.mark.skipif(not shutil.which("mksquashfs"), reason="no mksquashfs")),
]


class Node:
    """Storage of a node, and what jobs do there."""

    def __init__(self, images: Path, local: Path) -> None:
        self.images, self.local = images, local
        local.mkdir()

    @property
    def home(self) -> Path:
        sum_ = (self.images / "image.sum").read_text().split()[0]
        return self.local / f"pipshpc-{os.getuid()}" / sum_[:16]

    def words(self, act: str, job: int, until: int = LATER) -> list[str]:
        return ["bash", str(self.images / "stage.sh"), act, str(self.images), str(self.local), str(job), str(until)]

    def do(self, act: str, job: int, until: int = LATER) -> subprocess.CompletedProcess:
        return subprocess.run(self.words(act, job, until), capture_output=True, text=True, timeout=60, check=False)

    def stage(self, job: int) -> int:
        """Do what a job does; return the exit code of its last step."""
        code = self.do("enter", job).returncode
        return self.do("take", job).returncode if code == 10 else code

    def files(self) -> dict[str, bytes]:
        tree = self.home / "tree"
        return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


@pytest.fixture
def prefix(tmp_path):
    """A stack of a few megabytes."""
    folder = tmp_path / "stack"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").write_text("#!/bin/sh\n")
    (folder / "bin" / "python3").chmod(0o755)
    (folder / "lib" / "deep er").mkdir(parents=True)
    for k in range(6):
        (folder / "lib" / "deep er" / f"{k}.bin").write_bytes(os.urandom(1 << 20))
    return folder


@pytest.fixture(params=KINDS)
def node(request, prefix, tmp_path):
    pack(prefix, tmp_path / "images", request.param)
    one = Node(tmp_path / "images", tmp_path / "local")
    yield one
    subprocess.run(["umount", "--lazy", str(one.home / "tree")], capture_output=True, check=False)


def test_the_copy_is_the_stack(node, prefix):
    assert node.do("enter", 1).returncode == 10
    assert node.do("take", 1).returncode == 0
    assert node.files() == {
        str(p.relative_to(prefix)): p.read_bytes() for p in sorted(prefix.rglob("*")) if p.is_file()
    }
    assert os.access(node.home / "tree" / "bin" / "python3", os.X_OK)


def test_jobs_of_a_node_share_it_and_the_last_one_takes_it_away(node):
    assert node.stage(1) == 0
    first = (node.home / "tree").stat()
    assert node.do("enter", 2).returncode == 0  # nothing is brought again
    assert (node.home / "tree").stat().st_ino == first.st_ino
    node.do("leave", 1)
    assert node.files() and node.do("enter", 3).returncode == 0
    node.do("leave", 2)
    node.do("leave", 3)
    assert list(node.local.iterdir()) == []


def test_jobs_that_start_at_once_get_one_copy(node):
    running = [subprocess.Popen(node.words("take", job), stderr=subprocess.PIPE, text=True) for job in range(4)]
    assert [(p.wait(60), p.stderr.read()) for p in running] == [(0, "")] * 4
    assert sorted(p.name for p in node.home.iterdir() if p.name not in ("image", "tree")) == ["ready", "users"]
    for job in range(4):
        node.do("leave", job)
    assert list(node.local.iterdir()) == []


def test_a_damaged_image_is_refused_in_one_sentence(node):
    image = next(p for p in node.images.iterdir() if p.name.startswith("image.") and p.suffix != ".sum")
    image.write_bytes(image.read_bytes()[:-4096])
    assert node.do("enter", 1).returncode == 10
    done = node.do("take", 1)
    assert done.returncode == 11 and "did not arrive whole" in done.stderr and len(done.stderr.splitlines()) == 1
    assert node.do("enter", 1).returncode == 10
    node.do("leave", 1)
    assert list(node.local.iterdir()) == []


def test_an_interrupted_staging_never_looks_whole(node):
    """It is killed at many moments; what is there then is nothing, or the whole stack, and the next job gets it."""
    whole = None
    for delay in (0.004, 0.01, 0.016, 0.022, 0.03, 0.045, 0.06):
        process = subprocess.Popen(node.words("take", 1), start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        ready = node.do("enter", 2).returncode == 0
        assert node.stage(2) == 0
        whole = whole or node.files()
        assert node.files() == whole and len(whole) == 7
        assert not ready or node.files() == whole
        for job in (1, 2):
            node.do("leave", job)
        assert list(node.local.iterdir()) == []


def test_a_job_that_could_not_leave_is_forgotten_when_its_time_is_over(node):
    assert node.do("take", 1, until=int(time.time()) + 1).returncode == 0
    (node.home / "part.99").write_bytes(b"of a job that is no more")
    time.sleep(2)
    node.do("enter", 2)
    assert [p.name for p in (node.home / "users").iterdir()] == ["2"] and not (node.home / "part.99").exists()
    node.do("leave", 2)
    assert list(node.local.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(node):
    base = node.local / f"pipshpc-{os.getuid()}"
    base.symlink_to("/var/tmp")
    done = node.do("enter", 1)
    assert done.returncode == 12 and "node_local" in done.stderr


def test_an_image_that_cannot_be_written_leaves_the_one_before(prefix, tmp_path):
    before = pack(prefix, tmp_path / "images", "tar")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OutputError, match="free some space"):
            pack(prefix, tmp_path / "images", "tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "images" / "image.sum").read_text().startswith(before.sum)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "stack"]


def test_packing_again_takes_the_place_of_the_old_image(prefix, tmp_path):
    old = pack(prefix, tmp_path / "images", "tar")
    (prefix / "lib" / "more").write_text("more")
    new = pack(prefix, tmp_path / "images", "tar")
    assert old.sum != new.sum
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["image.sum", "image.tar", "stage.sh"]


def test_what_is_no_stack_is_not_packed(tmp_path):
    with pytest.raises(SiteError, match="no bin/python3"):
        pack(tmp_path, tmp_path / "images")


def test_images_lie_beside_the_modules():
    assert image_folder(Path("/sw/modulefiles"), "rs-core/1-abc") == Path("/sw/images/rs-core/1-abc")


SITE = Site(name="there", launcher=Launcher(command=["srun", "-n", "{ranks}"]), node_local="/local disk")


def job_text(command: str) -> str:
    """Return a job that uses a copy, with a stage.sh that only says what it was called with."""
    return "\n".join(["set -e", *stage_lines(SITE), *run_lines(SITE, command)])


@pytest.fixture
def shared(tmp_path):
    """A deployed stack with an image, in the layout that jobs look for it."""
    prefix = tmp_path / "rs-try" / "1"
    images = tmp_path / "images" / "rs-try" / "1"
    (prefix / "bin").mkdir(parents=True)
    images.mkdir(parents=True)
    (images / "image.sum").write_text("0 image.tar\n")
    (images / "stage.sh").write_text(f'echo "$1 $3" >>{tmp_path}/calls\n[ "$1" = end ] || echo /copy\n')
    environ = {
        "PATH": f"{prefix}/bin:/usr/bin:/bin",
        "PIPSHPC_STACK": "rs-try/1",
        "PIPSHPC_STACK_PREFIX": str(prefix),
        "OTHER": f"a:{prefix}/share:b",
    }
    return prefix, images, environ, tmp_path / "calls"


def start(text, environ):
    return subprocess.Popen(
        ["bash", "-c", text], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_job_names_the_copy_wherever_the_prefix_was_named(shared):
    prefix, _, environ, calls = shared
    job = start(job_text('sh -c "echo $PATH $OTHER $PIPSHPC_STACK_PREFIX $PIPSHPC_STACK_SHARED; exit 7"'), environ)
    said, _ = job.communicate(timeout=30)
    assert said.split() == ["/copy/bin:/usr/bin:/bin", "a:/copy/share:b", "/copy", str(prefix)]
    assert job.returncode == 7 and calls.read_text() == "job /local disk\nend /local disk\n"


@pytest.mark.parametrize("lacking", ["image.sum", "stage.sh"])
def test_without_a_copy_a_job_uses_the_shared_tree(shared, lacking):
    prefix, images, environ, _ = shared
    (images / lacking).unlink()
    job = start(job_text('echo "$PATH"'), environ)
    said, warned = job.communicate(timeout=30)
    assert (job.returncode, said.strip()) == (0, f"{prefix}/bin:/usr/bin:/bin")
    assert lacking != "image.sum" or "pipshpc stack pack rs-try" in warned


def test_signals_reach_the_command_and_the_copy_is_taken_away_after_it(shared, tmp_path):
    _, _, environ, calls = shared
    script = tmp_path / "worker.sh"
    script.write_text("trap 'echo stopping; sleep 0.3; exit 75' USR1\necho there\nwhile :; do sleep 0.05; done\n")
    job = start(job_text(f"bash {script}"), environ)
    assert job.stdout.readline() == "there\n"
    job.send_signal(signal.SIGUSR1)
    said, _ = job.communicate(timeout=30)
    assert (job.returncode, said) == (75, "stopping\n")
    assert calls.read_text().splitlines()[-1].startswith("end")


def test_a_site_without_such_storage_changes_nothing():
    plain = Site(name="there", launcher=Launcher(command=["srun", "-n", "{ranks}"]))
    assert stage_lines(plain) == [] and run_lines(plain, "a b") == ["exec a b"]
