"""A loss scaler whose first step overflows, as that of fp16 does from time to time."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch
from accelerate import Accelerator

import training.start


def overflow_once(patch: pytest.MonkeyPatch) -> None:
    """Let a run scale its losses, on whatever device, and the gradients of its first step be infinite."""
    original = training.start.open_accelerator

    def open_accelerator(precision: str, **options: Any) -> Accelerator:
        accelerator, calls = original(precision, **options), count()
        backward = accelerator.backward
        accelerator.scaler = accelerator.scaler or torch.amp.GradScaler(accelerator.device.type)
        accelerator.backward = lambda loss: backward(loss if next(calls) else 1e38 * loss)
        return accelerator

    patch.setattr(training.start, "open_accelerator", open_accelerator)
