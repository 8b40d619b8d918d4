"""What a run was: versions, device and seed, kept next to its results."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from runtime.masking import masked

_PACKAGES = (
    "torch", "transformers", "tokenizers", "datasets", "accelerate", "numpy", "bm25s", "rank_bm25", "scikit-learn",
    "kiwipiepy", "mecab-ko", "elasticsearch", "pymilvus", "matplotlib", "wandb",
)  # fmt: skip


def environment(device: torch.device, precision: str, seed: int) -> dict[str, Any]:
    """Return versions, code revision, device, precision and seed, for ``environment.json``."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "code": _revision(),
        "command": [Path(sys.argv[0]).name, *masked(sys.argv[1:])],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "seed": seed,
    }


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
