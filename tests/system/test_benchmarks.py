"""The benchmark suite runs; what it finds is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import SECTIONS

REPO = Path(__file__).parents[2]


@pytest.mark.system
@pytest.mark.mpi
def test_the_quick_suite_measures_every_section(tmp_path, needs):
    needs("xarray", "dask", "mpi4py", "rich")
    out = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--dir", str(tmp_path), "--out", str(out)],
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert set(result["sections"]) == set(SECTIONS)
    assert result["machine"]["copy_gb_s"] > 0
    job = result["sections"]["job"]
    differences = {k: v for k, v in job["facts"].items() if k.startswith("difference")}
    assert differences
    assert all(value <= 0.05 for value in differences.values())  # the peers did the same job
    assert all(way["same"] for way in result["sections"]["write"]["facts"]["raw"].values())
