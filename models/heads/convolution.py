"""Heads of convolutions over the tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from models.heads.parts import Part, Repeat, SpanHead


class MaskedConvolution(Part):
    """A convolution over tokens that keeps their number and sees zeros where there is padding.

    A text's features are then the same alone and in a padded batch.
    """

    def __init__(self, in_features: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.width = width
        self.convolution = nn.Conv1d(in_features, width, kernel_size, padding="same")

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        features = features.masked_fill(~mask[..., None], 0.0)  # (batch, tokens, in_features)
        return self.convolution(features.transpose(1, 2)).transpose(1, 2)  # (batch, tokens, width)


class ParallelConvolutions(Part):
    """Convolutions of several kernel sizes side by side (Kim 2014), each followed by ReLU.

    Their widths sum to ``width``; what does not divide goes to the first ones.
    """

    def __init__(self, in_features: int, width: int, kernel_sizes: tuple[int, ...] = (1, 3, 5)) -> None:
        super().__init__()
        self.width = width
        share, rest = divmod(width, len(kernel_sizes))
        self.branches = nn.ModuleList(
            MaskedConvolution(in_features, share + (index < rest), kernel_size)
            for index, kernel_size in enumerate(kernel_sizes)
        )

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        branches = [branch(features, mask) for branch in self.branches]  # (batch, tokens, a share of width) each
        return F.relu(torch.cat(branches, dim=-1))  # (batch, tokens, width)


class ResidualConvolution(Part):
    """``LayerNorm(x + ReLU(Conv(width → channels, kernel_size), Conv(channels → width, 1)))``."""

    def __init__(self, width: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.width = width
        self.narrow = MaskedConvolution(width, channels, kernel_size)
        self.widen = MaskedConvolution(channels, width, 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        update = F.relu(self.widen(self.narrow(features, mask), mask))  # (batch, tokens, width)
        return self.norm(features + update)


class CNN(SpanHead):
    """Parallel convolutions of kernel sizes 1, 3 and 5, hidden to hidden features in all (Kim 2014)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__(dropout, ParallelConvolutions(hidden_size, hidden_size))


class SDSCNN(SpanHead):
    """The head of Samsung SDS for KorQuAD: ``repeats`` turns of a residual convolution block.

    A turn is Conv1d(hidden → channels, ``kernel_size``) → Conv1d(channels → hidden, 1) → ReLU → + its input →
    LayerNorm. With ``shared`` all turns use one block's weights, else each has its own.
    """

    def __init__(
        self,
        hidden_size: int,
        dropout: float,
        shared: bool = True,
        channels: int = 128,
        kernel_size: int = 3,
        repeats: int = 5,
    ) -> None:
        blocks = [ResidualConvolution(hidden_size, channels, kernel_size) for _ in range(1 if shared else repeats)]
        super().__init__(dropout, *([Repeat(blocks[0], repeats)] if shared else blocks))
