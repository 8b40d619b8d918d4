"""Measure retrievers side by side: how often they find the passage and the answer, how fast, at what size.

    python retrieve.py --retriever_type SparseRetrieval_BM25P SparseRetrieval_BM25P,analyzer=bigram \
        --dataset_path data/mini_wiki --top_k 100 --output_dir outputs/retrieval

Writes to --output_dir: retrieval.json, retrieval.md (the table that is printed), retrieval.png (recall over k), and
for each retriever what --write names: retrieved_passages.csv or .parquet, run.trec, dpr.json, scores.jsonl.
--tune_fusion adds fusion.json, the weights of each HybridRetrieval; --explain explained.json, what the scores of
passages are made of.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import RetrieveArguments, check_command_line

    check_command_line(RetrieveArguments)  # --help and mistakes are answered before the slow ones

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from arguments import RetrieveArguments, RetrieverArguments, parse_arguments, part_of, record_of
from loading.dpr_json import write_dpr_json
from loading.teacher_scores import write_teacher_scores
from retrieval import create_retriever
from retrieval.base import MissingPackage, SearchResults
from retrieval.comparison import Questions, load_questions, measure, prepare, timed_search, training_examples
from retrieval.explanation import as_json, as_text, explain_questions, rows_of
from retrieval.hybrid import HybridArguments, HybridRetrieval
from retrieval.report import fusion_markdown, markdown, plot
from retrieval.spec import arguments_of
from retrieval.table import retrieved_blocks, write_retrieved_df
from retrieval.teaching import taught_scores
from retrieval.trec import write_trec_run
from retrieval.tuning import tune_fusion
from runtime.device import default_device, free_memory, resolve_precision
from runtime.division import places
from runtime.errors import UserError, run_command
from runtime.files import write_json, write_text
from runtime.log import get_logger
from runtime.processes import joint_command
from runtime.record import environment
from runtime.terminal import one_line

logger = get_logger("retrieve")


def parse(argv: Sequence[str] | None = None) -> RetrieveArguments:
    """Parse the command line."""
    return parse_arguments(RetrieveArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the retrievers; return what retrieval.json holds."""
    args = parse(argv)
    with joint_command(args.output_dir) as is_main:
        return compare(args, is_main)


def compare(args: RetrieveArguments, is_main: bool) -> dict[str, Any]:
    """Retrieve with each retriever, one after the other; the main process writes what came out."""
    output_dir, top_k = Path(args.output_dir), args.top_k_retrieval
    specs = list(dict.fromkeys(args.retriever_type))
    for spec in specs:  # a mistake in one is found before anything is built
        create_retriever(part_of(args, RetrieverArguments, retriever_type=spec))

    # data
    questions = load(args)
    asked = rows_of(args.explain, questions.examples)

    # retrieve and measure
    rows: list[dict[str, Any]] = []
    fusions: dict[str, Any] = {}
    for spec, name in zip(specs, folder_names(specs), strict=True):
        arguments = arguments_of(spec, args, RetrieverArguments)
        retriever = create_retriever(arguments)
        row = {"retriever": spec, **prepare(retriever, questions.corpus, args.index_dir)}
        results, times = timed_search(retriever, questions.examples["question"], top_k)
        rows.append(row | times | measure(results, questions))
        if is_main:
            folder = output_dir / name if len(specs) > 1 else output_dir
            if asked:
                explained = explain_questions(retriever, questions, asked, results)
                print("\n".join(f"{spec}: {one_line(of_one.question)}\n{as_text(of_one)}" for of_one in explained))
                write_json(folder / "explained.json", list(map(as_json, explained)))
            write(args.write, folder, name, results, questions)
            if "scores" in args.write:
                write_teacher_scores(folder / "scores.jsonl", taught_scores(retriever, results, questions))
        if args.tune_fusion and is_main and isinstance(retriever, HybridRetrieval):
            fused = part_of(arguments, HybridArguments).hybrid_retrievers
            fusions[spec] = tune_fusion(retriever, fused, questions, top_k)
            print(fusion_markdown(spec, fusions[spec]))
        del retriever, results
        free_memory()

    # write
    n, gold = len(questions.examples), questions.gold
    report = {"split": args.split, "questions": n, "passages": len(questions.corpus), "top_k": top_k}
    report |= {"gold_passages": int(gold.known.sum()), "in_corpus": int(gold.held.sum())}
    report |= {"answerable": int(questions.answerable.sum()), "retrievers": rows}
    if is_main:
        print(markdown(report))
        save(args, report, fusions)
    return report


def load(args: RetrieveArguments) -> Questions:
    """Return the questions and the passages; raise :class:`UserError` for what these questions cannot give."""
    questions = load_questions(args)
    if not questions.gold.known.any():
        if args.tune_fusion:
            raise UserError("--tune_fusion needs questions whose passages are known, and these name none")
        if "dpr_json" in args.write:
            raise UserError("--write dpr_json needs questions whose passages are known, and these name none")
    return questions


def folder_names(specs: Sequence[str]) -> list[str]:
    """Return a readable name for each retriever, all different and fit for a folder."""
    names: list[str] = []
    for spec in specs:
        name = re.sub(r"[^\w.=+-]+", "_", spec).strip("._")[:100]
        numbered = (f"{name}-{number}" for number in count(len(names) + 1))
        names.append(next(one for one in chain([name], numbered) if one not in names))
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


def save(args: RetrieveArguments, report: Mapping[str, Any], fusions: Mapping[str, Any]) -> None:
    """Write the figures, the table, the plot and what the run was to --output_dir."""
    output_dir = Path(args.output_dir)
    device = default_device()
    contents = {"retrieval.json": report, "arguments.json": record_of(args)}
    record = environment(device, resolve_precision("auto", device), args.seed)
    contents["environment.json"] = record | {"processes": places()}
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
        except MissingPackage as error:
            logger.warning("retrieval.png is left out: %s", error)
    forms = f" and {', '.join(args.write)} of each retriever" if args.write else ""
    print(f"{', '.join(sorted(names))}{forms} in {output_dir}")


if __name__ == "__main__":
    run_command(main)
