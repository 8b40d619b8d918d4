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

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
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
from loading.corpus import Corpus, find_corpus, load_corpus
from loading.dpr_json import find_dpr_json, write_dpr_json
from loading.questions import load_questions
from loading.retrieval_examples import RetrievalExample
from models.contrastive import Batch, in_batch_loss, joint_backward
from models.encoder import BiEncoder, check_encoders, load_bi_encoder, save_bi_encoder
from retrieval import create_retriever
from retrieval.evaluation import RetrievalEvaluation
from retrieval.joint_batch import JointBatch
from retrieval.mining import with_hard_negatives
from retrieval.training import TrainingQuestions, corpus_passages, with_gold_passages
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.errors import DataError, UserError, run_command
from runtime.files import read_json, staged_together, write_json
from runtime.hashing import hash_rows
from runtime.locks import check_writable
from runtime.log import configure_logging, get_logger
from runtime.output import warn_of_changes
from runtime.processes import close_accelerator, open_accelerator
from runtime.record import environment
from runtime.seeding import set_seed
from runtime.tracking import check_tracking
from training.checkpoint import find_state, newest_step
from training.freezing import log_frozen
from training.loop import TrainingLoop
from training.optimization import count_steps, make_optimizer, make_scheduler
from training.run_folder import RunFolder, run_folder

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
    bi_encoder: BiEncoder
    questions: TrainingQuestions
    evaluation: RetrievalEvaluation | None
    loop: TrainingLoop
    records: dict[str, Any]


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
    check_tracking(args.run)
    precision = resolve_precision(args.run.precision, default_device())
    accelerator = open_accelerator(precision)
    configure_logging(accelerator.is_main_process)
    resume = args.optimization.resume_from_checkpoint is not None
    with run_folder(
        args.run.run_dir, args.run.log_dir, args.run.overwrite_output_dir, resume, newest_step, "--retriever_dir"
    ) as folder:
        return run_in(folder, args, precision, accelerator)


def run_in(folder: RunFolder, args: Arguments, precision: str, accelerator: Accelerator) -> dict[str, float]:
    """Train a retriever in ``folder``; return the metrics of its best evaluation."""
    if args.dpr.write_dpr_json is not None:
        check_writable(Path(args.dpr.write_dpr_json).parent, "--write_dpr_json")
    state_folder = find_state(folder.path, args.optimization.resume_from_checkpoint, "--retriever_dir")
    set_seed(args.run.seed)
    keep_freed_memory()

    # data and model
    train_examples, eval_examples = load_data(args)
    bi_encoder = load_model(args)
    with accelerator.main_process_first():  # the others read its index and negatives
        corpus = choose_corpus(args, train_examples)
        train_examples = add_negatives(args, train_examples, corpus, bi_encoder.tokenizer.name_or_path)
    if args.dpr.write_dpr_json is not None and accelerator.is_main_process:
        write_dpr_json(args.dpr.write_dpr_json, train_examples)
    questions = TrainingQuestions(train_examples, corpus_passages(corpus), args.mining.hard_negatives, args.run.seed)
    evaluation = None
    if eval_examples:
        evaluation = RetrievalEvaluation(corpus, eval_examples, args.dpr.dpr_eval_batch, precision)

    # optimisation
    options, batch_size = args.optimization, args.dpr.dpr_train_batch
    batches_per_epoch = math.ceil(len(questions) / batch_size)
    total_steps = count_steps(options, batches_per_epoch)
    trained = [(name, weight) for name, weight in bi_encoder.named_parameters() if weight.requires_grad]
    optimizer = make_optimizer(trained, options, "")
    scheduler = make_scheduler(optimizer, options, total_steps)
    loop = TrainingLoop(
        args.run,
        accelerator,
        *accelerator.prepare(bi_encoder, optimizer),
        scheduler,
        lambda epoch: questions.batches(epoch, batch_size),
        batches_per_epoch,
        [example.id for example in train_examples],
        total_steps,
        args.dpr.dpr_eval_steps,
        options.gradient_accumulation_steps,
        options.max_grad_norm,
        options.early_stopping_patience,
    )
    record = environment(accelerator.device, precision, args.run.seed)
    record["processes"] = accelerator.num_processes
    record["data"] = {
        "train": hash_rows(train_examples), "evaluation": hash_rows(eval_examples), "corpus": corpus.hash
    }  # fmt: skip
    arguments = {name: value for name, value in resolved_arguments(*args).items() if name not in UNUSED}
    records = {"arguments": arguments, "environment": record}
    if state_folder is not None:
        warn_of_changes(folder.path, arguments)
        loop.resume(state_folder)
    if accelerator.is_main_process:
        folder.open(records)

    # loop and save
    run = Run(args, bi_encoder, questions, evaluation, loop, records)
    log_batch(args)
    train(run)
    return save(run)


def load_data(args: Arguments) -> tuple[list[RetrievalExample], list[RetrievalExample]]:
    """Return the questions to train on and to evaluate on, the latter empty where the data has none."""
    try:
        train_examples, eval_examples = load_questions(args.dataset, evaluate=True)
        reason = "--concat_eval trains on the validation questions"
    except DataError:
        raise
    except UserError as error:
        if args.dataset.concat_eval or args.dataset.test_eval_dataset_path is not None:
            raise
        train_examples, eval_examples = load_questions(args.dataset, evaluate=False)
        reason = str(error)
    if not eval_examples:
        logger.warning("nothing is evaluated, the last encoders are kept: %s", reason)
    return train_examples, eval_examples


def load_model(args: Arguments) -> BiEncoder:
    """Return the encoders to train."""
    dpr = args.dpr
    bi_encoder = load_bi_encoder(dpr.dpr_model, args.retriever, dpr.shared_encoder, dpr.dpr_dropout, training=True)
    if dpr.shared_encoder and bi_encoder.q_encoder is not bi_encoder.p_encoder:
        raise UserError(f"--shared_encoder: {dpr.dpr_model} holds two encoders; name one of its folders to begin with")
    check_encoders(bi_encoder, f"--dpr_model {dpr.dpr_model}")
    if dpr.dpr_freeze_embeddings:
        embeddings = [encoder.get_input_embeddings().weight for encoder in (bi_encoder.q_encoder, bi_encoder.p_encoder)]
        for weight in embeddings:
            weight.requires_grad_(False)
        log_frozen("the word embeddings", dict.fromkeys(embeddings))
    return bi_encoder


def choose_corpus(args: Arguments, examples: list[RetrievalExample]) -> Corpus:
    """Return --context_path, else the corpus of the data set, else the passages of ``examples``."""
    path: str | Path | None = args.retriever.context_path
    if path is None and not brings_negatives(args):
        try:
            path = find_corpus(args.dataset.dataset_path)
        except UserError:
            logger.info("no corpus is given or found: the passages of the training questions are the corpus")
    if path is not None:
        return load_corpus(path, args.dataset.skip_bad_rows)
    passages = (passage for example in examples for passage in (*example.positives, *example.negatives))
    return with_gold_passages(Corpus([], [], []), passages)[0]


def brings_negatives(args: Arguments) -> bool:
    """Whether the data set is DPR JSON, which needs no corpus and is not mined without one."""
    return find_dpr_json(args.dataset.dataset_path, "train") is not None


def add_negatives(
    args: Arguments, examples: list[RetrievalExample], corpus: Corpus, default_tokenizer: str
) -> list[RetrievalExample]:
    """Return ``examples`` with hard negatives: their own, and those that --mine_from finds."""
    if args.mining.hard_negatives == 0 or (args.retriever.context_path is None and brings_negatives(args)):
        return examples
    changes = {"retriever_type": "SparseRetrieval_BM25P"}
    if args.mining.mine_from == "dense":
        changes = {
            "retriever_type": "DenseRetrieval",
            "retriever_dir": args.dpr.dpr_model,
            "encode_batch_size": args.dpr.dpr_eval_batch,
        }
    retriever = create_retriever(replace(args.retriever, **changes), default_tokenizer)
    return with_hard_negatives(examples, corpus, retriever, args.mining.mining_depth, args.retriever.index_dir)


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
    loop = run.loop
    with loop.running(run.records["arguments"], partial(read_again, run)):
        for rows in loop.batches():
            loss = train_step(run, rows)
            if loop.finish_batch(loss) and loop.is_evaluation_due():
                if run.evaluation is not None:
                    metrics = evaluate(run)
                    loop.tracker.log(loop.progress.step, metrics)
                    keep_if_best(run, metrics)
                loop.save_state()


def train_step(run: Run, rows: Sequence[int]) -> torch.Tensor:
    """Forward and backward of the questions ``rows`` of all processes; return their loss, which all have in common."""
    loop, accelerator, dpr = run.loop, run.loop.accelerator, run.args.dpr
    batch = joint_batch(run, rows)
    labels, same_passage = send_to_device(batch.targets(), accelerator.device)  # (Q,), (Q, P)
    loss_of = partial(in_batch_loss, labels=labels, same_passage=same_passage, temperature=dpr.temperature)
    chunks = own_chunks(run, batch)
    return joint_backward(
        accelerator, loop.model, chunks, batch.counts, loss_of, loop.share_of_step(), loop.ends_step()
    )


def joint_batch(run: Run, rows: Sequence[int]) -> JointBatch:
    """Return the questions ``rows`` with the passages of this epoch."""
    return JointBatch(run.questions, rows, run.loop.progress.epoch, run.loop.accelerator.num_processes)


def own_chunks(run: Run, batch: JointBatch) -> list[tuple[Batch, Batch]]:
    """Return this process's share of ``batch`` in parts that fit in memory, on its device."""
    accelerator = run.loop.accelerator
    chunks = batch.chunks(accelerator.process_index, run.bi_encoder, run.args.dpr.chunk_size)
    return send_to_device(chunks, accelerator.device)


def read_again(run: Run, rows: Sequence[int]) -> torch.Tensor:
    """Return the scores (questions, passages) that the encoders, as they are now, give in a first part of ``rows``."""
    questions, passages = run.bi_encoder(*own_chunks(run, joint_batch(run, rows))[0])
    return questions @ passages.T  # (questions, H) @ (H, passages)


def evaluate(run: Run) -> dict[str, float]:
    """Return loss, recall and reciprocal rank of the evaluation questions over the whole corpus."""
    batch, temperature = run.args.dpr.dpr_train_batch, run.args.dpr.temperature
    metrics = run.evaluation.evaluate(run.bi_encoder, run.loop.accelerator, batch, temperature)
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
    if run.loop.accelerator.is_main_process:
        with staged_together(run.args.run.run_dir) as staging:
            save_bi_encoder(run.bi_encoder, staging)
            write_json(staging / "metrics.json", metrics)


def save(run: Run) -> dict[str, float]:
    """Keep the last encoders where nothing was evaluated; return the metrics of those that are kept."""
    folder = Path(run.args.run.run_dir)
    if run.loop.best.step is None:
        keep(run, {"step": run.loop.progress.step})
    run.loop.accelerator.wait_for_everyone()
    metrics = read_json(folder / "metrics.json")
    logger.info("retriever: %s, of step %d", folder, metrics["step"])
    close_accelerator(run.loop.accelerator)
    return metrics


if __name__ == "__main__":
    run_command(main)
