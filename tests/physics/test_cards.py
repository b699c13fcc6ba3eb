"""Every card: its worked examples, and what holds for any point function."""

import numpy as np
import pytest

from pipshpc.kernel import compute, evaluate
from pipshpc.product import load_cards
from pipshpc.prose import middle_of

CARDS = load_cards()
EVERY = [(card, algorithm) for card in CARDS.values() for algorithm in card.algorithms]
ALGORITHMS = [(card, algorithm) for card, algorithm in EVERY if not algorithm.by]
POINTWISE = [(card, algorithm) for card, algorithm in ALGORITHMS if algorithm.loop in ("pointwise", "stateful")]
BY_SURFACE = [(card, algorithm) for card, algorithm in EVERY if algorithm.by]
CHECKS = [(card, check) for card in CARDS.values() for check in card.checks]


def label(value):
    return getattr(value, "id", None) or getattr(value, "name", None) or getattr(value, "algorithm", None)


@pytest.mark.parametrize(("card", "check"), CHECKS, ids=label)
def test_worked_example(card, check):
    found = middle_of(compute(card.id, check.algorithm, **check.inputs))
    assert found == pytest.approx(check.expected, abs=check.tolerance), check.source
    assert card.valid_range[0] <= found <= card.valid_range[1]


@pytest.mark.parametrize(("card", "algorithm"), ALGORITHMS, ids=label)
def test_every_algorithm_is_checked_and_documented(card, algorithm):
    assert any(check.algorithm == algorithm.name for check in card.checks)
    assert algorithm.references
    assert algorithm.validity
    assert algorithm.evidence


@pytest.mark.parametrize(("card", "algorithm"), BY_SURFACE, ids=label)
def test_algorithms_by_surface_are_documented_and_name_plain_ones(card, algorithm):
    assert algorithm.validity
    assert algorithm.evidence
    assert all(not card.algorithm(name).by for name in algorithm.by.values())
    assert set(algorithm.inputs) == {"surface"}


@pytest.mark.parametrize(("card", "algorithm"), POINTWISE, ids=label)
def test_missing_input_gives_missing_output(card, algorithm):
    example = next(c for c in card.checks if c.algorithm == algorithm.name)
    values = {**algorithm.parameters, **example.inputs}
    parameters = {n: values[n] for n in algorithm.parameters}
    names = [*algorithm.inputs, *algorithm.state]
    for missing in names:
        # Twenty elements: a whole vector and a rest.
        inputs = {n: np.full(20, values[n], np.float32) for n in names}
        inputs[missing][7] = np.nan
        for out in evaluate(algorithm, inputs, parameters).values():
            assert np.flatnonzero(np.isnan(out)).tolist() == [7]


@pytest.mark.parametrize("card", CARDS.values(), ids=label)
def test_packing_holds_the_valid_range(card):
    if card.packing.dtype == "float32":
        assert (card.packing.scale_factor, card.packing.add_offset) == (1.0, 0.0)  # written as they are
        return
    info = np.iinfo(card.packing.dtype)
    # The fill value takes the lowest stored number of a signed type and the highest of an unsigned one.
    low, high = (info.min + 1, info.max) if info.min < 0 else (info.min, info.max - 1)
    scale, offset = card.packing.scale_factor, card.packing.add_offset
    assert low * scale + offset <= card.valid_range[0]
    assert high * scale + offset >= card.valid_range[1]
