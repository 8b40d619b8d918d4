"""What the Hugging Face Trainer does as our loop: one bar, the files of a run, a stop after a whole step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from models import save_reader
from runtime.files import share_weights, write_json
from runtime.log import get_logger
from runtime.progress import progress_bar, show_figures
from runtime.stopping import StopRequest
from runtime.tracking import Tracker
from training.optimization import warn_of_long_warmup

logger = get_logger(__name__)


class BarCallback(TrainerCallback):
    """Shows how far training is and what was logged last; the Trainer's own bar prints every log below itself."""

    def __init__(self) -> None:
        self.bar = progress_bar(disable=True)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        hidden = args.disable_tqdm or not state.is_world_process_zero
        self.bar = progress_bar(total=state.max_steps, initial=state.global_step, desc="training", disable=hidden)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **run: Any) -> None:
        if "loss" in run["logs"]:
            show_figures(self.bar, run["logs"])

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class RunCallback(TrainerCallback):
    """Keeps beside the Trainer's checkpoints what train_mrc.py keeps: metrics.jsonl, best/, records in every folder."""

    def __init__(self, tracker: Tracker, tokenizer: PreTrainedTokenizerBase, records: dict[str, Any]) -> None:
        self.tracker = tracker
        self.tokenizer = tokenizer
        self.records = records

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        warn_of_long_warmup(args.get_warmup_steps(state.max_steps), state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if args.logging_strategy == "steps" and state.global_step == state.max_steps:
            control.should_log = True  # the last steps too, however few

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **run: Any) -> None:
        if "train_loss" not in run["logs"]:  # the Trainer's last words, of the steps since it was started
            self.tracker.log(state.global_step, run["logs"])

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **run: Any) -> None:
        best, metrics = output_folder(args) / "best", evaluations(state)[-1]
        texts = {"eval_loss": "eval loss %.4f", "eval_exact_match": "exact match %.2f", "eval_f1": "F1 %.2f"}
        figures = ", ".join(text % metrics[name] for name, text in texts.items() if name in metrics)
        logger.info("step %d: %s", state.global_step, figures)
        if state.is_world_process_zero and (is_best(state, args) or not best.is_dir()):
            save_reader(best, run["model"], self.tokenizer, self.records | {"metrics": metrics})

    def complete(self, checkpoint: Path, args: TrainingArguments, state: TrainerState) -> None:
        """Add the records to a checkpoint that has no name yet; weights that ``best/`` holds too take no room."""
        measured = [line for line in evaluations(state) if line["step"] == state.global_step]
        records = self.records | ({"metrics": measured[-1]} if measured else {})
        for name, record in records.items():
            write_json(checkpoint / f"{name}.json", record)
        share_weights(checkpoint, output_folder(args) / "best")


def output_folder(args: TrainingArguments) -> Path:
    """Return the folder of a run; the Trainer's arguments always name one once they are made."""
    return Path(args.output_dir or "")


def is_best(state: TrainerState, args: TrainingArguments) -> bool:
    """Whether the last evaluation is better than all before it; of equal ones, as train_mrc.py has it."""
    name = f"eval_{(args.metric_for_best_model or 'loss').removeprefix('eval_')}"
    sign = 1 if args.greater_is_better else -1
    *earlier, last = [
        (sign * line[name], line.get("eval_exact_match", 0.0), line.get("eval_f1", 0.0), -line["eval_loss"])
        for line in evaluations(state)
    ]
    return all(last > value for value in earlier)


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


def evaluations(state: TrainerState) -> list[dict[str, float]]:
    """Return step and metrics of every evaluation so far; checkpoints keep them."""
    return [line for line in state.log_history if "eval_loss" in line]
