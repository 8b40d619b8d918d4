"""How well an encoder in training retrieves: over the whole corpus, not only over its batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset

from loading.corpus import Corpus
from loading.retrieval_examples import RetrievalExample
from models.contrastive import in_batch_loss, same_passages
from models.encoder import BiEncoder, encode
from models.token_encoder import TokenEncoder
from retrieval.base import SearchResults, top_k
from retrieval.metrics import GoldPassages, ranking_metrics
from retrieval.token_vectors import score_tokens, search_tokens
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
_BLOCK = 2**10  # passages whose token vectors are held at once


class RetrievalEvaluation:
    """Questions, and the corpus that has their passages; those that ``corpus`` lacks are added to it."""

    def __init__(self, corpus: Corpus, examples: Sequence[RetrievalExample], batch_size: int, precision: str) -> None:
        self.corpus, self.gold_rows = with_gold_passages(corpus, [example.positive for example in examples])
        if added := len(self.corpus) - len(corpus):
            logger.info("evaluation: the corpus lacked %d passages of the questions, which are added", added)
        self.questions = [example.question for example in examples]
        # by text: what a data set calls a passage need not be what the corpus calls it
        golds = Dataset.from_dict({"context": [example.positive.text for example in examples]})
        self.golds = GoldPassages(golds, self.corpus)
        self.batch_size = batch_size
        self.precision = precision

    def evaluate(
        self, bi_encoder: BiEncoder | TokenEncoder, accelerator: Accelerator, loss_batch: int, temperature: float
    ) -> dict[str, float]:
        """Return ``eval_loss``, and in percent ``eval_recall@k`` and ``eval_mrr@10``, the same in every process.

        Each process encodes and searches its share of the corpus. The loss is that of training, over batches of
        ``loss_batch`` questions with their own passages in an order drawn once. Raises :class:`NotFiniteError`, in
        every process, for vectors or scores that are no numbers.
        """
        size, processes, index = len(self.corpus), accelerator.num_processes, accelerator.process_index
        share = range(size * index // processes, size * (index + 1) // processes)
        if isinstance(bi_encoder, TokenEncoder):
            loss, results = self._measure_tokens(bi_encoder, share, accelerator, loss_batch, temperature)
        else:
            loss, results = self._measure(bi_encoder, share, accelerator, loss_batch, temperature)
        metrics = {"eval_loss": loss}
        gathered = gather_object([results._replace(ids=results.ids + share.start)])  # of every process, in order
        if accelerator.is_main_process:
            ids = _best(gathered)  # (n, k)
            scores = ranking_metrics(self.golds.among(ids), KS)
            names = [*(f"recall@{k}" for k in KS), "mrr@10"]
            metrics |= {f"eval_{name}": percent(scores[name]) for name in names}
        (metrics,) = broadcast_object_list([metrics])
        return metrics

    def _pairs(self, rows: Iterable[int]) -> list[tuple[str, str]]:
        return [(self.corpus.titles[row], self.corpus.texts[row]) for row in rows]

    def _measure_tokens(
        self, encoder: TokenEncoder, share: range, accelerator: Accelerator, loss_batch: int, temperature: float
    ) -> tuple[float, SearchResults]:
        """Return what :meth:`_measure` does; passages are encoded and searched block after block."""
        with reading_mode(encoder.p_encoder), together(accelerator):
            questions = encoder.encode_questions(self.questions, self.batch_size, self.precision)  # (tokens, D) each
            golds = encoder.encode_passages(self._pairs(self.gold_rows), self.batch_size, self.precision, "golds")
            blocks = (
                encoder.encode_passages(self._pairs(share[start : start + _BLOCK]), self.batch_size, self.precision)
                for start in range(0, len(share), _BLOCK)
            )
            results = search_tokens(questions, blocks, max(KS), accelerator.device)

        def score(batch: list[int]) -> torch.Tensor:
            asked, right = ([side[row] for row in batch] for side in (questions, golds))
            return torch.from_numpy(score_tokens(asked, right, accelerator.device))  # (batch, batch)

        return self._loss(score, torch.device("cpu"), loss_batch, temperature), results

    def _measure(
        self, bi_encoder: BiEncoder, share: range, accelerator: Accelerator, loss_batch: int, temperature: float
    ) -> tuple[float, SearchResults]:
        """Return the loss, and the best passages among the rows ``share`` of the corpus by their place in it."""
        device = bi_encoder.p_encoder.device

        def encoded(embed: Callable[..., torch.Tensor], tokenize: Callable, texts: Sequence, what: str) -> np.ndarray:
            blocks = [np.empty((0, bi_encoder.width), np.float32)]
            for start in range(0, len(texts), _TOKENIZED):
                rows = tokenize(texts[start : start + _TOKENIZED])
                blocks.append(encode(embed, rows, bi_encoder.pad, self.batch_size, self.precision, device, what))
            return np.concatenate(blocks)  # (texts, H)

        with reading_mode(bi_encoder.q_encoder), reading_mode(bi_encoder.p_encoder), together(accelerator):
            questions = encoded(bi_encoder.embed_questions, bi_encoder.tokenize_questions, self.questions, "questions")
            vectors = encoded(bi_encoder.embed_passages, bi_encoder.tokenize_passages, self._pairs(share), "passages")
        asked = torch.from_numpy(questions).to(accelerator.device)  # (n, H)
        positives = self._positives(vectors, share, accelerator)  # (n, H)
        loss = self._loss(
            lambda batch: asked[batch] @ positives[batch].T,  # (batch, H) @ (H, batch)
            accelerator.device,
            loss_batch,
            temperature,
        )
        with together(accelerator):
            return loss, search_vectors(questions, [vectors], max(KS), accelerator.device)

    def _positives(self, passages: np.ndarray, share: range, accelerator: Accelerator) -> torch.Tensor:
        """Return the vectors (n, H) of the questions' passages; ``passages`` are the rows ``share`` of the corpus."""
        own = torch.tensor([row in share for row in self.gold_rows])  # (n,)
        rows = torch.tensor(self.gold_rows) - share.start  # (n,)
        positives = torch.zeros(len(rows), passages.shape[1])  # (n, H)
        positives[own] = torch.from_numpy(passages)[rows[own]]
        return accelerator.reduce(positives.to(accelerator.device), "sum")  # each is in one process's share

    def _loss(
        self, score: Callable[[list[int]], torch.Tensor], device: torch.device, batch_size: int, temperature: float
    ) -> float:
        """Return the mean loss; ``score(rows)`` gives the scores (rows, rows) of questions and their passages."""
        keys = torch.tensor(self.gold_rows, device=device)  # (n,)
        total = 0.0
        order = torch.randperm(len(keys), generator=torch.Generator().manual_seed(0))  # (n,)
        for batch in order.split(batch_size):
            labels = torch.arange(len(batch), device=device)
            same = same_passages(keys[batch], labels)  # (batch, batch)
            loss = in_batch_loss(score(batch.tolist()) / temperature, labels, same)
            total += loss.item() * len(batch)
        if not math.isfinite(total):
            raise NotFiniteError("the encoder", f"gives an evaluation loss of {total}")
        return total / len(keys)


def _best(results: Sequence[SearchResults]) -> np.ndarray:
    """Return the rows (n, k) of the best passages of several searches, each over rows below the next one's."""
    scores = np.concatenate([result.scores for result in results], axis=1)  # (n, sum of their k)
    ids = np.concatenate([result.ids for result in results], axis=1)
    return np.take_along_axis(ids, top_k(scores, max(KS)).ids, axis=1)  # (n, k)
