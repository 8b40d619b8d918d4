"""MaxSim against its definition, and what each form of keeping vectors gives back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval import token_vectors
from retrieval.token_vectors import FORMS, score_tokens, search_tokens
from runtime.errors import NotFiniteError

CPU = torch.device("cpu")


def texts(rng: np.random.Generator, count: int, width: int = 24) -> list[np.ndarray]:
    made = [rng.standard_normal((rng.integers(1, 9), width)).astype(np.float32) for _ in range(count)]
    return [one / np.linalg.norm(one, axis=1, keepdims=True) for one in made]


def maxsim(question: np.ndarray, passage: np.ndarray) -> float:
    return sum(max(float(q @ p) for p in passage) for q in question)


@pytest.mark.parametrize("tokens", [1, 10, 1000])
@pytest.mark.parametrize("block", [1, 4, 30])
def test_the_best_are_those_of_a_direct_computation(block, tokens, monkeypatch):
    monkeypatch.setattr(token_vectors, "_ASKED", tokens)
    monkeypatch.setattr(token_vectors, "_GIVEN", 2 * tokens)
    rng = np.random.default_rng(0)
    questions, passages = texts(rng, 7), texts(rng, 30)
    passages[20] = passages[3]  # a tie
    expected = np.array([[maxsim(q, p) for p in passages] for q in questions])
    for score in (score_tokens, token_vectors._score_padded):  # the latter is for a GPU
        np.testing.assert_allclose(score(questions, passages, CPU), expected, rtol=1e-5, atol=1e-5)
    blocks = [passages[start : start + block] for start in range(0, 30, block)]
    found = search_tokens(questions, blocks, 12, CPU)
    assert (found.ids.dtype, found.scores.dtype, found.ids.shape) == (np.int64, np.float32, (7, 12))
    np.testing.assert_array_equal(found.ids, np.argsort(-expected.round(5), axis=1, kind="stable")[:, :12])
    np.testing.assert_allclose(found.scores, -np.sort(-expected, axis=1)[:, :12], rtol=1e-5, atol=1e-5)
    assert search_tokens(questions, blocks, 99, CPU).ids.shape == (7, 30)
    assert search_tokens([], blocks, 5, CPU).ids.shape == (0, 5)


@pytest.mark.parametrize(
    ("form", "dtype", "size", "cosine"),
    [("float16", "float16", 48, 0.99999), ("int8", "int8", 24, 0.9999), ("binary", "uint8", 3, 0.5)],
)
def test_what_is_kept_gives_the_direction_back(form, dtype, size, cosine):
    vectors = np.concatenate(texts(np.random.default_rng(1), 20))
    kept = FORMS[form].pack(vectors)
    assert (kept.dtype, kept.nbytes) == (np.dtype(dtype), size * len(vectors))
    back = FORMS[form].unpack(kept, vectors.shape[1])
    assert back.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-3)
    assert ((vectors * back).sum(axis=1) / np.linalg.norm(back, axis=1)).min() > cosine


def test_bits_are_the_signs():
    vectors = np.array([[0.6, -0.8, 0.1, -0.1, 0.2]], np.float32)
    back = FORMS["binary"].unpack(FORMS["binary"].pack(vectors), 5)
    np.testing.assert_allclose(back, np.sign(vectors) / 5**0.5, rtol=1e-6)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(NotFiniteError, match="scores that are not finite numbers"):
        score_tokens([np.full((1, 2), np.nan, np.float32)], [np.ones((1, 2), np.float32)], CPU)
