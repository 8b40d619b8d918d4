"""Time building features against the bare tokenizer, and finding answers against the usual double loop.

    python -m benchmarks.features --model saved/e5-small-ko --data ../korquad/dev.json

Everything runs in one process by turns, and the best of several counts; the logits are random. The first row has the
questions as they come, several about one context, which is then tokenised once; the second has one question about each
context. The double loop is that of many training scripts: the best 20 starts of a window with its best 20 ends. It
misses spans, so our answers are compared with those of another loop, over all pairs, for the first questions.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset

from arguments import DatasetArguments
from benchmarks.timing import timed
from models import load_tokenizer
from processor import QAProcessor
from reading.answers import find_answers, find_readings
from reading.passages import gold_passages
from runtime.errors import UserError, run_command
from runtime.record import processor
from runtime.text import inner_span

_N_BEST, _MAX_ANS_LEN = 20, 30
_COMPARED = 20  # questions


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time features and decoding.", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="checkpoint whose tokenizer is used")
    parser.add_argument("--data", required=True, help="questions with contexts, as --dataset_path takes them")
    parser.add_argument("--questions", type=int, default=1000, help="the first so many of the validation split")
    parser.add_argument("--max_seq_len", type=int, default=384, help="longest feature in tokens")
    parser.add_argument("--stride_len", type=int, default=128, help="tokens that neighbouring windows share")
    parser.add_argument("--repeats", type=int, default=5, help="times that each is run; the best counts")
    return parser.parse_args(argv)


def best_of(repeats: int, *works: Callable[[], object]) -> list[float]:
    """Return the seconds of the fastest run of each of ``works``, which take turns."""
    seconds = [[timed(work)[0] for work in works] for _ in range(repeats)]
    return [min(of_work) for of_work in zip(*seconds, strict=True)]


def bare_tokens(examples: Dataset, qa_processor: QAProcessor) -> Callable[[], object]:
    """Return a call of the tokenizer alone, with what features are made of."""
    questions, contexts = list(examples["question"]), list(examples["context"])
    return lambda: qa_processor.tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=qa_processor.dataset_args.max_seq_len,
        stride=qa_processor.dataset_args.stride_len,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )


def double_loop(
    examples: Dataset, features: Dataset, start_logits: np.ndarray, end_logits: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """Return the best answers of every question, with probabilities and places, as it is usually done."""
    rows_of = defaultdict(list)
    for row, example in enumerate(features["example_index"]):
        rows_of[example].append(row)
    answers = {}
    for index, example in enumerate(examples):
        found: list[dict[str, Any]] = []
        for row in rows_of[index]:
            offsets = features[row]["offset_mapping"]
            for first in np.argsort(start_logits[row])[-1 : -_N_BEST - 1 : -1].tolist():
                for last in np.argsort(end_logits[row])[-1 : -_N_BEST - 1 : -1].tolist():
                    if max(first, last) >= len(offsets) or offsets[first] is None or offsets[last] is None:
                        continue
                    if first <= last < first + _MAX_ANS_LEN:
                        score = start_logits[row][first] + end_logits[row][last]
                        found.append({"score": score, "start": offsets[first][0], "end": offsets[last][1]})
        best = sorted(found, key=lambda span: span["score"], reverse=True)[:_N_BEST]
        powers = np.exp([span["score"] - best[0]["score"] for span in best])  # (answers,)
        for span, probability in zip(best, powers / powers.sum(), strict=True):
            span |= {"text": example["context"][span["start"] : span["end"]], "probability": float(probability)}
        answers[example["id"]] = best
    return answers


def all_pairs(context: str, windows: Sequence[tuple[list[list[int] | None], np.ndarray, np.ndarray]]) -> list[tuple]:
    """Return start, end and score of the best spans of a context: of the best of all pairs of each of its windows."""
    best: dict[tuple[int, int], float] = {}
    for offsets, start_logits, end_logits in windows:
        known = [token for token, span in enumerate(offsets) if span is not None]
        pairs = [
            (-float(start_logits[first] + end_logits[last]), first, last)
            for first in known
            for last in known
            if first <= last < first + _MAX_ANS_LEN
        ]
        for score, first, last in sorted(pairs)[:_N_BEST]:
            span = inner_span(context, offsets[first][0], offsets[last][1])  # type: ignore[index]
            if span[0] < span[1]:
                best[span] = max(-score, best.get(span, -score))
    return sorted(((*span, score) for span, score in best.items()), key=lambda found: -found[2])[:_N_BEST]


def check_answers(examples: Dataset, features: Dataset, logits: np.ndarray, settings: DatasetArguments) -> int:
    """Return how many questions were compared with all pairs; :class:`UserError` if one has other spans."""
    readings = find_readings(examples, features, tuple(logits), settings)
    compared = min(_COMPARED, len(examples))
    example_of = list(features["example_index"])
    for index in range(compared):
        rows = [row for row, example in enumerate(example_of) if example == index]
        windows = [(features[row]["offset_mapping"], *logits[:, row]) for row in rows]
        (reading,) = readings[examples[index]["id"]]
        found = [(span.start, span.end, span.score) for span in reading.spans]
        if found != all_pairs(examples[index]["context"], windows):
            raise UserError(f"the spans of question {examples[index]['id']} are not the best of all pairs")
    return compared


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    settings = DatasetArguments(
        dataset_path=arguments.data,
        max_seq_len=arguments.max_seq_len,
        stride_len=arguments.stride_len,
        max_eval_samples=arguments.questions,
        n_best_size=_N_BEST,
        max_ans_len=_MAX_ANS_LEN,
        postprocess="none",
    )
    qa_processor = QAProcessor(settings, load_tokenizer(arguments.model))
    examples = qa_processor.get_eval_examples()
    alone = examples.select(list({context: row for row, context in enumerate(examples["context"])}.values()))
    lines = [f"{processor()}", "", "| work | usual | seconds | ours | ratio |", "|---|---|---|---|---|"]
    for rows, each in ((examples, ""), (alone, ", each about another context")):
        bare, make = bare_tokens(rows, qa_processor), partial(qa_processor.make_features, rows, cached=False)
        usual, ours = best_of(arguments.repeats, bare, make)
        name = f"features of {len(rows)} questions{each}"
        lines.append(f"| {name} | bare tokenizer | {usual:.3f} | {ours:.3f} | {ours / usual:.2f}× its time |")
    features = qa_processor.make_features(examples, cached=False)
    shape = (2, len(features), max(features["length"]))
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)  # (2, windows, tokens)
    reading_examples = gold_passages(examples)
    usual, ours = best_of(
        arguments.repeats,
        lambda: double_loop(reading_examples, features, *logits),
        lambda: find_answers(reading_examples, features, tuple(logits), settings),
    )
    name = f"answers to {len(examples)} questions"
    lines.append(f"| {name} | double loop | {usual:.3f} | {ours:.3f} | {usual / ours:.1f}× faster |")
    compared = check_answers(reading_examples, features, logits, settings)
    print("\n".join([*lines, "", f"The spans of {compared} questions are the best of all pairs."]))


if __name__ == "__main__":
    run_command(main)
