"""The job in CDO: one pipeline of operators on two threads.

`expr` computes in double precision, as CDO does everything; it also packs,
because CDO chooses its own packing otherwise. This version cannot shuffle.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FORMULA = (
    "_c=d2m-273.15;"
    "_w=0.465*611.2*exp(17.67*_c/(_c+243.5))/t2m;"
    "_e=1-(1+_w)*exp(-sqrt(1.2+3*_w));"
    "_n=tcc*tcc;"
    "_t=t2m*t2m;"
    "rlds=((_e+_n*_n*(0.952-_e))*5.670374419e-8*_t*_t-350)*50;"
)
# Settings of the GNU C library that a user of CDO would hardly know: without them it gives fields of
# hundreds of megabytes back after each operator and half of the time goes into taking them again.
TUNED_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "64000000000",
    "MALLOC_TOP_PAD_": "500000000",
}


def available() -> bool:
    """Return whether CDO is installed."""
    return shutil.which("cdo") is not None


def write_grid(path: Path, step: float) -> Path:
    """Write the description of the global target grid."""
    rows = round(180 / step)
    path.write_text(
        f"gridtype = lonlat\nxsize = {2 * rows}\nysize = {rows}\n"
        f"xfirst = {-180 + step / 2}\nxinc = {step}\nyfirst = {90 - step / 2}\nyinc = {-step}\n"
    )
    return path


def command(source: Path, target: Path, steps: int, grid: Path) -> list[str]:
    """Return the words of the pipeline."""
    return [
        *("cdo", "-s", "-O", "-P", "2", "-f", "nc4", "-z", "zip_1", "-b", "I16"),
        "setattribute,rlds@scale_factor=0.02,rlds@add_offset=350.",
        f"-expr,{FORMULA}",
        f"-remapbil,{grid}",
        f"-seltimestep,1/{steps}",
        str(source),
        str(target),
    ]
