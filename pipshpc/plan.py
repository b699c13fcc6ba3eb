"""From a campaign to tasks: a pure function that can explain itself.

The caller says what can be had (forcing variables, times, static fields);
nothing here opens a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt

from pipshpc.campaign import Campaign, read_box, read_period, read_time
from pipshpc.errors import InputError, SpecError
from pipshpc.grid import Grid
from pipshpc.product import Algorithm, load_cards
from pipshpc.task import Choice, Recipe, Sample, Step, Task

GEOMETRY = ("cosz", "toa_normal")
LONGEST_S = 10800.0
LOWER = "lower on the card's list"
Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Offer:
    """What the plan can draw on: the forcing, as opened, and the static fields with their digests."""

    variables: tuple[str, ...]
    times: Times
    step_s: float  # spacing of the times; 0 for a single one
    identity: str
    title: str
    comment: str
    statics: dict[str, str]
    kernels: str
    absent: dict[str, str] = field(default_factory=dict)  # variable -> why the forcing does not give it


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
        plain = name.removesuffix("_in")
        card = load_cards().get(name)
        if (
            card is not None
            and name not in trail
            and (self.downscale or name not in ("tas", "vap", "ps") or name in self.wanted)
        ):
            named = [card.algorithm(self.wanted[name])] if self.wanted.get(name) else card.algorithms
            missing = self.choose(name, named, trail)
            if not missing or plain not in self.offer.variables:
                return missing
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
            missing = list(dict.fromkeys(m for n in algorithm.inputs for m in self.find(n, (*trail, product))))
            if not missing:
                inputs = {n: n for n in algorithm.inputs}
                self.add(Step(name=product, kind="kernel", source=product, algorithm=algorithm.name, inputs=inputs))
                reason = "ordered" if self.wanted.get(product) else "first of the card whose inputs can be had"
                later = [a.name for a in algorithms[len(rejected) + 1 :]]
                rejected |= dict.fromkeys(later, LOWER)
                self.choices.append(Choice(product=product, algorithm=algorithm.name, reason=reason, rejected=rejected))
                return []
            self.steps, self.choices = steps, choices
            rejected[algorithm.name] = f"the forcing has no {' and no '.join(missing)}"
            first = first or missing
        return first


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
        done = product in search.steps and search.steps[product].kind == "kernel"
        missing = [] if done else search.choose(product, named, ())
        if missing:
            have = ", ".join(offer.variables) or "nothing"
            why = "; ".join(offer.absent[name] for name in missing if name in offer.absent)
            raise InputError(
                f"'{product}' cannot be made by any of its algorithms ({', '.join(a.name for a in named)}): the first "
                f"lacks {', '.join(missing)}. The forcing ({offer.title}) gives: {have}" + (f". {why}" if why else "")
            )
    return Recipe(steps=list(search.steps.values()), outputs=list(products), choices=search.choices)


def plan(campaign: Campaign, offer: Offer, base_dir: str = ".") -> list[Task]:
    """Return the tasks of a campaign: one per day, each with all products that share the chain.

    Raises
    ------
    SpecError, InputError
        Where products, times or the forcing's coverage do not fit.
    """
    return list(iter_tasks(campaign, offer, base_dir))


def iter_tasks(campaign: Campaign, offer: Offer, base_dir: str) -> Iterator[Task]:
    """Make the tasks one at a time, in order of time."""
    recipe = resolve(campaign.products, campaign.algorithms, offer, campaign.forcing.downscale)
    cards = load_cards()
    used = sorted({s.source for s in recipe.steps if s.kind == "kernel" and s.source != "="})
    grid = Grid.parse(campaign.grid)
    window = grid.window(read_box(campaign.box))
    start, end = read_time("start", campaign.start), read_time("end", campaign.end)
    period = read_period(campaign.period)
    while start < end:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        stop = min(end, midnight + timedelta(days=1))
        starts = [start + k * period for k in range(int((stop - start) / period))]
        yield Task(
            products=list(campaign.products),
            recipe=recipe,
            cards={name: msgspec.to_builtins(cards[name]) for name in used},
            kernels=offer.kernels,
            grid=grid.name,
            start=window.start,
            count=window.count,
            chunk=tuple(campaign.chunk) if campaign.chunk else default_chunk(window.count),  # type: ignore[arg-type]
            period_s=int(period.total_seconds()),
            windows=[iso(t) for t in starts],
            samples=[sample_window(offer, campaign.forcing.hold, t, period) for t in starts],
            forcing=campaign.forcing,
            forcing_identity=offer.identity,
            forcing_title=offer.title,
            forcing_comment=offer.comment,
            statics={s.source: offer.statics[s.source] for s in recipe.steps if s.kind == "static"},
            base_dir=base_dir,
            output_dir=campaign.output,
            campaign=campaign.campaign,
        )
        start = stop


def default_chunk(count: tuple[int, int]) -> tuple[int, int]:
    """Return the chunk in rows and columns: half a megabyte of int16, wide enough for long loops."""
    return min(360, count[0]), min(720, count[1])


def iso(time: datetime) -> str:
    """Write a UTC time as ISO 8601 with a Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sample_window(offer: Offer, hold: bool, start: datetime, period: timedelta) -> list[Sample]:
    """Say which time steps of the forcing make the mean of one window.

    Where the forcing is as fine as the window or finer, the window is cut into
    intervals as long as its time step and each is represented by the step
    that falls into it. Where it is coarser, the state at the middle of the
    window is found by linear interpolation in time.

    Raises
    ------
    InputError
        Where the forcing does not reach the window.
    """
    times, seconds = offer.times, period.total_seconds()
    first = np.datetime64(start.replace(tzinfo=None), "s")
    if times.size == 1 and hold:
        return _spread(times[0], times[0], 0.0, start, seconds)
    if times.size == 1:
        raise InputError(
            f"the forcing ({offer.title}) holds one time, {times[0]}Z; "
            "to use it for a whole period set 'forcing.hold: true'"
        )
    if offer.step_s <= seconds:
        parts = round(seconds / offer.step_s)
        samples = []
        for k in range(parts):
            begin = first + np.timedelta64(round(k * offer.step_s), "s")
            index = int(np.searchsorted(times, begin))
            if index >= times.size or times[index] >= begin + np.timedelta64(round(offer.step_s), "s"):
                raise _not_covered(offer, begin)
            at = start + timedelta(seconds=k * offer.step_s)
            samples += _spread(times[index], times[index], 0.0, at, offer.step_s)
        return samples
    middle = first + np.timedelta64(round(seconds / 2), "s")
    index = int(np.searchsorted(times, middle, side="right")) - 1
    if index < 0 or middle >= times[-1] + np.timedelta64(round(offer.step_s), "s"):
        raise _not_covered(offer, middle)
    second = min(index + 1, times.size - 1)
    weight = float((middle - times[index]) / np.timedelta64(1, "s")) / offer.step_s if second > index else 0.0
    return _spread(times[index], times[second], weight, start, seconds)


def _spread(
    first: np.datetime64, second: np.datetime64, weight: float, start: datetime, seconds: float
) -> list[Sample]:
    """Return one state as samples of at most `LONGEST_S`, so that the sun's path is integrated finely enough."""
    parts = max(1, math.ceil(seconds / LONGEST_S))
    length = seconds / parts
    return [
        Sample(
            first=f"{first}Z",
            second=f"{second}Z",
            weight=weight,
            start=iso(start + timedelta(seconds=k * length)),
            seconds=length,
        )
        for k in range(parts)
    ]


def _not_covered(offer: Offer, time: np.datetime64) -> InputError:
    return InputError(
        f"the forcing ({offer.title}) covers {offer.times[0]}Z to {offer.times[-1]}Z and has nothing for {time}Z; "
        "shorten the campaign's start/end or add files to 'forcing.paths'"
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


__all__ = ["GEOMETRY", "Offer", "SpecError", "explain", "plan", "resolve", "sample_window"]
