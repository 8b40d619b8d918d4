"""Look at a data set before an expensive run: what is wrong with it, what it is like, which flags suit it.

    python -m tools.check data/mini_wiki --model saved/e5-small-ko

Reads every split that is there and the corpus beside it. Exit status 1 says that rows have errors; all of them are
listed, and the statistics are those of the other rows.
"""

from __future__ import annotations

if __name__ == "__main__":
    from runtime.interrupts import leave_when_interrupted

    leave_when_interrupted()  # while imports take their seconds
    from arguments import CheckArguments, check_command_line

    check_command_line(CheckArguments)  # --help and mistakes are answered before the slow ones

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arguments import CheckArguments, DatasetArguments, PipelineArguments, parse_arguments
from loading.arguments import column_names
from loading.corpus import Corpus, find_corpus, load_corpus
from loading.examples import load_examples
from loading.statistics import (
    QUESTION_WORDS,
    fault_of_seen_questions,
    fault_of_unanswerable,
    lengths_of,
    overlap,
    statistics_of,
)
from models import load_tokenizer
from reading.features import check_tokenizer, question_budget
from reading.reader_settings import as_trained
from reading.token_lengths import Settings, count_windows, measure, suggest, too_long
from retrieval.metrics import GoldPassages
from retrieval.report import table
from runtime.errors import DataError, Problem, UserError, run_command
from runtime.files import write_json
from runtime.log import configure_logging, get_logger
from runtime.statistics import percent
from runtime.terminal import wrapped

if TYPE_CHECKING:
    from datasets import Dataset

logger = get_logger("check")

_WIDTH = 80
_USUAL_LENGTHS = (256, 384, 512)  # of windows, beside those given and those suggested
_LONGEST = 512  # tokens that are suggested for a window, whatever a model can read

Splits = Mapping[str, "Dataset"]


def parse(argv: Sequence[str] | None = None) -> CheckArguments:
    """Parse the command line."""
    return parse_arguments(CheckArguments, argv)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Print and return everything that was found; SystemExit with status 1 if rows have errors."""
    args = parse(argv)
    configure_logging()
    settings = settings_of_run(args)
    splits, problems = read_splits(args)
    corpus, problems_of_corpus = read_corpus(args)
    problems += problems_of_corpus
    report: dict[str, Any] = {
        "dataset_path": args.dataset_path,
        "errors": [problem._asdict() for problem in problems],
        "splits": {name: asdict(statistics_of(rows)) for name, rows in splits.items()},
        "shared": {
            f"{name} in {other}": asdict(overlap(splits[name], splits[other]))
            for other, name in combinations(splits, 2)
        },
        "corpus": None if corpus is None else look_up(splits, corpus),
        "tokens": None,
    }
    read = {name: rows for name, rows in splits.items() if report["splits"][name]["passages"]}
    if read and (args.model or args.tokenizer):
        report["tokens"] = count_tokens(read, args.tokenizer or settings.model, settings)
    report["findings"] = list(findings(report, splits, settings.version_2_with_negative))
    report["flags"] = suggested_flags(report)

    print("\n\n".join(sections(report)))
    if args.output_file is not None:
        write_json(args.output_file, report)
        logger.info("all of it: %s", args.output_file)
    if problems:
        raise SystemExit(1)
    return report


# ------------------------------------------------------------------------------------------------------------- reading


def read_splits(args: CheckArguments) -> tuple[dict[str, Dataset], list[Problem]]:
    """Return the good rows of every split that there is, and what is wrong with the others.

    A file is one split, called ``examples``. Raises :class:`UserError` if there is none at all.
    """
    sources: dict[str, tuple[str | list[str], str]]
    if Path(args.dataset_path).is_file():
        sources = {"examples": (args.dataset_path, "train")}
    else:
        sources = {split: (args.dataset_path, split) for split in ("train", "validation", "test")}
    if args.test_eval_dataset_path is not None:
        sources["evaluation"] = (args.evaluation_places, "validation")
    names = column_names(args.column)
    splits, problems, missing = {}, [], []
    for name, (path, split) in sources.items():
        try:
            splits[name] = load_examples(path, [split], column_names=names)[split]
        except DataError as error:
            problems += error.problems
            with suppress(DataError):  # no row is good
                splits[name] = load_examples(path, [split], skip_bad_rows=True, column_names=names)[split]
        except UserError as error:
            if name == "evaluation":
                raise
            missing.append(error)
    if not splits and not problems:
        raise missing[0]
    for split_error in missing:
        logger.info("%s", str(split_error).partition("; ")[0])  # without all that a data set may be
    return splits, problems


def read_corpus(args: CheckArguments) -> tuple[Corpus | None, list[Problem]]:
    """Return the corpus, None where there is none or no row is good, and what is wrong with it."""
    path: str | Path | None = args.context_path
    if path is None:
        try:
            path = find_corpus(args.dataset_path)
        except UserError:
            logger.info("no corpus in or beside %s: name it with --context_path", args.dataset_path)
            return None, []
    names = column_names(args.corpus_column)
    try:
        return load_corpus(path, column_names=names), []
    except DataError as error:
        problems = error.problems
    try:
        return load_corpus(path, skip_bad_rows=True, column_names=names), problems
    except DataError:
        return None, problems


def settings_of_run(args: CheckArguments) -> Any:
    """Return the flags that a run with these would read by: those given, a trained reader's own, the defaults."""
    names = ("max_seq_len", "stride_len", "max_ans_len", "version_2_with_negative")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.model is None:
        return DatasetArguments(**given)
    return as_trained(PipelineArguments(model=args.model, **given))


# ------------------------------------------------------------------------------------------------------------- looking


def look_up(splits: Splits, corpus: Corpus) -> dict[str, Any]:
    """Return how many passages the corpus has, and of each split how many questions name one and how many it lacks."""
    found: dict[str, Any] = {"passages": len(corpus), "splits": {}}
    for name, rows in splits.items():
        gold = GoldPassages(rows, corpus)
        missing = np.flatnonzero(gold.known & ~gold.held)  # rows
        if gold.known.any():
            ids = [rows[int(row)]["id"] for row in missing]
            found["splits"][name] = {"questions": int(gold.known.sum()), "missing": len(missing), "missing_ids": ids}
    return found


def count_tokens(splits: Splits, tokenizer_name: str, settings: Any) -> dict[str, Any]:
    """Return lengths in tokens and what windows of several lengths do, as ``settings`` and as would suit the data."""
    tokenizer = load_tokenizer(tokenizer_name)
    check_tokenizer(tokenizer, settings.max_seq_len)
    question_budget(tokenizer, settings.max_seq_len, settings.stride_len)  # refused before anything is measured
    lengths = {name: measure(rows, tokenizer, name) for name, rows in splits.items()}
    limit = min(tokenizer.model_max_length, _LONGEST)
    current = Settings(settings.max_seq_len, settings.stride_len, settings.max_ans_len)
    suggested = suggest(list(lengths.values()), tokenizer, limit)
    tried = {
        current,
        suggested,
        *(current._replace(max_seq_len=length) for length in _USUAL_LENGTHS if length <= limit),
    }
    counts = []
    for one in sorted(one for one in tried if one == current or one.stride_len <= one.max_seq_len // 2):
        parts = [count_windows(of_split, tokenizer, one) for of_split in lengths.values()]
        windows, lost = (np.concatenate(columns) for columns in zip(*parts, strict=True))  # (n,) each
        over = np.concatenate([too_long(of_split, one) for of_split in lengths.values()])  # (n,)
        counts.append(
            one._asdict()
            | {
                "one_window": percent(windows == 1),
                "windows": float(windows.mean()),
                "most_windows": int(windows.max()),
                "answers_lost": int(lost.sum()),
                "answers_too_long": int(over.sum()),
            }
        )
    return {
        "tokenizer": tokenizer_name,
        "examples": sum(map(len, splits.values())),
        "settings": current._asdict(),
        "suggested": suggested._asdict(),
        "splits": {
            name: {
                kind: asdict(found)
                for kind, values in (
                    ("question", of_split.questions), ("passage", of_split.contexts), ("answer", of_split.answers)
                )
                if (found := lengths_of(values)) is not None
            }
            for name, of_split in lengths.items()
        },
        "windows": counts,
    }  # fmt: skip


def findings(report: Mapping[str, Any], splits: Splits, version_2_with_negative: bool) -> Iterator[str]:
    """Yield a sentence for everything that should be looked at before a run."""
    answered = {name: rows for name, rows in splits.items() if report["splits"][name]["passages"]}
    if fault := fault_of_unanswerable(answered, version_2_with_negative):
        yield fault
    for name in ("validation", "evaluation"):
        if name in splits and "train" in splits:
            if fault := fault_of_seen_questions(splits["train"]["question"], splits[name]["question"], name):
                yield fault
            if passages := report["shared"][f"{name} in train"]["passages"]:
                yield f"the training data include the passages of {passages} of {len(splits[name])} {name} questions"
    for name, found in (report["corpus"] or {"splits": {}})["splits"].items():
        if found["missing"]:
            yield (
                f"the corpus lacks the passages of {found['missing']} of {found['questions']} {name} questions: "
                "no retriever can find them"
            )
    if (tokens := report["tokens"]) is not None:
        settings, examples = tokens["settings"], tokens["examples"]
        counts = next(one for one in tokens["windows"] if settings.items() <= one.items())
        if lost := counts["answers_lost"]:
            yield (
                f"no window holds the whole answer to {lost} of {examples} questions, which are learnt as if they had "
                f"none: raise --stride_len {settings['stride_len']} or --max_seq_len {settings['max_seq_len']}"
            )
        if over := counts["answers_too_long"]:
            yield (
                f"a reader gives shorter answers than any to {over} of {examples} questions: "
                f"raise --max_ans_len {settings['max_ans_len']}"
            )


def suggested_flags(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags that suit the data: those of reading with a tokenizer, and --version_2_with_negative."""
    flags = dict(report["tokens"]["suggested"]) if report["tokens"] is not None else {}
    if any(split["unanswerable"] for split in report["splits"].values() if split["passages"]):
        flags["version_2_with_negative"] = True
    return flags


# ------------------------------------------------------------------------------------------------------------ printing


def sections(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is printed, each a title with a table or with lines."""
    if errors := report["errors"]:
        yield "\n".join([f"**Errors** ({len(errors)})", "", *(f"- {Problem(**error)}" for error in errors)])
    splits = report["splits"]
    if splits:
        yield "**Questions**\n\n" + table(["", *splits], [_counted(splits, *row) for row in _COUNTS])
        yield "**Length in characters**\n\n" + _lengths({name: split["characters"] for name, split in splits.items()})
    if (tokens := report["tokens"]) is not None:
        yield f"**Length in tokens** of {tokens['tokenizer']}\n\n{_lengths(tokens['splits'])}"
        yield f"**Windows** of the {tokens['examples']:,} questions\n\n{_windows(tokens)}"
    if splits:
        yield "**Asked with** (% of the questions)\n\n" + table(["", *splits], _words(splits))
    if shared := report["shared"]:
        rows = [[name, *(f"{count:,}" for count in one.values())] for name, one in shared.items()]
        yield "**In two splits** (rows)\n\n" + table(["", "id", "question", "passage", "both"], rows)
    if (corpus := report["corpus"]) is not None:
        rows = [[name, f"{one['questions']:,}", f"{one['missing']:,}"] for name, one in corpus["splits"].items()]
        title = f"**Corpus** of {corpus['passages']:,} passages"
        yield f"{title}\n\n{table(['', 'with a gold passage', 'not in the corpus'], rows)}" if rows else title
    if found := report["findings"]:
        yield "\n".join(["**To look at**", "", *(wrapped(one, _WIDTH, "- ", "  ") for one in found)])
    if report["flags"]:
        words = (f"--{name}" + ("" if value is True else f" {value}") for name, value in report["flags"].items())
        yield f"**Flags that suit these data**\n\n{' '.join(words)}"


_COUNTS = (
    ("questions", "questions"),
    ("without an answer", "unanswerable"),
    ("with several gold answers", "several_answers"),
    ("different passages", "passages"),
    ("asked before", "repeated"),
    ("asked before, same passage", "repeated_of_passage"),
)


def _counted(splits: Mapping[str, Any], label: str, name: str) -> list[str]:
    about_answers = name in ("unanswerable", "several_answers")
    return [label, *("–" if about_answers and not one["passages"] else f"{one[name]:,}" for one in splits.values())]


def _lengths(splits: Mapping[str, Any]) -> str:
    rows = [
        [f"{split} {kind}", *(f"{one[name]:,}" for name in ("median", "most", "longest"))]
        for split, kinds in splits.items()
        for kind, one in kinds.items()
    ]
    return table(["", "median", "95 % have at most", "longest"], rows)


def _windows(tokens: Mapping[str, Any]) -> str:
    header = ["length, stride", "in one", "windows each", "at most", "answers cut"]
    rows = [
        [
            f"{one['max_seq_len']}, {one['stride_len']}",
            f"{one['one_window']:.1f} %",
            f"{one['windows']:.2f}",
            f"{one['most_windows']}",
            f"{one['answers_lost']:,}",
        ]
        for one in tokens["windows"]
    ]
    over = {one["max_ans_len"]: one["answers_too_long"] for one in tokens["windows"]}
    lines = [f"Answers of more than {length} tokens: {count:,}" for length, count in sorted(over.items())]
    return "\n".join([table(header, list(map(list, dict.fromkeys(map(tuple, rows))))), "", *lines])


def _words(splits: Mapping[str, Any]) -> list[list[str]]:
    return [
        [word, *(f"{100 * one['question_words'][word] / one['questions']:.1f}" for one in splits.values())]
        for word in QUESTION_WORDS
    ]


if __name__ == "__main__":
    run_command(main)
