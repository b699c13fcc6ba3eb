"""Downward longwave radiation: packages, laws, and a real global forecast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import compute
from pipshpc.product import find_card

SIGMA = 5.670374419e-8
SMRF = 5.6697e-8
BY_SURFACE = [a.name for a in find_card("rlds").algorithms if set(a.inputs) == {"tas", "vap", "clt"}]
PRATA = [name for name in BY_SURFACE if name.startswith("prata")]


def saturation(t):
    return 611.2 * np.exp(17.67 * (t - 273.15) / (t - 29.65))


def black(t, sigma=SIGMA):
    return sigma * np.asarray(t, dtype=np.float64) ** 4


@pytest.mark.parametrize("name", PRATA)
def test_prata_clear_sky_against_jpl(vectors, name):
    v = vectors("dlr_prata_jpl")
    found = compute("rlds", name, tas=v["Ta_K"], vap=100.0 * v["ea_hPa"], clt=0.0)
    assert np.allclose(found, v["dlr_clear_Wm2"] * SIGMA / 5.67036713e-8, atol=2e-3)
    assert np.allclose(found / black(v["Ta_K"]), v["emiss_prata"], atol=2e-6)


def test_prata_clear_sky_against_openamundsen(vectors):
    v = vectors("dlr_humidity_openamundsen")
    found = compute("rlds", tas=v["T_K"], vap=v["vap_pressure_Pa"], clt=0.0)
    # The package takes w = 4.6.. e/T with a little other factor than 4.65.
    w = v["precipitable_water_kgm2"] * v["T_K"] / 4.65
    assert np.allclose(found, v["dlr_clear_Wm2"], rtol=2e-3)
    assert np.allclose(compute("rlds", tas=v["T_K"], vap=w, clt=0.0), v["dlr_clear_Wm2"], atol=2e-3)


def test_prata_is_not_fed_millimetres(vectors):
    """Precipitable water in mm makes the sky nearly black; a well-known mistake that must not come back."""
    v = vectors("dlr_smrf_pytseb")
    found = compute("rlds", tas=v["Ta_K"], vap=100.0 * v["ea_hPa"], clt=0.0)
    humid = v["ea_hPa"] > 1.0
    assert (v["dlr_prata_smrf_BUGGY_w_in_mm"][humid] - found[humid] > 15.0).all()


def test_clear_and_cloud_terms_against_smrf(vectors):
    v = vectors("dlr_smrf_pytseb")
    scale = SIGMA / SMRF
    t, e, n = v["Ta_K"], 100.0 * v["ea_hPa"], v["cloud"]
    humid = v["ea_hPa"] > 0.05  # below, our emissivity is held
    brutsaert = compute("rlds", "brutsaert1975-um1975", tas=t, vap=e, clt=0.0)
    expected = np.minimum(v["emiss_brutsaert_pytseb"], 1.0) * black(t)
    assert np.allclose(brutsaert[humid], expected[humid], atol=2e-3)
    assert np.allclose(
        compute("rlds", "brutsaert1975-um1975", tas=t, vap=e, clt=n)[humid],
        v["dlr_unsworth_of_brutsaert"][humid] * scale,
        atol=2e-3,
    )
    # SMRF lets the window's emissivity pass 1 in hot moist air, and a cloud then takes flux away.
    window = 0.24 + 2.98e-12 * e**2 * np.exp(3000.0 / t)
    kimball = compute("rlds", "brutsaert1975-kimball1982", tas=t, vap=e, clt=n)
    sane = humid & (window <= 1.0)
    assert sane.sum() > 20
    assert np.allclose(kimball[sane], v["dlr_kimball_of_brutsaert"][sane] * scale, atol=3e-3)
    assert (kimball[humid & (window > 1.0)] >= v["dlr_kimball_of_brutsaert"][humid & (window > 1.0)]).all()
    # Very much cloud water makes the cover the cloud amount: the linear mixing of Crawford and Duchon.
    linear = n + (1.0 - n) * compute("rlds", "prata1996-um1975", tas=t, vap=e, clt=0.0) / black(t)
    found = compute("rlds", "prata1996-cd1999", tas=t, vap=e, clt=n, lwp=50.0, iwp=0.0)
    assert np.allclose(found, linear * black(t), atol=2e-3)


def test_dilley_against_smrf(vectors):
    v = vectors("dlr_smrf_pytseb")
    t, e = v["Ta_K"], 100.0 * v["ea_hPa"]
    expected = np.minimum(v["dlr_dilley_smrf"], black(t))  # no sky above the black body
    by_water = compute("rlds", "dilley1998-um1975", tas=t, prw=v["pw_mm_prata_smrf"], clt=0.0)
    assert np.allclose(by_water, expected, atol=2e-3)
    by_vapour = compute("rlds", "dilley1998-vap-um1975", tas=t, vap=e, clt=0.0)
    assert np.allclose(by_vapour, expected, atol=2e-3)


AIR = st.tuples(st.floats(200.0, 315.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))


@pytest.mark.parametrize("name", PRATA)
@given(air=AIR)
def test_flux_lies_between_dry_sky_and_black_body(name, air):
    t, rh, n = air
    flux = float(compute("rlds", name, tas=t, vap=rh * saturation(t), clt=n))
    assert 0.6 * black(t) <= flux <= 1.000001 * black(t)


@pytest.mark.parametrize("name", BY_SURFACE)
@given(air=AIR, more=st.floats(0.0, 1.0))
def test_flux_rises_with_cloud(name, air, more):
    t, rh, n = air
    few, many = sorted((n, more))
    e = rh * saturation(t)
    flux = compute("rlds", name, tas=t, vap=e, clt=[few, many]).astype(float)
    # The overcast sky of Konzelmann (0.952) is the lower one only where the clear sky is blacker: over hot swamps.
    swamp = "konzelmann" in name and e > 4000.0
    assert swamp or flux[1] >= flux[0] - 2e-4


@pytest.mark.parametrize("name", [n for n in BY_SURFACE if "kimball" not in n])
@given(air=AIR, more=st.floats(0.0, 1.0))
def test_flux_rises_with_humidity(name, air, more):
    t, rh, n = air
    dry, moist = sorted((rh, more))
    flux = compute("rlds", name, tas=t, vap=np.array([dry, moist]) * saturation(t), clt=n).astype(float)
    assert flux[1] >= flux[0] - 2e-4


def test_kimball_is_not_the_default_because_it_falls_with_humidity():
    """Documented limit: under a warm overcast sky more vapour would send less to the ground."""
    e = np.array([1500.0, 3000.0])
    fall = compute("rlds", "prata1996-kimball1982", tas=300.0, vap=e, clt=1.0)
    assert fall[1] < fall[0] - 10.0
    assert np.diff(compute("rlds", tas=300.0, vap=e, clt=1.0))[0] >= 0.0


@pytest.mark.parametrize("name", BY_SURFACE)
def test_edges_are_finite(name):
    t, e, n = np.meshgrid([150.0, 200.0, 273.15, 330.0], [0.0, 1e-3, 1.0, 8000.0, 15000.0], [0.0, 1e-3, 1.0])
    flux = compute("rlds", name, tas=t, vap=e, clt=n)
    assert np.isfinite(flux).all()
    assert (flux >= 0.0).all()


def test_cloud_water_cover_at_its_edges():
    n, lwp = np.meshgrid([0.0, 1e-4, 0.01, 0.5, 1.0], [-1e-5, 0.0, 1e-3, 5.0])
    flux = compute("rlds", "prata1996-cd1999", tas=280.0, vap=800.0, clt=n, lwp=lwp, iwp=0.0)
    clear = compute("rlds", tas=280.0, vap=800.0, clt=0.0)
    assert np.isfinite(flux).all()
    assert np.allclose(flux[lwp <= 0.0], clear, rtol=1e-6)
    assert np.allclose(flux[n == 0.0], clear, rtol=1e-6)


def test_against_a_global_forecast(shared):
    """The file's own downward longwave, mean over hours 18-24; T and q are of hour 24, the cloud is the mean."""
    from pipshpc.source.eccodeslib import eccodes

    wanted = {"tas": (11, 105, 2, "24"), "q": (51, 105, 2, "24"), "p": (1, 1, 0, "24")}
    wanted |= {"clt": (71, 200, 0, "18-24"), "rlds": (205, 1, 0, "18-24")}
    field = {}
    with (shared / "data/global/flxf2006040100.grb").open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            keys = ("indicatorOfParameter", "indicatorOfTypeOfLevel:l", "level", "stepRange")
            key = tuple(
                eccodes.codes_get_long(message, k[:-2]) if k.endswith(":l") else eccodes.codes_get(message, k)
                for k in keys
            )
            for name, which in wanted.items():
                if key == which:
                    field[name] = eccodes.codes_get_values(message)
            eccodes.codes_release(message)
    vap = compute("vap_in", "specific-humidity", huss_in=field["q"], ps_in=field["p"])
    error = compute("rlds", tas=field["tas"], vap=vap, clt=field["clt"] / 100.0) - field["rlds"]
    assert error.size == 18048
    assert abs(error.mean()) <= 5.0
    assert np.sqrt((error**2).mean()) <= 20.0
