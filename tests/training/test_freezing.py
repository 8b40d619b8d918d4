"""What stands still, at which steps, and that the optimizer leaves it alone."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForQuestionAnswering, PreTrainedTokenizerFast

from arguments import FreezeScheduleArguments, OptimizationArguments
from training.freezing import FreezeSchedule
from training.optimization import make_optimizer

EMBEDDING = "bert.embeddings.word_embeddings.weight"
HEAD = {"qa_outputs.weight", "qa_outputs.bias"}
STEPS_PER_EPOCH, TOTAL = 5, 15


@pytest.fixture
def model(reader_path: str) -> BertForQuestionAnswering:
    return BertForQuestionAnswering.from_pretrained(reader_path)


def _schedule(model: BertForQuestionAnswering, **flags) -> FreezeSchedule:
    return FreezeSchedule(model, FreezeScheduleArguments(**flags), STEPS_PER_EPOCH, TOTAL)


@pytest.mark.parametrize(
    ("which", "epochs", "frozen"),
    [
        ("none", 1, []),
        ("all", 1, range(15)),
        ("first", 1, range(5)),
        ("first", 0.5, range(2)),  # 2.5 steps, rounded to even
        ("first", 1.3, range(6)),
        ("first", 9, range(15)),
        ("last", 1, range(10, 15)),
        ("last", 2.2, range(4, 15)),
        ("last", 9, range(15)),
    ],
)
def test_the_backbone_stands_still_at_exactly_these_steps(
    model: BertForQuestionAnswering, which: str, epochs: float, frozen: list[int]
) -> None:
    schedule = _schedule(model, freeze_pretrained_weight=which, freeze_pretrained_weight_epoch=epochs)
    standing_still = []
    for step in range(TOTAL):
        schedule.apply(step)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained in (HEAD, set(dict(model.named_parameters())))
        if trained == HEAD:
            standing_still.append(step)
    assert standing_still == list(frozen)
    held = {name for name, _ in schedule.trained_parameters()}
    assert held == (HEAD if len(frozen) == TOTAL else set(dict(model.named_parameters())))


@pytest.mark.parametrize("which", ["none", "all", "first", "last"])
def test_word_embeddings_stand_still_throughout(model: BertForQuestionAnswering, which: str) -> None:
    schedule = _schedule(model, freeze_pretrained_weight=which, freeze_embedding_layer_weight=True)
    for step in range(TOTAL):
        schedule.apply(step)
        assert not model.get_parameter(EMBEDDING).requires_grad
        others = [p.requires_grad for n, p in model.bert.named_parameters() if n != EMBEDDING.removeprefix("bert.")]
        assert set(others) == {step not in schedule.frozen_steps}
    held = {name for name, _ in schedule.trained_parameters()}
    assert held == (HEAD if which == "all" else set(dict(model.named_parameters())) - {EMBEDDING})


def test_a_frozen_weight_is_neither_moved_nor_decayed_and_its_moments_wait(
    model: BertForQuestionAnswering, bert_tokenizer: PreTrainedTokenizerFast
) -> None:
    """Frozen at first, then trained, then frozen again by hand: what the optimizer holds does not change it."""
    schedule = _schedule(model, freeze_pretrained_weight="first", freeze_pretrained_weight_epoch=0.4)
    arguments = OptimizationArguments(learning_rate=0.01, weight_decay=0.5)
    optimizer = make_optimizer(schedule.trained_parameters(), arguments, "bert")
    tokens = bert_tokenizer(["서울은 수도이다"], return_tensors="pt")
    weight = model.get_parameter("bert.encoder.layer.0.attention.self.query.weight")

    def train(step: int) -> torch.Tensor:
        schedule.apply(step)
        outputs = model(**tokens, start_positions=torch.tensor([1]), end_positions=torch.tensor([2]))
        outputs.loss.backward()
        head = model.qa_outputs.weight.detach().clone()
        optimizer.step()
        optimizer.zero_grad()
        assert not torch.equal(model.qa_outputs.weight, head)
        return weight.detach().clone()

    initial = weight.detach().clone()
    assert torch.equal(train(0), initial) and torch.equal(train(1), initial)
    assert weight not in optimizer.state
    trained = train(2)
    assert not torch.equal(trained, initial)
    moments = {name: value.clone() for name, value in optimizer.state[weight].items()}
    assert torch.equal(train(0), trained)
    assert all(torch.equal(optimizer.state[weight][name], value) for name, value in moments.items())
    assert not torch.equal(train(2), trained)


@pytest.mark.parametrize(
    ("flags", "first_step", "said"),
    [
        ({}, 0, []),
        ({"freeze_pretrained_weight": "first"}, 0, ["frozen until step 5 of 15: the backbone", "thawed at step 5"]),
        ({"freeze_pretrained_weight": "first"}, 3, ["frozen until step 5 of 15: the backbone", "thawed at step 5"]),
        ({"freeze_pretrained_weight": "first"}, 5, []),
        ({"freeze_pretrained_weight": "all"}, 0, ["frozen until the end: the backbone"]),
        ({"freeze_pretrained_weight": "last"}, 0, ["to be frozen from step 10 of 15: the backbone",
                                                   "frozen until the end: the backbone"]),
        ({"freeze_pretrained_weight": "last"}, 12, ["frozen until the end: the backbone"]),
        ({"freeze_embedding_layer_weight": True}, 0, ["frozen until the end: the word embeddings"]),
        ({"freeze_embedding_layer_weight": True, "freeze_pretrained_weight": "first"}, 2,
         ["frozen until the end: the word embeddings", "frozen until step 5 of 15: the backbone", "thawed at step 5"]),
    ],
)  # fmt: skip
def test_each_change_is_said_once_resumed_or_not(
    model: BertForQuestionAnswering, log_lines: list[str], flags: dict, first_step: int, said: list[str]
) -> None:
    schedule = _schedule(model, **flags)
    for step in range(first_step, TOTAL):
        for _ in range(2):  # batches of a step
            schedule.apply(step)
    assert len(log_lines) == len(said)
    assert all(line.startswith(f"INFO {text}") for line, text in zip(log_lines, said, strict=True))
    sizes = {name: weight.numel() for name, weight in model.bert.named_parameters()}
    words = sizes["embeddings.word_embeddings.weight"]
    backbone = sum(sizes.values()) - (words if "freeze_embedding_layer_weight" in flags else 0)
    for line in log_lines:
        if "to be" not in line:
            assert line.endswith(f"({words if 'word' in line else backbone:,} weights)")
