"""Late data: what a granule that came late, was replaced or withdrawn touches, and making just that again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pipshpc import catalogue
from pipshpc.drive.flow import Status, prepare, run_campaign
from pipshpc.drive.prepare import Prepared
from pipshpc.errors import InputError, OutputError, PipshpcError
from pipshpc.inventory.harvest import Harvest
from pipshpc.inventory.item import Item, as_time
from pipshpc.inventory.revisions import archive
from pipshpc.inventory.stac import read_stac, sidecar
from pipshpc.inventory.store import Inventory
from pipshpc.record import INPUTS, TASK, unescape, unpack
from pipshpc.schema import Record
from pipshpc.task import Sample, Task

Span = tuple[datetime, datetime]
ROUNDS = 10  # products made of products made of ...
WITHDRAWN = ".withdrawn"  # ending of a granule that must not be read any more


class Change(Record, frozen=True):
    """A file that is not what products were made of: how, and over which times."""

    path: str
    what: Literal["arrived", "replaced", "withdrawn", "made again"]
    spans: list[Span] = []  # empty: all times


class Touched(Record, frozen=True):
    """A product that a change touches.

    Parameters
    ----------
    item, path, product : which
    windows : start of each window that is touched, ISO 8601, UTC
    total : windows of the file
    by : paths of the changed files
    action : "again" (made again), "first" (can be made now for the first time)
    campaign : the file of the campaign that makes it; empty where none is known
    """

    item: str
    path: str
    product: str
    windows: list[str]
    total: int
    by: list[str]
    action: Literal["again", "first"] = "again"
    campaign: str = ""


class Impact(Record, frozen=True):
    """What changed, and all that it touches, in the order in which it has to be made."""

    changes: list[Change]
    touched: list[Touched]
    untouched: int = 0  # other current products of the campaigns concerned
    notes: list[str] = []  # campaigns that could not be planned


class Applied(Record, frozen=True):
    """What was done: paths made again or for the first time, withdrawn, and what went wrong."""

    made: list[str] = []
    kept: list[str] = []  # where the replaced revisions are now
    withdrawn: list[str] = []
    failed: dict[str, str] = {}


def find_changes(stock: Inventory, paths: Sequence[str | Path], since: str | datetime | None = None) -> list[Change]:
    """Look at files again and say what became of them; with neither paths nor date, of all inputs of products.

    Raises
    ------
    InputError
        Where a path is neither there nor known.
    """
    items = [_look_at(stock, Path(os.path.abspath(path))) for path in paths]  # noqa: PTH100
    if since is not None:
        items += [item for item in stock.changed_since(since) if item.kind == "source"]
    if not paths and since is None:
        parents = dict.fromkeys(parent for item in stock.stale() for parent in item.inputs)
        items = [item for item in map(stock.get, parents) if item is not None]
    changes: dict[str, Change] = {}
    for item in items:
        what = _what(stock, item)
        if what is not None:
            changes[item.id] = Change(path=item.path, what=what, spans=_spans(item))
    return list(changes.values())


def _look_at(stock: Inventory, path: Path) -> Item:
    """Bring the inventory up to date with one file."""
    known = stock.at(path)
    if not path.is_file():
        if known is None:
            raise InputError(f"{path}: is not there, and the inventory does not know it; name a granule")
        return known if known.withdrawn else stock.withdraw(known.id)
    harvest = Harvest(stock, path.parent)
    item = harvest.describe(path, path.stat())
    if item is None:
        raise InputError(f"{path}: is no data; name a granule")
    stock.add([item])
    found = stock.get(item.id)
    assert found is not None
    return found


def _what(stock: Inventory, item: Item) -> Literal["arrived", "replaced", "withdrawn"] | None:
    if item.withdrawn:
        return "withdrawn"
    used = [child.inputs[item.id] for child in stock.children(item.id)]
    if any(digest != item.digest for digest in used):
        return "replaced"
    return None if used else "arrived"


def _spans(item: Item) -> list[Span]:
    return [(item.start, item.end)] if item.start is not None and item.end is not None else []


def with_spans(stock: Inventory, change: Change) -> Change:
    """Return a change with the times that the inventory knows of its file.

    Raises
    ------
    InputError
        Where the inventory does not know it.
    """
    item = stock.at(change.path)
    if item is None:
        raise InputError(f"{change.path}: not in {stock.path}; 'pipshpc ingest' its folder first")
    return Change(path=change.path, what=change.what, spans=_spans(item))


def find_impact(stock: Inventory, changes: Sequence[Change]) -> Impact:
    """Return all products and their windows that some changes touch, down to products made of products.

    What is replaced or withdrawn is followed along the edges of lineage.
    Only for what is new the campaigns that are known are planned, to see which
    of their tasks take it up.
    """
    touched: dict[str, Touched] = {}
    notes: list[str] = []
    files = {file for file, _, _ in stock.campaigns()}
    for change in changes:
        _follow(stock, change, touched, 0)
    arrived = [change for change in changes if change.what == "arrived"]
    for file in sorted(files) if arrived else ():
        try:
            _take_up(stock, prepare(file), arrived, touched)
        except PipshpcError as error:
            notes.append(f"{file}: cannot be planned: {error}")
    ordered = sorted(touched.values(), key=lambda t: (t.windows[:1], t.path))
    concerned = {t.campaign for t in ordered}
    outputs = [output for file, _, output in stock.campaigns() if file in concerned]
    others = [i for i in stock.search(kind="product") if any(i.path.startswith(f"{o}{os.sep}") for o in outputs)]
    untouched = sum(item.id not in touched for item in others)
    return Impact(changes=list(changes), touched=ordered, untouched=untouched, notes=notes)


def _follow(stock: Inventory, change: Change, touched: dict[str, Touched], depth: int) -> None:
    """Add the products that were made of a changed file, and what was made of these."""
    item = stock.at(change.path)
    if item is None or depth > ROUNDS:
        return
    for child in stock.children(item.id):
        again = change.what in ("withdrawn", "made again")
        if not again and child.inputs.get(item.id) == item.digest:
            continue  # made of the new content already
        task = recorded_task(child)
        if task is None:
            continue
        windows = _windows(task, change.spans)
        _note(stock, touched, child, task, windows, change.path)
        period = timedelta(seconds=task.period_s)
        spans = [(as_time(w), as_time(w) + period) for w in windows]
        _follow(stock, Change(path=child.path, what="made again", spans=spans), touched, depth + 1)


def recorded_task(item: Item) -> Task | None:
    """Return the task that made a product, from its record; None where there is none."""
    properties: dict[str, Any] = sidecar(item.path).get("properties", {})
    return unpack(properties[TASK], item.path) if TASK in properties else None


def _windows(task: Task, spans: Sequence[Span]) -> list[str]:
    """Return the windows of a task that take a state from some times; all where no time is said."""
    if not spans:
        return list(task.windows)
    found = [w for w, of in zip(task.windows, task.samples, strict=True) if any(_reads(s, spans) for s in of)]
    # A quantity that is taken once, for the middle of a task, touches all of it.
    return found or list(task.windows)


def _reads(sample: Sample, spans: Sequence[Span]) -> bool:
    times = {as_time(sample.first)} | ({as_time(sample.second)} if sample.weight else set())
    return any(start <= t < end or t == start for t in times for start, end in spans)


def _note(
    stock: Inventory, touched: dict[str, Touched], item: Item, task: Task, windows: Iterable[str], path: str
) -> None:
    known = touched.get(item.id)
    chosen = sorted({*windows, *(known.windows if known else [])})
    touched[item.id] = Touched(
        item=item.id,
        path=item.path,
        product=item.product,
        windows=chosen,
        total=len(task.windows),
        by=sorted({path, *(known.by if known else [])}),
        campaign=_campaign_of(stock, item.path),
    )


def _campaign_of(stock: Inventory, path: str) -> str:
    """Return the campaign that makes a file: the one of its record's name, and of its folder."""
    name = ""
    raw = sidecar(path).get("properties", {}).get(TASK)
    if raw:
        name = unpack(raw, path).campaign
    fitting = [(file, title) for file, title, output in stock.campaigns() if Path(path).parent == Path(output)]
    named = [file for file, title in fitting if title == name]
    return next(iter(named or [file for file, _ in fitting]), "")


def _take_up(stock: Inventory, prepared: Prepared, arrived: Sequence[Change], touched: dict[str, Touched]) -> None:
    """Add the tasks of a campaign that new files go into."""
    spans = {change.path: change.spans for change in arrived}
    for task in prepared.pending:
        files = {os.path.join(task.base_dir, unescape(p)) for p in task.forcing.paths}  # noqa: PTH118
        new = sorted(spans.keys() & {os.path.abspath(f) for f in files})  # noqa: PTH100
        if not new:
            continue
        for product in task.products:
            path = task.path(product)
            item = stock.at(path)
            old = recorded_task(item) if item is not None else None
            if old is not None and all(p in sidecar(path)["properties"].get(INPUTS, {}) for p in new):
                continue  # known to it: no arrival
            windows = {w for p in new for w in _windows(task, spans[p])} if old else set(task.windows)
            if old is not None:
                before = dict(zip(old.windows, old.samples, strict=True))
                windows |= {w for w, s in zip(task.windows, task.samples, strict=True) if before.get(w) != s}
            touched[item.id if item else str(path)] = Touched(
                item=item.id if item else "",
                path=str(path),
                product=product,
                windows=sorted(windows),
                total=len(task.windows),
                by=new,
                action="again" if old else "first",
                campaign=str(prepared.path),
            )


def hide(stock: Inventory, path: str | Path) -> Path:
    """Withdraw a granule: note it, and rename its file so that no campaign reads it any more.

    Raises
    ------
    InputError
        Where it is neither there nor known.
    OutputError
        Where it cannot be renamed.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    item = _look_at(stock, path)
    hidden = path.with_name(path.name + WITHDRAWN)
    try:
        path.rename(hidden)
    except OSError as error:
        raise OutputError(f"{path}: cannot be renamed ({error.strerror}); ask its owner to") from error
    stock.withdraw(item.id)
    return hidden


def apply_impact(stock: Inventory, impact: Impact) -> Applied:
    """Make again just what an impact lists, as new revisions; the old ones are kept, all else is left alone.

    Products of products follow once what they are made of is there. What
    cannot be made again, as its input is gone for good, is withdrawn.
    """
    made: dict[str, None] = {}
    kept: list[str] = []
    withdrawn: list[str] = []
    failed: dict[str, str] = {}
    todo = {t.path: t for t in impact.touched}
    for _ in range(ROUNDS):
        campaigns = sorted({t.campaign for t in todo.values()})
        before = len(todo)
        for campaign in campaigns:
            mine = {path: t for path, t in todo.items() if t.campaign == campaign}
            done, old, gone, wrong = _apply_one(stock, campaign, mine, set(todo) - set(mine))
            made |= dict.fromkeys(done)
            kept += old
            withdrawn += gone
            failed |= wrong
            for path in (*done, *gone, *wrong):
                todo.pop(path, None)
        if not todo or len(todo) == before:
            break
    failed |= dict.fromkeys(todo, "what it is made of was not made again")
    return Applied(made=list(made), kept=kept, withdrawn=withdrawn, failed=failed)


def _apply_one(
    stock: Inventory, campaign: str, mine: dict[str, Touched], others: set[str]
) -> tuple[list[str], list[str], list[str], dict[str, str]]:
    """Make again what one campaign can; return what was made, kept, withdrawn, and what failed and why."""
    if not campaign:
        why = "no campaign that makes it is known; 'pipshpc ingest' its output folder, or make it again by hand"
        return [], [], [], dict.fromkeys(mine, why)
    try:
        prepared = prepare(campaign)
        planned = {str(t.path(p)): t for t in prepared.tasks for p in t.products}
        reason = ""
    except InputError as error:
        prepared, planned, reason = None, {}, str(error)
    # What waits for another campaign's products is left for the next round.
    waits = {path for path, t in mine.items() if set(t.by) & others}
    gone = [p for p in mine if p not in planned and p not in waits]
    kept = [str(k) for p in gone if (k := archive(stock, p, remove=True)) is not None]
    for path in gone:
        if mine[path].item:
            stock.withdraw(mine[path].item)
    if prepared is None:
        return [], kept, gone, {"": f"{campaign}: cannot be planned: {reason}"} if not gone else {}
    chosen = {planned[p].id for p in mine if p in planned and p not in waits}
    pending = [t for t in prepared.pending if t.id in chosen]
    paths = [str(t.path(product)) for t in pending for product in t.products]
    kept += [str(k) for p in paths if (k := archive(stock, p)) is not None]
    status = run_campaign(replace(prepared, pending=pending)) if pending else Status(total=0)
    done = [p for p in paths if catalogue.is_complete(p, planned[p].id)]
    stock.add([read_stac(catalogue.item_path(p)) for p in done])
    wrong = {p: status.failed.get(planned[p].id, "was not made") for p in paths if p not in done}
    fresh = [p for p in mine if p in planned and p not in waits and p not in paths]  # as planned already
    return [*done, *fresh], kept, gone, wrong
