"""The head that scores the end given the start."""

from __future__ import annotations

import torch
from torch import nn

from models.heads.parts import SpanLogits


class StartConditionedEnd(nn.Module):
    """Start logits from each token, end logits from each token together with a start (Yang et al. 2019, XLNet).

    With ``h`` the hidden states, the start logit of token ``i`` is ``Linear(h_i)``, and the end logit of token ``j``
    given the start ``i`` is ``Linear(LayerNorm(tanh(Linear([h_j; h_i]))))``. Training gives it the gold starts;
    reading takes the ``beam_size`` best starts and ``[CLS]``, where windows without an answer begin.
    """

    # The labels that forward takes besides the tokens; see models/head_reader.py.
    label_inputs = ("answer_mask", "cls_index", "start_positions")

    def __init__(self, hidden_size: int, dropout: float, beam_size: int = 5) -> None:
        super().__init__()
        self.beam_size = beam_size
        self.dropout = nn.Dropout(dropout)
        # The two halves of Linear([h_j; h_i]): the sum over all pairs costs less than the concatenation.
        self.of_end = nn.Linear(hidden_size, hidden_size)
        self.of_start = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.logits = SpanLogits(hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        mask: torch.Tensor,
        answer_mask: torch.Tensor | None = None,
        cls_index: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return start logits (batch, tokens), end logits, and unless training the beam's starts and end logits.

        The end logits are (batch, golds, tokens), given each of ``start_positions`` (batch, golds), of which those
        below 0 stand for none. The beam's starts (batch, beam) are positions with ``answer_mask`` 1, the last of them
        ``cls_index`` (batch,); where there are fewer, ``cls_index`` takes their places. The beam's end logits are
        (batch, beam, tokens). Without labels there are only start logits, and end logits (batch, tokens) given the
        best start.
        """
        features = self.dropout(hidden_states)  # (batch, tokens, hidden)
        start_logits, _ = self.logits(features)  # (batch, tokens)
        if start_positions is None:
            best = start_logits.masked_fill(~mask, float("-inf")).argmax(dim=-1, keepdim=True)  # (batch, 1)
            return start_logits, self.end_logits(features, best)[:, 0]
        end_logits = self.end_logits(features, start_positions.clamp(0, mask.size(1) - 1))  # (batch, golds, tokens)
        if self.training:
            return start_logits, end_logits
        if answer_mask is None or cls_index is None:
            raise ValueError("labels come together: start_positions without answer_mask or cls_index give no beam")
        beam_starts = self.beam_starts(start_logits, answer_mask.bool(), cls_index[:, None])
        return start_logits, end_logits, beam_starts, self.end_logits(features, beam_starts)

    def end_logits(self, features: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Return the end logits (batch, starts, tokens) given each of ``starts`` (batch, starts)."""
        given = features.gather(1, starts[..., None].expand(-1, -1, features.size(-1)))  # (batch, starts, hidden)
        pairs = self.of_end(features)[:, None] + self.of_start(given)[:, :, None]  # (batch, starts, tokens, hidden)
        return self.logits(self.norm(torch.tanh(pairs)))[1]

    def beam_starts(self, start_logits: torch.Tensor, allowed: torch.Tensor, cls_index: torch.Tensor) -> torch.Tensor:
        """Return the best allowed starts but for ``cls_index`` (batch, 1), and that: (batch, beam)."""
        candidates = start_logits.masked_fill(~allowed, float("-inf")).scatter(1, cls_index, float("-inf"))
        best = candidates.topk(min(self.beam_size, candidates.size(1)))
        return torch.cat([best.indices.where(best.values.isfinite(), cls_index), cls_index], dim=1)
