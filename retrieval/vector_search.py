"""Exact search of vectors by inner product, in blocks, on whatever device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from retrieval.base import SearchResults
from runtime.errors import NotFiniteError
from runtime.progress import progress_bar

_BLOCK_PASSAGES = 2**14  # passages and questions whose scores are held at once: 16 MiB of float32
_BLOCK_QUESTIONS = 2**8


def search_vectors(
    questions: np.ndarray, shards: Sequence[np.ndarray], k: int, device: torch.device, block: int = _BLOCK_PASSAGES
) -> SearchResults:
    """Return the ``min(k, N)`` passages of the highest inner product with each of ``questions`` (n, H).

    ``shards`` (m, H) hold the N passages in order, in memory or mapped. They are read once, ``block`` at a time, and
    every block's best are merged into the best so far, so that memory grows with n * k alone. Score descending, ties
    by lower row number; the product is in float32. Raises :class:`NotFiniteError` for scores that are no numbers.
    """
    k = min(k, sum(map(len, shards)))
    if len(questions) == 0:
        return SearchResults(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    question_blocks = torch.from_numpy(questions).to(device).split(_BLOCK_QUESTIONS)  # each (q, H)
    best = [(rows.new_empty(len(rows), 0), rows.new_empty(len(rows), 0, dtype=torch.long)) for rows in question_blocks]
    first = 0
    with progress_bar(total=sum(map(len, shards)), desc="Search", unit="passage", delay=1) as progress:
        for shard in shards:
            for start in range(0, len(shard), block):
                passages = torch.from_numpy(shard[start : start + block].astype(np.float32)).to(device)  # (p, H)
                for number, rows in enumerate(question_blocks):
                    scores, columns = _highest(rows @ passages.T, k)  # (q, H) @ (H, p), then (q, min(k, p)) each
                    so_far, ids = best[number]  # (q, at most k) each
                    scores = torch.cat([so_far, scores], dim=1)  # (q, at most 2k), of equal ones lower rows before
                    best[number] = _stable(scores, torch.cat([ids, columns + first], dim=1), k)  # (q, k) each
                first += len(passages)
                progress.update(len(passages))
    best_scores, best_ids = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))  # (n, k) each
    # nan and infinity come first wherever there is one
    if not (finite := np.isfinite(best_scores).all(axis=1)).all():
        raise NotFiniteError("the encoder", f"gives question {finite.argmin()} scores that are not finite numbers")
    return SearchResults(best_ids, best_scores)


def _highest(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``min(k, p)`` highest of ``scores`` (q, p) and their columns, ties by lower column."""
    k = min(k, scores.shape[1])
    highest, columns = scores.topk(k, dim=1)  # (q, k) each; of equal scores topk takes any, in any order
    tied = (scores >= highest[:, -1:]).sum(dim=1) > k  # (q,), whether the cut goes through equal scores
    columns[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    columns = columns.sort(dim=1).values  # (q, k)
    return _stable(scores.gather(1, columns), columns, k)


def _stable(scores: torch.Tensor, rows: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first ``k`` of (q, c) scores and rows by score descending, equal ones in the order they stand in."""
    scores, order = scores.sort(dim=1, descending=True, stable=True)  # (q, c) each
    return scores[:, :k], rows.gather(1, order[:, :k])  # (q, k) each
