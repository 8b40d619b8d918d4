"""How the flags of train_mrc_v2.py reach the Trainer."""

from __future__ import annotations

import math
from typing import Any

import pytest
from transformers import TrainingArguments

import train_mrc_v2
from training.trainer_arguments import training_arguments


def trainer_arguments(*words: str) -> TrainingArguments:
    return training_arguments(train_mrc_v2.parse(["--do_train", *words]))


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--evaluation_strategy epoch", "eval_strategy", "epoch"),
        ("--evaluation_strategy epoch", "do_eval", True),
        ("--do_eval", "eval_strategy", "steps"),
        ("", "eval_strategy", "no"),
        ("--no_cuda", "use_cpu", True),
        ("--warmup_ratio 0.1", "warmup_steps", 0.1),
        ("--warmup_steps 7", "warmup_steps", 7),
        ("--warmup_steps 0.2", "warmup_steps", 0.2),
        ("--per_gpu_train_batch_size 3", "per_device_train_batch_size", 3),
        ("--do_eval --per_gpu_eval_batch_size 5", "per_device_eval_batch_size", 5),
        ("--adafactor", "optim", "adafactor"),
        ("--group_by_length True --save_safetensors True --overwrite_output_dir", "output_dir", "./saved"),
        ("--logging_steps 0.1", "logging_steps", 0.1),
        ("--do_eval --eval_steps 0.25", "eval_steps", 0.25),
        ("--lr_scheduler_type reduce_lr_on_plateau --do_eval", "lr_scheduler_type", "reduce_lr_on_plateau"),
        ("--lr_scheduler_type cosine_with_restarts --warmup_cycles 3", "lr_scheduler_kwargs", {"num_cycles": 3}),
        ("--adam_beta2 0.95 --optim sgd", "adam_beta2", 0.95),
        ("--do_eval", "metric_for_best_model", "exact_match"),
        ("--do_eval --metric_for_best_model eval_loss", "greater_is_better", False),
        ("--wandb_project x", "report_to", []),
        ("--report_to tensorboard", "report_to", ["tensorboard"]),
        ("--precision fp32", "mixed_precision", "no"),
        ("--precision bf16", "mixed_precision", "bf16"),
        ("--bf16", "mixed_precision", "bf16"),
        ("--bf16", "bf16", True),
    ],
)
def test_flags_reach_the_trainer(words: str, name: str, value: Any) -> None:
    assert getattr(trainer_arguments(*words.split()), name) == value


@pytest.mark.parametrize("ratio", [0.0, 0.07, 0.5, 1.0])
def test_a_share_of_warm_up_is_the_same_number_of_steps_in_both_commands(ratio: float) -> None:
    arguments = trainer_arguments("--warmup_ratio", str(ratio))
    assert [arguments.get_warmup_steps(total) for total in (1, 10, 99)] == [math.ceil(ratio * n) for n in (1, 10, 99)]
