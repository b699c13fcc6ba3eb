"""Product cards: what each product is, and which algorithms make it from what."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml

CARDS = Path(__file__).parent / "products"
SURFACES = ("water", "land", "ice", "seaice")  # what `surface` counts from 0


class Packing(Record, frozen=True):
    """How values are stored: value = stored * scale_factor + add_offset."""

    dtype: Literal["int16", "uint8", "float32"]
    scale_factor: float = 1.0
    add_offset: float = 0.0


class Input(Record, frozen=True):
    """One quantity that an algorithm needs: a forcing or static field, or another product."""

    units: str
    standard_name: str = ""
    long_name: str = ""


class Reduction(Record, frozen=True):
    """A first pass over all pixels of a task: `name` of it (`pipshpc.passes`), what it reads, and what it gives.

    What it gives is one number for each time step, and among the inputs of
    the algorithm.
    """

    name: str
    of: list[str]
    gives: list[str]


class State(Record, frozen=True):
    """A quantity that a stateful algorithm carries from step to step; `initial` where nothing came before."""

    units: str
    initial: float = 0.0
    long_name: str = ""
    reset: Literal["never", "year"] = "never"  # when it goes back to `initial`


class Algorithm(Record, frozen=True):
    """One way to make the product.

    `kernel` is ``family.function`` in ``cext/<family>.pxd``; the function's
    arguments are found among `inputs` and `parameters` by name. `integrate`
    says how a window mean is formed: "mean" averages the values at the
    forcing's time steps (of inputs that follow the sun, on their means over a
    step), "sunlit" integrates over the lit part of the window with the sun
    moving, where an input does (`cosz`, or a product that is "sunlit").

    An algorithm with `by` has no kernel: it takes another algorithm of the
    card for each kind of surface (`SURFACES`), and is missing on the others.

    The loops know of time: "pointwise" and "select" do not; the function of a
    "stateful" algorithm makes one step, from inputs and `state` to outputs
    and ``next_<state>``, and `over` says what a window keeps of the outputs
    of its steps; that of a "series" takes all steps of the window at once and
    gives one value, or, for `series_outputs`, one for each step.
    """

    name: str
    kernel: str
    inputs: dict[str, Input]
    loop: Literal["pointwise", "select", "stateful", "series", "stencil", "reduction", "custom"] = "pointwise"
    integrate: Literal["mean", "sunlit"] = "mean"
    output: str = ""
    parameters: dict[str, float] = {}
    validity: str = ""
    evidence: str = ""
    references: list[str] = []
    by: dict[str, str] = {}
    reduction: Reduction | None = None
    state: dict[str, State] = {}
    over: Literal["mean", "last", "sum", "max", "min"] = "mean"
    series_outputs: list[str] = []

    @property
    def timed(self) -> bool:
        """Whether it is made of many steps in time."""
        return self.loop in ("stateful", "series")


class Check(Record, frozen=True):
    """A worked example, computed outside the kernel."""

    algorithm: str
    inputs: dict[str, float | list[float]]  # a list for a series
    expected: float
    tolerance: float
    source: str


class Card(Record, frozen=True):
    """A product: identity, metadata, storage, algorithms in order of preference, checks."""

    id: str
    long_name: str
    units: str
    version: int
    family: str
    packing: Packing
    valid_range: tuple[float, float]
    algorithms: list[Algorithm]
    checks: list[Check]
    standard_name: str = ""
    cell_methods: str = "time: mean"
    cmap: str = "viridis"

    def algorithm(self, name: str | None = None) -> Algorithm:
        """Return the algorithm called `name`, or the preferred one.

        Raises
        ------
        SpecError
            Where the card has no algorithm of that name.
        """
        if name is None:
            return self.algorithms[0]
        for algorithm in self.algorithms:
            if algorithm.name == name:
                return algorithm
        known = ", ".join(a.name for a in self.algorithms)
        raise SpecError(f"product '{self.id}' has no algorithm '{name}'; it has: {known}")


@cache
def load_cards(folder: Path = CARDS) -> dict[str, Card]:
    """Read all cards of a folder, by product id (file name = id).

    Raises
    ------
    SpecError
        Where a card is not as it should be.
    """
    cards: dict[str, Card] = {}
    for path in sorted(folder.glob("*.yaml")):
        card = load_yaml(path, Card)
        if card.id != path.stem:
            raise SpecError(f"{path}: key 'id': found '{card.id}', wanted '{path.stem}' as the file is called")
        _check_by(path, card)
        cards[card.id] = card
    return cards


def _check_by(path: Path, card: Card) -> None:
    """Hold that an algorithm by surface names surfaces and plain algorithms of its card."""
    for algorithm in card.algorithms:
        if (algorithm.loop == "select") != bool(algorithm.by):
            raise SpecError(
                f"{path}: algorithm '{algorithm.name}': 'by' goes with loop 'select' and the other way round"
            )
        for surface, name in algorithm.by.items():
            if surface not in SURFACES or card.algorithm(name).by:
                raise SpecError(
                    f"{path}: algorithm '{algorithm.name}': found {surface}: {name}, wanted one of "
                    f"{', '.join(SURFACES)} and an algorithm that is not by surface itself"
                )


def is_timed(card: Card, name: str | None = None) -> bool:
    """Say whether an algorithm of a card, or what it takes for some surface, is made of many steps in time."""
    algorithm = card.algorithm(name)
    return algorithm.timed or any(card.algorithm(part).timed for part in algorithm.by.values())


def find_card(product: str) -> Card:
    """Return the card of `product`, or raise `SpecError` naming the known ones."""
    cards = load_cards()
    if product not in cards:
        raise SpecError(f"unknown product '{product}'; known products: {', '.join(cards)}")
    return cards[product]
