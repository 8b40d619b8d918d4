"""Vectors of tokens: how they are kept small, and the exact search among them by MaxSim.

All have length 1, so that their direction alone is kept. The rows of a passage stand one after the other; ``lengths``
says how many they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.base import SearchResults, top_k
from runtime.errors import NotFiniteError

if TYPE_CHECKING:  # imported where it is used: the flags of what keeps vectors are read before that
    import torch

_SCORED = 2**26  # numbers held at once while scoring, 256 MiB


class Form(NamedTuple):
    """One way to keep vectors: what ``pack`` makes of float32 (T, D), ``unpack(kept, D)`` gives back, about."""

    pack: Callable[[np.ndarray], np.ndarray]
    unpack: Callable[[np.ndarray, int], np.ndarray]


def _to_int8(vectors: np.ndarray) -> np.ndarray:
    largest = np.abs(vectors).max(axis=1, keepdims=True)  # (T, 1)
    return np.rint(vectors * (127 / np.maximum(largest, 1e-12))).astype(np.int8)


def _from_int8(kept: np.ndarray, width: int) -> np.ndarray:
    vectors = kept.astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)  # (T, D)


def _from_bits(kept: np.ndarray, width: int) -> np.ndarray:
    signs = np.unpackbits(kept, axis=1, count=width)  # (T, D / 8) -> (T, D)
    return (signs.astype(np.float32) * 2 - 1) / np.float32(width**0.5)


FORMS = {
    "float16": Form(lambda vectors: vectors.astype(np.float16), lambda kept, _: kept.astype(np.float32)),
    "int8": Form(_to_int8, _from_int8),
    "binary": Form(lambda vectors: np.packbits(vectors > 0, axis=1), _from_bits),  # (T, D) -> (T, D / 8)
}


def search_tokens(
    questions: Sequence[np.ndarray], blocks: Iterable[Sequence[np.ndarray]], k: int, device: torch.device
) -> SearchResults:
    """Return the ``k`` passages of the highest MaxSim with each of ``questions``; all where there are fewer.

    A question, and a passage of one of the ``blocks``, is (tokens, D) in float32. Score descending, ties by lower row;
    memory grows with n * k and a block. Raises :class:`NotFiniteError` for scores that are no numbers.
    """
    n = len(questions)
    best = SearchResults(np.empty((n, 0), np.int64), np.empty((n, 0), np.float32))
    first = 0
    for passages in blocks:
        found = top_k(score_tokens(questions, passages, device), k)  # (n, k) each
        scores = np.concatenate([best.scores, found.scores], axis=1)  # (n, 2k)
        ids = np.concatenate([best.ids, found.ids + first], axis=1)
        columns, scores = top_k(scores, k)
        best = SearchResults(np.take_along_axis(ids, columns, axis=1), scores)
        first += len(passages)
    return best


def score_tokens(questions: Sequence[np.ndarray], passages: Sequence[np.ndarray], device: torch.device) -> np.ndarray:
    """Return the MaxSim (n, p), float32: of each of a question's vectors its highest product with one of the passage's,
    summed (Khattab and Zaharia 2020, ColBERT, section 3.3)."""
    import torch
    from sentence_transformers.util import maxsim

    if not questions:
        return np.empty((0, len(passages)), np.float32)
    asked, given = ([torch.from_numpy(np.ascontiguousarray(one)) for one in side] for side in (questions, passages))
    scores = maxsim(asked, given, chunk_elements=_SCORED, device=device).numpy()  # (n, p)
    if not np.isfinite(scores).all():
        raise NotFiniteError("the encoder", "gives scores that are not finite numbers")
    return scores
