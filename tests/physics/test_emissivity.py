"""Emissivity: laws, the package's fault, edges."""

import numpy as np
import pytest

from pipshpc import compute

NDVI = np.linspace(-1.0, 1.0, 401)


def test_full_cover_has_the_emissivity_of_vegetation_alone():
    """TRAP: pylandtemp adds the cavity term 0.55 (1 - soil) full to full cover too, 0.018 too much at 11 um."""
    for product, full in (("emis11", 0.9863), ("emis12", 0.9896)):
        found = compute(product, "ndvi-threshold", ndvi=[0.5, 0.7, 1.0], sr_red=0.05)
        assert np.allclose(found, full, atol=1e-6)


def test_mixture_is_continuous_at_full_cover_and_jumps_at_soil_only():
    for product in ("emis11", "emis12"):
        found = compute(product, "ndvi-threshold", ndvi=NDVI, sr_red=0.2).astype(float)
        steps = np.abs(np.diff(found))
        at = NDVI[1:][steps > 2e-3]
        assert at.size == 1 and at[0] == pytest.approx(0.2, abs=0.006)


def test_brighter_soil_emits_less():
    found = compute("emis11", "ndvi-threshold", ndvi=0.1, sr_red=np.linspace(-0.2, 1.2, 50)).astype(float)
    assert (np.diff(found) <= 1e-7).all()
    assert found[0] == pytest.approx(0.973) and found[-1] == pytest.approx(0.926)


def test_all_bands_alike_give_that_emissivity():
    """Coefficients that sum to 1 within 0.1 % and 0.5 %."""
    for e in (0.9, 0.95, 1.0):
        assert compute("emis", "wang2005", emis29=e, emis31=e, emis32=e) == pytest.approx(e, abs=0.0015)
        five = {f"emis{b}": e for b in (10, 11, 12, 13, 14)}
        assert compute("emis", "cheng2013", **five) == pytest.approx(e, abs=0.02)


def test_range_for_anything_that_may_come():
    rng = np.random.default_rng(1)
    low, high = 0.5, 1.1
    found = [compute("emis", "wang2005", **{f"emis{b}": rng.uniform(low, high, 500) for b in (29, 31, 32)})]
    found += [compute("emis", "ndvi-threshold", ndvi=NDVI)]
    found += [
        compute(p, "ndvi-threshold", ndvi=NDVI, sr_red=rng.uniform(0, 1, NDVI.size)) for p in ("emis11", "emis12")
    ]
    found += [compute(p, "landcover", landtype=np.arange(17.0)) for p in ("emis", "emis11", "emis12")]
    for values in found:
        assert ((values >= 0.85) & (values <= 1.0)).all()


@pytest.mark.parametrize("product", ["emis", "emis11", "emis12"])
def test_classes_that_do_not_exist_are_missing(product):
    found = compute(product, "landcover", landtype=[-1.0, 17.0, 254.0, 255.0, np.nan])
    assert np.isnan(found).all()


def test_classes():
    water, forest, _, snow, barren = compute("emis", "landcover", landtype=[0.0, 4.0, 9.0, 15.0, 16.0])
    assert (water, snow) == (np.float32(0.985), np.float32(0.99))
    assert forest == pytest.approx(0.9955) and barren == pytest.approx(0.9735)
