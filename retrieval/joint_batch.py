"""A training batch that all processes share: what is compared with what, and which part of it each process encodes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from models.contrastive import Batch, same_passages
from models.encoder import BiEncoder
from models.token_encoder import TokenEncoder
from retrieval.training import TrainingQuestions, passage_key
from runtime.text import comparable


class JointBatch:
    """The questions ``rows`` with the passages drawn for them in ``epoch``, dealt out to ``processes`` in order.

    ``counts`` is how many (questions, passages) each process has; Q questions and P passages are those of all.
    """

    def __init__(self, questions: TrainingQuestions, rows: Sequence[int], epoch: int, processes: int) -> None:
        self.questions = [questions.examples[row].question for row in rows]
        known = questions.teacher_scores
        self._teacher_scores = [known.get(questions.examples[row].id, {}) for row in rows] if known else None
        self.other_positives = [questions.examples[row].other_positives for row in rows]
        self.passages = [questions.draw(row, epoch) for row in rows]  # of each question, its positive first
        bounds = [len(rows) * process // processes for process in range(processes + 1)]
        self._shares = [range(*bounds[process : process + 2]) for process in range(processes)]
        self.counts = [(len(share), sum(len(self.passages[index]) for index in share)) for share in self._shares]

    def targets(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return the column of each question's positive (Q,), where it or another one stands too (Q, P), and a
        teacher's scores (Q, P) of what was drawn for each question, -inf for the rest; None without a teacher.

        A positive that was drawn for another question is neither right nor wrong.
        """
        labels = torch.tensor([0, *accumulate(map(len, self.passages))][:-1])  # (Q,)
        keys = torch.tensor([passage_key(passage.text) for drawn in self.passages for passage in drawn])  # (P,)
        same = same_passages(keys, labels)  # (Q, P)
        for question, others in enumerate(self.other_positives):
            if others:
                same[question] |= torch.isin(keys, torch.tensor([passage_key(passage.text) for passage in others]))
        return labels, same, self._teacher(labels, len(keys))

    def _teacher(self, labels: torch.Tensor, size: int) -> torch.Tensor | None:
        if self._teacher_scores is None:
            return None
        scores = torch.full((len(labels), size), float("-inf"))  # (Q, P)
        for row, (first, drawn, known) in enumerate(
            zip(labels.tolist(), self.passages, self._teacher_scores, strict=True)
        ):
            for column, passage in enumerate(drawn, start=first):
                scores[row, column] = known.get(comparable(passage.text), float("-inf"))
        return scores

    def chunks(self, process: int, encoder: BiEncoder | TokenEncoder, size: int | None) -> list[tuple[Batch, Batch]]:
        """Return the share of ``process`` as padded batches of ``size`` questions (None: of all) and their passages.

        A process without a question gets one all the same, as :func:`models.contrastive.joint_backward` wants it.
        """
        share = self._shares[process] or range(1)
        chunks: list[tuple[Batch, Batch]] = []
        for start in range(0, len(share), size or len(share)):
            part = share[start : start + (size or len(share))]
            pairs = [(passage.title, passage.text) for index in part for passage in self.passages[index]]
            questions = encoder.question_batch([self.questions[index] for index in part])
            chunks.append((questions, encoder.passage_batch(pairs)))
        return chunks
