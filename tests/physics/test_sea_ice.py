"""Sea ice: against pm_icecon, laws of both algorithms, corrections along coasts, sums that know no order."""

import numpy as np
import pytest

from pipshpc import compute
from pipshpc.amount import Amount, mass_change, measure_ice
from pipshpc.errors import SpecError
from pipshpc.seaice import (
    correct_coast,
    correct_spill_over,
    fill_pole,
    find_bootstrap,
    find_tiepoints,
    make_shore,
    nasateam_coefficients,
    nasateam_parameters,
)
from pipshpc.tiepoints import FirstPass, SecondPass, fixed_points
from pipshpc.tiepoints import find_tiepoints as find_daily

CHANNELS = ("tb19v", "tb19h", "tb22v", "tb37v")
SENSORS = {"f13": "f13", "f17_final": "f17", "amsru_a2": "amsr2", "n07": "smmr"}
SIDES = {"n": "north", "s": "south"}


def mixed(share, older, tie):
    """Brightness temperatures of open water, first-year and multi-year ice side by side."""
    parts = np.stack([1 - share, share * (1 - older), share * older])
    names = {"tb19h": tie.h19, "tb19v": tie.v19, "tb37v": tie.v37}
    found = {n: np.tensordot(np.array(t), parts, 1) for n, t in names.items()}
    return {**found, "tb22v": found["tb19v"]}


def scene(n=60000, seed=0):
    """Brightness temperatures of a hemisphere's water, weather and ice, and what the day's lines should be."""
    rng = np.random.default_rng(seed)
    ice = rng.random(n) < 0.4
    share = np.where(ice, np.minimum(1.05 - rng.random(n) ** 3, 1.0), 0.0)
    warm = rng.normal(250.0, 6.0, n)
    v37 = share * warm + (1 - share) * (203.0 + 2 * np.abs(rng.normal(0, 1.5, n)))
    h37 = share * (1.05 * warm - 27.0 + rng.normal(0, 1, n)) + (1 - share) * (134.0 + 4 * np.abs(rng.normal(0, 2, n)))
    v19 = share * (0.6 * warm + 100.0 + rng.normal(0, 1, n)) + (1 - share) * (180.0 + np.abs(rng.normal(0, 2, n)))
    layered = ice & (rng.random(n) < 0.3)  # what 37 GHz horizontal sees too low
    h37 = h37 - 14 * layered
    v19 = v19 + 4 * layered
    v22 = v19 + np.where(ice, 2.0, 18.0)
    return [a.astype(np.float32) for a in (v37, h37, v19, v22)]


def test_nasateam_against_pm_icecon(vectors):
    v = vectors("seaice_nasateam")
    for sensor, hemisphere in sorted(set(zip(v["sensor"], v["hem"], strict=True))):
        at = (v["sensor"] == sensor) & (v["hem"] == hemisphere) & (v["invalid"] == 0)
        x = {n: v[n][at] for n in CHANNELS}
        own = nasateam_parameters(SENSORS[sensor], SIDES[hemisphere])
        never = {**own, "gr3719_most": 9.0, "gr2219_most": 9.0}
        assert np.allclose(100 * compute("sicraw", "nasateam", **x, **never), v["conc_raw_pct"][at], atol=2e-4)
        limits = {"gr3719_most": v["gr3719_thr"][at][0], "gr2219_most": v["gr2219_thr"][at][0]}
        final = np.where(v["weather"][at] == 1, 0, np.minimum(v["conc_raw_pct"][at], 100))
        assert np.allclose(100 * compute("siconc", "nasateam", **x, **{**own, **limits}), final, atol=2e-4)


@pytest.mark.parametrize("hemisphere", ["north", "south"])
@pytest.mark.parametrize("sensor", ["f13", "f17", "amsr2", "smmr"])
def test_nasateam_gives_back_what_was_mixed(sensor, hemisphere):
    """Linear mixing of the tie points is inverted exactly."""
    share, older = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 11))
    x = mixed(share, older, find_tiepoints(sensor, hemisphere))
    own = {**nasateam_parameters(sensor, hemisphere), "gr3719_most": 9.0, "gr2219_most": 9.0}
    assert np.allclose(compute("siconc", "nasateam", **x, **own), share, atol=2e-5)
    assert np.allclose(compute("sicmy", "nasateam", **x, **own), share * older, atol=5e-5)


def test_coefficients_of_the_reference_note():
    found = nasateam_coefficients(find_tiepoints("f17", "north"))
    wanted = {"a": 2850.64, "b": -18856.0, "c": 19575.4, "d": 41282.0, "e": 1673.0, "f": 6555.5, "g": -3671.4}
    wanted |= {"h": -8554.0, "i": -800.2, "j": 12484.5, "k": -28656.3, "l": -41941.0}
    assert all(found[n] == pytest.approx(w, abs=0.06) for n, w in wanted.items())


def test_unknown_sensor_is_named_with_the_known_ones():
    with pytest.raises(SpecError, match="f13"):
        nasateam_parameters("f99", "north")
    with pytest.raises(SpecError, match="north"):
        find_bootstrap("east")


def test_brightness_temperatures_that_cannot_be_are_missing():
    x = dict.fromkeys(CHANNELS, np.full(4, 220.0))
    x["tb19v"] = np.array([0.0, np.nan, 350.0, 250.0])
    assert np.isnan(compute("siconc", "nasateam", **x)).tolist() == [True, True, True, False]
    y = {"tb37v": x["tb19v"], "tb37h": np.full(4, 200.0), "tb19v": np.full(4, 240.0), "tb22v": np.full(4, 245.0)}
    assert np.isnan(compute("siconc", "bootstrap", **y)).tolist() == [True, True, True, False]


def test_bootstrap_against_pm_icecon(vectors):
    v = vectors("seaice_bootstrap")
    for hemisphere, algorithm in (("n", "bootstrap"), ("s", "bootstrap-south")):
        at = v["hem"] == hemisphere
        points = fixed_points(find_bootstrap(SIDES[hemisphere]))
        assert points.below == pytest.approx(v["ad_line_offset"][at][0], abs=1e-6)
        x = {n: v[n][at] for n in ("tb37v", "tb37h", "tb19v", "tb22v")}
        raw = np.where(v["water_mask"][at] == 1, 0, v["conc_pct"][at])
        assert np.allclose(100 * compute("sicraw", algorithm, **x), raw, atol=1e-3)
        assert np.allclose(100 * compute("siconc", algorithm, **x), np.where(raw < 10, 0, raw), atol=1e-3)
        dry = {"wet_offset": -999.0, "wet_slope": 0.0, "wet_most": 999.0}
        assert np.allclose(100 * compute("sicraw", algorithm, **x, **dry), v["conc_pct"][at], atol=1e-3)
        daily = compute("siconc", algorithm.replace("bootstrap", "bootstrap-daily"), **x, **points.inputs())
        assert np.array_equal(daily, compute("siconc", algorithm, **x))


def test_bootstrap_is_between_0_and_1_and_grows_along_the_ray():
    p = fixed_points(find_bootstrap("north"))
    way = np.linspace(0, 1.2, 200)
    line = p.offset37h + p.slope37h * 250.0
    x = {"tb37v": p.wtp37v + way * (250.0 - p.wtp37v), "tb37h": p.wtp37h + way * (line - p.wtp37h)}
    found = compute(
        "sicraw", "bootstrap", **x, tb19v=x["tb37v"] + 5, tb22v=x["tb37v"] + 5, wet_most=99.0, wet_offset=-9.0
    )
    above = way > 0.93  # there 37 GHz horizontal decides
    assert np.allclose(found[above], np.minimum(way, 1)[above], atol=2e-5)
    assert (np.diff(found[above]) >= -1e-6).all()
    rng = np.random.default_rng(1)
    anything = {n: rng.uniform(10, 320, 50000) for n in ("tb37v", "tb37h", "tb19v", "tb22v")}
    some = compute("siconc", "bootstrap", **anything)
    assert some.min() >= 0
    assert some.max() <= 1
    assert not ((some > 0) & (some < 0.1)).any()


def test_daily_points_against_least_squares_and_histogram():
    v37, h37, v19, v22 = scene()
    numbers = find_bootstrap("north")
    found = find_daily(v37, h37, v19, v22, numbers)
    assert found.fitted
    wet = (numbers.wet_winter[1] * v22 + numbers.wet_winter[0] > v19) | (v22 - v19 > numbers.wet_winter[2])
    water = wet & ((numbers.above_h37[1] * v37 + numbers.above_h37[0] > h37) | (v37 >= 230))
    ice = ~water & (h37 > v37 * numbers.above_h37[1] + numbers.above_h37[0])
    slope, offset = np.polyfit(v37[ice].astype(float), h37[ice].astype(float), 1)
    assert found.slope37h == pytest.approx(slope, abs=1e-5)
    assert found.offset37h == pytest.approx(offset, abs=2e-3)
    lower = ~water & (h37 <= v37 * found.slope37h + found.offset37h - found.below)
    lower &= v19 > v37 * numbers.above_v19[1] + numbers.above_v19[0]
    slope, offset = np.polyfit(v37[lower].astype(float), v19[lower].astype(float), 1)
    assert found.slope19v == pytest.approx(slope, abs=1e-5)
    assert found.offset19v == pytest.approx(offset - 2.0, abs=2e-3)
    assert found.wtp37v == pytest.approx(np.quantile(v37[water], 0.02), abs=0.3)
    assert found.wtp37h == pytest.approx(np.quantile(h37[water], 0.02), abs=0.3)


@pytest.mark.parametrize("parts", [2, 7])
def test_daily_points_have_the_same_bits_from_parts_in_any_order(parts):
    fields = scene(seed=2)
    numbers = find_bootstrap("north")
    whole = find_daily(*fields, numbers)
    pieces = list(zip(*(np.array_split(a, parts) for a in fields), strict=True))[::-1]

    def reduced(make):
        total = make()
        for piece in pieces:
            one = make()
            one.add(*piece)
            total.merge(one)
        return total.finish()

    first = reduced(lambda: FirstPass(numbers))
    assert reduced(lambda: SecondPass(numbers, first)) == whole


def test_without_ice_the_fixed_points_are_taken():
    water = [np.full(500, t, np.float32) for t in (150.0, 100.0, 150.0, 165.0)]
    found = find_daily(*water, find_bootstrap("south"))
    assert not found.fitted
    assert found.inputs() == pytest.approx({**fixed_points(find_bootstrap("south")).inputs()}, abs=1e-9)


def coast(rows=60, columns=50, seed=0):
    """A field of ice with a ragged coast."""
    rng = np.random.default_rng(seed)
    land = rng.random((rows, columns)) < 0.15
    raw = np.clip(rng.normal(0.3, 0.4, (rows, columns)), 0, 1.1).astype(np.float32)
    raw[rng.random((rows, columns)) < 0.03] = np.nan
    raw[land] = np.nan
    return raw, land


def spilled_by_numpy(raw, shore, least):
    """The rule with shifted copies of the field, as the published code has it."""
    low = np.zeros((3, *raw.shape), int)
    padded = np.pad(np.nan_to_num(raw, nan=9.0), 3, constant_values=9.0)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            shifted = padded[3 + dy : 3 + dy + raw.shape[0], 3 + dx : 3 + dx + raw.shape[1]] < np.float32(0.15)
            for reach in range(max(abs(dy), abs(dx), 1), 4):
                low[reach - 1] += shifted
    out = raw.copy()
    for code, reach in ((5, 1), (4, 2), (3, 3)):
        at = (shore == code) & (low[reach - 1] >= 3)
        out[at] = np.maximum(raw[at] - np.minimum(least[at], np.float32(0.2 * reach)), 0)
    return np.minimum(out, 1)


def test_spill_over_against_shifted_copies():
    raw, land = coast()
    shore = make_shore(land)
    least = np.random.default_rng(3).uniform(0, 1, raw.shape).astype(np.float32)
    found = correct_spill_over(raw, shore, least)
    assert np.allclose(found, spilled_by_numpy(raw, shore, least), atol=1e-6, equal_nan=True)
    assert (found <= np.minimum(raw, 1))[np.isfinite(raw)].all()
    assert (found < raw)[np.isfinite(raw)].any()
    assert np.array_equal(correct_spill_over(raw, shore, least, threads=2), found, equal_nan=True)


def test_open_sea_keeps_its_ice():
    raw, _ = coast()
    raw = np.nan_to_num(raw, nan=0.5)
    none = np.zeros(raw.shape, bool)
    assert np.array_equal(correct_spill_over(raw, make_shore(none), np.ones_like(raw)), np.minimum(raw, 1))
    assert np.array_equal(correct_coast(raw, none), np.where(raw < 0.1, 0, raw))


@pytest.mark.parametrize("halo", [2, 3])
def test_a_split_field_with_halo_gives_the_whole_ones_values(halo):
    raw, land = coast(seed=4)
    shore, least = make_shore(land), np.full(raw.shape, 0.5, np.float32)
    makers = [lambda at: correct_coast(raw[at], land[at])]
    if halo == 3:
        makers.append(lambda at: correct_spill_over(raw[at], shore[at], least[at]))
    for make in makers:
        whole = make(np.s_[:, :])
        for first, last in ((0, 20), (20, 41), (41, 60)):
            top = max(first - halo, 0)
            part = make(np.s_[top : last + halo, :])
            assert np.array_equal(part[first - top : last - top], whole[first:last], equal_nan=True)


def test_coast_rule_is_the_same_in_all_four_directions():
    raw, land = coast(seed=5)
    whole = correct_coast(raw, land)
    assert np.array_equal(correct_coast(raw[::-1], land[::-1])[::-1], whole, equal_nan=True)
    assert np.array_equal(correct_coast(raw[:, ::-1], land[:, ::-1])[:, ::-1], whole, equal_nan=True)
    assert np.array_equal(correct_coast(raw.T, land.T).T, whole, equal_nan=True)


def test_thin_ice_between_land_and_water_goes_and_pack_ice_stays():
    land = np.zeros((9, 12), bool)
    land[:, :3] = True
    thin = np.zeros(land.shape, np.float32)
    thin[:, 3] = 0.4
    assert correct_coast(thin, land)[1:-1].max() == 0
    two = thin.copy()
    two[:, 4] = 0.3
    assert correct_coast(two, land)[2:-2].max() == 0
    pack = np.where(land, 0, 0.9).astype(np.float32)
    assert (correct_coast(pack, land)[:, 3:] == np.float32(0.9)).all()


def test_shore_map_counts_from_the_coast():
    land = np.zeros((1, 8), bool)
    land[0, :2] = True
    assert make_shore(land)[0].tolist() == [1, 2, 5, 4, 3, 0, 0, 0]


def test_pole_hole_takes_the_mean_about_it():
    lat = np.linspace(80, 90, 101)[:, None] * np.ones(4)
    ice = np.where(lat > 87.2, np.nan, np.where(lat > 86.05, 0.95, 0.5)).astype(np.float32)
    filled = fill_pole(ice, lat, 87.2)
    assert np.allclose(filled[lat > 87.2], 0.95, atol=0.01)
    assert np.array_equal(filled[lat <= 87.2], ice[lat <= 87.2])
    with pytest.raises(SpecError, match="give the hole's edge"):
        fill_pole(np.full(lat.shape, np.nan, np.float32), lat, 87.2)


def test_sums_do_not_know_their_order():
    rng = np.random.default_rng(6)
    ice = rng.random(40000).astype(np.float32)
    area = rng.uniform(100, 700, ice.size)
    whole = Amount()
    whole.add(ice, area)
    assert whole.value == pytest.approx(float((ice.astype(float) * area).sum()), rel=1e-10)
    order = rng.permutation(ice.size)
    parts = Amount()
    for piece in np.array_split(order, 9):
        one = Amount()
        one.add(ice[piece], area[piece])
        parts.merge(one)
    assert parts == whole
    cover = measure_ice(ice, area)
    assert cover.extent >= cover.area > 0
    assert measure_ice(np.array([0.14, 0.15, 1.0, np.nan], np.float32), 625.0).extent == 1250.0
    assert mass_change(np.full(4, 110.0, np.float32), np.full(4, 100.0, np.float32), 2.5e5) == pytest.approx(10.0)
    with pytest.raises(OverflowError, match="larger unit"):
        whole.add(np.array([1e13]))


def test_ice_temperature_against_public_codes(vectors):
    v = vectors("seaice_ist_key")
    for south, algorithm in ((0, "hall2004"), (1, "hall2004-south")):
        at = v["south"] == south
        x = {"tb11": v["t31"][at], "tb12": v["t32"][at], "vza": v["vza"][at]}
        found = compute("sitemptop", algorithm, **x, siconc=1.0)
        assert np.allclose(found, v["ist_K"][at], atol=2e-4)
        assert np.isnan(compute("sitemptop", algorithm, **x, siconc=0.1)).all()


def test_ice_is_not_warmer_than_melting_and_both_algorithms_agree_when_dry():
    t = np.linspace(215, 285, 200)
    for algorithm, rest in (("hall2004", {"tb12": t, "vza": 20.0}), ("single-channel", {"rlds": 180.0})):
        found = compute("sitemptop", algorithm, tb11=t, siconc=0.95, **rest)
        assert np.nanmax(found) <= 273.35
        assert np.isnan(found[t > 275]).all()
        seen = np.isfinite(found)
        assert np.abs(found - t)[seen].max() < 1.5
        assert (np.diff(found[seen]) > -0.11).all()  # a step where classes meet
