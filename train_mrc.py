"""Train a reader with a plain PyTorch loop.

    python train_mrc.py --model klue/bert-base --dataset_path ../data --output_dir ./saved/bert --do_eval

Writes to --output_dir: checkpoint-N/ whenever eval loss fell or exact match rose, best/ at the end, metrics.jsonl,
arguments.json, environment.json, and resume/ for --resume_from_checkpoint true. The loop is the same from a CPU to
several GPUs (accelerate launch train_mrc.py ...).
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while the imports below take their seconds

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from arguments import (
    AugmentationArguments,
    DatasetArguments,
    ModelArguments,
    OptimizationArguments,
    RetrieverArguments,
    RunArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.examples import hash_examples
from models import check_length, load_reader_to_train, load_tokenizer, save_reader
from models.reader_settings import SETTLED_LATER, as_trained, settings_of
from models.span_loss import reader_loss
from processor import QAProcessor
from reading.augmentation import augmentation_names
from reading.batching import FeatureCollator, LengthGroupedBatches, training_loader
from reading.features import example_ids
from reading.logits import read_features
from reading.metrics import compute_metrics
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.errors import run_command
from runtime.files import link_or_copy, read_json, staged_folder, write_json
from runtime.log import configure_logging, get_logger
from runtime.output import warn_of_changes
from runtime.processes import close_accelerator, open_accelerator, take_step
from runtime.progress import progress_bar, show_figures
from runtime.record import environment
from runtime.seeding import set_seed
from runtime.stopping import stop_requests
from runtime.tracking import Tracker, check_tracking
from training.checkpoint import BestCheckpoints, Progress, check_steps, find_state, load_state, newest_step, save_state
from training.freezing import FreezeSchedule
from training.loop import rows_of_step
from training.loss_window import LossWindow, Place
from training.optimization import count_steps, make_optimizer, make_scheduler
from training.run_folder import RunFolder, run_folder

logger = get_logger("train_mrc")


class Arguments(NamedTuple):
    run: RunArguments
    model: ModelArguments
    dataset: DatasetArguments
    optimization: OptimizationArguments
    augmentation: AugmentationArguments
    retriever: RetrieverArguments


@dataclass
class Run:
    """Everything that a training run consists of."""

    args: Arguments
    precision: str
    accelerator: Accelerator
    tokenizer: PreTrainedTokenizerBase
    qa_processor: QAProcessor
    collator: FeatureCollator
    batches: LengthGroupedBatches
    loader: DataLoader
    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    scheduler: Any
    freezing: FreezeSchedule
    total_steps: int
    progress: Progress = field(default_factory=Progress)
    best: BestCheckpoints = field(default_factory=BestCheckpoints)
    records: dict[str, Any] = field(default_factory=dict)
    losses: LossWindow = field(init=False)

    @property
    def reader(self) -> PreTrainedModel:
        """The model without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.model)


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line."""
    groups = [
        RunArguments, ModelArguments, DatasetArguments, OptimizationArguments, AugmentationArguments, RetrieverArguments
    ]  # fmt: skip
    description = "Train a reader."
    return Arguments(*parse_arguments("train_mrc.py", groups, argv, defaults=SETTLED_LATER, description=description))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reader; return the metrics of its best checkpoint."""
    args = parse(argv)
    check_tracking(args.run)
    precision = resolve_precision(args.run.precision, default_device())
    accelerator = make_accelerator(args, precision)
    configure_logging(accelerator.is_main_process)
    resume = args.optimization.resume_from_checkpoint is not None
    with run_folder(args.run.run_dir, args.run.log_dir, args.run.overwrite_output_dir, resume, newest_step) as folder:
        return run_in(folder, args, precision, accelerator)


def run_in(folder: RunFolder, args: Arguments, precision: str, accelerator: Accelerator) -> dict[str, float]:
    """Train a reader in ``folder``; return the metrics of its best checkpoint."""
    state_folder = find_state(folder.path, args.optimization.resume_from_checkpoint)
    set_seed(args.run.seed)
    keep_freed_memory()

    # data
    args = as_trained(args)
    tokenizer = load_tokenizer(args.model.tokenizer or args.model.model)
    title_prefix = "title_prefix" in augmentation_names(args.augmentation.augment)
    qa_processor = QAProcessor(args.dataset, tokenizer, args.dataset.concat_eval, title_prefix)
    with accelerator.main_process_first():  # the others read its feature cache
        qa_processor.load("train", *([qa_processor.eval_name()] if args.optimization.do_eval else []))
        train_features = qa_processor.get_augmented_features(args.augmentation, args.retriever, args.run.seed)
        if args.optimization.do_eval:
            qa_processor.get_eval_features()

    # model
    model = load_reader_to_train(args.model, precision, accelerator.device)
    check_length(model, args.dataset.max_seq_len)
    model.config.title_prefix = title_prefix
    model.config.reader_settings = settings_of(args.dataset)
    collator = FeatureCollator(model, tokenizer, args.dataset.max_seq_len if args.dataset.use_max_padding else None)

    # optimisation
    batches = LengthGroupedBatches(
        train_features["length"],
        args.optimization.per_device_train_batch_size,
        args.run.seed,
        accelerator.process_index,
        accelerator.num_processes,
    )
    loader = training_loader(accelerator, train_features, batches, collator)
    steps_per_epoch = math.ceil(len(batches) / args.optimization.gradient_accumulation_steps)
    total_steps = count_steps(args.optimization, len(batches))
    freezing = FreezeSchedule(model, args.model, steps_per_epoch, total_steps)
    optimizer = make_optimizer(freezing.trained_parameters(), args.optimization, model.base_model_prefix)
    scheduler = make_scheduler(optimizer, args.optimization, total_steps)
    model, prepared_optimizer = accelerator.prepare(model, optimizer)

    run = Run(
        args, precision, accelerator, tokenizer, qa_processor, collator, batches, loader, model, prepared_optimizer,
        scheduler, freezing, total_steps,
    )  # fmt: skip
    run.records = make_records(run)
    if state_folder is not None:
        warn_of_changes(folder.path, run.records["arguments"])
        run.progress, run.best = load_state(state_folder, run.reader, optimizer, scheduler, accelerator.scaler)
        check_steps(run.progress.step, total_steps, state_folder)
    if accelerator.is_main_process:
        folder.open(run.records)

    # loop and save
    train(run)
    return save(run)


def train(run: Run) -> None:
    """Run the loop from where ``run.progress`` stands to the last optimizer step."""
    args, accelerator, progress = run.args, run.accelerator, run.progress
    is_main = accelerator.is_main_process
    losses = run.losses = LossWindow(accelerator, partial(example_ids, run.loader.dataset), progress.window)
    run.model.train()
    with (
        Tracker(args.run, run.records["arguments"], progress.step, is_main) as tracker,
        progress_bar(total=run.total_steps, initial=progress.step, desc="training", disable=not is_main) as bar,
        stop_requests() as stop,
        losses.ends_run(),
    ):
        while not is_over(run):
            run.loader.set_epoch(progress.epoch)  # draws augmented features anew
            run.batches.start_epoch(progress.epoch, run.loader.dataset["length"])
            for batch in accelerator.skip_first_batches(run.loader, progress.batch):
                run.freezing.apply(progress.step)
                learning_rate = run.scheduler.get_last_lr()[0]
                train_step(run, batch)
                progress.batch += 1
                if not accelerator.sync_gradients:  # gradients are still being accumulated
                    continue
                progress.step += 1
                bar.update()
                if is_due(args.run.logging_steps, run):
                    values = losses.close() | {
                        "learning_rate": learning_rate,
                        "epoch": progress.epoch + progress.batch / len(run.loader),
                    }
                    tracker.log(progress.step, values)
                    show_figures(bar, values)
                due, asked = is_evaluation_due(run), stop.is_made()
                if due or asked:
                    losses.check(run.reader, partial(read_again, run, batch))
                if due and args.optimization.do_eval:
                    metrics = evaluate(run)
                    tracker.log(progress.step, metrics)
                    keep_if_best(run, metrics)
                stopping = asked or (due and stop.is_made())  # an evaluation takes its time
                if due or stopping:
                    save_run_state(run)
                if is_over(run):
                    if progress.step < run.total_steps:
                        logger.info("stopped: %d evaluations in a row got no better", run.best.stale)
                    return
                if stopping:
                    stop.leave()
            progress.epoch, progress.batch = progress.epoch + 1, 0


def train_step(run: Run, batch: dict[str, torch.Tensor]) -> None:
    """Forward, backward and, once enough gradients are accumulated, one optimizer step.

    All rows of a step weigh the same, in whatever batch and process they are.
    """
    options, accelerator, done = run.args.optimization, run.accelerator, run.progress.batch
    rows, accumulation = len(batch["input_ids"]), options.gradient_accumulation_steps
    rate = run.scheduler.get_last_lr()[0]
    place = Place(run.progress.step + 1, done % accumulation + 1, rate, batch["example_index"])
    with accelerator.accumulate(run.model):
        loss, _ = reader_loss(run.model, batch, options.label_smoothing_factor)
        run.losses.add(loss, rows, place)
        share = rows / rows_of_step(run.batches.joint_batches, done, accumulation)
        # accelerate divides by the batches of a step and averages over the processes
        accelerator.backward(loss * share * accumulation * accelerator.num_processes)
        if accelerator.sync_gradients:
            if options.max_grad_norm > 0:
                run.losses.add_norm(accelerator.clip_grad_norm_(run.model.parameters(), options.max_grad_norm))
            take_step(accelerator, run.optimizer, run.scheduler)
            run.optimizer.zero_grad()


def read_again(run: Run, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the loss () that the reader, as it is now, has on ``batch``."""
    return reader_loss(run.reader, batch)[0]


def is_over(run: Run) -> bool:
    """Whether all optimizer steps are taken, or evaluations have not got better for --early_stopping_patience."""
    patience = run.args.optimization.early_stopping_patience
    return run.progress.step >= run.total_steps or (patience is not None and run.best.stale >= patience)


def is_due(every: int, run: Run) -> bool:
    return run.progress.step % every == 0 or run.progress.step == run.total_steps


def is_evaluation_due(run: Run) -> bool:
    """Whether this optimizer step is followed by an evaluation (with --do_eval) and a resumable state."""
    if run.args.optimization.eval_strategy == "epoch":
        return run.progress.batch == len(run.loader) or run.progress.step == run.total_steps
    return is_due(run.args.optimization.eval_steps, run)


def evaluate(run: Run) -> dict[str, float]:
    """Return loss, exact match and F1 of the evaluation examples."""
    features = run.qa_processor.get_eval_features()
    logits = read_features(
        run.reader,
        features,
        run.collator,
        run.args.run.per_device_eval_batch_size,
        run.precision,
        "evaluating",
        run.accelerator,
    )
    metrics = {"eval_loss": logits.loss}
    if run.accelerator.is_main_process:
        examples = run.qa_processor.get_eval_examples()
        answers = run.qa_processor.post_processing_function(examples, features, logits.predictions)
        scores = compute_metrics(answers)
        metrics |= {f"eval_{name}": value for name, value in scores.items()}
        logger.info(
            "step %d: eval loss %.4f, exact match %.2f, F1 %.2f",
            run.progress.step, logits.loss, scores["exact_match"], scores["f1"],
        )  # fmt: skip
    (metrics,) = broadcast_object_list([metrics])
    return metrics


def keep_if_best(run: Run, metrics: dict[str, float]) -> None:
    """Save checkpoint-N when eval loss fell, or when exact match rose (of equal ones F1, then loss decide)."""
    output_dir, step = Path(run.args.run.run_dir), run.progress.step
    better = run.best.update(step, metrics["eval_loss"], metrics["eval_exact_match"], metrics["eval_f1"])
    if better and run.accelerator.is_main_process:
        records = run.records | {"metrics": {"step": step} | metrics}
        save_reader(output_dir / f"checkpoint-{step}", run.reader, run.tokenizer, records)
        for old in run.best.surplus(run.args.optimization.save_total_limit):
            shutil.rmtree(output_dir / f"checkpoint-{old}", ignore_errors=True)


def save_run_state(run: Run) -> None:
    """Write what --resume_from_checkpoint continues from."""
    run.progress.window = run.losses.state()
    if run.accelerator.is_main_process:
        save_state(
            run.args.run.run_dir,
            replace(run.progress),
            run.best,
            run.reader,
            run.optimizer.optimizer,
            run.scheduler,
            run.accelerator.scaler,
        )
    run.accelerator.wait_for_everyone()


def save(run: Run) -> dict[str, float]:
    """Write best/ and metrics.json: the checkpoint best by exact match; without --do_eval the last weights."""
    output_dir, metrics = Path(run.args.run.run_dir), {"step": run.progress.step}
    if run.accelerator.is_main_process:
        if run.best.exact_match_step is None:
            save_reader(output_dir / "best", run.reader, run.tokenizer, run.records | {"metrics": metrics})
        else:
            source = output_dir / f"checkpoint-{run.best.exact_match_step}"
            with staged_folder(output_dir / "best") as staging:
                shutil.copytree(source, staging, dirs_exist_ok=True, copy_function=link_or_copy)
            metrics = read_json(source / "metrics.json")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reader: %s", output_dir / "best")
    close_accelerator(run.accelerator)
    return metrics


def make_accelerator(args: Arguments, precision: str) -> Accelerator:
    """Return the accelerator: device, processes, precision and gradient accumulation."""
    thaws = args.model.freeze_pretrained_weight in ("first", "last")
    return open_accelerator(
        precision,
        gradient_accumulation_steps=args.optimization.gradient_accumulation_steps,
        step_scheduler_with_optimizer=False,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=thaws)],
    )


def make_records(run: Run) -> dict[str, Any]:
    """Return what the run is: its arguments, versions, device, seed and data."""
    record = environment(run.accelerator.device, run.precision, run.args.run.seed)
    record["processes"] = run.accelerator.num_processes
    record["data"] = {"train": hash_examples(run.qa_processor.get_train_examples())}
    if run.args.optimization.do_eval:
        record["data"]["evaluation"] = hash_examples(run.qa_processor.get_eval_examples())
    return {"arguments": resolved_arguments(*run.args), "environment": record}


if __name__ == "__main__":
    run_command(main)
