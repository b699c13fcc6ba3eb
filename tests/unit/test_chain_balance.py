"""Chains that add what follows the sun and what goes on at night."""

import numpy as np
import pytest

import pipshpc
from pipshpc import sun
from pipshpc.chain import compile_chain, run_block, sun_table
from pipshpc.errors import SpecError
from pipshpc.place import place_block
from pipshpc.product import load_cards
from pipshpc.sourcegrid import SourceGrid
from pipshpc.task import Recipe, Sample, Step

CARDS = load_cards()
GRID = SourceGrid(np.linspace(-90, 90, 37), np.arange(72) * 5.0, None, True)
STATE = {"albedo": 0.3, "rlds": 320.0, "ts": 290.0, "emis": 0.97}
LAT, LON = np.array([70.0, 10.0, -40.0, -85.0]), np.arange(-175.0, 180.0, 10.0)
START = "2019-06-21T00:00:00Z"


def kernel(name, algorithm, **inputs):
    chosen = CARDS[name].algorithm(algorithm)
    return Step(
        name=name,
        kind="kernel",
        source=name,
        algorithm=algorithm,
        inputs={n: inputs.get(n, n) for n in chosen.inputs},
    )


def recipe(*outputs):
    """Net radiation under a sky without air: what comes in outside the atmosphere reaches the ground."""
    steps = [Step(name=n, kind="geometry", source=n) for n in ("cosz", "toa_normal")]
    steps += [Step(name=n, kind="forcing", source=n) for n in STATE]
    steps += [
        kernel("rsdt", "geometry"),
        Step(name="rsds", kind="kernel", source="=", inputs={"same": "rsdt"}),
        kernel("rsus", "albedo"),
        kernel("rns", "difference"),
        kernel("rlus", "grey-body"),
        kernel("rnl", "difference"),
        kernel("rn", "sum"),
    ]
    return Recipe(steps=steps, outputs=list(outputs), choices=[])


def run(plan, hours=3.0, gap=None):
    chain = compile_chain(plan, CARDS, {})
    data = {f.name: np.full((37, 73), STATE[f.name], np.float32) for f in chain.fields}
    if gap:
        data[gap][:, :30] = np.nan
    shape = (1, LAT.size, LON.size)
    values = [np.zeros(shape, np.int16) for _ in plan.outputs]
    counts = [np.zeros(shape, np.uint8) for _ in plan.outputs]
    addresses = np.array([[data[f.name].ctypes.data for f in chain.fields]], np.uint64)
    sample = Sample(first=START, second=START, weight=0.0, start=START, seconds=hours * 3600)
    run_block(chain, LAT, LON, LON.size, [place_block(GRID, 73, LAT, LON)], addresses, np.array([0, 1], np.int32),
              sun_table([sample], hours * 3600), values, counts)  # fmt: skip
    found = {}
    for name, stored in zip(plan.outputs, values, strict=True):
        packing = CARDS[name].packing
        found[name] = np.where(stored[0] == -32768, np.nan, stored[0] * packing.scale_factor + packing.add_offset)
    return found


def expected():
    mean, lit = sun.window_mean_cosz(LAT[:, None], LON[None, :], np.datetime64("2019-06-21T00:00:00"), 3.0)
    incoming = mean * sun.toa_normal(np.datetime64("2019-06-21T01:30:00"))
    state = {n: STATE[n] for n in ("rlds", "ts", "emis")}
    return incoming, float(pipshpc.compute("rnl", "grey-body", **state)), lit


def test_net_radiation_keeps_the_night():
    incoming, rnl, lit = expected()
    rn = run(recipe("rn"))["rn"]
    assert (lit == 0).any() and ((lit > 0) & (lit < 1)).any() and (lit == 1).any()
    assert np.abs(rn - (0.7 * incoming + rnl)).max() < 0.1
    assert np.allclose(rn[lit == 0], rnl, atol=0.05)


def test_the_balance_closes_among_the_outputs_of_one_chain():
    incoming, _, _ = expected()
    found = run(recipe("rsus", "rns", "rnl", "rn", "rsdt"))
    assert np.abs(found["rn"] - found["rns"] - found["rnl"]).max() <= 0.08  # three roundings
    assert np.abs(found["rsus"] - 0.3 * incoming).max() < 0.08
    assert np.abs(found["rsdt"] - found["rsus"] - found["rns"]).max() <= 0.08


def test_what_is_missing_by_day_is_missing_by_night_in_all_that_follows():
    found = run(recipe("rsus", "rn"), gap="albedo")
    for values in found.values():
        assert np.isnan(values[:, (LON > 5) & (LON < 140)]).all()
        assert np.isfinite(values[:, (LON > -175) & (LON < -10)]).all()


def test_a_chain_without_the_sun_has_no_instants():
    """Reflected sunlight of a given mean flux: nothing follows the sun, and the night is not cut away."""
    steps = [Step(name=n, kind="forcing", source=n) for n in ("rlds", "albedo")]
    steps += [Step(name="rsds", kind="kernel", source="=", inputs={"same": "rlds"}), kernel("rsus", "albedo")]
    found = run(Recipe(steps=steps, outputs=["rsus"], choices=[]))
    assert np.allclose(found["rsus"], 0.3 * 320.0, atol=0.03)


def test_a_mean_cannot_be_had_at_instants():
    steps = [Step(name=n, kind="geometry", source=n) for n in ("cosz", "toa_normal")]
    steps += [Step(name="albedo", kind="forcing", source="albedo"), kernel("rsdt", "geometry")]
    steps += [
        kernel("rns", "difference", rsds="rsdt", rsus="rsdt"),
        kernel("rsus", "albedo", rsds="rsdt", albedo="rns"),
    ]
    with pytest.raises(SpecError, match="mean over the"):
        compile_chain(Recipe(steps=steps, outputs=["rsus"], choices=[]), CARDS, {})
