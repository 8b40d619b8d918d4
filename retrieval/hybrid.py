"""Hybrid retrieval: what several retrievers find, fused into one ranking."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.base import (
    CREDENTIALS_ARE_VARIABLES,
    Explaining,
    Explanation,
    OfParts,
    Part,
    Retriever,
    SearchResults,
    largest_first,
    ranks_by_row,
)
from runtime.errors import UserError
from runtime.flags import flag, flag_group
from runtime.one_word import name_of

RRF_K = 60


@flag_group("fusion")
class FusionDepthArguments:
    """How much is fused."""

    fusion_depth: int = flag(100, "Passages that each fused retriever finds per question.", at_least=1, at_most=10_000)


@flag_group("fusion")
class HybridArguments(FusionDepthArguments):
    """The flags of fusion."""

    hybrid_retrievers: list[str] = flag(
        ["SparseRetrieval_BM25P", "DenseRetrieval"],
        "Retrievers that HybridRetrieval fuses, two or more; NAME,flag=value,... gives one flags of its own.",
        has_own_flags=True,
        way_out_of_credentials=CREDENTIALS_ARE_VARIABLES,
    )
    fusion: str = flag(
        "weighted", "Fuse reciprocal ranks, or scores that are normalised per question.", choices=["rrf", "weighted"]
    )
    fusion_weights: list[float] | None = flag(None, "Weight of each fused retriever, in order (default: equal).")


class HybridRetrieval(OfParts):
    """Two or more retrievers, fused by reciprocal ranks (``rrf``) or by normalised scores (``weighted``).

    Each part finds ``depth`` passages per question, or k where more are asked for; what a part does not find gets
    nothing from it. A fused score is the sum over the parts of weight * points (see :func:`rrf_points` and
    :func:`weighted_points`); ties go to the lower row of the corpus.
    """

    name = "HybridRetrieval"
    flags: type = HybridArguments
    seconds_of_parts: list[float]  # that the last search took of each

    def __init__(
        self,
        parts: Sequence[Retriever],
        fusion: str = "weighted",
        weights: Sequence[float] | None = None,
        depth: int = 100,
    ) -> None:
        if len(parts) < 2:
            raise UserError(f"--hybrid_retrievers must name two or more retrievers, not {len(parts)}")
        weights = [1.0] * len(parts) if weights is None else list(weights)
        if len(weights) != len(parts) or min(weights) < 0 or not 0 < sum(weights) < np.inf:
            given = " ".join(f"{weight:g}" for weight in weights)
            raise UserError(
                f"--fusion_weights {given} must hold a number for each of the {len(parts)} retrievers, "
                "none below 0 and one at least above"
            )
        self.parts, self.fusion, self.weights, self.depth = list(parts), fusion, weights, depth

    @classmethod
    def from_arguments(cls, arguments: Any, default_tokenizer: str | None) -> HybridRetrieval:
        """Return what ``arguments`` describe: :class:`HybridArguments`, among all flags of retrieval for the parts."""
        from retrieval import create_retriever  # the registry, which holds this class itself

        if len(cls.parts_named_in(arguments)) < len(arguments.hybrid_retrievers):
            raise UserError(f"--hybrid_retrievers {' '.join(arguments.hybrid_retrievers)}: a hybrid cannot fuse itself")
        shared = dataclasses.replace(arguments, reranker=None)  # --reranker re-orders what was fused
        parts = [
            create_retriever(dataclasses.replace(shared, retriever_type=spec), default_tokenizer)
            for spec in arguments.hybrid_retrievers
        ]
        return cls(parts, arguments.fusion, arguments.fusion_weights, arguments.fusion_depth)

    @staticmethod
    def parts_named_in(arguments: HybridArguments) -> list[str]:
        """Return the retrievers to fuse, but for a hybrid without parts of its own, which would never end."""
        return [
            part
            for part in arguments.hybrid_retrievers
            if name_of(part) != HybridRetrieval.name or "hybrid_retrievers=" in part
        ]

    def parameters(self) -> dict[str, Any]:
        parts = [{"retriever": part.name, "parameters": part.parameters()} for part in self.parts]
        return {"fusion": self.fusion, "weights": self.weights, "depth": self.depth, "parts": parts}

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        return self.fuse(self.search_parts(questions, k), k)

    def search_parts(self, questions: Sequence[str], k: int) -> list[SearchResults]:
        """Return what each part finds, deep enough for the ``k`` best of all."""
        found, self.seconds_of_parts = [], []
        for part in self.parts:
            began = time.perf_counter()
            found.append(part.search(questions, max(self.depth, k)))
            self.seconds_of_parts.append(time.perf_counter() - began)
        return found

    def fuse(self, found: Sequence[SearchResults], k: int, weights: Sequence[float] | None = None) -> SearchResults:
        """Return the k best of what the parts found; ``weights`` instead of the retriever's own."""
        points = [POINTS[self.fusion](results.scores) for results in found]  # each (n, depth)
        return fuse([results.ids for results in found], points, self.weights if weights is None else weights, k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return what each retriever adds, weighted, with its rank and its score, and what it says of that itself."""
        cuts: dict[str, Sequence[str]] = {}
        parts: list[list[Part]] = [[] for _ in rows]
        for part, weight, found in zip(self.parts, self.weights, self.search_parts([question], k), strict=True):
            own = part.explain(question, rows, max(self.depth, k)) if isinstance(part, Explaining) else None
            cuts |= own.cuts if own is not None else {}
            points = POINTS[self.fusion](found.scores)[0].tolist()  # (1, depth) -> (depth,)
            known = ranks_by_row(found)
            for number, row in enumerate(rows):
                gain, detail = 0.0, f"not among its {len(points)} best"
                if row in known:
                    rank, score = known[row]
                    gain, detail = weight * points[rank - 1], f"rank {rank}, score {score:.4g}, weight {weight:g}"
                parts[number].append(Part(part.name, gain, detail, own.parts[number] if own is not None else ()))
        return Explanation(cuts, list(map(largest_first, parts)))


def rrf_points(scores: np.ndarray) -> np.ndarray:
    """Return 1 / (60 + rank) for ranks from 1 (Cormack et al. 2009, Reciprocal Rank Fusion), as (n, k)."""
    return np.broadcast_to(1 / (RRF_K + np.arange(1, scores.shape[1] + 1)), scores.shape)  # (k,) -> (n, k)


def weighted_points(scores: np.ndarray) -> np.ndarray:
    """Return each question's ``scores`` (n, k), best first, scaled to 1 for the best and 0 for the last.

    Where all are equal they say nothing and become 0.
    """
    scores = scores.astype(np.float64)
    low, high = scores[:, -1:], scores[:, :1]  # (n, 1)
    return np.divide(scores - low, high - low, out=np.zeros_like(scores), where=high > low)


POINTS = {"rrf": rrf_points, "weighted": weighted_points}


def fuse(ids: Sequence[np.ndarray], points: Sequence[np.ndarray], weights: Sequence[float], k: int) -> SearchResults:
    """Return the k passages with the highest sum of weight * points, ties by lower row.

    ``ids`` and ``points`` hold an array (n, depth) for each part. A sum is rounded to float32 before it is ranked.
    """
    rows = np.concatenate(ids, axis=1)  # (n, parts * depth)
    gains = np.concatenate([weight * part for weight, part in zip(weights, points, strict=True)], axis=1)
    k = min(k, ids[0].shape[1])  # every part found so many, so all together no fewer
    results = SearchResults(np.empty((len(rows), k), np.int64), np.empty((len(rows), k), np.float32))
    for question, (question_rows, question_gains) in enumerate(zip(rows, gains, strict=True)):
        candidates, of_gain = np.unique(question_rows, return_inverse=True)  # (m,) ascending, k <= m <= parts * depth
        sums = np.bincount(of_gain, weights=question_gains).astype(np.float32)  # (m,)
        best = np.argsort(-sums, kind="stable")[:k]
        results.ids[question], results.scores[question] = candidates[best], sums[best]
    return results
