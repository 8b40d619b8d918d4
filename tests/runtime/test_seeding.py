"""One seed decides what every generator draws."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from runtime.seeding import set_seed


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_what_is_drawn_follows_the_seed(seed: int) -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        set_seed(seed)
        return random.random(), float(np.random.random()), torch.rand(()).item()

    first = draw(seed)
    assert draw(seed) == first
    assert all(one != other for one, other in zip(first, draw(1), strict=True))
