"""How well a bi-encoder in training retrieves: over the whole corpus, not only over its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset

from loading.corpus import Corpus
from loading.retrieval_examples import RetrievalExample
from models.contrastive import in_batch_loss, same_passages
from models.encoder import BiEncoder, encode
from retrieval.base import SearchResults, top_k
from retrieval.metrics import GoldPassages, ranking_metrics
from retrieval.training import with_gold_passages
from retrieval.vector_search import search_vectors
from runtime.device import reading_mode
from runtime.errors import NotFiniteError
from runtime.log import get_logger
from runtime.processes import together
from runtime.statistics import percent

logger = get_logger(__name__)

KS = (1, 5, 20, 100)
_TOKENIZED = 2**14  # passages held as tokens at once


class RetrievalEvaluation:
    """Questions, and the corpus that has their passages; those that ``corpus`` lacks are added to it."""

    def __init__(self, corpus: Corpus, examples: Sequence[RetrievalExample], batch_size: int, precision: str) -> None:
        self.corpus, self.gold_rows = with_gold_passages(corpus, [example.positive for example in examples])
        if added := len(self.corpus) - len(corpus):
            logger.info("evaluation: the corpus lacked %d passages of the questions, which are added", added)
        self.questions = [example.question for example in examples]
        # by text: what a data set calls a passage need not be what the corpus calls it
        self.golds = Dataset.from_dict({"context": [example.positive.text for example in examples]})
        self.batch_size = batch_size
        self.precision = precision

    def evaluate(
        self, bi_encoder: BiEncoder, accelerator: Accelerator, loss_batch: int, temperature: float
    ) -> dict[str, float]:
        """Return ``eval_loss``, and in percent ``eval_recall@k`` and ``eval_mrr@10``, the same in every process.

        Each process encodes and searches its share of the corpus. The loss is that of training, over batches of
        ``loss_batch`` questions with their own passages in an order drawn once. Raises :class:`NotFiniteError`, in
        every process, for vectors or scores that are no numbers.
        """
        size, processes, index = len(self.corpus), accelerator.num_processes, accelerator.process_index
        share = range(size * index // processes, size * (index + 1) // processes)
        pairs = list(zip(self.corpus.titles, self.corpus.texts, strict=True))[share.start : share.stop]
        with reading_mode(bi_encoder.q_encoder), reading_mode(bi_encoder.p_encoder), together(accelerator):
            questions = self._encode(
                bi_encoder, bi_encoder.embed_questions, bi_encoder.tokenize_questions, self.questions, "questions"
            )  # (n, H)
            passages = self._encode(
                bi_encoder, bi_encoder.embed_passages, bi_encoder.tokenize_passages, pairs, "passages"
            )  # (N of the share, H)
        metrics = {"eval_loss": self._loss(questions, passages, share, accelerator, loss_batch, temperature)}
        with together(accelerator):
            results = search_vectors(questions, [passages], max(KS), accelerator.device)
        gathered = gather_object([results._replace(ids=results.ids + share.start)])  # of every process, in order
        if accelerator.is_main_process:
            ids = _best(gathered)  # (n, k)
            scores = ranking_metrics(GoldPassages(self.golds, self.corpus).among(ids), KS)
            names = [*(f"recall@{k}" for k in KS), "mrr@10"]
            metrics |= {f"eval_{name}": percent(scores[name]) for name in names}
        (metrics,) = broadcast_object_list([metrics])
        return metrics

    def _encode(
        self,
        bi_encoder: BiEncoder,
        embed: Callable[..., torch.Tensor],
        tokenize: Callable[..., list[dict[str, list[int]]]],
        texts: Sequence[Any],
        what: str,
    ) -> np.ndarray:
        """Return float32 (texts, H)."""
        device = bi_encoder.p_encoder.device
        blocks = [np.empty((0, bi_encoder.width), np.float32)]
        for start in range(0, len(texts), _TOKENIZED):
            rows = tokenize(texts[start : start + _TOKENIZED])
            blocks.append(encode(embed, rows, bi_encoder.pad, self.batch_size, self.precision, device, what))
        return np.concatenate(blocks)  # (texts, H)

    def _loss(
        self,
        questions: np.ndarray,
        passages: np.ndarray,
        share: range,
        accelerator: Accelerator,
        batch_size: int,
        temperature: float,
    ) -> float:
        """Return the mean loss; ``passages`` (N of the share, H) are the rows ``share`` of the corpus."""
        own = torch.tensor([row in share for row in self.gold_rows])  # (n,)
        rows = torch.tensor(self.gold_rows) - share.start  # (n,)
        positives = torch.zeros(len(rows), questions.shape[1])  # (n, H)
        positives[own] = torch.from_numpy(passages)[rows[own]]
        positives = accelerator.reduce(positives.to(accelerator.device), "sum")  # each is in one process's share
        asked = torch.from_numpy(questions).to(accelerator.device)  # (n, H)
        keys = torch.tensor(self.gold_rows, device=accelerator.device)  # (n,)
        total = 0.0
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).to(accelerator.device)  # (n,)
        for batch in order.split(batch_size):
            labels = torch.arange(len(batch), device=accelerator.device)
            same = same_passages(keys[batch], labels)  # (batch, batch)
            loss = in_batch_loss(asked[batch], positives[batch], labels, same, temperature)
            total += loss.item() * len(batch)
        if not math.isfinite(total):
            raise NotFiniteError("the encoder", f"gives an evaluation loss of {total}")
        return total / len(rows)


def _best(results: Sequence[SearchResults]) -> np.ndarray:
    """Return the rows (n, k) of the best passages of several searches, each over rows below the next one's."""
    scores = np.concatenate([result.scores for result in results], axis=1)  # (n, sum of their k)
    ids = np.concatenate([result.ids for result in results], axis=1)
    return np.take_along_axis(ids, top_k(scores, max(KS)).ids, axis=1)  # (n, k)
