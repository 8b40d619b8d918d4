"""AdamW's groups and the shapes of the learning rate, against formulas written out."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

import pytest
import torch

from arguments import OptimizationArguments
from training.optimization import make_optimizer, make_scheduler

SCHEDULES = get_args(get_type_hints(OptimizationArguments)["lr_scheduler_type"])


def _layer() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))


def _rates(steps: int, **flags) -> list[float]:
    """The learning rates of ``steps`` optimizer steps, as shares of the peak, and the one after them."""
    parameter = torch.nn.Parameter(torch.ones(1))
    arguments = OptimizationArguments(learning_rate=2e-4, **flags)
    optimizer = make_optimizer([("weight", parameter)], arguments, "encoder")
    scheduler = make_scheduler(optimizer, arguments, steps)
    rates = []
    for _ in range(steps + 1):
        rates.append(scheduler.get_last_lr()[0] / 2e-4)
        optimizer.step()
        scheduler.step()
    return rates


def test_matrices_are_decayed_and_vectors_are_not() -> None:
    layer = _layer()
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    arguments = OptimizationArguments(learning_rate=0.1, weight_decay=0.2, adam_epsilon=1e-5)
    optimizer = make_optimizer(layer.named_parameters(), arguments, "encoder")
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(before)
    assert {(group["lr"], group["eps"]) for group in optimizer.param_groups} == {(0.1, 1e-5)}
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in layer.named_parameters():
        share = 1 - 0.1 * 0.2 if name in ("0.weight", "1.weight") else 1
        torch.testing.assert_close(parameter.detach(), before[name] * share)


def test_a_step_is_the_one_of_the_paper() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, first step: both moments are corrected to the gradient."""
    parameter = torch.nn.Parameter(torch.tensor([[2.0]]))
    arguments = OptimizationArguments(learning_rate=0.1, weight_decay=0.5, adam_epsilon=1e-8)
    parameter.grad = torch.tensor([[4.0]])
    make_optimizer([("weight", parameter)], arguments, "encoder").step()
    assert parameter.item() == pytest.approx(2 - 0.1 * 0.5 * 2 - 0.1 * 4 / (4 + 1e-8))


def test_linear_warms_up_and_falls_to_zero() -> None:
    assert _rates(10, warmup_steps=4) == pytest.approx([i / 4 for i in range(4)] + [(10 - i) / 6 for i in range(4, 11)])


def test_the_ratio_is_a_share_of_all_steps_and_steps_come_first() -> None:
    assert _rates(10, warmup_ratio=0.4) == _rates(10, warmup_steps=4)
    assert _rates(10, warmup_ratio=0.9, warmup_steps=4) == _rates(10, warmup_steps=4)
    assert _rates(10)[0] == 1


def test_cosine_is_half_a_wave() -> None:
    expected = [0, 0.5] + [0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(9)]
    assert _rates(10, lr_scheduler_type="cosine", warmup_steps=2) == pytest.approx(expected)


@pytest.mark.parametrize("cycles", [1, 2, 4])
def test_restarts_return_to_the_peak(cycles: int) -> None:
    rates = _rates(8, lr_scheduler_type="cosine_with_restarts", warmup_cycles=cycles)
    assert [step for step, rate in enumerate(rates[:8]) if rate == 1] == list(range(0, 8, 8 // cycles))
    assert rates[8] == 0


def test_constants() -> None:
    assert _rates(4, lr_scheduler_type="constant") == [1] * 5
    assert _rates(4, lr_scheduler_type="constant_with_warmup", warmup_steps=2) == [0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_that_can_be_chosen_trains_at_every_step_after_the_first(schedule: str) -> None:
    warmup = {} if schedule == "constant" else {"warmup_ratio": 0.25}
    rates = _rates(12, lr_scheduler_type=schedule, **warmup)
    assert all(0 < rate <= 1 for rate in rates[1:12]) and max(rates) == pytest.approx(1)


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        ({"warmup_steps": 9}, ""),
        ({"warmup_ratio": 0.9}, ""),
        ({"warmup_steps": 10}, "takes 10 optimizer steps and the run has 10: the learning rate ends at 90 %"),
        ({"warmup_steps": 500}, "takes 500 optimizer steps and the run has 10: the learning rate ends at 2 %"),
        ({"warmup_ratio": 1.0}, "takes 10 optimizer steps and the run has 10: the learning rate ends at 90 %"),
    ],
)
def test_a_warm_up_that_never_reaches_the_peak_is_warned_of(
    log_lines: list[str], flags: dict[str, float], warning: str
) -> None:
    rates = _rates(10, **flags)[:-1]
    assert (max(rates) < 1) == bool(warning) == bool(log_lines)
    assert all(line.startswith("WARNING") and warning in line for line in log_lines)
    if log_lines:
        assert max(rates) == pytest.approx(int(log_lines[0].split(" % ")[0].split()[-1]) / 100, abs=0.01)
