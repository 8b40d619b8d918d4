"""How a cross-encoder is trained: each question's passages are scored together, and the first of them is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import send_to_device
from torch.nn.utils.rnn import pad_sequence

from models.cross_encoder import CrossEncoder, Pair

_FORWARD_PASSES = 4  # per batch, each over pairs of like length: long passages leave little padding to short ones


def group_logits(
    cross_encoder: CrossEncoder, model: torch.nn.Module, groups: Sequence[Sequence[Pair]]
) -> tuple[torch.Tensor, list[int]]:
    """Return the logits (pairs,) of all pairs of ``groups``, one group after the other, and how many each has.

    ``model`` is that of ``cross_encoder`` as it is trained, wrapped or not.
    """
    pairs = [pair for group in groups for pair in group]
    tokens = cross_encoder.tokenize(pairs)
    by_length = np.argsort([len(row["input_ids"]) for row in tokens], kind="stable")  # (pairs,)
    passes = []
    for chosen in np.array_split(by_length, min(_FORWARD_PASSES, len(pairs))):
        batch = cross_encoder.pad([tokens[row] for row in chosen])
        output = model(**send_to_device(batch, cross_encoder.model.device))
        passes.append(output.logits[:, 0])  # (chosen, 1) -> (chosen,)
    logits = torch.cat(passes)[by_length.argsort()]  # (pairs,) by length -> (pairs,) by group
    return logits, [len(group) for group in groups]


def listwise_loss(logits: torch.Tensor, sizes: list[int], teacher: torch.Tensor | None = None) -> torch.Tensor:
    """Return the cross-entropy of each group's first passage in the softmax over its passages, averaged.

    ``logits`` (pairs,) holds the groups one after the other, ``sizes`` how many pairs each has. (Gao et al. 2021,
    Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline, equation 3.)

    With the scores (pairs,) of a ``teacher``, nan where it has none, a group whose first passage and one more it has
    scored has :func:`margin_loss` instead.
    """
    scores = pad_sequence(logits.float().split(sizes), batch_first=True, padding_value=-torch.inf)
    first = torch.zeros(len(sizes), dtype=torch.long, device=logits.device)
    losses = F.cross_entropy(scores, first, reduction="none")  # scores: (pairs,) -> (groups, longest group)
    if teacher is None:
        return losses.mean()
    taught = teacher.to(logits.device).split(sizes)
    known = [group.isfinite() for group in taught]
    of_groups = [
        margin_loss(student[told], group[told]) if told[0] and told.sum() > 1 else loss
        for student, group, told, loss in zip(logits.float().split(sizes), taught, known, losses, strict=True)
    ]
    return torch.stack(of_groups).mean()


def margin_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean over pairs of passages of half the squared difference between the student's margin and the
    teacher's, the scores of both (passages,).

    That is Margin-MSE (Hofstätter et al. 2020, Improving Efficient Neural Ranking Models with Cross-Architecture
    Knowledge Distillation, equation 2) over all pairs of a question's passages. Margins alone rank: a plain squared
    error would also have the student learn where the teacher's scores have their zero.
    """
    return (student - teacher).var(correction=0)
