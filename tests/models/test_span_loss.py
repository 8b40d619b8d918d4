"""The span loss against PyTorch's own cross-entropy, and against its formula written out for each gold span."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_close, close_to

from models.span_loss import shared_span_loss, span_loss

on_device = pytest.mark.usefixtures("on_device")
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


@on_device
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


@on_device
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


@on_device
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


@on_device
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


@on_device
def test_nothing_to_learn_is_no_loss(logits: tuple[torch.Tensor, ...], answer_mask: torch.Tensor) -> None:
    nowhere = torch.full((BATCH, 1), -1)
    loss = span_loss(*logits, nowhere, nowhere, answer_mask)
    assert loss.item() == 0
    assert all(gradient.eq(0).all() for gradient in torch.autograd.grad(loss, logits))


ROWS, LENGTH = 6, 11


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Random logits; the mask leaves out a question (tokens 1 to 3) and some padding; labels lie inside it."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(ROWS, LENGTH, dtype=torch.long)
    mask[:, 1:4] = 0
    for row in range(ROWS):
        mask[row, LENGTH - row :] = 0
    positions = torch.tensor([[0, 4, 5, 4, 6, 0], [0, 5, 6, 7, 6, 0]])
    logits = 3 * torch.randn(2, ROWS, LENGTH, generator=generator)
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


@pytest.mark.parametrize("outside", [-1, 2, LENGTH, LENGTH + 500])
def test_a_position_that_cannot_be_an_answer_is_ignored(batch: dict[str, torch.Tensor], outside: int) -> None:
    changed = batch | {name: batch[name].clone() for name in ("start_positions", "end_positions")}
    changed["start_positions"][1] = changed["end_positions"][1] = outside
    loss = span_loss(**changed, label_smoothing=0.1)
    rest = torch.arange(ROWS) != 1
    torch.testing.assert_close(loss, torch_loss({name: value[rest] for name, value in batch.items()}, 0.1))
    gradient = torch.autograd.grad(loss, changed["start_logits"])[0]
    assert gradient.isfinite().all() and not gradient[1].any()


def test_nothing_to_learn_from_is_a_loss_of_zero(batch: dict[str, torch.Tensor]) -> None:
    nowhere = torch.full((ROWS,), -1)
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


# ---------------------------------------------------------------------------------------------- several passages

QUESTIONS = [3, 7, 3, 3, 7, 9]  # of the rows; 3 has an answer in two windows, 7 in none, 9 in its only one
WINDOWS = [[(4, 5)], [(0, 0)], [(0, 0)], [(6, 6), (4, 7)], [(0, 0)], [(5, 5)]]


def by_hand(batch: dict[str, torch.Tensor], logits: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Equation 3 of Clark and Gardner for start and end of each span, over lists of logits."""
    total = torch.zeros(())
    for question in set(QUESTIONS):
        rows = [row for row in range(ROWS) if QUESTIONS[row] == question]
        allowed = [(row, token) for row in rows for token in batch["answer_mask"][row].nonzero()[:, 0].tolist()]
        logs = [values - torch.stack([values[place] for place in allowed]).exp().sum().log() for values in logits]
        spans = [(row, *span) for row in rows for span in WINDOWS[row] if span != (0, 0)]
        spans = spans or [(row, 0, 0) for row in rows]
        likelihood = sum((logs[0][row, start] + logs[1][row, end]).exp() for row, start, end in spans)
        uniform = sum(logs[0][place] + logs[1][place] for place in allowed) / len(allowed)
        total = total + len(rows) * (-(1 - smoothing) * likelihood.log() - smoothing * uniform) / 2
    return total / ROWS


@on_device
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_softmax_runs_over_all_windows_of_a_question(batch: dict[str, torch.Tensor], smoothing: float) -> None:
    logits = torch.stack([batch["start_logits"], batch["end_logits"]]).requires_grad_()
    labels = torch.tensor([row + [(-1, -1)] * (2 - len(row)) for row in WINDOWS])  # (batch, golds, 2)
    loss = shared_span_loss(
        *logits,
        labels[..., 0],
        labels[..., 1],
        batch["answer_mask"],
        torch.zeros(ROWS, dtype=torch.long),
        torch.tensor(QUESTIONS),
        smoothing,
    )
    expected = by_hand(batch, logits, smoothing)
    assert loss.item() == close_to(expected.item())
    (gradient,), (expected_gradient,) = torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits)
    assert_close(gradient, expected_gradient)
    if not smoothing:
        assert gradient[0, 2, 0] > 0  # "no answer" of a window without one is held down, as its other spans are
        assert (gradient[0, [1, 4], 0] < 0).any()  # and pushed up where no window has one


@on_device
def test_questions_of_one_window_each_have_the_usual_loss(batch: dict[str, torch.Tensor]) -> None:
    labels = [batch[name] for name in ("start_positions", "end_positions", "answer_mask")]
    logits = batch["start_logits"], batch["end_logits"]
    cls_index = torch.zeros(ROWS, dtype=torch.long)
    shared = shared_span_loss(*logits, *labels, cls_index, torch.arange(ROWS))
    assert shared.item() == close_to(span_loss(*logits, *labels).item())


@on_device
def test_a_passage_is_selected_by_the_log_sum_of_its_starts(batch: dict[str, torch.Tensor]) -> None:
    """The loss of the start is that of DPR's reader: of the passage among the passages, and of the start in it."""
    questions, rows = torch.zeros(3, dtype=torch.long), slice(0, 3)
    mask, start_logits = batch["answer_mask"][rows], batch["start_logits"][rows]
    golds = torch.tensor([[0], [5], [0]])
    flat = torch.zeros_like(start_logits)
    loss = shared_span_loss(start_logits, flat, golds, golds, mask, questions, questions)
    inner = start_logits.masked_fill(mask == 0, float("-inf"))
    selection = F.cross_entropy(inner.logsumexp(-1)[None], torch.tensor([1]))
    span = F.cross_entropy(inner[1:2], torch.tensor([5]))
    assert loss.item() == close_to((selection + span + mask.sum().log()).item() / 2)
