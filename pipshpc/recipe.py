"""From what is offered to the products: which algorithms, and why these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipshpc.errors import InputError, SpecError
from pipshpc.offer import Offer
from pipshpc.product import Algorithm, is_timed, load_cards
from pipshpc.task import Choice, Recipe, Step

GEOMETRY = ("cosz", "toa_normal")
LOWER = "lower on the card's list"
FEW = 3  # missing inputs that are named; where there are more, what they make is


@dataclass
class _Search:
    """The state of one resolution: steps found so far, choices made, reasons of failure."""

    offer: Offer
    wanted: dict[str, str]
    downscale: bool
    steps: dict[str, Step] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)

    def find(self, name: str, trail: tuple[str, ...]) -> list[str]:
        """Make `name` available as a step; return the forcing variables that are missing for it."""
        if name in self.steps:
            return []
        if name in GEOMETRY:
            return self.add(Step(name=name, kind="geometry", source=name))
        if name in self.offer.statics:
            return self.add(Step(name=name, kind="static", source=name))
        if name in self.offer.states:
            return self.add(Step(name=name, kind="state", source=name))
        plain = name.removesuffix("_in")
        if name in trail:
            return [plain]  # nothing is made of itself; its step would take the place of the forcing's
        card = load_cards().get(name)
        if card is not None and (self.downscale or name not in ("tas", "vap", "ps") or name in self.wanted):
            named = [card.algorithm(self.wanted[name])] if self.wanted.get(name) else card.algorithms
            missing = self.choose(name, named, trail)
            if not missing or plain not in self.offer.variables:
                # Where its own inputs are many and far away, it is the quantity that is missed.
                return missing if len(missing) <= FEW else [name]
        if plain in self.offer.variables:
            return self.add(Step(name=name, kind="forcing", source=plain))
        if f"{name}_in" in load_cards() and f"{name}_in" not in trail:
            # Without downscaling the quantity at the forcing's terrain stands for the pixel's.
            missing = self.find(f"{name}_in", (*trail, name))
            if missing and card is None:
                return [plain]  # what makes it up is a way round; it is the quantity itself that is missed
            return missing or self.add(Step(name=name, kind="kernel", source="=", inputs={"same": f"{name}_in"}))
        return [plain]

    def add(self, step: Step) -> list[str]:
        self.steps[step.name] = step
        return []

    def choose(self, product: str, algorithms: Sequence[Algorithm], trail: tuple[str, ...]) -> list[str]:
        """Take the first algorithm whose inputs can be had; note what the ones before lack.

        Returns what is missing for the preferred one where none can be used.
        """
        rejected: dict[str, str] = {}
        first: list[str] = []
        for algorithm in algorithms:
            steps, choices = dict(self.steps), list(self.choices)
            missing = self.take(product, algorithm, trail)
            if not missing:
                reason = "ordered" if self.wanted.get(product) else "first of the card whose inputs can be had"
                later = [a.name for a in algorithms[len(rejected) + 1 :]]
                rejected |= dict.fromkeys(later, LOWER)
                self.choices.append(Choice(product=product, algorithm=algorithm.name, reason=reason, rejected=rejected))
                return []
            self.steps, self.choices = steps, choices
            rejected[algorithm.name] = f"the forcing has no {' and no '.join(missing)}"
            first = first or missing
        return first

    def inputs_of(self, product: str, algorithm: Algorithm, trail: tuple[str, ...]) -> list[str]:
        """Make the steps of what an algorithm reads; return what is missing."""
        first = algorithm.reduction
        given = first.gives if first else []
        missing = [m for n in algorithm.inputs if n not in given for m in self.find(n, (*trail, product))]
        for name in given:
            self.add(Step(name=name, kind="reduced", source=first.name, inputs={n: n for n in first.of}))  # type: ignore[union-attr]
        return missing

    def take(self, product: str, algorithm: Algorithm, trail: tuple[str, ...]) -> list[str]:
        """Make the steps of one algorithm; return what is missing for it."""
        missing = self.inputs_of(product, algorithm, trail)
        inputs = {n: n for n in algorithm.inputs}
        card = load_cards()[product]
        timed = is_timed(card, algorithm.name)
        for surface, name in algorithm.by.items():
            part = card.algorithm(name)
            missing += self.inputs_of(product, part, trail)
            own = {n: n for n in part.inputs}
            inputs[surface] = f"{product}@{name}"
            part_kind: Literal["kernel", "timed"] = "timed" if part.timed else "kernel"
            self.add(Step(name=inputs[surface], kind=part_kind, source=product, algorithm=name, inputs=own))
        kind: Literal["kernel", "select", "timed"] = "select" if algorithm.by else "kernel"
        kind = "timed" if timed else kind
        self.add(Step(name=product, kind=kind, source=product, algorithm=algorithm.name, inputs=inputs))
        return list(dict.fromkeys(missing))


def resolve(products: Sequence[str], algorithms: dict[str, str], offer: Offer, downscale: bool) -> Recipe:
    """Find a chain from what is offered to the products.

    Raises
    ------
    InputError
        Where a product cannot be made; the message says for each algorithm
        which input is missing.
    """
    search = _Search(offer, {p: algorithms.get(p, "") for p in {*products, *algorithms}}, downscale)
    for product in products:
        card = load_cards()[product]
        named = [card.algorithm(algorithms[product])] if product in algorithms else card.algorithms
        done = product in search.steps and search.steps[product].kind in ("kernel", "select", "timed")
        missing = [] if done else search.choose(product, named, ())
        if missing:
            have = ", ".join(offer.variables) or "nothing"
            why = "; ".join(offer.absent[name] for name in missing if name in offer.absent)
            raise InputError(
                f"'{product}' cannot be made by any of its algorithms ({', '.join(a.name for a in named)}): the first "
                f"lacks {', '.join(missing)}. The forcing ({offer.title}) gives: {have}" + (f". {why}" if why else "")
            )
    recipe = Recipe(steps=list(search.steps.values()), outputs=list(products), choices=search.choices)
    _check_timed(recipe)
    return recipe


def _check_timed(recipe: Recipe) -> None:
    """Hold that nothing is made of what is itself made over time, and that all products are, or none.

    Raises
    ------
    SpecError
    """
    timed = {s.name: s for s in recipe.steps if s.kind == "timed"}
    for step in recipe.steps:
        late = [n for n in step.inputs.values() if n in timed and timed[n].source != step.source]
        if late:
            raise SpecError(
                f"'{step.source}' takes {', '.join(late)}, which is made over many steps; make that in a campaign "
                "of its own, and take its files as forcing"
            )
    plain = [name for name in recipe.outputs if name not in timed]
    if timed and plain:
        raise SpecError(
            f"key 'products': {', '.join(n for n in recipe.outputs if n in timed)} is made over many steps, "
            f"{', '.join(plain)} is not; give each its own chain ('chains')"
        )


def explain(recipe: Recipe) -> list[str]:
    """Return the choices of a recipe in words, one sentence each."""
    lines = []
    for choice in recipe.choices:
        lines.append(f"{choice.product}: {choice.algorithm} ({choice.reason})")
        lines += [f"  not {name}: {reason}" for name, reason in choice.rejected.items() if reason != LOWER]
        later = [name for name, reason in choice.rejected.items() if reason == LOWER]
        lines += [f"  {LOWER}: {', '.join(later)}"] if later else []
    return lines
