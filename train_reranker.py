"""Train a reranker: a cross-encoder that tells the passage with the answer from those that only look like it.

    python train_reranker.py --reranker_model klue/bert-base --dataset_path ../data --output_dir saved/reranker

Hard negatives are mined with --retriever_type. Writes to --output_dir: best/, which --reranker takes, metrics.jsonl,
metrics.json with recall@1 and MRR@10 of the validation questions before and after reranking, arguments.json,
environment.json, and resume/ for --resume_from_checkpoint true. Runs on several GPUs under accelerate launch.
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

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, send_to_device
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from arguments import (
    DatasetArguments,
    MiningArguments,
    OptimizationArguments,
    RerankerArguments,
    RetrieverArguments,
    RunArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.corpus import Corpus, find_corpus, load_corpus
from loading.questions import load_questions
from loading.retrieval_examples import RetrievalExample
from models.cross_encoder import (
    CrossEncoder,
    Pair,
    RerankerSettings,
    load_cross_encoder_to_train,
    save_cross_encoder,
)
from retrieval import create_retriever, load_or_build
from retrieval.base import Retriever, top_k
from retrieval.metrics import GoldPassages, ranking_metrics
from retrieval.mining import find_hard_negatives
from retrieval.training import TrainingQuestions, corpus_passages, with_gold_passages
from runtime.device import default_device, keep_freed_memory, resolve_precision
from runtime.errors import UserError, run_command
from runtime.files import read_json, write_json
from runtime.hashing import hash_rows
from runtime.log import configure_logging, get_logger
from runtime.output import find_model, warn_of_changes
from runtime.processes import close_accelerator, open_accelerator, together
from runtime.progress import progress_bar
from runtime.record import environment
from runtime.seeding import set_seed
from runtime.statistics import percent
from training.checkpoint import find_state, newest_step
from training.freezing import log_frozen
from training.loop import TrainingLoop
from training.optimization import count_steps, make_optimizer, make_scheduler
from training.run_folder import RunFolder, run_folder

logger = get_logger("train_reranker")

_FORWARD_PASSES = 4  # per batch, each over pairs of like length: long passages leave little padding to short ones

OWN_DEFAULTS = {"output_dir": "./saved/reranker", "hard_negatives": 4, "per_device_train_batch_size": 8}
_READS_PAIRS = "it is for readers; a reranker reads pairs of at most --reranker_max_len tokens"
UNUSED = {
    **dict.fromkeys(("max_seq_len", "stride_len", "use_max_padding"), _READS_PAIRS),
    **dict.fromkeys(("max_ans_len", "n_best_size"), "a reranker gives no answers"),
    **dict.fromkeys(("version_2_with_negative", "null_score_diff_threshold"), "a reranker gives no answers"),
    **dict.fromkeys(("cache_dir", "preprocessing_num_workers"), "there are no features to keep"),
    "label_smoothing_factor": "which passage has the answer is known",
    "save_total_limit": "only the best reranker is kept",
    "mine_from": "negatives are mined with --retriever_type",
    "top_k_retrieval": "--mining_depth and --rerank_depth say how many passages are retrieved",
    "retrieved_df_path": "passages are retrieved anew",
    "reranker": "it is what this command trains: --reranker_model names its start",
}


class Arguments(NamedTuple):
    run: RunArguments
    dataset: DatasetArguments
    retriever: RetrieverArguments
    mining: MiningArguments
    reranker: RerankerArguments
    optimization: OptimizationArguments


class Candidates(NamedTuple):
    """What a retriever found for n questions: a pair for each, best first, and which hold the gold passage."""

    pairs: list[Pair]  # n * depth
    relevant: np.ndarray  # (n, depth) bool


class Run(NamedTuple):
    """Everything that a training run consists of."""

    args: Arguments
    precision: str
    cross_encoder: CrossEncoder
    questions: TrainingQuestions
    candidates: Candidates | None
    loop: TrainingLoop
    records: dict[str, Any]


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line."""
    groups = [
        RunArguments, DatasetArguments, RetrieverArguments, MiningArguments, RerankerArguments, OptimizationArguments
    ]  # fmt: skip
    return Arguments(
        *parse_arguments("train_reranker.py", groups, argv, UNUSED, OWN_DEFAULTS, description="Train a reranker.")
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train a reranker; return the metrics of the best (empty without --do_eval)."""
    args = parse(argv)
    if args.mining.hard_negatives == 0:
        raise UserError("--hard_negatives 0 leaves no passage to tell the right one from: give 1 or more")
    precision = resolve_precision(args.run.precision, default_device())
    accelerator = open_accelerator(precision)
    configure_logging(accelerator.is_main_process)
    resume = args.optimization.resume_from_checkpoint is not None
    with run_folder(args.run.run_dir, args.run.log_dir, args.run.overwrite_output_dir, resume, newest_step) as folder:
        return run_in(folder, args, precision, accelerator)


def run_in(folder: RunFolder, args: Arguments, precision: str, accelerator: Accelerator) -> dict[str, float]:
    """Train a reranker in ``folder``; return the metrics of the best (empty without --do_eval)."""
    state_folder = find_state(folder.path, args.optimization.resume_from_checkpoint)
    set_seed(args.run.seed)
    keep_freed_memory()

    # data
    args = args._replace(reranker=replace(args.reranker, reranker_model=find_model(args.reranker.reranker_model)))
    train_examples, eval_examples, corpus = load_data(args)
    with accelerator.main_process_first():  # the others read its index and negatives
        train_examples = add_negatives(train_examples, corpus, args)
        candidates = find_candidates(eval_examples, corpus, args) if eval_examples else None
    questions = TrainingQuestions(train_examples, corpus_passages(corpus), args.mining.hard_negatives, args.run.seed)

    # model
    settings = RerankerSettings(args.reranker.reranker_max_len, args.reranker.reranker_title_prefix)
    cross_encoder = load_cross_encoder_to_train(
        args.reranker.reranker_model, settings, args.reranker.reranker_dropout, accelerator.device
    )
    model = cross_encoder.model
    if args.reranker.reranker_freeze_embeddings:
        embeddings = model.get_input_embeddings().weight.requires_grad_(False)
        log_frozen("the word embeddings", [embeddings])

    # optimisation
    options, batch_size = args.optimization, args.optimization.per_device_train_batch_size * accelerator.num_processes
    batches_per_epoch = math.ceil(len(questions) / batch_size)
    total_steps = count_steps(options, batches_per_epoch)
    trained = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    optimizer = make_optimizer(trained, options, model.base_model_prefix)
    scheduler = make_scheduler(optimizer, options, total_steps)
    loop = TrainingLoop(
        args.run,
        accelerator,
        *accelerator.prepare(model, optimizer),
        scheduler,
        lambda epoch: questions.batches(epoch, batch_size),
        batches_per_epoch,
        [example.id for example in train_examples],
        total_steps,
        options.eval_steps if options.eval_strategy == "steps" else None,
        options.gradient_accumulation_steps,
        options.max_grad_norm,
        options.early_stopping_patience,
    )
    record = environment(accelerator.device, precision, args.run.seed)
    record["processes"] = accelerator.num_processes
    data = {"train": hash_rows(train_examples), "evaluation": hash_rows(eval_examples)}
    record["data"] = data | {"corpus": corpus.hash}
    records = {"arguments": resolved_arguments(*args), "environment": record}
    if state_folder is not None:
        warn_of_changes(folder.path, records["arguments"])
        loop.resume(state_folder)
    if accelerator.is_main_process:
        folder.open(records)

    # loop and save
    run = Run(args, precision, cross_encoder, questions, candidates, loop, records)
    train(run)
    return save(run)


def load_data(args: Arguments) -> tuple[list[RetrievalExample], list[RetrievalExample], Corpus]:
    """Return the questions to train on and to evaluate on, and the corpus, which holds the passages of the latter."""
    train_examples, eval_examples = load_questions(args.dataset, args.optimization.do_eval)
    path = args.retriever.context_path or find_corpus(args.dataset.dataset_path)
    corpus = load_corpus(path, args.dataset.skip_bad_rows)
    corpus, _ = with_gold_passages(corpus, [example.positive for example in eval_examples])
    return train_examples, eval_examples, corpus


def add_negatives(examples: list[RetrievalExample], corpus: Corpus, args: Arguments) -> list[RetrievalExample]:
    """Return ``examples`` with hard negatives: their own, as DPR JSON has them, else mined ones."""
    without = [example for example in examples if not example.negatives]
    if not without:
        return examples
    mined = find_hard_negatives(
        without, corpus, make_retriever(args), args.mining.mining_depth, args.retriever.index_dir
    )
    passages = corpus_passages(corpus)
    found = iter(mined)
    return [
        example if example.negatives else example._replace(negatives=[passages[row] for row in next(found)])
        for example in examples
    ]


def find_candidates(examples: list[RetrievalExample], corpus: Corpus, args: Arguments) -> Candidates:
    """Return what the retriever finds for the evaluation questions, to be re-ordered."""
    retriever = load_or_build(make_retriever(args), corpus, args.retriever.index_dir)
    ids = retriever.search([example.question for example in examples], args.retriever.rerank_depth).ids  # (n, depth)
    pairs = [
        Pair(example.question, corpus.titles[row], corpus.texts[row])
        for example, rows in zip(examples, ids.tolist(), strict=True)
        for row in rows
    ]
    golds = Dataset.from_dict({"context": [example.positive.text for example in examples]})
    return Candidates(pairs, GoldPassages(golds, corpus).among(ids))  # (n, depth)


def make_retriever(args: Arguments) -> Retriever:
    """Return the retriever whose passages are told apart."""
    return create_retriever(args.retriever, args.reranker.reranker_model)


def train(run: Run) -> None:
    """Run the loop from where it stands to the last optimizer step."""
    loop = run.loop
    with loop.running(run.records["arguments"], partial(read_again, run)):
        if run.candidates is not None and loop.progress.step == 0:
            loop.tracker.log(0, report("before", run.candidates.relevant))
        for rows in loop.batches():
            loss = train_step(run, rows)
            if loop.finish_batch(loss) and loop.is_evaluation_due():
                if run.candidates is not None:
                    metrics = evaluate(run)
                    loop.tracker.log(loop.progress.step, metrics)
                    keep_if_best(run, metrics)
                loop.save_state()


def train_step(run: Run, rows: list[int]) -> torch.Tensor:
    """Forward and backward of this process's share of the questions ``rows``; return their loss."""
    loop, accelerator = run.loop, run.loop.accelerator
    own = rows[accelerator.process_index :: accelerator.num_processes]
    weight = len(own) * accelerator.num_processes / len(rows)  # gradients are averaged over processes
    with loop.synchronising():
        loss = weight * listwise_loss(*score_groups(run, own or rows[:1]))  # one without a question reads for nothing
        accelerator.backward(loss * loop.share_of_step())
    return loss


def read_again(run: Run, rows: list[int]) -> torch.Tensor:
    """Return the scores (pairs,) that the reranker, as it is now, gives the passages of the first of ``rows``."""
    (pairs,) = draw_pairs(run, rows[:1])
    return torch.from_numpy(run.cross_encoder.score(pairs, precision=run.precision))


def draw_pairs(run: Run, rows: list[int]) -> list[list[Pair]]:
    """Return each of the questions ``rows`` with its passages of the epoch."""
    return [
        [
            Pair(run.questions.examples[row].question, passage.title, passage.text)
            for passage in run.questions.draw(row, run.loop.progress.epoch)
        ]
        for row in rows
    ]


def score_groups(run: Run, rows: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Return the logits (pairs,) of the questions ``rows`` with the passages of the epoch, and how many each has."""
    groups = draw_pairs(run, rows)
    pairs = [pair for group in groups for pair in group]
    tokens = run.cross_encoder.tokenize(pairs)
    by_length = np.argsort([len(row["input_ids"]) for row in tokens], kind="stable")  # (pairs,)
    passes = []
    for chosen in np.array_split(by_length, min(_FORWARD_PASSES, len(pairs))):
        batch = run.cross_encoder.pad([tokens[row] for row in chosen])
        passes.append(run.loop.model(**send_to_device(batch, run.loop.accelerator.device)).logits[:, 0])
    logits = torch.cat(passes)[by_length.argsort()]  # (pairs,) by length -> (pairs,) by question
    return logits, [len(group) for group in groups]


def listwise_loss(logits: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Return the cross-entropy of each group's first passage in the softmax over its passages, averaged.

    ``logits`` (pairs,) holds the groups one after the other, ``sizes`` how many pairs each has. (Gao et al. 2021,
    Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline, equation 3.)
    """
    scores = pad_sequence(logits.float().split(sizes), batch_first=True, padding_value=-torch.inf)
    first = torch.zeros(len(sizes), dtype=torch.long, device=logits.device)
    return F.cross_entropy(scores, first)  # scores: (pairs,) -> (groups, longest group)


def evaluate(run: Run) -> dict[str, float]:
    """Return recall@1 and MRR@10 of the evaluation questions once their candidates are re-ordered."""
    loop, metrics = run.loop, {}
    pairs, relevant = run.candidates
    with together(loop.accelerator):
        if loop.accelerator.is_main_process:
            with progress_bar(total=len(pairs), desc="evaluating", unit="pair", leave=False) as bar:
                scores = run.cross_encoder.score(
                    pairs, bar.update, run.args.run.per_device_eval_batch_size, run.precision
                ).reshape(relevant.shape)  # (n * depth,) -> (n, depth)
            order = top_k(scores, scores.shape[1]).ids  # (n, depth)
            metrics = report("eval", np.take_along_axis(relevant, order, axis=1))
            logger.info(
                "step %d: recall@1 %.2f, MRR@10 %.2f",
                loop.progress.step, metrics["eval_recall@1"], metrics["eval_mrr@10"],
            )  # fmt: skip
    (metrics,) = broadcast_object_list([metrics])
    return metrics


def report(prefix: str, relevant: np.ndarray) -> dict[str, float]:
    """Return mean recall@1 and MRR@10 in percent of ranked passages, ``relevant`` (n, depth)."""
    measured = ranking_metrics(relevant, [1])
    return {f"{prefix}_{name}": percent(measured[name]) for name in ("recall@1", "mrr@10")}


def keep_if_best(run: Run, metrics: dict[str, float]) -> None:
    """Save best/ when MRR@10 rose, or when it was the same and recall@1 rose."""
    loop = run.loop
    better = loop.best.update(loop.progress.step, metrics["eval_mrr@10"], metrics["eval_recall@1"])
    if better and loop.accelerator.is_main_process:
        save_best(run, metrics)


def save_best(run: Run, metrics: dict[str, float]) -> None:
    """Write the reranker as it is to best/."""
    records = run.records | {"metrics": {"step": run.loop.progress.step} | metrics}
    save_cross_encoder(Path(run.args.run.run_dir) / "best", run.cross_encoder, records)


def save(run: Run) -> dict[str, float]:
    """Write metrics.json, those of best/; without --do_eval best/ has the last weights."""
    output_dir, metrics = Path(run.args.run.run_dir), {}
    if run.loop.accelerator.is_main_process:
        if run.candidates is None:
            save_best(run, {})
        else:
            metrics = report("before", run.candidates.relevant)
        metrics |= read_json(output_dir / "best" / "metrics.json")
        write_json(output_dir / "metrics.json", metrics)
        logger.info("best reranker: %s", output_dir / "best")
    close_accelerator(run.loop.accelerator)
    return metrics


if __name__ == "__main__":
    run_command(main)
