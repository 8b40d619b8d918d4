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
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from arguments import (
    ComparisonArguments,
    DatasetArguments,
    RetrieveArguments,
    RunArguments,
    parse_arguments,
    resolved_arguments,
)
from loading.corpus import find_corpus, load_corpus
from loading.dpr_json import write_dpr_json
from loading.examples import load_examples
from retrieval import create_retriever
from retrieval.base import SearchResults
from retrieval.comparison import Questions, measure, prepare, questions_of, timed_search, training_examples
from retrieval.hybrid import HybridRetrieval
from retrieval.report import fusion_markdown, markdown, plot
from retrieval.spec import arguments_of
from retrieval.table import retrieved_blocks, write_retrieved_df
from retrieval.trec import write_trec_run
from retrieval.tuning import tune_fusion
from runtime.device import default_device, free_memory, resolve_precision
from runtime.errors import UserError, run_command
from runtime.files import write_json, write_text
from runtime.locks import claimed
from runtime.log import configure_logging, get_logger
from runtime.record import environment

logger = get_logger("retrieve")

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
    questions = load(args)

    # retrieve and measure
    rows, fusions = [], {}
    for spec, name in zip(specs, folder_names(specs), strict=True):
        arguments = arguments_of(spec, args.retrieve)
        retriever = create_retriever(arguments)
        row = {"retriever": spec, **prepare(retriever, questions.corpus, args.retrieve.index_dir)}
        results, row["milliseconds_per_question"] = timed_search(retriever, questions.examples["question"], top_k)
        rows.append(row | measure(results, questions))
        write(args.comparison.write, output_dir / name if len(specs) > 1 else output_dir, name, results, questions)
        if args.comparison.tune_fusion and isinstance(retriever, HybridRetrieval):
            fusions[spec] = tune_fusion(retriever, arguments.hybrid_retrievers, questions, top_k)
            print(fusion_markdown(spec, fusions[spec]))
        del retriever, results
        free_memory()

    # write
    n, gold = len(questions.examples), questions.gold
    report = {"split": args.comparison.split, "questions": n, "passages": len(questions.corpus), "top_k": top_k}
    report |= {"gold_passages": int(gold.known.sum()), "in_corpus": int(gold.held.sum())}
    report |= {"answerable": int(questions.answerable.sum()), "retrievers": rows}
    print(markdown(report))
    save(args, report, fusions)
    return report


def load(args: Arguments) -> Questions:
    """Return the questions and the passages; raise :class:`UserError` for what these questions cannot give."""
    split = args.comparison.split
    examples = load_examples(args.dataset.dataset_path, [split], args.dataset.skip_bad_rows)[split]
    if args.dataset.max_eval_samples is not None:
        examples = examples.select(range(min(args.dataset.max_eval_samples, len(examples))))
    path = args.retrieve.context_path or find_corpus(args.dataset.dataset_path)
    corpus = load_corpus(path, skip_bad_rows=args.dataset.skip_bad_rows)
    questions = questions_of(examples, corpus, args.run.seed)
    known, held = questions.gold.known, questions.gold.held
    if missing := int((known & ~held).sum()):
        logger.warning("%d of %d questions are missed by all: no gold passage in %s", missing, len(examples), path)
    if not known.any():
        if args.comparison.tune_fusion:
            raise UserError("--tune_fusion needs questions whose passages are known, and these name none")
        if "dpr_json" in args.comparison.write:
            raise UserError("--write dpr_json needs questions whose passages are known, and these name none")
    return questions


def folder_names(specs: Sequence[str]) -> list[str]:
    """Return a readable name for each retriever, all different and fit for a folder."""
    names: list[str] = []
    for spec in specs:
        name = re.sub(r"[^\w.=+-]+", "_", spec).strip("._")[:100]
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names


def write(forms: Sequence[str], folder: Path, tag: str, results: SearchResults, questions: Questions) -> None:
    """Write the passages in each of the ``forms`` that --write names."""
    examples, corpus = questions.examples, questions.corpus
    for suffix in {"csv", "parquet"} & set(forms):
        path = folder / f"retrieved_passages.{suffix}"
        write_retrieved_df(retrieved_blocks(examples, corpus, results), path)
    if "trec" in forms:
        write_trec_run(folder / "run.trec", examples["id"], corpus, results, tag, examples["document_id"])
    if "dpr_json" in forms:
        write_dpr_json(folder / "dpr.json", training_examples(results, questions))


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


if __name__ == "__main__":
    run_command(main)
