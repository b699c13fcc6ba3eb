"""Classes of land cover from reflectances: train a model, keep it as a file, apply it to blocks of pixels.

Two kinds of model: Gaussian maximum likelihood (a normal distribution for each
class; Richards and Jia 2006, chapter 8) and a binary decision tree (Breiman et
al. 1984). A model is a YAML file that people can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipshpc.errors import SpecError
from pipshpc.schema import Record, load_yaml

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
NOTHING = 255  # the class of what cannot be classified
MOST_CLASSES, MOST_BANDS = 64, 32


class Gaussian(Record, frozen=True):
    """A normal distribution of each class: prior, mean by band, covariance."""

    priors: list[float]
    means: list[list[float]]
    covariances: list[list[list[float]]]
    farthest: float | None = None  # squared distance of Mahalanobis beyond which a pixel belongs to no class


class Tree(Record, frozen=True):
    """Nodes of a decision tree, the root first: what each asks, where it leads, what a leaf says."""

    band: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    label: list[int]
    purity: list[float]
    depth: int


class Model(Record, frozen=True):
    """A trained model: names of bands and classes, and one of the two kinds."""

    title: str
    bands: list[str]
    classes: list[str]
    gaussian: Gaussian | None = None
    tree: Tree | None = None


def load_model(path: str | Path) -> Model:
    """Read a model.

    Raises
    ------
    SpecError
        The file is not a model, or its numbers do not fit each other.
    """
    model = load_yaml(path, Model)
    _check(model, str(path))
    return model


def save_model(model: Model, path: str | Path) -> None:
    """Write a model as YAML; the file exists only when it is whole."""
    import msgspec
    import yaml

    text = yaml.safe_dump(msgspec.to_builtins(model), sort_keys=False, default_flow_style=None, width=120)
    part = Path(path).with_name(Path(path).name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def train_gaussian(
    samples: npt.ArrayLike,
    labels: npt.ArrayLike,
    bands: Sequence[str],
    classes: Sequence[str],
    priors: Sequence[float] | None = None,
    farthest: float | None = None,
    title: str = "",
) -> Model:
    """Estimate mean and covariance of each class.

    Parameters
    ----------
    samples : (pixels, bands), reflectances or indices, units 1
    labels : (pixels,) number of the class of each, from 0
    priors : of the classes; their shares of the pixels by default
    farthest : squared distance of Mahalanobis beyond which a pixel belongs to no class

    Raises
    ------
    SpecError
        A class with fewer pixels than bands + 1, or whose bands hang on each
        other so that its covariance cannot be inverted.
    """
    x, y = _samples(samples, labels, bands, classes)
    means, covariances, counts = [], [], []
    for k, name in enumerate(classes):
        own = x[y == k]
        if len(own) < x.shape[1] + 1:
            raise SpecError(f"class '{name}' has {len(own)} samples, wanted at least {x.shape[1] + 1} for its spread")
        means.append(own.mean(0))
        covariances.append(np.cov(own, rowvar=False).reshape(x.shape[1], x.shape[1]))
        counts.append(len(own))
    shares = np.asarray(counts if priors is None else priors, float)
    kind = Gaussian(
        priors=(shares / shares.sum()).tolist(),
        means=np.array(means).tolist(),
        covariances=np.array(covariances).tolist(),
        farthest=farthest,
    )
    model = Model(title=title, bands=list(bands), classes=list(classes), gaussian=kind)
    _check(model, "training")
    _factors(model)
    return model


def train_tree(
    samples: npt.ArrayLike,
    labels: npt.ArrayLike,
    bands: Sequence[str],
    classes: Sequence[str],
    depth: int = 8,
    least: int = 5,
    title: str = "",
) -> Model:
    """Grow a tree by the largest fall of Gini's impurity at each node.

    Parameters
    ----------
    samples, labels : as for `train_gaussian`
    depth : of the tree at most
    least : samples that a leaf keeps at least
    """
    x, y = _samples(samples, labels, bands, classes)
    nodes: list[list[float]] = []  # band, threshold, left, right, label, purity

    def grow(members: npt.NDArray[np.intp], level: int) -> tuple[int, int]:
        counts = np.bincount(y[members], minlength=len(classes))
        place = len(nodes)
        best = int(counts.argmax())
        nodes.append([0, np.inf, place, place, best, counts[best] / len(members)])
        split = _best_split(x[members], y[members], len(classes), least) if level < depth else None
        if split is None:
            return place, 0
        band, threshold = split
        above = x[members, band] > threshold
        left, below = grow(members[~above], level + 1)
        right, beyond = grow(members[above], level + 1)
        nodes[place][:4] = [band, threshold, left, right]
        return place, 1 + max(below, beyond)

    _, deepest = grow(np.arange(len(x)), 0)
    band, threshold, left, right, label, purity = zip(*nodes, strict=True)
    kind = Tree(
        band=[int(b) for b in band],
        threshold=[float(np.float32(t)) if np.isfinite(t) else 0.0 for t in threshold],
        left=[int(n) for n in left],
        right=[int(n) for n in right],
        label=[int(n) for n in label],
        purity=[float(p) for p in purity],
        depth=deepest,
    )
    return Model(title=title, bands=list(bands), classes=list(classes), tree=kind)


def classify(
    model: Model, fields: dict[str, npt.ArrayLike], threads: int = 1
) -> tuple[npt.NDArray[np.uint8], Float32Array]:
    """Apply a model to a block of pixels.

    Parameters
    ----------
    fields : the model's bands by name, all of one shape, in the units of its training

    Returns
    -------
    labels : uint8 of the fields' shape, number of the class, 255 where a band is missing or all classes are too far
    share : float32, posterior probability of that class (Gaussian) or its share in the leaf (tree)

    Raises
    ------
    SpecError
        A band is missing.
    """
    from pipshpc._classify import gaussian, tree

    if lacking := [name for name in model.bands if name not in fields]:
        raise SpecError(f"the model wants the bands {', '.join(model.bands)}; missing: {', '.join(lacking)}")
    arrays = np.broadcast_arrays(*(np.asarray(fields[name], np.float32) for name in model.bands))
    shape = arrays[0].shape
    # No copy where a band is whole in memory already.
    flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    labels, share = np.empty(flat[0].size, np.uint8), np.empty(flat[0].size, np.float32)
    if model.gaussian is not None:
        farthest = np.inf if model.gaussian.farthest is None else model.gaussian.farthest
        gaussian(flat, *_single(*_factors(model)), farthest, labels, share, threads)
    elif model.tree is not None:
        t = model.tree
        child = np.stack([t.left, t.right], axis=1).astype(np.int32)
        parts = (np.array(t.band, np.int32), np.array(t.threshold, np.float32), child)
        leaf = (np.array(t.label, np.uint8), np.array(t.purity, np.float32))
        tree(np.stack(flat), *parts, *leaf, t.depth, labels, share, threads)
    return labels.reshape(shape), share.reshape(shape)


def _factors(model: Model) -> tuple[Float64Array, Float32Array, Float64Array]:
    """Means, inverse Cholesky factors and constants of a Gaussian model; factored in float64."""
    assert model.gaussian is not None
    means = np.array(model.gaussian.means)
    inverse, constant = [], []
    for name, prior, spread in zip(model.classes, model.gaussian.priors, model.gaussian.covariances, strict=True):
        try:
            lower = np.linalg.cholesky(np.array(spread))
        except np.linalg.LinAlgError as error:
            raise SpecError(
                f"class '{name}': its bands hang on each other, the covariance cannot be inverted; "
                "leave a band out or give more samples"
            ) from error
        inverse.append(np.linalg.inv(lower))
        constant.append(np.log(max(prior, 1e-300)) - np.log(np.diag(lower)).sum())
    return means, np.array(inverse, np.float32), np.array(constant)


def _single(
    means: Float64Array, inverse: Float32Array, constant: Float64Array
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Means in two parts of single precision, whose sum is good to 1e-14, and the rest as the loop takes it."""
    high = means.astype(np.float32)
    return high, (means - high).astype(np.float32), inverse, constant.astype(np.float32)


def _samples(
    samples: npt.ArrayLike, labels: npt.ArrayLike, bands: Sequence[str], classes: Sequence[str]
) -> tuple[Float64Array, npt.NDArray[np.intp]]:
    """Training pixels without those that lack a band."""
    x, y = np.asarray(samples, float), np.asarray(labels, np.intp)
    if x.ndim != 2 or x.shape[1] != len(bands) or y.shape != x.shape[:1]:
        raise SpecError(
            f"samples of shape {x.shape} and labels of shape {y.shape}; wanted (pixels, {len(bands)}) and (pixels,)"
        )
    if not 1 <= len(classes) <= MOST_CLASSES or len(bands) > MOST_BANDS:
        raise SpecError(f"{len(classes)} classes, {len(bands)} bands; at most {MOST_CLASSES} and {MOST_BANDS}")
    if y.size and not 0 <= y.min() <= y.max() < len(classes):
        raise SpecError(f"labels from {y.min()} to {y.max()}; wanted 0 to {len(classes) - 1}")
    whole = np.isfinite(x).all(axis=1)
    if not whole.any():
        raise SpecError("no sample has all bands")
    return x[whole], y[whole]


def _best_split(x: Float64Array, y: npt.NDArray[np.intp], classes: int, least: int) -> tuple[int, float] | None:
    """Band and threshold of the largest fall of Gini's impurity; None where nothing is gained."""
    n = len(y)
    whole = np.bincount(y, minlength=classes)
    found, best = None, float((whole.astype(float) ** 2).sum() / n) * (1 + 1e-12)
    for band in range(x.shape[1]):
        order = np.argsort(x[:, band], kind="stable")
        values = x[order, band]
        below = np.cumsum(np.eye(classes)[y[order]], axis=0)[:-1]
        size = np.arange(1.0, n)
        gain = (below**2).sum(1) / size + ((whole - below) ** 2).sum(1) / (n - size)
        allowed = (values[1:] > values[:-1]) & (size >= least) & (n - size >= least)
        gain[~allowed] = -1.0
        at = int(gain.argmax())
        if gain[at] > best:
            # The model asks in float32, so the threshold lies between two values that are apart there, too.
            middle = float(np.float32(0.5 * (values[at] + values[at + 1])))
            if values[at] <= middle < values[at + 1]:
                found, best = (band, middle), float(gain[at])
    return found


def _check(model: Model, origin: str) -> None:
    """Hold that the parts of a model fit each other."""
    bands, classes = len(model.bands), len(model.classes)
    if (model.gaussian is None) == (model.tree is None):
        raise SpecError(f"{origin}: a model has either the key 'gaussian' or the key 'tree'")
    if not 1 <= classes <= MOST_CLASSES or not 1 <= bands <= MOST_BANDS:
        raise SpecError(f"{origin}: {classes} classes, {bands} bands; at most {MOST_CLASSES} and {MOST_BANDS}")
    if model.gaussian is not None:
        g = model.gaussian
        shapes = (np.shape(g.priors), np.shape(g.means), np.shape(g.covariances))
        if shapes != ((classes,), (classes, bands), (classes, bands, bands)):
            raise SpecError(
                f"{origin}: priors, means and covariances have the shapes {shapes}, wanted for {classes} classes and "
                f"{bands} bands"
            )
    if model.tree is not None:
        t = model.tree
        n = len(t.band)
        sizes = {len(t.threshold), len(t.left), len(t.right), len(t.label), len(t.purity)}
        inside = all(0 <= k < n for k in [*t.left, *t.right]) and all(0 <= b < bands for b in t.band)
        if sizes != {n} or n == 0 or not inside or not all(0 <= k < classes for k in t.label):
            raise SpecError(f"{origin}: the nodes of the tree do not fit each other, its bands and classes")
