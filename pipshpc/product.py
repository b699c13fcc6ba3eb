"""Product cards: what each product is, and which algorithms make it from what."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml

CARDS = Path(__file__).parent / "products"


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


class Algorithm(Record, frozen=True):
    """One way to make the product.

    `kernel` is ``family.function`` in ``cext/<family>.pxd``; the function's
    arguments are found among `inputs` and `parameters` by name. `integrate`
    says how a window mean is formed: "mean" averages the values at the
    forcing's time steps (of inputs that follow the sun, on their means over a
    step), "sunlit" integrates over the lit part of the window with the sun
    moving, where an input does (`cosz`, or a product that is "sunlit").
    """

    name: str
    kernel: str
    inputs: dict[str, Input]
    loop: Literal["pointwise", "stateful", "stencil", "reduction", "custom"] = "pointwise"
    integrate: Literal["mean", "sunlit"] = "mean"
    output: str = ""
    parameters: dict[str, float] = {}
    validity: str = ""
    evidence: str = ""
    references: list[str] = []


class Check(Record, frozen=True):
    """A worked example, computed outside the kernel."""

    algorithm: str
    inputs: dict[str, float]
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
    """Read all cards of a folder, by product id (file name = id)."""
    cards: dict[str, Card] = {}
    for path in sorted(folder.glob("*.yaml")):
        card = load_yaml(path, Card)
        if card.id != path.stem:
            raise SpecError(f"{path}: key 'id': found '{card.id}', wanted '{path.stem}' as the file is called")
        cards[card.id] = card
    return cards


def find_card(product: str) -> Card:
    """Return the card of `product`, or raise `SpecError` naming the known ones."""
    cards = load_cards()
    if product not in cards:
        raise SpecError(f"unknown product '{product}'; known products: {', '.join(cards)}")
    return cards[product]
