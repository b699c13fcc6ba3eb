"""Campaign files: the border between thinking and doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from pipshpc.calendar import Span, read_span
from pipshpc.errors import SpecError
from pipshpc.forcing import Forcing
from pipshpc.grid import GLOBE, Box, find_window, parse_grid
from pipshpc.product import find_card, is_timed
from pipshpc.schema import Record, load_yaml


class Resources(Record, frozen=True):
    """What one task gets; nothing here affects a result.

    Parameters
    ----------
    ranks : MPI ranks; 0: one for each core of a node
    threads : of each rank
    nodes : over which the ranks are spread; 0: as they fit
    memory_mib : of each rank; 0: its share of the node
    tasks_per_launch : tasks that one start of the ranks makes one after another; 0: as many as keep the cost of
        starting below a tenth
    mode : how launches get their nodes: packed into pilot jobs, each as a job of its own, or whichever is found better
    """

    ranks: int = 0
    threads: int = 1
    nodes: int = 0
    memory_mib: int = 0
    tasks_per_launch: int = 0
    mode: Literal["auto", "pilot", "job"] = "auto"


class Chain(Record, frozen=True):
    """Products that are made together, in one pass over their input; `resources` and `priority` override."""

    products: list[str]
    resources: Resources | None = None
    priority: int | None = None  # the higher one goes first


class Retry(Record, frozen=True):
    """How long to go on with what does not work at once.

    Parameters
    ----------
    charged : tries of a task that fails for a reason of its own
    taken_away : times that the machine may take a task away (time limit, preemption, lost node)
    waits : times to wait for a full disk or a silent controller
    longest_wait_s : between two such tries; the wait grows up to it
    exclude_node_s : how long a node that failed is left alone
    stalled_s : a launch that lives but gets on with no block for so long is ended and tried again
    """

    charged: int = 3
    taken_away: int = 20
    waits: int = 40
    longest_wait_s: float = 60.0
    exclude_node_s: float = 600.0
    stalled_s: float = 1800.0


class Cycle(Record, frozen=True):
    """A campaign without end: each day is made as its input arrives.

    `delay` is how long after the end of a day its input may be late before the day is reported as waiting.
    """

    delay: str = "1d"


class Campaign(Record, frozen=True):
    """A campaign as its YAML file states it."""

    campaign: str
    products: list[str]
    grid: str
    period: str
    start: str
    end: str  # exclusive; with `cycle` it may be "open"
    forcing: Forcing
    box: list[float] | str = "globe"
    algorithms: dict[str, str] = {}
    site: str = "local"
    stack: str = ""  # module of the software that the jobs load; empty: what the driver runs with
    partition: str = ""  # of the site; empty: its default
    resources: Resources = Resources()
    chains: list[Chain] = []  # empty: one chain of all products
    priority: int = 0
    retry: Retry = Retry()
    cycle: Cycle | None = None
    output: str = "products"
    chunk: list[int] | None = None
    step: str = "1d"  # of what is made from steps, where the period is longer than a day

    def __post_init__(self) -> None:
        if self.forcing.kind == "granules":
            # They are brought to the very pixels that are wanted.
            placed = msgspec.structs.replace(self.forcing, grid=self.grid, box=self.box)
            msgspec.structs.force_setattr(self, "forcing", placed)

    def chain_list(self) -> list[Chain]:
        """Return the chains with nothing left open: products, resources and priority of each."""
        stated = self.chains or [Chain(products=self.products)]
        return [
            Chain(
                products=c.products,
                resources=c.resources or self.resources,
                priority=self.priority if c.priority is None else c.priority,
            )
            for c in stated
        ]


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
    find_window(parse_grid(campaign.grid), read_box(campaign.box))
    _check_chains(campaign)
    start = read_time("start", campaign.start)
    if campaign.end == "open":
        if campaign.cycle is None:
            raise SpecError("key 'end': found 'open', wanted a time; only a campaign with 'cycle' has an open end")
        end = start.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    else:
        end = read_time("end", campaign.end)
    if campaign.cycle is not None:
        read_period(campaign.cycle.delay)
    if end <= start:
        raise SpecError(f"key 'end': found {campaign.end}, wanted a time after start {campaign.start} (end exclusive)")
    span = read_span(campaign.period)
    if not span.short:
        _check_long(campaign, span, start, end)
    else:
        _check_short(campaign, start, end)
    for chain in campaign.chain_list():
        _check_resources(chain.resources or campaign.resources)
    _check_retry(campaign.retry)
    if campaign.chunk is not None and (len(campaign.chunk) != 2 or min(campaign.chunk) < 1):
        raise SpecError(f"key 'chunk': found {campaign.chunk}, wanted [rows, columns], both at least 1")


def _check_long(campaign: Campaign, span: Span, start: datetime, end: datetime) -> None:
    """Hold that windows of several days are whole, and have steps."""
    for key, time in (("start", start), ("end", end)):
        if campaign.end == "open" and key == "end":
            continue
        if not span.is_border(time):
            raise SpecError(
                f"key '{key}': found {time:%Y-%m-%dT%H:%M:%SZ}, wanted a border of windows of {campaign.period}, such "
                f"as {span.next_border(time):%Y-%m-%dT%H:%M:%SZ}"
            )
    step = read_period(campaign.step)
    if timedelta(days=1) % step:
        raise SpecError(f"key 'step': found '{campaign.step}', wanted a length that divides a day")


def _check_short(campaign: Campaign, start: datetime, end: datetime) -> None:
    """Hold that windows of a day or less are whole."""
    timed = [p for p in campaign.products if is_timed(find_card(p), campaign.algorithms.get(p))]
    if timed:
        raise SpecError(
            f"key 'period': found '{campaign.period}', but {', '.join(timed)} is made of many steps; wanted a period "
            "such as '8d', '1mon' or '1y'"
        )
    period = read_period(campaign.period)
    if timedelta(days=1) % period:
        raise SpecError(f"key 'period': found '{campaign.period}', wanted a length that divides a day")
    if campaign.forcing.kind == "granules" and period != timedelta(days=1):
        raise SpecError(f"key 'period': found '{campaign.period}', wanted '1d': a granule stands for its day")
    if (end - start) % period:
        raise SpecError(
            f"key 'end': {campaign.start} to {campaign.end} is not a whole number of periods of {campaign.period}"
        )
    if (start - start.replace(hour=0, minute=0, second=0)) % period:
        raise SpecError(f"key 'start': {campaign.start} is not a multiple of {campaign.period} after 00:00 UTC")


def _check_chains(campaign: Campaign) -> None:
    """Hold that the chains share out the products, each to one."""
    if not campaign.chains:
        return
    listed = [p for chain in campaign.chains for p in chain.products]
    if sorted(listed) != sorted(campaign.products):
        raise SpecError(
            f"key 'chains': found {listed}, wanted each of 'products' ({', '.join(campaign.products)}) in one chain"
        )
    if not all(chain.products for chain in campaign.chains):
        raise SpecError("key 'chains': found a chain without products; drop it")


def _check_resources(resources: Resources) -> None:
    if resources.ranks < 0 or resources.threads < 1:
        raise SpecError("key 'resources': wanted ranks >= 0 (0: one per core) and threads >= 1")
    if min(resources.nodes, resources.memory_mib, resources.tasks_per_launch) < 0:
        raise SpecError("key 'resources': wanted nodes, memory_mib and tasks_per_launch >= 0 (0: as it fits)")
    if resources.ranks and resources.nodes > resources.ranks:
        raise SpecError(
            f"key 'resources': found {resources.ranks} ranks on {resources.nodes} nodes, wanted at least one a node"
        )


def _check_retry(retry: Retry) -> None:
    if min(retry.charged, retry.taken_away, retry.waits) < 1:
        raise SpecError("key 'retry': wanted charged, taken_away and waits >= 1")
    if min(retry.longest_wait_s, retry.exclude_node_s) < 0 or retry.stalled_s <= 0:
        raise SpecError("key 'retry': wanted longest_wait_s and exclude_node_s >= 0 s, and stalled_s above 0 s")


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
