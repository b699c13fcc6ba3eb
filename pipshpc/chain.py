"""Turn a recipe into a machine that makes whole blocks: slots, levels, placements, samples of the sun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc import sun
from pipshpc.errors import SpecError
from pipshpc.product import Algorithm, Card
from pipshpc.sourcegrid import SourceGrid
from pipshpc.task import Recipe, Sample, Step

ROW, SAMPLE, NODE, AFTER = 0, 1, 2, 3
LANES = 16


@dataclass(frozen=True)
class Field:
    """A coarse field that the chain interpolates: which variable, and on which of the grids."""

    name: str
    kind: str  # "forcing" (one per sample) or "static" (one for all)
    grid: int  # 0: the forcing's grid; else 1 + position among the static grids


@dataclass(frozen=True)
class Chain:
    """A compiled recipe."""

    machine: Any
    fields: tuple[Field, ...]
    outputs: tuple[str, ...]


def compile_chain(recipe: Recipe, cards: dict[str, Card], static_grids: dict[str, int]) -> Chain:
    """Build the block machine of a recipe.

    Parameters
    ----------
    recipe : steps in the order of computation
    cards : product cards by id
    static_grids : grid number of each static field (0 is the forcing's grid)

    Raises
    ------
    SpecError
        Where a card's kernel is not among the compiled ones.
    """
    from pipshpc._chain import Machine
    from pipshpc._loops import LOOPS

    slots: dict[str, int] = {}
    levels: dict[str, int] = {}
    reads: dict[str, frozenset[int]] = {}  # per step: the slots below node level whose gaps make it a gap
    fields: list[Field] = []
    ops: list[dict[str, object]] = []
    means: dict[int, tuple[int, list[int]]] = {}  # slot at node level: where its mean goes, what makes it a gap
    next_slot = 0
    for step in recipe.steps:
        if step.kind == "kernel" and step.source == "=":
            origin = step.inputs["same"]
            slots[step.name], levels[step.name], reads[step.name] = slots[origin], levels[origin], reads[origin]
            continue
        slots[step.name] = slot = next_slot
        next_slot += 1
        if step.kind == "geometry":
            # The sun's irradiance is one number per sample, but is only defined while nodes are run.
            levels[step.name], reads[step.name] = NODE, frozenset()
        elif step.kind in ("forcing", "static"):
            levels[step.name] = SAMPLE if step.kind == "forcing" else ROW
            reads[step.name] = frozenset([slot])
            grid = 0 if step.kind == "forcing" else static_grids[step.source]
            ops.append({"kind": "interpolate", "level": levels[step.name], "slot": slot, "field": len(fields)})
            fields.append(Field(step.source, step.kind, grid))
        else:
            algorithm = cards[step.source].algorithm(step.algorithm)
            if algorithm.kernel not in LOOPS:
                raise SpecError(
                    f"product '{step.source}': kernel '{algorithm.kernel}' is not compiled; run 'make build'"
                )
            loop = LOOPS[algorithm.kernel]
            levels[step.name] = level = kernel_level(step, algorithm, levels)
            args = {n: slots[step.inputs[n]] for n in loop.rows}
            if level == AFTER:
                for origin in step.inputs.values():
                    if levels[origin] == NODE and slots[origin] not in means:
                        means[slots[origin]] = (next_slot, sorted(reads[origin]))
                        next_slot += 1
                args = {n: means[k][0] if levels[step.inputs[n]] == NODE else k for n, k in args.items()}
            below = frozenset().union(*(reads[n] for n in step.inputs.values()))
            reads[step.name] = below if levels[step.name] == NODE else frozenset([slot])
            outs = []
            for name in loop.outputs:
                if len(loop.outputs) == 1 or name == (algorithm.output or loop.outputs[0]):
                    outs.append(slot)
                else:
                    outs.append(next_slot)
                    next_slot += 1
            ops.append(
                {
                    "kind": "loop",
                    "level": levels[step.name],
                    "address": loop.address,
                    "args": [args[n] for n in loop.rows],
                    "outs": outs,
                    "parameters": [algorithm.parameters[n] for n in loop.parameters],
                }
            )
    outputs = [
        {
            "slot": slots[name],
            "level": NODE if levels[name] == NODE else SAMPLE,
            "dtype": cards[name].packing.dtype,
            "scale_factor": cards[name].packing.scale_factor,
            "add_offset": cards[name].packing.add_offset,
            "seen": sorted(reads[name]) if levels[name] == NODE else [],
        }
        for name in recipe.outputs
    ]
    has_nodes = any(level == NODE for level in levels.values())
    spare = -1
    if has_nodes and "cosz" not in slots:
        spare = next_slot
        next_slot += 1
    machine = Machine(
        next_slot,
        ops,
        outputs,
        slots.get("cosz", spare),
        slots.get("toa_normal", -1),
        [{"slot": k, "into": into, "seen": seen} for k, (into, seen) in means.items()],
    )
    return Chain(machine, tuple(fields), tuple(recipe.outputs))


def kernel_level(step: Step, algorithm: Algorithm, levels: dict[str, int]) -> int:
    """Say how often a step is computed: per row, per sample, at each instant of the sun, or after those of a sample.

    What follows the sun ("sunlit") is computed at its instants where an input
    is. Anything else that takes such an input takes its mean over the sample:
    a sum with a flux that goes on at night would lose the night.

    Raises
    ------
    SpecError
        Where a step is wanted at instants and takes a mean over them.
    """
    kinds = {n: levels[n] for n in step.inputs.values()}
    if algorithm.integrate != "sunlit" or NODE not in kinds.values():
        return AFTER if {NODE, AFTER} & set(kinds.values()) else max(kinds.values(), default=ROW)
    if late := [n for n, level in kinds.items() if level == AFTER]:
        raise SpecError(
            f"'{step.name}' by {algorithm.name} follows the sun but takes {', '.join(late)}, which is a mean over the "
            "sun's path here; order another algorithm for one of them"
        )
    return NODE


def place_block(grid: SourceGrid, stride: int, lat: npt.NDArray[np.float64], lon: npt.NDArray[np.float64]) -> Any:
    """Return where the pixels of a block lie in a coarse grid, for bilinear interpolation.

    Parameters
    ----------
    grid : source grid, coordinates ascending
    stride : columns of its fields in memory (one more than the grid has where it is periodic)
    lat, lon : (rows,), (columns,) degrees, pixel centres

    Notes
    -----
    Pixels outside the grid get a weight of NaN and so become missing.
    """
    from pipshpc._chain import Placement

    columns = padded(lon)
    if grid.crs is None:
        fy, fx = grid.locate(lat, columns)
        iy, wy = _split(fy, grid.y.size - 2)
        ix, wx = _split(fx, stride - 2)
        return Placement(stride, iy, wy, ix, wx)
    lat2, lon2 = np.broadcast_arrays(lat[:, None], columns[None, :])
    fy, fx = grid.locate(lat2, lon2)
    iy, wy = _split(fy, grid.y.size - 2)
    ix, wx = _split(fx, stride - 2)
    return Placement(stride, np.zeros(1, np.int32), wy, iy * stride + ix, wx)


def _split(position: npt.NDArray[np.float64], last: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Split fractional indices into a lower index (at most `last`) and the weight of the next."""
    inside = np.where(np.isfinite(position), position, 0.0)
    index = np.clip(np.floor(inside), 0, last).astype(np.int32)
    return index, (position - index).astype(np.float32)


def padded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Lengthen a row to whole vectors by repeating its last value."""
    return np.pad(values, (0, -values.size % LANES), mode="edge")


def sun_table(samples: Sequence[Sample], window_seconds: float) -> npt.NDArray[np.float32]:
    """Return what the block machine needs to know of the sun, per sample.

    Returns
    -------
    (n, 6) float32
        sin and cos of the declination at the sample's middle, hour angle at
        longitude 0 at its start and its length (radians), solar irradiance at
        normal incidence (W m-2), share of the window.
    """
    starts = np.array([s.start.rstrip("Z") for s in samples], "datetime64[ms]")
    seconds = np.array([s.seconds for s in samples])
    middle = starts + (seconds * 500).astype("timedelta64[ms]")
    position = sun.ephemeris(middle)
    day_s = (starts - starts.astype("datetime64[D]")) / np.timedelta64(1, "s")
    hour_angle = np.pi / 180 * (15 * (day_s / 3600 - 12) + position.equation_of_time / 4)
    table = np.stack(
        [
            np.sin(position.declination),
            np.cos(position.declination),
            hour_angle,
            2 * np.pi * seconds / 86400,
            position.toa_normal,
            seconds / window_seconds,
        ],
        axis=1,
    )
    return table.astype(np.float32)


def run_block(
    chain: Chain,
    lat: npt.NDArray[np.float64],
    lon: npt.NDArray[np.float64],
    stride: int,
    placements: list[Any],
    addresses: npt.NDArray[np.uint64],
    bounds: npt.NDArray[np.int32],
    table: npt.NDArray[np.float32],
    values: list[npt.NDArray[Any]],
    counts: list[npt.NDArray[np.uint8]],
) -> None:
    """Compute all windows of one block into `values` and `counts`; see ``cext/chain.pyx``.

    Parameters
    ----------
    lat, lon : (rows,), (columns,) degrees, pixel centres
    stride : width of the output arrays
    placements : of the block, one per coarse grid
    addresses : (samples, fields) of the coarse fields
    bounds : (windows + 1,) samples of each window
    table : (samples, 6) of `sun_table`
    values, counts : per output (windows, rows, stride)
    """
    radians = np.deg2rad(lat).astype(np.float32)
    around = np.deg2rad((padded(lon) + 180) % 360 - 180).astype(np.float32)
    places = np.array([f.grid for f in chain.fields], np.int32)
    chain.machine.run(
        lat.size, lon.size, stride, placements, places, addresses, radians, around, bounds, table, values, counts
    )
