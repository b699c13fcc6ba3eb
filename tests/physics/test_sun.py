"""The sun against the full SPA of pvlib, and against its own geometry."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc import sun

HOUR = np.timedelta64(3600, "s")


def test_position(vectors):
    v = vectors("solar_position_instant")
    times = v["time_utc"].astype("datetime64[us]")
    e = sun.ephemeris(times)
    h = sun.hour_angle(times, v["lon_deg"])
    cosz = sun.cos_zenith(v["lat_deg"], e.declination, h)
    assert np.allclose(np.degrees(np.arccos(cosz)), v["zenith_deg"], atol=0.01)
    assert np.allclose(cosz, v["cos_zenith"], atol=1e-4)
    turn = sun.azimuth(v["lat_deg"], e.declination, h) - v["azimuth_deg"]
    assert (np.abs((turn + 180.0) % 360.0 - 180.0) < 0.01).all()
    assert np.allclose(e.equation_of_time, v["eq_of_time_min"], atol=0.01)
    assert np.allclose(e.distance, v["earth_sun_dist_AU"], atol=2e-5)
    assert np.allclose(e.toa_normal, v["toa_normal_Wm2"], atol=0.05)
    assert np.array_equal(sun.toa_normal(times), e.toa_normal)


def test_window_means(vectors):
    v = vectors("solar_window_mean")
    start = v["date"].astype("datetime64[us]") + np.round(v["win_start_hr_utc"] * 3600).astype("timedelta64[s]")
    for hours in np.unique(v["win_hours"]):
        at = v["win_hours"] == hours
        mean, lit = sun.window_mean_cosz(v["lat_deg"][at], v["lon_deg"][at], start[at], hours)
        assert np.allclose(mean, v["mean_pos_cosz"][at], atol=1e-3)
        assert np.allclose(lit, v["sunlit_fraction"][at], atol=5e-3)
        middle = start[at] + np.timedelta64(int(hours * 1800), "s")
        assert np.allclose(mean * sun.toa_normal(middle), v["mean_toa_Wm2"][at], atol=1.0)


def test_sunrise_and_sunset(vectors):
    v = vectors("solar_sunrise_sunset")
    # The SPA takes the sunrise that falls on the date; we, the one before the transit that does.
    date = v["date"].astype("datetime64[D]")
    _, set_, transit = sun.sunrise_sunset(date, v["lat_deg"], v["lon_deg"])
    rise, _, _ = sun.sunrise_sunset(date + (v["sunrise_hr_utc"] < 0.0), v["lat_deg"], v["lon_deg"])
    for found, column in ((rise, "sunrise_hr_utc"), (set_, "sunset_hr_utc"), (transit, "transit_hr_utc")):
        assert np.array_equal(np.isnan(found), np.isnan(v[column]))
        assert np.allclose(found, v[column], atol=1.0 / 60.0, equal_nan=True)


def test_spencer(vectors):
    v = vectors("solar_spencer_doy")
    e = sun.spencer(v["doy"])
    assert np.allclose(e.declination, v["decl_spencer_rad"], atol=1e-6)
    assert np.allclose(e.equation_of_time, v["eot_spencer_min"], atol=1e-4)
    assert np.allclose(e.toa_normal, v["toa_spencer"], atol=0.01)


def test_spencer_is_near_the_ephemeris():
    days = np.arange(np.datetime64("2023-01-01T12:00"), np.datetime64("2024-01-01T12:00"), np.timedelta64(1, "D"))
    exact, series = sun.ephemeris(days), sun.spencer(np.arange(365) + 1)
    assert np.abs(np.degrees(exact.declination - series.declination)).max() < 0.4
    assert np.abs(exact.equation_of_time - series.equation_of_time).max() < 1.0
    assert np.abs(exact.toa_normal - series.toa_normal).max() < 3.0


PLACE = st.tuples(st.floats(-90.0, 90.0), st.floats(-180.0, 360.0), st.integers(0, 365 * 24 * 8))


@given(PLACE)
def test_window_is_the_mean_of_its_parts(place):
    """Exact but for the sun's own motion, which each window takes at its middle."""
    lat, lon, hours = place
    start = np.datetime64("2019-01-01T00", "s") + hours * HOUR
    whole, lit = sun.window_mean_cosz(lat, lon, start, 3.0)
    parts = [sun.window_mean_cosz(lat, lon, start + k * HOUR, 1.0) for k in range(3)]
    assert whole == pytest.approx(np.mean([p[0] for p in parts]), abs=1e-4)
    if abs(lat) < 60.0:  # towards the poles the day begins at the speed of the declination
        assert lit == pytest.approx(np.mean([p[1] for p in parts]), abs=1e-3)


@given(PLACE)
def test_mean_lies_within_the_window(place):
    lat, lon, hours = place
    start = np.datetime64("2019-01-01T00", "s") + hours * HOUR
    mean, lit = sun.window_mean_cosz(lat, lon, start, 3.0)
    times = start + np.arange(0, 10800, 60).astype("timedelta64[s]") + np.timedelta64(30, "s")
    cosz = sun.cos_zenith(lat, sun.ephemeris(times).declination, sun.hour_angle(times, lon))
    assert mean == pytest.approx(np.maximum(cosz, 0.0).mean(), abs=2e-4)
    assert 0.0 <= mean <= 1.0
    assert 0.0 <= lit <= 1.0 + 1e-12
    if lit == 0.0:
        assert mean == 0.0


def test_polar_day_and_night():
    june, december = np.datetime64("2021-06-21T00"), np.datetime64("2021-12-21T00")
    for lat, day, night in (
        (90.0, june, december),
        (75.0, june, december),
        (-80.0, december, june),
        (-90.0, december, june),
    ):
        mean, lit = sun.window_mean_cosz(lat, np.linspace(-180.0, 180.0, 9), day, 3.0)
        assert np.allclose(lit, 1.0)
        assert (mean > 0.1).all()
        mean, lit = sun.window_mean_cosz(lat, np.linspace(-180.0, 180.0, 9), night, 3.0)
        assert (lit == 0.0).all()
        assert (mean == 0.0).all()
    # The whole turn at the pole is the sine of the declination.
    mean, _ = sun.window_mean_cosz(90.0, 0.0, june, 24.0)
    assert mean == pytest.approx(np.sin(sun.ephemeris(june + 12 * HOUR).declination), abs=1e-9)


def test_sunset_hour_angle_at_its_limits():
    assert sun.sunset_hour_angle(90.0, 0.1) == np.pi
    assert sun.sunset_hour_angle(90.0, -0.1) == 0.0
    assert sun.sunset_hour_angle(0.0, 0.3) == pytest.approx(np.pi / 2)


@given(PLACE)
def test_day_mirrors_night(place):
    """Over a whole turn, places opposite on the globe share out the light: |cosz| is split between them."""
    lat, lon, hours = place
    start = np.datetime64("2019-01-01T00", "s") + hours * HOUR
    here, lit = sun.window_mean_cosz(lat, lon, start, 24.0)
    there, dark = sun.window_mean_cosz(-lat, lon + 180.0, start, 24.0)
    assert lit + dark == pytest.approx(1.0, abs=1e-9)
    declination = sun.ephemeris(start + 12 * HOUR).declination
    assert here - there == pytest.approx(np.sin(np.radians(lat)) * np.sin(declination), abs=1e-9)


@given(PLACE)
def test_nodes_integrate_the_cosine(place):
    lat, lon, hours = place
    start = np.datetime64("2019-01-01T00", "s") + hours * HOUR
    middle = sun.ephemeris(start + np.timedelta64(5400, "s"))
    h1 = sun.hour_angle(start, lon, middle.equation_of_time)
    width = np.radians(45.0)
    begin, length = sun.lit_pieces(h1, width, sun.sunset_hour_angle(lat, middle.declination))
    nodes, weights = sun.lit_nodes(begin, length, width)
    mean, lit = sun.window_mean_cosz(lat, lon, start, 3.0)
    cosz = sun.cos_zenith(lat, middle.declination, nodes)
    assert weights.sum() == pytest.approx(lit)
    assert (weights * cosz).sum() == pytest.approx(mean, abs=2e-7)
    assert (cosz[weights > 0.0] > -1e-9).all()
