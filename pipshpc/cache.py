"""Where results that can be made again are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Folder for what can be made again: ``$XDG_CACHE_HOME`` or ``~/.cache``, below it ``pipshpc``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pipshpc"
