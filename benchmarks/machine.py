"""What the machine can do: the figures that all others are to be read against."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.measure import seconds
from pipshpc.site import count_cores

COPY_BYTES = 100 << 20


def describe(folder: Path, quick: bool = False) -> dict[str, Any]:
    """Return processor, cores, memory, copy bandwidth, disk rate and load."""
    return {
        "cpu": _cpu(),
        "cores": count_cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "copy_gb_s": round(copy_rate(COPY_BYTES // (10 if quick else 1)) / 1e9, 2),
        "disk_mb_s": round(disk_rate(folder, (16 if quick else 256) << 20) / 1e6, 1),
        "file_system": _file_system(folder),
        "load_before": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def copy_rate(nbytes: int) -> float:
    """Return bytes read and written per second by one thread that copies an array; the best of several."""
    source, target = np.ones(nbytes // 4, np.float32), np.zeros(nbytes // 4, np.float32)
    act = seconds(lambda: np.copyto(target, source))
    return 2 * nbytes / min(act() for _ in range(7))


def disk_rate(folder: Path, nbytes: int) -> float:
    """Return bytes per second of a sequential write with fsync of data that cannot be compressed."""
    data = np.random.default_rng(0).bytes(nbytes)
    path = folder / "disk.tmp"

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())

    os.sync()
    took = min(seconds(write)() for _ in range(3))
    path.unlink()
    return nbytes / took


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [p for p in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(p.mountpoint)]
    return max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else "unknown"
