"""Heads of self-attention over the tokens."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from models.heads.convolution import ParallelConvolutions
from models.heads.parts import Normalize, Part, SpanHead


class MaskedAttention(Part):
    """``x + GELU(softmax(Q(x) K(x)ᵀ / sqrt(d)) V(x))`` over the tokens (Vaswani et al. 2017, section 3.2).

    Without ``x`` itself, attention that is new and so nearly uniform would give all tokens of a text the same
    features. With several ``heads`` each has its share of the features; where they do not divide ``width``, there
    are as many as divide both.
    """

    def __init__(self, width: int, heads: int = 1) -> None:
        super().__init__()
        self.width = width
        self.heads = math.gcd(width, heads)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(features).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (batch, heads, tokens, width / heads)
            for part in (self.query, self.key, self.value)
        )
        seen = mask[:, None, None]  # (batch, 1, 1, tokens)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        attended = attended.transpose(1, 2).flatten(2)  # (batch, tokens, width)
        return features + F.gelu(attended)


class Attention(SpanHead):
    """Self-attention of one head."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, MaskedAttention(hidden_size))


class AttentionWithNorm(SpanHead):
    """Self-attention of one head followed by layer normalisation."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, MaskedAttention(hidden_size), Normalize(hidden_size))


class AttentionThenCNN(SpanHead):
    """Self-attention of one head followed by parallel convolutions of kernel sizes 1, 3 and 5."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, MaskedAttention(hidden_size), ParallelConvolutions(hidden_size, hidden_size))


class CNNThenAttention(SpanHead):
    """Parallel convolutions of kernel sizes 1, 3 and 5 followed by self-attention of one head."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, ParallelConvolutions(hidden_size, hidden_size), MaskedAttention(hidden_size))


class MultiHeadAttention(SpanHead):
    """Self-attention of eight heads; fewer where eight do not divide the hidden size."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, MaskedAttention(hidden_size, heads=8))
