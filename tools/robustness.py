"""Measure what retrievers and a reader lose on questions as people also type them.

    python -m tools.robustness --retriever_type SparseRetrieval_BM25P SparseRetrieval_BM25P,analyzer=bigram \
        --dataset_path data/mini_wiki --output_dir outputs/robustness

Every question is asked as it is, and changed in each way of loading/perturbations.py: without spaces, decomposed, with
the wrong particles, with a typo, with numbers in words, as bare nouns. Of each way the questions that it changes are
compared with themselves. Prints a table for each retriever, and writes robustness.md and robustness.json to
--output_dir. --model adds exact match and F1 of a reader that reads the --top_k_retrieval passages.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import RobustnessArguments, check_command_line

    check_command_line(RobustnessArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from arguments import RetrieverArguments, RobustnessArguments, parse_arguments
from loading.perturbations import perturbed
from pipeline import Reader
from reading.arguments import PassageArguments
from reading.comparison import Estimate, Resampling, estimate, gain
from reading.metrics import METRICS, references_of, score_examples
from reading.predictions import predictions_of
from retrieval import create_retriever, load_or_build
from retrieval.base import Retriever, SearchResults
from retrieval.comparison import Questions, load_questions
from retrieval.metrics import KS, ranking_metrics
from retrieval.report import table
from retrieval.spec import arguments_of
from retrieval.table import Retrieved, retrieved_blocks
from runtime.device import free_memory
from runtime.errors import UserError, run_command
from runtime.files import write_json, write_text
from runtime.locks import claimed
from runtime.log import configure_logging
from runtime.markdown import markdown_text


def parse(argv: Sequence[str] | None = None) -> RobustnessArguments:
    """Parse the command line."""
    return parse_arguments(RobustnessArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the retrievers; return what robustness.json holds."""
    args = parse(argv)
    configure_logging()
    with claimed(args.output_dir):
        return compare(args)


def compare(args: RobustnessArguments) -> dict[str, Any]:
    """Ask all questions in all ways, one retriever after the other, and write what it costs."""
    specs = list(dict.fromkeys(args.retriever_type))
    for spec in specs:  # a mistake in one is found before anything is built
        create_retriever(arguments_of(spec, args, RetrieverArguments))
    questions = load_questions(args)
    if not questions.gold.known.any():
        raise UserError("nothing can be measured on these questions: they name no passages (--split, --dataset_path)")
    reader = None if args.model is None else Reader.load(args.model, backend=args.backend)
    plain = list(questions.examples["question"])
    asked = {name: perturbed(name, plain, args.seed) for name in args.perturbations}

    resampling = Resampling(args.bootstrap_samples, args.score_seed)
    report: dict[str, Any] = {"split": args.split, "questions": len(plain), "passages": len(questions.corpus)}
    report |= {"examples": {name: example_of(plain, texts) for name, texts in asked.items()}, "retrievers": []}
    for spec in specs:
        retriever = create_retriever(arguments_of(spec, args, RetrieverArguments))
        load_or_build(retriever, questions.corpus, args.index_dir)
        row = {"retriever": spec, **losses(retriever, reader, questions, asked, args, resampling)}
        report["retrievers"].append(row)
        print(markdown(row))
        del retriever
        free_memory()
    write_json(Path(args.output_dir, "robustness.json"), report)
    write_text(Path(args.output_dir, "robustness.md"), "\n".join(map(markdown, report["retrievers"])))
    print(f"robustness.json, robustness.md in {args.output_dir}")
    return report


def example_of(plain: Sequence[str], texts: Sequence[str]) -> list[str] | None:
    """Return the first question that is changed, before and after; None if none is."""
    return next(([before, after] for before, after in zip(plain, texts, strict=True) if before != after), None)


def losses(
    retriever: Retriever,
    reader: Reader | None,
    questions: Questions,
    asked: Mapping[str, Sequence[str]],
    args: RobustnessArguments,
    resampling: Resampling,
) -> dict[str, Any]:
    """Return the figures of the questions as they are, and what each way to ask them changes."""
    examples, k = questions.examples, args.top_k_retrieval
    results = retriever.search(examples["question"], k)
    answers = answers_to(reader, examples, questions, results)
    before = scores_of(results, answers, questions, args.metric)
    figures: dict[str, Any] = {
        "as_asked": {
            name: estimate(values[counted], resampling)._asdict() for name, (values, counted) in before.items()
        },
        "changed": {},
    }
    for name, texts in asked.items():
        changed = np.array([text != plain for text, plain in zip(texts, examples["question"], strict=True)])  # (n,)
        rows = np.flatnonzero(changed).tolist()
        found = SearchResults(*(part.copy() for part in results))
        differing = Dataset.from_dict(
            {"id": [examples["id"][row] for row in rows], "question": [texts[row] for row in rows]}
        )
        of_changed = retriever.search(differing["question"], k)
        for part, new in zip(found, of_changed, strict=True):
            part[rows] = new
        after = scores_of(found, answers | answers_to(reader, differing, questions, of_changed), questions, args.metric)
        figures["changed"][name] = {"questions": len(rows)} | {
            metric: gain(values[counted & changed], before[metric][0][counted & changed], resampling)._asdict()
            for metric, (values, counted) in after.items()
            if (counted & changed).any()
        }
    return figures


def answers_to(
    reader: Reader | None, examples: Dataset, questions: Questions, results: SearchResults
) -> dict[str, str]:
    """Return the reader's best answers by id; none without a reader."""
    if reader is None or not len(examples):
        return {}
    retrieved = Retrieved(partial(retrieved_blocks, examples, questions.corpus, results), results.ids.shape[1])
    return predictions_of(reader.read_retrieved(retrieved, PassageArguments()))


def scores_of(
    results: SearchResults, answers: Mapping[str, str], questions: Questions, metric: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each figure of every question from 0 to 1, and which questions count: (n,) both."""
    ks = [k for k in KS if k <= results.ids.shape[1]]
    ranked = ranking_metrics(questions.gold.among(results.ids), ks)
    scores = {name: (values, questions.gold.known) for name, values in ranked.items() if name != "ndcg@10"}
    if answers:
        read = score_examples(answers, references_of(questions.examples), metric)
        named = zip(("exact_match", METRICS[metric].overlap_name), read, strict=True)
        scores |= {name: (values, questions.answerable) for name, values in named}
    return scores


def markdown(row: Mapping[str, Any]) -> str:
    """Return the table of one retriever: a line for each way to ask."""
    metrics = list(row["as_asked"])
    lines = [["as asked", "", *(f"{row['as_asked'][metric]['mean']:.1f}" for metric in metrics)]]
    for name, of_way in row["changed"].items():
        lines.append([name, str(of_way["questions"]), *(_cell(of_way.get(metric)) for metric in metrics)])
    return f"**{markdown_text(row['retriever'])}**\n\n{table(['question', 'changed', *metrics], lines)}\n"


def _cell(found: Mapping[str, float] | None) -> str:
    return "–" if found is None else Estimate(**found).signed(1)


if __name__ == "__main__":
    run_command(main)
