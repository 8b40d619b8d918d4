"""The span loss against its formula written out, one example and one gold span at a time."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from comparing import close_to

from models.span_loss import span_loss

pytestmark = pytest.mark.usefixtures("on_device")
BATCH, TOKENS = 4, 9


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(BATCH, TOKENS, requires_grad=True), torch.randn(BATCH, TOKENS, requires_grad=True)


@pytest.fixture
def answer_mask() -> torch.Tensor:
    """[CLS], a question of two tokens, a context, and padding after it."""
    mask = torch.ones(BATCH, TOKENS, dtype=torch.long)
    mask[:, 1:3] = 0
    mask[1, 6:] = mask[2, 8:] = 0
    return mask


def log_probabilities(logits: torch.Tensor, mask: torch.Tensor) -> list[float]:
    """Of one example; the positions outside ``mask`` have none."""
    values = logits.tolist()
    total = math.log(sum(math.exp(value) for value, inside in zip(values, mask.tolist(), strict=True) if inside))
    return [value - total for value in values]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", ["one", "column"])
def test_one_gold_span_is_cross_entropy_over_the_answer_positions(
    logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor, smoothing: float, shape: str
) -> None:
    starts, ends = torch.tensor([3, 0, 5, 4]), torch.tensor([4, 0, 7, 4])
    expected = []
    for row in range(BATCH):
        allowed = answer_mask[row].nonzero()[:, 0].tolist()
        for values, position in ((logits[0], starts[row]), (logits[1], ends[row])):
            target = torch.tensor(allowed.index(position))
            expected.append(F.cross_entropy(values[row, allowed], target, label_smoothing=smoothing))
    if shape == "column":
        starts, ends = starts[:, None], ends[:, None]
    loss = span_loss(*logits, starts, ends, answer_mask, smoothing)
    assert loss.item() == close_to(torch.stack(expected).mean().item())


GOLDS = [[(3, 4)], [(0, 0)], [(3, 3), (5, 7), (3, 4)], [(4, 6), (8, 8)]]


def padded(golds: list[list[tuple[int, int]]], end: int) -> torch.Tensor:
    return torch.tensor([[span[end] for span in row] + [-1] * (3 - len(row)) for row in golds])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_several_gold_spans_are_the_sum_of_their_probabilities(
    logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor, smoothing: float
) -> None:
    expected = 0.0
    for row, golds in enumerate(GOLDS):
        start, end = (log_probabilities(values[row], answer_mask[row]) for values in logits)
        allowed = answer_mask[row].nonzero()[:, 0].tolist()
        likelihood = sum(math.exp(start[first]) * math.exp(end[last]) for first, last in golds)
        uniform = sum(start[position] + end[position] for position in allowed) / len(allowed)
        expected += (-(1 - smoothing) * math.log(likelihood) - smoothing * uniform) / 2 / BATCH
    loss = span_loss(*logits, padded(GOLDS, 0), padded(GOLDS, 1), answer_mask, smoothing)
    assert loss.item() == close_to(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_ends_given_the_start_have_a_distribution_for_each_gold(
    logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor, smoothing: float
) -> None:
    end_logits = torch.randn(BATCH, 3, TOKENS)
    expected = 0.0
    for row, golds in enumerate(GOLDS):
        start = log_probabilities(logits[0][row], answer_mask[row])
        ends = [log_probabilities(end_logits[row, index], answer_mask[row]) for index in range(len(golds))]
        allowed = answer_mask[row].nonzero()[:, 0].tolist()
        likelihood = sum(math.exp(start[first] + end[last]) for (first, last), end in zip(golds, ends, strict=True))
        uniform = (
            sum(start[position] + end[position] for position in allowed for end in ends) / len(allowed) / len(ends)
        )
        expected += (-(1 - smoothing) * math.log(likelihood) - smoothing * uniform) / 2 / BATCH
    loss = span_loss(logits[0], end_logits, padded(GOLDS, 0), padded(GOLDS, 1), answer_mask, smoothing)
    assert loss.item() == close_to(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("outside", [(TOKENS, TOKENS), (-1, -1), (1, 4), (7, 8), (4, TOKENS + 3)])
def test_spans_outside_the_answer_positions_are_ignored(
    logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor, smoothing: float, outside: tuple[int, int]
) -> None:
    with_outside = [GOLDS[0], [outside], [*GOLDS[2][:2], (1, 2)], GOLDS[3]]
    without = [0, 2, 3]
    inside = [GOLDS[0], GOLDS[2][:2], GOLDS[3]]
    loss = span_loss(*logits, padded(with_outside, 0), padded(with_outside, 1), answer_mask, smoothing)
    rows = (values[without] for values in logits)
    expected = span_loss(*rows, padded(inside, 0), padded(inside, 1), answer_mask[without], smoothing)
    assert loss.item() == close_to(expected.item())
    for gradient in torch.autograd.grad(loss, logits):
        assert gradient.isfinite().all()
        assert gradient[1].eq(0).all() and gradient[answer_mask == 0].eq(0).all() and gradient[0].ne(0).any()


def test_nothing_to_learn_is_no_loss(logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor) -> None:
    nowhere = torch.full((BATCH, 1), -1)
    loss = span_loss(*logits, nowhere, nowhere, answer_mask)
    assert loss.item() == 0
    assert all(gradient.eq(0).all() for gradient in torch.autograd.grad(loss, logits))
