"""Products that are made over many steps: the steps of a window, and the states that go from task to task."""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np

from pipshpc.errors import InputError
from pipshpc.product import Algorithm, Card, Packing
from pipshpc.sampling import Drawn, Sampler
from pipshpc.task import Carry, Choice, Recipe, Sample, Step


def timed_parts(recipe: Recipe) -> list[Step]:
    """Return the steps of a recipe that run over time, without selections of such."""
    return [s for s in recipe.steps if s.kind == "timed" and "surface" not in s.inputs]


def selections(recipe: Recipe) -> dict[str, dict[str, str]]:
    """Return for each product that is made by surface: surface -> name of the step that makes it there."""
    return {
        s.name: {k: v for k, v in s.inputs.items() if "@" in v}
        for s in recipe.steps
        if s.kind == "timed" and "surface" in s.inputs
    }


def find_carry(recipe: Recipe, cards: dict[str, Card]) -> tuple[Carry, ...]:
    """Return the states that the steps of a recipe carry; steps of one kernel carry them once."""
    found: dict[tuple[str, str], Carry] = {}
    for step in timed_parts(recipe):
        algorithm = cards[step.source].algorithm(step.algorithm)
        for name, state in algorithm.state.items():
            own = Carry(f"{step.source}_{name}", step.source, name, state.initial)
            found.setdefault((algorithm.kernel, name), own)
    return tuple(found.values())


def resets(recipe: Recipe, cards: dict[str, Card]) -> set[str]:
    """Return the names of the carried states that begin anew with each year."""
    kept = {(s.source, n): a for s in timed_parts(recipe) for n, a in _states(cards, s).items()}
    return {c.name for c in find_carry(recipe, cards) if kept[c.product, c.state] == "year"}


def _states(cards: dict[str, Card], step: Step) -> dict[str, str]:
    return {n: s.reset for n, s in cards[step.source].algorithm(step.algorithm).state.items()}


def with_states(
    recipe: Recipe, cards: dict[str, dict[str, object]], products: list[str], carry: tuple[Carry, ...]
) -> tuple[Recipe, dict[str, dict[str, object]], list[str]]:
    """Add the states that are kept to recipe, cards and products: each is a file of its own, as a product is."""
    choices, known = list(recipe.choices), dict(cards)
    for one in carry:
        card = msgspec.convert(cards[one.product], Card)
        choice = next(c for c in recipe.choices if c.product == one.product)
        known[one.name] = msgspec.to_builtins(_state_card(card, card.algorithm(choice.algorithm), one))
        choices.append(Choice(product=one.name, algorithm=choice.algorithm, reason=f"state of {one.product}"))
    return Recipe(recipe.steps, recipe.outputs, choices), known, [*products, *(one.name for one in carry)]


def _state_card(card: Card, algorithm: Algorithm, one: Carry) -> Card:
    """Return a card for a state, which is stored as it is."""
    parts = [algorithm, *(card.algorithm(name) for name in algorithm.by.values())]
    state = next(a.state[one.state] for a in parts if one.state in a.state)
    return Card(
        id=one.name,
        long_name=f"{state.long_name or one.state}, state of {card.id} at the end of the period",
        units=state.units,
        version=card.version,
        family=card.family,
        packing=Packing(dtype="float32"),
        valid_range=(-3.4e38, 3.4e38),
        algorithms=[msgspec.structs.replace(part, by={}, loop="stateful") for part in parts],
        checks=[],
        cell_methods="time: point",
    )


def draw_steps(sampler: Sampler, starts: list[datetime]) -> Drawn:
    """Draw the samples of each step; one that the forcing does not reach has none.

    Raises
    ------
    InputError
        Where it reaches none of them.
    """
    samples: list[list[Sample]] = []
    used, first = [], None
    for start in starts:
        try:
            drawn = sampler.draw([start])
        except InputError as error:
            first = first or error
            samples.append([])
            continue
        samples.append(drawn.samples[0])
        used.append(drawn.used)
    if not used:
        assert first is not None
        raise first
    return Drawn(samples, np.unique(np.concatenate(used)))
