"""Heat fluxes and roughness on the state of two forecasts, against the forecasts' own fluxes.

    python benchmarks/evaluate_fluxes.py DATA [--json out.json] [--pictures FOLDER]

DATA is the folder with ``global/flxf2006040100.grb`` (NCEP, T62, instant of
hour 24) and ``regional/hrrr.*.grib2`` (3 km, five hours before noon). State
and net radiation come from the files; land cover, leaf area and vegetation
fraction are our own static fields. So what differs is how a surface turns
that into heat and vapour. A forecast is a model too: agreement says that two
descriptions of one surface lead to the same, not that both are right.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from evaluate_radiation import paint, scores, summary, text_of

import pipshpc
from pipshpc.statics import open_static

Field = npt.NDArray[np.float64]
compute = pipshpc.compute
# GRIB 1 of NCEP: (parameter, level type, level) of what holds at hour 24; fluxes upward.
NCEP = {
    "ts": (11, 1, 0), "tas": (11, 105, 2), "huss": (51, 105, 2), "ps": (1, 1, 0), "uas": (33, 105, 10),
    "vas": (34, 105, 10), "sftlf": (81, 1, 0), "siconc": (91, 1, 0), "z0": (83, 1, 0), "veg": (87, 1, 0),
    "ustar": (253, 1, 0), "hfss": (122, 1, 0), "hfls": (121, 1, 0), "ground": (155, 1, 0),
    "rlds": (205, 1, 0), "rlus": (212, 1, 0), "rsus": (211, 1, 0), "rsds": (204, 1, 0),
}  # fmt: skip
# ecCodes' names in HRRR at levels 0, 2 and 10.
HRRR = {
    "t": "ts", "2t": "tas", "2sh": "huss", "sp": "ps", "10u": "uas", "10v": "vas", "lsm": "sftlf", "ci": "siconc",
    "fsr": "z0", "fricv": "ustar", "ishf": "hfss", "slhtf": "hfls", "gflux": "ground", "vgtyp": "class",
    "sdlwrf": "rlds", "sulwrf": "rlus", "suswrf": "rsus", "sdswrf": "rsds",
}  # fmt: skip


def read_ncep(path: Path) -> dict[str, Any]:
    """Fields of hour 24 by our names, with `lat`, `lon` and `size` (rows, columns)."""
    from pipshpc.source.eccodeslib import eccodes

    names = {place: name for name, place in NCEP.items()}
    found: dict[str, Any] = {}
    with path.open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            place = tuple(
                eccodes.codes_get_long(message, key)
                for key in ("indicatorOfParameter", "indicatorOfTypeOfLevel", "level")
            )
            if eccodes.codes_get(message, "stepRange") == "24" and place in names:
                values = eccodes.codes_get_values(message)
                found[names[place]] = np.where(values == 9999.0, np.nan, values)
                found["lat"] = eccodes.codes_get_array(message, "latitudes")
                found["lon"] = eccodes.codes_get_array(message, "longitudes")
                found["size"] = [eccodes.codes_get_long(message, key) for key in ("Nj", "Ni")]
            eccodes.codes_release(message)
    # The file's own wind and friction velocity ask for eight to ten times the roughness that is stored, in all classes.
    found["z0"] = 10.0 * found["z0"]
    return found


def read_hrrr(folder: Path) -> dict[str, Any]:
    """Fields of all hours by our names, (hours, cells)."""
    from pipshpc.source.eccodeslib import eccodes

    hours: dict[str, list[Field]] = {name: [] for name in HRRR.values()}
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("hrrr.*.grib2")):
        with path.open("rb") as file:
            while (message := eccodes.codes_grib_new_from_file(file)) is not None:
                name = HRRR.get(eccodes.codes_get(message, "shortName"))
                if name and eccodes.codes_get_long(message, "level") in (0, 2, 10):
                    hours[name].append(eccodes.codes_get_values(message))
                    found["lat"] = eccodes.codes_get_array(message, "latitudes")
                    found["lon"] = eccodes.codes_get_array(message, "longitudes")
                    found["size"] = [eccodes.codes_get_long(message, key) for key in ("Ny", "Nx")]
                eccodes.codes_release(message)
    return found | {name: np.stack(values) for name, values in hours.items()}


def surface(x: dict[str, Any], greenness: Any) -> dict[str, Any]:
    """State as the kernels take it, with the vegetation of our static fields at the cells' centres."""
    lon = (x["lon"] + 180.0) % 360.0 - 180.0
    there = {n: open_static(n).sample(x["lat"], lon) for n in ("ndvi_min", "ndvi_max")}
    cover = open_static("landcover")
    kind = cover.read()[_nearest(cover.grid.y, x["lat"]), _nearest(cover.grid.x, lon)]
    ndvi = compute("ndvi", "range-and-season", greenness=greenness, **there)
    state = {n: x[n] for n in ("ts", "tas", "ps")}
    state["vap"] = compute("vap_in", "specific-humidity", huss_in=np.maximum(x["huss"], 1e-6), ps_in=x["ps"])
    state["sfcWind"] = np.hypot(x["uas"], x["vas"])
    state["rn"] = x["rsds"] - x["rsus"] + x["rlds"] - x["rlus"]
    leaves = {"landtype": kind, "lai": compute("lai", ndvi=ndvi)}
    leaves["hc"] = compute("hc", **leaves)
    return {**state, **leaves, "fveg": compute("fveg", ndvi=ndvi), "ndvi": ndvi, "wide": lon}


def _nearest(axis: Field, at: Field) -> npt.NDArray[np.intp]:
    step = (axis[-1] - axis[0]) / (axis.size - 1)
    return np.clip(np.rint((at - axis[0]) / step).astype(int), 0, axis.size - 1)


def land(x: dict[str, Any], s: dict[str, Any], z0: Any = None, kb: float | None = None) -> dict[str, Any]:
    """Roughness, heat into the ground, sensible and latent heat of land; `z0` and `kb` in place of our own."""
    leaves = {n: s[n] for n in ("landtype", "lai", "hc")}
    made = {"z0m": compute("z0m", **leaves), "d0": compute("d0", **leaves)}
    if z0 is not None:
        made = {"z0m": np.where(x["z0"] > 0, z0, np.nan), "d0": np.minimum(made["d0"], 5.0 * z0)}
    air = {n: s[n] for n in ("sfcWind", "tas", "ps")}
    plant = {n: s[n] for n in ("lai", "fveg", "hc")}
    made["z0h"] = compute("z0h", "su2002", **made, **plant, **air)
    if kb is not None:
        made["z0h"] = compute("z0h", "fixed", z0m=made["z0m"], kb=kb)
    ground = -x["ground"]
    state = {n: s[n] for n in ("ts", "tas", "vap", "ps", "sfcWind", "rn")}
    made["hfdsl"] = compute("hfdsl", "su2002", rn=s["rn"], fveg=s["fveg"], landtype=s["landtype"])
    for name in ("hfss", "hfls"):
        made[name] = compute(name, "sebs2002", **state, hfdsl=ground, **{n: made[n] for n in ("z0m", "d0", "z0h")})
    return made


def ocean(s: dict[str, Any], name: str, ice: bool) -> Any:
    """Heat of open water or of sea ice."""
    state = {n: s[n] for n in ("ts", "tas", "vap", "ps", "sfcWind")}
    return compute(name, "marks-dozier1992" if ice else "coare36", **state)


def compare_land(x: dict[str, Any], s: dict[str, Any], where: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Scores over land: with our roughness and the file's, for momentum and for heat."""
    rows, fields = [], {}
    day = x["rsds"] > 100.0
    ways = {
        "our roughness": {},
        "z0m of the file": {"z0": x["z0"]},
        "kB 2.3": {"kb": 2.3},
        "z0m of the file, kB 2.3": {"z0": x["z0"], "kb": 2.3},
    }
    for way, given in ways.items():
        ours = land(x, s, **given)
        for name in ("hfss", "hfls"):
            fields[f"{name}, {way}"] = np.where(where, ours[name], np.nan)
            for time, when in (("day", day), ("night", ~day)):
                if np.any(where & when):
                    rows.append(scores(f"{name}, land, {time}, {way}", ours[name], x[name], where & when))
        if not given:
            rows.append(summary("ln(z0m / z0h), land", np.where(where, np.log(ours["z0m"] / ours["z0h"]), np.nan), "1"))
            rows.append(scores("hfdsl su2002, land, day", ours["hfdsl"], -x["ground"], where & day))
            both = [np.log10(np.maximum(z, 1e-4)) + 0.0 * x["z0"] for z in (ours["z0m"], x["z0"])]
            rows.append(scores("log10 z0m, land", *both, where & (x["z0"] > 0), unit="1"))
            fields["z0m"] = np.where(where, ours["z0m"], np.nan)
    left = s["rn"] + x["ground"] - x["hfss"] - x["hfls"]
    rows.append(scores("rn - hfdsl - hfss - hfls of the file, land", left, np.zeros_like(left), where))
    return rows, fields


def forecast(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """NCEP at hour 24: land, sea and sea ice of the whole globe."""
    x = read_ncep(path)
    # One of the year's two turns: half way between brown and green everywhere.
    s = surface(x, 0.5)
    on_land, ice = x["sftlf"] > 0.5, x["siconc"] >= 0.5
    if np.nanmedian(x["ground"][on_land & (x["rsds"] > 400)]) > 0:
        x["ground"] = -x["ground"]  # downward where the sun shines
    snowy = on_land & (x["ts"] < 273.2)
    rows, fields = compare_land(x, s, on_land & ~snowy)
    for name in ("hfss", "hfls"):
        sea, floe = ocean(s, name, ice=False), ocean(s, name, ice=True)
        rows.append(scores(f"{name}, sea, COARE 3.6", sea, x[name], ~on_land & ~ice))
        windy = ~on_land & ~ice & (s["sfcWind"] > 3)
        rows.append(scores(f"{name}, sea, wind above 3 m/s", sea, x[name], windy))
        rows.append(scores(f"{name}, sea ice, Marks-Dozier", floe, x[name], ~on_land & ice))
        rows.append(scores(f"{name}, snow on land, Marks-Dozier", floe, x[name], snowy))
        whole = np.where(on_land & ~snowy, fields[f"{name}, our roughness"], np.where(on_land | ice, floe, sea))
        rows.append(scores(f"{name}, globe, each surface by its own", whole, x[name]))
        fields |= {name: whole, f"{name} of the file": x[name], f"{name}, ours less the file's": whole - x[name]}
    fields["z0 of the file"] = np.where(on_land, x["z0"], np.nan)
    return rows, {n: np.reshape(v, x["size"]) for n, v in fields.items()}


def regional(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """HRRR: land only, July, clear."""
    x = read_hrrr(folder)
    s = surface(x, 1.0)
    everywhere = np.ones(x["ts"].shape, bool)
    rows, fields = compare_land(x, s, everywhere)
    dry = land(x, surface(x, 0.0))
    rows += [scores(f"{n}, land, brown vegetation", dry[n], x[n], everywhere) for n in ("hfss", "hfls")]
    for number, name in ((7, "open shrub"), (10, "grass"), (12, "crops"), (1, "needleleaf forest")):
        where = everywhere & (s["landtype"] == number)
        if where.sum() > 100:
            ours = land(x, s)
            rows.append(scores(f"hfss, our class {number} ({name})", ours["hfss"], x["hfss"], where))
            rows.append(scores(f"hfls, our class {number} ({name})", ours["hfls"], x["hfls"], where))
    middle = len(x["ts"]) // 2
    fields |= {f"{n} of the file": x[n] for n in ("hfss", "hfls", "z0")}
    fields |= {n: fields[f"{n}, our roughness"] for n in ("hfss", "hfls")}
    fields["z0m"] = fields["z0m"] + 0.0 * x["z0"]
    return rows, {n: np.reshape(v[middle] if v.ndim > 1 else v, x["size"]) for n, v in fields.items()}


def panels(fields: dict[str, Any], path: Path) -> None:
    """One picture for the documentation: sensible heat, latent heat, roughness; ours, the file's, the difference."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(3, 3, figsize=(13, 7.2), layout="constrained")
    rough = [np.log10(fields["z0m"]), np.log10(fields["z0 of the file"])]
    lines = [
        ("hfss", "W m-2", [fields["hfss"], fields["hfss of the file"]], (-100, 300), 100),
        ("hfls", "W m-2", [fields["hfls"], fields["hfls of the file"]], (-50, 400), 100),
        ("log10 z0m", "m", rough, (-3.5, 0.5), 2),
    ]
    for row, (name, unit, (ours, theirs), (low, high), most) in zip(axes, lines, strict=True):
        shown = [row[0].imshow(ours, vmin=low, vmax=high), row[1].imshow(theirs, vmin=low, vmax=high)]
        shown.append(row[2].imshow(ours - theirs, vmin=-most, vmax=most, cmap="RdBu_r"))
        for axis, title in zip(row, (f"{name}, ours", "of the file", "ours less the file's"), strict=True):
            axis.set(title=title, xticks=[], yticks=[])
        figure.colorbar(shown[1], ax=row[:2].tolist(), label=unit, shrink=0.9)
        figure.colorbar(shown[2], ax=row[2], label=unit, shrink=0.9)
    figure.savefig(path, dpi=65)
    plt.close(figure)


def main() -> None:
    """Evaluate both forecasts and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, help="write the scores here too")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    options = parser.parse_args()
    found = {}
    for name, (rows, fields) in {
        "forecast": forecast(options.data / "global/flxf2006040100.grb"),
        "regional": regional(options.data / "regional"),
    }.items():
        found[name] = rows
        print(f"\n{name}\n{text_of(rows)}")
        if options.pictures:
            paint(fields, options.pictures, name)
            panels(fields, options.pictures / f"fluxes_{name}.png")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
