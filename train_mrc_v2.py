"""Train a reader with the Hugging Face Trainer: what train_mrc.py trains, with every flag of TrainingArguments.

    python train_mrc_v2.py --do_train --do_eval --model klue/bert-base --dataset_path ../data --output_dir ./saved/v2

Writes to --output_dir: checkpoint-N/ every --save_steps, each a reader with the Trainer's own state to resume from,
best/, metrics.jsonl, metrics.json, arguments.json and environment.json.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while the imports below take their seconds

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from arguments import (
    AugmentationArguments,
    DatasetArguments,
    FreezeArguments,
    ModelArguments,
    RetrieverArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.examples import hash_examples
from models import check_length, load_reader_to_train, load_tokenizer, save_reader
from models.reader_settings import SETTLED_LATER, as_trained
from processor import QAProcessor
from reading.augmentation import augmentation_names
from reading.batching import FeatureCollator
from reading.metrics import compute_metrics, mean_scores
from runtime.device import keep_freed_memory
from runtime.errors import UserError, run_command
from runtime.files import read_json, share_weights, write_json
from runtime.log import configure_logging, get_logger
from runtime.output import warn_of_changes
from runtime.processes import close_accelerator
from runtime.record import environment
from runtime.seeding import set_seed
from runtime.stopping import stop_requests
from runtime.tracking import Tracker, check_tracking
from trainer_qa import (
    FreezeBackboneCallback,
    FreezeCallback,
    FreezeEmbeddingCallback,
    QATrainer,
    StopEarlyCallback,
    evaluations,
)
from training.checkpoint import check_steps
from training.optimization import count_steps, parameter_groups, warn_of_long_warmup
from training.run_folder import RunFolder, run_folder
from training.trainer_arguments import TrainerArguments
from training.trainer_callbacks import BarCallback, StopCallback

logger = get_logger("train_mrc_v2")

_READS = "evaluation reads as inference.py does: whole windows, logits kept on the CPU, in the precision of the run"
UNUSED = {
    "freeze_pretrained_weight": "use --freeze_type backbone",
    "freeze_pretrained_weight_epoch": "use --freeze_epoch",
    "freeze_embedding_layer_weight": "use --freeze_type embeddings, and as many --freeze_epoch as there are epochs",
    "do_predict": "inference.py answers the test questions",
    "enable_jit_checkpoint": "SIGTERM and Ctrl-C save a checkpoint anyway",
    "dataloader_drop_last": "every feature is trained on",
    "remove_unused_columns": "what the reader does not take stays behind anyway",
    "length_column_name": "the lengths of features are known",
    "logging_nan_inf_filter": "a loss that is no number ends the run",
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed"), "evaluation needs the whole reader in every process"),
    **dict.fromkeys(("label_names", "include_for_metrics", "batch_eval_metrics"), _READS),
    **dict.fromkeys(("eval_accumulation_steps", "eval_do_concat_batches", "eval_use_gather_object"), _READS),
    **dict.fromkeys(("bf16_full_eval", "fp16_full_eval"), _READS),
}


class Arguments(NamedTuple):
    training: TrainerArguments
    model: ModelArguments
    dataset: DatasetArguments
    freezing: FreezeArguments
    augmentation: AugmentationArguments
    retriever: RetrieverArguments


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line."""
    groups = [
        TrainerArguments, ModelArguments, DatasetArguments, FreezeArguments, AugmentationArguments, RetrieverArguments
    ]  # fmt: skip
    description = "Train a reader with the Hugging Face Trainer."
    return Arguments(*parse_arguments("train_mrc_v2.py", groups, argv, UNUSED, SETTLED_LATER, description))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reader; return the metrics of the best one."""
    args = parse(argv)
    check(args.training)
    check_tracking(args.training)
    training_args = args.training.training_arguments()
    precision = {"no": "fp32"}.get(training_args.mixed_precision, training_args.mixed_precision)
    configure_logging(training_args.process_index == 0)
    resume = args.training.resume_from_checkpoint is not None
    with run_folder(
        args.training.run_dir, args.training.log_dir, args.training.overwrite_output_dir, resume, newest_step
    ) as folder:
        return run_in(folder, args, training_args, precision)


def run_in(folder: RunFolder, args: Arguments, training_args: TrainingArguments, precision: str) -> dict[str, float]:
    """Train a reader in ``folder``; return the metrics of the best one."""
    checkpoint = find_checkpoint(folder.path, args.training.resume_from_checkpoint)
    main_process = training_args.process_index == 0
    set_seed(args.training.seed)
    keep_freed_memory()

    # data
    args = as_trained(args)
    tokenizer = load_tokenizer(args.model.tokenizer or args.model.model)
    title_prefix = "title_prefix" in augmentation_names(args.augmentation.augment)
    qa_processor = QAProcessor(args.dataset, tokenizer, args.dataset.concat_eval, title_prefix)
    evaluation: dict[str, Any] = {}
    with training_args.main_process_first():  # the others read its feature cache
        qa_processor.load("train", *([qa_processor.eval_name()] if args.training.do_eval else []))
        train_features = qa_processor.get_augmented_features(args.augmentation, args.retriever, args.training.seed)
        if args.training.do_eval:
            evaluation["eval_dataset"] = qa_processor.get_eval_features()
            evaluation["eval_examples"] = qa_processor.get_eval_examples()

    # model
    model = load_reader_to_train(args.model, precision, training_args.device)
    check_length(model, args.dataset.max_seq_len)
    collator = FeatureCollator(model, tokenizer, args.dataset.max_seq_len if args.dataset.use_max_padding else None)
    freezing = make_freezing(args.freezing, model)

    # optimisation: the optimizer that the Trainer would choose, over our groups
    groups = parameter_groups(model.named_parameters(), args.training, model.base_model_prefix)
    optimizer_class, options = QATrainer.get_optimizer_cls_and_kwargs(training_args, model)
    patience = args.training.early_stopping_patience
    stopping = [] if patience is None else [StopEarlyCallback(patience)]

    records = make_records(args, training_args, precision, qa_processor)
    state = TrainerState()
    if checkpoint is not None:
        warn_of_changes(folder.path, records["arguments"])
        state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
        batches = math.ceil(len(train_features) / (training_args.train_batch_size * training_args.world_size))
        check_steps(state.global_step, count_steps(args.training, batches), checkpoint)
    if main_process:
        folder.open(records)

    # train and save
    with (
        Tracker(args.training, records["arguments"], state.global_step, main_process) as tracker,
        closing(BarCallback()) as bar,
        stop_requests() as stop,
    ):
        trainer = QATrainer(
            model=model,
            args=training_args,
            train_dataset=train_features,
            **evaluation,
            post_process_function=qa_processor.post_processing_function,
            compute_metrics=compute_metrics,
            processing_class=tokenizer,
            data_collator=collator,
            callbacks=[*freezing, *stopping, RunCallback(tracker, tokenizer, records), bar, StopCallback(stop)],
            optimizer_cls_and_kwargs=(optimizer_class, {"params": groups} | options),
        )
        trainer.remove_callback(ProgressCallback)
        trainer.state = state
        stopped = any(callback.is_due(state) for callback in stopping) and (folder.path / "best").is_dir()
        if not stopped:  # or it would take another step
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        if args.training.do_eval and not evaluations(trainer.state):
            trainer.evaluate()
    return save(trainer, records)


def check(training: TrainerArguments) -> None:
    """Raise :class:`UserError` for what this command does not do."""
    if not training.do_train:
        raise UserError("add --do_train: this command trains a reader, inference.py evaluates one and answers with it")
    metric, known = training.metric_for_best_model, ["loss", *mean_scores({}, {"": []})]
    if metric is not None and metric.removeprefix("eval_") not in known:
        raise UserError(f"--metric_for_best_model {metric} is not measured; choose from: {', '.join(known)}")


def find_checkpoint(output_dir: Path, resume_from: str | None) -> Path | None:
    """Return the checkpoint-N to resume from; None to start from scratch.

    ``resume_from`` is ``true`` for the newest one in ``output_dir`` (none yet: start from scratch, said so), or such a
    folder, or a run. Raises :class:`UserError` for a folder that holds none.
    """
    if resume_from is None:
        return None
    newest = resume_from.lower() in ("true", "yes", "auto")
    checkpoints = complete_checkpoints(output_dir if newest else Path(resume_from))
    if checkpoints:
        return checkpoints[max(checkpoints)]
    if not newest:
        raise UserError(
            f"--resume_from_checkpoint {resume_from} holds no checkpoint of the Trainer; name a checkpoint-N that this "
            "command wrote, or pass true for the newest one in --output_dir"
        )
    logger.info("nothing to resume in %s: the run starts from scratch", output_dir)
    return None


def complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Return by step the checkpoints in ``folder``, and itself if it is one."""
    found = {}
    for state in (*folder.glob("trainer_state.json"), *folder.glob("checkpoint-*/trainer_state.json")):
        try:  # the Trainer writes its state last: a checkpoint without a whole one is not complete
            found[int(read_json(state)["global_step"])] = state.parent
        except (OSError, ValueError, TypeError, KeyError):
            logger.warning("%s is not complete and is passed over: its %s is damaged", state.parent, state.name)
    return found


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint in ``folder``; None where there is none."""
    return max(complete_checkpoints(folder), default=None)


def make_freezing(arguments: FreezeArguments, model: PreTrainedModel) -> list[FreezeCallback]:
    """Return the callback that --freeze_type asks for; :class:`UserError` if it names nothing in ``model``."""
    if arguments.freeze_type is None:
        return []
    if arguments.freeze_type == "embeddings":
        callback: FreezeCallback = FreezeEmbeddingCallback(arguments.freeze_epoch)
    else:
        name = model.base_model_prefix if arguments.freeze_type == "backbone" else arguments.freeze_type
        callback = FreezeBackboneCallback(name, arguments.freeze_epoch)
    callback.find(model)
    return [callback]


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

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        self.tracker.log(state.global_step, logs)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **run: Any) -> None:
        best, metrics = Path(args.output_dir) / "best", evaluations(state)[-1]
        texts = {"eval_loss": "eval loss %.4f", "eval_exact_match": "exact match %.2f", "eval_f1": "F1 %.2f"}
        figures = ", ".join(text % metrics[name] for name, text in texts.items() if name in metrics)
        logger.info("step %d: %s", state.global_step, figures)
        if state.is_world_process_zero and (is_best(state, args) or not best.is_dir()):
            save_reader(best, run["model"], self.tokenizer, self.records | {"metrics": metrics})

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        measured = [line for line in evaluations(state) if line["step"] == state.global_step]
        records = self.records | ({"metrics": measured[-1]} if measured else {})
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for name, record in records.items():
            write_json(checkpoint / f"{name}.json", record)
        share_weights(checkpoint, Path(args.output_dir) / "best")


def is_best(state: TrainerState, args: TrainingArguments) -> bool:
    """Whether the last evaluation is better than all before it; of equal ones, as train_mrc.py has it."""
    name = f"eval_{args.metric_for_best_model.removeprefix('eval_')}"
    sign = 1 if args.greater_is_better else -1
    *earlier, last = [
        (sign * line[name], line["eval_exact_match"], line["eval_f1"], -line["eval_loss"])
        for line in evaluations(state)
    ]
    return all(last > value for value in earlier)


def save(trainer: QATrainer, records: dict[str, Any]) -> dict[str, float]:
    """Write metrics.json, and without evaluation the last weights to best/; return the metrics of best/."""
    output_dir, metrics = Path(trainer.args.output_dir), {"step": trainer.state.global_step}
    if trainer.is_world_process_zero():
        if evaluations(trainer.state):
            metrics = read_json(output_dir / "best" / "metrics.json")
        else:
            save_reader(output_dir / "best", trainer.model, trainer.processing_class, records | {"metrics": metrics})
            share_weights(output_dir / "best", output_dir / f"checkpoint-{trainer.state.global_step}")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reader: %s", output_dir / "best")
    close_accelerator(trainer.accelerator)
    return metrics


def make_records(
    args: Arguments, training_args: TrainingArguments, precision: str, qa_processor: QAProcessor
) -> dict[str, Any]:
    """Return what the run is: its arguments, versions, device, seed and data."""
    record = environment(training_args.device, precision, training_args.seed)
    record["processes"] = training_args.world_size
    record["data"] = {"train": hash_examples(qa_processor.get_train_examples())}
    if args.training.do_eval:
        record["data"]["evaluation"] = hash_examples(qa_processor.get_eval_examples())
    return {"arguments": resolved_arguments(*args), "environment": record}


if __name__ == "__main__":
    run_command(main)
