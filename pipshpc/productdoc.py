"""The page of all products, written from their cards: ``docs/products.md``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipshpc.product import Algorithm, Card, load_cards
from pipshpc.schema import Record, load_yaml

COSTS = Path(__file__).parent / "data" / "costs.yaml"
PICTURES = "images/products"
# Families as themes, in the order of the page; a family that is not named goes by its own name, at the end.
THEMES = {
    "Radiation": ("sun", "longwave", "shortwave", "radiation", "reflectance", "albedo", "brdf", "emissivity", "cloud"),
    "Fluxes": ("flux", "temperature", "evaporation", "balance", "roughness", "ground", "ocean", "surface"),
    "Air": ("downscale", "humidity", "air", "aerosol"),
    "Vegetation": ("vegetation", "phenology", "npp", "trends"),
    "Agriculture": ("agriculture",),
    "Forestry": ("forestry",),
    "Soil": ("soil",),
    "Water": ("water",),
    "Snow and ice": ("snow", "snowpack", "seaice", "icesheet"),
    "Minerals": ("minerals",),
}
LOOPS = {
    "pointwise": "each pixel and moment by itself",
    "select": "another algorithm on each surface",
    "stateful": "step by step with a state",
    "series": "the whole series of a pixel",
    "stencil": "with neighbours",
    "reduction": "with sums over the whole field",
    "custom": "a pass of its own",
}
HEAD = """# Products

Written by `pipshpc products doc` from the cards in `pipshpc/products`; a test holds that it is up to date. Evidence is
said for each algorithm: "verified against ..." means that a test compares with numbers of that package or code; what
rests on the literature alone says so, and its numbers are parameters that an order can set. Cost is of one pixel (and
moment, step, or series) on one thread, inputs in main memory: {machine}; `python -m benchmarks.costs` measures it anew.
"""


class Costs(Record, frozen=True):
    """What a pixel costs, ns on one thread, by product and algorithm; and where that was measured."""

    machine: str
    measured: str
    ns: dict[str, dict[str, float]]


@cache
def load_costs(path: Path = COSTS) -> Costs:
    """Read the measured costs."""
    return load_yaml(path, Costs)


def theme_of(card: Card) -> str:
    """Return the heading under which a product stands."""
    return next((theme for theme, families in THEMES.items() if card.family in families), card.family.capitalize())


def products_page(docs: Path) -> str:
    """Return the text of the page; pictures are shown that lie in ``images/products`` of the folder `docs`."""
    cards, costs = load_cards(), load_costs()
    themes: dict[str, list[Card]] = {theme: [] for theme in THEMES}
    for card in cards.values():
        themes.setdefault(theme_of(card), []).append(card)
    parts = [HEAD.format(machine=costs.machine)]
    for theme, members in themes.items():
        if members:
            parts.append(f"- **{theme}**: " + ", ".join(f"[{c.id}](#{c.id})" for c in members))
    for theme, members in themes.items():
        if members:
            parts.append(f"\n## {theme}")
            parts += [_product(card, costs, docs) for card in members]
    return "\n".join(parts) + "\n"


def _product(card: Card, costs: Costs, docs: Path) -> str:
    """Return the section of one product."""
    name = f", CF `{card.standard_name}`" if card.standard_name else ""
    low, high = card.valid_range
    lines = [
        f"\n### {card.id}",
        f"{card.long_name}; `{card.units}`, {low:g} to {high:g}{name}. Version {card.version}.",
    ]
    if (docs / PICTURES / f"{card.id}.png").is_file():
        lines.append(f"\n![{card.id}]({PICTURES}/{card.id}.png)")
    for place, algorithm in enumerate(card.algorithms):
        lines += ["", *_algorithm(card, algorithm, place, costs)]
    return "\n".join(lines)


def _algorithm(card: Card, algorithm: Algorithm, place: int, costs: Costs) -> list[str]:
    """Return the lines on one algorithm."""
    rank = "preferred" if place == 0 else f"choice {place + 1}"
    lines = [f"**{algorithm.name}** ({rank}; {LOOPS[algorithm.loop]})"]
    inputs = ", ".join(f"`{n}` [{i.units}]" for n, i in algorithm.inputs.items())
    lines.append(f"- Inputs: {inputs}")
    if algorithm.state:
        lines.append("- State: " + ", ".join(f"`{n}` [{s.units}]" for n, s in algorithm.state.items()))
    if algorithm.parameters:
        lines.append("- Parameters: " + ", ".join(f"{n} {v:g}" for n, v in algorithm.parameters.items()))
    if algorithm.by:
        lines.append("- By surface: " + ", ".join(f"{surface} {name}" for surface, name in algorithm.by.items()))
    lines += [f"- Valid: {algorithm.validity}", f"- Evidence: {algorithm.evidence}"]
    if algorithm.references:
        lines.append(f"- Sources: {'; '.join(algorithm.references)}")
    cost = costs.ns.get(card.id, {}).get(algorithm.name)
    if cost is not None:
        lines.append(f"- Cost: {cost:.3g} ns a pixel")
    elif not algorithm.by:
        lines.append("- Cost: not measured by itself")
    return lines
