"""Radiation products on real fields: a forecast's own fluxes, a MODIS tile, a Landsat scene.

    python benchmarks/evaluate_radiation.py DATA [--table l8.h5] [--json out.json] [--pictures FOLDER]

DATA is the folder with ``global/flxf2006040100.grb``,
``regional/hrrr.*.grib2``, ``tiles/MOD11A1.hdf``,
``tiles/L8_232083_20160209`` and ``static/MCD12C1*.tif``. The table of the
atmosphere for Landsat's bands is made first with ``--make-table`` (needs 6S,
about two minutes).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import pipshpc
from pipshpc import sun
from pipshpc.atmosphere import AtmosphereTable, dark_target
from pipshpc.errors import PipshpcError
from pipshpc.granule import read_landsat8, read_mod11a1

compute = pipshpc.compute
# Centre and edges of Landsat 8's bands, um.
OLI = {
    "blue": (0.482, 0.452, 0.512),
    "green": (0.561, 0.533, 0.590),
    "red": (0.655, 0.636, 0.673),
    "nir": (0.865, 0.851, 0.879),
    "swir1": (1.609, 1.567, 1.651),
    "swir2": (2.201, 2.107, 2.294),
}
OLI_GRID = {"aod": (0.0, 0.1, 0.25, 0.5, 1.0, 1.5), "sza": (30.0, 45.0), "vza": (0.0,), "raa": (0.0,)}
# HRRR's own, by its class of vegetation: the ratio of its upward flux to that of a black body, the same at all hours.
HRRR_EMISSIVITY = {1: 0.95, 5: 0.94, 8: 0.93, 10: 0.92, 12: 0.935, 13: 0.88, 14: 0.92, 17: 0.98}
# The hour of the scene at the station beside it: 14:27 UTC is 11:27 there; air K, humidity 1, sunlight W m-2.
STATION = {"tas": 273.15 + 25.3, "hurs": 0.583, "rsds": 587.0, "orog": 920.0}


def scores(name: str, ours: Any, theirs: Any, where: Any = True, unit: str = "W m-2") -> dict[str, Any]:
    """Scores of one comparison where both have values."""
    use = np.isfinite(ours) & np.isfinite(theirs) & where
    a, b = np.asarray(ours)[use].astype(float), np.asarray(theirs)[use].astype(float)
    if not a.size:
        return {"name": name, "unit": unit, "cells": 0}
    r = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
    out = {"name": name, "unit": unit, "cells": int(use.sum()), "mean": float(b.mean())}
    return {**out, "bias": float((a - b).mean()), "rmse": float(np.sqrt(np.mean((a - b) ** 2))), "r": r}


def summary(name: str, values: Any, unit: str) -> dict[str, Any]:
    """Percentiles of a field that has nothing to be compared with."""
    there = np.asarray(values)[np.isfinite(values)].astype(float)
    low, middle, high = np.percentile(there, (2, 50, 98)) if there.size else (np.nan,) * 3
    return {"name": name, "unit": unit, "cells": int(there.size), "p2": low, "median": middle, "p98": high}


def read_forecast(path: Path) -> dict[str, Any]:
    """Fluxes and state of NCEP's file: `x` at hour 24, `x_mean` over hours 18 to 24."""
    from pipshpc.source.eccodeslib import eccodes

    numbers = {11: "ts", 65: "snw", 81: "land", 91: "ice", 84: "albedo", 204: "rsds", 205: "rlds", 211: "rsus"}
    numbers[212] = "rlus"
    found: dict[str, Any] = {}
    with path.open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            number = eccodes.codes_get(message, "indicatorOfParameter")
            if eccodes.codes_get_long(message, "indicatorOfTypeOfLevel") == 1 and number in numbers:
                ending = "_mean" if eccodes.codes_get(message, "stepRange") == "18-24" else ""
                found[numbers[number] + ending] = eccodes.codes_get_values(message)
                found["size"] = [eccodes.codes_get(message, k) for k in ("Nj", "Ni")]
            eccodes.codes_release(message)
    found["albedo_mean"] = found["albedo_mean"] / 100.0
    return found


def forecast(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Upward and net fluxes from the file's state against the file's own."""
    x = read_forecast(path)
    land = x["land"] > 0.5
    regions = {"all": True, "land": land, "sea": ~land & (x["ice"] < 0.5), "ice": ~land & (x["ice"] >= 0.5)}
    rows, fields = [], {}
    black = {"emis": 1.0}
    for ending, when in (("", "hour 24"), ("_mean", "hours 18-24")):
        short = {"rsds": x["rsds" + ending], "albedo": x["albedo_mean"]}
        long = {"ts": x["ts"], "rlds": x["rlds" + ending]}
        ours = {
            "rlus": compute("rlus", **long, **black),
            "rlus, emissivity 0.97": compute("rlus", **long, emis=0.97),
            "rsus": compute("rsus", "albedo", **short),
            "rns": compute("rns", "albedo", **short),
            "rnl": compute("rnl", "grey-body", **long, **black),
            "rn": compute("rn", "components", **short, **long, **black),
        }
        theirs = {n: x[n + ending] for n in ("rlus", "rsus")}
        theirs["rns"] = x["rsds" + ending] - x["rsus" + ending]
        theirs["rnl"] = x["rlds" + ending] - x["rlus" + ending]
        theirs["rn"] = theirs["rns"] + theirs["rnl"]
        for name, value in ours.items():
            for region, where in regions.items():
                rows.append(scores(f"{name}, {when}, {region}", value, theirs[name.split(",")[0]], where))
        fields |= {f"{n}{ending}": v.reshape(x["size"]) for n, v in ours.items()}
        fields |= {f"{n}{ending} of the file": np.reshape(v, x["size"]) for n, v in theirs.items()}
    return rows, fields


def regional(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """HRRR, five clear hours of 3 km: what the surface sends up from its temperature, and what the sky sends down."""
    from pipshpc.source.eccodeslib import eccodes

    short = {"t": "ts", "2t": "tas", "2d": "tdps", "sdlwrf": "rlds", "sulwrf": "rlus", "sdswrf": "rsds"}
    short |= {"suswrf": "rsus", "vgtyp": "class"}
    hours: dict[str, list[Any]] = {name: [] for name in short.values()}
    for path in sorted(folder.glob("hrrr.*.grib2")):
        with path.open("rb") as file:
            while (message := eccodes.codes_grib_new_from_file(file)) is not None:
                name = short.get(eccodes.codes_get(message, "shortName"))
                if name and eccodes.codes_get(message, "level") in (0, 2):
                    hours[name].append(eccodes.codes_get_values(message))
                eccodes.codes_release(message)
    x = {name: np.stack(values) for name, values in hours.items()}
    vap = compute("vap_in", "dewpoint", tdps_in=x["tdps"])
    rows = [scores("rlds, all hours", compute("rlds", tas=x["tas"], vap=vap, clt=0.0), x["rlds"])]
    file_net = x["rsds"] - x["rsus"] + x["rlds"] - x["rlus"]
    emis = np.select([x["class"] == k for k in HRRR_EMISSIVITY], list(HRRR_EMISSIVITY.values()), np.nan)
    ways = {
        "emission, the model's emissivities": compute("rlus", "emission", ts=x["ts"], emis=emis),
        "grey body, the model's emissivities": compute("rlus", ts=x["ts"], emis=emis, rlds=x["rlds"]),
        "grey body, emissivity 0.97": compute("rlus", ts=x["ts"], emis=0.97, rlds=x["rlds"]),
    }
    for way, up in ways.items():
        net = compute("rn", rns=x["rsds"] - x["rsus"], rnl=x["rlds"] - up)
        rows += [scores(f"rlus, {way}", up, x["rlus"]), scores(f"rn, {way}", net, file_net)]
    return rows, {}


def classes_at(path: Path, lat: Any, lon: Any) -> Any:
    """IGBP class of MODIS' climate modelling grid at places."""
    import rasterio

    with rasterio.open(path) as file:
        values, to = file.read(1), file.transform
    row, column = ((lat - to.f) / to.e).astype(int), ((lon - to.c) / to.a).astype(int)
    return values[row, column].astype(np.float32)


def tile(path: Path, cover: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Emissivity by land cover against the tile's own; what the surface sends out by day and by night."""
    granule = read_mod11a1(path)
    f = granule.fields
    lat, lon = granule.grid.geographic(granule.grid.y[:, None], granule.grid.x[None, :])
    classes = classes_at(cover, lat, lon)
    rows, fields = [], {"class": classes}
    for name in ("emis11", "emis12"):
        ours = compute(name, "landcover", landtype=classes)
        rows.append(scores(f"{name} by class", ours, f[name], unit="1"))
        for number in np.unique(classes[np.isfinite(f[name])]):
            where = classes == number
            if (where & np.isfinite(f[name])).sum() > 1000:
                rows.append(scores(f"{name}, class {int(number)}", ours, f[name], where, unit="1"))
        fields[f"{name} by class"], fields[name] = ours, f[name]
    # The tile has no band 29: the window stands for all wavelengths.
    emis = 0.5 * (f["emis11"] + f["emis12"])
    rows.append(
        scores(
            "emis by class, against the mean of bands 31 and 32",
            compute("emis", "landcover", landtype=classes),
            emis,
            unit="1",
        )
    )
    for part in ("day", "night"):
        ts = f[f"ts_{part}"]
        fields[f"ts_{part}"] = ts
        rows.append(summary(f"ts, {part}", ts, "K"))
        rows.append(summary(f"rlus emitted, {part}", compute("rlus", "emission", ts=ts, emis=emis), "W m-2"))
    rows.append(summary("ts, day less night", f["ts_day"] - f["ts_night"], "K"))
    return rows, fields


def scene(folder: Path, table: Path | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """From counts to reflectance, index, emissivity, temperature, albedo and net radiation of a Landsat scene."""
    granule = read_landsat8(folder)
    vap = STATION["hurs"] * 611.2 * np.exp(17.67 * (STATION["tas"] - 273.15) / (STATION["tas"] - 29.65))
    prw = float(4.65 * vap / STATION["tas"])
    rows: list[dict[str, Any]] = [{"name": "water column from the station", "unit": "kg m-2", "median": prw}]
    more, ways = reflectances(granule, prw, table)
    rows += more
    best = ways["6s" if table is not None else "file"]
    index = {way: compute("ndvi", sr_red=v["red"], sr_nir=v["nir"]) for way, v in ways.items()}
    rows += [scores(f"ndvi, {way}", v, index["file"], unit="1") for way, v in index.items() if way != "file"]
    ndvi = compute("ndvi", sr_red=best["red"], sr_nir=best["nir"])
    more, ts = temperatures(granule.fields, ndvi, best["red"], prw)
    rows += more
    five = ("blue", "red", "nir", "swir1", "swir2")
    albedo = {way: compute("albedo", "liang2001-landsat", **{f"sr_{b}": v[b] for b in five}) for way, v in ways.items()}
    rows += [scores(f"albedo, {way}", v, albedo["file"], unit="1") for way, v in albedo.items() if way != "file"]
    rows.append(summary("albedo", albedo["file"], "1"))
    sky = {"cosz": np.cos(np.radians(granule.scene["sza"])), "toa_normal": sun.toa_normal(granule.time)}
    sky |= {"ps": 9.08e4, "albedo": 0.17, "od550aer": 0.15, "angstrom": 1.3, "ozone": 0.27, "prw": prw}
    rsds, rlds = compute("rsdscs", "rest2", **sky), compute("rlds", tas=STATION["tas"], vap=vap, clt=0.0)
    name = "rsds by REST2 (median), and at the station (mean)"
    rows.append({"name": name, "unit": "W m-2", "median": float(rsds), "mean": STATION["rsds"]})
    emis = compute("emis", "ndvi-threshold", ndvi=ndvi)
    rn = compute("rn", "components", rsds=rsds, albedo=albedo["file"], rlds=rlds, emis=emis, ts=ts)
    kinds = {"": ndvi > -2, ", NDVI > 0.6": ndvi > 0.6, ", NDVI < 0.2": ndvi < 0.2}
    for what, values, unit in (("ts, gsw-du2015", ts, "K"), ("rn", rn, "W m-2")):
        rows += [summary(what + kind, values[where], unit) for kind, where in kinds.items()]
    return rows, {**granule.fields, "ndvi": ndvi, "ts": ts, "albedo": albedo["file"], "rn": rn, "emis": emis}


def reflectances(granule: Any, prw: float, table: Path | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Reflectance of the surface in several ways against the one that comes with the scene."""
    f, sza = granule.fields, granule.scene["sza"]
    rows = []
    ways: dict[str, dict[str, Any]] = {"file": {b: f[f"sr_{b}"] for b in OLI}}
    ways["dark-object"] = {
        b: compute("sr", "dark-object", toar=f[f"toar_{b}"], sza=sza, toar_dark=np.nanpercentile(f[f"toar_{b}"], 0.1))
        for b in OLI
    }
    if table is not None:
        air = AtmosphereTable.load(table)
        toar = {b: f[f"toar_{b}"] for b in ("red", "blue", "swir2")}
        green = compute("ndvi", sr_red=f["toar_red"], sr_nir=f["toar_nir"]) > 0.3
        depth = dark_target(air, toar, green, sza, 0.0, 0.0, prw)
        rows.append(summary("od550aer over dark vegetation", depth, "1"))
        for way, aod in (("6s", float(np.nanmedian(depth))), ("6s, aerosol 0.1", 0.1)):
            ways[way] = {b: air.correct(b, f[f"toar_{b}"], aod, sza, 0.0, 0.0, prw) for b in OLI}
    ways["none (outside the atmosphere)"] = {b: f[f"toar_{b}"] for b in OLI}
    for way, bands in ways.items():
        if way != "file":
            rows += [scores(f"sr {b}, {way}", v, ways["file"][b], unit="1") for b, v in bands.items()]
    return rows, ways


def temperatures(f: dict[str, Any], ndvi: Any, red: Any, prw: float) -> tuple[list[dict[str, Any]], Any]:
    """Surface temperature by all algorithms, and that of the first."""
    e = {n: compute(n, ndvi=ndvi, sr_red=red) for n in ("emis11", "emis12")}
    window = {"bt11": f["bt11"], "bt12": f["bt12"], **e}
    first = compute("ts", **window, prw=prw)
    others = {
        "jimenez-munoz2014": compute("ts", "jimenez-munoz2014", **window, prw=prw),
        "gsw-du2015-any-column": compute("ts", "gsw-du2015-any-column", **window),
        "single-channel": compute("ts", "single-channel", bt11=f["bt11"], emis11=e["emis11"], prw=prw),
    }
    return [scores(f"ts, {n} against gsw-du2015", v, first, unit="K") for n, v in others.items()], first


def text_of(rows: list[dict[str, Any]]) -> str:
    """Scores as a table."""
    lines = []
    for r in rows:
        numbers = [f"{k} {v:.4g}" for k, v in r.items() if k not in ("name", "unit") and v is not None]
        lines.append(f"{r['name']:58} {r['unit']:6} {'  '.join(numbers)}")
    return "\n".join(lines)


def paint(fields: dict[str, Any], folder: Path, stem: str) -> None:
    """One picture per field."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    for name, values in fields.items():
        low, high = np.nanpercentile(values, (1, 99))
        figure, axes = plt.subplots(figsize=(6, 5))
        shown = axes.imshow(values, origin="upper" if stem == "forecast" else "lower", vmin=low, vmax=high)
        figure.colorbar(shown, shrink=0.7)
        axes.set_title(name)
        figure.savefig(folder / f"{stem}_{name.replace(' ', '_').replace(',', '')}.png", dpi=80)
        plt.close(figure)


def main() -> None:
    """Evaluate what is there and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--table", type=Path, help="table of the atmosphere for Landsat's bands")
    parser.add_argument("--make-table", action="store_true", help="make that table with 6S")
    parser.add_argument("--json", type=Path, help="write the scores here too")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    options = parser.parse_args()
    if options.make_table:
        from pipshpc import sixs

        sixs.make(OLI, OLI_GRID, wavelengths=OLI, jobs=2).save(options.table)
    parts = {
        "forecast": lambda: forecast(options.data / "global/flxf2006040100.grb"),
        "regional": lambda: regional(options.data / "regional"),
        "tile": lambda: tile(options.data / "tiles/MOD11A1.hdf", next((options.data / "static").glob("MCD12C1*.tif"))),
        "scene": lambda: scene(options.data / "tiles/L8_232083_20160209", options.table),
    }
    found = {}
    for name, act in parts.items():
        try:
            rows, fields = act()
        except PipshpcError as error:
            print(f"{name} is left out: {error}")
            continue
        found[name] = rows
        print(f"\n{name}\n{text_of(rows)}")
        if options.pictures:
            paint(fields, options.pictures, name)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
