"""Dropout by bytes does what torch's does, but for the numbers that it draws."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.byte_dropout import byte_dropout, fast_dropout

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.001])
def test_so_many_values_fall_and_the_mean_stays(ratio: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(101, 4999, dtype=dtype, requires_grad=True)
    dropped = byte_dropout(values, ratio)
    nearest = max(round(ratio * 256), 1) / 256
    scale = torch.tensor(1 / (1 - nearest)).to(dtype)
    assert set(dropped.unique().tolist()) == {0.0, scale.item()}
    assert (dropped == 0).float().mean().item() == pytest.approx(nearest, abs=0.002)
    dropped.backward(torch.full_like(values, 2))
    assert torch.equal(values.grad, 2 * dropped.detach())  # what fell gets no gradient


def test_every_byte_falls_as_often_as_any_other() -> None:
    torch.manual_seed(0)
    fallen = (byte_dropout(torch.ones(20_000, 8), 0.5) == 0).float().mean(dim=0)  # (8,)
    assert fallen.tolist() == pytest.approx([0.5] * 8, abs=0.015)


def test_in_training_on_a_cpu_alone_modules_and_functions_draw_bytes() -> None:
    ones, module = torch.ones(1000), torch.nn.Dropout(0.1)
    with fast_dropout(CPU):
        for dropped in (module(ones), F.dropout(ones, 0.1), F.dropout(ones, p=0.1, training=True)):
            assert dropped.unique().tolist() == pytest.approx([0, 256 / 230])
        for kept in (module.eval()(ones), F.dropout(ones, 0.1, training=False), F.dropout(ones, 0.0)):
            assert torch.equal(kept, ones)
        assert not F.dropout(ones, 1.0).any()
    for dropped in (F.dropout(ones, 0.1), module.train()(ones)):
        assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.9])
    with fast_dropout(torch.device("cuda")):
        assert F.dropout(ones, 0.1).unique().tolist() == pytest.approx([0, 1 / 0.9])


def test_the_same_seed_drops_the_same_values() -> None:
    values = torch.randn(7, 13)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = byte_dropout(values, 0.3)
    torch.set_rng_state(state)
    assert torch.equal(byte_dropout(values, 0.3), first)
    assert not torch.equal(byte_dropout(values, 0.3), first)
