"""What forcing quantities are called in files, and in which units they come."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipshpc.errors import InputError, SpecError
from pipshpc.product import load_cards
from pipshpc.schema import Record, load_yaml

DATA = Path(__file__).parent.parent / "data"

Selector = dict[str, str | int | float]


class Quantity(Record, frozen=True):
    """One canonical quantity of ``data/variables.yaml``."""

    units: str
    long_name: str
    names: list[str] = []
    standard_names: list[str] = []
    grib: list[Selector] = []
    limits: tuple[float | None, float | None] | None = None
    convert: dict[str, tuple[float, float]] = {}

    def sought(self, keyed: set[bool]) -> str:
        """What files call this quantity: GRIB files (True in `keyed`) by keys, others by names."""
        parts = [f"names {', '.join(self.names)}"] if self.names and False in keyed else []
        if self.standard_names and False in keyed:
            parts.append(f"standard_name {', '.join(self.standard_names)}")
        if self.grib and True in keyed:
            keys = ("{" + ", ".join(f"{k} {v}" for k, v in one.items()) + "}" for one in self.grib)
            parts.append(f"GRIB {' or '.join(keys)}")
        return "; ".join(parts)


@cache
def quantities() -> dict[str, Quantity]:
    """Read the table of canonical quantities."""
    return load_yaml(DATA / "variables.yaml", dict[str, Quantity])


@cache
def units_table() -> dict[str, dict[str, tuple[float, float]]]:
    """Read the table of units: canonical unit, folded spelling, (factor, offset)."""
    return load_yaml(DATA / "units.yaml", dict[str, dict[str, tuple[float, float]]])


def find_quantity(name: str) -> Quantity:
    """Return the canonical quantity `name`, or raise `SpecError` naming the known ones."""
    table = quantities()
    card = load_cards().get(name)
    if name not in table and card is not None:
        # A file of ours: the product goes in as it came out.
        return Quantity(card.units, card.long_name, [card.id])
    if name not in table:
        raise SpecError(f"'{name}' is no forcing variable; known are: {', '.join(table)}")
    return table[name]


def fold(units: str) -> str:
    """Bring spellings of one unit together: case, ``**``, ``^`` and blanks."""
    return " ".join(units.replace("**", "").replace("^", "").split()).casefold()


def conversion(quantity: Quantity, units: str | None, where: str) -> tuple[float, float]:
    """Return (factor, offset) that bring values in `units` to the units of `quantity`.

    Raises
    ------
    InputError
        No units stated, or units that are not in the table; the message
        starts with `where` and says which units are understood.
    """
    known = dict(units_table().get(quantity.units, {fold(quantity.units): (1.0, 0.0)}))
    known.update({fold(k): v for k, v in quantity.convert.items()})
    understood = f"understood are: {', '.join(known)}; state the true ones under 'variables' of the campaign's forcing"
    if units is None or units.strip() in ("", "unknown"):
        # A pure number may go without units; anything with a dimension may not.
        raise InputError(f"{where}: no units are given; {understood}")
    if fold(units) not in known:
        raise InputError(f"{where}: units '{units}' cannot be brought to '{quantity.units}'; {understood}")
    return known[fold(units)]
