"""Trees of origins, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.tree import Tree

    from pipshpc.inventory.lineage import Node

COLOURS = {"file": "bold", "task": "cyan", "card": "green", "static": "magenta"}
MARKS = {"gone": "red", "replaced": "yellow", "withdrawn": "red"}
MANY = 12  # files below one node, from which on the middle is left out


def draw_tree(node: Node, everything: bool = False) -> Tree:
    """Return a tree of origins as rich draws it; long lists of files are cut unless `everything` is asked for."""
    from rich.tree import Tree

    tree = Tree(_label(node))
    _grow(tree, node, everything)
    return tree


def _grow(tree: Tree, node: Node, everything: bool) -> None:
    for below in _shown(node.below, everything):
        if isinstance(below, str):
            tree.add(below, style="dim")
        else:
            _grow(tree.add(_label(below)), below, everything)


def _shown(below: list[Node], everything: bool) -> Iterator[Node | str]:
    files = [node for node in below if node.sort == "file"]
    left_out: set[int] = set()
    if not everything and len(files) > MANY:
        # What changed is always shown.
        left_out = {id(node) for node in files[MANY // 2 : -MANY // 2] if not node.state}
    told = False
    for node in below:
        if id(node) not in left_out:
            yield node
        elif not told:
            told = True
            yield f"... {len(left_out)} more files (--all shows them)"


def _label(node: Node) -> Any:
    from rich.text import Text

    text = Text(overflow="fold")
    if node.sort != "file":
        text.append(f"{node.sort} ", style="dim")
    text.append(node.name, style=COLOURS.get(node.sort, ""))
    if node.digest:
        text.append(f"  {node.digest}", style="dim")
    if node.state:
        text.append(f"  {node.state}", style=MARKS.get(node.state, "yellow"))
    told = [f"{key} {_value(value)}" for key, value in node.facts.items() if value not in (None, "")]
    if told:
        text.append("  " + ", ".join(told))
    if node.path:
        text.append(f"  {node.path}", style="dim")
    return text


def _value(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else str(value)
