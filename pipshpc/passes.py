"""Two passes over a task: numbers that depend on all of its pixels, such as the edges of a scatter of points.

In the first pass the chain runs up to what a reduction reads, for all blocks
and one time step at a time; each rank counts its pixels into a table of whole
numbers, and the tables of all ranks are added. Sums of whole numbers do not
depend on their order, so what follows from them is the same to the last bit
for any number of ranks, threads and blocks. The second pass is the chain as
it is, with the results as numbers that hold for all pixels of a time step.

A new reduction is a class with `counts`, `results` and `tell`, named in
`REDUCTIONS`, and the key `reduction` of an algorithm that takes its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipshpc.chain import SURFACE, Chain, compile_chain
from pipshpc.edges import INDEX_BINS, WARMTH_BINS, EdgeTable
from pipshpc.errors import SpecError
from pipshpc.product import SURFACES, Card
from pipshpc.task import Recipe

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float32]
STEPS_AT_ONCE = 8  # time steps of a block in memory together
LAND = float(SURFACES.index("land"))
LOWEST_SUN = 0.5  # cosine of the zenith angle, as the algorithms that take the edges have it
FREEZING = 273.15


class Reduction(Protocol):
    """Pixels to a table, a table to numbers."""

    shape: tuple[int, ...]  # of the table

    def counts(self, values: Mapping[str, Values]) -> Counts:
        """Count the pixels of a block, all of one shape, NaN where missing; `surface` is among them where it is
        known."""

    def results(self, counts: Counts) -> list[float]:
        """Return the numbers in the order of the card; NaN where the table does not tell."""

    def tell(self, counts: Counts) -> dict[str, float]:
        """Return what a file should say of the table."""


class Tvdi:
    """Dry and wet edge of the surface temperature over the vegetation index, of lit land that is not frozen."""

    shape: tuple[int, ...] = (INDEX_BINS, WARMTH_BINS)

    def counts(self, values: Mapping[str, Values]) -> Counts:
        """Count pixels by vegetation index and temperature at sea level."""
        seen = (values["cosz"] >= LOWEST_SUN) & (values["ts"] >= FREEZING)
        if SURFACE in values:
            seen &= values[SURFACE] == LAND
        table = EdgeTable()
        table.add(np.where(seen, values["ts"], np.nan), values["ndvi"], values["orog"])
        return table.counts

    def results(self, counts: Counts) -> list[float]:
        """Return offset and slope of the dry and of the wet edge."""
        try:
            found = EdgeTable(counts).edges()
        except SpecError:  # too few pixels: night, or all of it water, ice, cloud
            return [float("nan")] * 4
        return [found.dry_offset, found.dry_slope, found.wet_offset, found.wet_slope]

    def tell(self, counts: Counts) -> dict[str, float]:
        """Return how many pixels there were, and in how many bins of the vegetation index."""
        return {"pixels": int(counts.sum()), "bins": int((counts.sum(axis=1) > 0).sum())}


REDUCTIONS: dict[str, Reduction] = {"tvdi": Tvdi()}


@dataclass(frozen=True)
class Pass:
    """One reduction of a recipe, compiled.

    Parameters
    ----------
    name : of the reduction
    gives : the steps that take its results, in the order of these
    chain : gives `reads` as float32, one time step a window
    reads : names of what is counted
    """

    name: str
    gives: tuple[str, ...]
    chain: Chain
    reads: tuple[str, ...]

    @property
    def reduction(self) -> Reduction:
        """What counts."""
        return REDUCTIONS[self.name]

    def count(self, fields: list[Values]) -> Counts:
        """Count each time step of a block: (steps, rows, columns) each to (steps, *table)."""
        steps = [dict(zip(self.reads, step, strict=True)) for step in zip(*fields, strict=True)]
        return np.stack([self.reduction.counts(values) for values in steps])

    def results(self, tables: Counts) -> npt.NDArray[np.float32]:
        """Return the numbers of each time step: (steps, results)."""
        return np.array([self.reduction.results(table) for table in tables], np.float32)

    def tell(self, tables: Counts) -> list[dict[str, float]]:
        """Return for each time step what the file says of it; the numbers as they are used."""
        numbers = self.results(tables)
        return [
            self.reduction.tell(table) | {n: float(x) for n, x in zip(self.gives, row, strict=True) if x == x}
            for table, row in zip(tables, numbers, strict=True)
        ]


def find_passes(recipe: Recipe, cards: dict[str, Card], static_grids: dict[str, int]) -> list[Pass]:
    """Return the first passes that a recipe needs.

    Raises
    ------
    SpecError
        For a reduction that is not known, or one that needs another.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for step in (s for s in recipe.steps if s.kind == "reduced"):
        groups.setdefault((step.source, tuple(step.inputs.values())), []).append(step.name)
    found = []
    for (name, of), gives in groups.items():
        if name not in REDUCTIONS:
            raise SpecError(f"reduction '{name}' is not known; known are: {', '.join(REDUCTIONS)}")
        part = part_of(recipe, (*of, *((SURFACE,) if any(s.name == SURFACE for s in recipe.steps) else ())))
        if any(s.kind == "reduced" for s in part.steps):
            raise SpecError(f"reduction '{name}' reads what itself takes two passes; that is not possible")
        chain = compile_chain(part, cards, static_grids, raw=True)
        found.append(Pass(name, tuple(gives), chain, tuple(part.outputs)))
    return found


def part_of(recipe: Recipe, wanted: tuple[str, ...]) -> Recipe:
    """Return the steps that lead to some of them, in their order, with these as outputs."""
    needed = set(wanted)
    for step in reversed(recipe.steps):
        if step.name in needed:
            needed |= set(step.inputs.values())
    return Recipe([s for s in recipe.steps if s.name in needed], list(dict.fromkeys(wanted)), [])


def cut_steps(bounds: int) -> list[tuple[int, int]]:
    """Return first and last (exclusive) of the time steps that are in memory together."""
    return [(k, min(k + STEPS_AT_ONCE, bounds)) for k in range(0, bounds, STEPS_AT_ONCE)]
