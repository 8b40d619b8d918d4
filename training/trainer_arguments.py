"""From the flags of train_mrc_v2.py to what Transformers' Trainer takes."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import INTEGRATION_TO_CALLBACK

from runtime.device import default_device, resolve_precision
from runtime.errors import UserError

_OURS_TO_REPORT = ("auto", "none", "wandb")


def training_arguments(args: Any) -> TrainingArguments:
    """Return the Trainer's own arguments, precision resolved; :class:`UserError` for values that it refuses.

    ``args`` are those of train_mrc_v2.py. What they leave open, or do not know, is the Trainer's default.
    """
    trackers = dict.fromkeys((*_OURS_TO_REPORT, *INTEGRATION_TO_CALLBACK))
    if args.report_to not in trackers:
        raise UserError(f"--report_to {args.report_to} is not a tracker; choose from: {', '.join(trackers)}")
    device = torch.device("cpu") if args.use_cpu else default_device()
    precision = resolve_precision("bf16" if args.bf16 else "fp16" if args.fp16 else args.precision, device)
    given = {f.name: getattr(args, f.name) for f in fields(TrainingArguments) if hasattr(args, f.name)}
    values = {name: value for name, value in given.items() if value is not None}
    values |= {
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "output_dir": args.run_dir,
        "push_to_hub": False,  # the start of a run does it, for every command alike
        "use_cpu": device.type == "cpu",  # else bf16 is refused on a CPU
        "report_to": "none" if args.report_to in _OURS_TO_REPORT else args.report_to,
        # TrainingArguments takes what is below 1 for a share of the steps, and 1 for a step
        "warmup_steps": args.warmup_steps or min(args.warmup_ratio, math.nextafter(1, 0)),
    }
    if args.lr_scheduler_type == "cosine_with_restarts" and args.lr_scheduler_kwargs is None:
        values["lr_scheduler_kwargs"] = {"num_cycles": args.warmup_cycles}
    if args.do_eval and args.metric_for_best_model is None:
        values["metric_for_best_model"] = "loss" if args.prediction_loss_only else "exact_match"
    if args.adafactor:
        values["optim"] = "adafactor"
    try:
        arguments = TrainingArguments(**values)
    except (ValueError, TypeError) as error:
        raise UserError(f"the Trainer refuses these flags: {' '.join(str(error).split())}") from None
    arguments.mixed_precision = {"fp32": "no"}.get(precision, precision)  # whatever accelerate launch says
    return arguments
