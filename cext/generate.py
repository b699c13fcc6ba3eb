"""Write the loops over arrays from the product cards and the point functions.

A point function takes numbers and gives a number (or fills ``real*``
outputs). Its loop reads each argument from a row, or from the parameter list,
and gives NaN wherever an input is NaN.
"""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# What every series function takes beside its inputs: days since the start, their number, pixels of the tile.
IMPLIED = [("constreal*", "day"), ("Py_ssize_t", "n"), ("Py_ssize_t", "width")]
TUPLE = re.compile(r"^(INPUTS|STATES|PARAMETERS|OUTPUTS) = (\(.*?\))$", re.MULTILINE | re.DOTALL)
SIGNATURE = re.compile(r"^cdef inline (real|void) (\w+)\(([^)]*)\) noexcept nogil:", re.MULTILINE)


@dataclass(frozen=True)
class Kernel:
    """A point function as its signature tells it."""

    family: str
    name: str
    rows: tuple[str, ...]  # arguments that vary by pixel
    parameters: tuple[str, ...]  # arguments that are one number for all pixels
    outputs: tuple[str, ...]  # names of ``real*`` outputs; empty: the return value
    order: tuple[str, ...]  # all arguments as the function takes them
    series: bool = False  # takes all time steps of a tile of pixels at once
    lengthy: tuple[str, ...] = ()  # outputs of a series that are series themselves
    by_hand: bool = False  # its row function is written by hand, in cext/<family>.pyx

    @property
    def key(self) -> str:
        return f"{self.family}.{self.name}"


def read_signatures(folder: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return {family.function: (result type, [(type, argument)])} of all point functions."""
    found = {}
    for path in sorted(folder.glob("*.pxd")):
        for result, name, arguments in SIGNATURE.findall(path.read_text(encoding="utf-8")):
            typed = []
            for argument in filter(None, (a.strip() for a in arguments.replace("\n", " ").split(","))):
                kind, _, label = argument.replace("*", "* ").rpartition(" ")
                typed.append((kind.replace(" ", ""), label))
            found[f"{path.stem}.{name}"] = (result, typed)
    return found


def read_row_functions(folder: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return the signatures of row functions that are written by hand: modules that say what their rows hold.

    Such a ``cext/<family>.pyx`` has the tuples INPUTS, STATES, PARAMETERS and
    OUTPUTS, and ADDRESS, that of a function with the arguments of a loop.
    """
    found = {}
    for path in sorted(folder.glob("*.pyx")):
        text = path.read_text(encoding="utf-8")
        if "\nADDRESS = " in text:
            parts = {n: ast.literal_eval(v) for n, v in TUPLE.findall(text)}
            taken = [("real", n) for n in parts["INPUTS"] + parts["STATES"] + parts["PARAMETERS"]]
            found[f"{path.stem}.row"] = ("by hand", taken + [("real*", n) for n in parts["OUTPUTS"]])
    return found


def read_kernels(cards: Path, pxds: Path) -> list[Kernel]:
    """Match each algorithm of each card with its point function.

    Raises
    ------
    ValueError
        Where a card names a function that is not there, or the function has
        an argument that is neither an input nor a parameter of the card.
    """
    signatures = read_signatures(pxds) | read_row_functions(pxds)
    kernels: dict[str, Kernel] = {}
    for path in sorted(cards.glob("*.yaml")):
        for algorithm in yaml.safe_load(path.read_text(encoding="utf-8"))["algorithms"]:
            loop = algorithm.get("loop", "pointwise")
            if loop not in ("pointwise", "stateful", "series"):
                continue
            key = algorithm["kernel"]
            if key not in signatures:
                raise ValueError(f"{path}: kernel '{key}' is not a 'cdef inline real' function of cext/*.pxd")
            _, arguments = signatures[key]
            if loop == "series":
                arguments = [a for a in arguments if a not in IMPLIED]
            parameters = set(algorithm.get("parameters") or {})
            inputs = set(algorithm["inputs"]) | set(algorithm.get("state") or {})
            rows = "constreal*" if loop == "series" else "real"
            names = [label for kind, label in arguments if kind in (rows, "real")]
            unknown = [n for n in names if n not in inputs | parameters]
            missing = [n for n in inputs | parameters if n not in names]
            if unknown or missing:
                raise ValueError(
                    f"{path}: kernel '{key}': arguments without input or parameter: {unknown}; "
                    f"inputs or parameters without argument: {missing}"
                )
            family, name = key.split(".")
            kernel = Kernel(
                family,
                name,
                tuple(n for n in names if n in inputs),
                tuple(n for n in names if n in parameters),
                tuple(label for kind, label in arguments if kind == "real*"),
                tuple(label for _, label in signatures[key][1]),
                loop == "series",
                tuple(algorithm.get("series_outputs") or ()),
                signatures[key][0] == "by hand",
            )
            _check_outputs(path, algorithm, kernel)
            if kernels.setdefault(key, kernel) != kernel:
                raise ValueError(f"{path}: kernel '{key}' is used elsewhere with other inputs or parameters")
    return list(kernels.values())


def _check_outputs(path: Path, algorithm: dict[str, Any], kernel: Kernel) -> None:
    """Hold that a step gives the state it changes, and that outputs that are named are there."""
    wanted = {f"next_{name}" for name in algorithm.get("state") or {}} | set(kernel.lengthy)
    if missing := sorted(wanted - set(kernel.outputs)):
        raise ValueError(f"{path}: kernel '{kernel.key}': wanted outputs {missing}, found {list(kernel.outputs)}")


def series_text(kernel: Kernel) -> str:
    """Return the Cython source of the call of one series function."""
    given = {n: f"rows[{k}]" for k, n in enumerate(kernel.rows)}
    given |= {n: f"par[{k}]" for k, n in enumerate(kernel.parameters)}
    given |= {n: f"outs[{k}]" for k, n in enumerate(kernel.outputs)}
    arguments = ", ".join(given.get(n, n) for n in kernel.order)
    return (
        f"cdef void tile_{kernel.family}_{kernel.name}(\n"
        "        const real* const* rows, const real* day, const real* par, real* const* outs, Py_ssize_t n,\n"
        "        Py_ssize_t width) noexcept nogil:\n"
        f"    f_{kernel.family}_{kernel.name}({arguments})\n"
    )


def loop_text(kernel: Kernel) -> str:
    """Return the Cython source of one loop."""
    outs = kernel.outputs or ("result",)
    arguments = ", ".join(
        f"&v_{n}" if n in kernel.outputs else (f"a_{n}[i]" if n in kernel.rows else f"p_{n}") for n in kernel.order
    )
    call = f"f_{kernel.family}_{kernel.name}({arguments})"
    lines = [f"cdef void row_{kernel.family}_{kernel.name}("]
    lines.append("        const real* const* rows, const real* par, real* const* outs, Py_ssize_t n) noexcept nogil:")
    lines += [f"    cdef in_row a_{n} = rows[{k}]" for k, n in enumerate(kernel.rows)]
    lines += [f"    cdef real p_{n} = par[{k}]" for k, n in enumerate(kernel.parameters)]
    lines += [f"    cdef out_row o_{n} = outs[{k}]" for k, n in enumerate(outs)]
    lines += [f"    cdef real v_{n}" for n in outs]
    lines += ["    cdef real seen", "    cdef Py_ssize_t i", "    for i in range(n):"]
    lines.append("        seen = " + " + ".join(f"a_{n}[i]" for n in kernel.rows))
    lines.append(f"        {call}" if kernel.outputs else f"        v_result = {call}")
    lines += [f"        o_{n}[i] = v_{n} if seen == seen else seen" for n in outs]
    return "\n".join(lines) + "\n"


def _imports(kernels: list[Kernel]) -> str:
    return "\n".join(
        f"from cext.{k.family} cimport {k.name} as f_{k.family}_{k.name}" for k in sorted(kernels, key=lambda k: k.key)
    )


def tiles_text(kernels: list[Kernel]) -> str:
    """Return the Cython source of the module of all series functions."""
    table = "\n".join(
        f'    "{k.key}": Series(<size_t>tile_{k.family}_{k.name}, {k.rows!r}, {k.parameters!r}, {k.outputs!r}, '
        f"{k.lengthy!r}),"
        for k in kernels
    )
    calls = "\n\n".join(series_text(k) for k in kernels)
    return f'''"""Functions of series, listed by cext/generate.py from the product cards. Do not edit."""

from cext.vecmath cimport real
{_imports(kernels)}
from typing import NamedTuple


class Series(NamedTuple):
    """One series function; `lengthy` are the outputs with a value for each time step."""

    address: int
    rows: tuple
    parameters: tuple
    outputs: tuple
    lengthy: tuple


{calls}

SERIES = {{
{table}
}}
'''


def module_text(kernels: list[Kernel], digest: str) -> str:
    """Return the Cython source of the module of all loops."""
    written = [k for k in kernels if not k.by_hand]
    loops = "\n\n".join(loop_text(k) for k in written)
    others = "".join(f"from pipshpc import _{k.family}\n" for k in kernels if k.by_hand)
    table = "\n".join(
        f'    "{k.key}": Loop({f"_{k.family}.ADDRESS" if k.by_hand else f"<size_t>row_{k.family}_{k.name}"}, '
        f"{k.rows!r}, {k.parameters!r}, {k.outputs or ('result',)!r}),"
        for k in kernels
    )
    return f'''"""Loops over rows, written by cext/generate.py from the product cards. Do not edit."""

from cext.vecmath cimport real, in_row, out_row
{_imports(written)}
from typing import NamedTuple
{others}

class Loop(NamedTuple):
    """One compiled loop: address of the C function and the names of what it takes and gives."""

    address: int
    rows: tuple
    parameters: tuple
    outputs: tuple


{loops}

LOOPS = {{
{table}
}}
REAL_BYTES = sizeof(real)
DIGEST = "{digest}"
'''


def source_digest(pxds: Path, flags: list[str]) -> str:
    """Return a digest of all point functions and of the flags they are compiled with."""
    digest = hashlib.sha256(" ".join(flags).encode())
    for path in sorted(
        [*pxds.glob("*.pxd"), *pxds.glob("*.h"), pxds / "chain.pyx", pxds / "snobal.pyx", pxds / "generate.py"]
    ):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def write_loops(cards: Path, pxds: Path, folder: Path, flags: list[str]) -> tuple[Path, Path]:
    """Write ``_loops.pyx`` and ``_tiles.pyx`` (only where they changed, for a quick rebuild) and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kernels = read_kernels(cards, pxds)
    texts = {
        folder / "_loops.pyx": module_text([k for k in kernels if not k.series], source_digest(pxds, flags)),
        folder / "_tiles.pyx": tiles_text([k for k in kernels if k.series]),
    }
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    loops, tiles = texts
    return loops, tiles
