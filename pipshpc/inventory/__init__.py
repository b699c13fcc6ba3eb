"""The inventory: source data, interim data and products as STAC-shaped items in one SQLite file."""

from __future__ import annotations

from pipshpc.inventory.item import Item
from pipshpc.inventory.store import Inventory, inventory_path

__all__ = ["Inventory", "Item", "inventory_path"]
