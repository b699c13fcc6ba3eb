"""Where a file comes from, and what was made of it: trees of what items and their STAC records say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipshpc.errors import InputError
from pipshpc.inventory.item import Item, path_id
from pipshpc.inventory.stac import sidecar, static_id
from pipshpc.record import INPUTS, SOFTWARE, STACK, STATICS
from pipshpc.schema import Record

if TYPE_CHECKING:
    from pipshpc.inventory.store import Inventory

Sort = Literal["file", "task", "static", "card", "kernels", "stack", "job"]
DEEPEST = 30  # products made of products made of ...


class Node(Record, frozen=True):
    """One thing in a tree of origins: a file, or what took part in making it.

    Parameters
    ----------
    sort : what it is
    name : id of an item, of a task, name of a card ...
    digest : by which it can be told apart; a version for cards
    path : of files
    state : empty, or what is different now: "gone", "replaced", "withdrawn"
    facts : further properties
    below : what it comes from (up), or what was made of it (down)
    """

    sort: Sort
    name: str
    digest: str = ""
    path: str = ""
    state: str = ""
    facts: dict[str, Any] = {}
    below: list[Node] = []

    def walk(self) -> Iterator[Node]:
        """Yield this and all below it."""
        yield self
        for node in self.below:
            yield from node.walk()


def find_item(stock: Inventory | None, name: str | Path) -> Item | None:
    """Return the item of a path or an id, None where the inventory does not know it."""
    if stock is None:
        return None
    return stock.at(name) or stock.get(str(name))


def trace_up(stock: Inventory | None, name: str | Path, verify: bool = False) -> Node:
    """Return what a product file was made of, down to the digests of input files.

    Parameters
    ----------
    stock : inventory, for files that are called by their ids, and for what became of the inputs; may be missing
    name : path of a product file, or the id of an item
    verify : read each input again and compare its digest

    Raises
    ------
    InputError
        Where nothing is known of the file.
    """
    item = find_item(stock, name)
    path = item.path if item is not None else os.path.abspath(name)  # noqa: PTH100
    if item is None and not Path(path).exists():
        raise InputError(f"{name}: no such file, and no item of the inventory; give a product file or an id")
    return _up(stock, path, item, verify, frozenset(), "")


def _up(stock: Inventory | None, path: str, item: Item | None, verify: bool, above: frozenset[str], used: str) -> Node:
    """Return a file and what it was made of; `used` is the digest with which it was used, empty for the first."""
    raw = sidecar(path)
    properties: dict[str, Any] = raw.get("properties", {})
    made = bool(properties.get("pipshpc:task"))
    digest = used or (item.digest if item else "") or properties.get("pipshpc:digest", "")
    below = []
    if made and path not in above and len(above) < DEEPEST and (not used or used == properties.get("pipshpc:digest")):
        below = [_task_node(stock, properties, verify, above | {path})]
    facts = {"product": properties["pipshpc:product"]} if made else {}
    if item is not None and item.kind == "source":
        facts = {"collection": item.collection, "sensor": item.sensor}
    return Node(
        sort="file",
        name=item.id if item else path_id(path),
        digest=digest,
        path=path,
        state=_state(path, item, used, verify),
        facts={key: value for key, value in facts.items() if value},
        below=below,
    )


def _state(path: str, item: Item | None, used: str, verify: bool) -> str:
    """Say what became of an input since it was used."""
    if item is not None and item.withdrawn:
        return "withdrawn"
    if not Path(path).exists():
        return "gone"
    if item is not None and used and item.digest != used:
        return "replaced"
    if verify and used:
        return "" if current_digest(path) == used else "replaced"
    return ""


def current_digest(path: str | Path) -> str:
    """Return the digest of a file as inputs are known by: of the content of a product, of the bytes of all else."""
    from pipshpc.digest import content_digest
    from pipshpc.source.identity import file_digest

    own = sidecar(path).get("properties", {}).get("pipshpc:digest")
    return content_digest(path) if own else file_digest(Path(path))


def _task_node(stock: Inventory | None, properties: dict[str, Any], verify: bool, above: frozenset[str]) -> Node:
    lineage, run = properties.get("pipshpc:lineage", {}), properties.get("pipshpc:run", {})
    below = [
        _up(stock, path, stock.get(path_id(path)) if stock else None, verify, above, digest)
        for path, digest in properties.get(INPUTS, {}).items()
    ]
    below += [
        Node(sort="static", name=static_id(name), digest=digest)
        for name, digest in (properties.get(STATICS) or lineage.get("statics") or {}).items()
    ]
    algorithms = {choice["product"]: choice["algorithm"] for choice in lineage.get("choices", [])}
    below += [
        Node(sort="card", name=name, digest=f"version {version}", facts={"algorithm": algorithms.get(name, "")})
        for name, version in lineage.get("cards", {}).items()
    ]
    below.append(Node(sort="kernels", name="point functions", digest=str(lineage.get("kernels", ""))))
    if STACK in properties:
        below.append(Node(sort="stack", name="software", digest=properties[STACK], facts=properties.get(SOFTWARE, {})))
    below.append(Node(sort="job", name=str(run.get("slurm_job_id", "no job")), facts=_job(run)))
    facts = {"algorithm": properties.get("pipshpc:algorithm", ""), "created": properties.get("created", "")}
    return Node(sort="task", name=properties["pipshpc:task"], facts=facts, below=below)


def _job(run: dict[str, Any]) -> dict[str, Any]:
    kept = ("nodes", "host", "ranks", "threads", "seconds")
    return {key: run[key] for key in kept if run.get(key) not in (None, "")}


def trace_down(stock: Inventory, name: str | Path) -> Node:
    """Return what was made of a file, and of that, as far as the inventory knows.

    Raises
    ------
    InputError
        Where the inventory does not know it.
    """
    item = find_item(stock, name)
    if item is None:
        raise InputError(f"{name}: not in {stock.path}; 'pipshpc ingest FOLDER' takes in what is there")
    return _down(stock, item, frozenset(), "")


def _down(stock: Inventory, item: Item, above: frozenset[str], used: str) -> Node:
    below = []
    if item.id not in above and len(above) < DEEPEST:
        for child in stock.children(item.id):
            stale = "made of an earlier revision" if child.inputs.get(item.id) != item.digest else ""
            below.append(_down(stock, child, above | {item.id}, stale))
    facts = {"product": item.product, "start": item.start, "end": item.end}
    return Node(
        sort="file",
        name=item.id,
        digest=item.digest,
        path=item.path,
        state="withdrawn" if item.withdrawn else used,
        facts={key: value for key, value in facts.items() if value},
        below=below,
    )
