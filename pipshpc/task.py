"""Tasks: what one job does, named by a hash of all that affects its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import msgspec
import xxhash

from pipshpc.errors import SpecError
from pipshpc.forcing import Forcing
from pipshpc.grid import AnyGrid, AnyWindow, parse_grid, window_of
from pipshpc.schema import Record, convert

BATCH_MIB = 96.0  # forcing of one batch of windows, per node


class Step(Record, frozen=True):
    """One line of a recipe: how one quantity comes to be.

    `source` is a forcing variable ("state": one that is taken once, for the
    task's middle), a static field, a geometry quantity or a product id, as
    `kind` says; `inputs` names the steps that a kernel reads, in the kernel's
    own argument names. A "select" has `surface` and a step for each kind of
    surface. A "reduced" quantity is one number for each time step, which the
    pass `source` makes of all pixels of `inputs`. What is "timed" is made of
    all steps of a window at once, or one after another.
    """

    name: str
    kind: Literal["forcing", "state", "static", "geometry", "kernel", "select", "reduced", "timed"]
    source: str
    algorithm: str = ""
    inputs: dict[str, str] = {}


class Choice(Record, frozen=True):
    """Which algorithm makes a product, why, and what was turned down for which reason."""

    product: str
    algorithm: str
    reason: str
    rejected: dict[str, str] = {}


class Recipe(Record, frozen=True):
    """The chain from forcing to products, in the order of computation."""

    steps: list[Step]
    outputs: list[str]
    choices: list[Choice]


class Sample(Record, frozen=True):
    """One evaluation within a window: the states at `first` and `second` mixed by `weight`, from `start` on."""

    first: str  # times of the forcing, ISO 8601, UTC
    second: str
    weight: float
    start: str  # ISO 8601, UTC
    seconds: float

    @property
    def state(self) -> tuple[str, str, float]:
        """What is read for it; samples of equal state share the memory."""
        return self.first, self.second, self.weight


def group_windows(
    samples: Sequence[Sequence[Sample]], state_bytes: int, batch_mib: float = BATCH_MIB
) -> list[list[int]]:
    """Group windows so that the forcing of a group stays below `batch_mib`; at least one window each."""
    groups: list[list[int]] = []
    held: set[tuple[str, str, float]] = set()
    for window, of_window in enumerate(samples):
        states = {s.state for s in of_window}
        if not groups or len(held | states) * state_bytes > batch_mib * (1 << 20):
            groups.append([])
            held = set()
        groups[-1].append(window)
        held |= states
    return groups


class Carry(Record, frozen=True):
    """A state that goes from task to task.

    Parameters
    ----------
    name : under which it is published, as a product of the task
    product, state : whose it is, and what the card calls it
    initial : where nothing came before
    file : name of the file of the task before; empty where the state begins anew
    """

    name: str
    product: str
    state: str
    initial: float
    file: str = ""


class Task(Record, frozen=True, dict=True):
    """All that one job needs to know; plain data, so that it can be read, compared and sent.

    Tasks of one plan share their recipe, cards and static fields.
    """

    products: list[str]
    recipe: Recipe
    cards: dict[str, dict[str, object]]  # of all products in the recipe, as they were when planned
    kernels: str  # digest of the compiled point functions
    grid: str
    start: tuple[int, int]
    count: tuple[int, int]
    chunk: tuple[int, int]
    period_s: int
    windows: list[str]  # start of each window, ISO 8601, UTC
    samples: list[list[Sample]]
    forcing: Forcing
    forcing_identity: str
    forcing_title: str
    forcing_comment: str
    statics: dict[str, str]  # name -> digest
    steps: list[int] = []  # number of samples of each step, where windows are made of steps
    step_s: int = 0
    carry: list[Carry] = []  # states that it leaves, and where it takes them from
    before: str = ""  # id of the task whose states it takes
    # What follows does not affect the result and is not part of the id.
    base_dir: str = "."
    output_dir: str = "products"
    campaign: str = ""
    forcing_digests: list[str] = []  # of each of forcing.paths; the identity stands for them

    @cached_property
    def id(self) -> str:
        """Sixteen hex digits that stand for everything that affects the result."""
        # Where the files lie does not matter; what is in them does (forcing_identity).
        settings = msgspec.structs.replace(self.forcing, paths=["-"] if self.forcing.paths else [])
        own = [getattr(self, name) for name in OWN]
        if self.steps:
            own += [self.steps, self.step_s, self.carry, self.before]
        return xxhash.xxh3_64_hexdigest(msgspec.json.encode([_common_digest(self), settings, *own], order="sorted"))

    @property
    def window(self) -> AnyWindow:
        """The part of the grid that is made."""
        return window_of(_grid(self.grid), self.start, self.count)

    def path(self, product: str) -> Path:
        """Return where the file of `product` is published."""
        return Path(self.output_dir) / file_name(product, self)


COMMON = ("products", "recipe", "cards", "kernels", "grid", "start", "count", "chunk", "period_s", "statics")
OWN = ("windows", "samples", "forcing_identity", "forcing_title", "forcing_comment")
_recent: deque[tuple[list[object], str]] = deque(maxlen=8)  # one for each chain that is being planned


def _common_digest(task: Task) -> str:
    """Return the digest of what tasks of one plan share; made once where they share the very objects."""
    parts = [getattr(task, name) for name in COMMON]
    for known, digest in _recent:
        if all(a is b for a, b in zip(known, parts, strict=True)):
            return digest
    digest = xxhash.xxh3_128_hexdigest(msgspec.json.encode(msgspec.to_builtins(parts), order="sorted"))
    _recent.append((parts, digest))
    return digest


@lru_cache(maxsize=32)
def _grid(name: str) -> AnyGrid:
    return parse_grid(name)


def file_name(product: str, task: Task) -> str:
    """Return ``product_grid_period_date[_box].nc``."""
    grid = _grid(task.grid)
    day = task.windows[0][:10].replace("-", "")
    hours, rest = divmod(task.period_s, 3600)
    period = f"{hours}h" if not rest else f"{task.period_s // 60}min"
    if hours > 24:
        period = f"{hours // 24}d"
    whole = tuple(task.count) == grid.shape
    box = "" if whole else "_r{}c{}n{}x{}".format(*task.start, *task.count)
    return f"{product}_{grid.slug}_{period}_{day}{box}.nc"


def write_task(task: Task, path: Path) -> None:
    """Write a task as JSON, whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(task), indent=1))
    part.replace(path)


def read_task(path: Path) -> Task:
    """Read a task that `write_task` wrote, or raise `SpecError`."""
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SpecError(f"{path}: is not a task file ({error}); make it with 'pipshpc plan'") from error
    return convert(raw, Task, str(path))
