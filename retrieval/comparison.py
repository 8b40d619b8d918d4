"""What retrievers are compared by: how often they find the passage and the answer, how fast, at what size."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset

from loading.arguments import column_names
from loading.corpus import Corpus
from loading.examples import load_examples
from loading.retrieval_examples import Passage, RetrievalExample, wrong_rows
from retrieval import divided_search, load_or_build
from retrieval.arguments import QuestionsArguments
from retrieval.base import MANIFEST_NAME, Retriever, SearchResults, index_folder, parts_of
from retrieval.finding import corpus_path, load_passages
from retrieval.metrics import KS, GoldPassages, answerable, answers_among, first_ranks, ranking_metrics, recall_at
from retrieval.training import corpus_passages
from runtime.files import read_json
from runtime.log import get_logger
from runtime.statistics import bootstrap_interval, percent
from runtime.text import is_blank

logger = get_logger(__name__)

_RESAMPLES = 1000


class Questions(NamedTuple):
    """What every retriever is measured on: n questions, the passages, and what is known of the right ones."""

    examples: Dataset
    corpus: Corpus
    gold: GoldPassages
    answerable: np.ndarray  # (n,) bool, which examples have a gold answer
    seed: int


def questions_of(examples: Dataset, corpus: Corpus, seed: int) -> Questions:
    """Return ``examples`` with where their gold passages are in ``corpus``; ``seed`` draws the intervals."""
    return Questions(examples, corpus, GoldPassages(examples, corpus), answerable(examples), seed)


def load_questions(arguments: QuestionsArguments) -> Questions:
    """Return the questions and the passages that the flags name; a warning counts those whose passage is not there."""
    split, names = arguments.split, column_names(arguments.column)
    examples = load_examples(arguments.dataset_path, [split], arguments.skip_bad_rows, names, questions_only=True)[
        split
    ]
    if arguments.max_eval_samples is not None:
        examples = examples.select(range(min(arguments.max_eval_samples, len(examples))))
    path = corpus_path(arguments, arguments.dataset_path)
    questions = questions_of(examples, load_passages(arguments, path, arguments.skip_bad_rows), arguments.seed)
    if missing := int((questions.gold.known & ~questions.gold.held).sum()):
        logger.warning("%d of %d questions are missed by all: no gold passage in %s", missing, len(examples), path)
    return questions


def prepare(retriever: Retriever, corpus: Corpus, index_dir: str) -> dict[str, Any]:
    """Make ``retriever`` ready; return whether and how long it was built, and how large its indexes are."""
    began = time.perf_counter()
    load_or_build(retriever, corpus, index_dir)
    ready_seconds = time.perf_counter() - began
    indexes = list(_own_indexes(retriever))
    folders = {index_folder(index, corpus, index_dir) for index in indexes}  # parts may share one
    build_seconds = [read_json(folder / MANIFEST_NAME).get("build_seconds") or 0.0 for folder in folders]
    return {
        "parameters": retriever.parameters(),
        "built": any(hasattr(index, "build_seconds") for index in indexes),
        "ready_seconds": ready_seconds,
        "build_seconds": sum(build_seconds),
        "index_bytes": sum(_size(folder) for folder in folders),
    }


def timed_search(
    retriever: Retriever, questions: Sequence[str], k: int
) -> tuple[SearchResults, dict[str, float | list[float]]]:
    """Return the k best passages of all questions, and the milliseconds that one took after a warm-up, in all and in
    each part of a retriever that is made of others."""
    questions = list(questions)
    retriever.search(questions[:1], k)
    began = time.perf_counter()
    results = divided_search(retriever, questions, k)
    seconds = [time.perf_counter() - began, *getattr(retriever, "seconds_of_parts", [])]
    total, *parts = (1000 * of_one / len(questions) for of_one in seconds)
    return results, {"milliseconds_per_question": total, "milliseconds_of_parts": parts}


def measure(results: SearchResults, questions: Questions) -> dict[str, Any]:
    """Return the figures of each definition that the questions allow: in percent, with 95 % intervals.

    ``gold_passage`` asks for the passage that an example names, ``answer_in_text`` for any with a gold answer in its
    text. ``recall_curve`` is recall@1, recall@2, ... to the depth k of ``results`` (n, k).
    """
    depth = results.ids.shape[1]
    judged = {
        "gold_passage": (questions.gold.among(results.ids), questions.gold.known),
        "answer_in_text": (answers_among(results.ids, questions.examples, questions.corpus), questions.answerable),
    }
    figures: dict[str, Any] = {}
    for definition, (relevant, counted) in judged.items():
        if counted.any():
            values = ranking_metrics(relevant[counted], [k for k in KS if k <= depth])
            figures[definition] = {
                metric: summary(of_question, questions.seed) for metric, of_question in values.items()
            }
            ranks = first_ranks(relevant[counted])  # (questions that count,)
            figures[definition]["recall_curve"] = [percent(recall_at(k, ranks)) for k in range(1, depth + 1)]
    return figures


def summary(values: np.ndarray, seed: int) -> dict[str, float]:
    """Return the mean of ``values``, one a question, and its interval, in percent."""
    low, high = bootstrap_interval(100 * values, _RESAMPLES, seed)
    return {"mean": percent(values), "low": low, "high": high}


def training_examples(results: SearchResults, questions: Questions) -> Iterator[RetrievalExample]:
    """Yield the questions that come with their passage, and as hard negatives what was found and is wrong.

    Wrong is what :func:`loading.retrieval_examples.wrong_rows` says.
    """
    passages = corpus_passages(questions.corpus)
    for row, found, gold in zip(questions.examples, results.ids.tolist(), questions.gold.rows, strict=True):
        if not is_blank(row["context"]):
            positive = Passage(row["title"], row["context"], row["document_id"])
            if questions.corpus.starts is not None and gold:  # the first chunk that holds an answer
                positive = passages[gold[0]]
            example = RetrievalExample(row["id"], row["question"], list(row["answers"]["text"]), positive, [])
            wrong = wrong_rows(example, found, questions.corpus)
            yield example._replace(negatives=[passages[index] for index in wrong])


def _own_indexes(retriever: Retriever) -> Iterator[Retriever]:
    """Yield the retrievers with an index of their own that ``retriever`` is made of, itself if it has one."""
    if parts := parts_of(retriever):
        for part in parts:
            yield from _own_indexes(part)
    else:
        yield retriever


def _size(folder: Path) -> int:
    """Return the bytes of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
