"""The layers of an encoder: new weights at the top, the old ones below."""

from __future__ import annotations

import re

import pytest
import torch

from models import load_reader
from models.layers import reinitialise_layers
from runtime.errors import UserError


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_topmost_layers_get_new_weights_and_all_others_stay(encoder_path: str, count: int) -> None:
    old, new = load_reader(encoder_path), load_reader(encoder_path)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in (*old.parameters(), *new.parameters()):
            weight.fill_(0.5)
    reinitialise_layers(new, count)
    for (name, before), after in zip(old.named_parameters(), new.parameters(), strict=True):
        layer = re.search(r"layer\.(\d+)\.", name)
        if layer is None or int(layer[1]) < 2 - count:
            assert torch.equal(before, after), name
        elif after.ndim == 2:
            assert after.std().item() == pytest.approx(new.config.initializer_range, rel=0.3), name
        else:
            assert torch.equal(after, torch.full_like(after, float("LayerNorm.weight" in name))), name


def test_more_layers_than_there_are_is_one_sentence(encoder_path: str) -> None:
    with pytest.raises(UserError, match=r"^--reinit_layers 3 is more than .* has \(2 layers\)$"):
        reinitialise_layers(load_reader(encoder_path), 3)
