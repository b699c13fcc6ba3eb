"""Reference vectors as columns."""

import csv
import ctypes
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Table = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def vectors(shared: Path) -> Callable[[str], Table]:
    """Return a reader of reference/<name>.csv: columns as float64, or as text where they are not numbers."""

    def read(name: str) -> Table:
        path = shared / "reference" / f"{name}.csv"
        if not path.exists():
            pytest.skip(f"no {path}")
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        table = {}
        for column in rows[0]:
            values = [row[column] for row in rows]
            try:
                table[column] = np.array([float(v) if v else np.nan for v in values])
            except ValueError:
                table[column] = np.array(values)
        return table

    return read


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def float64(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, np.ndarray]]:
    """Return a caller of point functions compiled in double precision: float64("family.function", a=..., b=...).

    The same sources, -DPIPS_DOUBLE, without vectorisation; any `cdef inline`
    function that takes numbers, also those that no card names.
    """
    if importlib.util.find_spec("Cython") is None or shutil.which("gcc") is None:
        pytest.skip("Cython and gcc are needed to build the point functions in double precision")
    sys.path.insert(0, str(ROOT / "cext"))
    import generate

    kernels = []
    for key, (result, arguments) in generate.read_signatures(ROOT / "cext").items():
        family, name = key.split(".")
        if family in ("turbulence", "roughness", "flux", "evaporation", "ocean", "soil", "tseb", "npp"):
            rows = tuple(n for kind, n in arguments if kind == "real")
            outputs = tuple(n for kind, n in arguments if kind == "real*")
            if (result == "real" or outputs) and not set(outputs) & {"now", "transfer", "tair"}:  # those are read, too
                kernels.append(generate.Kernel(family, name, rows, (), outputs, tuple(n for _, n in arguments)))
    folder = tmp_path_factory.mktemp("float64")
    source = folder / "_loops64.pyx"
    source.write_text(generate.module_text(kernels, "float64"), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "-X", "cdivision=True", "-I", str(ROOT), str(source)], check=True
    )
    target = folder / f"_loops64{sysconfig.get_config_var('EXT_SUFFIX')}"
    headers = [f"-I{ROOT / 'cext'}", f"-I{sysconfig.get_path('include')}"]
    flags = ["-O1", "-fno-math-errno", "-DPIPS_DOUBLE", "-shared", "-fPIC", "-w"]
    subprocess.run(
        ["gcc", *flags, *headers, str(source.with_suffix(".c")), "-o", str(target), "-lmvec", "-lm"], check=True
    )
    spec = importlib.util.spec_from_file_location("_loops64", target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.REAL_BYTES == 8

    def call(key: str, **values: object) -> dict[str, np.ndarray]:
        loop = module.LOOPS[key]
        arrays = np.broadcast_arrays(*(np.asarray(values[n], np.float64) for n in loop.rows))
        rows = [np.ascontiguousarray(a) for a in arrays]
        outs = {n: np.empty(arrays[0].shape) for n in loop.outputs}

        def table(arrays):
            return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))

        function = ctypes.CFUNCTYPE(None, *3 * [ctypes.c_void_p], ctypes.c_ssize_t)(loop.address)
        function(table(rows), None, table(list(outs.values())), arrays[0].size)
        return outs

    return call
