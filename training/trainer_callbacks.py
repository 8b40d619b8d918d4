"""What the Hugging Face Trainer does as the loops of ours: one bar, and a stop after a whole step when it is asked."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from runtime.progress import progress_bar, show_figures
from runtime.stopping import StopRequest


class BarCallback(TrainerCallback):
    """Shows how far training is and what was logged last; the Trainer's own bar prints every log below itself."""

    def __init__(self) -> None:
        self.bar = progress_bar(disable=True)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        hidden = args.disable_tqdm or not state.is_world_process_zero
        self.bar = progress_bar(total=state.max_steps, initial=state.global_step, desc="training", disable=hidden)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        if "loss" in logs:
            show_figures(self.bar, logs)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class StopCallback(TrainerCallback):
    """Once ``request`` is made, saves a checkpoint after the step and raises ``Interrupted``.

    Whatever the step and the epoch end with, such as an evaluation, is done before, so that the run goes on from the
    checkpoint as if it had never stopped. A run that was at its last step just ends. To be the last of the callbacks.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request
        self.asked = self.leaving = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.asked = self.request.is_made() and state.global_step < state.max_steps
        if self.asked and not float(state.epoch).is_integer():
            self._save(control)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.on_step_end(args, state, control)  # it may have taken long

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.asked:
            self._save(control)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.leaving:
            self.request.leave()

    def _save(self, control: TrainerControl) -> None:
        self.leaving = control.should_save = True
