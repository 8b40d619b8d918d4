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
        passes.append(
            model(**send_to_device(batch, cross_encoder.model.device)).logits[:, 0]
        )  # (chosen, 1) -> (chosen,)
    logits = torch.cat(passes)[by_length.argsort()]  # (pairs,) by length -> (pairs,) by group
    return logits, [len(group) for group in groups]


def listwise_loss(logits: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Return the cross-entropy of each group's first passage in the softmax over its passages, averaged.

    ``logits`` (pairs,) holds the groups one after the other, ``sizes`` how many pairs each has. (Gao et al. 2021,
    Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline, equation 3.)
    """
    scores = pad_sequence(logits.float().split(sizes), batch_first=True, padding_value=-torch.inf)
    first = torch.zeros(len(sizes), dtype=torch.long, device=logits.device)
    return F.cross_entropy(scores, first)  # scores: (pairs,) -> (groups, longest group)
