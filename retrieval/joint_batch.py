"""A training batch that all processes share: what is compared with what, and which part of it each process encodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from models.contrastive import Batch, same_passages
from models.encoder import BiEncoder
from retrieval.training import TrainingQuestions, passage_key


class JointBatch:
    """The questions ``rows`` with the passages drawn for them in ``epoch``, dealt out to ``processes`` in order.

    ``counts`` is how many (questions, passages) each process has; Q questions and P passages are those of all.
    """

    def __init__(self, questions: TrainingQuestions, rows: Sequence[int], epoch: int, processes: int) -> None:
        self.questions = [questions.examples[row].question for row in rows]
        self.passages = [questions.draw(row, epoch) for row in rows]  # of each question, its positive first
        bounds = [len(rows) * process // processes for process in range(processes + 1)]
        self._shares = [range(*bounds[process : process + 2]) for process in range(processes)]
        self.counts = [(len(share), sum(len(self.passages[index]) for index in share)) for share in self._shares]

    def targets(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the row of each question's positive (Q,), and where it stands once more (Q, P), as the loss has it."""
        labels = torch.tensor([0, *accumulate(map(len, self.passages))][:-1])  # (Q,)
        keys = torch.tensor([passage_key(passage.text) for drawn in self.passages for passage in drawn])  # (P,)
        return labels, same_passages(keys, labels)

    def chunks(self, process: int, bi_encoder: BiEncoder, size: int | None) -> list[tuple[Batch, Batch]]:
        """Return the share of ``process`` as padded batches of ``size`` questions (None: of all) and their passages.

        A process without a question gets one all the same, as :func:`models.contrastive.joint_backward` wants it.
        """
        share = self._shares[process] or range(1)
        chunks = []
        for start in range(0, len(share), size or len(share)):
            part = share[start : start + (size or len(share))]
            pairs = [(passage.title, passage.text) for index in part for passage in self.passages[index]]
            questions = bi_encoder.tokenize_questions([self.questions[index] for index in part])
            chunks.append((bi_encoder.pad(questions), bi_encoder.pad(bi_encoder.tokenize_passages(pairs))))
        return chunks
