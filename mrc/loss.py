"""The span loss: cross-entropy over start and end positions, with label smoothing that applies to spans."""

from __future__ import annotations

import torch


def span_loss(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    start_positions: torch.Tensor,
    end_positions: torch.Tensor,
    answer_mask: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean over examples of the start and end losses, averaged: a scalar.

    The softmax runs over the positions that can be answers only (``answer_mask`` 1: context and ``[CLS]``), so
    padding and question tokens neither take probability nor gradient. With smoothing ``e`` and ``N`` such
    positions the target is ``1 - e`` on the gold position plus ``e / N`` on each of them (Szegedy et al. 2016,
    section 7); a gold position outside them is ignored.

    Shapes: logits and mask (batch, tokens), positions (batch,).
    """
    losses = [
        _position_loss(logits, positions, answer_mask.bool(), label_smoothing)
        for logits, positions in ((start_logits, start_positions), (end_logits, end_positions))
    ]
    return torch.stack(losses).mean()


def _position_loss(logits: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, smoothing: float) -> torch.Tensor:
    logits = logits.float().masked_fill(~mask, float("-inf"))  # (batch, tokens)
    log_probabilities = logits.log_softmax(dim=-1)  # (batch, tokens)
    inside = (positions >= 0) & (positions < logits.size(1))  # (batch,)
    safe = positions.clamp(0, logits.size(1) - 1)[:, None]  # (batch, 1)
    valid = inside & mask.gather(1, safe)[:, 0]  # (batch,)
    gold = log_probabilities.gather(1, safe)[:, 0]  # (batch,)
    uniform = log_probabilities.masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)  # (batch,)
    # where, not multiplication: an ignored row holds -inf, and -inf * 0 is nan
    loss = torch.where(valid, -(1 - smoothing) * gold - smoothing * uniform, 0.0)  # (batch,)
    return loss.sum() / valid.sum().clamp(min=1)
