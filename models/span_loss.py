"""The span loss: several gold spans by marginal likelihood, and label smoothing that applies to spans."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# What a batch holds beside the inputs of every encoder.
LABELS = ("answer_mask", "cls_index", "example_index", "start_positions", "end_positions")


def reader_loss(
    model: nn.Module, batch: dict[str, torch.Tensor], label_smoothing: float = 0.0
) -> tuple[torch.Tensor, Any]:
    """Run a reader, wrapped or not, on a batch of ``FeatureCollator``; return its span loss and its outputs.

    A reader whose head needs labels to give its logits names them in ``label_inputs`` (see
    ``models/head_reader.py``); no other sees any.
    """
    wanted = getattr(getattr(model, "module", model), "label_inputs", ())
    outputs = model(**{name: value for name, value in batch.items() if name not in LABELS or name in wanted})
    labels = {name: batch[name] for name in ("start_positions", "end_positions", "answer_mask")}
    return span_loss(outputs.start_logits, outputs.end_logits, **labels, label_smoothing=label_smoothing), outputs


def span_loss(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    start_positions: torch.Tensor,
    end_positions: torch.Tensor,
    answer_mask: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of the examples, a scalar: half the negative log-likelihood of their gold spans.

    An example with gold spans ``(s, e)`` has ``-1/2 log sum p(s) p(e)`` (maximum marginal likelihood, as in Min et
    al. 2019, A Discrete Hard EM Approach); with one span that is the average of its two cross-entropies. The softmax
    runs over the positions that can be answers only (``answer_mask`` 1: context and ``[CLS]``), so padding and
    question tokens neither take probability nor gradient. With ``label_smoothing`` ``a`` the loss is ``1 - a`` of
    this and ``a`` of the average cross-entropy against the uniform distribution over those positions (Szegedy et al.
    2016, section 7). A span that is not wholly on such positions is ignored, and so is an example without any other.

    Shapes: ``start_logits``, ``answer_mask`` (batch, tokens); ``start_positions``, ``end_positions`` (batch, golds),
    -1 where there are fewer, or (batch,); ``end_logits`` (batch, tokens), or (batch, golds, tokens) where the end is
    scored given each gold start.
    """
    starts, ends = (positions.reshape(len(positions), -1) for positions in (start_positions, end_positions))
    mask = answer_mask.bool()[:, None].expand(-1, starts.size(1), -1)  # (batch, golds, tokens)
    start_log, end_log = (
        # (batch, 1 or golds, tokens), then (batch, golds, tokens)
        logits.reshape(len(mask), -1, mask.size(-1)).float().masked_fill(~mask, float("-inf")).log_softmax(dim=-1)
        for logits in (start_logits, end_logits)
    )
    inside = (starts >= 0) & (ends >= 0) & (torch.maximum(starts, ends) < mask.size(-1))  # (batch, golds)
    inside = inside & _at(mask, starts) & _at(mask, ends)  # (batch, golds)
    span_log = (_at(start_log, starts) + _at(end_log, ends)).masked_fill(~inside, float("-inf"))  # (batch, golds)
    likelihood = span_log.logsumexp(dim=-1)  # (batch,)
    uniform = (start_log + end_log).masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)  # (batch, golds)
    uniform = uniform.masked_fill(~inside, 0.0).sum(-1) / inside.sum(-1).clamp(min=1)  # (batch,)
    # where, not multiplication: an ignored row holds -inf, and -inf * 0 is nan
    loss = torch.where(inside.any(-1), -(1 - label_smoothing) * likelihood - label_smoothing * uniform, 0.0)  # (batch,)
    return loss.sum() / inside.any(-1).sum().clamp(min=1) / 2


def _at(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return ``values`` (batch, golds, tokens) at ``positions`` (batch, golds), those outside moved to the edge."""
    return values.gather(-1, positions.clamp(0, values.size(-1) - 1)[..., None])[..., 0]  # (batch, golds)
