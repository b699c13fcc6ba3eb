"""From a campaign to tasks: a pure function that can explain itself.

The caller says what can be had (forcing variables, times, files, static
fields); nothing here opens a file. A task names only the files that its own
samples need, so a campaign that grows keeps the tasks that it has.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

from pipshpc.calendar import read_span
from pipshpc.campaign import Campaign, read_box, read_period, read_time
from pipshpc.errors import InputError, SpecError
from pipshpc.forcing import Forcing
from pipshpc.grid import Grid, find_window, parse_grid
from pipshpc.offer import NOWHERE, Holdings, Offer
from pipshpc.product import load_cards
from pipshpc.recipe import GEOMETRY, explain, resolve
from pipshpc.sampling import LONGEST_S, Drawn, Sampler, iso, sample_window
from pipshpc.schema import Record
from pipshpc.task import Carry, Recipe, Task, file_name, group_windows
from pipshpc.timeline import draw_steps, find_carry, resets, with_states

LONG_SAMPLE_S = 21600.0  # of windows of many days; the sun's path over 6 hours is exact to 0.2 % of a day's light
KEPT_SETS = 64  # of files, whose names and digests neighbouring tasks share
DAY = timedelta(days=1)


class Planned(Record, frozen=True):
    """What is known of a task before it is started; small enough to hold all of a campaign.

    Parameters
    ----------
    chain : number of its chain in the campaign
    start, end : first window's start, last window's end
    files : the products' paths
    blocks : as the heartbeat counts them, where the forcing is read in batches of the usual size
    fields, pixels : windows of all products, and their pixels
    """

    task: str
    chain: int
    start: str
    end: str
    products: list[str]
    files: list[str]
    blocks: int
    fields: int
    pixels: int


class Waiting(Record, frozen=True):
    """A day of a cycling campaign that cannot be made yet; `late` where its input should be there by now."""

    day: str
    chain: int
    products: list[str]
    why: str
    late: bool


@dataclass(frozen=True)
class _Set:
    """The files of some task: what of them goes into it."""

    forcing: Forcing
    digests: list[str]
    identity: str
    title: str


class _Chain:
    """What all tasks of one chain have in common."""

    def __init__(self, campaign: Campaign, offer: Offer, products: list[str], number: int) -> None:
        self.number, self.products = number, list(products)
        self.recipe = resolve(products, campaign.algorithms, offer, campaign.forcing.downscale)
        cards = load_cards()
        made = ("kernel", "select", "timed")
        used = sorted({s.source for s in self.recipe.steps if s.kind in made and s.source != "="})
        self.cards = {name: msgspec.to_builtins(cards[name]) for name in used}
        self.timed = any(s.kind == "timed" for s in self.recipe.steps)
        if not isinstance(parse_grid(campaign.grid), Grid):
            _check_projected(campaign.grid, self.recipe)
        self.carry, self.resets = find_carry(self.recipe, cards), resets(self.recipe, cards)
        if read_span(campaign.period).unit == "y":  # what begins anew with the year has nothing to hand on
            self.carry = tuple(c for c in self.carry if c.name not in self.resets)
        if self.carry:
            self.recipe, self.cards, self.products = with_states(self.recipe, self.cards, products, self.carry)
        self.statics = {s.source: offer.statics[s.source] for s in self.recipe.steps if s.kind == "static"}
        forcing = [s.source for s in self.recipe.steps if s.kind == "forcing"]
        states = [s.source for s in self.recipe.steps if s.kind == "state"]
        self.state_bytes = 4 * offer.cells * len(forcing)
        # The sun alone needs no variable, but a task has a grid of some forcing.
        self.variables = list(dict.fromkeys(forcing + states)) or list(offer.holdings.holders)[:1]


class Plan:
    """The tasks of a campaign, made one at a time: all in order, or any of them by its day.

    Parameters
    ----------
    campaign : what is wanted
    offer : what can be had
    base_dir : folder of the campaign file

    Raises
    ------
    InputError
        Where a product cannot be made from what is offered.
    """

    def __init__(self, campaign: Campaign, offer: Offer, base_dir: str = ".") -> None:
        self.campaign, self.offer, self.base_dir = campaign, offer, base_dir
        if not read_span(campaign.period).short:
            # What a task of a day takes once changes over longer windows.
            offer = self.offer = replace(offer, states=())
        self.chains = [_Chain(campaign, offer, c.products, k) for k, c in enumerate(campaign.chain_list())]
        self._span = span = read_span(campaign.period)
        self._long = not span.short
        self._period = read_period(campaign.step) if self._long else span.length
        longest = LONG_SAMPLE_S if self._long else LONGEST_S
        self._sampler = Sampler(offer, campaign.forcing.hold, self._period, campaign.cycle is not None, longest)
        self._latest: dict[int, Task] = {}  # of each chain, where tasks follow from one another
        self._grid = parse_grid(campaign.grid)
        window = find_window(self._grid, read_box(campaign.box))
        self._name, self._start, self._count = self._grid.name, window.start, window.count
        self._chunk = (campaign.chunk[0], campaign.chunk[1]) if campaign.chunk else default_chunk(window.count)
        self._sets: dict[tuple[int, ...], _Set] = {}

    def __iter__(self) -> Iterator[tuple[int, Task]]:
        """Yield number of the chain and task, in order of time."""
        for start, stop in iter_days(self.campaign):
            for chain in self.chains:
                yield chain.number, self.make(chain.number, start, stop)

    def make(self, chain: int, start: datetime, stop: datetime) -> Task:
        """Return the task of one chain for one of `iter_days`.

        Raises
        ------
        InputError
            Where the forcing does not reach it.
        """
        one = self.chains[chain]
        starts = [start + k * self._period for k in range(int((stop - start) / self._period))]
        drawn = draw_steps(self._sampler, starts) if self._long else self._sampler.draw(starts)
        files = self._files(one, drawn)
        samples, steps = drawn.samples, []
        if self._long:
            steps = [len(step) for step in samples] if one.timed else []
            samples, starts = [[s for step in samples for s in step]], starts[:1]
        length = stop - start if self._long else self._period
        carry, before = self._follow(one, start)
        task = Task(
            products=one.products,
            recipe=one.recipe,
            cards=one.cards,
            kernels=self.offer.kernels,
            grid=self._name,
            start=self._start,
            count=self._count,
            chunk=self._chunk,
            period_s=round(length.total_seconds()),
            windows=[iso(t) for t in starts],
            samples=samples,
            steps=steps,
            step_s=round(self._period.total_seconds()) if steps else 0,
            carry=carry,
            before=before,
            forcing=files.forcing,
            forcing_digests=files.digests,
            forcing_identity=files.identity,
            forcing_title=files.title,
            forcing_comment=self.offer.comment,
            statics=one.statics,
            base_dir=self.base_dir,
            output_dir=self.campaign.output,
            campaign=self.campaign.campaign,
        )
        if one.carry:
            self._latest[one.number] = task
        return task

    def _follow(self, chain: _Chain, start: datetime) -> tuple[list[Carry], str]:
        """Return the states of a task with the files they come from, and the task that leaves them.

        The tasks of a chain with states are named one after another; where
        the one before was not, those from the beginning are.
        """
        earlier = list(self._span.windows(read_time("start", self.campaign.start), start)) if chain.carry else []
        if not earlier:
            return list(chain.carry), ""
        begun = earlier[-1][0]
        anew = chain.resets if start.year != begun.year else set()
        if all(c.name in anew for c in chain.carry):
            return list(chain.carry), ""
        before = self._latest.get(chain.number)
        if before is None or before.windows[0] != iso(begun):
            for window in earlier:
                before = self.make(chain.number, *window)
        assert before is not None
        follow = [c for c in chain.carry if c.name not in anew]
        files = {c.name: file_name(c.name, before) for c in follow}
        carry = [msgspec.structs.replace(c, file=files.get(c.name, "")) for c in chain.carry]
        return carry, before.id

    def describe(self, chain: int, task: Task) -> Planned:
        """Return what is kept of a task in the plan."""
        rows, columns = (-(-n // c) for n, c in zip(task.count, task.chunk, strict=True))
        fields = len(task.windows) * len(task.products)
        batches = group_windows(task.samples, self.chains[chain].state_bytes)
        end = np.datetime64(task.windows[-1].rstrip("Z"), "s") + np.timedelta64(task.period_s, "s")
        return Planned(
            task=task.id,
            chain=chain,
            start=task.windows[0],
            end=f"{end}Z",
            products=task.products,
            files=[str(task.path(p)) for p in task.products],
            blocks=rows * columns * len(batches),
            fields=fields,
            pixels=fields * task.count[0] * task.count[1],
        )

    @cached_property
    def _everything(self) -> _Set:
        """The forcing as a whole, where it is not made of files that are known."""
        return _Set(self.campaign.forcing, [], self.offer.identity, self.offer.title)

    def _files(self, chain: _Chain, drawn: Drawn) -> _Set:
        """Return the files that hold what some samples need."""
        holdings = self.offer.holdings
        if not holdings.paths:
            return self._everything
        held = [holdings.holders[name][drawn.used] for name in chain.variables]
        for name, numbers in zip(chain.variables, held, strict=True):
            if np.any(numbers == NOWHERE):
                raise self._lacks(name, drawn.used[numbers == NOWHERE])
        together = [np.array(holdings.at_once[k]) for k in drawn.used] if holdings.at_once else held
        key = tuple(np.unique(np.concatenate(together)).tolist())
        if key not in self._sets:
            while len(self._sets) >= KEPT_SETS:
                del self._sets[next(iter(self._sets))]
            self._sets[key] = _set_of(self.campaign.forcing, holdings, key)
        return self._sets[key]

    def _lacks(self, name: str, at: npt.NDArray[np.intp]) -> InputError:
        when = self.offer.times[at[0]]
        return InputError(f"the forcing ({self.offer.title}) has no '{name}' for {when}Z")


def _check_projected(grid: str, recipe: Recipe) -> None:
    """Hold that a recipe can be made on a projected grid.

    Raises
    ------
    SpecError
        Where it needs the sun, static fields, or many steps: these know
        rows of one latitude only.
    """
    kinds = {"geometry": "the sun", "static": "a static field", "timed": "many time steps"}
    found = [f"'{s.name}' ({kinds[s.kind]})" for s in recipe.steps if s.kind in kinds]
    if found:
        raise SpecError(
            f"grid '{grid}': {', '.join(recipe.outputs)} needs {', '.join(found)}, which there is on latitude-longitude"
            " grids only; take such a grid, or a product that is made of the forcing alone"
        )


def _set_of(forcing: Forcing, holdings: Holdings, numbers: tuple[int, ...]) -> _Set:
    paths = [holdings.paths[k] for k in numbers]
    digests = [holdings.digests[k] for k in numbers]
    first = Path(paths[0]).name
    return _Set(
        msgspec.structs.replace(forcing, paths=[glob.escape(p) for p in paths]),
        digests,
        identity_of(digests),
        first if len(paths) == 1 else f"{first} and {len(paths) - 1} more",
    )


def iter_days(campaign: Campaign, until: datetime | None = None) -> Iterator[tuple[datetime, datetime]]:
    """Yield start and end of each task's time: days, the first and last cut to the campaign, or one longer window.

    A campaign with an open end yields whole days that begin before `until`.
    """
    start, span = read_time("start", campaign.start), read_span(campaign.period)
    if campaign.end != "open":
        end = read_time("end", campaign.end)
    elif until is None:
        raise SpecError("key 'end': found 'open'; such a campaign is planned as far as its input goes")
    elif span.short:
        end = _midnight(until - timedelta(microseconds=1)) + DAY
    else:
        end = max((stop for _, stop in span.windows(start, until) if stop <= until), default=start)
    if not span.short:
        yield from span.windows(start, end)
        return
    while start < end:
        stop = min(end, _midnight(start) + DAY)
        yield start, stop
        start = stop


def _midnight(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def _end_of(offer: Offer) -> datetime | None:
    """Return up to when the forcing speaks; None where there is none."""
    if not offer.times.size:
        return None
    seconds = int(offer.times[-1].astype("datetime64[s]").astype(np.int64)) + int(offer.step_s)
    return datetime.fromtimestamp(seconds, UTC)


def identity_of(digests: list[str]) -> str:
    """Return one digest for the content of several files, whatever their names and order."""
    return xxhash.xxh3_128_hexdigest(" ".join(sorted(digests)).encode())


def plan(campaign: Campaign, offer: Offer, base_dir: str = ".") -> list[Task]:
    """Return the tasks of a campaign: one per day and chain, each with all products of the chain.

    Raises
    ------
    SpecError, InputError
        Where products, times or the forcing's coverage do not fit.
    """
    return [task for _, task in Plan(campaign, offer, base_dir)]


def plan_ready(
    campaign: Campaign, offer: Offer, base_dir: str, now: datetime
) -> tuple[list[tuple[int, Task]], list[Waiting]]:
    """Return what of a cycling campaign can be made (number of the chain, task), and what waits for its input.

    A task is there where all of its input is, also beyond `now`. What waits are
    gaps, and days that are over at `now`.
    """
    tasks: list[tuple[int, Task]] = []
    waiting: list[Waiting] = []
    for found in iter_ready(campaign, offer, base_dir, now):
        waiting.append(found) if isinstance(found, Waiting) else tasks.append(found)
    return tasks, waiting


def iter_ready(campaign: Campaign, offer: Offer, base_dir: str, now: datetime) -> Iterator[tuple[int, Task] | Waiting]:
    """Yield one at a time what `plan_ready` returns, in order of time."""
    delay = read_period(campaign.cycle.delay) if campaign.cycle else timedelta(0)
    last = _end_of(offer)
    until = max(now, last) if last else now
    try:
        if offer.nothing:
            raise InputError(offer.nothing)
        plan: Plan | None = Plan(campaign, offer, base_dir)
        reason = ""
    except InputError as error:
        plan, reason = None, str(error)
    unreadable = "".join(f"; not read: {why}" for why in islice(offer.holdings.unreadable.values(), 3))
    for start, stop in iter_days(campaign, until):
        for number, chain in enumerate(campaign.chain_list()):
            why = reason
            if plan is not None:
                try:
                    yield number, plan.make(number, start, stop)
                    continue
                except InputError as error:
                    why = str(error)
            if stop <= now or (last is not None and stop <= last):
                late = stop + delay <= now
                yield Waiting(
                    day=f"{start:%Y-%m-%d}", chain=number, products=chain.products, why=why + unreadable, late=late
                )


def default_chunk(count: tuple[int, int]) -> tuple[int, int]:
    """Return the chunk in rows and columns: half a megabyte of int16, wide enough for long loops."""
    return min(360, count[0]), min(720, count[1])


__all__ = [
    "GEOMETRY", "Holdings", "Offer", "Plan", "Planned", "SpecError", "Waiting", "explain",
    "iter_ready", "plan", "plan_ready", "resolve", "sample_window",
]  # fmt: skip
