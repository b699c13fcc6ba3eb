"""Why two files differ: what they were made of and by, before what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipshpc.inventory.stac import sidecar
from pipshpc.record import INPUTS, SOFTWARE, STACK, TASK, unpack

GROUPS = ("inputs", "static fields", "cards", "algorithms", "grid and time", "kernels", "software")


def reasons(a: str | Path, b: str | Path) -> list[str]:
    """Say what differs in the making of two product files; empty where nothing does, or nothing is known.

    Each line starts with what it is about: inputs, static fields, cards,
    algorithms, grid and time, kernels, software.
    """
    one, two = _origin(Path(a)), _origin(Path(b))
    lines = []
    for group in GROUPS:
        left, right = one.get(group, {}), two.get(group, {})
        lines += [f"{group}: {line}" for line in _compare(left, right)]
    return lines


def _compare(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            lines.append(f"{name} only for the {'first' if name in left else 'second'}")
        elif left[name] != right[name]:
            lines.append(f"{name} {left[name]} against {right[name]}")
    return lines


def _origin(path: Path) -> dict[str, dict[str, Any]]:
    """Return what made a file, by group: from its record, else from what the file itself says."""
    properties: dict[str, Any] = sidecar(path).get("properties", {})
    lineage: dict[str, Any] = properties.get("pipshpc:lineage") or _inside(path)
    found: dict[str, dict[str, Any]] = {
        "static fields": lineage.get("statics") or {},
        "cards": {f"{name} version": version for name, version in (lineage.get("cards") or {}).items()},
        "algorithms": {choice["product"]: choice["algorithm"] for choice in lineage.get("choices") or []},
        "kernels": {"digest": lineage["kernels"]} if lineage.get("kernels") else {},
        "software": {"stack": properties[STACK], **properties.get(SOFTWARE, {})} if STACK in properties else {},
    }
    if not found["software"] and lineage.get("pipshpc"):
        found["software"] = {"pipshpc": lineage["pipshpc"]}
    if inputs := properties.get(INPUTS):
        # By name, not by place: the same file elsewhere is the same input.
        found["inputs"] = {Path(p).name: digest for p, digest in inputs.items()}
    elif forcing := lineage.get("forcing"):
        found["inputs"] = {str(forcing.get("title", "forcing")): forcing.get("identity", "")}
    if TASK in properties:
        _add_task(found, properties[TASK], path)
    return found


def _add_task(found: dict[str, dict[str, Any]], record: str, path: Path) -> None:
    """Add what only the task itself tells: cards whose text differs in spite of equal versions, grid, time."""
    import xxhash

    task = unpack(record, str(path))
    import msgspec

    for name, card in task.cards.items():
        text = msgspec.json.encode(card, order="sorted")
        found["cards"][f"{name} content"] = xxhash.xxh3_64_hexdigest(text)
    found["grid and time"] = {
        "grid": task.grid,
        "start": task.start,
        "count": task.count,
        "window": f"{task.period_s} s",
        "windows": f"{task.windows[0]} to {task.windows[-1]}",
        "samples of a window": sorted({len(of_window) for of_window in task.samples}),
        "downscaling": task.forcing.downscale,
        "holding": task.forcing.hold,
    }


def _inside(path: Path) -> dict[str, Any]:
    from pipshpc.dataset import describe
    from pipshpc.errors import InputError

    try:
        return describe(path).lineage
    except InputError:
        return {}
