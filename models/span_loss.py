"""The span loss: several gold spans, label smoothing that applies to spans, one softmax over several passages."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# What a batch holds beside the inputs of every encoder.
LABELS = ("answer_mask", "cls_index", "example_index", "start_positions", "end_positions", "questions")


def reader_loss(
    model: nn.Module, batch: dict[str, torch.Tensor], label_smoothing: float = 0.0
) -> tuple[torch.Tensor, Any]:
    """Run a reader, wrapped or not, on a batch of ``FeatureCollator``; return its span loss and its outputs.

    If the batch says which of its rows belong to one question (``questions``), that is :func:`shared_span_loss`. A
    reader whose head needs labels to give its logits names them in ``label_inputs`` (see ``models/head_reader.py``); no
    other sees any.
    """
    wanted = getattr(getattr(model, "module", model), "label_inputs", ())
    outputs = model(**{name: value for name, value in batch.items() if name not in LABELS or name in wanted})
    logits = outputs.start_logits, outputs.end_logits
    labels = {name: batch[name] for name in ("start_positions", "end_positions", "answer_mask")}
    if "questions" in batch:
        labels |= {name: batch[name] for name in ("cls_index", "questions")}
        return shared_span_loss(*logits, **labels, label_smoothing=label_smoothing), outputs
    return span_loss(*logits, **labels, label_smoothing=label_smoothing), outputs


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
    mask = answer_mask.bool()[:, None]  # (batch, 1, tokens)
    start_log, end_log = (
        # (batch, 1 or golds, tokens)
        logits.reshape(len(mask), -1, mask.size(-1)).float().masked_fill(~mask, float("-inf")).log_softmax(dim=-1)
        for logits in (start_logits, end_logits)
    )
    inside = (starts >= 0) & (ends >= 0) & (torch.maximum(starts, ends) < mask.size(-1))  # (batch, golds)
    inside = inside & _at(mask, starts) & _at(mask, ends)  # (batch, golds)
    span_log = (_at(start_log, starts) + _at(end_log, ends)).masked_fill(~inside, float("-inf"))  # (batch, golds)
    likelihood = span_log.logsumexp(dim=-1)  # (batch,)
    uniform = (start_log + end_log).masked_fill(~mask, 0.0).sum(-1) / mask.sum(-1)  # (batch, 1 or golds)
    uniform = torch.where(inside, uniform, 0.0).sum(-1) / inside.sum(-1).clamp(min=1)  # (batch,)
    # where, not multiplication: an ignored row holds -inf, and -inf * 0 is nan
    loss = torch.where(inside.any(-1), -(1 - label_smoothing) * likelihood - label_smoothing * uniform, 0.0)  # (batch,)
    return loss.sum() / inside.any(-1).sum().clamp(min=1) / 2


def shared_span_loss(
    start_logits: torch.Tensor,
    end_logits: torch.Tensor,
    start_positions: torch.Tensor,
    end_positions: torch.Tensor,
    answer_mask: torch.Tensor,
    cls_index: torch.Tensor,
    questions: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the span loss with one softmax over all windows of a question, wherever they are in the batch.

    That is :func:`span_loss` of the question's windows laid end to end, so that logits of different passages become
    comparable (shared normalisation: Clark and Gardner 2018, https://aclanthology.org/P18-1078/). A window without
    answer has nothing to learn but that its spans, ``[CLS]`` too, are less likely than the gold ones of the others;
    only where no window of the question has an answer are their ``[CLS]`` the gold spans. Every row counts its
    question's loss, and the result is the mean over rows: a question weighs by its windows, as with ``span_loss``.

    Shapes are those of :func:`span_loss`, ``end_logits`` (batch, tokens) only; ``cls_index`` and ``questions``, equal
    for the windows of one question, are (batch,).
    """
    rows, tokens = start_logits.shape
    starts, ends = (positions.reshape(rows, -1) for positions in (start_positions, end_positions))  # (batch, golds)
    same = questions[:, None] == questions  # (batch, batch)
    inside = (starts >= 0) & (ends >= 0) & (torch.maximum(starts, ends) < tokens)  # (batch, golds)
    answers = inside & (starts != cls_index[:, None])  # (batch, golds)
    answered = (same & answers.any(-1)).any(-1)  # (batch,): whether any window of the row's question is
    kept = inside & (answers | ~answered[:, None])  # (batch, golds)
    first = tokens * torch.arange(rows, device=starts.device)[:, None]  # (batch, 1): where the row begins, end to end
    starts, ends = (  # (batch, golds) -> (batch * golds,) -> (batch, batch * golds)
        torch.where(kept, positions + first, -1).reshape(-1).expand(rows, -1) for positions in (starts, ends)
    )
    mask = same[..., None] & answer_mask.bool()  # (batch, batch, tokens)
    start_logits, end_logits = (  # (batch, tokens) -> (batch * tokens,) -> (batch, batch * tokens)
        logits.reshape(-1).expand(rows, -1) for logits in (start_logits, end_logits)
    )
    return span_loss(start_logits, end_logits, starts, ends, mask.reshape(rows, -1), label_smoothing)


def _at(values: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return ``values`` (batch, 1 or golds, tokens) at ``positions`` (batch, golds); what is outside is at the edge."""
    positions = positions.clamp(0, values.size(-1) - 1)  # (batch, golds)
    if values.size(1) == 1:  # not expanded, which would make a gradient of that size
        return values[:, 0].gather(-1, positions)  # (batch, golds)
    return values.gather(-1, positions[..., None])[..., 0]  # (batch, golds)
