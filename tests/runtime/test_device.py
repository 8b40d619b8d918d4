"""Device, precision and attention, for machines that are not this one too."""

from __future__ import annotations

import ctypes
import platform

import pytest
import torch

from runtime.device import autocast, default_device, fastest_attention, keep_freed_memory, resolve_precision
from runtime.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("device", "capability", "expected"),
    [
        (CUDA, (7, 5), "fp32"),
        (CUDA, (8, 0), "bf16"),
        (CUDA, (9, 0), "bf16"),
        (CPU, {}, "fp32"),
        (CPU, {"avx512_bf16": False, "amx_bf16": False, "avx2": True}, "fp32"),
        (CPU, {"avx512_bf16": True}, "bf16"),
        (CPU, {"amx_bf16": True}, "bf16"),
    ],
)
def test_auto_is_bf16_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, capability: object, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capability)
    assert resolve_precision("auto", device) == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have other capabilities")
def test_the_capabilities_that_are_asked_for_exist() -> None:
    assert {"amx_bf16", "avx512_bf16"} <= set(torch.cpu.get_capabilities())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
def test_a_named_precision_is_taken(precision: str, device: torch.device) -> None:
    assert resolve_precision(precision, device) == precision


def test_fp16_is_for_cuda() -> None:
    assert resolve_precision("fp16", CUDA) == "fp16"
    with pytest.raises(UserError, match="--precision fp16 needs a CUDA device; use --precision auto, bf16 or fp32"):
        resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_the_precision(precision: str, dtype: torch.dtype) -> None:
    layer, rows = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(precision, CPU):
        assert layer(rows).dtype == dtype
    assert layer(rows).dtype == torch.float32


@pytest.mark.parametrize(
    ("device", "dropout", "training", "expected"),
    [
        (CPU, 0.0, True, "sdpa"),
        (CPU, 0.1, True, "eager"),
        (CPU, 0.1, False, "sdpa"),
        (CUDA, 0.1, True, "sdpa"),
        (CUDA, 0.1, False, "sdpa"),
    ],
)
def test_the_fastest_attention_as_measured(device: torch.device, dropout: float, training: bool, expected: str) -> None:
    assert fastest_attention(device, dropout, training) == expected


@pytest.mark.parametrize("available", [True, False])
def test_the_default_device_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert default_device() == (CUDA if available else CPU)


class FakeLibrary:
    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def mallopt(self, parameter: int, value: int) -> None:
        self.calls.append((parameter, value))


def test_freed_memory_is_kept_by_glibc_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr("sys.platform", "darwin")
    keep_freed_memory()
    assert library.calls == []
    monkeypatch.setattr("sys.platform", "linux")
    keep_freed_memory()
    assert library.calls == [(-4, 0), (-1, 2**31 - 1)]  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())  # musl has no mallopt
    keep_freed_memory()
