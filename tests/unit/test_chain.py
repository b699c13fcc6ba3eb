"""The block machine against plain NumPy: interpolation, chains, window means, sun, packing; blocks change nothing."""

import numpy as np
import pytest

from pipshpc import sun
from pipshpc.chain import compile_chain, run_block, sun_table
from pipshpc.place import place_block
from pipshpc.product import load_cards
from pipshpc.sourcegrid import SourceGrid
from pipshpc.task import Recipe, Sample, Step

CARDS = load_cards()
RLDS = Recipe(
    steps=[
        Step(name="tas", kind="forcing", source="tas"),
        Step(name="vap", kind="forcing", source="vap"),
        Step(name="clt", kind="forcing", source="clt"),
        Step(name="rlds", kind="kernel", source="rlds", algorithm=CARDS["rlds"].algorithms[0].name,
             inputs={"tas": "tas", "vap": "vap", "clt": "clt"}),
    ],
    outputs=["rlds"],
    choices=[],
)  # fmt: skip
RSDT = Recipe(
    steps=[
        Step(name="toa_normal", kind="geometry", source="toa_normal"),
        Step(name="cosz", kind="geometry", source="cosz"),
        Step(name="rsdt", kind="kernel", source="rsdt", algorithm=CARDS["rsdt"].algorithms[0].name,
             inputs={"cosz": "cosz", "toa_normal": "toa_normal"}),
    ],
    outputs=["rsdt"],
    choices=[],
)  # fmt: skip
GRID = SourceGrid(np.linspace(-90, 90, 37), np.arange(72) * 5.0, None, True)


def held(start="2019-06-21T00:00:00Z", hours=3.0):
    return Sample(first=start, second=start, weight=0.0, start=start, seconds=hours * 3600)


def fields(samples, seed=1):
    """Three smooth forcing fields per sample, with the first column repeated at the end."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(samples, 3, 37, 72)).astype(np.float32)
    values = np.array([280.0, 1000.0, 0.5])[:, None, None] + np.array([10.0, 200.0, 0.1])[:, None, None] * base
    values[:, 2] = np.clip(values[:, 2], 0, 1)
    return np.concatenate([values, values[..., :1]], axis=-1).astype(np.float32)


def compute(recipe, data, samples, bounds, lat, lon, period_h=3.0, product="rlds"):
    """Run one block and unpack it."""
    chain = compile_chain(recipe, CARDS, {})
    nwin, dtype = len(bounds) - 1, np.dtype(CARDS[product].packing.dtype)
    values = [np.full((nwin, lat.size, lon.size), -32768, dtype)]
    counts = [np.zeros((nwin, lat.size, lon.size), np.uint8)]
    addresses = np.array(
        [[data[s, k].ctypes.data for k in range(len(chain.fields))] for s in range(len(samples))], np.uint64
    ).reshape(len(samples), len(chain.fields))
    if not chain.fields:
        addresses = np.zeros((len(samples), 1), np.uint64)
    places = [place_block(GRID, 73, lat, lon)]
    table = sun_table(samples, period_h * 3600)
    run_block(chain, lat, lon, lon.size, places, addresses, np.array(bounds, np.int32), table, values, counts)
    packing = CARDS[product].packing
    unpacked = np.where(values[0] == -32768, np.nan, values[0] * packing.scale_factor + packing.add_offset)
    return unpacked, counts[0]


def bilinear(field, lat, lon):
    """Interpolate on GRID in double precision."""
    fy, fx = (lat + 90) / 5, (lon % 360) / 5
    j, i = np.minimum(fy.astype(int), 35), fx.astype(int)
    wy, wx = (fy - j)[:, None], (fx - i)[None, :]
    f = field.astype(float)
    low = f[j][:, i] * (1 - wx) + f[j][:, i + 1] * wx
    high = f[j + 1][:, i] * (1 - wx) + f[j + 1][:, i + 1] * wx
    return low * (1 - wy) + high * wy


LAT, LON = np.linspace(88.7, -89.3, 31), np.linspace(-177.3, 178.9, 53)


def test_interpolated_rlds_is_what_numpy_gives():
    import pipshpc

    data = fields(1)
    got, counts = compute(RLDS, data, [held()], [0, 1], LAT, LON)
    tas, vap, clt = (bilinear(data[0, k], LAT, LON) for k in range(3))
    wanted = pipshpc.compute("rlds", tas=tas, vap=vap, clt=clt)
    assert np.abs(got[0] - wanted).max() <= CARDS["rlds"].packing.scale_factor / 2 + 1e-3
    assert np.all(counts == 1)


def test_window_mean_leaves_out_missing_steps_and_counts_them():
    data = fields(3)
    data[1, 0] = np.nan
    start = ["2019-06-21T00:00:00Z", "2019-06-21T01:00:00Z", "2019-06-21T02:00:00Z"]
    samples = [held(s, 1.0) for s in start]
    mean, counts = compute(RLDS, data, samples, [0, 3], LAT, LON)
    single, _ = compute(RLDS, data, samples, [0, 1, 2, 3], LAT, LON)
    assert np.all(counts == 2)
    assert np.all(np.isnan(single[1]))
    assert np.abs(mean[0] - (single[0] + single[2]) / 2).max() <= CARDS["rlds"].packing.scale_factor * 1.01


def test_all_missing_is_missing():
    data = np.full_like(fields(1), np.nan)
    got, counts = compute(RLDS, data, [held()], [0, 1], LAT, LON)
    assert np.all(np.isnan(got))
    assert np.all(counts == 0)


def test_blocks_and_threads_of_any_size_give_the_same_bits():
    data = fields(1)
    whole, _ = compute(RLDS, data, [held()], [0, 1], LAT, LON)
    for rows, columns in ((1, 1), (7, 5), (31, 16), (10, 17)):
        for r in range(0, LAT.size, rows):
            for c in range(0, LON.size, columns):
                part, _ = compute(RLDS, data, [held()], [0, 1], LAT[r : r + rows], LON[c : c + columns])
                np.testing.assert_array_equal(part[0], whole[0, r : r + rows, c : c + columns])


def test_places_outside_a_regional_grid_are_missing():
    region = SourceGrid(np.linspace(40, 50, 11), np.linspace(0, 20, 21), None, False)
    chain = compile_chain(RLDS, CARDS, {})
    data = np.broadcast_to(np.array([280.0, 900.0, 0.4], np.float32)[:, None, None], (3, 11, 21)).copy()
    lat, lon = np.array([52.0, 45.0, 38.0]), np.array([-3.0, 10.0, 23.0])
    values, counts = [np.zeros((1, 3, 3), np.int16)], [np.zeros((1, 3, 3), np.uint8)]
    addresses = np.array([[data[k].ctypes.data for k in range(3)]], np.uint64)
    run_block(chain, lat, lon, 3, [place_block(region, 21, lat, lon)], addresses, np.array([0, 1], np.int32),
              sun_table([held()], 10800), values, counts)  # fmt: skip
    assert (values[0][0] != -32768).tolist() == [[False] * 3, [False, True, False], [False] * 3]


@pytest.mark.parametrize("day", ["2019-03-20", "2019-06-21", "2019-12-21", "2020-02-29"])
@pytest.mark.parametrize("hours", [1.0, 3.0, 24.0])
def test_sun_outside_the_atmosphere_is_the_exact_window_mean(day, hours):
    lat, lon = np.linspace(89.9, -89.9, 41), np.linspace(-179.9, 179.9, 37)
    starts = [f"{day}T{h:02d}:00:00Z" for h in range(0, 24, int(hours))]
    parts = max(1, int(hours / 3))
    begins = [np.datetime64(s.rstrip("Z")) + np.timedelta64(3 * k, "h") for s in starts for k in range(parts)]
    samples = [held(f"{b}Z", hours / parts) for b in begins]
    bounds = list(range(0, len(samples) + 1, parts))
    got, _ = compute(RSDT, np.zeros((len(samples), 1)), samples, bounds, lat, lon, hours, "rsdt")
    for k, start in enumerate(starts):
        when = np.datetime64(start.rstrip("Z"))
        mean, lit = sun.window_mean_cosz(lat[:, None], lon[None, :], when, hours)
        normal = sun.toa_normal(when + np.timedelta64(int(hours * 1800), "s"))
        # Over a day the declination moves by 0.4 degrees at most, which the reference takes at noon.
        tolerance = CARDS["rsdt"].packing.scale_factor / 2 + (0.02 if hours <= 3 else 1.5)
        assert np.abs(got[k] - mean * normal).max() <= tolerance
        if hours <= 3:
            assert np.all(got[k][lit == 0] == 0)


def test_missing_input_is_missing_at_night_too():
    name = CARDS["rsds"].algorithm("ineichen-kc1980")
    steps = [Step(name=n, kind="geometry", source=n) for n in ("cosz", "toa_normal")]
    rest = [n for n in name.inputs if n not in ("cosz", "toa_normal")]
    steps += [Step(name=n, kind="forcing", source=n) for n in rest]
    steps.append(
        Step(name="rsds", kind="kernel", source="rsds", algorithm=name.name, inputs={n: n for n in name.inputs})
    )
    recipe = Recipe(steps=steps, outputs=["rsds"], choices=[])
    plausible = {"linke": 3.0, "orog": 100.0, "clt": 0.3}
    data = np.stack([np.full((37, 73), plausible[n], np.float32) for n in rest])[None]
    data[:, rest.index("clt"), :, :20] = np.nan
    lat, lon = np.array([10.0, -20.0]), np.array([20.0, 60.0, 200.0, 300.0])
    got, counts = compute(recipe, data, [held()], [0, 1], lat, lon, product="rsds")
    assert np.isnan(got[0, :, :2]).all()
    assert np.isfinite(got[0, :, 2:]).all()
    assert got[0].min(initial=1e9, where=np.isfinite(got[0])) >= 0
    assert np.all(counts[0, :, :2] == 0)
