"""The head that says which passage holds the answer."""

from __future__ import annotations

import torch
from torch import nn

from models.heads.parts import SpanLogits


class PassageSelection(nn.Module):
    """Linear span logits, and a score of the passage from its first token, ``[CLS]``, added to all start logits.

    Under one softmax over the passages of a question, the probability of a start is that of its passage, as in DPR's
    reader (Karpukhin et al. 2020, section 6.1), times that of the start in it: the passage's logit is its score plus
    the log-sum of its start logits. Under a softmax over a single passage the score changes nothing.
    """

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.logits = SpanLogits(hidden_size)
        self.passage = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return start and end logits (batch, tokens) of ``hidden_states`` (batch, tokens, hidden).

        ``mask`` (batch, tokens) is true for tokens, false for padding.
        """
        features = self.dropout(hidden_states)  # (batch, tokens, hidden)
        start_logits, end_logits = self.logits(features)  # (batch, tokens) each
        first = mask.int().argmax(dim=-1)  # (batch,): padding may stand on the left
        of_first = features[torch.arange(len(features), device=first.device), first]  # (batch, hidden)
        return start_logits + self.passage(of_first), end_logits  # (batch, tokens) each
