"""AdamW's groups, the rate and decay of each parameter, and the shapes of the learning rate, against formulas."""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, BartConfig, BertConfig, DebertaV2Config, ElectraConfig, FunnelConfig

import train_mrc
from arguments import OptimizationArguments
from models.loading import encoder_class_of
from runtime.tracking import read_metrics
from training.optimization import learning_rates, make_optimizer, make_scheduler

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


SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 20}
RATE, HEAD_RATE, DECAY = 1e-3, 5e-3, 0.5
LOWEST, LOWER, TOP = RATE * DECAY**2, RATE * DECAY, RATE
EXPECTED = {
    "bert": (BertConfig(**SIZES), {
        "bert.embeddings.word_embeddings.weight": LOWEST,
        "bert.embeddings.LayerNorm.bias": LOWEST,
        "bert.encoder.layer.0.attention.self.query.weight": LOWER,
        "bert.encoder.layer.1.output.LayerNorm.weight": TOP,
        "bert.pooler.dense.weight": TOP,
    }),
    "electra": (ElectraConfig(embedding_size=4, **SIZES), {
        "electra.embeddings.position_embeddings.weight": LOWEST,
        "electra.embeddings_project.weight": LOWEST,
        "electra.encoder.layer.0.intermediate.dense.bias": LOWER,
        "electra.encoder.layer.1.intermediate.dense.bias": TOP,
    }),
    "deberta": (DebertaV2Config(relative_attention=True, conv_kernel_size=3, norm_rel_ebd="layer_norm", **SIZES), {
        "deberta.embeddings.LayerNorm.weight": LOWEST,
        "deberta.encoder.rel_embeddings.weight": LOWEST,
        "deberta.encoder.layer.0.attention.self.query_proj.weight": LOWER,
        "deberta.encoder.layer.1.attention.self.query_proj.weight": TOP,
        "deberta.encoder.LayerNorm.weight": TOP,
        "deberta.encoder.conv.conv.weight": TOP,
    }),
    "funnel": (FunnelConfig(
        block_sizes=[2], num_decoder_layers=0, d_model=8, n_head=2, d_head=4, d_inner=8, vocab_size=20
    ), {
        "funnel.embeddings.word_embeddings.weight": LOWEST,
        "funnel.encoder.blocks.0.0.attention.q_head.weight": LOWER,
        "funnel.encoder.blocks.0.1.attention.q_head.weight": TOP,
    }),
    "model": (BartConfig(
        d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=8, decoder_ffn_dim=8, vocab_size=20,
    ), {
        "model.shared.weight": LOWEST,
        "model.encoder.embed_positions.weight": LOWEST,
        "model.encoder.layers.0.fc1.weight": LOWER,
        "model.decoder.layers.0.fc1.weight": TOP,
    }),
}  # fmt: skip


@pytest.mark.parametrize("prefix", EXPECTED)
def test_the_learning_rate_falls_from_layer_to_layer(prefix: str) -> None:
    config, expected = EXPECTED[prefix]
    names = [f"{prefix}.{name}" for name, _ in encoder_class_of(config)(config).named_parameters()]
    heads = ["qa_outputs.weight", "head.parts.0.part.narrow.convolution.weight", "head.parts.3.norm.weight"]
    arguments = OptimizationArguments(learning_rate=RATE, head_learning_rate=HEAD_RATE, layerwise_lr_decay=DECAY)
    rates = learning_rates([*names, *heads], arguments, prefix)
    assert {name: rates[name] for name in expected} == expected
    assert [rates[name] for name in heads] == [HEAD_RATE] * 3
    for name in names:  # written out: what has a layer's number is of that layer
        if "layer.0." in name or "layer.1." in name:
            assert rates[name] == (LOWER if "layer.0." in name else TOP), name


def test_by_default_all_parameters_learn_alike() -> None:
    names = ["bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.weight", "qa_outputs.bias"]
    rates = learning_rates(names, OptimizationArguments(learning_rate=RATE), "bert")
    assert rates == dict.fromkeys(names, RATE)


def test_groups_hold_every_parameter_once_with_its_rate_and_decay() -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(EXPECTED["bert"][0], add_pooling_layer=False)
    parameters = [(f"bert.{name}", parameter) for name, parameter in model.named_parameters()]
    parameters += [("head.linear.weight", torch.nn.Parameter(torch.zeros(2, 8)))]
    arguments = OptimizationArguments(
        learning_rate=RATE, head_learning_rate=HEAD_RATE, layerwise_lr_decay=DECAY, weight_decay=0.3
    )
    optimizer = make_optimizer(parameters, arguments, "bert")
    groups = {
        id(value): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for value in group["params"]
    }
    assert len(groups) == len(parameters) == sum(len(group["params"]) for group in optimizer.param_groups)
    rates = learning_rates([name for name, _ in parameters], arguments, "bert")
    for name, parameter in parameters:
        assert groups[id(parameter)] == (rates[name], 0.3 if parameter.ndim > 1 else 0.0), name
    assert [group["lr"] for group in optimizer.param_groups[:2]] == [RATE, RATE]  # what a run reports


def test_a_step_moves_each_part_at_its_own_pace(reader_path: str, dataset_path: str, tmp_path: Path) -> None:
    """AdamW's first step moves a weight by its learning rate, whatever the gradient."""
    train_mrc.main(
        f"--model {reader_path} --dataset_path {dataset_path} --output_dir {tmp_path / 'run'} --max_seq_len 128 "
        f"--cache_dir {tmp_path / 'cache'} --stride_len 16 --max_steps 1 --precision fp32 --weight_decay 0 "
        f"--lr_scheduler_type constant --learning_rate {RATE} --layerwise_lr_decay {DECAY} "
        f"--head_learning_rate {HEAD_RATE} --logging_steps 1".split()
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (Path(reader_path), tmp_path / "run/best"))
    for name, rate in {
        "bert.embeddings.position_embeddings.weight": LOWEST,
        "bert.encoder.layer.0.output.dense.weight": LOWER,
        "bert.encoder.layer.1.output.dense.weight": TOP,
        "qa_outputs.weight": HEAD_RATE,
    }.items():
        assert (after[name] - before[name]).abs().max().item() == pytest.approx(rate, rel=0.02)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[0]["learning_rate"] == RATE
