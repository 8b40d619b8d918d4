"""Every flag of Transformers' ``TrainingArguments`` beside ours, for the command that trains with its Trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from transformers import TrainingArguments
from transformers.integrations import INTEGRATION_TO_CALLBACK

from arguments import OptimizationArguments, RunArguments
from runtime.device import default_device, resolve_precision
from runtime.errors import UserError

_OURS_TO_REPORT = ("auto", "none", "wandb")


def _flag(default: Any, help: str, *aliases: str) -> Any:
    return field(default=default, metadata={"help": help, "aliases": [f"--{alias}" for alias in aliases]})


@dataclass
class TrainerArguments(RunArguments, OptimizationArguments, TrainingArguments):
    """The Trainer: its every flag. Where another command has one of the same name, meaning and default are the same.

    These are the values as given; :meth:`training_arguments` makes of them what a Trainer takes. Flags that
    transformers 5 dropped are understood.
    """

    _argument_group_name = "the run, its optimisation and the Trainer"

    logging_steps: float = _flag(10, "Optimizer steps between two lines of metrics.jsonl; below 1 a share of all.")
    report_to: str = _flag("auto", "Tracker beside metrics.jsonl: auto, none, wandb, or an integration of the Trainer.")
    per_device_eval_batch_size: int = _flag(32, "Features per evaluation forward pass.", "per_gpu_eval_batch_size")
    per_device_train_batch_size: int = _flag(16, "Features per forward and backward pass.", "per_gpu_train_batch_size")
    lr_scheduler_type: str = _flag("linear", "Shape of the learning rate over the optimizer steps.")
    warmup_steps: float = _flag(0, "Optimizer steps of linear warm-up; below 1 a share of all.")
    eval_strategy: Literal["no", "steps", "epoch"] | None = _flag(
        None,
        "Evaluate every eval_steps, after every epoch, or, with --do_eval and no, at the end "
        "(default: steps with --do_eval).",
        "evaluation_strategy",
    )
    eval_steps: float = _flag(100, "Optimizer steps between evaluations; below 1 a share of all.")
    metric_for_best_model: str | None = _flag(
        None, "What best/ is the best by: exact_match, f1, loss, … (default: exact_match)."
    )
    use_cpu: bool = _flag(False, "Train on the CPU even where there is a GPU.", "no_cuda")
    adafactor: bool = _flag(False, "Former flag: the same as --optim adafactor.")
    group_by_length: bool = _flag(True, "Former flag: batches hold features of similar length anyway.")
    save_safetensors: bool = _flag(True, "Former flag: weights are saved as safetensors anyway.")

    def __post_init__(self) -> None:
        OptimizationArguments.__post_init__(self)  # TrainingArguments' own would set up the device
        if self.eval_strategy is None:
            self.eval_strategy = "steps" if self.do_eval else "no"
        self.do_eval = self.do_eval or self.eval_strategy != "no"

    def training_arguments(self) -> TrainingArguments:
        """Return the Trainer's own arguments, precision resolved; :class:`UserError` for values that it refuses."""
        trackers = dict.fromkeys((*_OURS_TO_REPORT, *INTEGRATION_TO_CALLBACK))
        if self.report_to not in trackers:
            raise UserError(f"--report_to {self.report_to} is not a tracker; choose from: {', '.join(trackers)}")
        device = torch.device("cpu") if self.use_cpu else default_device()
        precision = resolve_precision("bf16" if self.bf16 else "fp16" if self.fp16 else self.precision, device)
        values = {f.name: getattr(self, f.name) for f in fields(TrainingArguments)}
        values |= {
            "bf16": precision == "bf16",
            "fp16": precision == "fp16",
            "output_dir": self.run_dir,
            "use_cpu": device.type == "cpu",  # else bf16 is refused on a CPU
            "report_to": "none" if self.report_to in _OURS_TO_REPORT else self.report_to,
            # TrainingArguments takes what is below 1 for a share of the steps, and 1 for a step
            "warmup_steps": self.warmup_steps or min(self.warmup_ratio, math.nextafter(1, 0)),
        }
        if self.lr_scheduler_type == "cosine_with_restarts" and self.lr_scheduler_kwargs is None:
            values["lr_scheduler_kwargs"] = {"num_cycles": self.warmup_cycles}
        if self.do_eval and self.metric_for_best_model is None:
            values["metric_for_best_model"] = "exact_match"
        if self.adafactor:
            values["optim"] = "adafactor"
        try:
            arguments = TrainingArguments(**values)
        except (ValueError, TypeError) as error:
            raise UserError(f"the Trainer refuses these flags: {' '.join(str(error).split())}") from None
        arguments.mixed_precision = {"fp32": "no"}.get(precision, precision)  # whatever accelerate launch says
        return arguments
