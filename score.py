"""Score predictions against gold answers; several files are compared with each other.

    python score.py --gold data/mini_wiki --predictions outputs/predictions.json --metric korquad
    python score.py --gold data/mini_wiki --predictions outputs/a/predictions.json outputs/b/predictions.json

Prints exact match and overlap (F1 or ROUGE-W, see reading/metrics.py) in percent with 95 % bootstrap intervals. For
several files it prints the difference of every two as well, with its paired interval and McNemar's p, over all
questions and over groups of them. --simulate_leaderboard shows whether a public lead lasts, --errors writes a table of
all questions.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import ScoreArguments, check_command_line

    check_command_line(ScoreArguments)  # --help and mistakes are answered before the slow ones

import string
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arguments import ScoreArguments, parse_arguments
from loading.arguments import column_names
from loading.examples import load_gold
from reading.comparison import (
    Lead,
    Member,
    Resampling,
    difference,
    error_table,
    estimate,
    groups_of,
    simulate_leaderboard,
    within,
)
from reading.metrics import METRICS, ExampleScores, references_of, score_examples
from reading.predictions import check_same_questions, first_of, read_predictions
from runtime.errors import UserError, run_command
from runtime.log import configure_logging, get_logger
from runtime.spreadsheet import write_sheet
from runtime.text import escaped

if TYPE_CHECKING:
    import datasets

logger = get_logger(__name__)

_PAIR, _NAME = 7, 13  # widths of the printed columns


def parse(argv: Sequence[str] | None = None) -> ScoreArguments:
    """Parse the command line."""
    return parse_arguments(ScoreArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the figures and return them, scores in percent.

    For one file ``questions``, and each score with its ``_low`` and ``_high``. For several, called A, B, ...,
    ``questions``, ``groups`` (of each group its ``questions``, those figures of each file, and under "A - B" the
    :class:`reading.comparison.Difference`) and ``leaderboard`` (a ``Lead`` of each two and each score).
    """
    args = parse(argv)
    configure_logging()

    several = len(args.predictions) > 1
    files = dict(zip(string.ascii_uppercase, args.predictions, strict=False))
    predictions = {name: read_predictions(path) for name, path in files.items()}
    examples = load_gold(args.gold, column_names(args.column), question_types=True)
    references = references_of(examples)
    if several:
        check_same_questions(files, predictions, references)
    scores = {name: score_examples(answers, references, args.metric) for name, answers in predictions.items()}
    for name, answers in predictions.items():
        warn_of_mismatch(answers, references, f"{name}: " if several else "")
    if not any(map(any, references.values())):
        logger.warning("no question has a gold answer, so only empty predictions are right")
    if args.simulate_leaderboard and 2 * args.simulate_leaderboard > len(references):
        fitting = f"at most {len(references) // 2} of these {len(references)} questions go into each"
        raise UserError(f"--simulate_leaderboard {args.simulate_leaderboard} draws two halves of that size: {fitting}")

    ranks = {name: ranks_beside(path, examples) for name, path in files.items()} if args.errors else {}

    resampling = Resampling(args.bootstrap_samples, args.score_seed)
    names = ("exact_match", METRICS[args.metric].overlap_name)
    figures: dict[str, Any] = {"questions": len(references)}
    print(f"metric       {args.metric:>8}")
    print(f"questions    {len(references):>8}")
    if several:
        figures |= {"groups": {}, "leaderboard": {}}
        print("\n".join(f"{name}            {escaped(path)}" for name, path in files.items()))
        for group, rows in groups_of(examples).items():
            of_group = {name: within(of_file, rows) for name, of_file in scores.items()}
            figures["groups"][group] = print_group(group, of_group, names, resampling)
        if args.simulate_leaderboard:
            figures["leaderboard"] = print_leaderboard(scores, names, args.simulate_leaderboard, resampling)
    else:
        figures |= print_scores(scores["A"], names, resampling, f"{{:<{_NAME}}}")
    if args.errors:
        members = {name: Member(predictions[name], scores[name], ranks.get(name)) for name in files}
        write_sheet(args.errors, *error_table(examples, members, names[1]))
        logger.info("every question: %s", args.errors)
    return figures


def print_scores(scores: ExampleScores, names: Sequence[str], resampling: Resampling, label: str) -> dict[str, float]:
    """Print a line for each score, and return each with its interval; ``label`` has a place for the score's name."""
    figures: dict[str, float] = {}
    for name, values in zip(names, scores, strict=True):
        mean, low, high = estimate(values, resampling)
        figures |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        print(f"{label.format(name)}{mean:>8.2f} %  (95 % interval {low:.2f} to {high:.2f})")
    return figures


def print_group(
    group: str, scores: Mapping[str, ExampleScores], names: Sequence[str], resampling: Resampling
) -> dict[str, Any]:
    """Print and return the scores of every file, and the difference of every two, over some questions."""
    questions = len(next(iter(scores.values())).exact_match)
    figures: dict[str, Any] = {"questions": questions}
    print(f"\n{escaped(group)} (n = {questions})")
    for name, of_file in scores.items():
        figures[name] = print_scores(of_file, names, resampling, f"{name:<{_PAIR}}{{:<{_NAME}}}")
    for first, second in combinations(scores, 2):
        pair = f"{first} - {second}"
        found = figures[pair] = difference(scores[first], scores[second], resampling)
        for name, (mean, low, high) in zip(names, found[:2], strict=True):
            print(f"{pair:<{_PAIR}}{name:<{_NAME}}{mean:>+8.2f}    (95 % interval {low:+.2f} to {high:+.2f})")
        right = f"right alone: {first} {found.only_first}, {second} {found.only_second}"
        print(f"{pair:<{_PAIR}}{'McNemar p':<{_NAME}}{found.p:>8.2g}    ({right})")
    return figures


def print_leaderboard(
    scores: Mapping[str, ExampleScores], names: Sequence[str], size: int, resampling: Resampling
) -> dict[str, dict[str, Lead]]:
    """Print and return what random leaderboards say of every two files."""
    print(f"\nleaderboards: {size} public and {size} other, private questions, drawn {resampling.samples} times")
    figures: dict[str, dict[str, Lead]] = {}
    for first, second in combinations(scores, 2):
        pair = f"{first} - {second}"
        for name, ours, theirs in zip(names, scores[first], scores[second], strict=True):
            lead = simulate_leaderboard(ours, theirs, size, resampling)
            figures.setdefault(pair, {})[name] = lead
            print(f"{pair:<{_PAIR}}{name:<{_NAME}}{size} questions can show a difference of {lead.smallest:.2f}")
            for leader, leads, stays in ((first, *lead[:2]), (second, *lead[2:4])):
                then = "" if stays is None else f", in {stays:.1f} % of these in private too"
                print(f"{'':<{_PAIR + _NAME}}{leader} leads in public in {leads:.1f} %{then}")
    return figures


def ranks_beside(path: str, examples: datasets.Dataset) -> dict[str, tuple[float, float]] | None:
    """Return the ranks in the table of passages beside a predictions file; None where there is no table."""
    from retrieval.metrics import ranks_in_table
    from retrieval.table import get_retrieved_df

    table = Path(path).with_name("retrieved_passages.csv")
    return ranks_in_table(get_retrieved_df(table, examples, partly=True), examples) if table.exists() else None


def warn_of_mismatch(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]], who: str = "") -> None:
    """Warn of ids that only one side has; ``who`` names the file where there are several."""
    missing = [name for name in references if name not in predictions]
    unknown = [name for name in predictions if name not in references]
    if missing:
        counts = f"{len(missing)} of {len(references)}"
        logger.warning("%squestions without a prediction, counted as wrong: %s (%s)", who, counts, first_of(missing))
    if unknown:
        count = len(unknown)
        logger.warning("%spredictions for ids that no question has, ignored: %d (%s)", who, count, first_of(unknown))


if __name__ == "__main__":
    run_command(main)
