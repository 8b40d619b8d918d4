"""The k best are those of a full sort; an index tells what it was built for."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.base import search_in_blocks, top_k
from runtime.errors import NotFiniteError


@pytest.mark.parametrize("k", [1, 2, 7, 39, 40, 100])
@pytest.mark.parametrize("values", [2, 5, 1000])
def test_top_k_is_a_stable_full_sort(k, values):
    scores = np.random.default_rng(k).integers(-values, values, size=(30, 40)).astype(np.float32)  # ties straddle k
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    results = top_k(scores, k)
    np.testing.assert_array_equal(results.ids, expected)
    np.testing.assert_array_equal(results.scores, np.take_along_axis(scores, expected, axis=1))
    assert (results.ids.dtype, results.scores.dtype) == (np.int64, np.float32)
    assert results.ids.shape == (30, min(k, 40))


@pytest.mark.parametrize("k", [1, 7, 300])
@pytest.mark.parametrize("values", [1, 50, 10**6])
def test_top_k_of_many_scores_is_a_stable_full_sort_too(k, values):
    scores = np.random.default_rng(k).integers(0, values, size=(4, 5003)).astype(np.float32)
    scores[0, 5:] = -1  # fewer than k above what most have
    scores[1, -3:] = values  # the best come last, behind the last whole stretch
    np.testing.assert_array_equal(top_k(scores, k).ids, np.argsort(-scores, axis=1, kind="stable")[:, :k])


def test_top_k_of_equal_scores_is_the_order_of_the_corpus():
    assert top_k(np.zeros((1, 9)), 4).ids.tolist() == [[0, 1, 2, 3]]
    assert top_k(np.array([[-np.inf, 3.0, -np.inf, 3.0]]), 3).ids.tolist() == [[1, 3, 0]]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_refused(score):
    with pytest.raises(NotFiniteError, match="gives question 1 scores that are not finite numbers"):
        top_k(np.array([[1.0, 2.0], [score, 2.0]]), 1)
    scores = np.zeros((2, 1003))
    scores[1, -1] = score  # behind the last whole stretch
    with pytest.raises(NotFiniteError, match="gives question 1 scores that are not finite numbers"):
        top_k(scores, 1)


def test_blocks_change_nothing(monkeypatch):
    scores = np.random.default_rng(0).integers(0, 5, size=(11, 40)).astype(np.float64)
    whole, sizes = top_k(scores, 6), []

    def score(block):
        sizes.append(len(block))
        return scores[list(block)]

    monkeypatch.setattr("retrieval.base._BLOCK_SCORES", 4 * 40)
    results = search_in_blocks(score, range(11), 40, 6)
    assert sizes == [4, 4, 3]
    np.testing.assert_array_equal(results.ids, whole.ids)
    np.testing.assert_array_equal(results.scores, whole.scores)
    assert search_in_blocks(score, [], 40, 6).ids.shape == (0, 6)


def test_rounding_noise_orders_nothing():
    scores = np.array([[0.3, 0.1 + 0.2, 0.5]])
    assert scores[0, 1] > scores[0, 0]
    assert search_in_blocks(lambda block: scores, range(1), 3, 3).ids.tolist() == [[2, 0, 1]]
