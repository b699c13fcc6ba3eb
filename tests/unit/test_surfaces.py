"""Kinds of surface in the block machine: what one of them does not need is not computed, and nobody sees that."""

import numpy as np
import pytest

from pipshpc.chain import AFTER, EVERYWHERE, compile_chain, needed_by, run_block, sun_table
from pipshpc.errors import SpecError
from pipshpc.kernel import compute
from pipshpc.place import place_block
from pipshpc.product import CARDS as CARDS_FOLDER
from pipshpc.product import SURFACES, load_cards
from pipshpc.recipe import resolve
from pipshpc.sourcegrid import SourceGrid
from pipshpc.task import Sample
from tests.unit.test_plan import offer

CARDS = load_cards()
WATER, LAND, ICE, SEAICE = range(4)
GRID = SourceGrid(np.linspace(-90, 90, 37), np.arange(72) * 5.0, None, True)
ORDERED = {
    "rn": "components",
    "rlds": "prata1996-konzelmann1994",
    "rsds": "ineichen-kc1980",
    "albedo": "cover-and-season",
    "emis": "landcover",
    "ndvi": "range-and-season",
    "ts": "by-surface",
    "hfdsl": "su2002",
    "hfss": "by-surface",
    "hfls": "by-surface",
    "smi": "fisher2008-land",
}
FORCING = {"tas": 290.0, "tdps": 280.0, "ps": 98000.0, "clt": 0.4, "sfcWind": 4.0}
STATES = {"tos": 288.0, "siconc": 0.0, "greenness": 0.6}
STATICS = {
    "land": 1.0,
    "landcover": 10.0,
    "ndvi_min": 0.2,
    "ndvi_max": 0.7,
    "orog": 300.0,
    "orog_in": 250.0,
    "linke": 3.0,
}


def flux_recipe(products=("rn", "hfdsl", "hfss", "hfls", "smi", "ts"), **changed):
    have = offer()
    have = type(have)(
        **{**have.__dict__, "variables": (*FORCING, *STATES), "states": tuple(STATES),
           "statics": dict.fromkeys(STATICS, "0")}
    )  # fmt: skip
    return resolve(list(products), {**ORDERED, **changed}, have, downscale=True)


def run(recipe, lat, lon, given, hours=24.0, day="2019-06-21"):
    """Run one block; `given` overrides constants by numbers or by arrays (rows, columns) of the source grid."""
    statics = dict.fromkeys(STATICS, 0)
    chain = compile_chain(recipe, CARDS, statics)
    count = int(hours / 3)
    starts = [f"{day}T{3 * k:02d}:00:00Z" for k in range(count)]
    samples = [Sample(first=t, second=t, weight=0.0, start=t, seconds=10800.0) for t in starts]
    fields = []
    for field in chain.fields:
        value = given.get(field.name, {**FORCING, **STATES, **STATICS}[field.name])
        whole = np.empty((37, 73), np.float32)
        whole[:, :72] = value
        whole[:, 72] = whole[:, 0]
        fields.append(whole)
    addresses = np.array([[f.ctypes.data for f in fields]] * count, np.uint64)
    values = [np.empty((1, lat.size, lon.size), CARDS[p].packing.dtype) for p in recipe.outputs]
    counts = [np.empty((1, lat.size, lon.size), np.uint8) for _ in recipe.outputs]
    places = [place_block(GRID, 73, lat, lon, nearest=True)]
    table = sun_table(samples, hours * 3600)
    run_block(chain, lat, lon, lon.size, places, addresses, np.array([0, count], np.int32), table, values, counts)
    found = {}
    for product, stored in zip(recipe.outputs, values, strict=True):
        packing = CARDS[product].packing
        fill = {"int16": -32768, "uint8": 255}[packing.dtype]
        found[product] = np.where(stored[0] == fill, np.nan, stored[0] * packing.scale_factor + packing.add_offset)
    return found


def mosaic(seed=7):
    """Cells of all kinds of surface, coasts everywhere."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([WATER, LAND, ICE, SEAICE], size=(37, 72), p=[0.4, 0.4, 0.1, 0.1])
    return kind, {
        "land": ((kind == LAND) | (kind == ICE)).astype(np.float32),
        "landcover": np.choose(kind, [0, rng.integers(1, 15, kind.shape), 15, 0]).astype(np.float32),
        "siconc": (kind == SEAICE).astype(np.float32),
        "tos": 285.0 + rng.normal(size=kind.shape),
    }


LAT, LON = 40 - (np.arange(24) + 0.5) * 0.5, -20 + (np.arange(200) + 0.5) * 0.3


def test_surface_names_are_in_the_order_of_their_numbers():
    assert SURFACES == ("water", "land", "ice", "seaice")
    assert float(compute("surface", landtype=0.0, siconc=0.0)) == WATER
    assert float(compute("surface", landtype=5.0, siconc=1.0)) == LAND
    assert float(compute("surface", landtype=15.0, siconc=0.0)) == ICE
    assert float(compute("surface", landtype=0.0, siconc=0.9)) == SEAICE


def test_steps_are_needed_where_their_consumers_are():
    recipe = flux_recipe()
    need = needed_by(recipe)
    on = {name: 1 << k for k, name in enumerate(SURFACES)}
    assert need["z0m"] == need["hfss@sebs2002"] == on["land"]
    assert need["hfss@coare36"] == need["tos"] == on["water"]
    assert need["hfss@marks-dozier1992"] == on["ice"] | on["seaice"]
    assert need["surface"] == need["landtype"] == need["rsds"] == EVERYWHERE


def test_both_heat_fluxes_come_from_one_call():
    recipe = flux_recipe(("hfss", "hfls"))
    alone = flux_recipe(("hfss",))
    assert len(compile_chain(recipe, CARDS, dict.fromkeys(STATICS, 0)).fields) == len(
        compile_chain(alone, CARDS, dict.fromkeys(STATICS, 0)).fields
    )
    found = run(recipe, LAT, LON, mosaic()[1])
    assert np.isfinite(found["hfss"]).all()
    assert np.isfinite(found["hfls"]).all()


def test_a_mosaic_is_what_each_surface_gives_alone():
    """Leaving vectors out changes no bit: against runs in which all of the globe is one surface."""
    kind, given = mosaic()
    rows = np.floor((LAT + 90) / 5 + 0.5).astype(int)
    columns = np.floor((LON % 360) / 5 + 0.5).astype(int) % 72
    of_pixel = kind[rows][:, columns]
    recipe = flux_recipe()
    mixed = run(recipe, LAT, LON, given)
    for which in (WATER, LAND, ICE, SEAICE):
        chosen = of_pixel == which
        assert chosen.sum() > 100
        cover = np.where(given["landcover"] % 15 == 0, 10, given["landcover"])
        alone = run(recipe, LAT, LON, given | {
            "land": float(which in (LAND, ICE)),
            "landcover": {WATER: 0.0, LAND: cover, ICE: 15.0, SEAICE: 0.0}[which],
            "siconc": float(which == SEAICE),
        })  # fmt: skip
        for product, field in mixed.items():
            assert np.array_equal(field[chosen], alone[product][chosen], equal_nan=True), (product, which)


def test_columns_of_a_block_do_not_matter():
    _, given = mosaic()
    recipe = flux_recipe()
    whole = run(recipe, LAT, LON, given)
    for first, last in ((0, 17), (17, 33), (33, 200)):
        part = run(recipe, LAT[5:], LON[first:last], given)
        for product, field in whole.items():
            assert np.array_equal(field[5:, first:last], part[product], equal_nan=True), product


def test_land_products_are_missing_on_water_and_ice():
    kind, given = mosaic()
    rows = np.floor((LAT + 90) / 5 + 0.5).astype(int)
    columns = np.floor((LON % 360) / 5 + 0.5).astype(int) % 72
    smi = run(flux_recipe(("smi",)), LAT, LON, given)["smi"]
    assert np.array_equal(np.isfinite(smi), kind[rows][:, columns] == LAND)


@pytest.mark.parametrize(
    "given", [{}, {"clt": 1.0}, {"sfcWind": 0.0}, {"landcover": 16.0, "ndvi_max": 0.2}, {"tas": 250.0, "tdps": 245.0}]
)
def test_the_balance_of_land_closes(given):
    """The rest of four packed fields, each good to half of its step."""
    found = run(flux_recipe(), LAT, LON, given)
    rest = found["rn"] - found["hfdsl"] - found["hfss"] - found["hfls"]
    steps = sum(CARDS[p].packing.scale_factor / 2 for p in ("rn", "hfdsl", "hfss", "hfls"))
    assert np.abs(rest).max() <= 0.01 + steps < 0.1


def test_polar_night_is_dark_and_still_loses_heat():
    """At night net radiation is that of long waves: what follows the sun has its mean over all of a time step."""
    lat = 80 + (np.arange(8) + 0.5)
    found = run(flux_recipe(), lat[::-1].copy(), LON[:40], {"tas": 250.0, "tdps": 246.0}, day="2019-12-21")
    assert (found["rn"] < -10).all()
    assert (found["rn"] > -150).all()
    assert np.isfinite(found["hfss"]).all()


def test_net_radiation_is_the_sum_of_its_parts_over_a_day():
    """Sunlit and unlit parts of the day are weighed alike: rn = (1 - albedo) rsds + longwave, as means."""
    recipe = flux_recipe(("rn", "rsds", "rlds", "ts", "albedo"))
    found = run(recipe, LAT, LON, {"ndvi_min": 0.0, "ndvi_max": 0.0}, hours=3.0)
    shortwave = (1 - found["albedo"]) * found["rsds"]
    emis = float(compute("emis", "landcover", landtype=10.0))
    longwave = emis * (found["rlds"] - 5.670374419e-8 * found["ts"] ** 4)
    assert np.abs(found["rn"] - shortwave - longwave).max() < 0.2
    assert found["rsds"].min() < 1 < found["rsds"].max()


def test_what_follows_the_sun_cannot_take_its_own_mean():
    recipe = flux_recipe(("rsds",))
    steps = [*recipe.steps]
    last = steps[-1]
    late = type(last)(name="hfdsl", kind="kernel", source="hfdsl", algorithm="su2002",
                      inputs={"rn": "rsds", "fveg": "orog", "landtype": "orog"})  # fmt: skip
    again = type(last)(name="rsdsdiff", kind="kernel", source="rsdsdiff", algorithm="erbs1982",
                       inputs={"cosz": "cosz", "toa_normal": "toa_normal", "rsds": "hfdsl"})  # fmt: skip
    recipe = type(recipe)(steps=[*steps, late, again], outputs=["rsdsdiff"], choices=[])
    with pytest.raises(SpecError, match="a mean over the sun's path"):
        compile_chain(recipe, CARDS, dict.fromkeys(STATICS, 0))
    assert AFTER > 2


def test_an_algorithm_by_surface_needs_its_surfaces(tmp_path):
    text = (CARDS_FOLDER / "smi.yaml").read_text()
    (tmp_path / "smi.yaml").write_text(text.replace('by: {land: "fisher2008"}', 'by: {sand: "fisher2008"}'))
    with pytest.raises(SpecError, match="sand"):
        load_cards(tmp_path)


def test_algorithms_by_surface_are_not_for_arrays():
    with pytest.raises(SpecError, match="coare36"):
        compute("hfss", "by-surface", surface=0.0)
