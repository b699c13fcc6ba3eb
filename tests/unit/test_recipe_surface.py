"""Recipes of surface products: choices between algorithms, loops of products that need one another."""

import numpy as np
import pytest

from pipshpc.chain import compile_chain
from pipshpc.errors import InputError
from pipshpc.plan import Offer
from pipshpc.product import load_cards
from pipshpc.recipe import resolve

AIR = ("tas", "huss", "ps", "clt", "orog")
REST2 = ("od550aer", "angstrom", "ozone", "prw", "lwp", "iwp")


def offer(*variables):
    times = np.array(["2006-04-01T00:00:00"], "datetime64[s]")
    return Offer(tuple(variables), times, 0.0, "x", "a forecast", "", {"orog": "beef"}, "feed")


def made(products, *variables):
    recipe = resolve(products, {}, offer(*variables), True)
    compile_chain(recipe, load_cards(), {"orog": 1})  # whatever is planned can be built
    return {s.name: s.algorithm or s.kind for s in recipe.steps}


def test_net_radiation_from_a_forecasts_surface():
    steps = made(["rn"], *AIR, "ts", "emis", "albedo", "linke")
    assert steps["rn"] == "sum" and steps["rns"] == "difference" and steps["rsus"] == "albedo"
    assert steps["albedo"] == steps["ts"] == steps["emis"] == "forcing"


def test_emissivity_comes_from_what_there_is():
    assert made(["rlus"], *AIR, "ts", "landtype")["emis"] == "landcover"
    assert made(["rlus"], *AIR, "ts", "landtype", "sr_red", "sr_nir")["emis"] == "ndvi-threshold"


def test_surface_temperature_takes_the_window_where_it_can():
    bands = ("bt11", "bt12", "landtype")
    assert made(["ts"], *bands, "prw")["ts"] == "gsw-du2015"
    assert made(["ts"], *bands)["ts"] == "gsw-du2015-any-column"
    assert made(["ts"], "bt11", "landtype")["ts"] == "emissivity-only"


def test_a_step_never_takes_the_place_of_what_it_is_made_of():
    """Blue-sky albedo needs the sunlight that needs an albedo; the forcing's must not slip in under its name."""
    sky = ("albedobs", "albedows", "rsds", "rsdsdiff", "albedo")
    recipe = resolve(["rsds"], {}, offer(*AIR, *REST2, *sky), True)
    seen = set()
    for step in recipe.steps:
        assert set(step.inputs.values()) <= seen, f"{step.name} takes what comes after it"
        seen.add(step.name)
    assert [s.algorithm for s in recipe.steps if s.name == "rsds"] == ["rest2-farms"]
    assert [s.kind for s in recipe.steps if s.name == "albedo"] == ["forcing"]


def test_what_is_missing_is_named_as_the_quantity_it_is():
    with pytest.raises(InputError, match=r"the first lacks albedo\. "):
        resolve(["rsds"], {}, offer(*AIR, *REST2), True)
