"""Flags of training: length, batches, AdamW, schedule, evaluation, checkpoints and what stays frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from runtime.flags import changes, fields_by_name, flag, flag_group, only_if, spelling_of

_END_OF_POLYNOMIAL = 1e-7  # as transformers.get_scheduler has it

_WITH_WARMUP = only_if(
    lambda options: options.lr_scheduler_type != "constant", "constant has no warm-up: constant_with_warmup has"
)
_WITHOUT_MAX_STEPS = only_if(lambda options: options.max_steps <= 0, "--max_steps replaces it")


@flag_group("optimisation")
class ScheduleArguments:
    """How long is trained, and how fast."""

    num_train_epochs: float = flag(
        3.0,
        "Passes over the training features; fractions allowed.",
        above=0,
        read_if=_WITHOUT_MAX_STEPS,
    )
    max_steps: int = flag(-1, "Optimizer steps in all; replaces num_train_epochs when above 0.")
    gradient_accumulation_steps: int = flag(
        1, "Batches of one optimizer step, in which all examples weigh the same.", at_least=1, at_most=2**16
    )
    learning_rate: float = flag(3e-5, "Peak learning rate of AdamW.", above=0)
    weight_decay: float = flag(0.01, "Decoupled weight decay; biases and layer norms are exempt.", at_least=0)
    adam_epsilon: float = flag(1e-8, "Epsilon of AdamW.", above=0)
    max_grad_norm: float = flag(1.0, "Gradients are scaled down to this norm; 0 switches clipping off.", at_least=0)
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = flag("linear", "Shape of the learning rate over the optimizer steps.")
    warmup_steps: int = flag(0, "Optimizer steps of linear warm-up.", at_least=0, read_if=_WITH_WARMUP)
    warmup_ratio: float = flag(
        0.0,
        "Warm-up as a share of all optimizer steps, 0 to 1.",
        at_least=0,
        at_most=1,
        read_if=[only_if(lambda options: options.warmup_steps == 0, "the warm-up is given in steps"), _WITH_WARMUP],
    )
    warmup_cycles: int = flag(
        1,
        "Restarts of cosine_with_restarts.",
        at_least=1,
        at_most=1_000,
        read_if=only_if(
            lambda options: options.lr_scheduler_type == "cosine_with_restarts",
            "only --lr_scheduler_type cosine_with_restarts restarts",
        ),
    )

    def contradictions(self) -> Iterator[str]:
        """Yield a rate that would have to rise to where its schedule ends."""
        if self.lr_scheduler_type == "polynomial" and self.learning_rate <= _END_OF_POLYNOMIAL:
            rate = spelling_of(fields_by_name(self)["learning_rate"])
            yield f"--lr_scheduler_type polynomial ends at a rate of {_END_OF_POLYNOMIAL}: give a higher --{rate}"


@flag_group("optimisation")
class OptimizationArguments(ScheduleArguments):
    """A schedule of an encoder with a head of its own."""

    per_device_train_batch_size: int = flag(16, "Features per forward and backward pass.", at_least=1, at_most=2**16)
    head_learning_rate: float | None = flag(None, "Peak learning rate of the head (default: --learning_rate).", above=0)
    layerwise_lr_decay: float = flag(
        1.0,
        "Each layer of the encoder learns this times as fast as the one above it; the embeddings slowest.",
        above=0,
        at_most=1,
    )


IF_EVALUATED = only_if(lambda options: options.do_eval, "nothing is evaluated: add --do_eval")


@flag_group("evaluation")
class PatienceArguments:
    """When a run stops for its evaluations."""

    early_stopping_patience: int | None = flag(
        None, "Stop after this many evaluations in a row that gave nothing better to keep.", at_least=1
    )


@flag_group("evaluation")
@changes(
    "early_stopping_patience",
    also_if=only_if(lambda options: options.do_eval, "nothing is evaluated while training: see --do_eval"),
)
class EvaluationArguments(PatienceArguments):
    """When a run is evaluated."""

    do_eval: bool = flag(False, "Evaluate while training and keep the best checkpoints.")
    eval_strategy: Literal["steps", "epoch"] = flag(
        "steps", "Evaluate and save state every eval_steps, or after every epoch.", aliases=["evaluation_strategy"]
    )
    eval_steps: int = flag(
        100,
        "Optimizer steps between evaluations, and between resumable states.",
        above=0,
        read_if=only_if(
            lambda options: options.eval_strategy != "epoch", "--eval_strategy epoch evaluates once an epoch"
        ),
    )


@flag_group("evaluation")
class CheckpointArguments:
    """Which checkpoints are kept."""

    save_total_limit: int = flag(
        3,
        "Checkpoints kept at most, 0 for all; the best by loss and the best by exact match always stay.",
        at_least=0,
        read_if=only_if(lambda options: options.do_eval, "checkpoints are chosen by evaluation: add --do_eval"),
    )


@flag_group("optimisation")
class SmoothingArguments:
    """How sure a reader should be."""

    label_smoothing_factor: float = flag(
        0.0, "Share of the target spread over all positions that can be answers.", at_least=0, at_most=1
    )


@flag_group("freezing")
class FreezeScheduleArguments:
    """What of a reader stands still, and for how many epochs."""

    freeze_pretrained_weight: Literal["none", "all", "first", "last"] = flag(
        "none", "Freeze the backbone: never, all epochs, or the first or last --freeze_pretrained_weight_epoch epochs."
    )
    freeze_pretrained_weight_epoch: float = flag(
        1.0,
        "Epochs (fractions allowed) that first and last freeze.",
        above=0,
        read_if=only_if(
            lambda freezing: freezing.freeze_pretrained_weight in ("first", "last"),
            "only --freeze_pretrained_weight first or last counts epochs",
        ),
    )
    freeze_embedding_layer_weight: bool = flag(
        False, "Freeze the word embeddings for the whole run; large vocabularies train much faster."
    )


@flag_group("freezing")
class FreezeArguments:
    """Which weights stand still at first, and for how long."""

    freeze_type: str | None = flag(
        None,
        "What stays frozen at first: embeddings, backbone, or all weights under a name, such as roberta.encoder.",
        instead_of=["freeze_pretrained_weight", "freeze_embedding_layer_weight"],
    )
    freeze_epoch: float = flag(
        1.0,
        "Epochs (fractions allowed) until it thaws.",
        above=0,
        instead_of=["freeze_pretrained_weight_epoch"],
        read_if=only_if(lambda freezing: freezing.freeze_type is not None, "add --freeze_type"),
    )
