"""Span decoding: from the logits of many windows to the n best answer spans of each, a pure function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FORBIDDEN = np.float32(-np.inf)
_CELLS_AT_ONCE = 2**22  # pairs of a start and an end, all of which are scored if all scores are equal


class Spans(NamedTuple):
    """The best spans of windows, window by window and best first: (spans,) each.

    ``rows`` are the windows, ``starts`` and ``ends`` token positions (inclusive).
    """

    rows: np.ndarray
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
    """Return the ``n_best`` spans of every window by ``start_logits[i] + end_logits[j]``.

    Exactly the exhaustive definition: all pairs with ``i <= j < i + max_answer_length`` (tokens), both ends
    ``allowed`` and, where ``segments`` numbers the passages of a joined context, in the same one. Equal scores
    are ordered by start, then by length.

    Where the end is scored given the start, ``beam_starts`` (windows, beam) int are the starts that count, and the
    score of a span that begins at the b-th of them is ``start_logits[i] + end_logits[b, j]``.

    Shapes: ``start_logits``, ``end_logits`` (windows, tokens) float, the latter (windows, beam, tokens) with a beam;
    ``allowed`` (windows, tokens) bool; ``segments`` (windows, tokens) int, which never decrease in a window.
    """
    windows, tokens = start_logits.shape
    at_once = max(1, _CELLS_AT_ONCE // max(1, tokens * min(max_answer_length, tokens)))
    found = []
    for first in range(0, windows, at_once):
        block = slice(first, first + at_once)
        spans = _best_of_block(
            start_logits[block],
            end_logits[block],
            allowed[block],
            max_answer_length,
            n_best,
            None if segments is None else segments[block],
            None if beam_starts is None else beam_starts[block],
        )
        found.append(spans._replace(rows=spans.rows + first))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return Spans(nothing, nothing, nothing, np.zeros(0, dtype=np.float32))
    return Spans(*map(np.concatenate, zip(*found, strict=True)))


def _best_of_block(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    allowed: np.ndarray,
    max_answer_length: int,
    n_best: int,
    segments: np.ndarray | None,
    beam_starts: np.ndarray | None,
) -> Spans:
    windows, tokens = start_logits.shape
    width = min(max_answer_length, tokens)
    start = np.where(allowed, start_logits, FORBIDDEN).astype(np.float32)  # (windows, tokens)
    end = np.full((*end_logits.shape[:-1], tokens + width - 1), FORBIDDEN, dtype=np.float32)
    ending = allowed if beam_starts is None else allowed[:, None]  # (windows, [1,] tokens)
    end[..., :tokens] = np.where(ending, end_logits, FORBIDDEN)  # (windows, [beam,] tokens + width - 1)
    if segments is not None:
        padded = np.pad(segments, ((0, 0), (0, width - 1)), constant_values=-1)  # (windows, tokens + width - 1)

    bound = np.full(windows, FORBIDDEN)  # (windows,)
    places: tuple[np.ndarray, ...]  # of starts among the ends, (starts,) each
    # Every start has a best span: starts whose best is below the n-th best of these have none of the n best spans.
    if beam_starts is None:
        best = start + _best_ends(end, tokens, width, None if segments is None else padded)  # (windows, tokens)
        if n_best < tokens:
            bound = np.partition(best, tokens - n_best, axis=1)[:, tokens - n_best]  # (windows, tokens) -> (windows,)
        rows, starts = np.nonzero((best >= bound[:, None]) & (best > FORBIDDEN))  # (starts,) each, in this order
        places = (rows, starts)
    else:
        of_beam = np.full((windows, tokens), -1)
        np.put_along_axis(of_beam, beam_starts, np.arange(beam_starts.shape[1])[None], axis=1)  # (windows, tokens)
        rows, starts = np.nonzero((of_beam >= 0) & (start > FORBIDDEN))  # (starts,) each, in this order
        places = (rows, of_beam[rows, starts], starts)

    ends_from = np.lib.stride_tricks.sliding_window_view(end, width, axis=-1)  # (windows, [beam,] tokens, width)
    scores = start[rows, starts, None] + ends_from[places]  # (starts, width)
    if segments is not None:
        segments_from = np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1)  # (windows, tokens, width)
        scores[segments_from[rows, starts] != segments[rows, starts, None]] = FORBIDDEN
    which, lengths = np.nonzero((scores >= bound[rows, None]) & (scores > FORBIDDEN))  # (spans,) each
    values, rows, starts = scores[which, lengths], rows[which], starts[which]  # (spans,) each

    order = np.lexsort((-values, rows))  # stable: equals stay in the order of start and length
    counts = np.bincount(rows, minlength=windows)  # (windows,)
    ranks = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)  # (spans,) in its window
    order = order[ranks < n_best]  # (best spans,)
    return Spans(rows[order], starts[order], starts[order] + lengths[order], values[order])


def _best_ends(end: np.ndarray, tokens: int, width: int, segments: np.ndarray | None) -> np.ndarray:
    """Return the best of ``width`` ends from every token on, in its segment, by doubling how far is seen.

    Shapes: ``end`` and ``segments`` (windows, tokens + width - 1) -> (windows, tokens).
    """
    best, reach = end, 1
    while reach < width:
        step = min(reach, width - reach)
        ahead = best[:, step:]  # (windows, tokens + what is left of the padding)
        if segments is not None:
            same = segments[:, step : step + ahead.shape[1]] == segments[:, : ahead.shape[1]]
            ahead = np.where(same, ahead, FORBIDDEN)
        best = np.maximum(best[:, : ahead.shape[1]], ahead)
        reach += step
    return best[:, :tokens]
