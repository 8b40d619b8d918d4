"""The heads by themselves: shapes, padding, and the equations of those that have them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from comparing import assert_close
from torch import nn

from models.heads import ALIASES, HEADS, default_parameters, head_class, head_name
from models.heads.convolution import ParallelConvolutions
from runtime.errors import UserError

pytestmark = pytest.mark.usefixtures("on_device")
MODULES = [name for name, head in HEADS.items() if head.place is not None]


def text() -> torch.Tensor:
    """The mask (1, 7) of a text without padding."""
    return torch.ones(1, 7, dtype=torch.bool)


def make(name: str, hidden_size: int, dropout: float = 0.0, **parameters: object) -> nn.Module:
    """A head with random weights everywhere, in biases and norms too."""
    torch.manual_seed(0)
    head = head_class(name)(hidden_size, dropout, **parameters).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return head


@torch.no_grad()
@pytest.mark.parametrize("hidden_size", [16, 31, 384, 768, 1024])
@pytest.mark.parametrize("name", MODULES)
def test_logits_have_these_shapes_and_do_not_see_padding(name: str, hidden_size: int) -> None:
    torch.manual_seed(0)
    head = head_class(name)(hidden_size, 0.1, **default_parameters(name)).eval()
    texts = [torch.randn(length, hidden_size) for length in (7, 12, 1)]
    for tokens in (12, 20):
        padded = 100 * torch.randn(3, tokens, hidden_size)
        mask = torch.zeros(3, tokens, dtype=torch.bool)
        for row, text in enumerate(texts):
            padded[row, : len(text)], mask[row, : len(text)] = text, True
        in_batch = head(padded, mask)
        assert [logits.shape for logits in in_batch] == [(3, tokens)] * 2
        for row, text in enumerate(texts):
            alone = head(text[None], torch.ones(1, len(text), dtype=torch.bool))
            for logits, expected in zip(in_batch, alone, strict=True):
                assert_close(logits[row, : len(text)], expected[0])


@pytest.mark.parametrize("shared", [True, False])
def test_cnn_sds_is_its_equations(shared: bool) -> None:
    head = make("cnn_sds", 16, shared=shared, channels=6, kernel_size=3, repeats=5)
    weights = head.state_dict()
    names = ["parts.0.part"] * 5 if shared else [f"parts.{turn}" for turn in range(5)]
    hidden_states = torch.randn(1, 7, 16)

    x = hidden_states
    for name in names:
        w = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        y = F.conv1d(x.transpose(1, 2), w["narrow.convolution.weight"], w["narrow.convolution.bias"], padding=1)
        y = F.conv1d(y, w["widen.convolution.weight"], w["widen.convolution.bias"]).transpose(1, 2)
        x = F.layer_norm(x + F.relu(y), (16,), w["norm.weight"], w["norm.bias"])
    expected = F.linear(x, weights["logits.linear.weight"], weights["logits.linear.bias"])

    assert w["narrow.convolution.weight"].shape == (6, 16, 3) and w["widen.convolution.weight"].shape == (16, 6, 1)
    assert_close(torch.stack(head(hidden_states, text()), dim=-1), expected)
    block = 6 * 16 * 3 + 6 + 16 * 6 + 16 + 2 * 16
    assert sum(map(torch.numel, head.parameters())) == block * (1 if shared else 5) + 2 * 16 + 2


def test_cnn_sds_is_that_of_the_paper_by_default() -> None:
    assert default_parameters("cnn_sds") == {"shared": True, "channels": 128, "kernel_size": 3, "repeats": 5}


def test_cnn_is_its_equations() -> None:
    head = make("cnn", 16)
    weights = head.state_dict()
    x = torch.randn(1, 7, 16)
    branches = []
    for index, padding in enumerate((0, 1, 2)):
        convolution = f"parts.0.branches.{index}.convolution"
        weight, bias = weights[f"{convolution}.weight"], weights[f"{convolution}.bias"]
        branches.append(F.relu(F.conv1d(x.transpose(1, 2), weight, bias, padding=padding)).transpose(1, 2))
    features = torch.cat(branches, dim=-1)
    assert features.shape == (1, 7, 16)
    expected = F.linear(features, weights["logits.linear.weight"], weights["logits.linear.bias"])
    assert_close(torch.stack(head(x, text()), dim=-1), expected)


@pytest.mark.parametrize("hidden_size", range(3, 40))
def test_the_widths_of_the_branches_sum_to_any_hidden_size(hidden_size: int) -> None:
    convolutions = ParallelConvolutions(hidden_size, hidden_size)
    assert sum(branch.width for branch in convolutions.branches) == hidden_size
    assert convolutions(torch.randn(1, 7, hidden_size), text()).shape == (1, 7, hidden_size)


@pytest.mark.parametrize(("name", "hidden_size", "heads"), [
    ("attention", 16, 1), ("multi_head_attention", 16, 8), ("multi_head_attention", 30, 2)
])  # fmt: skip
def test_attention_is_its_equations(name: str, hidden_size: int, heads: int) -> None:
    head = make(name, hidden_size)
    x = torch.randn(1, 7, hidden_size)
    query, key, value = (getattr(head.parts[0], part)(x[0]) for part in ("query", "key", "value"))  # (tokens, hidden)
    width = hidden_size // heads
    attended = []
    for first in range(0, hidden_size, width):
        q, k, v = (matrix[:, first : first + width] for matrix in (query, key, value))
        attended.append((q @ k.T / math.sqrt(width)).softmax(dim=-1) @ v)
    expected = head.logits.linear(x[0] + F.gelu(torch.cat(attended, dim=-1)))
    assert_close(torch.stack(head(x, text()), dim=-1)[0], expected)


def test_the_end_lstm_of_rnn_begins_where_the_start_lstm_ends() -> None:
    head = make("rnn", 16)
    x = torch.randn(1, 7, 16)
    start_features, state = head.start_lstm.lstm(x)
    end_features, _ = head.end_lstm.lstm(x, state)
    for logits, features, index in zip(head(x, text()), (start_features, end_features), (0, 1), strict=True):
        assert_close(logits, head.logits.linear(features)[..., index])


@pytest.mark.parametrize("name", MODULES)
def test_heads_train_in_bf16(name: str, device: torch.device) -> None:
    head = make(name, 16)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        start_logits, end_logits = head(torch.randn(2, 9, 16).bfloat16(), torch.ones(2, 9, dtype=torch.bool))
        (start_logits.float().log_softmax(-1)[:, 0].sum() + end_logits.float().log_softmax(-1)[:, 3].sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_aliases_are_the_names_that_users_know() -> None:
    prefix = "CustomRobertaForQuestionAnsweringWith"
    long_names = {
        "RNN": "rnn", "CNN": "cnn", "LSTMCNN": "lstm_cnn", "LSTMLN": "lstm_ln", "Attention": "attention",
        "AttentionWithLN": "attention_ln", "AttentionCNN": "attention_cnn", "CNNAttention": "cnn_attention",
        "MultiHeadAttention": "multi_head_attention",
    }  # fmt: skip
    expected = {f"{prefix}{long}Head": short for long, short in long_names.items()} | {"Bert_CNN_Answering": "cnn_sds"}
    assert expected == ALIASES
    assert {name: head_name(name) for name in (*expected, *HEADS)} == expected | {name: name for name in HEADS}
    with pytest.raises(UserError, match="--head LSTM is not a reader head; choose from: linear, cnn_sds"):
        head_name("LSTM")


def test_every_head_is_a_class_of_its_own() -> None:
    assert len(set(HEADS.values())) == len(HEADS) == 14
