"""Products into the inventory as a driver publishes them; never at the cost of a task."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from pipshpc.catalogue import item_path
from pipshpc.inventory.stac import read_stac
from pipshpc.inventory.store import Inventory, inventory_path
from pipshpc.inventory.subscription import deliver, subscriptions

PATIENCE_S = 1.0  # that a driver waits for another process that writes
FINISH_S = 30.0  # that the end of a driver waits for deliveries
MOST_WAITING = 10_000  # files that wait for an inventory that cannot be written


class Registrar:
    """Registers published files where there is an inventory, and does nothing where there is none.

    What cannot be registered now is tried again with the next files; whatever
    is left at the end, `pipshpc ingest` takes in.

    Parameters
    ----------
    campaign : its file, name and output folder
    path : of the inventory; that of `inventory_path` if not given
    """

    def __init__(self, campaign: tuple[Path, str, Path] | None = None, path: Path | None = None) -> None:
        self.path = path or inventory_path()
        self._waiting: list[Path] = []
        self._campaign = campaign
        self._courier: threading.Thread | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is an inventory, or a home was set up for one."""
        home = os.environ.get("PIPSHPC_HOME")
        return self.path.is_file() or (bool(home) and self.path.parent.is_dir())

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
                subscribed = bool(subscriptions(stock))
            self._waiting.clear()
            if subscribed and items:
                self._send_courier()
        except Exception as error:  # whatever is wrong with the inventory, the products are fine
            return f"{type(error).__name__}: {error}"
        return ""

    def finish(self) -> str:
        """Register what is left, and wait a while for deliveries; what is not delivered then is later."""
        why = self.register([])
        if self._courier is not None:
            self._courier.join(FINISH_S)
            self._send_courier()  # for what was registered while it was on its way
            self._courier.join(FINISH_S)
        return why

    def _send_courier(self) -> None:
        if self._courier is None or not self._courier.is_alive():
            self._courier = threading.Thread(target=_deliver, args=(self.path,), daemon=True)
            self._courier.start()


def _deliver(path: Path) -> None:
    # A driver must not end for a subscription; the ledger says what went wrong.
    with contextlib.suppress(Exception), Inventory.open(path, create=False) as stock:
        deliver(stock)
