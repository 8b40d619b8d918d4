"""Reading: a model's start and end logits for every feature, without training anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from mrc.batching import FeatureCollator, longest_first_batches
from mrc.decoding import FORBIDDEN
from mrc.loss import span_loss
from runtime.device import autocast, fastest_attention


class Logits(NamedTuple):
    """Start and end logits, each (features, tokens) float32 with -inf after a feature's end, and the mean loss."""

    start: np.ndarray
    end: np.ndarray
    loss: float


@torch.no_grad()
def read_features(
    model: PreTrainedModel,
    features: Dataset,
    collator: FeatureCollator,
    batch_size: int,
    precision: str,
    what: str = "reading",
    accelerator: Accelerator | None = None,
) -> Logits:
    """Return the logits of all ``features`` in their order, and the span loss against their labels.

    Batches hold features of similar length. With an ``accelerator`` of several processes each reads its share,
    and all return everything.
    """
    lengths = list(features["length"])
    inputs = features.remove_columns("offset_mapping")  # ten times faster to fetch
    batches = longest_first_batches(lengths, batch_size)
    if accelerator is not None and accelerator.num_processes > 1:
        batches = batches[accelerator.process_index :: accelerator.num_processes]
    quiet = accelerator is not None and not accelerator.is_local_main_process
    device = model.device
    read: list[tuple[int, np.ndarray, np.ndarray]] = []
    losses: list[tuple[float, int]] = []
    with _reading_mode(model, precision), autocast(precision, device):
        for rows in tqdm(batches, desc=what, unit="batch", leave=False, disable=quiet):
            batch = collator([inputs[row] for row in rows])
            labels = {name: batch.pop(name).to(device) for name in ("start_positions", "end_positions", "answer_mask")}
            outputs = model(**{name: tensor.to(device) for name, tensor in batch.items()})
            loss = span_loss(outputs.start_logits, outputs.end_logits, **labels)
            losses.append((loss.item(), len(rows)))
            start_logits = outputs.start_logits.float().cpu().numpy()  # (batch, tokens)
            end_logits = outputs.end_logits.float().cpu().numpy()  # (batch, tokens)
            for row, start, end in zip(rows, start_logits, end_logits, strict=True):
                read.append((row, start[: lengths[row]].copy(), end[: lengths[row]].copy()))
    if accelerator is not None and accelerator.num_processes > 1:
        read, losses = gather_object(read), gather_object(losses)
    shape = (len(features), max(lengths, default=0))
    start_logits, end_logits = np.full(shape, FORBIDDEN), np.full(shape, FORBIDDEN)
    for row, start, end in read:
        start_logits[row, : len(start)], end_logits[row, : len(end)] = start, end
    rows_read = sum(size for _, size in losses)
    return Logits(start_logits, end_logits, sum(loss * size for loss, size in losses) / max(rows_read, 1))


@contextmanager
def _reading_mode(model: PreTrainedModel, precision: str) -> Iterator[None]:
    """Evaluate with the attention that is fastest for reading; training goes on as it was."""
    training, attention = model.training, model.config._attn_implementation
    fastest = fastest_attention(model.device, 0.0, training=False)
    switch = attention != fastest and getattr(model, "_supports_sdpa", False)
    model.eval()
    if switch:
        model.set_attn_implementation(fastest)
    try:
        yield
    finally:
        if switch:
            model.set_attn_implementation(attention)
        model.train(training)
