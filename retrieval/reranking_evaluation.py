"""How well a cross-encoder in training re-orders what a retriever finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset

from loading.corpus import Corpus
from loading.retrieval_examples import RetrievalExample
from models.cross_encoder import CrossEncoder, Pair
from retrieval import load_or_build
from retrieval.base import Retriever, top_k
from retrieval.metrics import GoldPassages, ranking_metrics
from runtime.processes import together
from runtime.progress import progress_bar
from runtime.statistics import percent


class RerankingEvaluation:
    """The ``depth`` passages of ``corpus`` that ``retriever`` finds for each of n questions, to be re-ordered.

    ``before`` has recall@1 and MRR@10, in percent, of the retriever's own order.
    """

    def __init__(
        self,
        corpus: Corpus,
        examples: Sequence[RetrievalExample],
        retriever: Retriever,
        depth: int,
        index_dir: str | Path,
        batch_size: int,
        precision: str,
    ) -> None:
        ready = load_or_build(retriever, corpus, index_dir)
        ids = ready.search([example.question for example in examples], depth).ids  # (n, depth)
        self._pairs = [
            Pair(example.question, corpus.titles[row], corpus.texts[row])
            for example, rows in zip(examples, ids.tolist(), strict=True)
            for row in rows
        ]
        golds = Dataset.from_dict({"context": [example.positive.text for example in examples]})
        self._relevant = GoldPassages(golds, corpus).among(ids)  # (n, depth)
        self._batch_size, self._precision = batch_size, precision
        self.before = _measure("before", self._relevant)

    def evaluate(self, cross_encoder: CrossEncoder, accelerator: Accelerator) -> dict[str, float]:
        """Return recall@1 and MRR@10, in percent, of the order by ``cross_encoder``, the same in every process.

        Raises :class:`NotFiniteError`, in every process, for scores that are no numbers.
        """
        metrics: dict[str, float] = {}
        with together(accelerator):
            if accelerator.is_main_process:
                with progress_bar(total=len(self._pairs), desc="evaluating", unit="pair", leave=False) as bar:
                    scores = cross_encoder.score(self._pairs, bar.update, self._batch_size, self._precision)
                depth = self._relevant.shape[1]
                order = top_k(scores.reshape(-1, depth), depth).ids  # (n * depth,) -> (n, depth)
                metrics = _measure("eval", np.take_along_axis(self._relevant, order, axis=1))
        (metrics,) = broadcast_object_list([metrics])
        return metrics


def _measure(prefix: str, relevant: np.ndarray) -> dict[str, float]:
    """Return mean recall@1 and MRR@10 in percent of ranked passages, ``relevant`` (n, depth)."""
    measured = ranking_metrics(relevant, [1])
    return {f"{prefix}_{name}": percent(measured[name]) for name in ("recall@1", "mrr@10")}
