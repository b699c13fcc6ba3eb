"""Downward shortwave radiation: packages, laws, edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import compute
from pipshpc.kernel import evaluate
from pipshpc.product import find_card

AEROSOL = {"od550aer": 0.1, "angstrom": 1.3, "ozone": 0.3, "prw": 20.0}
SKY = {"toa_normal": 1361.1, "ps": 1.0e5, "albedo": 0.2, **AEROSOL}
CLOUD = {"clt": 0.6, "lwp": 0.05, "iwp": 0.02}
DULL = {"toa_normal": 1361.1, "linke": 3.0, "orog": 300.0}
ALL_SKY = {"rest2-farms": {**SKY, **CLOUD}, "ineichen-kc1980": {**DULL, "clt": 0.6}}
CLEAR = {"rest2": SKY, "ineichen2002": {**DULL, "ps": 1.0e5}, "bird1981": SKY}


def cosine(degrees):
    return np.cos(np.radians(degrees))


def by_row(product, algorithm, inputs, parameters):
    """Evaluate row by row: parameters are one number for all pixels."""
    rows = range(len(next(iter(inputs.values()))))
    return np.array(
        [
            float(
                compute(
                    product,
                    algorithm,
                    **{k: v[i] for k, v in inputs.items()},
                    **{k: float(v[i]) for k, v in parameters.items()},
                )
            )
            for i in rows
        ]
    )


def test_rest2(vectors):
    v = vectors("dsr_clear_rest2")
    mu = cosine(np.minimum(v["sza_deg"], 89.0))  # as the package holds it
    inputs = {
        "cosz": mu,
        "toa_normal": 1361.2 / v["radius_AU"] ** 2,
        "ps": 100.0 * v["p_hPa"],
        "albedo": v["albedo"],
        "od550aer": v["beta"] * 0.55 ** -np.clip(v["alpha"], 0.0, 2.501),
        "angstrom": v["alpha"],
        "ozone": v["ozone_atmcm"],
        "prw": 10.0 * v["pw_cm"],
    }
    parameters = {"ssa": np.where(v["ssa"] < 0, 0.92, v["ssa"]), "g": np.where(v["g"] < 0, 0.7, v["g"])}
    total = by_row("rsdscs", "rest2", inputs, parameters)
    diffuse = by_row("rsdscsdiff", "rest2", inputs, parameters)
    assert np.allclose(total, v["ghi_Wm2"], atol=0.05)
    assert np.allclose(diffuse, v["dhi_Wm2"], atol=0.05)
    assert np.allclose((total - diffuse) / mu, v["dni_Wm2"], atol=0.05)


def test_farms(vectors):
    v = vectors("dsr_allsky_farms")
    mu = cosine(v["sza_deg"])
    inputs = {
        "cosz": mu,
        "toa_normal": 1361.2 / v["radius_AU"] ** 2,
        "albedo": v["albedo"],
        "cod": v["tau"],
        "ice": np.isin(v["cloud_type"], (6, 7, 8)).astype(float),
        "reff": v["reff_um"],
        **{f"{k}_clear": v[f"{k.capitalize()}clr"] for k in ("tdd", "tdu", "ruu", "tuu")},
    }
    total = compute("rsds", "farms", **inputs)
    diffuse = compute("rsdsdiff", "farms", **inputs)
    assert np.allclose(total, v["ghi_allsky_Wm2"], atol=0.01)
    assert np.allclose((total - diffuse) / mu, v["dni_lambert_Wm2"], atol=0.01)


def test_diffuse_transmittance_of_the_clear_sky(vectors):
    """Seen through the model: an overcast sky with the fitted and with the package's transmittance."""
    v = vectors("dsr_clear_rest2")
    keep = (v["p_hPa"] > 450.0) & (v["ssa"] > 0) & (v["g"] > 0)
    mu, toa = np.full(keep.sum(), 0.5), np.full(keep.sum(), 1361.2)
    air = {
        "ps": 100.0 * v["p_hPa"][keep],
        "albedo": v["albedo"][keep],
        "od550aer": v["beta"][keep] * 0.55 ** -np.clip(v["alpha"][keep], 0.0, 2.501),
        "angstrom": v["alpha"][keep],
        "ozone": v["ozone_atmcm"][keep],
        "prw": 10.0 * v["pw_cm"][keep],
    }
    parameters = {"ssa": v["ssa"][keep], "g": v["g"][keep]}
    sun = {"cosz": mu, "toa_normal": toa}
    clear = by_row("rsdscs", "rest2", {**sun, **air}, parameters)
    shade = by_row("rsdscsdiff", "rest2", {**sun, **air}, parameters)
    water = {"clt": np.ones_like(mu), "lwp": np.full_like(mu, 0.2), "iwp": np.zeros_like(mu)}  # optical depth 30
    found = by_row("rsds", "rest2-farms", {**sun, **air, **water}, parameters)
    # Behind depth 30 no direct light is left, so the clear sky's reflectance is the only other term: bracket it.
    given_terms = {
        **sun,
        "albedo": air["albedo"],
        "cod": np.full_like(mu, 30.0),
        "ice": np.zeros_like(mu),
        "reff": np.full_like(mu, 10.0),
        "tdd_clear": (clear - shade) / (mu * toa),
        "tdu_clear": shade / (mu * toa),
        "tuu_clear": v["Tuuclr"][keep],
    }
    low = compute("rsds", "farms", ruu_clear=0.02, **given_terms)
    high = compute("rsds", "farms", ruu_clear=0.25, **given_terms)
    assert (found > 0.995 * low).all()
    assert (found < 1.005 * high).all()


def test_ineichen(vectors):
    v = vectors("dsr_clear_pvlib")
    inputs = {
        "cosz": cosine(v["apparent_zenith_deg"]),
        "toa_normal": v["toa_Wm2"],
        "linke": v["linke"],
        "orog": v["alt_m"],
        "ps": v["p_Pa"],
    }
    up = v["apparent_zenith_deg"] <= 90.0
    for product, column in (("rsdscs", "ghi_ineichen"), ("rsdscsdiff", "dhi_ineichen")):
        found = compute(product, "ineichen2002", **inputs)
        assert np.allclose(found[up], v[column][up], atol=0.02)
        assert (found[~up] == 0.0).all()


def test_bird(vectors):
    v = vectors("dsr_clear_bird")
    exponent = np.log(v["aod380"] / v["aod500"]) / np.log(500.0 / 380.0)
    inputs = {
        "cosz": cosine(v["zenith_deg"]),
        "toa_normal": v["toa_Wm2"],
        "ps": v["p_Pa"],
        "albedo": v["albedo"],
        "od550aer": v["aod500"] * 1.1**-exponent,
        "angstrom": exponent,
        "ozone": v["ozone_atmcm"],
        "prw": 10.0 * v["pw_cm"],
    }
    up = v["zenith_deg"] < 89.0
    for product, column in (("rsdscs", "ghi_Wm2"), ("rsdscsdiff", "dhi_Wm2")):
        found = by_row(product, "bird1981", inputs, {"g": v["asymmetry"]})
        assert np.allclose(found[up], v[column][up], atol=0.05)


def test_erbs(vectors):
    v = vectors("dsr_diffuse_erbs")
    b = 2.0 * np.pi / 365.0 * (v["doy"] - 1.0)
    toa = 1.00011 + 0.034221 * np.cos(b) + 0.00128 * np.sin(b) + 0.000719 * np.cos(2 * b) + 0.000077 * np.sin(2 * b)
    found = compute("rsdsdiff", "erbs1982", cosz=cosine(v["zenith"]), toa_normal=1366.1 * toa, rsds=v["ghi"])
    assert np.allclose(found, v["dhi_erbs"], atol=0.01)


@pytest.mark.parametrize(("name", "sky"), ALL_SKY.items())
def test_flux_goes_to_nothing_at_the_horizon(name, sky):
    mu = np.array([-0.3, -1e-6, 0.0, 1e-7, 1e-4, 1e-3, 0.01, 0.02, 0.05])
    for product in ("rsds", "rsdsdiff"):
        flux = compute(product, name, cosz=mu, **sky)
        assert (flux[:3] == 0.0).all()
        assert np.isfinite(flux).all()
        assert (np.diff(flux[2:]) >= 0.0).all()
        assert (flux <= 1361.1 * np.maximum(mu, 0.0)).all()


@pytest.mark.parametrize(("name", "sky"), CLEAR.items())
@given(st.floats(0.0, 1.0))
def test_clear_sky_lies_between_its_diffuse_part_and_the_outside(name, sky, mu):
    total = float(compute("rsdscs", name, cosz=mu, **sky))
    diffuse = float(compute("rsdscsdiff", name, cosz=mu, **sky))
    assert 0.0 <= diffuse <= total * 1.0001
    assert total <= 1361.1 * mu


@pytest.mark.parametrize("name", ALL_SKY)
def test_more_cloud_gives_less_light(name):
    sky = {k: v for k, v in ALL_SKY[name].items() if k != "clt"}
    if name == "rest2-farms":  # thick clouds, of the same water inside
        n = np.linspace(0.05, 1.0, 20)
        sky.update(lwp=0.1 * n, iwp=0.02 * n)
    else:
        n = np.linspace(0.0, 1.0, 20)
    assert (np.diff(compute("rsds", name, cosz=0.6, clt=n, **sky)) < 0.0).all()


def test_no_cloud_is_the_clear_sky():
    for clouds in ({"clt": 0.0, "lwp": 0.1, "iwp": 0.0}, {"clt": 1.0, "lwp": 0.0, "iwp": 0.0}):
        all_sky = compute("rsds", "rest2-farms", cosz=0.6, **SKY, **clouds)
        assert all_sky == pytest.approx(float(compute("rsdscs", "rest2", cosz=0.6, **SKY)), rel=1e-6)
    clear = compute("rsds", "ineichen-kc1980", cosz=0.6, clt=0.0, **DULL)
    standard = 101325.0 * (1.0 - 300.0 / 44331.514) ** 5.25588
    assert clear == pytest.approx(float(compute("rsdscs", "ineichen2002", cosz=0.6, ps=standard, **DULL)), rel=1e-5)


def test_overcast_of_kasten_and_czeplak_is_a_quarter():
    pair = compute("rsds", "ineichen-kc1980", cosz=0.6, clt=[0.0, 1.0], **DULL)
    assert pair[1] / pair[0] == pytest.approx(0.25, abs=1e-5)


def test_thicker_cloud_gives_less_light():
    lwp = np.geomspace(2e-3, 20.0, 40)
    for mu in (0.02, 0.1, 0.5, 1.0):
        flux = compute("rsds", "rest2-farms", cosz=mu, **SKY, clt=1.0, lwp=lwp, iwp=0.0)
        assert np.isfinite(flux).all()
        assert (flux > 0.0).all()
        # Thin cloud under a high sun may brighten the ground; the optical depth is cut at 160.
        depth = 1.5e3 * lwp / 10.0
        assert (np.diff(flux[(depth > 1.0) & (depth < 160.0)]) < 0.0).all()
        assert (flux[depth > 160.0] == flux[-1]).all()


def test_turbid_air_gives_less_light():
    for name, key, values in (
        ("rest2", "od550aer", np.linspace(0.01, 2.0, 15)),
        ("rest2", "prw", np.linspace(0.0, 60.0, 15)),
        ("rest2", "ozone", np.linspace(0.15, 0.5, 8)),
        ("bird1981", "od550aer", np.linspace(0.01, 2.0, 15)),
        ("ineichen2002", "linke", np.linspace(1.5, 8.0, 15)),
    ):
        assert (np.diff(compute("rsdscs", name, cosz=0.6, **{**CLEAR[name], key: values})) < 0.0).all()


@pytest.mark.parametrize("product", ["rsds", "rsdsdiff", "rsdscs", "rsdscsdiff"])
def test_extremes_are_finite(product):
    """Every corner of the box that the inputs can fill."""
    ends = {
        "cosz": (1e-8, 0.0175, 1.0),
        "toa_normal": (1310.0, 1420.0),
        "ps": (3.0e4, 1.1e5),
        "albedo": (0.0, 1.0),
        "od550aer": (0.0, 5.0),
        "angstrom": (-0.5, 3.0),
        "ozone": (0.0, 0.7),
        "prw": (-0.1, 90.0),
        "clt": (0.0, 1.0),
        "lwp": (0.0, 30.0),
        "iwp": (0.0, 10.0),
        "linke": (1.0, 12.0),
        "orog": (-430.0, 8800.0),
        "cod": (0.0, 500.0),
        "ice": (0.0, 1.0),
        "reff": (1.0, 200.0),
        "tdd_clear": (0.0, 0.9),
        "tdu_clear": (0.0, 0.5),
        "ruu_clear": (0.0, 0.3),
        "tuu_clear": (0.5, 1.0),
        "rsds": (0.0, 1300.0),
    }
    for algorithm in find_card(product).algorithms:
        names = list(algorithm.inputs)
        corners = np.meshgrid(*(ends[n] for n in names))
        for flux in evaluate(algorithm, dict(zip(names, corners, strict=True))).values():
            assert np.isfinite(flux).all()
            assert (flux >= -0.01).all()


def test_loops_are_vectorised():
    """One scalar call in a loop costs a factor of five to ten; look at the machine code."""
    import platform
    import shutil
    import subprocess

    from pipshpc import _loops

    if platform.machine() != "x86_64" or shutil.which("objdump") is None:
        pytest.skip("looks for glibc's vector functions in x86-64 code, by objdump")
    text = subprocess.run(["objdump", "-d", _loops.__file__], capture_output=True, text=True, check=True).stdout
    if "_ZGV" not in text:
        pytest.skip("this build has no vector math at all (not glibc?)")
    calls: dict[str, int] = {}
    for line in text.splitlines():
        if line.endswith(">:"):
            current = line
        elif "_ZGV" in line and "call" in line:
            calls[current] = calls.get(current, 0) + 1
    for kernel in (
        "radiation_rlds_prata_konzelmann",
        "shortwave_rsds_rest2_farms",
        "shortwave_rsds_ineichen_kc",
        "shortwave_rsds_farms",
        "shortwave_rsdscs_rest2",
        "downscale_vap_constant_rh",
    ):
        assert any(f"row_{kernel}>" in name for name in calls), f"{kernel} calls no vector function"
