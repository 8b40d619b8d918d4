"""Measure what each rule of --postprocess gains or loses.

    python -m tools.postprocess --nbest outputs/raw --gold ../korquad/dev.json

--nbest is what inference.py wrote with --postprocess none. Choose rules with --half first and measure them with --half
second: what is chosen on some questions looks better on them than it is.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import PostprocessArguments, check_command_line

    check_command_line(PostprocessArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from arguments import PostprocessArguments, parse_arguments
from loading.arguments import column_names
from loading.examples import load_gold
from reading.answers import Answer
from reading.comparison import Difference, Resampling, difference
from reading.metrics import METRICS, ExampleScores, references_of, score_examples
from reading.postprocessing import DEFAULT_RULES, RULES, Passage, postprocess, rules_in
from reading.predictions import first_of, predictions_of, read_nbest
from retrieval.report import table
from retrieval.table import get_retrieved_df
from runtime.errors import DataError, Problem, UserError, run_command
from runtime.log import configure_logging, get_logger
from runtime.statistics import percent

logger = get_logger("postprocess")

Passages = Mapping[str, Mapping[int, Passage]]


def parse(argv: Sequence[str] | None = None) -> PostprocessArguments:
    """Parse the command line."""
    return parse_arguments(PostprocessArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the figures and return them: ``questions``, the scores ``without`` rules in percent, of each rule what it
    gains ``alone`` and ``beside_the_others``, of the ``default`` and of ``all`` what they gain."""
    args = parse(argv)
    configure_logging()
    answers = read_nbest(args.nbest)
    examples = load_gold(args.gold, column_names(args.column))
    if args.half is not None:
        examples = examples.select(range(args.half == "second", len(examples), 2))
    references = references_of(examples)
    missing = [name for name in references if name not in answers]
    if len(missing) == len(references):
        raise UserError(f"--gold {args.gold} has none of the questions of --nbest {args.nbest}: name their gold file")
    if missing:
        logger.warning("questions without answers, counted as wrong: %d (%s)", len(missing), first_of(missing))
    answers = {name: answers[name] for name in references if name in answers}
    passages = passages_of(args, examples)
    check_places(args.nbest, answers, passages)

    def scores_with(rules: Sequence[str]) -> ExampleScores:
        tidied = {name: postprocess(found, passages[name], rules) for name, found in answers.items()}
        return score_examples(predictions_of(tidied), references, args.metric)

    resampling = Resampling(args.bootstrap_samples, args.score_seed)
    without, with_all = scores_with([]), scores_with(list(RULES))
    figures: dict[str, Any] = {
        "questions": len(references),
        "without": [percent(values) for values in without],
        "alone": {name: difference(scores_with([name]), without, resampling) for name in RULES},
        "beside_the_others": {
            name: difference(with_all, scores_with([other for other in RULES if other != name]), resampling)
            for name in RULES
        },
        "default": difference(scores_with(rules_in(DEFAULT_RULES)), without, resampling),
        "all": difference(with_all, without, resampling),
    }
    print_figures(figures, METRICS[args.metric].overlap_name)
    return figures


def passages_of(args: PostprocessArguments, examples: Dataset) -> Passages:
    """Return the passages of every question by rank: those of the table, or the contexts of the questions."""
    beside = Path(args.nbest, "retrieved_passages.csv") if Path(args.nbest).is_dir() else None
    beside = beside or Path(args.nbest).with_name("retrieved_passages.csv")
    path = args.passages or (str(beside) if beside.exists() else None)
    if path is None:
        read = [(row["id"], 1, row["context"]) for row in examples.select_columns(["id", "context"])]
    else:
        df = get_retrieved_df(path, examples, partly=True)
        read = list(zip(df["id"], df["rank"], df["context"], strict=True))
    passages: dict[str, dict[int, Passage]] = {name: {} for name in examples["id"]}
    same: dict[str, Passage] = {}  # what several questions read is analysed once
    for name, rank, text in read:
        passages[name][int(rank)] = same.setdefault(text, Passage(text))
    return passages


def check_places(path: str, answers: Mapping[str, Sequence[Answer]], passages: Passages) -> None:
    """Raise :class:`DataError` unless every answer is the text at its place in its passage."""
    problems = []
    for name, found in answers.items():
        for answer in found:
            passage = passages[name].get(answer.rank)
            if answer.text and (passage is None or passage.text[answer.start : answer.end] != answer.text):
                place = f"characters {answer.start} to {answer.end} of its passage of rank {answer.rank}"
                problems.append(Problem(path, f"id {name!r}", f"{answer.text!r} is not at {place}"))
                break
    if problems:
        raise DataError(problems, "Name with --passages the table of passages that these answers were read from.")


def print_figures(figures: Mapping[str, Any], overlap: str) -> None:
    """Print what each rule gains as a table, and the rules that lose nothing."""
    exact, soft = figures["without"]
    print(f"{figures['questions']} questions; without rules: exact match {exact:.2f}, {overlap} {soft:.2f}\n")
    header = ["rules", "exact match", overlap, "exact match beside the others", f"{overlap} beside the others"]
    rows = [[name, *_cells(figures["alone"][name]), *_cells(figures["beside_the_others"][name])] for name in RULES]
    rows += [[f"{name} ({named})", *_cells(figures[name]), "", ""] for name, named in
             (("default", DEFAULT_RULES), ("all", f"{len(RULES)} rules"))]  # fmt: skip
    print(table(header, rows))
    kept = [name for name in RULES if figures["beside_the_others"][name].exact_match.mean >= 0]
    print("\nRules that lose no exact match beside the others (chosen on these questions: measure them on others):")
    print(f"--postprocess {','.join(kept) or 'none'}")


def _cells(found: Difference) -> list[str]:
    return [found.exact_match.signed(2), found.overlap.signed(2)]


if __name__ == "__main__":
    run_command(main)
