"""Train a dense passage retriever: two encoders whose vectors bring questions and their passages together.

    python train_dpr.py --dpr_model klue/bert-base --dataset_path ../data --retriever_dir ./models/retriever

Writes to --retriever_dir: p_encoder/ and q_encoder/ of the best evaluation (always of the same step), metrics.json,
metrics.jsonl, arguments.json, environment.json, and resume/ for --resume_from_checkpoint true. Then retrieve with
--retriever_type DenseRetrieval --retriever_dir. With --interaction multi it is one encoder, of a vector a token, in
token_encoder/, for MultiVectorRetrieval. The loop is the same from a CPU to several GPUs
(accelerate launch train_dpr.py ...): --dpr_train_batch is the joint batch of all processes.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import TrainDPRArguments, check_command_line

    check_command_line(TrainDPRArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from accelerate.utils import send_to_device

from arguments import TrainDPRArguments, parse_arguments
from loading.dpr_json import write_dpr_json
from models.contrastive import Batch, in_batch_loss, joint_backward
from models.encoder import BiEncoder
from models.token_encoder import TokenEncoder, load_encoder_to_train, save_encoder
from retrieval.evaluation import RetrievalEvaluation
from retrieval.joint_batch import JointBatch
from retrieval.training import TrainingQuestions, corpus_passages
from retrieval.training_data import add_negatives, choose_corpus, load_dpr_questions, with_positives_of
from runtime.errors import run_command
from runtime.files import staged_together, write_json
from runtime.hashing import hash_rows
from runtime.log import get_logger
from runtime.output import read_record
from training.checkpoint import BestScores
from training.freezing import freeze_embeddings
from training.loop import Batches, TrainingLoop
from training.start import Start, start_run

logger = get_logger("train_dpr")


class Run(NamedTuple):
    """Everything that a training run consists of."""

    args: TrainDPRArguments
    start: Start
    bi_encoder: BiEncoder | TokenEncoder
    questions: TrainingQuestions
    evaluation: RetrievalEvaluation | None
    loop: TrainingLoop[BestScores]


def parse(argv: Sequence[str] | None = None) -> TrainDPRArguments:
    """Parse the command line."""
    return parse_arguments(TrainDPRArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a retriever; return the metrics of its best evaluation."""
    args = parse(argv)
    with start_run(args) as start:
        run = prepare(start, args)
        train(run)
        return save(run)


def prepare(start: Start, args: TrainDPRArguments) -> Run:
    """Return the run: its data and its encoders in a loop that stands where it is to go on."""
    # data and model
    train_examples, eval_examples = load_dpr_questions(args)
    bi_encoder = load_encoder_to_train(args)
    if args.dpr_freeze_embeddings:
        freeze_embeddings(bi_encoder.q_encoder, bi_encoder.p_encoder)
    with start.accelerator.main_process_first():  # the others read its index and negatives
        tokenizer = bi_encoder.tokenizer.name_or_path
        corpus = choose_corpus(args, train_examples, tokenizer)
        train_examples, eval_examples = (with_positives_of(corpus, some) for some in (train_examples, eval_examples))
        train_examples, teacher = add_negatives(train_examples, corpus, args, tokenizer)
    if args.write_dpr_json is not None and start.accelerator.is_main_process:
        write_dpr_json(args.write_dpr_json, train_examples)
    questions = TrainingQuestions(train_examples, corpus_passages(corpus), args.hard_negatives, args.seed, teacher)
    evaluation = None
    if eval_examples:
        evaluation = RetrievalEvaluation(corpus, eval_examples, args.dpr_eval_batch, start.precision)

    # loop
    batches = Batches(lambda epoch: questions.batches(epoch, args.dpr_train_batch), questions.ids, bound="--chunk_size")
    loop = TrainingLoop(start, args, bi_encoder, batches, args.eval_steps, BestScores())
    data = {"train": hash_rows(train_examples), "evaluation": hash_rows(eval_examples), "corpus": corpus.hash}
    start.open(args, data, loop.resume)
    log_batch(args)
    return Run(args, start, bi_encoder, questions, evaluation, loop)


def log_batch(args: TrainDPRArguments) -> None:
    """Say how many passages a question is compared with; accumulated gradients do not add any."""
    batch, negatives = args.dpr_train_batch, args.hard_negatives
    logger.info("every question is compared with the %d passages of its batch", batch * (1 + negatives))
    if args.gradient_accumulation_steps > 1:
        logger.info(
            "--gradient_accumulation_steps adds no passages to compare with: "
            "a larger --dpr_train_batch with --chunk_size does, in the same memory"
        )


def train(run: Run) -> None:
    """Run the loop from where it stands to the last optimizer step."""
    with run.loop.running(partial(read_again, run)):
        for rows in run.loop.batches():
            train_step(run, rows)
            if run.loop.finish_batch() and run.evaluation is not None:
                metrics = evaluate(run, run.evaluation)
                run.loop.log(metrics)
                keep_if_best(run, metrics)


def train_step(run: Run, rows: Sequence[int]) -> None:
    """Forward and backward of the questions ``rows`` of all processes, which have their loss in common."""
    loop, accelerator = run.loop, run.start.accelerator
    batch = joint_batch(run, rows)
    targets = send_to_device(batch.targets(), accelerator.device)  # (Q,), (Q, P), (Q, P)

    def loss_of(questions: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        return in_batch_loss(run.bi_encoder.score(questions, passages) / run.args.temperature, *targets)

    chunks = own_chunks(run, batch)
    loss = joint_backward(
        accelerator, loop.model, chunks, batch.counts, loss_of, loop.share_of_step(), loop.ends_step()
    )
    loop.take_in(loss, len(rows) / accelerator.num_processes, rows)


def joint_batch(run: Run, rows: Sequence[int]) -> JointBatch:
    """Return the questions ``rows`` with the passages of this epoch."""
    return JointBatch(run.questions, rows, run.loop.progress.epoch, run.start.accelerator.num_processes)


def own_chunks(run: Run, batch: JointBatch) -> list[tuple[Batch, Batch]]:
    """Return this process's share of ``batch`` in parts that fit in memory, on its device."""
    accelerator = run.start.accelerator
    chunks = batch.chunks(accelerator.process_index, run.bi_encoder, run.args.gradient_chunk_size)
    return send_to_device(chunks, accelerator.device)


def read_again(run: Run, rows: Sequence[int]) -> torch.Tensor:
    """Return the scores (questions, passages) that the encoders, as they are now, give in a first part of ``rows``."""
    return run.bi_encoder.score(*run.bi_encoder(*own_chunks(run, joint_batch(run, rows))[0]))


def evaluate(run: Run, evaluation: RetrievalEvaluation) -> dict[str, float]:
    """Return loss, recall and reciprocal rank of the evaluation questions over the whole corpus."""
    batch, temperature = run.args.dpr_train_batch, run.args.temperature
    metrics = evaluation.evaluate(run.bi_encoder, run.start.accelerator, batch, temperature)
    logger.info(
        "step %d: eval loss %.4f, recall@5 %.2f, MRR@10 %.2f",
        run.loop.progress.step, metrics["eval_loss"], metrics["eval_recall@5"], metrics["eval_mrr@10"],
    )  # fmt: skip
    return metrics


def keep_if_best(run: Run, metrics: dict[str, float]) -> None:
    """Keep the encoders when recall@5 rose, or when it was the same and the reciprocal rank rose."""
    step = run.loop.progress.step
    if run.loop.best.update(step, metrics["eval_recall@5"], metrics["eval_mrr@10"]):
        keep(run, {"step": step} | metrics)


def keep(run: Run, metrics: dict[str, float]) -> None:
    """Put both encoders and their metrics in place, all of the same step whenever one looks."""
    if run.start.accelerator.is_main_process:
        with staged_together(run.start.folder) as staging:
            save_encoder(run.bi_encoder, staging, run.start.records | {"metrics": metrics})
            write_json(staging / "metrics.json", metrics)


def save(run: Run) -> dict[str, float]:
    """Keep the last encoders where nothing was evaluated; return the metrics of those that are kept."""
    if run.loop.best.step is None:
        keep(run, {"step": run.loop.progress.step})
    run.start.accelerator.wait_for_everyone()
    metrics = read_record(run.start.folder / "metrics.json")
    logger.info("retriever: %s, of step %d", run.start.folder, metrics["step"])
    return metrics


if __name__ == "__main__":
    run_command(main)
