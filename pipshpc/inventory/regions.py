"""Regions by name: countries, seas and continents as boxes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipshpc.errors import SpecError
from pipshpc.inventory.item import Bounds
from pipshpc.schema import Record, load_yaml

TABLE = Path(__file__).parent.parent / "data" / "regions.yaml"


class Region(Record, frozen=True):
    """A name, other names for it, and its box: west, south, east, north in degrees, west > east over the date line."""

    name: str
    box: Bounds
    also: list[str] = []


@cache
def regions() -> dict[str, Region]:
    """Return all regions by their names, folded, those they are also called by included."""
    table: dict[str, Region] = {}
    for region in load_yaml(TABLE, list[Region]):
        for name in (region.name, *region.also):
            table[_fold(name)] = region
    return table


def find_region(name: str) -> Region:
    """Return the region called `name`, in any case.

    Raises
    ------
    SpecError
        Where there is none; the message names the closest.
    """
    found = regions().get(_fold(name))
    if found is None:
        from difflib import get_close_matches

        close = get_close_matches(_fold(name), regions(), 3)
        near = f"closest are {', '.join(regions()[c].name for c in close)}" if close else "give a box instead"
        raise SpecError(f"region '{name}' is not known; {near}")
    return found


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
