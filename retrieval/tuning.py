"""The weights of a hybrid retriever, chosen by what they do for questions whose passage is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from retrieval.comparison import Questions, summary
from retrieval.hybrid import HybridRetrieval
from retrieval.metrics import ranking_metrics
from runtime.errors import UserError
from runtime.statistics import percent
from runtime.text import seen_text

_GRID = [round(0.1 * step, 1) for step in range(11)]
_SWEEPS = 3


class Quality(NamedTuple):
    """What weights are chosen by, in percent, the first that differs deciding."""

    recall_at_5: float
    mrr_at_10: float


def tune_fusion(hybrid: HybridRetrieval, parts: Sequence[str], questions: Questions, k: int) -> dict[str, Any]:
    """Choose the hybrid's weights on one half of the gold passages; return them with their scores on the other.

    ``parts`` are the names of its retrievers, of each of which the k best passages are fused. Raises
    :class:`UserError` for questions about too few passages.
    """
    first_half = halves(questions.examples)
    tuning, held_out = questions.gold.known & first_half, questions.gold.known & ~first_half
    if not (tuning.any() and held_out.any()):
        raise UserError("--tune_fusion needs questions about more passages: one half of them has none")
    found = hybrid.search_parts(questions.examples["question"], k)

    def figures(weights: Sequence[float] | None, counted: np.ndarray) -> dict[str, np.ndarray]:
        results = hybrid.fuse(found, k, weights)
        return ranking_metrics(questions.gold.among(results.ids)[counted], [1, 5])

    def quality(weights: Sequence[float]) -> Quality:
        values = figures(weights, tuning)
        return Quality(percent(values["recall@5"]), percent(values["mrr@10"]))

    best, tried = tune_weights(quality, len(found))
    compared = {"tuned": best, "equal": [1.0] * len(found)}
    compared |= {f"only {part}": np.eye(len(found))[number].tolist() for number, part in enumerate(parts)}
    return {
        "fusion": hybrid.fusion,
        "weights": best,
        "flags": f"--fusion {hybrid.fusion} --fusion_weights {' '.join(f'{weight:g}' for weight in best)}",
        "tuned_on_questions": int(tuning.sum()),
        "curve": [{"weights": list(weights), **scores._asdict()} for weights, scores in tried.items()],
        "held_out_questions": int(held_out.sum()),
        "held_out": {
            name: {metric: summary(values, questions.seed) for metric, values in figures(weights, held_out).items()}
            for name, weights in compared.items()
        },
    }


def tune_weights(
    quality: Callable[[Sequence[float]], Quality], parts: int
) -> tuple[list[float], dict[tuple[float, ...], Quality]]:
    """Return the best weights of ``parts`` retrievers, and the quality of all that were tried, in order.

    Two parts: w and 1 - w for w = 0, 0.1, ... 1. More: from equal weights on, one weight at a time is set to its best
    of 0, 0.1, ... 1 while the others stay, until a sweep over all changes none. Of equals the first is kept.
    """
    tried: dict[tuple[float, ...], Quality] = {}

    def try_all(candidates: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
        for weights in candidates:
            if any(weights) and weights not in tried:
                tried[weights] = quality(weights)
        return max((weights for weights in candidates if any(weights)), key=tried.__getitem__)

    if parts == 2:
        return list(try_all([(weight, round(1 - weight, 1)) for weight in _GRID])), tried
    best = (1.0,) * parts
    for _ in range(_SWEEPS):
        before = best
        for part in range(parts):
            best = try_all([best, *((*best[:part], weight, *best[part + 1 :]) for weight in _GRID)])
        if best == before:
            break
    return list(best), tried


def halves(examples: Dataset) -> np.ndarray:
    """Return which examples are in the first half of the passages: boolean (n,).

    Drawn by a hash of the passage's text, or of its id where there is none, so that no passage is in both halves and
    the halves are the same in every run.
    """
    texts = [" ".join(seen_text(example["context"] or example["document_id"]).split()) for example in examples]
    digests = [hashlib.sha256(text.encode("utf-8")).digest() for text in texts]
    return np.array([digest[0] % 2 == 0 for digest in digests], dtype=bool)
