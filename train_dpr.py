"""Train a dense passage retriever: two encoders whose vectors bring questions and their passages together.

    python train_dpr.py --dpr_model klue/bert-base --dataset_path ../data --retriever_dir ./models/retriever

Writes to --retriever_dir: p_encoder/ and q_encoder/ of the best evaluation (always of the same step), metrics.json,
metrics.jsonl, arguments.json, environment.json, and resume/ for --resume_from_checkpoint true. Then retrieve with
--retriever_type DenseRetrieval --retriever_dir. The loop is the same from a CPU to several GPUs
(accelerate launch train_dpr.py ...): --dpr_train_batch is the joint batch of all processes.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while the imports below take their seconds

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import send_to_device

from arguments import (
    DatasetArguments,
    DPRArguments,
    MiningArguments,
    OptimizationArguments,
    RetrieverArguments,
    RunArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.dpr_json import write_dpr_json
from models.contrastive import Batch, in_batch_loss, joint_backward
from models.encoder import BiEncoder, load_bi_encoder_to_train, save_bi_encoder
from retrieval.evaluation import RetrievalEvaluation
from retrieval.joint_batch import JointBatch
from retrieval.training import TrainingQuestions, corpus_passages, fingerprint
from retrieval.training_data import add_negatives, choose_corpus, load_dpr_questions
from runtime.errors import run_command
from runtime.files import read_json, staged_together, write_json
from runtime.locks import check_writable
from runtime.log import get_logger
from training.checkpoint import BestScores
from training.freezing import freeze_embeddings
from training.loop import Batches, TrainingLoop
from training.start import Start, start_run

logger = get_logger("train_dpr")

_NO_READER = "it is about reading; a retriever takes whole passages"
_NO_SEARCH = "training searches nothing with it"
UNUSED = {
    "output_dir": "results go to --retriever_dir",
    "per_device_eval_batch_size": "use --dpr_eval_batch",
    "encode_batch_size": "use --dpr_eval_batch",
    "max_seq_len": "use --passage_max_len and --question_max_len",
    "num_train_epochs": "use --dpr_epochs",
    "per_device_train_batch_size": "use --dpr_train_batch",
    "learning_rate": "use --dpr_learning_rate",
    "weight_decay": "use --dpr_weight_decay",
    "warmup_steps": "use --dpr_warmup_steps",
    "eval_steps": "use --dpr_eval_steps",
    "eval_strategy": "use --dpr_eval_steps",
    "do_eval": "there is an evaluation wherever the data has a validation split",
    "save_total_limit": "only the best pair of encoders is kept",
    "head_learning_rate": "a bi-encoder has no head",
    "layerwise_lr_decay": "all layers learn at --dpr_learning_rate",
    "label_smoothing_factor": "the passages of the other questions are known to be wrong",
    "cache_dir": "what is mined is kept in --index_dir",
    "preprocessing_num_workers": "texts become tokens batch by batch",
    **dict.fromkeys(("stride_len", "use_max_padding", "max_ans_len", "n_best_size"), _NO_READER),
    **dict.fromkeys(("version_2_with_negative", "null_score_diff_threshold"), _NO_READER),
    **dict.fromkeys(("retriever_type", "hybrid_retrievers"), "negatives are mined as --mine_from says"),
    **dict.fromkeys(("top_k_retrieval", "retrieved_df_path", "vectors_dtype", "tfidf_features"), _NO_SEARCH),
    **dict.fromkeys(("fusion", "fusion_weights", "fusion_depth", "reranker", "rerank_depth"), _NO_SEARCH),
    **dict.fromkeys(("elastic_url", "elastic_index", "elastic_user_dictionary"), _NO_SEARCH),
    **dict.fromkeys(("milvus_uri", "milvus_vectors"), _NO_SEARCH),
}


class Arguments(NamedTuple):
    run: RunArguments
    dataset: DatasetArguments
    retriever: RetrieverArguments
    mining: MiningArguments
    dpr: DPRArguments
    optimization: OptimizationArguments


class Run(NamedTuple):
    """Everything that a training run consists of."""

    args: Arguments
    start: Start
    bi_encoder: BiEncoder
    questions: TrainingQuestions
    evaluation: RetrievalEvaluation | None
    loop: TrainingLoop


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line."""
    groups = [
        RunArguments, DatasetArguments, RetrieverArguments, MiningArguments, DPRArguments, OptimizationArguments
    ]  # fmt: skip
    # a hybrid reads the flags of both: of BM25+, which mines, and of the encoders
    defaults = {"retriever_type": "HybridRetrieval", "do_eval": True}
    description = "Train a dense passage retriever."
    args = Arguments(*parse_arguments("train_dpr.py", groups, argv, UNUSED, defaults, description))
    return args._replace(
        run=replace(args.run, output_dir=args.retriever.retriever_dir),
        optimization=replace(
            args.optimization,
            num_train_epochs=args.dpr.dpr_epochs,
            learning_rate=args.dpr.dpr_learning_rate,
            weight_decay=args.dpr.dpr_weight_decay,
            warmup_steps=args.dpr.dpr_warmup_steps,
        ),
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a retriever; return the metrics of its best evaluation."""
    args = parse(argv)
    with start_run(args.run, args.optimization.resume_from_checkpoint, "--retriever_dir") as start:
        run = prepare(start, args)
        train(run)
        return save(run)


def prepare(start: Start, args: Arguments) -> Run:
    """Return the run: its data and its encoders in a loop that stands where it is to go on."""
    dpr = args.dpr
    if dpr.write_dpr_json is not None:
        check_writable(Path(dpr.write_dpr_json).parent, "--write_dpr_json")

    # data and model
    train_examples, eval_examples = load_dpr_questions(args.dataset)
    bi_encoder = load_bi_encoder_to_train(dpr.dpr_model, args.retriever, dpr.shared_encoder, dpr.dpr_dropout)
    if dpr.dpr_freeze_embeddings:
        freeze_embeddings(bi_encoder.q_encoder, bi_encoder.p_encoder)
    with start.accelerator.main_process_first():  # the others read its index and negatives
        corpus = choose_corpus(args.dataset, args.retriever.context_path, train_examples)
        train_examples = add_negatives(
            train_examples, corpus, args.dataset, args.retriever, args.mining, dpr, bi_encoder.tokenizer.name_or_path
        )
    if dpr.write_dpr_json is not None and start.accelerator.is_main_process:
        write_dpr_json(dpr.write_dpr_json, train_examples)
    questions = TrainingQuestions(train_examples, corpus_passages(corpus), args.mining.hard_negatives, args.run.seed)
    evaluation = None
    if eval_examples:
        evaluation = RetrievalEvaluation(corpus, eval_examples, dpr.dpr_eval_batch, start.precision)

    # loop
    loop = TrainingLoop(
        start,
        args.optimization,
        bi_encoder,
        Batches(lambda epoch: questions.batches(epoch, dpr.dpr_train_batch), questions.ids),
        dpr.dpr_eval_steps,
        BestScores(),
    )
    arguments = {name: value for name, value in resolved_arguments(*args).items() if name not in UNUSED}
    data = {"train": fingerprint(train_examples), "evaluation": fingerprint(eval_examples), "corpus": corpus.hash}
    start.open(arguments, data, loop.resume)
    log_batch(args)
    return Run(args, start, bi_encoder, questions, evaluation, loop)


def log_batch(args: Arguments) -> None:
    """Say how many passages a question is compared with; accumulated gradients do not add any."""
    batch, negatives = args.dpr.dpr_train_batch, args.mining.hard_negatives
    logger.info("every question is compared with the %d passages of its batch", batch * (1 + negatives))
    if args.optimization.gradient_accumulation_steps > 1:
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
                metrics = evaluate(run)
                run.loop.log(metrics)
                keep_if_best(run, metrics)


def train_step(run: Run, rows: Sequence[int]) -> None:
    """Forward and backward of the questions ``rows`` of all processes, which have their loss in common."""
    loop, accelerator = run.loop, run.start.accelerator
    batch = joint_batch(run, rows)
    labels, same_passage = send_to_device(batch.targets(), accelerator.device)  # (Q,), (Q, P)
    loss_of = partial(in_batch_loss, labels=labels, same_passage=same_passage, temperature=run.args.dpr.temperature)
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
    chunks = batch.chunks(accelerator.process_index, run.bi_encoder, run.args.dpr.chunk_size)
    return send_to_device(chunks, accelerator.device)


def read_again(run: Run, rows: Sequence[int]) -> torch.Tensor:
    """Return the scores (questions, passages) that the encoders, as they are now, give in a first part of ``rows``."""
    questions, passages = run.bi_encoder(*own_chunks(run, joint_batch(run, rows))[0])
    return questions @ passages.T  # (questions, H) @ (H, passages)


def evaluate(run: Run) -> dict[str, float]:
    """Return loss, recall and reciprocal rank of the evaluation questions over the whole corpus."""
    batch, temperature = run.args.dpr.dpr_train_batch, run.args.dpr.temperature
    metrics = run.evaluation.evaluate(run.bi_encoder, run.start.accelerator, batch, temperature)
    logger.info(
        "step %d: eval loss %.4f, recall@5 %.4f, MRR@10 %.4f",
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
            save_bi_encoder(run.bi_encoder, staging)
            write_json(staging / "metrics.json", metrics)


def save(run: Run) -> dict[str, float]:
    """Keep the last encoders where nothing was evaluated; return the metrics of those that are kept."""
    if run.loop.best.step is None:
        keep(run, {"step": run.loop.progress.step})
    run.start.accelerator.wait_for_everyone()
    metrics = read_json(run.start.folder / "metrics.json")
    logger.info("retriever: %s, of step %d", run.start.folder, metrics["step"])
    return metrics


if __name__ == "__main__":
    run_command(main)
