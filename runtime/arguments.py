"""Flags of every run, whatever it is about: where it writes, how it is followed, seed and precision."""

from __future__ import annotations

import os
from typing import Literal

from runtime.flags import flag, flag_group, only_if
from runtime.output import fault_of_run_name

_ONLY_WANDB = only_if(lambda run: run.report_to in ("auto", "wandb"), "this --report_to does not report to wandb")


@flag_group("run")
class OutputArguments:
    """Where results go."""

    output_dir: str = flag("./saved", "Folder for everything the run writes.", writes="folder")


@flag_group("run")
class RunArguments(OutputArguments):
    """A training run: its folder, how it is named, followed and continued."""

    overwrite_output_dir: bool = flag(
        False,
        "Start again in a folder that already holds a run.",
        read_if=only_if(lambda run: run.resume_from_checkpoint is None, "--resume_from_checkpoint continues the run"),
    )
    resume_from_checkpoint: str | None = flag(
        None, "Continue the run in output_dir: 'true' for its newest state, or the folder of one state."
    )
    run_name: str | None = flag(
        None,
        "Name of the run: of its own folder in output_dir (and logging_dir), and in wandb (default: no such folder).",
        fault=fault_of_run_name,
    )
    description: str | None = flag(None, "Free text kept with the run's arguments and shown in wandb.")
    logging_dir: str | None = flag(
        None, "Folder for metrics.jsonl and wandb files (default: output_dir).", writes="folder"
    )
    logging_steps: int = flag(10, "Optimizer steps between two lines of metrics.jsonl.", above=0)
    report_to: Literal["auto", "none", "wandb"] = flag(
        "auto", "Tracker beside metrics.jsonl; auto is wandb when --wandb_project or --wandb_entity is given."
    )
    wandb_project: str | None = flag(
        None, "wandb project; online when logged in, else offline, never asks.", read_if=_ONLY_WANDB
    )
    wandb_entity: str | None = flag(None, "wandb team or user that owns the project.", read_if=_ONLY_WANDB)

    def settle(self) -> None:
        """Read 'false' as no folder to continue from."""
        if (self.resume_from_checkpoint or "").lower() in ("false", "no"):
            self.resume_from_checkpoint = None

    @property
    def run_dir(self) -> str:
        """The run's own folder: ``run_name`` in ``output_dir``, or ``output_dir`` itself."""
        return self.output_dir if self.run_name is None else os.path.join(self.output_dir, self.run_name)

    @property
    def log_dir(self) -> str:
        """The folder of metrics.jsonl: ``run_name`` in ``logging_dir``, ``logging_dir`` itself, or the run's own."""
        if self.logging_dir is None:
            return self.run_dir
        return self.logging_dir if self.run_name is None else os.path.join(self.logging_dir, self.run_name)


@flag_group("run")
class SeedArguments:
    """What makes a run repeatable."""

    seed: int = flag(42, "Seed of initialisation, dropout and data order.", at_least=0, at_most=2**32 - 1)


@flag_group("run")
class ComputeArguments(SeedArguments):
    """How a model is computed."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = flag(
        "auto",
        "Arithmetic of the model; auto is bf16 where the device computes it natively, else fp32.",
    )


@flag_group("run")
class BackendArguments:
    """What computes a model that is not trained."""

    backend: Literal["torch", "openvino"] = flag(
        "torch",
        "What computes encoders; openvino: in int8 on a CPU, two to three times as fast, answers differ a little "
        "(pip install openvino nncf).",
    )


_PUSHES = only_if(lambda run: run.push_to_hub, "nothing is uploaded: add --push_to_hub")


@flag_group("hub")
class HubArguments:
    """Whether a trained model goes to the Hugging Face hub, and where."""

    push_to_hub: bool = flag(False, "Upload the best model, with its model card, once the run is over.")
    hub_model_id: str | None = flag(
        None, "Repository to upload to, NAME or OWNER/NAME (default: the name of the run's folder).", read_if=_PUSHES
    )
    hub_private_repo: bool | None = flag(
        None, "Make a new repository private (default: as the owner has it).", read_if=_PUSHES
    )
    hub_token: str | None = flag(
        None, "Token to upload with (default: that of 'hf auth login', or HF_TOKEN).", read_if=_PUSHES
    )


@flag_group("run")
class TrainingRunArguments(RunArguments, ComputeArguments, HubArguments):
    """A run that trains."""


@flag_group("run")
class EvalBatchArguments:
    """How much is read at once."""

    per_device_eval_batch_size: int = flag(
        32, "Features per forward pass when nothing is trained.", at_least=1, at_most=2**16
    )
