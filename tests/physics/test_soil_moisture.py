"""Soil moisture index: the three ways, and the edges' reduction, which must not know how the data were cut."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.edges import FEWEST, WARMTH_STEP, EdgeTable
from pipshpc.errors import SpecError


def scene(n=200000, seed=0):
    """Return temperature and vegetation index of a triangle with a dry edge 330 - 30 ndvi and a wet edge of 292 K."""
    rng = np.random.default_rng(seed)
    ndvi = rng.uniform(0.0, 1.0, n).astype(np.float32)
    dry = 330.0 - 30.0 * ndvi
    return (292.0 + (dry - 292.0) * rng.beta(2, 2, n)).astype(np.float32), ndvi


def table(ts, ndvi, orog=0.0):
    found = EdgeTable()
    found.add(ts, ndvi, orog)
    return found


def test_edges_do_not_depend_on_the_partition():
    ts, ndvi = scene()
    whole = table(ts, ndvi)
    rng = np.random.default_rng(1)
    for parts in (2, 7, 64):
        cuts = np.sort(rng.integers(0, ts.size, parts - 1))
        pieces = [table(*piece) for piece in zip(np.split(ts, cuts), np.split(ndvi, cuts), strict=True)]
        rng.shuffle(pieces)
        merged = EdgeTable()
        for piece in pieces:
            merged.merge(piece)
        assert np.array_equal(merged.counts, whole.counts)
        assert merged.edges() == whole.edges()  # to the last bit


def test_edges_against_quantiles_of_all_pixels():
    ts, ndvi = scene()
    found = table(ts, ndvi).edges()
    index, dry, wet = [], [], []
    for k in range(40):
        kept = ts[np.floor((ndvi.astype(float) - 0.1) / 0.02) == k].astype(float)
        index.append(0.1 + 0.02 * (k + 0.5))
        dry.append(np.quantile(kept, 0.99))
        wet.append(np.quantile(kept, 0.01))
    for name, values in (("dry", dry), ("wet", wet)):
        slope, offset = np.polyfit(index, values, 1)
        at = np.array([0.1, 0.9])
        line = getattr(found, f"{name}_offset") + getattr(found, f"{name}_slope") * at
        assert np.abs(line - (offset + slope * at)).max() < 0.5 * WARMTH_STEP


def test_edges_skip_missing_pixels_and_thin_bins():
    ts, ndvi = scene(5000)
    ts[::3] = np.nan
    found = table(ts, ndvi)
    assert found.counts.sum() == (np.isfinite(ts) & (ndvi >= 0.1) & (ndvi < 0.9)).sum()
    lonely = table(np.full(FEWEST - 1, 300.0), np.full(FEWEST - 1, 0.5))
    with pytest.raises(SpecError, match="larger area"):
        lonely.edges()


def test_height_is_taken_out():
    ts, ndvi = scene()
    orog = np.linspace(0, 2000, ts.size).astype(np.float32)
    level, high = table(ts, ndvi).edges(), table(ts - 0.0065 * orog, ndvi, orog).edges()
    assert high.dry_offset == pytest.approx(level.dry_offset, abs=0.2)
    index = {"dry_offset": 325.0, "dry_slope": -20.0, "wet_offset": 290.0, "wet_slope": 0.0}
    low = compute("smi", ts=305.0, ndvi=0.4, orog=0.0, **index)
    assert compute("smi", ts=305.0 - 6.5, ndvi=0.4, orog=1000.0, **index) == pytest.approx(low, abs=1e-5)


def test_index_is_one_on_the_wet_edge_and_none_on_the_dry():
    ts, ndvi = scene(1000)
    edges = {"dry_offset": 330.0, "dry_slope": -30.0, "wet_offset": 292.0, "wet_slope": 0.0}
    found = compute("smi", ts=ts, ndvi=ndvi, orog=0.0, **edges)
    wide = ndvi < 1.0
    expected = ((330.0 - 30.0 * ndvi.astype(float)) - ts) / (38.0 - 30.0 * ndvi)
    assert np.allclose(found[wide], np.clip(expected, 0, 1)[wide], atol=1e-5)
    assert compute("smi", ts=292.0, ndvi=0.5, orog=0.0, **edges) == 1.0
    assert compute("smi", ts=320.0, ndvi=0.5, orog=0.0, **edges) == 0.0


def test_index_is_missing_where_the_edges_meet():
    close = {"dry_offset": 300.0, "dry_slope": 0.0, "wet_offset": 299.6, "wet_slope": 0.0}
    assert np.isnan(compute("smi", ts=299.8, ndvi=0.5, orog=0.0, **close))
    assert np.isnan(
        compute("smi", "inertia-verstraeten2006", albedo=0.2, ts_day=290.0, ts_night=290.5, ati_dry=0.02, ati_wet=0.06)
    )


def test_wet_ground_swings_less():
    day = np.linspace(292, 330, 200)
    found = compute("smi", "inertia-verstraeten2006", albedo=0.2, ts_day=day, ts_night=288.0, ati_dry=0.02, ati_wet=0.1)
    assert (np.diff(found) <= 0).all()
    assert found[0] == 1.0
    assert found[-1] == 0.0


def test_moist_air_means_moist_soil(vectors):
    v = vectors("le_pmjpl")
    # The package counts the deficit over 200 Pa.
    tas = v["Ta_C"] + 273.15
    vap = v["RH"] * 610.8 * np.exp(17.27 * v["Ta_C"] / (v["Ta_C"] + 237.3))
    assert np.allclose(compute("smi", "fisher2008", tas=tas, vap=vap, beta=200.0), v["fSM"], rtol=0.02, atol=1e-3)
    assert (np.diff(compute("smi", "fisher2008", tas=298.0, vap=np.linspace(0, 3160, 100))) >= 0).all()
