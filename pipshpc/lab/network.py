"""The lab's network: one bridge on the host, a namespace and a cable for each node."""

from __future__ import annotations

import re
from pathlib import Path

from pipshpc.errors import SiteError
from pipshpc.lab.layout import Layout, Node
from pipshpc.lab.process import run

IFF_UP = 1


def free_subnet(taken: str) -> int:
    """Return the first x of 10.78.x.0/24 that does not appear in `taken`, the host's addresses and routes.

    Raises
    ------
    SiteError
        All are taken.
    """
    used = {int(number) for number in re.findall(r"\b10\.78\.(\d+)\.", taken)}
    for number in range(1, 255):
        if number not in used:
            return number
    raise SiteError("all networks 10.78.x.0/24 are in use; remove labs that are not needed")


def find_subnet() -> int:
    """Return a subnet that this host does not use."""
    return free_subnet(run(["ip", "-4", "addr"]) + run(["ip", "-4", "route", "show", "table", "all"]))


def has_bridge(layout: Layout) -> bool:
    """Whether the lab's bridge is there."""
    return Path("/sys/class/net", layout.bridge).exists()


def is_connected(node: Node) -> bool:
    """Whether a node's cable is plugged in."""
    try:
        flags = int(Path("/sys/class/net", node.link, "flags").read_text(), 16)
    except OSError:
        return False
    return bool(flags & IFF_UP)


def has_namespace(node: Node) -> bool:
    """Whether a node has its network namespace."""
    return Path("/run/netns", node.namespace).exists()


def create(layout: Layout) -> bool:
    """Make what is missing and plug in what is unplugged; return whether there was anything to do."""
    lines: list[str] = []
    if not has_bridge(layout):
        bridge = layout.bridge
        lines += [f"link add name {bridge} type bridge", f"addr add {layout.address}/24 dev {bridge}"]
        lines += [f"link set {bridge} up"]
    new = []
    for node in layout.all_nodes():
        cable = Path("/sys/class/net", node.link).exists()
        if not has_namespace(node):
            lines.append(f"netns add {node.namespace}")
        if not cable:
            lines.append(f"link add {node.link} type veth peer name eth0 netns {node.namespace}")
            lines.append(f"link set {node.link} master {layout.bridge}")
            new.append(node)
        if not is_connected(node):
            lines.append(f"link set {node.link} up")
    if lines:
        run(["ip", "-batch", "-"], "\n".join(lines) + "\n")
    for node in new:
        inside = [f"addr add {node.address}/24 dev eth0", "link set eth0 up", "link set lo up"]
        run(["ip", "-n", node.namespace, "-batch", "-"], "\n".join(inside) + "\n")
    return bool(lines)


def remove(layout: Layout) -> None:
    """Take the lab's network away; what is gone already is no error."""
    lines = [f"link del {n.link}" for n in layout.all_nodes() if Path("/sys/class/net", n.link).exists()]
    lines += [f"netns del {n.namespace}" for n in layout.all_nodes() if has_namespace(n)]
    lines += [f"link del {layout.bridge}"] if has_bridge(layout) else []
    if lines:
        run(["ip", "-batch", "-"], "\n".join(lines) + "\n")


def plug(node: Node, connected: bool) -> None:
    """Plug a node's cable in or out."""
    run(["ip", "link", "set", node.link, "up" if connected else "down"])
