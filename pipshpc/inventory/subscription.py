"""Subscriptions: products delivered as they appear, at least once, with a ledger of what went where."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pipshpc.catalogue import item_path
from pipshpc.errors import InputError, OutputError, SpecError
from pipshpc.inventory.boxes import overlap, split_box
from pipshpc.inventory.item import Bounds, Item
from pipshpc.inventory.stac import to_stac
from pipshpc.schema import Record, convert

if TYPE_CHECKING:
    from pipshpc.inventory.store import Inventory

MOST_TRIES = 8
FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0  # after a failure; the wait doubles
LEASE_S = 900.0  # that one deliverer has an item to itself: longer than any delivery may take
COMMAND_S, WEBHOOK_S = 600.0, 30.0
ENLISTED = 1000  # new items that are looked at in one go
SAID = 300  # characters of what a failed command said


class Subscription(Record, frozen=True):
    """What somebody wants, and where it goes: exactly one of folder, command, webhook.

    Parameters
    ----------
    name : of the subscription
    products : ids; empty for all
    box : west, south, east, north in degrees; None for everywhere
    quality : words that will do; empty for all
    folder : where files (with their STAC items) are put
    hard : by hard link where the file system has them, instead of a copy
    command : words of a command; ``{path}``, ``{id}``, ``{product}``, ``{digest}`` are filled in
    webhook : address that the STAC item is posted to
    """

    name: str
    products: list[str] = []
    box: Bounds | None = None
    quality: list[str] = []
    folder: str = ""
    hard: bool = False
    command: str = ""
    webhook: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.folder, self.command, self.webhook))) != 1:
            raise ValueError("a subscription delivers to one of folder, command, webhook")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ValueError(f"webhook '{self.webhook}': an address that starts with http:// or https:// is wanted")
        if self.box is not None:
            split_box(self.box)

    def wants(self, item: Item) -> bool:
        """Say whether an item is one of those that are wanted."""
        if item.kind != "product" or item.withdrawn is not None:
            return False
        if self.products and item.product not in self.products:
            return False
        if self.quality and item.quality not in self.quality:
            return False
        return self.box is None or (item.bbox is not None and overlap(item.bbox, self.box))


State = Literal["waiting", "done", "failed", "superseded"]


class Delivery(Record, frozen=True):
    """One line of the ledger."""

    subscription: str
    item: str
    revision: int
    state: State
    tries: int
    note: str


def subscribe(stock: Inventory, wanted: Subscription, from_start: bool = False) -> None:
    """Note a subscription; it gets what appears from now on, with `from_start` also all that is there.

    Raises
    ------
    SpecError
        Where there is one of that name.
    """
    with stock.writing() as base:
        if base.execute("SELECT 1 FROM subscription WHERE name = ?", (wanted.name,)).fetchone():
            raise SpecError(f"subscription '{wanted.name}' is there already; remove it first, or take another name")
        # What is behind this mark has been looked at.
        mark = 0 if from_start else base.execute("SELECT coalesce(max(key), 0) FROM item").fetchone()[0]
        row = wanted.name, msgspec.json.encode(wanted).decode(), mark
        base.execute("INSERT INTO subscription VALUES (?, ?, ?)", row)


def unsubscribe(stock: Inventory, name: str) -> None:
    """Remove a subscription and its ledger.

    Raises
    ------
    InputError
        Where there is none of that name.
    """
    with stock.writing() as base:
        if not base.execute("DELETE FROM subscription WHERE name = ?", (name,)).rowcount:
            raise InputError(f"no subscription '{name}'; 'pipshpc subscribe list' shows those that are there")
        base.execute("DELETE FROM delivery WHERE subscription = ?", (name,))


def subscriptions(stock: Inventory) -> list[Subscription]:
    """Return all subscriptions, by name."""
    rows = stock.base.execute("SELECT name, told FROM subscription ORDER BY name")
    return [convert(msgspec.json.decode(told), Subscription, f"subscription '{name}'") for name, told in rows]


def ledger(stock: Inventory, name: str | None = None) -> list[Delivery]:
    """Return what was delivered, waits, or was given up, in the order in which it appeared."""
    text = (
        "SELECT d.subscription, i.id, i.revision, d.state, d.tries, d.note FROM delivery d "
        "JOIN item i ON i.key = d.item WHERE :name IS NULL OR d.subscription = :name ORDER BY d.item, d.subscription"
    )
    fields = Delivery.__struct_fields__
    return [
        Delivery(**dict(zip(fields, row, strict=True))) for row in stock.base.execute(text, {"name": name}).fetchall()
    ]


def retry(stock: Inventory, name: str) -> int:
    """Let the deliveries that were given up be tried again; return how many."""
    with stock.writing() as base:
        text = "UPDATE delivery SET state = 'waiting', tries = 0, due = 0 WHERE subscription = ? AND state = 'failed'"
        return base.execute(text, (name,)).rowcount


def deliver(stock: Inventory, clock: Callable[[], float] = time.time) -> list[Delivery]:
    """Deliver what is due; several processes may do so at once.

    An item is noted in the ledger before it is delivered, and as done
    afterwards: whatever ends a delivery in between, it is made again. Each
    failure doubles the wait; after 8 tries an item is given up until `retry`.

    Returns
    -------
    list
        The lines of the ledger that changed.
    """
    changed = []
    for wanted in subscriptions(stock):
        _enlist(stock, wanted)
        while (key := _claim(stock, wanted.name, clock())) is not None:
            changed.append(_deliver_one(stock, wanted, key, clock))
    return changed


def _enlist(stock: Inventory, wanted: Subscription) -> None:
    """Bring the ledger up to what appeared since the mark."""
    while True:
        with stock.writing() as base:
            found = base.execute("SELECT since FROM subscription WHERE name = ?", (wanted.name,)).fetchone()
            if found is None:
                return
            items = stock.after(found[0], ENLISTED)
            rows = [(wanted.name, key) for key, item in items if wanted.wants(item)]
            text = "INSERT OR IGNORE INTO delivery (subscription, item, state) VALUES (?, ?, 'waiting')"
            base.executemany(text, rows)
            if items:
                base.execute("UPDATE subscription SET since = ? WHERE name = ?", (items[-1][0], wanted.name))
        if len(items) < ENLISTED:
            return


def _claim(stock: Inventory, name: str, now: float) -> int | None:
    """Take the next item that is due for this process alone; None where there is none."""
    with stock.writing() as base:
        text = "SELECT item FROM delivery WHERE subscription = ? AND state = 'waiting' AND due <= ? ORDER BY item"
        found = base.execute(text + " LIMIT 1", (name, now)).fetchone()
        if found is None:
            return None
        base.execute(
            "UPDATE delivery SET due = ?, tries = tries + 1 WHERE subscription = ? AND item = ?",
            (now + LEASE_S, name, found[0]),
        )
        return int(found[0])


def _deliver_one(stock: Inventory, wanted: Subscription, key: int, clock: Callable[[], float]) -> Delivery:
    ((_, item),) = stock.after(key - 1, 1)
    tries = stock.base.execute(
        "SELECT tries FROM delivery WHERE subscription = ? AND item = ?", (wanted.name, key)
    ).fetchone()[0]
    newest = stock.get(item.id)
    state: State = "done"
    note, due = "", 0.0
    if newest is None or newest.revision != item.revision or newest.withdrawn:
        state, note = "superseded", "withdrawn" if newest is None or newest.withdrawn else "by a newer revision"
    else:
        try:
            note = send(wanted, item)
        except (OSError, ValueError, subprocess.SubprocessError, OutputError) as error:
            state = "failed" if tries >= MOST_TRIES else "waiting"
            note = " ".join(f"{type(error).__name__}: {error}".split())
            due = clock() + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1))
    with stock.writing() as base:
        text = "UPDATE delivery SET state = ?, note = ?, due = ? WHERE subscription = ? AND item = ?"
        base.execute(text, (state, note, due, wanted.name, key))
    return Delivery(subscription=wanted.name, item=item.id, revision=item.revision, state=state, tries=tries, note=note)


def send(wanted: Subscription, item: Item) -> str:
    """Deliver one item and return where it went.

    Raises
    ------
    OSError, OutputError, subprocess.SubprocessError
        Where that did not work.
    """
    if wanted.folder:
        return _put(Path(wanted.folder), item, wanted.hard)
    if wanted.command:
        return _call(wanted.command, item)
    return _post(wanted, item)


def _put(folder: Path, item: Item, hard: bool) -> str:
    """Copy or link a file and its STAC item; under its name there is never less than the whole file."""
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(item.path)
    for path in (source, item_path(source)):
        if path != source and not path.is_file():
            continue
        part = folder / f".{path.name}.{os.getpid()}.part"
        part.unlink(missing_ok=True)
        try:
            if not (hard and _linked(path, part)):
                shutil.copyfile(path, part)
            if part.stat().st_size != path.stat().st_size:
                raise OutputError(f"{part}: has not the size of {path}; is the disk full?")
            part.replace(folder / path.name)
        finally:
            part.unlink(missing_ok=True)
    return str(folder / source.name)


def _linked(path: Path, part: Path) -> bool:
    try:
        part.hardlink_to(path)
    except OSError:
        return False
    return True


def _call(command: str, item: Item) -> str:
    given = {"path": item.path, "id": item.id, "product": item.product, "digest": item.digest}
    words = [word.format(**given) for word in shlex.split(command)]
    about = {f"PIPSHPC_{key.upper()}": value for key, value in given.items()}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=COMMAND_S, check=False, env={**os.environ, **about}
    )
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-SAID:]
        raise OutputError(f"'{words[0]}' ended with code {done.returncode}: {said}")
    return shlex.join(words)


def _post(wanted: Subscription, item: Item) -> str:
    body: dict[str, Any] = {"subscription": wanted.name, "item": to_stac(item).to_dict(include_self_link=False)}
    # The receiver can tell a repeated delivery by its key.
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"{wanted.name}/{item.id}/{item.digest}"}
    request = urllib.request.Request(wanted.webhook, msgspec.json.encode(body), headers, method="POST")
    with urllib.request.urlopen(request, timeout=WEBHOOK_S) as answer:
        return f"{wanted.webhook}: {answer.status}"
