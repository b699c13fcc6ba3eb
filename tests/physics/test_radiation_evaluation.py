"""Upward and net radiation, and what a scene gives, on real fields; `benchmarks/evaluate_radiation.py` prints all."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "evaluate_radiation.py"


@pytest.fixture(scope="module")
def evaluation():
    spec = importlib.util.spec_from_file_location("evaluate_radiation", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_name(rows):
    return {r["name"]: r for r in rows}


def test_fluxes_of_a_global_forecast(evaluation, shared):
    rows = by_name(evaluation.forecast(shared / "data/global/flxf2006040100.grb")[0])
    for flux, worst in (("rlus", 0.5), ("rnl", 0.5), ("rsus", 2.5), ("rns", 2.5), ("rn", 2.5)):
        row = rows[f"{flux}, hour 24, all"]
        assert row["cells"] == 18048 and abs(row["bias"]) < 0.5 and row["rmse"] < worst
    # Of one albedo and one flux the mean is the file's to what packing leaves.
    assert rows["rsus, hours 18-24, all"]["rmse"] < 0.6


def test_a_regional_model_leaves_out_the_reflected_sky(evaluation, shared):
    rows = by_name(evaluation.regional(shared / "data/regional")[0])
    assert rows["rlus, emission, the model's emissivities"]["rmse"] < 0.2
    assert 20 < rows["rlus, grey body, the model's emissivities"]["bias"] < 30


def test_emissivity_of_a_tile_is_within_two_hundredths(evaluation, shared):
    pytest.importorskip("pyhdf", reason="pyhdf is not installed")
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    cover = next((shared / "data/static").glob("MCD12C1*.tif"))
    rows = by_name(evaluation.tile(shared / "data/tiles/MOD11A1.hdf", cover)[0])
    for name in ("emis11 by class", "emis12 by class"):
        assert rows[name]["cells"] > 3e5 and abs(rows[name]["bias"]) < 0.02 and rows[name]["rmse"] < 0.02


def test_a_scene_without_a_table_of_the_atmosphere(evaluation, shared):
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    rows, fields = evaluation.scene(shared / "data/tiles/L8_232083_20160209", None)
    found = by_name(rows)
    # Outside the atmosphere blue is brighter and the index lower; the order of the pixels stays.
    assert found["sr blue, none (outside the atmosphere)"]["bias"] > 0.05
    assert -0.1 < found["ndvi, none (outside the atmosphere)"]["bias"] < -0.05
    assert found["ndvi, none (outside the atmosphere)"]["r"] > 0.99
    for name in ("jimenez-munoz2014", "single-channel", "gsw-du2015-any-column"):
        assert found[f"ts, {name} against gsw-du2015"]["rmse"] < 2.5
    # Bare fields are hotter than green ones at noon in summer, and keep less of the radiation.
    assert found["ts, gsw-du2015, NDVI < 0.2"]["median"] > found["ts, gsw-du2015, NDVI > 0.6"]["median"] + 2
    assert found["rn, NDVI < 0.2"]["median"] < found["rn, NDVI > 0.6"]["median"] - 30
    assert np.isfinite(fields["rn"]).mean() > 0.99
