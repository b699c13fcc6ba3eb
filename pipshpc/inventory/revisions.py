"""Old revisions of product files: kept beside the new ones, readable, found by date."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipshpc.catalogue import ASSET, item_path
from pipshpc.errors import OutputError
from pipshpc.inventory.harvest import REVISIONS
from pipshpc.inventory.item import Item, path_id
from pipshpc.inventory.stac import sidecar

if TYPE_CHECKING:
    from pipshpc.inventory.store import Inventory


def archive(stock: Inventory, path: str | Path, remove: bool = False) -> Path | None:
    """Keep a product file and its STAC item in the folder of revisions, before a new one takes their names.

    Where the file system has hard links nothing is copied.

    Parameters
    ----------
    remove : take the file away from where it was

    Returns
    -------
    Path or None
        Where it is now; None where there was no published file.

    Raises
    ------
    OutputError
        Where it cannot be kept; then nothing has changed.
    """
    path = Path(path)
    raw = sidecar(path)
    if not raw or not path.is_file():
        return None
    item = stock.at(path)
    properties = raw["properties"]
    mark = str(properties.get("pipshpc:task") or properties.get("pipshpc:digest", ""))[:16]
    target = path.parent / REVISIONS / f"{path.stem}.{mark}{path.suffix}"
    try:
        target.parent.mkdir(exist_ok=True)
        _link(path, target)
        raw["assets"][ASSET]["href"] = f"./{target.name}"
        properties["pipshpc:id"] = item.id if item else path_id(path)
        if remove:
            properties["pipshpc:withdrawn"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        part = item_path(target).with_suffix(f".{os.getpid()}.part")
        part.write_bytes(msgspec.json.format(msgspec.json.encode(raw), indent=2) + b"\n")
        part.replace(item_path(target))
        if item is not None:
            stock.move(item, target)
        if remove:
            item_path(path).unlink()
            path.unlink()
    except OSError as error:
        raise OutputError(f"{target}: the old revision cannot be kept there ({error}); free some space") from error
    return target


def _link(path: Path, target: Path) -> None:
    if target.exists():
        if target.samefile(path):
            return
        target.unlink()
    try:
        target.hardlink_to(path)
    except OSError:
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copy2(path, part)
        part.replace(target)


def known_then(stock: Inventory, path: str | Path, as_of: str | datetime | None) -> Item | None:
    """Return the revision of a file that was known at a date (now if not given), None where there was none."""
    revisions = stock.revisions(path)
    return stock.get(revisions[-1].id, as_of) if revisions else None
