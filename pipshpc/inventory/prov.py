"""Lineage as PROV-JSON, the W3C's way to write down provenance for other programs.

Source: W3C Member Submission PROV-JSON (2013), W3C Recommendation PROV-DM (2013).
"""

from __future__ import annotations

from typing import Any

from pipshpc.inventory.lineage import Node

PREFIX = {"pipshpc": "urn:pipshpc:", "file": "urn:pipshpc:file:", "task": "urn:pipshpc:task:"}
PLAIN = {"static": "StaticField", "card": "ProductCard", "kernels": "Kernels"}


class Document:
    """A PROV document that grows by nodes of a tree of origins."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {"prefix": dict(PREFIX)}
        self._seen: set[tuple[str, ...]] = set()

    def take(self, node: Node) -> str:
        """Take in a file and all that made it; return its identifier."""
        known = self._entity(node)
        for task in (below for below in node.below if below.sort == "task"):
            self._activity(known, node, task)
        return known

    def take_down(self, node: Node) -> str:
        """Take in a file and what was made of it."""
        known = self._entity(node)
        for child in node.below:
            self._relate("wasDerivedFrom", {"generatedEntity": self.take_down(child), "usedEntity": known})
        return known

    def _activity(self, made: str, node: Node, task: Node) -> None:
        activity = f"task:{task.name}"
        job = next((below for below in task.below if below.sort == "job"), None)
        created = str(task.facts.get("created", ""))
        about: dict[str, Any] = {"prov:type": _typed("pipshpc:Task"), "prov:label": f"task {task.name}"}
        if job is not None:
            about["pipshpc:job"] = job.name
            about |= {f"pipshpc:{key}": _plain(value) for key, value in job.facts.items()}
        if task.facts.get("algorithm"):
            about["pipshpc:algorithm"] = str(task.facts["algorithm"])
        if created:
            about["prov:endTime"] = created
        self.parts.setdefault("activity", {}).setdefault(activity, about)
        self._relate("wasGeneratedBy", {"entity": made, "activity": activity} | ({"time": created} if created else {}))
        for part in task.below:
            if part.sort == "stack":
                self._relate("wasAssociatedWith", {"activity": activity, "agent": self._agent(part)})
            elif part.sort != "job":
                used = self.take(part) if part.sort == "file" else self._entity(part)
                self._relate("used", {"activity": activity, "entity": used})
                if part.sort in ("file", "static"):
                    ends = {"generatedEntity": made, "usedEntity": used}
                    self._relate("wasDerivedFrom", {**ends, "activity": activity})

    def _entity(self, node: Node) -> str:
        if node.sort == "file":
            # A file is its content: the same name with other content is another entity.
            known = f"file:{_local(node.digest or node.name)}"
            about: dict[str, Any] = {
                "prov:type": _typed("pipshpc:File"),
                "prov:label": node.name,
                "prov:location": node.path,
            }
            about |= {"pipshpc:state": node.state} if node.state else {}
        else:
            known = f"pipshpc:{node.sort}-{_local(node.name)}-{_local(node.digest)}"
            about = {"prov:type": _typed(f"pipshpc:{PLAIN[node.sort]}"), "prov:label": node.name}
        if node.digest:
            about["pipshpc:digest"] = node.digest
        about |= {f"pipshpc:{key}": _plain(value) for key, value in node.facts.items() if value not in (None, "")}
        self.parts.setdefault("entity", {}).setdefault(known, about)
        return known

    def _agent(self, stack: Node) -> str:
        known = f"pipshpc:stack-{_local(stack.digest)}"
        label = f"pipshpc {stack.facts.get('pipshpc', '')}"
        about: dict[str, Any] = {"prov:type": _typed("prov:SoftwareAgent"), "prov:label": label}
        about |= {f"pipshpc:version-{_local(key)}": _plain(value) for key, value in stack.facts.items()}
        self.parts.setdefault("agent", {}).setdefault(known, about)
        return known

    def _relate(self, relation: str, ends: dict[str, str]) -> None:
        key = (relation, *ends.values())
        if key in self._seen:
            return
        self._seen.add(key)
        group = self.parts.setdefault(relation, {})
        group[f"_:{relation}{len(group) + 1}"] = {f"prov:{name}": value for name, value in ends.items()}


def to_prov(node: Node, down: bool = False) -> dict[str, Any]:
    """Return a tree of origins (or, with `down`, of what was made) as a PROV-JSON document."""
    document = Document()
    (document.take_down if down else document.take)(node)
    return document.parts


def _local(text: str) -> str:
    """Return text as the local part of a qualified name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in text).strip(".") or "unknown"


def _typed(name: str) -> dict[str, str]:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
