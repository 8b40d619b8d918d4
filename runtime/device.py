"""Device, precision and the fastest attention for them."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from runtime.errors import UserError

# What torch calls the instructions of a CPU that multiply bf16 natively.
BF16_CAPABILITIES = ("amx_bf16", "avx512_bf16")


def default_device() -> torch.device:
    """Return the CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return fp32, bf16 or fp16 for ``--precision`` on ``device``.

    ``auto`` is bf16 where it is computed natively: CUDA from compute capability 8.0, CPUs with AMX or AVX512-BF16.
    Raises :class:`UserError` for fp16 on a CPU, which has no loss scaling there.
    """
    if precision == "fp16" and device.type != "cuda":
        raise UserError("--precision fp16 needs a CUDA device; use --precision auto, bf16 or fp32 here")
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if any(capabilities.get(name) for name in BF16_CAPABILITIES) else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the autocast context of a forward pass in ``precision``."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def fastest_attention(device: torch.device, attention_dropout: float, training: bool) -> str:
    """Return the attention implementation that is fastest for what is at hand.

    The fused kernel (sdpa), but eager where a CPU trains with attention dropout, which the fused kernel there
    computes on a slow path. Measured by ``benchmarks/attention.py``.
    """
    return "eager" if device.type == "cpu" and training and attention_dropout > 0 else "sdpa"


@contextmanager
def reading_mode(model: Any) -> Iterator[None]:
    """Evaluate a Transformers ``model`` with the attention that is fastest for it; training goes on as it was."""
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


def free_memory() -> None:
    """Give back what nothing holds any more, of the device too."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Let glibc keep freed memory instead of returning it to the kernel after every training step.

    A step on the CPU frees and takes the same large blocks again; with the defaults a good part of its time goes
    into page faults. Does nothing where the C library has no ``mallopt``.
    """
    if not sys.platform.startswith("linux"):
        return
    m_trim_threshold, m_mmap_max = -1, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):
        return
