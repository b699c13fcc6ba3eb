"""Gaussian maximum likelihood and decision trees: a package, laws, models as files."""

import msgspec
import numpy as np
import pytest

from pipshpc.classify import NOTHING, classify, load_model, save_model, train_gaussian, train_tree
from pipshpc.errors import SpecError

BANDS = ["sr_blue", "sr_green", "sr_red", "sr_nir", "sr_swir1", "sr_swir2"]
CLASSES = ["water", "forest", "crop", "soil", "snow"]
MEANS = np.array([
    [0.05, 0.05, 0.03, 0.02, 0.01, 0.01], [0.03, 0.05, 0.04, 0.30, 0.15, 0.07], [0.05, 0.09, 0.07, 0.42, 0.25, 0.15],
    [0.10, 0.14, 0.19, 0.27, 0.36, 0.32], [0.85, 0.84, 0.82, 0.75, 0.12, 0.08],
])  # fmt: skip


def scene(n, seed=0):
    """Pixels of known class, (n, 6) and (n,)."""
    rng = np.random.default_rng(seed)
    y = rng.choice(5, n, p=[0.2, 0.3, 0.25, 0.2, 0.05])
    mix = rng.normal(size=(6, 6)) * 0.2 + np.eye(6)
    spread = 0.15 * MEANS + 0.015
    return MEANS[y] + spread[y] * (rng.normal(size=(n, 6)) @ mix), y


def fields(x):
    return {name: x[:, k] for k, name in enumerate(BANDS)}


def test_maximum_likelihood_of_the_package(needs):
    needs("sklearn")
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

    x, y = scene(4000)
    other = QuadraticDiscriminantAnalysis(tol=0.0, store_covariance=True).fit(x, y)
    ours = train_gaussian(x, y, BANDS, CLASSES)
    # Versions of the package divide by n or by n - 1; ours is the unbiased one.
    counts = np.bincount(y)[:, None, None]
    ratio = np.array(ours.gaussian.covariances) / np.array(other.covariance_)
    assert (np.isclose(ratio, 1) | np.isclose(ratio, counts / (counts - 1))).all()
    assert np.allclose(ours.gaussian.means, other.means_) and np.allclose(ours.gaussian.priors, other.priors_)
    same = msgspec.structs.replace(ours.gaussian, covariances=np.array(other.covariance_).tolist())
    pixels = scene(20000, 1)[0].astype(np.float32)
    labels, share = classify(msgspec.structs.replace(ours, gaussian=same), fields(pixels))
    wanted = other.predict_proba(pixels.astype(float))
    sure = np.abs(np.diff(np.sort(wanted, axis=1)[:, -2:], axis=1))[:, 0] > 1e-4
    assert (labels == wanted.argmax(1))[sure].all()
    assert np.allclose(share, wanted.max(1), atol=1e-5)


def test_tree_of_the_package(needs):
    needs("sklearn")
    from sklearn.tree import DecisionTreeClassifier

    x, y = scene(3000)
    x = x.astype(np.float32).astype(float)
    other = DecisionTreeClassifier(max_depth=6, min_samples_leaf=5, random_state=0).fit(x, y)
    model = train_tree(x, y, BANDS, CLASSES, depth=6, least=5)
    pixels = scene(20000, 1)[0].astype(np.float32)
    labels, share = classify(model, fields(pixels))
    assert (labels == other.predict(pixels)).mean() > 0.995  # of splits of equal gain the package draws one
    assert share.min() > 0 and share.max() <= 1
    assert model.tree.depth <= 6 and min(model.tree.purity) > 0


@pytest.mark.parametrize("train", [train_gaussian, train_tree])
def test_classes_come_back_and_a_file_keeps_them(train, tmp_path):
    x, y = scene(3000)
    model = train(x, y, BANDS, CLASSES, title="a made-up scene")
    labels, share = classify(model, fields(x))
    assert (labels == y).mean() > 0.93
    save_model(model, tmp_path / "model.yaml")
    again, share_again = classify(load_model(tmp_path / "model.yaml"), fields(x))
    assert np.array_equal(labels, again) and np.array_equal(share, share_again)


@pytest.mark.parametrize("train", [train_gaussian, train_tree])
def test_blocks_and_threads_change_nothing(train):
    x, y = scene(1003)
    model = train(x, y, BANDS, CLASSES)
    whole, share = classify(model, fields(x), threads=2)
    parts = [classify(model, fields(x[a:b])) for a, b in ((0, 17), (17, 500), (500, 1003))]
    assert np.array_equal(whole, np.concatenate([p[0] for p in parts]))
    assert np.array_equal(share, np.concatenate([p[1] for p in parts]))


@pytest.mark.parametrize("train", [train_gaussian, train_tree])
def test_missing_bands_belong_to_no_class(train):
    x, y = scene(500)
    model = train(x, y, BANDS, CLASSES)
    for band in range(6):
        holes = x.copy()
        holes[3::7, band] = np.nan
        labels, share = classify(model, fields(holes))
        assert (np.flatnonzero(labels == NOTHING) == np.arange(3, 500, 7)).all()
        assert (share[3::7] == 0).all()


def test_what_is_like_no_class_can_be_left_out():
    x, y = scene(2000)
    model = train_gaussian(x, y, BANDS, CLASSES, farthest=16.8)  # 1 % of a class is farther, in six bands
    labels, _ = classify(model, fields(x))
    assert 0.002 < (labels == NOTHING).mean() < 0.04
    far, _ = classify(model, fields(np.full((5, 6), 9.0)))
    assert (far == NOTHING).all()


def test_priors_move_the_border():
    x = np.concatenate([np.linspace(-1, 1, 101) - 1, np.linspace(-1, 1, 101) + 1])[:, None]
    y = np.repeat([0, 1], 101)
    border = {}
    for first in (0.5, 0.9):
        model = train_gaussian(x, y, ["a"], ["low", "high"], priors=[first, 1 - first])
        at = np.linspace(-1, 1, 2001)
        border[first] = at[classify(model, {"a": at})[0].argmax()]
    variance = x[:101].var(ddof=1)
    assert border[0.5] == pytest.approx(0.0, abs=2e-3)
    assert border[0.9] == pytest.approx(variance * np.log(9) / 2, abs=2e-3)  # where 0.9 p1 = 0.1 p2


def test_wrong_models_are_refused_with_words(tmp_path):
    x, y = scene(200)
    with pytest.raises(SpecError, match="class 'snow' has"):
        train_gaussian(x[y != 4], y[y != 4], BANDS, CLASSES)
    with pytest.raises(SpecError, match="hang on each other"):
        train_gaussian(np.repeat(x[:, :1], 6, 1), y, BANDS, CLASSES)
    with pytest.raises(SpecError, match=r"wanted \(pixels, 6\)"):
        train_tree(x[:, :3], y, BANDS, CLASSES)
    with pytest.raises(SpecError, match="missing: sr_swir2"):
        classify(train_tree(x, y, BANDS, CLASSES), dict.fromkeys(BANDS[:5], 0.1))
    save_model(train_tree(x, y, BANDS, CLASSES), tmp_path / "m.yaml")
    text = (tmp_path / "m.yaml").read_text().replace("sr_blue, ", "")
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SpecError, match="do not fit"):
        load_model(tmp_path / "bad.yaml")
