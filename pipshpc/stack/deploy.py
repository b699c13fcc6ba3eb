"""Deploying: a stack is built under a hidden name, proven there, then named, given modulefiles, and made the default.

Nothing that was there before changes until the new stack has passed its
proof. An interrupted deployment leaves a hidden folder, which the next one
removes; the wheels that it had made are kept, and used.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

from pipshpc.errors import SiteError
from pipshpc.site import Site
from pipshpc.stack.foundation import Foundation, find_foundation
from pipshpc.stack.info import StackInfo
from pipshpc.stack.intact import changes, write_record
from pipshpc.stack.modulefile import version_of, write_modulefiles
from pipshpc.stack.shelf import VERIFIED, Shelf
from pipshpc.stack.spec import Declaration, parse_lock, source_digest, stack_digest
from pipshpc.stack.verify import Bench, Proof
from pipshpc.stack.wheels import Workshop, call, full_disk

Tell = Callable[[str], None]
T = TypeVar("T")
# A script finds the Python beside it, so a stack can be copied or mounted anywhere.
SCRIPT = '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python3" "$0" "$@"\n\' \'\'\'\n'
# Seconds of each step on 2 cores, the first time and with what is kept; this machine's own are taken once known.
SECONDS = {
    "fetch": (40, 1),
    "packages": (30, 30),
    "h5py": (120, 2),
    "pipshpc": (240, 2),
    "finish": (25, 25),
    "verify": (20, 20),
}
TIMES = "stack-times.json"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be deployed, where, and from what.

    Parameters
    ----------
    declared : the stack
    site : of which the modules are
    prefix : folder of deployed stacks
    source : source tree of pipshpc
    cache : folder of wheels
    offline : fetch nothing, build nothing but from what is in the cache
    again : the command that was given, for advice
    """

    declared: Declaration
    site: Site
    prefix: Path
    source: Path
    cache: Path
    offline: bool = False
    again: str = ""


class Step(msgspec.Struct, frozen=True):
    """One step of a deployment, whether what it needs is kept from before, and how long it takes."""

    name: str
    kept: bool
    seconds: float
    measured: bool


class Outline(msgspec.Struct, frozen=True):
    """What a deployment will do."""

    info: StackInfo
    facts: dict[str, str]
    steps: list[Step]
    deployed: bool
    changed: str = ""

    @property
    def seconds(self) -> float:
        """How long all steps take."""
        return 0.0 if self.deployed and not self.changed else sum(step.seconds for step in self.steps)


class Result(msgspec.Struct, frozen=True):
    """What a deployment did."""

    info: StackInfo
    proof: Proof
    made: bool
    active: str
    before: str
    seconds: dict[str, float]
    notes: list[str]


@dataclass
class Deployment:
    """One deployment, from the order to the default.

    `tell` is called with the name of each step as it begins.
    """

    order: Order
    foundation: Foundation
    tell: Tell = lambda _: None
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, order: Order, install: bool, tell: Tell = lambda _: None) -> Deployment:
        """Find what the stack stands on."""
        tell("find compilers, MPI, HDF5, Python")
        offline = order.offline and not install
        found = find_foundation(order.declared.stack, order.site, order.prefix, install and not offline, order.again)
        return cls(order, found, tell)

    @cached_property
    def source(self) -> str:
        """Digest of the sources of pipshpc, as they were at the beginning; empty where they are not part of it."""
        return source_digest(self.order.source) if self.order.declared.stack.pipshpc else ""

    @cached_property
    def info(self) -> StackInfo:
        """What the stack will be called, and what its module sets."""
        order, stack = self.order, self.order.declared.stack
        digest = stack_digest(order.declared, self.foundation.facts, self.source)
        plain = StackInfo(name=stack.name, version=stack.version, digest=digest, prefix="")
        prefix = order.prefix.absolute() / stack.name / version_of(plain)
        return msgspec.structs.replace(
            plain,
            prefix=str(prefix),
            environment={key: value.replace("{prefix}", str(prefix)) for key, value in stack.environment.items()},
            prepend={"PATH": [str(prefix / "bin")]},
            modules=self.foundation.modules,
            conflicts=stack.conflicts,
            description=stack.title,
        )

    def outline(self) -> Outline:
        """Say what would be done, without doing it."""
        info, order = self.info, self.order
        shelf, shop = Shelf(order.prefix, info.name), self.workshop(Path(info.prefix), order.cache)
        stack = order.declared.stack
        kept = {"fetch": all(shop.has_lock(text) for text in order.declared.locks.values())}
        if stack.built:
            key = order.cache / "wheels" / shop.native_key()
            kept["h5py"] = any(key.glob("*.whl"))
        if stack.pipshpc:
            kept["pipshpc"] = shop.own_wheel(shop.own_key(self.source, order.declared.locks)) is not None
        times = read_times(order.cache)
        steps = []
        for name, guess in SECONDS.items():
            if name in kept or name in ("packages", "finish", "verify"):
                known = times.get(f"{info.name} {name} {'kept' if kept.get(name) else 'new'}")
                seconds = guess[1] if kept.get(name) else guess[0]
                steps.append(Step(name, kept.get(name, False), known or float(seconds), known is not None))
        there = version_of(info) in shelf.versions()
        changed = changes(Path(info.prefix)) if there else ""
        return Outline(info, self.foundation.facts, steps, there, changed)

    def workshop(self, prefix: Path, logs: Path) -> Workshop:
        """Return where the wheels for a Python below `prefix` come from."""
        order = self.order
        return Workshop(order.cache, prefix / "bin" / "python3", self.foundation, logs, order.offline, order.again)

    def run(self, activate: bool = True) -> Result:
        """Build, prove, name, and make it the default.

        Raises
        ------
        PipshpcError
            Something is missing, damaged or full, or the proof failed; what was the default is still.
        """
        info, order = self.info, self.order
        shelf = Shelf(order.prefix, info.name)
        with shelf.lock(lambda who: self.tell(f"wait for {who}, who deploys {info.name} here")):
            if left := shelf.clean():
                self.notes.append(f"removed what an interrupted deployment left: {', '.join(left)}")
            version = version_of(info)
            made = version not in shelf.versions() or bool(changes(Path(info.prefix)))
            proof = self._make(shelf, info) if made else read_proof(Path(info.prefix))
            if not shelf.is_loadable(info):  # it was interrupted between name and modulefile
                write_modulefiles(shelf.modulefiles, info)
            before = shelf.active()
            if activate:
                self.tell("activate")
                before = shelf.activate(version)
            return Result(info, proof, made, shelf.active(), before, self.seconds, self.notes)

    def _make(self, shelf: Shelf, info: StackInfo) -> Proof:
        building = shelf.building()
        try:
            return self._build(shelf, info, building)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full_disk(self.order.prefix, self.order.cache) from error
            raise SiteError(f"{error.filename or building}: {error.strerror}; then: {self.order.again}") from error
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _build(self, shelf: Shelf, info: StackInfo, building: Path) -> Proof:
        prefix, logs, declared = building / "prefix", building / "logs", self.order.declared
        logs.mkdir(parents=True)
        shop = self.workshop(prefix, logs)
        self._timed("fetch", all(map(shop.has_lock, declared.locks.values())), lambda: self._fetch(shop))
        self._space(shop, declared)
        self._timed("packages", False, lambda: self._packages(shop, prefix))
        if declared.built:
            there = any((self.order.cache / "wheels" / shop.native_key()).glob("*.whl"))
            self._timed("h5py", there, lambda: self._native(shop))
        if declared.stack.pipshpc:
            key = shop.own_key(self.source, declared.locks)
            self._timed("pipshpc", shop.own_wheel(key) is not None, lambda: self._own(shop, key, prefix))
        self._timed("finish", False, lambda: self._finish(shop, prefix, info))
        proof = self._timed("verify", False, lambda: self._prove(prefix, info))
        (prefix / VERIFIED).write_bytes(msgspec.json.format(msgspec.json.encode(proof)) + b"\n")
        (prefix / "declared.json").write_bytes(msgspec.json.format(msgspec.json.encode(self._kept(declared))) + b"\n")
        write_record(prefix, info)
        shelf.publish(prefix, info)
        write_times(self.order.cache, info.name, self.seconds)
        return proof

    def _kept(self, declared: Declaration) -> dict[str, object]:
        """Return what a deployed stack needs to be proven again: its declaration, and the launcher of its ranks."""
        return {
            "declared": declared,
            "mpiexec": self.foundation.found.get("mpiexec", ""),
            "modules": self.foundation.modules,
        }

    def _timed(self, name: str, kept: bool, act: Callable[[], T]) -> T:
        self.tell(f"{name}{', from the cache' if kept else ''}")
        begin = time.monotonic()
        result = act()
        self.seconds[f"{name} {'kept' if kept else 'new'}"] = round(time.monotonic() - begin, 2)
        return result

    def _fetch(self, shop: Workshop) -> None:
        for name, text in self.order.declared.locks.items():
            if mended := shop.fetch(name, text):
                self.notes.append(f"damaged in the cache, fetched again: {', '.join(mended)}")

    def _space(self, shop: Workshop, declared: Declaration) -> None:
        """Say before minutes of work that a disk is too small: wheels unpack to about four times their size."""
        files = [path for text in declared.locks.values() for path in shop.files_of(text)]
        needed = 4 * sum(path.stat().st_size for path in files if path.is_file())
        if shutil.disk_usage(self.order.prefix).free < needed:
            raise full_disk(self.order.prefix, self.order.cache)

    def _packages(self, shop: Workshop, prefix: Path) -> None:
        base = self.foundation.found["python"]
        call([base, "-m", "venv", "--without-pip", "--symlinks", str(prefix)], shop.environment, "venv", shop)
        for name, text in self.order.declared.locks.items():
            shop.install_lock(name, text)

    def build_wheels(self, shop: Workshop, prefix: Path) -> list[Path]:
        """Return the kept wheels of what is built here, with their checksums; build them in `prefix` where missing."""
        order, built = self.order, []
        locks, key = order.declared.locks, ""
        if order.declared.stack.pipshpc:
            key = shop.own_key(self.source, locks)
        native = order.cache / "wheels" / shop.native_key() if order.declared.built else None
        if (native and not any(native.glob("*.whl"))) or (key and shop.own_wheel(key) is None):
            self._packages(shop, prefix)
        for name, text in order.declared.built.items():
            built += [shop.build_native(entry.name, name, text) for entry in parse_lock(text, name)]
        if key:
            built.append(shop.build_own(key, order.source, locks, self.source))
        return [path for wheel in built for path in (wheel, wheel.with_name(f"{wheel.name}.sha256"))]

    def _native(self, shop: Workshop) -> None:
        for name, text in self.order.declared.built.items():
            for entry in parse_lock(text, name):
                shop.install_wheel(shop.build_native(entry.name, name, text))

    def _own(self, shop: Workshop, key: str, prefix: Path) -> None:
        shop.install_wheel(shop.build_own(key, self.order.source, self.order.declared.locks, self.source))
        packages = next((prefix / "lib").glob("python*/site-packages"))
        # Sites, stacks and templates, where pipshpc looks for them beside its package.
        shutil.copytree(self.order.source / "envs", packages / "envs", dirs_exist_ok=True)

    def _finish(self, shop: Workshop, prefix: Path, info: StackInfo) -> None:
        """Take the place out of what was installed, and compile it."""
        make_relocatable(prefix, Path(self.foundation.found["python"]))
        python = str(prefix / "bin" / "python3")
        # Not by time: a copy or an image has other times. Some packages hold files that no Python of today can read.
        words = [
            "-I",
            "-m",
            "compileall",
            "-q",
            "-x",
            r"/tests?/",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            str(prefix),
        ]
        words += ["-p", info.prefix, str(prefix / "lib")]
        subprocess.run([python, *words], env=shop.environment, capture_output=True, check=False)
        shutil.copytree(shop.logs, prefix / "share" / "logs", dirs_exist_ok=True)

    def _prove(self, prefix: Path, info: StackInfo) -> Proof:
        bench = Bench(
            prefix, self.order.declared, self.foundation.environment, self.foundation.found.get("mpiexec", "")
        )
        return bench.prove(info.digest, self.tell)


def make_relocatable(prefix: Path, python: Path) -> None:
    """Take the folder in which a stack was built out of its scripts and records."""
    (prefix / "pyvenv.cfg").write_text(f"home = {python.resolve().parent}\ninclude-system-site-packages = false\n")
    for path in (prefix / "bin").iterdir():
        if path.name.lower().startswith("activate"):
            path.unlink()
        elif path.is_file() and not path.is_symlink():
            head, _, rest = path.read_bytes().partition(b"\n")
            if head.startswith(b"#!") and b"python" in head:
                path.write_bytes(SCRIPT.encode() + rest)
            elif head == b"#!/bin/sh" and rest.startswith(b"'''exec' "):  # of a folder too long for the first line
                path.write_bytes(SCRIPT.encode() + rest.split(b"\n' '''\n", 1)[1])
    for path in prefix.glob("lib/python*/site-packages/*.dist-info/direct_url.json"):
        record = path.with_name("RECORD")
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if "/direct_url.json," not in line))
        path.unlink()


def prove_again(prefix: Path, environment: Callable[[list[str]], dict[str, str]], tell: Tell = lambda _: None) -> Proof:
    """Prove a deployed stack again, and say where its files or its numbers are no longer what they were.

    Parameters
    ----------
    environment : gives that of a shell that has loaded modules

    Raises
    ------
    SiteError
        A check failed, files were changed, or a number differs from that of the deployment.
    """
    from pipshpc.stack.verify import differences

    then = read_proof(prefix)
    try:
        kept = json.loads((prefix / "declared.json").read_bytes())
        declared = msgspec.convert(kept["declared"], Declaration)
    except (OSError, ValueError, KeyError) as error:
        raise SiteError(f"{prefix}: has no declaration ({error}); `pipshpc stack deploy` makes it again") from error
    name = declared.stack.name
    if changed := changes(prefix):
        raise SiteError(
            f"{prefix} was changed since it was deployed: {changed}; `pipshpc stack deploy {name}` makes it again"
        )
    now = Bench(prefix, declared, environment(kept["modules"]), kept["mpiexec"]).prove(then.digest, tell)
    if told := differences(then, now):
        raise SiteError(
            f"{prefix}: deployed and now differ in {len(told)} numbers: {'; '.join(told[:3])}; "
            f"`pipshpc stack deploy {name}` makes a stack for this machine as it is"
        )
    return now


def read_proof(prefix: Path) -> Proof:
    """Return what was proven of a stack when it was deployed.

    Raises
    ------
    SiteError
        There is no such record.
    """
    try:
        return msgspec.json.decode((prefix / VERIFIED).read_bytes(), type=Proof)
    except (OSError, msgspec.DecodeError) as error:
        raise SiteError(
            f"{prefix / VERIFIED}: cannot be read ({error}); `pipshpc stack deploy` makes it again"
        ) from error


def read_times(cache: Path) -> dict[str, float]:
    """Return how long the steps of earlier deployments took."""
    try:
        return msgspec.json.decode((cache / TIMES).read_bytes(), type=dict[str, float])
    except (OSError, msgspec.DecodeError):
        return {}


def write_times(cache: Path, name: str, seconds: dict[str, float]) -> None:
    """Keep how long steps took, for the next estimate; that is not worth an error."""
    part = cache / f"{TIMES}.{os.getpid()}"
    try:
        known = read_times(cache) | {f"{name} {step}": spent for step, spent in seconds.items()}
        part.write_bytes(msgspec.json.encode(known))
        part.replace(cache / TIMES)
    except OSError:
        part.unlink(missing_ok=True)
