"""Vectors of tokens: how they are kept small, and the exact search among them by MaxSim.

All have length 1, so that their direction alone is kept. The rows of a passage stand one after the other; ``lengths``
says how many they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.base import SearchResults, top_k
from runtime.errors import NotFiniteError

if TYPE_CHECKING:  # imported where it is used: the flags of what keeps vectors are read before that
    import torch

_SCORED = 2**26  # numbers held at once while scoring on a GPU, 256 MiB
_ASKED, _GIVEN = 512, 2048  # tokens of questions and of passages whose products, 4 MiB, stay in a processor's cache


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
    if not questions:
        return np.empty((0, len(passages)), np.float32)
    cached = device.type == "cpu"
    scores = _score_in_cache(questions, passages) if cached else _score_padded(questions, passages, device)  # (n, p)
    if not np.isfinite(scores).all():
        raise NotFiniteError("the encoder", "gives scores that are not finite numbers")
    return scores


def _score_in_cache(questions: Sequence[np.ndarray], passages: Sequence[np.ndarray]) -> np.ndarray:
    """Return the MaxSim (n, p) on a processor: without padding, so few products at a time that its cache holds them."""
    import torch

    scores = np.empty((len(questions), len(passages)), np.float32)
    parts = [(part, *_joined(passages[part])) for part in _slices(passages, _GIVEN)]
    for of_questions in _slices(questions, _ASKED):
        asked, first_asked = _joined(questions[of_questions])  # (Q, D)
        for of_passages, given, first_given in parts:
            products = torch.from_numpy(given) @ torch.from_numpy(asked).T  # (T, D) @ (D, Q) -> (T, Q)
            highest = np.maximum.reduceat(products.numpy(), first_given, axis=0)  # (T, Q) -> (p, Q)
            scores[of_questions, of_passages] = np.add.reduceat(highest, first_asked, axis=1).T  # (p, Q) -> (n, p)
    return scores


def _score_padded(questions: Sequence[np.ndarray], passages: Sequence[np.ndarray], device: torch.device) -> np.ndarray:
    """Return the MaxSim (n, p) on any device: padded, which a GPU minds less than many small products."""
    import torch
    from sentence_transformers.util import maxsim

    asked, given = ([torch.from_numpy(np.ascontiguousarray(one)) for one in side] for side in (questions, passages))
    return maxsim(asked, given, chunk_elements=_SCORED, device=device).numpy()  # (n, p)


def _joined(texts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (T, D) of all ``texts``, one after the other, and the row (texts,) that each begins in."""
    lengths = np.array([len(text) for text in texts])
    return np.concatenate(texts), lengths.cumsum() - lengths


def _slices(texts: Sequence[np.ndarray], tokens: int) -> list[slice]:
    """Return slices of ``texts`` of about so many ``tokens`` each."""
    ends = np.cumsum([len(text) for text in texts])
    cuts = np.flatnonzero(np.diff(ends // tokens)) + 1
    return [slice(*bounds) for bounds in itertools.pairwise([0, *cuts, len(texts)])]
