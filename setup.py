"""Build the compiled parts: one generated loop per kernel, and the block machinery.

The loops are written from the product cards and the signatures of the point
functions in ``cext/*.pxd``; see ``cext/generate.py``.
"""

import os
import platform
import sys
from pathlib import Path
from shutil import copyfile

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "cext"))
import generate  # noqa: E402

MARCH = os.environ.get("PIPSHPC_MARCH", "native")
# -ffast-math is not used: it would remove the NaN tests. See docs/decisions/0001.
FLAGS = ["-O3", "-fopenmp", f"-march={MARCH}", "-fno-math-errno", "-fno-trapping-math", "-g0", "-Wno-unused-function"]
# Cython writes every literal as a double; this keeps float arithmetic float.
FLAGS += ["-fsingle-precision-constant"]
# A folder of kernels that were built from the same sources with the same flags: `pipshpc stack deploy` keeps one.
KEPT = Path(os.environ["PIPSHPC_KERNELS"]) if os.environ.get("PIPSHPC_KERNELS") else None
VECTOR = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" and MARCH != "x86-64" else []


def extension(name: str, source: Path, extra: list[str] | None = None) -> Extension:
    return Extension(
        f"pipshpc.{name}",
        [str(source.relative_to(ROOT))],
        include_dirs=[numpy.get_include(), "cext"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        extra_compile_args=FLAGS + VECTOR + (extra or []),
        extra_link_args=["-fopenmp"],
        libraries=["mvec", "m"] if platform.machine() == "x86_64" and sys.platform == "linux" else ["m"],
    )


class KeepingBuild(build_ext):
    """Takes what is kept, and keeps what it builds."""

    def build_extension(self, ext):
        target = Path(self.get_ext_fullpath(ext.name))
        kept = KEPT / target.name if KEPT else None
        if kept and kept.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            copyfile(kept, target)
            return
        super().build_extension(ext)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f".{kept.name}.{os.getpid()}")
            copyfile(target, part)
            part.replace(kept)


# A point function must be inlined to be vectorised, however long it is; and a loop over many rows
# needs more overlap tests than GCC's default of 10 (it does not believe `restrict` on local pointers).
# The growth limits are per caller and per file: iterating kernels repeat a long step, and all loops share a file.
LOOPS = ["-finline-limit=20000", "--param=vect-max-version-for-alias-checks=400"]
LOOPS += ["--param=large-function-growth=20000", "--param=inline-unit-growth=5000"]

# The snowpack computes in double precision, so its literals stay double.
EXTRA = {"inversion": LOOPS, "snobal": [*LOOPS, "-fno-single-precision-constant"]}

loops, tiles = generate.write_loops(
    ROOT / "pipshpc" / "products", ROOT / "cext", ROOT / "build" / "cext", FLAGS + VECTOR + LOOPS
)
extensions = [
    extension("_loops", loops, LOOPS),
    extension("_tiles", tiles),
    # The inversion calls point functions in loops of its own.
    *(extension(f"_{path.stem}", path, EXTRA.get(path.stem)) for path in sorted((ROOT / "cext").glob("*.pyx"))),
]

ALL_KEPT = KEPT is not None and all(list(KEPT.glob(f"{e.name.partition('.')[2]}.*.so")) for e in extensions)

setup(
    cmdclass={"build_ext": KeepingBuild},
    ext_modules=extensions
    if ALL_KEPT
    else cythonize(
        extensions,
        build_dir="build",
        include_path=[str(ROOT)],
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
        nthreads=2,
    ),
)
