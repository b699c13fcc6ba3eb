"""Make a product file again from its own record, and compare it bit for bit with what it says."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipshpc.digest import content_digest
from pipshpc.errors import InputError, OutputError
from pipshpc.inventory.item import path_id
from pipshpc.inventory.lineage import current_digest, find_item
from pipshpc.inventory.stac import sidecar
from pipshpc.record import INPUTS, STACK, TASK, software, stack_digest, unpack
from pipshpc.schema import Record
from pipshpc.site import launch_command, load_site
from pipshpc.task import Task, write_task

if TYPE_CHECKING:
    from pipshpc.inventory.store import Inventory

LONGEST_TAIL = 600  # characters of what failed ranks said


class Rebuilt(Record, frozen=True):
    """What came of making a file again.

    Parameters
    ----------
    file, task : what was to be made
    same : whether the new file says the same as the record, bit for bit; None where it could not be made
    digest, recorded : content digests of the new file, and of the old one when it was published
    made : path of the new file
    differs : what stands against it, or explains a difference: inputs, kernels, static fields, cards, software
    """

    file: str
    task: str
    same: bool | None
    digest: str = ""
    recorded: str = ""
    made: str = ""
    differs: list[str] = []


def rebuild(stock: Inventory | None, path: str | Path, scratch: str | Path, ranks: int = 1) -> Rebuilt:
    """Make a product file again in a scratch folder.

    Inputs that moved are found by their digests where the inventory knows
    them. Where an input, the kernels or a static field is not what it was,
    nothing is computed, and the differences are named; nor is anything with 0 `ranks`.

    Raises
    ------
    InputError
        Where the file has no record.
    OutputError
        Where the ranks failed.
    """
    item = find_item(stock, path)
    path = Path(item.path if item else os.path.abspath(path))  # noqa: PTH100
    properties = find_record(stock, path)
    task = unpack(properties[TASK], str(path))
    recorded = str(properties["pipshpc:digest"])
    facts: dict[str, Any] = {"file": str(path), "task": str(properties["pipshpc:task"]), "recorded": recorded}
    paths, against = find_inputs(stock, properties.get(INPUTS, {}))
    against += _machine_differs(task, facts["task"])
    if against or not ranks:
        return Rebuilt(**facts, same=None, differs=against)
    made = _make(task, [paths[p] for p in properties.get(INPUTS, {})], Path(scratch), ranks)
    target = made / f"{properties['pipshpc:product']}.nc"
    (made / "products" / _name(task, str(properties["pipshpc:product"]))).replace(target)
    digest = content_digest(target)
    differs = _file_differs(path, recorded)
    if digest != recorded:
        differs += _software_differs(properties)
    return Rebuilt(**facts, same=digest == recorded, digest=digest, made=str(target), differs=differs)


def find_record(stock: Inventory | None, path: Path) -> dict[str, Any]:
    """Return the properties of the STAC item of a file: beside it, or beside a file of equal content.

    Raises
    ------
    InputError
        Where there is none, or it holds no record.
    """
    properties: dict[str, Any] = sidecar(path).get("properties", {})
    if not properties and stock is not None and path.is_file():
        digest = content_digest(path)
        for twin in stock.with_digest(digest):
            properties = properties or sidecar(twin.path).get("properties", {})
    if TASK not in properties:
        raise InputError(
            f"{path}: has no record of its task beside it; keep the STAC item (.json) with the file, or take in the "
            "folder that it was made in with 'pipshpc ingest'"
        )
    return properties


def find_inputs(stock: Inventory | None, inputs: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return where each input is now, and what is wrong with those that are nowhere as they were used."""
    found: dict[str, str] = {}
    wrong = []
    for path, digest in inputs.items():
        here = Path(path).is_file()
        if here and current_digest(path) == digest:
            found[path] = path
            continue
        others = stock.with_digest(digest) if stock is not None else []
        other = next((o.path for o in others if Path(o.path).is_file() and current_digest(o.path) == digest), None)
        if other is not None:
            found[path] = other
            continue
        known = stock.get(path_id(path)) if stock is not None else None
        why = "has other content now" if here else "is gone"
        if known is not None and known.withdrawn:
            why += f", withdrawn {known.withdrawn:%Y-%m-%d %H:%M} UTC"
        wrong.append(f"input {path} {why}; it was used with digest {digest}")
    return found, wrong


def _machine_differs(task: Task, recorded_id: str) -> list[str]:
    """Name what of this installation does not let the task be made as it was."""
    from pipshpc.kernel import kernel_digest
    from pipshpc.statics import open_static, static_path

    wrong = []
    if task.kernels != kernel_digest():
        wrong.append(f"kernels have digest {kernel_digest()} here, the file was made with {task.kernels}")
    for name, digest in task.statics.items():
        base = name.removesuffix("_in")
        here = open_static(base).identity if static_path(base).is_file() else "none"
        if here != digest:
            wrong.append(f"static field {name} has digest {here} here, the file was made with {digest}")
    if not wrong and task.id != recorded_id:
        wrong.append(f"this version of pipshpc takes the task for {task.id}, not {recorded_id}; use the one it records")
    return wrong


def _software_differs(properties: dict[str, Any]) -> list[str]:
    if properties.get(STACK) == stack_digest():
        return []
    then, now = properties.get("pipshpc:software", {}), software()
    changed = [f"{k} {then.get(k, 'none')} then, {now.get(k, 'none')} now" for k in sorted(then | now)]
    changed = [line for k, line in zip(sorted(then | now), changed, strict=True) if then.get(k) != now.get(k)]
    return [f"stack {properties.get(STACK)} then, {stack_digest()} now", *changed]


def _file_differs(path: Path, recorded: str) -> list[str]:
    """Say whether the old file still is what it was when it was published."""
    if not path.is_file():
        return [f"{path} itself is gone"]
    try:
        found = content_digest(path)
    except InputError as error:
        return [f"the old file is damaged: {error}"]
    return [] if found == recorded else [f"{path} itself has changed since it was published: it has digest {found} now"]


def _name(task: Task, product: str) -> str:
    return task.path(product).name


def _make(task: Task, paths: list[str], scratch: Path, ranks: int) -> Path:
    """Run a task on its inputs, with its output in the scratch folder; return the folder of this rebuild."""
    folder = scratch.absolute() / f"rebuild-{task.id}"
    forcing = msgspec.structs.replace(task.forcing, paths=[glob.escape(p) for p in paths]) if paths else task.forcing
    own = msgspec.structs.replace(task, forcing=forcing, output_dir=str(folder / "products"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_task(own, folder / "task.json")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror}); name another scratch folder") from error
    words = [sys.executable, "-m", "pipshpc.run", str(folder / "task.json")]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        launch_command(load_site("local"), ranks, 1, words), capture_output=True, text=True, check=False,
        env=environment,
    )  # fmt: skip
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-LONGEST_TAIL:]
        raise OutputError(f"{folder}: the ranks ended with code {done.returncode}: {said}")
    return folder
