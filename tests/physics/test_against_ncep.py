"""Our radiation against that of a forecast model on its own grid; `benchmarks/evaluate.py` prints the full table."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pipshpc import sun
from pipshpc.forcing import Forcing
from pipshpc.product import find_card
from pipshpc.source import open_source
from pipshpc.statics import static_path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "evaluate.py"


@pytest.fixture(scope="module")
def evaluate():
    spec = importlib.util.spec_from_file_location("evaluate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flux_file(shared):
    return shared / "data" / "global" / "flxf2006040100.grb"


def test_longwave_is_close_to_the_models(evaluate, flux_file):
    rows = evaluate.evaluate(flux_file)
    best = find_card("rlds").algorithms[0].name
    for reference in ("rlds", "rlds_mean"):
        row = next(r for r in rows if (r["algorithm"], r["reference"], r["region"]) == (best, reference, "all"))
        assert row["cells"] == 18048
        assert abs(row["bias"]) <= 5 and row["rmse"] <= 20 and row["r"] > 0.98


def test_shortwave_follows_the_models(evaluate, flux_file):
    if not static_path("linke").is_file():
        pytest.skip("Linke turbidity is not on this machine; 'python -m pipshpc.statics fetch' takes it")
    row = next(r for r in evaluate.evaluate(flux_file) if (r["product"], r["region"]) == ("rsds", "all"))
    # Cloud amount alone says little about how much light a cloud lets through.
    assert abs(row["bias"]) < 40 and row["rmse"] < 75 and row["r"] > 0.95


def test_quadrature_of_the_evaluation_is_exact_at_the_top_of_the_atmosphere(evaluate, flux_file):
    with open_source(Forcing(paths=[str(flux_file)], hold=True)) as source:
        ours = evaluate.sunlit_mean("rsdt", find_card("rsdt").algorithms[0], {}, source, 6.0)
        begin = source.times[0] - np.timedelta64(6, "h")
        lat, lon = np.meshgrid(source.grid.y, source.grid.x, indexing="ij")
        cosz = sun.window_mean_cosz(lat, lon, begin, 6.0)[0]
        exact = cosz * sun.toa_normal(begin + np.timedelta64(3, "h"))
    assert np.abs(ours - exact).max() < 1.0
