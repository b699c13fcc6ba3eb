"""The page for administrators, run on the lab as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipshpc.lab.stack import own_stack
from tests.lab.conftest import ROOT, environment
from tests.unit.moduletools import lmod

pytestmark = pytest.mark.lab

PAGE = ROOT / "docs" / "on-your-cluster.md"


def blocks():
    """Return the commands of the page that a test can run: all but those of a deployment, which takes minutes."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_is_right_line_by_line(lab):
    if lmod() is None:
        pytest.skip("Lmod is not installed here (envs/lab/install.sh)")
    stack, folder = own_stack(), lab.path / "page"
    prefix = stack.modulepath.parent
    text = "\n".join(blocks())
    assert text.count("# ") >= 6
    for page, here in (
        ("PREFIX=/sw/pipshpc", f"PREFIX={prefix}"),
        ("large_infiniband", "lab"),
        ("envs/", f"{ROOT}/envs/"),
    ):
        assert page in text
        text = text.replace(page, here)
    environ = {
        name: value
        for name, value in environment(lab).items()
        if name not in ("PYTHONPATH", "MODULEPATH", "PIPSHPC_LOAD")
    }
    # `pipshpc` is that of the module once it is loaded; in step 2 nothing of it is called.
    beside = str(Path(sys.executable).parent)
    environ["PATH"] = os.pathsep.join(p for p in environ["PATH"].split(os.pathsep) if p != beside)
    folder.mkdir()
    try:
        done = subprocess.run(
            ["bash", "-ec", f"{lmod().line('bash')}\n{text}"],
            cwd=folder, env=environ, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        intact = f"{stack.module} is loaded and intact"
        assert done.stdout.count(intact) == 2  # in the shell and in the job
        assert (folder / "first" / "rlds_1deg_3h_20060401.nc").exists()
        state = folder / "first" / ".pipshpc" / "first"
        assert stack.module in (state / "journal.jsonl").read_text()
        assert "warning: " not in "".join(p.read_text() for p in state.glob("block-*.log"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(prefix / "sites", ignore_errors=True)
        shutil.rmtree(prefix / "images", ignore_errors=True)
