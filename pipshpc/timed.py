"""What is made over many steps, for one block: the chain gives the steps, a series or a step function makes of them.

A block is worked in strips of rows, so that all steps of a strip are in
memory together: a year of days of a few fields for a few thousand pixels. So
each pixel's year lies together, no state leaves the strip, and a block that is
done is done for the whole window. That is what the ledger keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipshpc import catalogue
from pipshpc.chain import SURFACE, Chain, compile_chain, run_block
from pipshpc.encode import FILL
from pipshpc.errors import InputError, SpecError
from pipshpc.inputs import Batch, Inputs
from pipshpc.passes import part_of
from pipshpc.product import SURFACES, Algorithm, Card, Packing
from pipshpc.task import Recipe, Task
from pipshpc.timeline import selections, timed_parts

STRIP_BYTES = 48 << 20  # of all steps of all fields of a strip
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """One kernel and the products that take its outputs.

    Parameters
    ----------
    products : step name -> output of the kernel
    surface : number of the surface that it is for; None: everywhere
    """

    algorithm: Algorithm
    products: dict[str, str]
    surface: int | None


def pack(values: Values, packing: Packing) -> npt.NDArray[Any]:
    """Return values as they are stored; what is missing or beyond the type's range is the fill value."""
    if packing.dtype == "float32":
        return values
    fill = FILL[packing.dtype]
    info = np.iinfo(packing.dtype)
    low, high = (info.min + 1, info.max) if info.min < 0 else (info.min, info.max - 1)
    stored = np.rint((values.astype(np.float64) - packing.add_offset) / packing.scale_factor)
    there = (stored >= low) & (stored <= high)
    return np.where(there, np.where(there, stored, 0).astype(fill.dtype), fill)


def group_kernels(recipe: Recipe, cards: dict[str, Card]) -> list[Work]:
    """Return each kernel once, with all that is taken of it."""
    surface_of = {name: SURFACES.index(k) for parts in selections(recipe).values() for k, name in parts.items()}
    groups: dict[tuple[object, ...], Work] = {}
    for step in timed_parts(recipe):
        algorithm = cards[step.source].algorithm(step.algorithm)
        surface = surface_of.get(step.name)
        key = algorithm.kernel, tuple(algorithm.inputs), tuple(algorithm.parameters.items()), surface
        work = groups.setdefault(key, Work(algorithm, {}, surface))
        work.products[step.name] = algorithm.output
    return list(groups.values())


class Timed:
    """The machine of a task whose products are made over many steps.

    Parameters
    ----------
    task : with `steps`
    cards : by product
    inputs : opened; the forcing of the whole window comes into memory as one batch
    """

    def __init__(self, task: Task, cards: dict[str, Card], inputs: Inputs) -> None:
        self.task, self.cards, self.inputs = task, cards, inputs
        if any(s.kind == "reduced" for s in task.recipe.steps):
            raise SpecError("a product over many steps cannot take what needs a first pass over all pixels")
        self.works = group_kernels(task.recipe, cards)
        wanted = list(dict.fromkeys(n for work in self.works for n in work.algorithm.inputs))
        moving = _moving(task.recipe)
        surface = any(work.surface is not None for work in self.works)
        self.moving_names = [n for n in wanted if n in moving]
        self.still_names = [n for n in wanted if n not in moving] + [SURFACE] * (surface and SURFACE not in wanted)
        if not self.moving_names:
            raise SpecError(f"{', '.join(task.recipe.outputs)} is made of steps, but nothing that it takes changes")
        grids = inputs.chain_grids
        self.chain = compile_chain(part_of(task.recipe, tuple(self.moving_names)), cards, grids, raw=True)
        self.still: Chain | None = None
        if self.still_names:
            self.still = compile_chain(part_of(task.recipe, tuple(self.still_names)), cards, grids, raw=True)
        self.bounds = np.concatenate([[0], np.cumsum(task.steps)]).astype(np.int32)
        self.days = (np.arange(len(task.steps)) * task.step_s / 86400).astype(np.float32)
        self.packings = [cards[p].packing for p in task.products]

    def block(
        self, at: tuple[int, int], extent: tuple[int, int], batch: Batch, addresses: npt.NDArray[np.uint64]
    ) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[np.uint8]]]:
        """Make one block.

        Parameters
        ----------
        at : first row and column in the task's window
        extent : rows and columns
        batch : of the whole window
        addresses : (samples, fields) of `chain`

        Returns
        -------
        values, counts : per product (1, rows, columns) of a chunk: as stored, and percent of the steps
        """
        chunk = self.task.chunk
        values = [np.full((1, *chunk), FILL[p.dtype], p.dtype) for p in self.packings]
        counts = [np.zeros((1, *chunk), np.uint8) for _ in self.packings]
        width = (extent[1] + 15) // 16 * 16
        rows = max(1, STRIP_BYTES // (5 * len(self.task.steps) * len(self.moving_names) * width))
        still = self.inputs.addresses(self.still, batch) if self.still else None
        for first in range(0, extent[0], rows):
            count = min(rows, extent[0] - first)
            made = self._strip((at[0] + first, at[1]), (count, extent[1]), width, batch, addresses, still)
            for k, (name, packing) in enumerate(zip(self.task.products, self.packings, strict=True)):
                if name not in made:
                    continue
                found, share = made[name]
                inside = (0, slice(first, first + count), slice(0, extent[1]))
                values[k][inside] = pack(found[:, : extent[1]], packing)
                counts[k][inside] = np.where(np.isnan(found[:, : extent[1]]), 0, share[:, : extent[1]])
        return values, counts

    def _strip(
        self,
        at: tuple[int, int],
        extent: tuple[int, int],
        width: int,
        batch: Batch,
        addresses: npt.NDArray[np.uint64],
        still_addresses: npt.NDArray[np.uint64] | None,
    ) -> dict[str, tuple[Values, Values]]:
        """Return for each product (rows, width) values, and percent of the steps that were there."""
        window = self.task.window
        lat, lon = window.place(at, extent)
        still: dict[str, Values] = {}
        if self.still is not None:
            assert still_addresses is not None
            one = np.array([0, 1], np.int32)
            fields = self._run(self.still, lat, lon, width, still_addresses[:1], one, batch.sun[:1])
            still = dict(zip(self.still.outputs, fields, strict=True))
        here = [w for w in self.works if w.surface is None or bool(np.any(still[SURFACE] == w.surface))]
        if not here:
            return {}
        fields = self._run(self.chain, lat, lon, width, addresses, self.bounds, batch.sun)
        given = still | dict(zip(self.chain.outputs, fields, strict=True))
        made: dict[str, tuple[Values, Values]] = {}
        for work in here:
            self._apply(work, given, at, extent, made)
        for product, parts in selections(self.task.recipe).items():
            there = [made[name] for name in parts.values() if name in made]
            if there:
                made[product] = _over([v for v, _ in there]), np.maximum.reduce([share for _, share in there])
        return made

    def _run(
        self,
        chain: Chain,
        lat: npt.NDArray[np.float64],
        lon: npt.NDArray[np.float64],
        width: int,
        addresses: npt.NDArray[np.uint64],
        bounds: npt.NDArray[np.int32],
        sun: npt.NDArray[np.float32],
    ) -> list[Values]:
        """Run a chain for a strip; (steps, rows, width) each, NaN where missing and beyond the last column."""
        shape = (bounds.size - 1, lat.size, width)
        fields = [np.full(shape, np.nan, np.float32) for _ in chain.outputs]
        counts = [np.zeros(shape, np.uint8) for _ in chain.outputs]
        places, parts = self.inputs.places(chain, lat, lon), self.inputs.parts(chain, lat, lon)
        run_block(chain, lat, lon, width, places, addresses, bounds, sun, fields, counts, parts)
        return fields

    def _apply(
        self,
        work: Work,
        given: dict[str, Values],
        at: tuple[int, int],
        extent: tuple[int, int],
        made: dict[str, tuple[Values, Values]],
    ) -> None:
        """Run one kernel over a strip and put what it gives into `made`, by name of step and of carried state."""
        arrays = {n: given[n].reshape(len(given[n]), -1) for n in work.algorithm.inputs}
        shape = next(iter(given.values())).shape[1:]
        if work.algorithm.loop == "series":
            outs, seen = self._series(work.algorithm, arrays)
            states: dict[str, Values] = {}
        else:
            outs, states, seen = self._steps(work, arrays, at, extent, shape)
        share = np.where(seen > 0, np.maximum(np.rint(100 * seen / len(self.task.steps)), 1), 0).reshape(shape)
        kept = {c.name: states[c.state] for c in self.task.carry if c.state in states and c.product in _owners(work)}
        named = {name: outs[output] for name, output in work.products.items()} | kept
        mask = None if work.surface is None else given[SURFACE][0] == work.surface
        for name, flat in named.items():
            found = flat.reshape(shape)
            made[name] = (found if mask is None else np.where(mask, found, np.float32(np.nan)), share)

    def _series(self, algorithm: Algorithm, arrays: dict[str, Values]) -> tuple[dict[str, Values], Values]:
        """Run a series function; steps that count are those with all that changes."""
        from pipshpc._series import apply_series
        from pipshpc._tiles import SERIES

        series, n = SERIES[algorithm.kernel], len(self.days)
        pixels = next(iter(arrays.values())).shape[1]
        rows = [np.ascontiguousarray(np.broadcast_to(arrays[r], (n, pixels))) for r in series.rows]
        outs = {o: np.empty((n if o in series.lengthy else 1, pixels), np.float32) for o in series.outputs}
        parameters = np.array([algorithm.parameters[p] for p in series.parameters], np.float32)
        apply_series(series.address, rows, self.days, parameters, list(outs.values()))
        seen = np.isfinite(rows[0]).sum(axis=0).astype(np.float32)
        # Of an output that is itself a series the window keeps the last value.
        return {o: out[-1] for o, out in outs.items()}, seen

    def _steps(
        self,
        work: Work,
        arrays: dict[str, Values],
        at: tuple[int, int],
        extent: tuple[int, int],
        shape: tuple[int, ...],
    ) -> tuple[dict[str, Values], dict[str, Values], Values]:
        """Run a step function through all steps; outputs of the window, states after it, steps that were made."""
        from pipshpc._loops import LOOPS
        from pipshpc._series import OVER, run_steps

        algorithm = work.algorithm
        loop = LOOPS[algorithm.kernel]
        names = list(algorithm.state)
        states = {n: self._initial(work, n, at, extent, shape) for n in names}
        rows = [names.index(r) if r in states else np.ascontiguousarray(arrays[r]) for r in loop.rows]
        pixels = int(np.prod(shape))
        outs = {o: np.empty(pixels, np.float32) for o in loop.outputs if o.removeprefix("next_") not in states}
        to = [names.index(o.removeprefix("next_")) if o not in outs else outs[o] for o in loop.outputs]
        parameters = np.array([algorithm.parameters[p] for p in loop.parameters], np.float32)
        seen = np.zeros(pixels, np.float32)
        run_steps(
            loop.address, rows, list(states.values()), parameters, to, [OVER[algorithm.over]] * len(to), seen
        )  # fmt: skip
        for name in names:
            # Where no step was ever made there is nothing to keep either, but what was there before.
            outs[f"next_{name}"] = np.where(seen > 0, states[name], np.float32(np.nan))
        return outs, states, seen

    def _initial(
        self, work: Work, name: str, at: tuple[int, int], extent: tuple[int, int], shape: tuple[int, ...]
    ) -> Values:
        """Return a state at the start of the window: of the task before, or the card's."""
        own = [c for c in self.task.carry if c.state == name and c.product in _owners(work) and c.file]
        if not own:
            return np.full(int(np.prod(shape)), work.algorithm.state[name].initial, np.float32)
        owner = own[0]
        state = np.full(shape, np.nan, np.float32)
        state[:, : extent[1]] = _read(Path(self.task.output_dir) / owner.file, owner.name, at, extent)
        return state.reshape(-1)


def check_before(task: Task) -> None:
    """Hold that the states that a task takes are there, and are those of the task that it follows.

    Raises
    ------
    InputError
    """
    for one in task.carry:
        path = Path(task.output_dir) / one.file
        if one.file and not catalogue.is_complete(path, task.before):
            raise InputError(
                f"{path}: the state of '{one.product}' before {task.windows[0]} is not there, or is of another run; "
                f"make task {task.before} first (run the campaign from its start)"
            )


def _read(path: Path, name: str, at: tuple[int, int], extent: tuple[int, int]) -> Values:
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            found = file[name][0, at[0] : at[0] + extent[0], at[1] : at[1] + extent[1]]
    except (OSError, KeyError) as error:
        raise InputError(f"{path}: the state '{name}' cannot be read ({error}); make the task before again") from error
    return np.asarray(found, np.float32)


def _owners(work: Work) -> set[str]:
    return {name.partition("@")[0] for name in work.products}


def _over(layers: list[Values]) -> Values:
    """Lay the fields of several surfaces over each other."""
    found = layers[0]
    for layer in layers[1:]:
        found = np.where(np.isnan(found), layer, found)
    return found


def _moving(recipe: Recipe) -> set[str]:
    """Return the steps that change with time: what follows the forcing or the sun."""
    found: set[str] = set()
    for step in recipe.steps:
        if step.kind in ("forcing", "geometry") or found & set(step.inputs.values()):
            found.add(step.name)
    return found
