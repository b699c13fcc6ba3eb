"""Decomposition: nothing lost, nothing twice, balanced, compact."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipshpc.domain import Blocks, cut, hilbert_curve, imbalance


@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_hilbert_curve_visits_every_block_once(rows, columns):
    curve = hilbert_curve(rows, columns)
    assert sorted(map(tuple, curve)) == [(r, c) for r in range(rows) for c in range(columns)]


@pytest.mark.parametrize("side", [2, 4, 8, 64])
def test_hilbert_curve_steps_to_a_neighbour(side):
    steps = np.abs(np.diff(hilbert_curve(side, side), axis=0)).sum(axis=1)
    assert steps.max() == 1


@given(shape=st.tuples(st.integers(1, 70), st.integers(1, 70)), chunk=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_blocks_tile_the_array(shape, chunk):
    blocks = Blocks(shape, chunk)
    seen = np.zeros(shape, int)
    for row, column in blocks.order():
        block = blocks.block(row, column)
        seen[block.start[0] : block.start[0] + block.count[0], block.start[1] : block.start[1] + block.count[1]] += 1
    assert np.all(seen == 1)


def test_blocks_without_weight_are_left_out():
    weights = np.zeros((4, 4))
    weights[1, 2] = 5
    assert Blocks((40, 40), (10, 10)).order(weights).tolist() == [[1, 2]]


@given(weights=st.lists(st.integers(1, 100), min_size=1, max_size=200), parts=st.integers(1, 50))
def test_cut_keeps_everything_and_stays_within_one_weight_of_the_mean(weights, parts):
    bounds = cut(weights, parts)
    assert bounds[0] == 0
    assert bounds[-1] == len(weights)
    assert np.all(np.diff(bounds) >= 0)
    sums = [sum(weights[a:b]) for a, b in pairwise(bounds)]
    assert max(sums) <= sum(weights) / parts + max(weights)


def test_imbalance_of_equal_weights():
    assert imbalance(np.ones(100), cut(np.ones(100), 7)) == pytest.approx(15 / (100 / 7))
