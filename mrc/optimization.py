"""AdamW and its learning rate schedule, as the flags ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import get_scheduler

from arguments import OptimizationArguments


def make_optimizer(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], arguments: OptimizationArguments
) -> torch.optim.AdamW:
    """Return AdamW over named ``parameters``; biases and normalisation weights are not decayed."""
    decayed, exempt = [], []
    for _, parameter in parameters:
        # all matrices and tables are decayed, all vectors (biases, scales) are not
        (decayed if parameter.ndim > 1 else exempt).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": arguments.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, eps=arguments.adam_epsilon, fused=True)


def make_scheduler(optimizer: torch.optim.Optimizer, arguments: OptimizationArguments, total_steps: int) -> Any:
    """Return the schedule over ``total_steps`` optimizer steps; warm-up comes from steps, else from the ratio."""
    warmup_steps = arguments.warmup_steps or round(arguments.warmup_ratio * total_steps)
    specific = (
        {"num_cycles": arguments.warmup_cycles} if arguments.lr_scheduler_type == "cosine_with_restarts" else None
    )
    return get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        num_warmup_steps=warmup_steps,
        num_training_steps=total_steps,
        scheduler_specific_kwargs=specific,
    )
