"""What heads are made of: a head is parts in a row, each from features to features, and one map to two logits."""

from __future__ import annotations

import torch
from torch import nn


class Part(nn.Module):
    """A step of a head: ``forward(features (batch, tokens, features), mask) -> (batch, tokens, width)``.

    ``mask`` (batch, tokens) is true for tokens. What is in the features of padding never reaches a token's.
    """

    width: int


class SpanLogits(nn.Module):
    """The one map from features to logits: ``Linear(width, 2)``, a row for the start and one for the end."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)

    def forward(
        self, features: torch.Tensor, end_features: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return start and end logits (batch, tokens) of features (batch, tokens, width), or of two of them."""
        logits = self.linear(features)  # (batch, tokens, 2)
        end_logits = logits if end_features is None else self.linear(end_features)  # (batch, tokens, 2)
        return logits[..., 0], end_logits[..., 1]  # (batch, tokens) each


class SpanHead(nn.Module):
    """Dropout on the encoder's hidden states, then ``parts`` in a row, then :class:`SpanLogits`."""

    def __init__(self, dropout: float, *parts: Part) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.parts = nn.ModuleList(parts)
        self.logits = SpanLogits(parts[-1].width)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return start and end logits (batch, tokens) of ``hidden_states`` (batch, tokens, hidden).

        ``mask`` (batch, tokens) is true for tokens, false for padding.
        """
        features = self.dropout(hidden_states)  # (batch, tokens, hidden)
        for part in self.parts:
            features = part(features, mask)  # (batch, tokens, width of the part)
        return self.logits(features)


class Repeat(Part):
    """The same part, with the same weights, ``times`` times in a row; it must keep the width."""

    def __init__(self, part: Part, times: int) -> None:
        super().__init__()
        self.width = part.width
        self.part = part
        self.times = times

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            features = self.part(features, mask)  # (batch, tokens, width)
        return features


class Normalize(Part):
    """Layer normalisation of each token's features (Ba et al. 2016); tokens do not see each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.norm(features)
