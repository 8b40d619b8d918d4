"""Train a reader with a plain PyTorch loop.

    python train_mrc.py --model klue/bert-base --dataset_path ../data --output_dir ./saved/bert --do_eval

Writes to --output_dir: checkpoint-N/ whenever eval loss fell or exact match rose, best/ at the end, metrics.jsonl,
arguments.json, environment.json, and resume/ for --resume_from_checkpoint true. The loop is the same from a CPU to
several GPUs (accelerate launch train_mrc.py ...).
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import TrainMRCArguments, check_command_line

    check_command_line(TrainMRCArguments)  # --help and mistakes are answered before the slow ones

import shutil
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate import DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedTokenizerBase

from arguments import TrainMRCArguments, parse_arguments
from loading.examples import hash_examples
from models import check_length, load_reader_to_train, load_tokenizer, save_reader
from models.span_loss import reader_loss
from processor import QAProcessor
from reading.augmentation import augmentation_names
from reading.batching import FeatureCollator, training_batches, training_loader
from reading.features import example_ids
from reading.fitting import try_training
from reading.logits import read_features
from reading.metrics import compute_metrics
from reading.reader_settings import as_trained, settings_of
from runtime.errors import run_command
from runtime.files import link_or_copy, remove, staged_folder, write_json
from runtime.log import get_logger
from runtime.output import read_record
from training.checkpoint import BestCheckpoints
from training.freezing import FreezeSchedule
from training.loop import Batches, TrainingLoop
from training.start import Start, start_run

logger = get_logger("train_mrc")


class Run(NamedTuple):
    """Everything that a training run consists of."""

    args: TrainMRCArguments
    start: Start
    tokenizer: PreTrainedTokenizerBase
    qa_processor: QAProcessor
    collator: FeatureCollator
    loop: TrainingLoop[BestCheckpoints]


def parse(argv: Sequence[str] | None = None) -> TrainMRCArguments:
    """Parse the command line."""
    return parse_arguments(TrainMRCArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reader; return the metrics of its best checkpoint."""
    args = parse(argv)
    thaws = args.freeze_pretrained_weight in ("first", "last")
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=thaws)]
    with start_run(args, kwargs_handlers=handlers) as start:
        run = prepare(start, as_trained(args))
        train(run)
        return save(run)


def prepare(start: Start, args: TrainMRCArguments) -> Run:
    """Return the run: its data and its reader in a loop that stands where it is to go on."""
    # data
    tokenizer = load_tokenizer(args.tokenizer or args.model)
    title_prefix = "title_prefix" in augmentation_names(args.augment)
    qa_processor = QAProcessor(args, tokenizer, args.concat_eval, title_prefix)
    with start.accelerator.main_process_first():  # the others read its feature cache
        examples = qa_processor.get_all_examples(args.do_eval)
        features = qa_processor.get_augmented_features(args, args.seed)
        if args.do_eval:
            qa_processor.get_eval_features()
    data = {name: hash_examples(rows) for name, rows in examples.items()}

    # model
    model = load_reader_to_train(args, start.precision, start.accelerator.device)
    check_length(model, args.max_seq_len)
    model.config.title_prefix = title_prefix
    model.config.reader_settings = settings_of(args)
    padded_to = args.max_seq_len if args.use_max_padding else None
    collator = FeatureCollator(model, tokenizer, padded_to, args.shared_normalization)

    # loop
    size = start.fit_batch(args, partial(try_training, model, collator, args.max_seq_len, start.precision))
    place = start.accelerator.process_index, start.accelerator.num_processes
    batches = training_batches(features, collator, size, args.seed, *place)
    loader: Any = training_loader(start.accelerator, features, batches, collator)

    def start_epoch(epoch: int) -> list[list[int]]:
        loader.set_epoch(epoch)  # draws augmented features
        batches.start_epoch(epoch, features["length"])
        return batches.joint_batches

    loop = TrainingLoop(
        start,
        args,
        model,
        Batches(start_epoch, partial(example_ids, features), partial(start.accelerator.skip_first_batches, loader)),
        args.eval_steps if args.eval_strategy == "steps" else None,
        BestCheckpoints(),
        partial(FreezeSchedule, model, args),
    )
    start.open(args, data, loop.resume)
    return Run(args, start, tokenizer, qa_processor, collator, loop)


def train(run: Run) -> None:
    """Run the loop from where it stands to the last optimizer step."""
    with run.loop.running(partial(read_again, run)):
        for batch in run.loop.batches():
            train_step(run, batch)
            if run.loop.finish_batch() and run.args.do_eval:
                metrics = evaluate(run)
                run.loop.log(metrics)
                keep_if_best(run, metrics)


def train_step(run: Run, batch: dict[str, torch.Tensor]) -> None:
    """Forward and backward of one batch of features, this process's share."""
    run.loop.learn(partial(batch_loss, run), batch, batch["example_index"])


def batch_loss(run: Run, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean loss () of the batch's features."""
    return reader_loss(run.loop.model, batch, run.args.label_smoothing_factor)[0]


def read_again(run: Run, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss () that the reader, as it is now, has on ``batch``."""
    return reader_loss(run.loop.bare_model, batch)[0]


def evaluate(run: Run) -> dict[str, float]:
    """Return loss, exact match and F1 of the evaluation examples."""
    features, batch_size = run.qa_processor.get_eval_features(), run.args.per_device_eval_batch_size
    reader, accelerator = run.loop.bare_model, run.start.accelerator
    logits = read_features(reader, features, run.collator, batch_size, run.start.precision, "evaluating", accelerator)
    metrics = {"eval_loss": logits.loss}
    if accelerator.is_main_process:
        examples = run.qa_processor.get_eval_examples()
        scores = compute_metrics(run.qa_processor.post_processing_function(examples, features, logits.predictions))
        metrics |= {f"eval_{name}": value for name, value in scores.items()}
        logger.info(
            "step %d: eval loss %.4f, exact match %.2f, F1 %.2f",
            run.loop.progress.step, logits.loss, scores["exact_match"], scores["f1"],
        )  # fmt: skip
    (metrics,) = broadcast_object_list([metrics])
    return metrics


def keep_if_best(run: Run, metrics: dict[str, float]) -> None:
    """Save checkpoint-N when eval loss fell, or when exact match rose (of equal ones F1, then loss decide)."""
    output_dir, step, best = run.start.folder, run.loop.progress.step, run.loop.best
    better = best.update(step, metrics["eval_loss"], metrics["eval_exact_match"], metrics["eval_f1"])
    if better and run.start.accelerator.is_main_process:
        records = run.start.records | {"metrics": {"step": step} | metrics}
        save_reader(output_dir / f"checkpoint-{step}", run.loop.bare_model, run.tokenizer, records)
        for old in best.surplus(run.args.save_total_limit):
            remove(output_dir / f"checkpoint-{old}")


def save(run: Run) -> dict[str, float]:
    """Write best/ and metrics.json: the checkpoint best by exact match; without --do_eval the last weights."""
    output_dir, step = run.start.folder, run.loop.best.exact_match_step
    metrics: dict[str, float] = {"step": run.loop.progress.step}
    if run.start.accelerator.is_main_process:
        if step is None:
            records = run.start.records | {"metrics": metrics}
            save_reader(output_dir / "best", run.loop.bare_model, run.tokenizer, records)
        else:
            source = output_dir / f"checkpoint-{step}"
            with staged_folder(output_dir / "best") as staging:
                shutil.copytree(source, staging, dirs_exist_ok=True, copy_function=link_or_copy)
            metrics = read_record(source / "metrics.json")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reader: %s", output_dir / "best")
    return metrics


if __name__ == "__main__":
    run_command(main)
