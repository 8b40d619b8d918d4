"""Train a reader with the Hugging Face Trainer: what train_mrc.py trains, with every flag of TrainingArguments.

    python train_mrc_v2.py --do_train --do_eval --model klue/bert-base --dataset_path ../data --output_dir ./saved/v2

Writes to --output_dir: checkpoint-N/ every --save_steps, each a reader with the Trainer's own state to resume from,
best/, metrics.jsonl, metrics.json, arguments.json and environment.json.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import TrainMRCV2Arguments, check_command_line

    check_command_line(TrainMRCV2Arguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProgressCallback, TrainerState, TrainingArguments

from arguments import TrainMRCV2Arguments, parse_arguments
from loading.examples import hash_examples
from models import check_length, load_reader_to_train, load_tokenizer, save_reader
from processor import QAProcessor
from reading.augmentation import augmentation_names
from reading.batching import FeatureCollator, training_batches
from reading.metrics import compute_metrics
from reading.reader_settings import as_trained
from runtime.errors import run_command
from runtime.files import share_weights, write_json
from runtime.log import get_logger
from runtime.output import read_record
from runtime.stopping import stop_requests
from runtime.tracking import Tracker
from trainer_qa import FreezeBackboneCallback, FreezeCallback, FreezeEmbeddingCallback, QATrainer, StopEarlyCallback
from training.checkpoint import check_steps
from training.optimization import count_steps, parameter_groups
from training.start import Start, enter_run
from training.trainer_arguments import training_arguments
from training.trainer_callbacks import BarCallback, RunCallback, StopCallback, evaluations, output_folder
from training.trainer_checkpoint import find_checkpoint, newest_checkpoint

logger = get_logger("train_mrc_v2")


def parse(argv: Sequence[str] | None = None) -> TrainMRCV2Arguments:
    """Parse the command line."""
    return parse_arguments(TrainMRCV2Arguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reader; return the metrics of the best one."""
    args = parse(argv)
    training_args = training_arguments(args)
    precision = {"no": "fp32"}.get(training_args.mixed_precision, training_args.mixed_precision)
    with enter_run(args, precision, find_checkpoint, newest_checkpoint) as start:
        return train(start, as_trained(args), training_args)


def train(start: Start, args: TrainMRCV2Arguments, training_args: TrainingArguments) -> dict[str, float]:
    """Train a reader in the folder of ``start``; return the metrics of the best one."""
    # data
    tokenizer = load_tokenizer(args.tokenizer or args.model)
    title_prefix = "title_prefix" in augmentation_names(args.augment)
    qa_processor = QAProcessor(args, tokenizer, args.concat_eval, title_prefix)
    evaluation: dict[str, Any] = {}
    with training_args.main_process_first():  # the others read its feature cache
        examples = qa_processor.get_all_examples(args.do_eval)
        train_features = qa_processor.get_augmented_features(args, args.seed)
        if args.do_eval:
            evaluation["eval_dataset"] = qa_processor.get_eval_features()
            evaluation["eval_examples"] = examples["evaluation"]
    data = {name: hash_examples(rows) for name, rows in examples.items()}

    # model
    model = load_reader_to_train(args, start.precision, training_args.device)
    check_length(model, args.max_seq_len)
    padded_to = args.max_seq_len if args.use_max_padding else None
    collator = FeatureCollator(model, tokenizer, padded_to, args.shared_normalization)
    freezing = make_freezing(args, model)

    # optimisation: the optimizer that the Trainer would choose, over our groups
    groups = parameter_groups(model.named_parameters(), args, model.base_model_prefix)
    optimizer_class, options = QATrainer.get_optimizer_cls_and_kwargs(training_args, model)
    patience = args.early_stopping_patience
    stopping = [] if patience is None else [StopEarlyCallback(patience)]
    state = TrainerState()
    if start.state is not None:
        state = TrainerState.load_from_json(str(start.state / "trainer_state.json"))
        seed = args.seed if args.data_seed is None else args.data_seed
        joint_size = training_args.train_batch_size, seed, 0, training_args.world_size
        batches = len(training_batches(train_features, collator, *joint_size))
        check_steps(state.global_step, count_steps(args, batches), start.state)
    start.open(args, data)

    # train and save
    with (
        Tracker(args, start.records["arguments"], state.global_step, training_args.process_index == 0) as tracker,
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
        if args.do_eval and not evaluations(trainer.state):
            trainer.evaluate()
    return save(trainer, tokenizer, start.records)


def make_freezing(args: TrainMRCV2Arguments, model: PreTrainedModel) -> list[FreezeCallback]:
    """Return the callback that --freeze_type asks for; :class:`UserError` if it names nothing in ``model``."""
    if args.freeze_type is None:
        return []
    if args.freeze_type == "embeddings":
        callback: FreezeCallback = FreezeEmbeddingCallback(args.freeze_epoch)
    else:
        name = model.base_model_prefix if args.freeze_type == "backbone" else args.freeze_type
        callback = FreezeBackboneCallback(name, args.freeze_epoch)
    callback.find(model)
    return [callback]


def save(trainer: QATrainer, tokenizer: PreTrainedTokenizerBase, records: dict[str, Any]) -> dict[str, float]:
    """Write metrics.json, and without evaluation the last weights to best/; return the metrics of best/."""
    output_dir = output_folder(trainer.args)
    metrics: dict[str, float] = {"step": trainer.state.global_step}
    if trainer.is_world_process_zero():
        if evaluations(trainer.state):
            metrics = read_record(output_dir / "best" / "metrics.json")
        else:
            save_reader(output_dir / "best", trainer.model, tokenizer, records | {"metrics": metrics})
            share_weights(output_dir / "best", output_dir / f"checkpoint-{trainer.state.global_step}")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reader: %s", output_dir / "best")
    return metrics


if __name__ == "__main__":
    run_command(main)
