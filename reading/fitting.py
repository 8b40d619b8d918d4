"""How many windows a reader reads, or learns from, at once, where the flags leave that to the machine."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from models.span_loss import reader_loss
from reading.batching import FeatureCollator
from runtime.device import autocast, default_device, reading_mode
from runtime.fitting import largest_that_fits
from runtime.log import get_logger

logger = get_logger(__name__)

_USUAL = 32
_MOST_TOKENS = 2**16  # of a batch; more make no GPU faster


def fit_reading(args: Any, model: PreTrainedModel, collator: FeatureCollator, precision: str) -> int:
    """Return ``args.per_device_eval_batch_size``, settled if it is ``auto``, and said."""
    if args.per_device_eval_batch_size == "auto":
        size = _USUAL
        if model.device.type != "cpu":
            most = 1 << (max(1, _MOST_TOKENS // args.max_seq_len).bit_length() - 1)
            size = largest_that_fits(lambda rows: try_reading(model, collator, args.max_seq_len, precision, rows), most)
        logger.info("--per_device_eval_batch_size auto is %d on this device", size)
        args.per_device_eval_batch_size = size
    return args.per_device_eval_batch_size


@torch.no_grad()
def try_reading(model: PreTrainedModel, collator: FeatureCollator, tokens: int, precision: str, rows: int) -> None:
    """Read a batch of so many ``rows`` of ``tokens`` each, on the model's device."""
    with reading_mode(model), autocast(precision, model.device):
        reader_loss(model, longest_batch(collator, tokens, rows, model.device))


def try_training(model: PreTrainedModel, collator: FeatureCollator, tokens: int, precision: str, rows: int) -> None:
    """Take all the memory that a training step with a batch of so many ``rows`` of ``tokens`` each takes.

    That of its gradients, and of what AdamW keeps of each weight. Weights and random numbers stay as they are, the
    model goes to the device.
    """
    device = default_device()
    model.to(device)  # type: ignore[arg-type]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    moments = [torch.empty_like(weight) for weight in trained for _ in range(2)]
    training = model.training
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            with autocast(precision, device):
                loss, _ = reader_loss(model.train(), longest_batch(collator, tokens, rows, device))
            loss.backward()
        finally:
            model.zero_grad()
            model.train(training)
            moments.clear()


def longest_batch(collator: FeatureCollator, tokens: int, rows: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return what ``collator`` makes of ``rows`` windows of so many ``tokens``, (rows, tokens) each input."""
    window: dict[str, Any] = dict.fromkeys(("input_ids", "token_type_ids"), [0] * tokens)
    window["input_ids"] = [collator.separator_id or 0] * tokens
    window |= {"answer_mask": [1] * tokens, "gold_starts": [0], "gold_ends": [0], "cls_index": 0, "example_index": 0}
    return {name: values.to(device) for name, values in collator([window] * rows).items()}
