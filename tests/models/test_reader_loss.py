"""The span loss against PyTorch's own cross-entropy and against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from models.span_loss import span_loss

BATCH, TOKENS = 6, 11


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Random logits; the mask leaves out a question (tokens 1 to 3) and some padding; labels lie inside it."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(BATCH, TOKENS, dtype=torch.long)
    mask[:, 1:4] = 0
    for row in range(BATCH):
        mask[row, TOKENS - row :] = 0
    positions = torch.tensor([[0, 4, 5, 4, 6, 0], [0, 5, 6, 7, 6, 0]])
    logits = 3 * torch.randn(2, BATCH, TOKENS, generator=generator)
    return {
        "start_logits": logits[0].requires_grad_(),
        "end_logits": logits[1].requires_grad_(),
        "start_positions": positions[0],
        "end_positions": positions[1],
        "answer_mask": mask,
    }


def torch_loss(batch: dict[str, torch.Tensor], smoothing: float) -> torch.Tensor:
    """PyTorch's cross-entropy, row by row, over the masked-in positions alone."""
    losses = []
    for side in ("start", "end"):
        for logits, position, mask in zip(
            batch[f"{side}_logits"], batch[f"{side}_positions"], batch["answer_mask"].bool(), strict=True
        ):
            target = mask[:position].sum()  # where the position is among the masked-in ones
            losses.append(F.cross_entropy(logits[mask][None], target[None], label_smoothing=smoothing))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_is_the_cross_entropy_over_positions_that_can_be_answers(
    batch: dict[str, torch.Tensor], smoothing: float
) -> None:
    logits = [batch["start_logits"], batch["end_logits"]]
    loss, expected = span_loss(**batch, label_smoothing=smoothing), torch_loss(batch, smoothing)
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits), strict=True):
        torch.testing.assert_close(found, wanted)


def test_smoothing_is_the_formula_written_out() -> None:
    logits = torch.tensor([[1.0, 9.0, 2.0, 0.0]])
    mask = torch.tensor([[1, 0, 1, 1]])
    normaliser = math.log(math.exp(1) + math.exp(2) + math.exp(0))
    log_p = {0: 1 - normaliser, 2: 2 - normaliser, 3: -normaliser}
    start = -(0.7 * log_p[2] + 0.3 / 3 * sum(log_p.values()))
    end = -(0.7 * log_p[3] + 0.3 / 3 * sum(log_p.values()))
    loss = span_loss(logits, logits, torch.tensor([2]), torch.tensor([3]), mask, label_smoothing=0.3)
    assert loss.item() == pytest.approx((start + end) / 2, rel=1e-6)


@pytest.mark.parametrize("outside", [-1, 2, TOKENS, TOKENS + 500])
def test_a_position_that_cannot_be_an_answer_is_ignored(batch: dict[str, torch.Tensor], outside: int) -> None:
    changed = batch | {name: batch[name].clone() for name in ("start_positions", "end_positions")}
    changed["start_positions"][1] = changed["end_positions"][1] = outside
    loss = span_loss(**changed, label_smoothing=0.1)
    rest = torch.arange(BATCH) != 1
    torch.testing.assert_close(loss, torch_loss({name: value[rest] for name, value in batch.items()}, 0.1))
    gradient = torch.autograd.grad(loss, changed["start_logits"])[0]
    assert gradient.isfinite().all() and not gradient[1].any()


def test_nothing_to_learn_from_is_a_loss_of_zero(batch: dict[str, torch.Tensor]) -> None:
    nowhere = torch.full((BATCH,), -1)
    loss = span_loss(**batch | {"start_positions": nowhere, "end_positions": nowhere}, label_smoothing=0.1)
    loss.backward()
    assert loss.item() == 0
    assert not batch["start_logits"].grad.any() and not batch["end_logits"].grad.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_padding_and_question_take_no_gradient_and_nothing_is_nan(
    batch: dict[str, torch.Tensor], smoothing: float
) -> None:
    with torch.no_grad():
        batch["start_logits"] *= 1e4
        batch["end_logits"] *= -1e4
    loss = span_loss(**batch, label_smoothing=smoothing)
    loss.backward()
    outside = ~batch["answer_mask"].bool()
    assert loss.isfinite()
    for name in ("start_logits", "end_logits"):
        assert batch[name].grad.isfinite().all()
        assert not batch[name].grad[outside].any() and batch[name].grad[~outside].any()


def test_more_padding_and_half_precision_change_nothing(batch: dict[str, torch.Tensor]) -> None:
    exact = {name: value.detach().bfloat16() if value.is_floating_point() else value for name, value in batch.items()}
    wider = dict(exact)
    for name in ("start_logits", "end_logits", "answer_mask"):
        wider[name] = F.pad(exact[name], (0, 7))
    loss = span_loss(**wider, label_smoothing=0.1)
    assert loss.dtype == torch.float32
    single = {name: value.float() if value.is_floating_point() else value for name, value in exact.items()}
    torch.testing.assert_close(loss, span_loss(**single, label_smoothing=0.1))
