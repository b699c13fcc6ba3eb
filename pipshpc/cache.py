"""Where results that can be made again are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder for what can be made again: ``$PIPSHPC_CACHE``, or ``pipshpc`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if named := os.environ.get("PIPSHPC_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pipshpc"
