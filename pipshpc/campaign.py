"""Campaign files: the border between thinking and doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipshpc.errors import SpecError
from pipshpc.forcing import Forcing
from pipshpc.grid import GLOBE, Box, Grid
from pipshpc.product import find_card
from pipshpc.schema import Record, load_yaml


class Resources(Record, frozen=True):
    """What one task gets; nothing here affects a result."""

    ranks: int = 0  # 0: one per core of the site
    threads: int = 1


class Campaign(Record, frozen=True):
    """A campaign as its YAML file states it."""

    campaign: str
    products: list[str]
    grid: str
    period: str
    start: str
    end: str
    forcing: Forcing
    box: list[float] | str = "globe"
    algorithms: dict[str, str] = {}
    site: str = "local"
    resources: Resources = Resources()
    output: str = "products"
    chunk: list[int] | None = None


def load_campaign(path: str | Path) -> Campaign:
    """Read and check a campaign file; every error names the file and the key.

    Raises
    ------
    SpecError
        For unknown keys, products or algorithms, wrong types, impossible
        times, periods, boxes or grids.
    """
    campaign = load_yaml(path, Campaign)
    try:
        check_campaign(campaign)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    return campaign


def check_campaign(campaign: Campaign) -> None:
    """Check everything that can be checked without opening an input file."""
    if not campaign.products:
        raise SpecError("key 'products': found an empty list, wanted at least one product id")
    for product in campaign.products:
        find_card(product).algorithm(campaign.algorithms.get(product))
    for product in campaign.algorithms:
        find_card(product).algorithm(campaign.algorithms[product])
    Grid.parse(campaign.grid).window(read_box(campaign.box))
    start, end = read_time("start", campaign.start), read_time("end", campaign.end)
    if end <= start:
        raise SpecError(f"key 'end': found {campaign.end}, wanted a time after start {campaign.start} (end exclusive)")
    period = read_period(campaign.period)
    if timedelta(days=1) % period:
        raise SpecError(f"key 'period': found '{campaign.period}', wanted a length that divides a day")
    if (end - start) % period:
        raise SpecError(
            f"key 'end': {campaign.start} to {campaign.end} is not a whole number of periods of {campaign.period}"
        )
    if (start - start.replace(hour=0, minute=0, second=0)) % period:
        raise SpecError(f"key 'start': {campaign.start} is not a multiple of {campaign.period} after 00:00 UTC")
    if campaign.resources.ranks < 0 or campaign.resources.threads < 1:
        raise SpecError("key 'resources': wanted ranks >= 0 (0: one per core) and threads >= 1")
    if campaign.chunk is not None and (len(campaign.chunk) != 2 or min(campaign.chunk) < 1):
        raise SpecError(f"key 'chunk': found {campaign.chunk}, wanted [rows, columns], both at least 1")


def read_box(box: list[float] | str) -> Box:
    """Read ``"globe"`` or ``[west, south, east, north]``."""
    if isinstance(box, str):
        if box != "globe":
            raise SpecError(f"key 'box': found '{box}', wanted 'globe' or [west, south, east, north]")
        return GLOBE
    if len(box) != 4:
        raise SpecError(f"key 'box': found {len(box)} numbers, wanted 4: west, south, east, north")
    return Box(*box)


def read_time(key: str, text: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(
            f"key '{key}': found '{text}', wanted an ISO 8601 time such as '2019-07-01T00:00:00Z'"
        ) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def read_period(text: str) -> timedelta:
    """Read ``"3h"``, ``"30min"`` or ``"1d"``."""
    for suffix, unit in (("min", "minutes"), ("h", "hours"), ("d", "days")):
        number = text.removesuffix(suffix)
        if number != text and number.isdigit() and int(number) > 0:
            return timedelta(**{unit: int(number)})
    raise SpecError(f"key 'period': found '{text}', wanted a length such as '3h', '30min' or '1d'")
