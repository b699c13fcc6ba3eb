"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference vectors and real input files, which are not part of the project."""
    path = Path(os.environ.get("PIPSHPC_SHARED", Path(__file__).parents[2] / "shared"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}; set PIPSHPC_SHARED to the folder that holds reference/ and data/")
    return path
