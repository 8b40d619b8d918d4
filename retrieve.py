"""Measure retrievers side by side: how often they find the passage and the answer, how fast, at what size.

    python retrieve.py --retriever_type SparseRetrieval_BM25P SparseRetrieval_BM25P,analyzer=bigram \
        --dataset_path data/mini_wiki --top_k 100 --output_dir outputs/retrieval

Writes to --output_dir: retrieval.json, retrieval.md (the table that is printed), retrieval.png (recall over k), and
for each retriever what --write names: retrieved_passages.csv or .parquet, run.trec, dpr.json. --tune_fusion adds
fusion.json, the weights of each HybridRetrieval.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while the imports below take their seconds

import dataclasses
import gc
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from datasets import Dataset

from arguments import (
    ComparisonArguments,
    DatasetArguments,
    RetrieveArguments,
    RunArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.corpus import Corpus, find_corpus, load_corpus
from loading.dpr_json import write_dpr_json
from loading.examples import load_examples
from loading.retrieval_examples import Passage, RetrievalExample, wrong_rows
from reading.metrics import bootstrap_interval
from retrieval import create_retriever, load_or_build
from retrieval.base import MANIFEST_NAME, Retriever, SearchResults, index_folder, parts_of
from retrieval.hybrid import HybridRetrieval
from retrieval.metrics import GoldPassages, has_answer, ranking_metrics, relevant_by_answer
from retrieval.report import fusion_markdown, markdown, plot
from retrieval.spec import arguments_of
from retrieval.table import retrieved_blocks, write_retrieved_df
from retrieval.training import corpus_passages
from retrieval.trec import write_trec_run
from retrieval.tuning import Quality, halves, tune_weights
from runtime.device import default_device, resolve_precision
from runtime.errors import UserError, run_command
from runtime.files import read_json, write_json, write_text
from runtime.locks import claimed
from runtime.log import configure_logging, get_logger
from runtime.record import environment
from runtime.text import is_blank

logger = get_logger("retrieve")

_KS = (1, 5, 10, 20, 50, 100)
_RESAMPLES = 1000

_NOT_READ = "passages are found, not read"
_MEASURED = "nothing is trained"
UNUSED = {
    **dict.fromkeys(("max_seq_len", "stride_len", "use_max_padding", "max_ans_len", "n_best_size"), _NOT_READ),
    **dict.fromkeys(("version_2_with_negative", "null_score_diff_threshold", "cache_dir"), _NOT_READ),
    **dict.fromkeys(("preprocessing_num_workers",), _NOT_READ),
    **dict.fromkeys(("concat_eval", "max_train_samples", "logging_dir", "logging_steps"), _MEASURED),
    **dict.fromkeys(("report_to", "wandb_project", "wandb_entity"), _MEASURED),
    "test_eval_dataset_path": "--dataset_path and --split name the questions",
    "per_device_eval_batch_size": "--encode_batch_size is the batch of encoders",
    "precision": "encoders run in the best precision of the device",
    "overwrite_output_dir": "every file of an earlier run is replaced whole",
    "run_name": "results are named by --output_dir",
    "description": "results are named by --output_dir",
    "retrieved_df_path": "this command writes tables",
}


class Arguments(NamedTuple):
    run: RunArguments
    dataset: DatasetArguments
    retrieve: RetrieveArguments
    comparison: ComparisonArguments


class Material(NamedTuple):
    """What every retriever is measured on."""

    examples: Dataset
    corpus: Corpus
    gold: GoldPassages
    answerable: np.ndarray  # (n,) bool, which examples have a gold answer
    seed: int


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Parse the command line."""
    groups = [RunArguments, DatasetArguments, RetrieveArguments, ComparisonArguments]
    own = {"output_dir": "./outputs/retrieval"}
    return Arguments(*parse_arguments("retrieve.py", groups, argv, UNUSED, own, description="Measure retrievers."))


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the retrievers; return what retrieval.json holds."""
    args = parse(argv)
    configure_logging()
    with claimed(args.run.output_dir):
        return compare(args)


def compare(args: Arguments) -> dict[str, Any]:
    """Retrieve with each retriever, one after the other, and write what came out."""
    output_dir, top_k = Path(args.run.output_dir), args.retrieve.top_k_retrieval
    specs = list(dict.fromkeys(args.retrieve.retriever_type))
    for spec in specs:  # a mistake in one is found before anything is built
        create_retriever(dataclasses.replace(args.retrieve, retriever_type=spec))

    # data
    material = load(args)
    check(args, material)

    # retrieve
    rows, fusions = [], {}
    for spec, name in zip(specs, folder_names(specs), strict=True):
        arguments = arguments_of(spec, args.retrieve)
        retriever = create_retriever(arguments)
        row = {"retriever": spec, **prepare(retriever, material.corpus, args.retrieve.index_dir)}
        results, row["milliseconds_per_question"] = search(retriever, material.examples["question"], top_k)
        rows.append(row | score(results, material))
        write(args.comparison.write, output_dir / name if len(specs) > 1 else output_dir, name, results, material)
        if args.comparison.tune_fusion and isinstance(retriever, HybridRetrieval):
            fusions[spec] = tune(retriever, arguments.hybrid_retrievers, material, top_k)
            print(fusion_markdown(spec, fusions[spec]))
        del retriever, results
        free_memory()

    # report
    n, corpus_size = len(material.examples), len(material.corpus)
    report = {"split": args.comparison.split, "questions": n, "passages": corpus_size, "top_k": top_k}
    report |= {"gold_passages": int(material.gold.known.sum()), "in_corpus": int(material.gold.held.sum())}
    report |= {"answerable": int(material.answerable.sum()), "retrievers": rows}
    print(markdown(report))
    save(args, report, fusions)
    return report


def load(args: Arguments) -> Material:
    """Return the questions and the passages, with what is known of the gold ones."""
    split = args.comparison.split
    examples = load_examples(args.dataset.dataset_path, [split], args.dataset.skip_bad_rows)[split]
    if args.dataset.max_eval_samples is not None:
        examples = examples.select(range(min(args.dataset.max_eval_samples, len(examples))))
    path = args.retrieve.context_path or find_corpus(args.dataset.dataset_path)
    corpus = load_corpus(path, skip_bad_rows=args.dataset.skip_bad_rows)
    gold = GoldPassages(examples, corpus)
    if missing := int((gold.known & ~gold.held).sum()):
        logger.warning("%d of %d questions are missed by all: no gold passage in %s", missing, len(examples), path)
    return Material(examples, corpus, gold, has_answer(examples), args.run.seed)


def check(args: Arguments, material: Material) -> None:
    """Raise :class:`UserError` for what these questions cannot give."""
    if not material.gold.known.any():
        if args.comparison.tune_fusion:
            raise UserError("--tune_fusion needs questions whose passages are known, and these name none")
        if "dpr_json" in args.comparison.write:
            raise UserError("--write dpr_json needs questions whose passages are known, and these name none")


def folder_names(specs: Sequence[str]) -> list[str]:
    """Return a readable name for each retriever, all different and fit for a folder."""
    names: list[str] = []
    for spec in specs:
        name = re.sub(r"[^\w.=+-]+", "_", spec).strip("._")[:100]
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def prepare(retriever: Retriever, corpus: Corpus, index_dir: str) -> dict[str, Any]:
    """Make ``retriever`` ready; return whether and how long it was built, and how large its indexes are."""
    began = time.perf_counter()
    load_or_build(retriever, corpus, index_dir)
    ready_seconds = time.perf_counter() - began
    indexes = list(own_indexes(retriever))
    folders = {index_folder(index, corpus, index_dir) for index in indexes}  # parts may share one
    build_seconds = [read_json(folder / MANIFEST_NAME).get("build_seconds") or 0.0 for folder in folders]
    return {
        "parameters": retriever.parameters(),
        "built": any(hasattr(index, "build_seconds") for index in indexes),
        "ready_seconds": ready_seconds,
        "build_seconds": sum(build_seconds),
        "index_bytes": sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file()),
    }


def own_indexes(retriever: Retriever) -> Iterator[Retriever]:
    """Yield the retrievers with an index of their own that ``retriever`` is made of, itself if it has one."""
    if parts := parts_of(retriever):
        for part in parts:
            yield from own_indexes(part)
    else:
        yield retriever


def search(retriever: Retriever, questions: Sequence[str], k: int) -> tuple[SearchResults, float]:
    """Return the k best passages of all questions, and the milliseconds that one took after a warm-up."""
    questions = list(questions)
    retriever.search(questions[:1], k)
    began = time.perf_counter()
    results = retriever.search(questions, k)
    return results, 1000 * (time.perf_counter() - began) / len(questions)


def score(results: SearchResults, material: Material) -> dict[str, Any]:
    """Return the figures of each definition that the questions allow: in percent, with 95 % intervals."""
    k = results.ids.shape[1]
    ks = [depth for depth in _KS if depth <= k]
    judged = {
        "gold_passage": (material.gold.among(results.ids), material.gold.known),
        "answer_in_text": (relevant_by_answer(results.ids, material.examples, material.corpus), material.answerable),
    }
    scores: dict[str, Any] = {}
    for name, (relevant, counted) in judged.items():
        if counted.any():
            values = ranking_metrics(relevant[counted], ks)
            recalls = np.maximum.accumulate(relevant[counted], axis=1).mean(axis=0)  # (m, k) -> (k,)
            scores[name] = {metric: summary(of_question, material.seed) for metric, of_question in values.items()}
            scores[name]["recall_curve"] = (100 * recalls).tolist()
    return scores


def summary(values: np.ndarray, seed: int) -> dict[str, float]:
    """Return the mean of ``values``, one a question, and its interval, in percent."""
    low, high = bootstrap_interval(100 * values, _RESAMPLES, seed)
    return {"mean": 100 * float(values.mean()), "low": low, "high": high}


def write(forms: Sequence[str], folder: Path, tag: str, results: SearchResults, material: Material) -> None:
    """Write the passages in each of the ``forms`` that --write names."""
    examples, corpus = material.examples, material.corpus
    for suffix in {"csv", "parquet"} & set(forms):
        path = folder / f"retrieved_passages.{suffix}"
        write_retrieved_df(retrieved_blocks(examples, corpus, results), path)
    if "trec" in forms:
        write_trec_run(folder / "run.trec", examples["id"], corpus, results, tag, examples["document_id"])
    if "dpr_json" in forms:
        write_dpr_json(folder / "dpr.json", with_hard_negatives(results, material))


def with_hard_negatives(results: SearchResults, material: Material) -> Iterator[RetrievalExample]:
    """Yield the questions that come with their passage, and what was found that neither is it nor has an answer."""
    passages = corpus_passages(material.corpus)
    for row, found in zip(material.examples, results.ids.tolist(), strict=True):
        if not is_blank(row["context"]):
            positive = Passage(row["title"], row["context"], row["document_id"])
            example = RetrievalExample(row["id"], row["question"], list(row["answers"]["text"]), positive, [])
            wrong = wrong_rows(example, found, material.corpus)
            yield example._replace(negatives=[passages[index] for index in wrong])


def tune(hybrid: HybridRetrieval, parts: Sequence[str], material: Material, k: int) -> dict[str, Any]:
    """Choose the hybrid's weights on one half of the gold passages; return them with their scores on the other."""
    first_half = halves(material.examples)
    tuning, held_out = material.gold.known & first_half, material.gold.known & ~first_half
    if not (tuning.any() and held_out.any()):
        raise UserError("--tune_fusion needs questions about more passages: one half of them has none")
    found = hybrid.search_parts(material.examples["question"], k)

    def figures(weights: Sequence[float] | None, counted: np.ndarray) -> dict[str, np.ndarray]:
        results = hybrid.fuse(found, k, weights)
        return ranking_metrics(material.gold.among(results.ids)[counted], [1, 5])

    def quality(weights: Sequence[float]) -> Quality:
        values = figures(weights, tuning)
        return Quality(float(values["recall@5"].mean()), float(values["mrr@10"].mean()))

    best, tried = tune_weights(quality, len(found))
    compared = {"tuned": best, "equal": [1.0] * len(found)}
    compared |= {f"only {part}": np.eye(len(found))[number].tolist() for number, part in enumerate(parts)}
    return {
        "fusion": hybrid.fusion,
        "weights": best,
        "flags": f"--fusion {hybrid.fusion} --fusion_weights {' '.join(f'{weight:g}' for weight in best)}",
        "tuned_on_questions": int(tuning.sum()),
        "curve": [{"weights": list(weights), **scores._asdict()} for weights, scores in tried.items()],
        "held_out_questions": int(held_out.sum()),
        "held_out": {
            name: {metric: summary(values, material.seed) for metric, values in figures(weights, held_out).items()}
            for name, weights in compared.items()
        },
    }


def save(args: Arguments, report: Mapping[str, Any], fusions: Mapping[str, Any]) -> None:
    """Write the figures, the table, the plot and what the run was to --output_dir."""
    output_dir = Path(args.run.output_dir)
    device = default_device()
    contents = {"retrieval.json": report, "arguments.json": resolved_arguments(*args)}
    contents["environment.json"] = environment(device, resolve_precision("auto", device), args.run.seed)
    if fusions:
        contents["fusion.json"] = fusions
    for name, content in contents.items():
        write_json(output_dir / name, content)
    tables = [fusion_markdown(spec, fusion) for spec, fusion in fusions.items()]
    write_text(output_dir / "retrieval.md", "\n".join([markdown(report), *tables]))
    names = [*contents, "retrieval.md"]
    if report["gold_passages"] or report["answerable"]:
        try:
            plot(report, output_dir / "retrieval.png")
            names.append("retrieval.png")
        except UserError as error:
            logger.warning("retrieval.png is left out: %s", error)
    forms = f" and {', '.join(args.comparison.write)} of each retriever" if args.comparison.write else ""
    print(f"{', '.join(sorted(names))}{forms} in {output_dir}")


def free_memory() -> None:
    """Give back what the last retriever held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    run_command(main)
