"""Exact search in blocks, whatever their size, and what is no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import retrieval.vector_search
from retrieval.base import top_k
from retrieval.vector_search import search_vectors
from runtime.errors import NotFiniteError

CPU = torch.device("cpu")


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_search_is_a_full_sort_for_every_size_of_block(block, k, monkeypatch):
    monkeypatch.setattr(retrieval.vector_search, "_BLOCK_QUESTIONS", 3)
    rng = np.random.default_rng(0)
    # Whole numbers, so that many scores are equal and none depends on the order of additions.
    questions = rng.integers(-2, 3, size=(8, 6)).astype(np.float32)
    questions[5] = 0  # all scores are equal
    passages = rng.integers(-2, 3, size=(200, 6)).astype(np.float32)
    expected = top_k(questions @ passages.T, k)
    for shards in ([passages], [passages[:33], passages[33:34], passages[34:]], [passages.astype(np.float16)]):
        found = search_vectors(questions, shards, k, CPU, block)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
        assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)


def test_no_question_finds_nothing_and_what_is_no_number_is_refused():
    found = search_vectors(np.empty((0, 0), np.float32), [np.zeros((4, 6), np.float32)], 9, CPU)
    assert (found.ids.shape, found.scores.shape) == ((0, 4), (0, 4))
    questions = np.zeros((3, 6), np.float32)
    questions[1, 2] = np.nan
    with pytest.raises(NotFiniteError, match="gives question 1 scores that are not finite numbers"):
        search_vectors(questions, [np.zeros((4, 6), np.float32)], 2, CPU)
    questions[1], passages = 1e25, np.zeros((4, 6), np.float32)
    passages[3] = 1e25  # vectors of numbers, whose product is none
    with pytest.raises(NotFiniteError, match="gives question 1 scores that are not finite numbers"):
        search_vectors(questions, [passages], 2, CPU)
