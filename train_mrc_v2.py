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

from transformers import PreTrainedModel, ProgressCallback, TrainerState, TrainingArguments

from arguments import (
    AugmentationArguments,
    DatasetArguments,
    FreezeArguments,
    ModelArguments,
    RetrieverArguments,
    parse_arguments,
    resolved_arguments,
)
from models import check_length, load_reader_to_train, load_tokenizer, save_reader
from models.reader_settings import SETTLED_LATER, as_trained
from processor import QAProcessor
from reading.augmentation import augmentation_names
from reading.batching import FeatureCollator
from reading.features import fingerprint
from reading.metrics import compute_metrics, mean_scores
from runtime.errors import UserError, run_command
from runtime.files import read_json, share_weights, write_json
from runtime.log import get_logger
from runtime.stopping import stop_requests
from runtime.tracking import Tracker
from trainer_qa import FreezeBackboneCallback, FreezeCallback, FreezeEmbeddingCallback, QATrainer, StopEarlyCallback
from training.checkpoint import check_steps
from training.optimization import count_steps, parameter_groups
from training.start import Start, enter_run
from training.trainer_arguments import TrainerArguments
from training.trainer_callbacks import BarCallback, RunCallback, StopCallback, evaluations
from training.trainer_checkpoint import find_checkpoint, newest_checkpoint

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
    training_args = args.training.training_arguments()
    precision = {"no": "fp32"}.get(training_args.mixed_precision, training_args.mixed_precision)
    resume_from = args.training.resume_from_checkpoint
    with enter_run(args.training, resume_from, precision, find_checkpoint, newest_checkpoint) as start:
        return train(start, as_trained(args), training_args)


def train(start: Start, args: Arguments, training_args: TrainingArguments) -> dict[str, float]:
    """Train a reader in the folder of ``start``; return the metrics of the best one."""
    # data
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
    data = {"train": fingerprint(qa_processor.get_train_examples())}
    if args.training.do_eval:
        data["evaluation"] = fingerprint(evaluation["eval_examples"])

    # model
    model = load_reader_to_train(args.model, start.precision, training_args.device)
    check_length(model, args.dataset.max_seq_len)
    collator = FeatureCollator(model, tokenizer, args.dataset.max_seq_len if args.dataset.use_max_padding else None)
    freezing = make_freezing(args.freezing, model)

    # optimisation: the optimizer that the Trainer would choose, over our groups
    groups = parameter_groups(model.named_parameters(), args.training, model.base_model_prefix)
    optimizer_class, options = QATrainer.get_optimizer_cls_and_kwargs(training_args, model)
    patience = args.training.early_stopping_patience
    stopping = [] if patience is None else [StopEarlyCallback(patience)]
    batches = math.ceil(len(train_features) / (training_args.train_batch_size * training_args.world_size))
    state = TrainerState()
    if start.state is not None:
        state = TrainerState.load_from_json(start.state / "trainer_state.json")
        check_steps(state.global_step, count_steps(args.training, batches), start.state)
    start.open(resolved_arguments(*args), data)

    # train and save
    with (
        Tracker(
            args.training, start.records["arguments"], state.global_step, training_args.process_index == 0
        ) as tracker,
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
            callbacks=[*freezing, *stopping, RunCallback(tracker, tokenizer, start.records), bar, StopCallback(stop)],
            optimizer_cls_and_kwargs=(optimizer_class, {"params": groups} | options),
        )
        trainer.remove_callback(ProgressCallback)
        trainer.state = state
        stopped = any(callback.is_due(state) for callback in stopping) and (start.folder / "best").is_dir()
        if not stopped:  # or it would take another step
            trainer.train(resume_from_checkpoint=start.state and str(start.state))
        if args.training.do_eval and not evaluations(trainer.state):
            trainer.evaluate()
    return save(trainer, start.records)


def check(training: TrainerArguments) -> None:
    """Raise :class:`UserError` for what this command does not do."""
    if not training.do_train:
        raise UserError("add --do_train: this command trains a reader, inference.py evaluates one and answers with it")
    metric, known = training.metric_for_best_model, ["loss", *mean_scores({}, {"": []})]
    if metric is not None and metric.removeprefix("eval_") not in known:
        raise UserError(f"--metric_for_best_model {metric} is not measured; choose from: {', '.join(known)}")


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
    return metrics


if __name__ == "__main__":
    run_command(main)
