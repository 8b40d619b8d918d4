"""AdamW and its learning rate schedule, as the flags ask for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import get_scheduler

from models.layers import layer_numbers
from runtime.log import get_logger
from training.arguments import OptimizationArguments

logger = get_logger(__name__)


def make_optimizer(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], arguments: OptimizationArguments, base_model_prefix: str
) -> torch.optim.AdamW:
    """Return AdamW over a reader's named ``parameters``, in the groups of :func:`parameter_groups`."""
    groups = parameter_groups(parameters, arguments, base_model_prefix)
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, eps=arguments.adam_epsilon, fused=True)


def parameter_groups(
    parameters: Iterable[tuple[str, torch.nn.Parameter]], arguments: OptimizationArguments, base_model_prefix: str
) -> list[dict[str, Any]]:
    """Return a reader's named ``parameters`` in groups for an optimizer, by peak learning rate and weight decay.

    Biases and normalisation weights are not decayed. The first two groups have ``learning_rate`` itself, so the first
    group's is the one to report.
    """
    parameters = list(parameters)
    rates = learning_rates([name for name, _ in parameters], arguments, base_model_prefix)
    decays = (arguments.weight_decay, 0.0)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {
        (arguments.learning_rate, decay): [] for decay in decays
    }
    for name, parameter in parameters:
        # all matrices and tables are decayed, all vectors (biases, scales) are not
        decay = decays[0] if parameter.ndim > 1 else decays[1]
        groups.setdefault((rates[name], decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def learning_rates(names: Sequence[str], arguments: OptimizationArguments, base_model_prefix: str) -> dict[str, float]:
    """Return the peak learning rate of each parameter of a reader, by name.

    The head, all that is not under ``base_model_prefix``, has ``head_learning_rate``. The encoder's topmost layer has
    ``learning_rate``, every other ``layerwise_lr_decay`` times the rate of the layer above it, and the embeddings,
    which are below them all, the lowest (Howard and Ruder 2018, section 3.1). What is neither a layer's nor an
    embedding belongs to the top.
    """
    layers = layer_numbers([name for name in names if name.startswith(f"{base_model_prefix}.")])
    top = max(layers.values(), default=-1)
    head_rate = arguments.head_learning_rate or arguments.learning_rate
    return {
        name: arguments.learning_rate * arguments.layerwise_lr_decay ** (top - layers.get(name, top))
        if name.startswith(f"{base_model_prefix}.")
        else head_rate
        for name in names
    }


def count_steps(arguments: OptimizationArguments, batches_per_epoch: int) -> int:
    """Return the optimizer steps of a run: ``max_steps``, else those of its epochs, each ending with a step."""
    if arguments.max_steps > 0:
        return arguments.max_steps
    steps_per_epoch = math.ceil(batches_per_epoch / arguments.gradient_accumulation_steps)
    return math.ceil(arguments.num_train_epochs * steps_per_epoch)


def make_scheduler(optimizer: torch.optim.Optimizer, arguments: OptimizationArguments, total_steps: int) -> Any:
    """Return the schedule over ``total_steps`` optimizer steps; warm-up comes from steps, else from the ratio."""
    warmup_steps = arguments.warmup_steps or math.ceil(arguments.warmup_ratio * total_steps)
    warn_of_long_warmup(warmup_steps, total_steps)
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


def warn_of_long_warmup(warmup_steps: int, total_steps: int) -> None:
    """Warn where a warm-up leaves no optimizer step at the peak learning rate."""
    if warmup_steps >= total_steps:
        logger.warning(
            "the warm-up takes %d optimizer steps and the run has %d: the learning rate ends at %.0f %% of its peak; "
            "shorten the warm-up or train longer",
            warmup_steps, total_steps, 100 * (total_steps - 1) / warmup_steps,
        )  # fmt: skip
