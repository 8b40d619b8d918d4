"""Reranking: a cross-encoder re-orders what another retriever found (Nogueira and Cho 2019, Passage Re-ranking)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loading.corpus import Corpus
from retrieval.base import Explaining, Explanation, Part, Retriever, SearchResults, ranks_by_row, top_k
from runtime.arguments import BackendArguments
from runtime.errors import UserError
from runtime.flags import flag, flag_group, only_if
from runtime.output import find_model
from runtime.progress import progress_bar

if TYPE_CHECKING:  # what needs torch is imported where it is used: the flags below are read before that
    from models.cross_encoder import CrossEncoder

_PAIRS_AT_ONCE = 2048  # whose tokens are in memory


@flag_group("reranking")
class RerankArguments(BackendArguments):
    """What re-orders the passages that a retriever found."""

    reranker: str | None = flag(
        None, "Cross-encoder (folder that train_reranker.py wrote, or hub name) that re-orders what was retrieved."
    )
    rerank_depth: int = flag(
        20,
        "Best passages per question that --reranker re-orders.",
        at_least=1,
        at_most=10_000,
        read_if=only_if(lambda arguments: arguments.reranker is not None, "add --reranker"),
    )


def reordered(found: SearchResults, scores: np.ndarray, k: int) -> SearchResults:
    """Return the ``k`` best of what was ``found``: its first by their ``scores`` (n, depth), the others below them.

    Equal scores keep the order in which they were found.
    """
    order, scores = top_k(scores, scores.shape[1])  # (n, depth) each
    depth = order.shape[1]
    ids = [np.take_along_axis(found.ids, order, axis=1), found.ids[:, depth:]]  # (n, depth), (n, others)
    others = ids[1].shape[1]
    below = scores[:, -1:] - np.arange(1, others + 1, dtype=np.float32) / max(others, 1)  # (n, others)
    results = SearchResults(np.concatenate(ids, axis=1), np.concatenate([scores, below], axis=1))
    return SearchResults(*(part[:, :k] for part in results))  # (n, k) each


class RerankedRetrieval:
    """The ``depth`` best passages of ``retriever`` in the order of a cross-encoder, the others below them.

    It keeps no index: its name, its parts and what is saved are its retriever's.
    """

    build_seconds: float
    seconds_of_parts: list[float]  # that the last search took without the cross-encoder

    def __init__(self, retriever: Retriever, reranker: str, depth: int, backend: str = "torch") -> None:
        self.retriever = retriever
        self.reranker_name, self.depth = reranker, depth
        self.name, self.libraries = retriever.name, retriever.libraries
        self.parts = [retriever]
        self._backend = backend

    @classmethod
    def around(cls, retriever: Retriever, arguments: RerankArguments) -> RerankedRetrieval:
        """Return ``retriever`` with the reranker that the flags name; :class:`UserError` if that is none."""
        from models.cross_encoder import check_cross_encoder

        if arguments.reranker is None:
            raise UserError("nothing re-orders what is retrieved: add --reranker")
        reranker = find_model(arguments.reranker)
        check_cross_encoder(reranker)
        return cls(retriever, reranker, arguments.rerank_depth, arguments.backend)

    def parameters(self) -> dict[str, Any]:
        from models.encoder import hash_model

        backend = {} if self._backend == "torch" else {"reranker_backend": self._backend}
        own = {"reranker": hash_model(self.reranker_name), "rerank_depth": self.depth, **backend}
        return {**self.retriever.parameters(), **own}

    def build(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.retriever.build(corpus)

    def search(self, questions: Sequence[str], k: int) -> SearchResults:
        """Return the ``min(k, N)`` best passages; those beyond ``depth`` keep their order, with scores below the rest.

        Equal scores keep the order of the retriever.
        """
        questions = list(questions)
        began = time.perf_counter()
        found = self.retriever.search(questions, max(k, self.depth))
        self.seconds_of_parts = [time.perf_counter() - began]
        return reordered(found, self._score(questions, found.ids[:, : self.depth]), k)

    def explain(self, question: str, rows: Sequence[int], k: int) -> Explanation:
        """Return each passage's score, with rank and score before, and what the retriever says of these."""
        before, after = (ranks_by_row(one.search([question], max(k, self.depth))) for one in (self.retriever, self))
        own = Explanation({}, [()] * len(rows))
        if isinstance(self.retriever, Explaining):
            own = self.retriever.explain(question, rows, max(k, self.depth))
        parts = []
        for row, of_retriever in zip(rows, own.parts, strict=True):
            if row not in before:
                part = Part("reranker", 0.0, f"not among the {len(before)} best", of_retriever)
            else:
                rank, score = before[row]
                detail = f"before: rank {rank}, score {score:.4g}"
                name = "reranker" if rank <= self.depth else "below those re-ordered"
                part = Part(name, after[row][1], detail, of_retriever)
            parts.append([part])
        return Explanation(own.cuts, parts)

    def save(self, folder: str | Path) -> None:
        self.retriever.save(folder)

    def load(self, folder: str | Path, corpus: Corpus) -> None:
        self.corpus = corpus
        self.retriever.load(folder, corpus)

    @cached_property
    def reranker(self) -> CrossEncoder:
        """The cross-encoder, loaded when the first question is asked."""
        from models.cross_encoder import load_cross_encoder

        return load_cross_encoder(self.reranker_name, self._backend)

    def _score(self, questions: list[str], ids: np.ndarray) -> np.ndarray:
        """Return the scores (n, depth) of the passages ``ids`` (n, depth), some hundred questions at a time."""
        from models.cross_encoder import Pair

        scores = np.empty(ids.shape, dtype=np.float32)  # (n, depth)
        titles, texts = self.corpus.titles, self.corpus.texts
        at_once = max(1, _PAIRS_AT_ONCE // ids.shape[1])
        with progress_bar(total=ids.size, desc="Rerank", unit="pair", delay=1) as bar:
            for start in range(0, len(questions), at_once):
                block = slice(start, start + at_once)
                pairs = [
                    Pair(question, titles[row], texts[row])
                    for question, rows in zip(questions[block], ids[block].tolist(), strict=True)
                    for row in rows
                ]
                scores[block] = self.reranker.score(pairs, bar.update).reshape(-1, ids.shape[1])  # (block, depth)
        return scores
