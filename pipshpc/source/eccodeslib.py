"""ecCodes, loaded so that it cannot harm its neighbours.

The ecCodes wheel brings a PROJ, a curl and more of its own and makes their
symbols global to the process. pyproj and HDF5, which bring other versions of
the same libraries, then call into the wrong one and crash, at the latest when
Python exits. Loading the wheel's libraries privately beforehand avoids that:
the loader resolves them by name among what is loaded already. Import ecCodes
from here only.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path

# What ecCodes' finder of libraries looks at, and what it is told meanwhile.
SKIP_PACKAGES = "FINDLIBS_DISABLE_PACKAGE"
HOME = "ECCODES_HOME"


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _load_privately() -> None:
    """Open the wheel's libraries without exporting their symbols; nothing to do for other builds of ecCodes."""
    home, kit = _package("eccodeslib"), _package("eckitlib")
    if home is None or kit is None or HOME in os.environ or SKIP_PACKAGES in os.environ:
        import eccodes

        return
    for library in sorted((kit / "lib64").glob("*.so")):
        if "_mpi" in library.name:  # never needed here, and MPI is ours to start
            continue
        ctypes.CDLL(str(library), mode=os.RTLD_LOCAL | os.RTLD_NOW)
    os.environ[HOME], os.environ[SKIP_PACKAGES] = str(home), "yes"
    try:
        import eccodes  # noqa: F401
    finally:
        del os.environ[HOME], os.environ[SKIP_PACKAGES]


_load_privately()

import eccodes  # noqa: E402

__all__ = ["eccodes"]
