"""QATrainer: Transformers' Trainer for readers, and the callbacks that freeze part of a reader or stop it early.

trainer = QATrainer(
    model=model,
    args=TrainingArguments(output_dir="saved/reader", eval_strategy="epoch"),
    train_dataset=qa_processor.get_train_features(),
    eval_dataset=qa_processor.get_eval_features(),
    eval_examples=qa_processor.get_eval_examples(),
    post_process_function=qa_processor.post_processing_function,
    compute_metrics=compute_metrics,
    callbacks=[FreezeBackboneCallback("roberta", freeze_epochs=1.0)],
)
trainer.train()
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, PredictionOutput, TrainOutput

from models.span_loss import reader_loss
from processor import QAProcessor
from reading.augmented_features import AugmentedFeatures
from reading.batching import FeatureCollator, LengthGroupedBatches, training_batches, training_loader
from reading.features import example_ids
from reading.logits import read_features
from reading.reader_settings import settings_of
from runtime.checksums import CHECKSUMS_NAME, write_checksums
from runtime.errors import UserError
from runtime.files import staged_together
from runtime.log import get_logger
from training.byte_dropout import fast_dropout
from training.checkpoint import BestCheckpoints
from training.freezing import log_frozen, log_thawed
from training.loss_window import LossWindow, Place
from training.trainer_callbacks import RunCallback, evaluations, output_folder
from training.trainer_checkpoint import remove_surplus

logger = get_logger(__name__)


class QATrainer(Trainer):
    """Trains a reader as ``train_mrc.py`` does: its loss, its batches in its order, its way of reading.

    ``post_process_function(examples, features, predictions, stage)`` makes answers of logits, as
    ``QAProcessor.post_processing_function`` does, and ``compute_metrics(answers)`` figures of answers, as that of
    ``reading.metrics`` does, or a SQuAD metric: ``metric.compute(predictions=answers.predictions,
    references=answers.label_ids)``. Of the ``QAProcessor`` whose method ``post_process_function`` is, the tokenizer is
    the default of ``processing_class``, and what is trained keeps how it reads. Label smoothing is that of the span
    loss. The batches are those of ``training_batches`` unless ``args.train_sampling_strategy`` is ``sequential`` or
    ``batch_rebalance``. A loss, or a reader, that is no number any more ends the training with a :class:`UserError`,
    and is neither logged nor saved.
    """

    # what the constructor is given, and what the Trainer makes before it trains
    model: PreTrainedModel
    data_collator: FeatureCollator
    train_dataset: Any
    optimizer: torch.optim.Optimizer

    loss_is_scaled_for_ga = True  # compute_loss weighs a batch by its share of the examples of its optimizer step

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        train_dataset: Dataset | AugmentedFeatures | None = None,
        eval_dataset: Dataset | None = None,
        eval_examples: Dataset | None = None,
        post_process_function: Callable[..., EvalPrediction] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, float]] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        data_collator: FeatureCollator | None = None,
        **options: Any,
    ) -> None:
        qa_processor = getattr(post_process_function, "__self__", None)
        if processing_class is None:
            processing_class = getattr(qa_processor, "tokenizer", None)
        if data_collator is None:
            if processing_class is None:
                raise UserError("QATrainer needs to know how to pad: pass processing_class, the tokenizer")
            shared = isinstance(qa_processor, QAProcessor) and qa_processor.dataset_args.shared_normalization
            data_collator = FeatureCollator(model, processing_class, shared=shared)
        args = copy(args)
        args.remove_unused_columns = False  # the collator takes what the reader needs, post-processing the rest
        args.logging_nan_inf_filter = False  # it hides what is to end the training, and waits for the GPU every time
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            compute_metrics=compute_metrics,
            processing_class=processing_class,
            data_collator=data_collator,
            **options,
        )
        self.eval_examples = eval_examples
        self.post_process_function = post_process_function
        self._staging: str | None = None
        if train_dataset is not None and isinstance(qa_processor, QAProcessor):
            model.config.title_prefix = qa_processor.title_prefix
            model.config.reader_settings = settings_of(qa_processor.dataset_args)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the reader; the token of the hub stays out of ``training_args.bin``, which holds all arguments."""
        token, self.args.hub_token = self.args.hub_token, None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.args.hub_token = token

    def train(self, *args: Any, **options: Any) -> TrainOutput:
        """Train as the Trainer does; :class:`UserError` where loss or reader are no numbers any more."""
        self._losses = LossWindow(self.accelerator, partial(example_ids, self.train_dataset))
        self._last_inputs: dict[str, Any] | None = None
        with self._losses.ends_run(), fast_dropout(self.args.device):
            return super().train(*args, **options)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor]:
        """Return the batches of the next optimizer step, and how many rows those of all processes have."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rows = torch.tensor(float(sum(len(batch["input_ids"]) for batch in batches)), device=device)
        self._batch_of_step = 0
        return batches, self.accelerator.reduce(rows, reduction="sum")

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the span loss of a batch, and with ``return_outputs`` the reader's outputs.

        With ``num_items_in_batch``, the rows of all batches of an optimizer step, it is this batch's share of the mean
        over them, as gradients that are added up over batches and averaged over processes want it.
        """
        loss, outputs = reader_loss(model, inputs, self.args.label_smoothing_factor)
        if num_items_in_batch is not None:
            rows, rate = len(inputs["input_ids"]), self.optimizer.param_groups[0]["lr"]
            self._batch_of_step += 1
            place = Place(self.state.global_step + 1, self._batch_of_step, rate, inputs.get("example_index", ()))
            self._losses.add(loss, rows, place)
            self._last_inputs = inputs
            loss = loss * rows * self.accelerator.num_processes / num_items_in_batch
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any) -> None:
        """Log as the Trainer does; the loss is the mean over the examples since the last time, as in train_mrc.py."""
        if self.is_in_train and "loss" in logs:
            logs["loss"] = self._losses.close()["loss"]
        if "train_loss" in logs:  # the training is over
            self._check()
        if not math.isfinite(logs.get("grad_norm", 0.0)):
            del logs["grad_norm"]  # of a step that fp16 leaves out
        super().log(logs, *args)

    def get_train_dataloader(self) -> DataLoader:
        """Return the batches of an epoch."""
        if self.args.train_sampling_strategy in ("sequential", "batch_rebalance"):
            return super().get_train_dataloader()
        args, features = self.args, self.train_dataset
        seed = args.seed if args.data_seed is None else args.data_seed
        place = self.accelerator.process_index, self.accelerator.num_processes
        batches = training_batches(features, self.data_collator, self._train_batch_size, seed, *place)
        loader = training_loader(
            self.accelerator,
            features,
            batches,
            self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and torch.accelerator.is_available(),
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
            in_order=args.dataloader_in_order,
        )
        self.remove_callback(_EpochCallback)  # that of an earlier call
        self.add_callback(_EpochCallback(features, batches))
        return loader

    def _get_output_dir(self, trial: Any) -> str:
        """Return the folder of the run, or where its checkpoint is being written."""
        return self._staging or super()._get_output_dir(trial)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint as the Trainer does, with checksums, and whole or not at all.

        It is written beside and gets its name when all processes are done; then surplus ones are removed.
        """
        run, state, saves = Path(self._get_output_dir(trial)), self.state, self.args.should_save
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        self._check()
        with staged_together(run) if saves else nullcontext() as staging:
            (self._staging,) = broadcast_object_list([staging and str(staging)])
            try:
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
            finally:
                self._staging = None
            if state.best_global_step == state.global_step:
                state.best_model_checkpoint = str(run / name)  # which the Trainer saw in the other folder
            if staging is not None:
                state.save_to_json(str(staging / name / TRAINER_STATE_NAME))
                for callback in self.callback_handler.callbacks:
                    if isinstance(callback, RunCallback):
                        callback.complete(staging / name, self.args, state)
                write_checksums(staging / name)
        if saves:
            best = state.best_model_checkpoint
            remove_surplus(run, self.args.save_total_limit, {run / name, Path(best) if best else run / name})
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the reader to ``output_dir``, in place of one that an earlier start left there.

        Weights are replaced, not written into, since another folder may share their file, and checksums of the other
        reader go. While training, :class:`UserError` for a reader that gives no numbers any more.
        """
        self._check()
        if self.args.should_save:
            folder = Path(output_dir) if output_dir else output_folder(self.args)
            for old in (*folder.glob("*.safetensors"), folder / CHECKSUMS_NAME):
                old.unlink(missing_ok=True)
        super().save_model(output_dir, _internal_call)

    def _check(self) -> None:
        """While training, raise :class:`UserError` unless the reader is fit to be evaluated and saved."""
        if self.is_in_train and (inputs := self._last_inputs) is not None:
            self._losses.check(self.model, lambda: reader_loss(self.model, inputs)[0])

    def evaluate(  # type: ignore[override]  # with examples, as Transformers' own trainers of readers have it
        self,
        eval_dataset: Dataset | None = None,
        eval_examples: Dataset | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return the loss and the metrics of the answers to ``eval_examples``, the same in every process.

        Features and examples are by default those given to the constructor. ``ignore_keys`` is there for the Trainer's
        sake and changes nothing.
        """
        features = self.eval_dataset if eval_dataset is None else eval_dataset
        examples = self.eval_examples if eval_examples is None else eval_examples
        self._check()
        metrics = self._read(features, examples, "eval", metric_key_prefix).metrics or {}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(  # type: ignore[override]
        self,
        test_dataset: Dataset,
        test_examples: Dataset,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
    ) -> PredictionOutput:
        """Return the answers to ``test_examples`` as ``predictions``, their gold answers as ``label_ids``.

        ``metrics`` are those of :meth:`evaluate`, and empty when no example has a gold answer.
        """
        known = any(answers["text"] for answers in test_examples["answers"])
        output = self._read(test_dataset, test_examples, "predict", metric_key_prefix, known)
        self.control = self.callback_handler.on_predict(self.args, self.state, self.control, output.metrics)
        return output

    def _read(
        self, features: Any, examples: Dataset | None, stage: str, prefix: str, known: bool = True
    ) -> PredictionOutput:
        precision = self.accelerator.mixed_precision
        logits = read_features(
            self.model,
            features,
            self.data_collator,
            self.args.eval_batch_size,
            {"no": "fp32"}.get(precision, precision),
            "evaluating" if stage == "eval" else "predicting",
            self.accelerator,
        )
        metrics = {"loss": logits.loss}
        answers: Any = (None, None)
        if self.post_process_function is not None and not self.args.prediction_loss_only:
            if self.is_world_process_zero():
                answers = self.post_process_function(examples, features, logits.predictions, stage)
            (answers,) = broadcast_object_list([answers])
            if self.compute_metrics is not None and known:
                metrics |= self.compute_metrics(answers)
        metrics = {f"{prefix}_{name}": value for name, value in metrics.items()} if known else {}
        predictions, label_ids = answers
        return PredictionOutput(predictions, label_ids, metrics)


class _EpochCallback(TrainerCallback):
    """Tells the batches, and augmented features, which epoch begins; a resumed one is the one it was."""

    def __init__(self, features: Dataset | AugmentedFeatures, batches: LengthGroupedBatches) -> None:
        self.features = features
        self.batches = batches

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        epoch = int(state.epoch or 0)
        if isinstance(self.features, AugmentedFeatures):
            self.features.set_epoch(epoch)
        self.batches.start_epoch(epoch, self.features["length"])


class FreezeCallback(TrainerCallback):
    """Freezes the weights named ``prefix`` or ``prefix.…`` for the first ``freeze_epochs`` epochs, fractions allowed.

    They thaw after exactly ``round(freeze_epochs * steps per epoch)`` optimizer steps, resumed or not. Nothing is
    frozen before the optimizer exists, which takes in only what can be trained; a frozen weight gets no gradient, so
    neither Adam's moments nor weight decay touch it. Raises :class:`UserError` if no weight has such a name.
    """

    def __init__(self, prefix: str, freeze_epochs: float = 1.0) -> None:
        self.prefix = prefix
        self.freeze_epochs = freeze_epochs

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **trained: Any
    ) -> None:
        steps_per_epoch = math.ceil(len(trained["train_dataloader"]) / args.gradient_accumulation_steps)
        self.frozen_steps = round(self.freeze_epochs * steps_per_epoch)
        held = {id(weight) for group in trained["optimizer"].param_groups for weight in group["params"]}
        self.weights = [weight for weight in self.find(trained["model"]) if id(weight) in held]
        if state.global_step < self.frozen_steps:
            log_frozen(self.prefix, self.weights, self.frozen_steps, state.max_steps)
        self.on_step_begin(args, state, control)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # before every step: another callback may just have thawed some of these weights
        if state.global_step < self.frozen_steps:
            self._freeze(True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == self.frozen_steps:
            self._freeze(False)
            if state.global_step < state.max_steps:
                log_thawed(self.prefix, self.weights, state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._freeze(False)

    def find(self, model: PreTrainedModel) -> list[nn.Parameter]:
        """Return the weights of ``model`` that are to be frozen."""
        weights = dict(model.named_parameters())
        found = [weight for name, weight in weights.items() if f"{name}.".startswith(f"{self.prefix}.")]
        if not found:
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in weights))
            raise UserError(f"no weight to freeze is named {self.prefix}; the names of this reader begin with: {known}")
        return found

    def _freeze(self, frozen: bool) -> None:
        for weight in self.weights:
            weight.requires_grad_(not frozen)


class FreezeBackboneCallback(FreezeCallback):
    """Freezes the backbone, whose weights are named ``backbone_name.…``: ``model.base_model_prefix``."""

    def __init__(self, backbone_name: str, freeze_epochs: float = 1.0) -> None:
        super().__init__(backbone_name, freeze_epochs)


class FreezeEmbeddingCallback(FreezeCallback):
    """Freezes the embeddings: of words and whatever the encoder family adds to them before its layers."""

    def __init__(self, freeze_epochs: float = 1.0) -> None:
        super().__init__("embeddings", freeze_epochs)

    def find(self, model: PreTrainedModel) -> list[nn.Parameter]:
        words = model.get_input_embeddings()
        path = next(name for name, module in model.named_modules() if module is words)
        # of bert.embeddings.word_embeddings all of bert.embeddings
        self.prefix = re.sub(r"(\.embeddings)\..*", r"\1", path)
        return super().find(model)


class StopEarlyCallback(TrainerCallback):
    """Stops after ``patience`` evaluations in a row in which neither loss nor exact match got better.

    It counts in the Trainer's log, which checkpoints keep, so a resumed run counts on.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.is_due(state):
            logger.info("stopped: %d evaluations in a row got no better", self.patience)
            control.should_training_stop = True

    def is_due(self, state: TrainerState) -> bool:
        """Whether the evaluations so far end the run."""
        best = BestCheckpoints()
        for line in evaluations(state):
            best.update(
                int(line["step"]), line["eval_loss"], line.get("eval_exact_match", 0.0), line.get("eval_f1", 0.0)
            )
        return best.stale >= self.patience
