"""Weights of saved readers, and numbers that were computed from weights, compared.

Weights are compared bit for bit: what is saved, copied, loaded, or trained twice in the same way stays what it was.
Numbers computed from them are compared within a tolerance. Equal weights at another address, in a batch of another
shape, in another process or on another processor have their products added up in another order, and the last bit of a
logit, loss, score or vector is another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

# Of float32 numbers, the second of the largest among them: what bf16 rounds differs a thousand times as much.
RELATIVE, ABSOLUTE = 1e-4, 1e-5
# Adam divides a gradient by its size, so that one which is nothing but rounding moves a weight as far as any other.
# With this epsilon steps are in proportion to gradients, and two trainings that differ in last bits stay together.
PROPORTIONAL_STEPS = ["--adam_epsilon", "0.01"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights in ``folder`` by name."""
    return load_file(folder / "model.safetensors")


def assert_same_weights(model: torch.nn.Module, other: torch.nn.Module) -> None:
    """Assert that two models hold the same weights bit for bit, on whatever devices."""
    left, right = model.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(value.cpu(), right[name].cpu()) for name, value in left.items())


def share_weights(left: Path, right: Path) -> bool:
    """Whether the weights of two folders are one file, which takes the room of one."""
    return (left / "model.safetensors").samefile(right / "model.safetensors")


def assert_equal_weights(left: Path, right: Path, atol: float = 0.0) -> None:
    """Assert that two folders hold the same weights; bit for bit unless ``atol`` allows more."""
    left_weights, right_weights = weights(left), weights(right)
    assert left_weights.keys() == right_weights.keys()
    for name, value in left_weights.items():
        torch.testing.assert_close(value, right_weights[name], rtol=0, atol=atol, msg=name)


def assert_same_training(left: Path, right: Path) -> None:
    """Assert that two runs of one training, with ``PROPORTIONAL_STEPS``, ended with the same weights.

    They are the same bit for bit on a CPU, and nearly the same on a GPU, which may add up in any order.
    """
    assert_equal_weights(left, right, atol=ABSOLUTE if torch.cuda.is_available() else 0.0)


def assert_close(found: Any, expected: Any) -> None:
    """Assert that two tensors or arrays of computed numbers are the same but for rounding, on whatever device."""
    left, right = (np.asarray(x.detach().float().cpu() if torch.is_tensor(x) else x) for x in (found, expected))
    sizes = np.abs(right)
    largest = sizes[sizes < 1e4].max(initial=1)  # what is larger stands for minus infinity
    np.testing.assert_allclose(left, right, rtol=RELATIVE, atol=ABSOLUTE * largest)


def assert_same_ranking(found: Any, expected: Any) -> None:
    """Assert that two ``SearchResults`` are the same but for rounding, which may let near neighbours change places."""
    assert_close(found.scores, expected.scores)
    gaps = -np.diff(expected.scores, prepend=np.inf, append=np.nan, axis=1)  # (n, k + 1); none is known after the last
    clear = np.minimum(gaps[:, :-1], gaps[:, 1:]) > RELATIVE * np.abs(expected.scores).max(initial=1)  # (n, k)
    np.testing.assert_array_equal(found.ids[clear], expected.ids[clear])


def is_close(found: Any, expected: Any) -> bool:
    """Whether :func:`assert_close` would let it pass."""
    try:
        assert_close(found, expected)
    except AssertionError:
        return False
    return True


def close_to(expected: float | list[float] | Mapping[str, float]) -> Any:
    """Return what equals numbers that are the same as ``expected`` but for rounding."""
    return pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE)
