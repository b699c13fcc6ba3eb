"""Cards and lineages in words, for people at a terminal and for records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipshpc.product import Algorithm, Card

if TYPE_CHECKING:
    from pipshpc.dataset import Description

INTEGRATION = {
    "mean": "evaluated at each time step of the forcing, then averaged over the window",
    "sunlit": "integrated over the sunlit part of the window with the sun moving; night is 0",
}


def tell_card(card: Card) -> list[str]:
    """Return what a card says about its product, without the algorithms; one line each."""
    low, high = card.valid_range
    packing = card.packing
    stored = f"stored as {packing.dtype}"
    if packing.dtype != "float32":
        stored += f" in steps of {packing.scale_factor:g} {card.units}"
    lines = [f"{card.long_name} [{card.units}], family {card.family}, version {card.version}."]
    if card.standard_name:
        lines.append(f"CF standard name {card.standard_name}, {card.cell_methods}.")
    return [*lines, f"Valid from {low:g} to {high:g} {card.units}, {stored}."]


def tell_algorithm(algorithm: Algorithm, place: int) -> list[str]:
    """Return what a card says about one algorithm; `place` is its position in the order of preference, from 0."""
    role = "preferred" if place == 0 else f"alternative {place}"
    lines = [f"{algorithm.name} ({role}): kernel {algorithm.kernel}, {INTEGRATION[algorithm.integrate]}."]
    if algorithm.by:
        lines = [f"{algorithm.name} ({role}): {tell_surfaces(algorithm)}."]
    lines.append("Inputs:")
    heads = {name: f"{name} [{i.units}]" for name, i in algorithm.inputs.items()}
    wide = max(map(len, heads.values()))
    lines += [f"  {heads[n]:<{wide}}  {i.long_name or i.standard_name}".rstrip() for n, i in algorithm.inputs.items()]
    if algorithm.parameters:
        lines.append("Parameters: " + ", ".join(f"{n} = {v:g}" for n, v in algorithm.parameters.items()) + ".")
    for title, text in (("Valid for", algorithm.validity), ("Evidence", algorithm.evidence)):
        if text:
            lines.append(f"{title}: {' '.join(text.split())}")
    return lines + [f"Reference: {reference}" for reference in algorithm.references]


def tell_surfaces(algorithm: Algorithm) -> str:
    """Return which algorithm is taken on which kind of surface."""
    return ", ".join(f"{surface} by {name}" for surface, name in algorithm.by.items())


def tell_checks(card: Card, algorithm: Algorithm) -> list[str]:
    """Evaluate the card's worked examples of an algorithm with the compiled kernel, now, and compare.

    Raises
    ------
    SpecError
        Where an example does not give all inputs.
    """
    examples = [c for c in card.checks if c.algorithm == algorithm.name]
    if not examples:
        return []
    from pipshpc.kernel import compute

    lines = []
    for check in examples:
        given: dict[str, Any] = dict(check.inputs)
        try:
            found = middle_of(compute(card.id, algorithm.name, **given))
        except ImportError as error:
            return [f"Worked example: not evaluated, the kernels are not built ({error})."]
        verdict = "agrees" if abs(found - check.expected) <= check.tolerance else "DOES NOT AGREE"
        told = ", ".join(f"{n} = {_number(v)}" for n, v in check.inputs.items())
        lines.append(
            f"Worked example: {told} gives {found:.6g} {card.units}; "
            f"expected {check.expected:g} ± {check.tolerance:g} ({check.source}): {verdict}."
        )
    return lines


def tell_lineage(about: Description) -> list[str]:
    """Return in sentences how a product file came to be, from what it says itself."""
    lineage, product = about.lineage, str(about.fact("pipshpc_product") or about.variable)
    lines = []
    cards = lineage.get("cards")
    if isinstance(cards, dict) and product in cards:
        algorithm = about.fact("pipshpc_algorithm", "algorithm")
        lines.append(f"{product} version {cards[product]}, by {algorithm}.")
    forcing = lineage.get("forcing")
    if isinstance(forcing, dict) and forcing.get("title"):
        held = ", one state held over the whole period" if forcing.get("hold") else ""
        lines.append(f"Forcing: {forcing['title']}{held} (identity {forcing.get('identity', 'unknown')}).")
    rejected = lineage.get("rejected") or {}
    for choice in lineage.get("choices") or []:
        reasons: dict[str, list[str]] = {}
        for name, reason in rejected.get(choice["product"], {}).items():
            reasons.setdefault(reason, []).append(name)
        turned_down = "".join(f"; not {', '.join(names)}: {reason}" for reason, names in reasons.items())
        lines.append(f"{choice['product']} by {choice['algorithm']}: {choice['reason']}{turned_down}.")
    statics = lineage.get("statics")
    if isinstance(statics, dict) and statics:
        lines.append("Static fields: " + ", ".join(f"{name} ({digest})" for name, digest in statics.items()) + ".")
    if lineage.get("pipshpc"):
        lines.append(f"Made by pipshpc {lineage['pipshpc']}, kernels {lineage.get('kernels', 'unknown')}.")
    if stack := about.fact("pipshpc_stack"):
        lines.append(f"Software stack {stack}.")
    if lineage.get("task"):
        lines.append(f"Task {lineage['task']}.")
    return lines or [str(about.fact("source") or "The file does not say how it was made.")]


def middle_of(values: Any) -> float:
    """Return a worked example's value: the one there is, or that of the middle step of a series."""
    return float(values[len(values) // 2] if values.ndim else values)


def _number(value: float | list[float]) -> str:
    """Write a number, or the values of a series."""
    if isinstance(value, list):
        return "[" + ", ".join(f"{v:g}" for v in value[:8]) + (", ...]" if len(value) > 8 else "]")
    return f"{value:g}"
