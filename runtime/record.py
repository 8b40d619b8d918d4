"""What a run was: versions, device and seed, kept next to its results."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from runtime.device import BF16_CAPABILITIES
from runtime.masking import masked

_PACKAGES = (
    "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "bm25s", "rank_bm25", "scikit-learn",
    "kiwipiepy", "mecab-ko", "elasticsearch", "pymilvus", "matplotlib", "wandb",
)  # fmt: skip


def environment(device: torch.device, precision: str, seed: int) -> dict[str, Any]:
    """Return versions, code revision, device, processor, precision and seed, for ``environment.json``."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "code": _revision(),
        "command": [Path(sys.argv[0]).name, *masked(sys.argv[1:])],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "seed": seed,
    }


def processor() -> str:
    """Return the processor's name, its cores and how it computes bf16: ``AMD EPYC, 2 cores, avx512_bf16``."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    bf16 = [name for name in BF16_CAPABILITIES if torch.cpu.get_capabilities().get(name)]
    return f"{name}, {os.cpu_count()} cores, {' and '.join(bf16) or 'no native bf16'}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Return the git revision of the code, with ``-dirty`` when it was changed; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
