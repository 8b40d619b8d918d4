"""Train a reranker: a cross-encoder that tells the passage with the answer from those that only look like it.

    python train_reranker.py --reranker_model klue/bert-base --dataset_path ../data --output_dir saved/reranker

Hard negatives are mined with --retriever_type; --teacher_scores or --teacher say whose scores are learnt. Writes to
--output_dir: best/, which --reranker takes, metrics.jsonl, metrics.json with recall@1 and MRR@10 of the validation
questions before and after reranking, arguments.json, environment.json, and resume/ for --resume_from_checkpoint true.
Runs on several GPUs under accelerate launch.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import TrainRerankerArguments, check_command_line

    check_command_line(TrainRerankerArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from arguments import TrainRerankerArguments, parse_arguments
from loading.questions import load_questions
from models.cross_encoder import CrossEncoder, RerankerSettings, load_cross_encoder_to_train, save_cross_encoder
from models.listwise import group_logits, listwise_loss
from retrieval import create_retriever
from retrieval.finding import corpus_path, load_passages
from retrieval.mining import with_missing_negatives
from retrieval.reranking_evaluation import RerankingEvaluation
from retrieval.teaching import Teacher, draw_pairs, teacher_of
from retrieval.training import TrainingQuestions, corpus_passages, with_gold_passages
from retrieval.training_data import with_positives_of, with_taught_negatives
from runtime.errors import run_command
from runtime.files import write_json
from runtime.hashing import hash_json, hash_rows
from runtime.log import get_logger
from runtime.output import find_model, read_record
from training.checkpoint import BestScores
from training.freezing import freeze_embeddings
from training.loop import Batches, TrainingLoop
from training.start import Start, start_run

logger = get_logger("train_reranker")


class Run(NamedTuple):
    """Everything that a training run consists of."""

    args: TrainRerankerArguments
    start: Start
    cross_encoder: CrossEncoder
    questions: TrainingQuestions
    teacher: Teacher | None
    evaluation: RerankingEvaluation | None
    loop: TrainingLoop[BestScores]


def parse(argv: Sequence[str] | None = None) -> TrainRerankerArguments:
    """Parse the command line."""
    return parse_arguments(TrainRerankerArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reranker; return the metrics of the best (empty without --do_eval)."""
    args = parse(argv)
    with start_run(args) as start:
        run = prepare(start, args)
        train(run)
        return save(run)


def prepare(start: Start, args: TrainRerankerArguments) -> Run:
    """Return the run: its data and its reranker in a loop that stands where it is to go on."""
    args = replace(args, reranker_model=find_model(args.reranker_model))
    questions, evaluation, data = load_data(start, args)
    teacher = teacher_of(args, questions.teacher_scores, start.precision)

    # model
    settings = RerankerSettings(args.reranker_max_len, args.reranker_title_prefix)
    cross_encoder = load_cross_encoder_to_train(
        args.reranker_model, settings, args.reranker_dropout, start.accelerator.device
    )
    if args.reranker_freeze_embeddings:
        freeze_embeddings(cross_encoder.model)

    # loop
    batch_size = args.per_device_train_batch_size * start.accelerator.num_processes
    loop = TrainingLoop(
        start,
        args,
        cross_encoder.model,
        Batches(lambda epoch: questions.batches(epoch, batch_size), questions.ids),
        args.eval_steps if args.eval_strategy == "steps" else None,
        BestScores(),
    )
    start.open(args, data, loop.resume)
    return Run(args, start, cross_encoder, questions, teacher, evaluation, loop)


def load_data(
    start: Start, args: TrainRerankerArguments
) -> tuple[TrainingQuestions, RerankingEvaluation | None, dict[str, str]]:
    """Return the questions with their negatives, the evaluation with --do_eval, and fingerprints of what was read."""
    train_examples, eval_examples = load_questions(args, args.do_eval)
    corpus = load_passages(args, corpus_path(args, args.dataset_path), args.skip_bad_rows, args.reranker_model)
    train_examples, eval_examples = (with_positives_of(corpus, some) for some in (train_examples, eval_examples))
    corpus, _ = with_gold_passages(corpus, [example.positive for example in eval_examples])
    train_examples, scores = with_taught_negatives(train_examples, args.teacher_scores, "--teacher_scores")
    evaluation, index_dir = None, args.index_dir
    with start.accelerator.main_process_first():  # the others read its index and negatives
        if eval_examples or not all(example.negatives for example in train_examples):
            retriever = create_retriever(args, args.reranker_model)
            train_examples = with_missing_negatives(train_examples, corpus, retriever, args, index_dir)
        if eval_examples:
            depth, batch_size = args.rerank_depth, args.per_device_eval_batch_size
            evaluation = RerankingEvaluation(
                corpus, eval_examples, retriever, depth, index_dir, batch_size, start.precision
            )
    questions = TrainingQuestions(train_examples, corpus_passages(corpus), args.hard_negatives, args.seed, scores)
    data = {"train": hash_rows(train_examples), "evaluation": hash_rows(eval_examples), "corpus": corpus.hash}
    data |= {"teacher": hash_json(scores)} if scores else {}
    return questions, evaluation, data


def train(run: Run) -> None:
    """Run the loop from where it stands to the last optimizer step."""
    with run.loop.running(partial(read_again, run)):
        if run.evaluation is not None and run.loop.progress.step == 0:
            run.loop.log(run.evaluation.before)
        for rows in run.loop.batches():
            train_step(run, rows)
            if run.loop.finish_batch() and run.evaluation is not None:
                metrics = evaluate(run, run.evaluation)
                run.loop.log(metrics)
                keep_if_best(run, metrics)


def train_step(run: Run, rows: Sequence[int]) -> None:
    """Forward and backward of this process's share of the questions ``rows``."""
    own = rows[run.start.accelerator.process_index :: run.start.accelerator.num_processes]
    read = own or rows[:1]  # without a question of its own it reads one, which counts for nothing
    groups = draw_pairs(run.questions, read, run.loop.progress.epoch)
    taught = None if run.teacher is None else run.teacher(run.questions.ids(read), groups)
    with run.loop.synchronising():
        loss = listwise_loss(*group_logits(run.cross_encoder, run.loop.model, groups), taught)
        run.loop.backward(loss, own)


def read_again(run: Run, rows: Sequence[int]) -> torch.Tensor:
    """Return the scores (pairs,) that the reranker, as it is now, gives the passages of the first of ``rows``."""
    (pairs,) = draw_pairs(run.questions, rows[:1], run.loop.progress.epoch)
    return torch.from_numpy(run.cross_encoder.score(pairs, precision=run.start.precision))


def evaluate(run: Run, evaluation: RerankingEvaluation) -> dict[str, float]:
    """Return recall@1 and MRR@10 of the evaluation questions once their candidates are re-ordered."""
    metrics = evaluation.evaluate(run.cross_encoder, run.start.accelerator)
    logger.info(
        "step %d: recall@1 %.2f, MRR@10 %.2f",
        run.loop.progress.step, metrics["eval_recall@1"], metrics["eval_mrr@10"],
    )  # fmt: skip
    return metrics


def keep_if_best(run: Run, metrics: dict[str, float]) -> None:
    """Save best/ when MRR@10 rose, or when it was the same and recall@1 rose."""
    better = run.loop.best.update(run.loop.progress.step, metrics["eval_mrr@10"], metrics["eval_recall@1"])
    if better and run.start.accelerator.is_main_process:
        save_best(run, metrics)


def save_best(run: Run, metrics: dict[str, float]) -> None:
    """Write the reranker as it is to best/."""
    records = run.start.records | {"metrics": {"step": run.loop.progress.step} | metrics}
    save_cross_encoder(run.start.folder / "best", run.cross_encoder, records)


def save(run: Run) -> dict[str, float]:
    """Write metrics.json, those of best/; without --do_eval best/ has the last weights."""
    output_dir, metrics = run.start.folder, {}
    if run.start.accelerator.is_main_process:
        if run.evaluation is None:
            save_best(run, {})
        else:
            metrics = dict(run.evaluation.before)
        metrics |= read_record(output_dir / "best" / "metrics.json")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reranker: %s", output_dir / "best")
    return metrics


if __name__ == "__main__":
    run_command(main)
