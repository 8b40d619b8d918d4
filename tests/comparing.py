"""Weights of saved readers, compared."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights in ``folder`` by name."""
    return load_file(folder / "model.safetensors")


def assert_equal_weights(left: Path, right: Path, atol: float = 0.0) -> None:
    """Assert that two folders hold the same weights; bit for bit unless ``atol`` allows more."""
    left_weights, right_weights = weights(left), weights(right)
    assert left_weights.keys() == right_weights.keys()
    for name, value in left_weights.items():
        torch.testing.assert_close(value, right_weights[name], rtol=0, atol=atol, msg=name)
