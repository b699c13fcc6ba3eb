"""Sea ice beside its point functions: coefficients from tie points, corrections along coasts, the hole at the pole."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml

FILE = Path(__file__).parent / "data" / "tiepoints.yaml"
SPILL_HALO, COAST_HALO = 3, 2
ICE_EXTENT = 0.15  # concentration from which a cell counts as ice-covered

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8] | npt.NDArray[np.bool_]


class Channels(Record, frozen=True):
    """Brightness temperatures, K, of open water, first-year and multi-year ice."""

    h19: tuple[float, float, float]
    v19: tuple[float, float, float]
    v37: tuple[float, float, float]


class Bootstrap(Record, frozen=True):
    """First guesses and fixed numbers of the Bootstrap algorithm for one hemisphere; lines are offset and slope."""

    water: dict[str, float]
    ice: dict[str, float]
    line_h37: tuple[float, float]
    line_v19: tuple[float, float]
    above_h37: tuple[float, float]
    above_v19: tuple[float, float]
    wet_winter: tuple[float, float, float]
    wet_summer: tuple[float, float, float]


class Table(Record, frozen=True):
    """The file ``data/tiepoints.yaml``."""

    nasateam: dict[str, dict[str, Channels]]
    bootstrap: dict[str, Bootstrap]


@cache
def read_table() -> Table:
    """Read the tie points that come with the package."""
    return load_yaml(FILE, Table)


def find_tiepoints(sensor: str, hemisphere: str) -> Channels:
    """Return NASA Team's tie points of a sensor, or raise `SpecError` naming the known ones."""
    table = read_table().nasateam
    if sensor not in table or hemisphere not in table[sensor]:
        raise SpecError(
            f"tie points of '{sensor}', '{hemisphere}': known sensors are {', '.join(table)}, hemispheres north, south"
        )
    return table[sensor][hemisphere]


def find_bootstrap(hemisphere: str) -> Bootstrap:
    """Return Bootstrap's numbers of a hemisphere, or raise `SpecError` naming the known ones."""
    table = read_table().bootstrap
    if hemisphere not in table:
        raise SpecError(f"hemisphere '{hemisphere}': wanted one of {', '.join(table)}")
    return table[hemisphere]


def nasateam_coefficients(tie: Channels) -> dict[str, float]:
    """Return NASA Team's coefficients ``a`` to ``l``.

    With the tie points' differences and sums, concentrations of first-year
    and multi-year ice solve two linear equations in polarisation and gradient
    ratio; these are their determinants. Cavalieri et al. (1984),
    doi:10.1029/JD089iD04p05355.
    """
    d_o, d_f, d_m = (v - h for v, h in zip(tie.v19, tie.h19, strict=True))
    s_o, s_f, s_m = (v + h for v, h in zip(tie.v19, tie.h19, strict=True))
    p_o, p_f, p_m = (w - v for v, w in zip(tie.v19, tie.v37, strict=True))
    q_o, q_f, q_m = (w + v for v, w in zip(tie.v19, tie.v37, strict=True))
    return {
        "a": d_m * p_o - p_m * d_o,
        "b": p_m * s_o - p_o * s_m,
        "c": d_o * q_m - d_m * q_o,
        "d": s_m * q_o - q_m * s_o,
        "e": d_f * (p_m - p_o) + d_o * (p_f - p_m) + d_m * (p_o - p_f),
        "f": p_f * (s_m - s_o) + p_o * (s_f - s_m) + p_m * (s_o - s_f),
        "g": d_f * (q_o - q_m) + d_o * (q_m - q_f) + d_m * (q_f - q_o),
        "h": q_f * (s_o - s_m) + q_o * (s_m - s_f) + q_m * (s_f - s_o),
        "i": p_f * d_o - d_f * p_o,
        "j": p_o * s_f - p_f * s_o,
        "k": q_o * d_f - d_o * q_f,
        "l": q_f * s_o - s_f * q_o,
    }


def nasateam_parameters(sensor: str, hemisphere: str) -> dict[str, float]:
    """Return the parameters of ``siconc`` by NASA Team for a sensor and hemisphere, weather limits included."""
    limit = 0.057 if hemisphere == "south" and sensor in ("f17", "smmr") else 0.05
    coefficients = nasateam_coefficients(find_tiepoints(sensor, hemisphere))
    return {**coefficients, "gr3719_most": limit, "gr2219_most": 0.045}


def correct_spill_over(raw: Field, shore: npt.NDArray[np.uint8], least: Field, threads: int = 1) -> Field:
    """Correct NASA Team's ice for land in the footprint; halo 3.

    Parameters
    ----------
    raw : (y, x) concentration before it is cut at 1 (output ``sicraw``); NaN where missing or land
    shore : (y, x) 0 open sea, 1 land, 2 coast, 5 at the coast, 4 one further, 3 two further
    least : (y, x) least concentration ever seen there; 1 where nothing is known
    threads : the values do not depend on it

    Returns
    -------
    (y, x) concentration 0..1. Cavalieri et al. (1999), doi:10.1029/1999JC900081.
    """
    from pipshpc._coastal import spill_over

    out = np.empty(raw.shape, np.float32)
    spill_over(*_plain(raw, np.float32), *_plain(shore, np.uint8), *_plain(least, np.float32), out, threads=threads)
    return out


def correct_coast(raw: Field, land: Mask, least: float = 0.1, threads: int = 1) -> Field:
    """Take away Bootstrap's thin ice along coasts with water before them, and all below `least`; halo 2.

    Ice of one or two pixels between land and water, in any of the four
    directions, goes where its neighbours along the coast are water or as
    doubtful. The rule is the same in all four. Cho et al. (1996),
    International Journal of Remote Sensing 17, 1097-1113.
    """
    from pipshpc._coastal import fix_coast

    out = np.empty(raw.shape, np.float32)
    fix_coast(
        *_plain(raw, np.float32), *_plain(land, np.uint8), out, np.empty(raw.shape, np.int8), least, threads=threads
    )
    return out


def _plain(array: npt.NDArray[np.generic], kind: type[np.generic]) -> tuple[npt.NDArray[np.generic]]:
    return (np.ascontiguousarray(array, dtype=kind),)


def make_shore(land: Mask) -> npt.NDArray[np.uint8]:
    """Return the shore map of a land mask: 1 land, 2 land at the sea, 5, 4, 3 sea one, two, three cells off, 0 beyond.

    Distance is that of a king's moves. It has a halo of 3.
    """
    solid = np.asarray(land, bool)
    shore = np.where(solid, 1, 0).astype(np.uint8)
    shore[solid & _grown(~solid)] = 2
    near = solid
    for code in (5, 4, 3):
        wider = _grown(near)
        shore[wider & ~near] = code
        near = wider
    return shore


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask and its eight neighbours."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])


def fill_pole(siconc: Field, lat: npt.NDArray[np.float64], hole: float, ring: float = 1.0) -> Field:
    """Fill what no orbit sees about a pole with the mean of the cells about it.

    Parameters
    ----------
    siconc : (y, x) concentration, NaN where missing
    lat : (y, x) degrees north
    hole : latitude of the hole's edge; negative for the south pole
    ring : degrees of latitude outside the edge whose mean is taken

    Raises
    ------
    SpecError
        Where the ring holds no value: the hole is larger than was said.
    """
    away = np.asarray(lat) if hole > 0 else -np.asarray(lat)
    inside = (away >= abs(hole)) & np.isnan(siconc)
    if not inside.any():
        return siconc
    about = (away < abs(hole)) & (away >= abs(hole) - ring) & np.isfinite(siconc)
    if not about.any():
        raise SpecError(f"pole: no value between {abs(hole) - ring:g} and {abs(hole):g} degrees; give the hole's edge")
    mean = np.sort(siconc[about].astype(np.float64)).sum() / about.sum()
    return np.where(inside, np.float32(mean), siconc)
