"""Dropout from random bytes: on a CPU, whose random numbers took a third of a training step, in a fifth of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


def fast_dropout(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a model is trained on ``device``: on a CPU every dropout draws bytes."""
    return _ByteDropout() if device.type == "cpu" else nullcontext()


def byte_dropout(values: torch.Tensor, ratio: float) -> torch.Tensor:
    """Return ``values`` (...) with about ``ratio`` of them 0 and the others scaled, so that the expectation stays.

    A byte of its own decides about a value: the ratio is the nearest of 256. They come from torch's generator.
    """
    dropped = min(max(round(ratio * 256), 1), 255)  # of 256 values of a byte
    count = values.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)  # (count / 8,), all 64 bits random
    drawn = words.view(torch.uint8)[:count].view(values.shape)  # (...)
    # as bytes, since torch turns truth values into numbers ten times slower
    stays = torch.ge(drawn, dropped, out=torch.empty_like(drawn))
    return values * stays.to(values.dtype).mul_(256 / (256 - dropped))


class _ByteDropout(TorchFunctionMode):
    """Computes the dropouts of a training, of modules and of functions, by :func:`byte_dropout`."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.dropout:
            return _dropout(*args, **kwargs or {})
        return func(*args, **kwargs or {})


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    if training and 0 < p < 1 and not inplace and input.device.type == "cpu" and input.is_floating_point():
        return byte_dropout(input, p)
    return F.dropout(input, p, training, inplace)
