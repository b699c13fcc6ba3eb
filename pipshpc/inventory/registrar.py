"""Products into the inventory as a driver publishes them; never at the cost of a task."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipshpc.catalogue import item_path
from pipshpc.inventory.stac import read_stac
from pipshpc.inventory.store import Inventory, inventory_path

PATIENCE_S = 1.0  # that a driver waits for another process that writes
MOST_WAITING = 10_000  # files that wait for an inventory that cannot be written


class Registrar:
    """Registers published files where there is an inventory, and does nothing where there is none.

    What cannot be registered now is tried again with the next files; whatever
    is left at the end, `pipshpc ingest` takes in.

    Parameters
    ----------
    path : of the inventory; that of `inventory_path` if not given
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or inventory_path()
        self._waiting: list[Path] = []
        self._campaign: tuple[Path, str, Path] | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is an inventory, or a home was set up for one."""
        home = os.environ.get("PIPSHPC_HOME")
        return self.path.is_file() or (bool(home) and self.path.parent.is_dir())

    def begin(self, campaign: Path, name: str, output: Path) -> str:
        """Note the campaign; return why it could not be, or nothing."""
        self._campaign = campaign, name, output
        return self.register([])

    def register(self, files: Iterable[str | Path]) -> str:
        """Take in published files; return why that could not be, or nothing."""
        try:
            if not self.wanted:
                return ""
            self._waiting = [*self._waiting, *map(Path, files)][-MOST_WAITING:]
            items = [read_stac(item_path(path)) for path in self._waiting]
            with Inventory.open(self.path, patience_s=PATIENCE_S) as stock:
                if self._campaign is not None:
                    stock.note_campaign(*self._campaign)
                    self._campaign = None
                stock.add(items)
            self._waiting.clear()
        except Exception as error:  # whatever is wrong with the inventory, the products are fine
            return f"{type(error).__name__}: {error}"
        return ""
