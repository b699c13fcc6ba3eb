"""Walltimes in Slurm's writing."""

from __future__ import annotations

import re

from pipshpc.errors import SpecError


def read_walltime(text: str) -> int:
    """Read Slurm's writing of a time (``90``, ``90:00``, ``01:30:00``, ``2-12``, ``2-12:00:00``) into seconds.

    Raises
    ------
    SpecError
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not text:
        return 0
    if not match:
        raise SpecError(f'found time \'{text}\', wanted minutes or one such as "01:30:00" or "2-12:00:00", in quotes')
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    else:
        hours, minutes, seconds = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
