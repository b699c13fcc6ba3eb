"""What a plan can draw on: the forcing as it was opened, and the static fields."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.datetime64]
NOWHERE = -1


@dataclass(frozen=True)
class Holdings:
    """Which file holds which variable at which time; empty for a forcing that is not made of files.

    Parameters
    ----------
    paths, digests : of each file
    holders : variable -> for each time of the forcing the number of the file, `NOWHERE` where there is none
    unreadable : file -> what is wrong with it, where such files are passed over
    at_once : for each time the numbers of all files that belong to it, where several together make one field
    """

    paths: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    holders: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    at_once: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Offer:
    """The forcing, as opened, and the static fields with their digests.

    Parameters
    ----------
    step_s : spacing of the times; 0 for a single one
    absent : variable -> why the forcing does not give it
    holdings : files, so that a task names and opens only its own
    cells : numbers of one field of the forcing in memory; 0 where it is not known
    states : variables of the forcing that a task takes once, for its middle
    nothing : why there is no forcing at all yet, for a campaign that waits for it
    """

    variables: tuple[str, ...]
    times: Times
    step_s: float
    identity: str
    title: str
    comment: str
    statics: dict[str, str]
    kernels: str
    absent: dict[str, str] = field(default_factory=dict)
    holdings: Holdings = Holdings()
    cells: int = 0
    nothing: str = ""
    states: tuple[str, ...] = ()
