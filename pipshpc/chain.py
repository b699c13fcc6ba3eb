"""Turn a recipe into a machine that makes whole blocks: slots, levels, surfaces, samples of the sun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc import sun
from pipshpc.errors import SpecError
from pipshpc.place import Part, padded
from pipshpc.product import SURFACES, Algorithm, Card, Packing
from pipshpc.task import Recipe, Sample, Step

ROW, SAMPLE, NODE, AFTER = 0, 1, 2, 3
EVERYWHERE = (1 << 32) - 1  # a set of surfaces, one bit each
CONSTANT = "(constant)"  # the grid of what is one number for all pixels
SURFACE = "surface"  # name of the step that says what kind of surface a pixel has
RAW = Packing(dtype="float32")
FLUX = "W m-2"  # what has this unit is 0 at night; anything else has a mean over daylight only


@dataclass(frozen=True)
class Field:
    """A coarse field that the chain interpolates: which variable, and on which of the grids."""

    name: str
    kind: str  # "forcing" or "reduced" (one per sample), "state" or "static" (one for all)
    grid: int  # 0: the forcing's grid; else 1 + position among the static grids


@dataclass(frozen=True)
class Chain:
    """A compiled recipe."""

    machine: Any
    fields: tuple[Field, ...]
    outputs: tuple[str, ...]


def needed_by(recipe: Recipe) -> dict[str, int]:
    """Return for each step the set of surfaces whose pixels need it, as bits.

    A step that only parts of a selection need is made for their surfaces
    only; the surface itself, and what it follows from, everywhere.
    """
    need = dict.fromkeys((s.name for s in recipe.steps), 0)
    for name in recipe.outputs:
        need[name] = EVERYWHERE
    for step in reversed(recipe.steps):
        if step.name == SURFACE:
            need[SURFACE] = EVERYWHERE
        for argument, name in step.inputs.items():
            among = 1 << SURFACES.index(argument) if step.kind == "select" and argument in SURFACES else EVERYWHERE
            need[name] |= need[step.name] & among
    return need


def surface_first(recipe: Recipe) -> list[Step]:
    """Return the steps with those that lead to the surface before all others, else in their order."""
    wanted = {SURFACE}
    for step in reversed(recipe.steps):
        if step.name in wanted:
            wanted |= set(step.inputs.values())
    return sorted(recipe.steps, key=lambda s: s.name not in wanted)


@dataclass
class _Build:
    """The state of one compilation."""

    cards: dict[str, Card]
    static_grids: dict[str, int]
    need: dict[str, int]
    slots: dict[str, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    # Per step: the slots below node level whose gaps make it a gap.
    reads: dict[str, frozenset[int]] = field(default_factory=dict)
    fields: list[Field] = field(default_factory=list)
    ops: list[dict[str, Any]] = field(default_factory=list)
    means: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[tuple[object, ...], dict[str, Any]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    next_slot: int = 0

    def take(self, step: Step) -> None:
        """Add the operations of one step."""
        name = step.name
        if step.kind == "kernel" and step.source == "=":
            same = step.inputs["same"]
            self.slots[name], self.levels[name], self.reads[name] = (
                self.slots[same],
                self.levels[same],
                self.reads[same],
            )
            self.origin[name] = self.origin.get(same, same)
        elif step.kind == "geometry":
            # The sun's irradiance is one number per sample, but is only defined while nodes are run.
            self.slots[name], self.levels[name], self.reads[name] = self.new_slot(), NODE, frozenset()
        elif step.kind == "select":
            self.select(step)
        elif step.kind == "kernel":
            self.kernel(step, self.cards[step.source].algorithm(step.algorithm))
        else:
            self.interpolate(step)

    def new_slot(self) -> int:
        self.next_slot += 1
        return self.next_slot - 1

    def interpolate(self, step: Step) -> None:
        slot = self.slots[step.name] = self.new_slot()
        level = self.levels[step.name] = SAMPLE if step.kind in ("forcing", "reduced") else ROW
        self.reads[step.name] = frozenset([slot])
        grids = {"static": step.source, "reduced": CONSTANT}
        grid = self.static_grids[grids[step.kind]] if step.kind in grids else 0
        self.add(step, {"kind": "interpolate", "level": level, "slot": slot, "field": len(self.fields)})
        self.fields.append(Field(step.name if step.kind == "reduced" else step.source, step.kind, grid))

    def add(self, step: Step, op: dict[str, Any]) -> None:
        self.ops.append(op | {"need": self.need[step.name]})

    def mean_slot(self, name: str) -> int:
        """The slot of a quantity for what runs after the nodes: its mean over them if it is made at nodes."""
        if self.levels[name] != NODE:
            return self.slots[name]
        name = self.origin.get(name, name)
        if name not in self.means:
            source = name.partition("@")[0]
            self.means[name] = {
                "slot": self.slots[name],
                "to": self.new_slot(),
                "seen": sorted(self.reads[name]),
                "per_lit": source not in self.cards or self.cards[source].units != FLUX,
                "need": 0,
            }
        self.means[name]["need"] |= self.need[name]
        return int(self.means[name]["to"])

    def level_of(self, step: Step) -> int:
        """Level of what takes the means of whatever follows the sun."""
        levels = [self.levels[n] for n in step.inputs.values()]
        return max((AFTER if level == NODE else level for level in levels), default=ROW)

    def select(self, step: Step) -> None:
        parts = [(SURFACES.index(k), name) for k, name in step.inputs.items() if k != SURFACE]
        slot, level = self.new_slot(), self.level_of(step)
        self.slots[step.name], self.levels[step.name], self.reads[step.name] = slot, level, frozenset([slot])
        args = [self.slots[step.inputs[SURFACE]], *(self.mean_slot(name) for _, name in parts)]
        self.add(step, {"kind": "select", "level": level, "slot": slot, "args": args, "kinds": [k for k, _ in parts]})

    def kernel(self, step: Step, algorithm: Algorithm) -> None:
        from pipshpc._loops import LOOPS

        name = step.name
        if algorithm.kernel not in LOOPS:
            raise SpecError(f"product '{step.source}': kernel '{algorithm.kernel}' is not compiled; run 'make build'")
        loop = LOOPS[algorithm.kernel]
        level = self.levels[name] = kernel_level(step, algorithm, self.levels)
        args = [self.mean_slot(step.inputs[n]) if level == AFTER else self.slots[step.inputs[n]] for n in loop.rows]
        parameters = [algorithm.parameters[n] for n in loop.parameters]
        # A function with several results is called once for all products that take one of them.
        key = algorithm.kernel, level, tuple(args), tuple(parameters)
        if key not in self.made:
            outs = [self.new_slot() for _ in loop.outputs]
            op = {"kind": "loop", "level": level, "address": loop.address, "args": args, "outs": outs}
            self.add(step, op | {"parameters": parameters})
            self.made[key] = self.ops[-1]
        op = self.made[key]
        op["need"] |= self.need[name]
        wanted = algorithm.output if len(loop.outputs) > 1 and algorithm.output else loop.outputs[0]
        slot = self.slots[name] = op["outs"][loop.outputs.index(wanted)]
        below = frozenset().union(*(self.reads[n] for n in step.inputs.values()))
        self.reads[name] = below if level == NODE else frozenset([slot])


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


def compile_chain(recipe: Recipe, cards: dict[str, Card], static_grids: dict[str, int], raw: bool = False) -> Chain:
    """Build the block machine of a recipe.

    Parameters
    ----------
    recipe : steps in the order of computation
    cards : product cards by id
    static_grids : grid number of each static field (0 is the forcing's grid), and of `CONSTANT`
    raw : outputs, which may be any steps, come as float32 in their own units

    Raises
    ------
    SpecError
        Where a card's kernel is not among the compiled ones.
    """
    build = _Build(cards, static_grids, needed_by(recipe))
    for step in surface_first(recipe):
        build.take(step)
    selected = {s.name: sum(1 << SURFACES.index(k) for k in s.inputs if k in SURFACES)
                for s in recipe.steps if s.kind == "select"}  # fmt: skip
    packings = [RAW if raw else cards[name].packing for name in recipe.outputs]
    outputs = [
        {
            "slot": build.mean_slot(name),
            "dtype": packing.dtype,
            "scale_factor": packing.scale_factor,
            "add_offset": packing.add_offset,
            "need": selected.get(name, EVERYWHERE),
        }
        for name, packing in zip(recipe.outputs, packings, strict=True)
    ]
    return _assemble(build, recipe, outputs)


def _assemble(build: _Build, recipe: Recipe, outputs: list[dict[str, Any]]) -> Chain:
    """Number the sets of surfaces and hand all to the machine."""
    from pipshpc._chain import Machine

    sets: list[int] = []
    # Only where the surface is known once per row can a row leave vectors out.
    known = build.levels.get(SURFACE) == ROW
    means = list(build.means.values())
    nodes = 0
    for part in (*build.ops, *means, *outputs):
        need = part.pop("need")
        nodes |= need if part.get("level") == NODE else 0
        part["among"] = _number(sets, need) if known else -1
    has_nodes = any(op["level"] == NODE for op in build.ops)
    cosz = build.slots.get("cosz", build.new_slot() if has_nodes else -1)
    machine = Machine(
        build.next_slot,
        build.ops,
        outputs,
        means,
        sets,
        cosz,
        build.slots.get("toa_normal", -1),
        build.slots[SURFACE] if known else -1,
        _number(sets, nodes) if known and has_nodes else -1,
    )
    return Chain(machine, tuple(build.fields), tuple(recipe.outputs))


def _number(sets: list[int], need: int) -> int:
    """Number of a set of surfaces; -1 for all of them."""
    if need == EVERYWHERE:
        return -1
    if need not in sets:
        sets.append(need)
    return sets.index(need)


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
    parts: Mapping[int, Part] | None = None,
) -> None:
    """Compute all windows of one block into `values` and `counts`; see ``cext/chain.pyx``.

    Parameters
    ----------
    lat, lon : (rows,), (columns,) degrees, pixel centres; (rows, columns) each on a projected grid
    stride : width of the output arrays
    placements : of the block, one per coarse grid
    addresses : (samples, fields) of the coarse fields
    bounds : (windows + 1,) samples of each window
    table : (samples, 6) of `sun_table`
    values, counts : per output (windows, rows, stride)
    parts : of large fields, by number of the field: what this block needs of them
    """
    rows, columns = lat.shape[0], lon.shape[-1]
    if lat.ndim == 2:
        lat, lon = lat[:, 0], lon[0]  # only the sun asks for them, and no plan takes it to a projected grid
    radians = np.deg2rad(lat).astype(np.float32)
    around = np.deg2rad((padded(lon) + 180) % 360 - 180).astype(np.float32)
    places = np.array([f.grid for f in chain.fields], np.int32)
    if parts:
        placements, addresses = list(placements), addresses.copy()
        for k, part in parts.items():
            places[k], addresses[:, k] = len(placements), part.values.ctypes.data
            placements.append(part.place)
        # A grid whose fields all come in parts has no placement of its own; nothing refers to it.
        placements = [p if p is not None else placements[-1] for p in placements]
    chain.machine.run(
        rows, columns, stride, placements, places, addresses, radians, around, bounds, table, values, counts
    )
