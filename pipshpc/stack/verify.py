"""Proof that a stack works: imports, versions, ranks, parallel HDF5, worked examples, the content of a small product.

Everything runs in the stack's own Python, with the environment that its
module sets. What comes out is numbers without times and places, so that two
deployments can be compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipshpc.errors import SiteError
from pipshpc.schema import Record
from pipshpc.stack.spec import Declaration, Locked, parse_lock

SECONDS = 300
# What matters to jobs, where it is in a lock.
MODULES = {"numpy": "numpy", "mpi4py": "mpi4py.MPI", "netcdf4": "netCDF4", "h5py": "h5py", "parsl": "parsl"}
INSPECT = """
import importlib, importlib.metadata, json, re, sys
named = {re.sub(r"[-_.]+", "-", d.name).lower(): d.version for d in importlib.metadata.distributions()}
failed = {}
if "mpi4py" in named:
    import mpi4py
    mpi4py.rc.initialize = False
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"
if "h5py" in named and "h5py" in sys.modules and sys.argv[2] == "mpi" and not sys.modules["h5py"].get_config().mpi:
    failed["h5py"] = "it was built without MPI"
print(json.dumps({"packages": named, "failed": failed}))
"""
RANKS = """
import json
from mpi4py import MPI
comm = MPI.COMM_WORLD
total = comm.allreduce(comm.rank + 1)
if comm.rank == 0:
    print(json.dumps({"ranks": comm.size, "sum": total}))
"""


class Check(Record, frozen=True):
    """One part of the proof, with its numbers."""

    name: str
    numbers: dict[str, Any]


class Proof(Record, frozen=True):
    """All that was proven of a stack; `numbers` are the same wherever the same stack is deployed."""

    digest: str
    numbers: dict[str, Any]


class Bench:
    """Runs the checks of one stack.

    Parameters
    ----------
    prefix : of the stack, or the folder in which it is built
    declared : the stack and its locks
    environment : in which its foundation is found
    mpiexec : launcher of its MPI; empty where it has none
    """

    def __init__(self, prefix: Path, declared: Declaration, environment: Mapping[str, str], mpiexec: str) -> None:
        self.prefix, self.declared, self.mpiexec = prefix, declared, mpiexec
        kept = {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
        set_here = {k: v.replace("{prefix}", str(prefix)) for k, v in declared.stack.environment.items()}
        path = f"{prefix / 'bin'}{os.pathsep}{kept.get('PATH', os.defpath)}"
        self.environment = {**kept, **set_here, "PATH": path, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        # Two ranks on a machine that may have one core free; root has to say twice that it is meant.
        self.environment |= {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMP_NUM_THREADS": "1"}
        if os.getuid() == 0:
            self.environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

    @property
    def checks(self) -> list[tuple[str, Callable[[Path], dict[str, Any]]]]:
        """The checks that this stack can be put to, in their order."""
        stack = self.declared.stack
        names = {entry.name for entry in self._entries()}
        wanted: list[tuple[str, Callable[[Path], dict[str, Any]], bool]] = [
            ("packages", self._packages, True),
            ("tools", self._tools, bool(stack.tools)),
            ("ranks", self._ranks, "mpi4py" in names and bool(self.mpiexec)),
            ("parallel hdf5", self._trial("parallel-hdf5"), stack.pipshpc and "h5py" in names),
            ("kernels", self._kernels, stack.pipshpc),
            ("product", self._trial("product"), stack.pipshpc),
        ]
        return [(name, check) for name, check, needed in wanted if needed]

    def prove(self, digest: str, tell: Callable[[str], None] = lambda _: None) -> Proof:
        """Run all checks.

        Raises
        ------
        SiteError
            One failed; the message says which, what was found and what is wanted.
        """
        numbers: dict[str, Any] = {}
        with tempfile.TemporaryDirectory(prefix="pipshpc-stack-") as folder:
            for name, check in self.checks:
                tell(f"verify: {name}")
                numbers[name] = check(Path(folder))
        return Proof(digest=digest, numbers=numbers)

    def _entries(self) -> list[Locked]:
        texts = {**self.declared.locks, **self.declared.built}
        return [entry for name, text in texts.items() for entry in parse_lock(text, name)]

    def _packages(self, folder: Path) -> dict[str, Any]:
        entries: dict[str, list[Locked]] = {}
        for entry in self._entries():
            entries.setdefault(entry.name, []).append(entry)
        stack = self.declared.stack
        modules = [module for name, module in MODULES.items() if name in entries] + stack.imports
        modules += ["pipshpc.kernel"] if stack.pipshpc else []
        found = self._python(folder, ["-c", INSPECT, json.dumps(modules), "mpi" if stack.built else ""], "imports")
        if found["failed"]:
            told = "; ".join(f"{name} ({why})" for name, why in found["failed"].items())
            raise self._error("imports", f"found that these do not import: {told}")
        packages: dict[str, str] = found["packages"]
        wrong = []
        for name, several in entries.items():
            versions = [entry.version for entry in several]
            absent = name not in packages and any(not entry.marker for entry in several)
            if absent or packages.get(name, versions[0]) not in versions:
                wrong.append(f"{name} {packages.get(name, 'missing')}, wanted {' or '.join(versions)}")
        if wrong:
            raise self._error("versions", f"found {'; '.join(wrong)}")
        return {"imported": len(modules), "versions": dict(sorted(packages.items()))}

    def _tools(self, folder: Path) -> dict[str, Any]:
        found = {}
        for name, tool in self.declared.stack.tools.items():
            done = self._run(tool.command, folder, name)
            lines = (done.stdout + done.stderr).strip().splitlines()
            if done.returncode or not lines:
                raise self._error(name, f"'{' '.join(tool.command)}' ended with exit code {done.returncode}")
            found[name] = next((line for line in lines if any(c.isdigit() for c in line)), lines[0]).strip()
        return found

    def _ranks(self, folder: Path) -> dict[str, Any]:
        found = self._python(folder, ["-c", RANKS], "ranks", ranks=2)
        if found != {"ranks": 2, "sum": 3}:
            raise self._error("ranks", f"found {found}, wanted 2 ranks of one world; mpi4py talks to another MPI")
        return found

    def _kernels(self, folder: Path) -> dict[str, Any]:
        found = self._python(folder, ["-m", "pipshpc.probe", "kernels"], "kernels")
        if found["wrong"]:
            raise self._error(
                "kernels", f"{len(found['wrong'])} worked examples differ: {'; '.join(found['wrong'][:3])}"
            )
        return found

    def _trial(self, name: str) -> Callable[[Path], dict[str, Any]]:
        return lambda folder: self._python(folder, ["-m", "pipshpc.probe", name, str(folder)], name, ranks=2)

    def _python(self, folder: Path, words: list[str], what: str, ranks: int = 0) -> dict[str, Any]:
        """Run the stack's Python, on MPI ranks if there are any, and read the last line that it writes as JSON."""
        start = [self.mpiexec, "-n", str(ranks)] if ranks else []
        done = self._run([*start, str(self.prefix / "bin" / "python3"), *words], folder, what)
        try:
            answer = json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, json.JSONDecodeError):
            answer = None
        if done.returncode or not isinstance(answer, dict):
            lines = [line.strip(" -") for line in done.stderr.splitlines() if line.strip(" -")]
            said = next((s for s in reversed(lines) if "Error" in s), lines[-1] if lines else f"code {done.returncode}")
            raise self._error(what, said)
        return answer

    def _run(self, words: list[str], folder: Path, what: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "TMPDIR": str(folder)}
        try:
            return subprocess.run(
                words,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise self._error(what, f"no answer in {SECONDS} s") from error
        except OSError as error:
            raise self._error(what, f"{words[0]}: {error.strerror}") from error

    def _error(self, what: str, found: str) -> SiteError:
        name = self.declared.stack.name
        return SiteError(
            f"stack {name} in {self.prefix} did not pass '{what}': {' '.join(found.split())}; it was not activated; "
            f"`pipshpc doctor` says what of MPI and HDF5 works here, `pipshpc stack deploy {name}` builds it again"
        )


def differences(one: Proof, other: Proof) -> list[str]:
    """Return what two proofs say differently, one line each."""
    return _compare("", one.numbers, other.numbers)


def _compare(place: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = list(dict.fromkeys([*one, *other]))
        return [line for key in keys for line in _compare(f"{place}/{key}", one.get(key), other.get(key))]
    return [] if one == other else [f"{place.lstrip('/')}: {one} and {other}"]
