"""Span decoding: from logits to the n best answer spans, a pure function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FORBIDDEN = np.float32(-np.inf)


class Spans(NamedTuple):
    """The best spans of one feature, best first: token positions (inclusive) and scores, each of shape (n,)."""

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray


def best_spans(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    allowed: np.ndarray,
    max_answer_length: int,
    n_best: int,
    segments: np.ndarray | None = None,
    beam_starts: np.ndarray | None = None,
) -> Spans:
    """Return the ``n_best`` spans by ``start_logits[i] + end_logits[j]``.

    Exactly the exhaustive definition: all pairs with ``i <= j < i + max_answer_length`` (tokens), both ends
    ``allowed`` and, where ``segments`` numbers the passages of a joined context, in the same one. Equal scores
    are ordered by start, then by length.

    Where the end is scored given the start, ``beam_starts`` (beam,) int are the starts that count, and the score of
    a span that begins at the b-th of them is ``start_logits[i] + end_logits[b, j]``.

    Shapes: ``start_logits``, ``end_logits`` (tokens,) float, the latter (beam, tokens) with a beam; ``allowed``
    (tokens,) bool; ``segments`` (tokens,) int.
    """
    tokens = len(start_logits)
    width = min(max_answer_length, tokens)
    start = np.where(allowed, start_logits, FORBIDDEN).astype(np.float32)  # (tokens,)
    end = np.full((*end_logits.shape[:-1], tokens + width - 1), FORBIDDEN, dtype=np.float32)
    end[..., :tokens] = np.where(allowed, end_logits, FORBIDDEN)  # ([beam,] tokens + width - 1)
    ends_from = np.lib.stride_tricks.sliding_window_view(end, width, axis=-1)  # ([beam,] tokens, width): [i, j - i]
    if beam_starts is None:
        scores = start[:, None] + ends_from  # (tokens, width)
    else:
        scores = np.full((tokens, width), FORBIDDEN)
        own_ends = ends_from[np.arange(len(beam_starts)), beam_starts]  # (beam, width)
        scores[beam_starts] = start[beam_starts, None] + own_ends  # (tokens, width)
    if segments is not None:
        padded = np.full(tokens + width - 1, -1, dtype=segments.dtype)
        padded[:tokens] = segments  # (tokens + width - 1,)
        same = segments[:, None] == np.lib.stride_tricks.sliding_window_view(padded, width)  # (tokens, width)
        scores = np.where(same, scores, FORBIDDEN)
    flat = scores.ravel()  # (tokens * width,)
    n = min(n_best, flat.size)
    # Every score down to the n-th largest, ties included, so that the stable sort alone decides between equals.
    cut = np.partition(flat, flat.size - n)[flat.size - n]
    candidates = np.flatnonzero((flat >= cut) & (flat > FORBIDDEN))
    order = candidates[np.argsort(-flat[candidates], kind="stable")][:n]  # (n,)
    starts, lengths = np.divmod(order, width)
    return Spans(starts, starts + lengths, flat[order])
