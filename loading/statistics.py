"""Statistics of examples before they are trained on: how long they are, what is asked twice, what two splits share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from runtime.interrupts import is_first_process
from runtime.log import get_logger
from runtime.terminal import one_line
from runtime.text import comparable, is_blank

if TYPE_CHECKING:
    from datasets import Dataset

logger = get_logger(__name__)

_QUESTION_WORDS = {
    "누구": r"누구|누가(?!복음)|누굴|누군",
    "언제": r"언제(?!나|든)",
    "어디": r"어디|어딜|어느 곳",
    "무엇": r"무엇|무슨|뭐|뭘|뭔",
    "몇": r"몇|얼마",
    "왜": r"(?<!\S)왜(?=\W|$|냐|인|일까)",  # 왜군 asks for no reason
    "어떻게": r"어떻게|어떠|어째|어찌",
    "어느, 어떤": r"어느(?! 곳)|어떤",
}
_WORDS = {word: re.compile(pattern) for word, pattern in _QUESTION_WORDS.items()}
_OTHER_WORD = "other"  # 세종의 아버지는?
QUESTION_WORDS = (*_WORDS, _OTHER_WORD)
_SHOWN = 40  # characters of a question in a sentence


@dataclass(frozen=True)
class Lengths:
    """How long most texts of a kind are, 95 % of them at most, and the longest."""

    median: int
    most: int
    longest: int


@dataclass(frozen=True)
class SplitStatistics:
    """What there is to count in one split; a test split may have questions alone.

    ``repeated`` are rows that ask what an earlier row asks, ``repeated_of_passage`` those that ask it of the same
    passage. Texts are the same if they are so but for blanks and Unicode forms.
    """

    questions: int
    unanswerable: int
    several_answers: int
    passages: int
    repeated: int
    repeated_of_passage: int
    characters: dict[str, Lengths]
    question_words: dict[str, int]


@dataclass(frozen=True)
class Overlap:
    """How many rows of one split have what another has: the id, the question, the passage, both of the latter."""

    ids: int
    questions: int
    passages: int
    questions_of_passages: int


def lengths_of(values: Iterable[int] | np.ndarray) -> Lengths | None:
    """Return what ``values`` (n,) are like; None if there are none."""
    values = np.asarray(list(values))  # (n,)
    if not len(values):
        return None
    median, most = np.percentile(values, [50, 95], method="higher")
    return Lengths(int(median), int(most), int(values.max()))


def statistics_of(examples: Dataset) -> SplitStatistics:
    """Return the statistics of one split."""
    contexts = [context for context in examples["context"] if not is_blank(context)]
    texts = [answers["text"] for answers in examples["answers"]]
    pairs = _pairs(examples)
    kinds = {"question": examples["question"], "passage": contexts, "answer": [one for all_ in texts for one in all_]}
    characters = {kind: lengths_of(map(len, values)) for kind, values in kinds.items()}
    words = Counter(map(question_word, examples["question"]))
    return SplitStatistics(
        questions=len(examples),
        unanswerable=sum(not answers for answers in texts),
        several_answers=sum(len(answers) > 1 for answers in texts),
        passages=len(set(map(comparable, contexts))),
        repeated=len(pairs) - len({question for question, _ in pairs}),
        repeated_of_passage=len(pairs) - len(set(pairs)),
        characters={kind: lengths for kind, lengths in characters.items() if lengths is not None},
        question_words={word: words[word] for word in QUESTION_WORDS},
    )


def question_word(question: str) -> str:
    """Return the last of :data:`QUESTION_WORDS` in a Korean ``question``, the one nearest to its verb, else "other"."""
    places = [(found.start(), word) for word, pattern in _WORDS.items() for found in pattern.finditer(question)]
    return max(places, default=(0, _OTHER_WORD))[1]


def overlap(examples: Dataset, others: Dataset) -> Overlap:
    """Return how many of ``examples`` share what with ``others``."""
    pairs, other_pairs = _pairs(examples), set(_pairs(others))
    asked, read = {question for question, _ in other_pairs}, {passage for _, passage in other_pairs}
    return Overlap(
        ids=len(set(examples["id"]) & set(others["id"])),
        questions=sum(question in asked for question, _ in pairs),
        passages=sum(bool(passage) and passage in read for _, passage in pairs),
        questions_of_passages=sum(bool(pair[1]) and pair in other_pairs for pair in pairs),
    )


def _pairs(examples: Dataset) -> list[tuple[str, str]]:
    """Return question and passage of every row, so that the same ones are equal; no passage is an empty text."""
    return [
        (comparable(question), comparable(context))
        for question, context in zip(examples["question"], examples["context"], strict=True)
    ]


# ------------------------------------------------------------------------------------------------- what is a mistake


def fault_of_seen_questions(train: Iterable[str], evaluated: Iterable[str], name: str = "evaluation") -> str | None:
    """Return a sentence if questions that are ``evaluated``, called ``name``, are trained on; None if none are."""
    trained, evaluated = set(map(comparable, train)), list(evaluated)
    if not (seen := [question for question in evaluated if comparable(question) in trained]):
        return None
    first = one_line(seen[0])
    shown = first if len(first) <= _SHOWN else f"{first[:_SHOWN]}…"
    return (
        f"the training data include {len(seen)} of {len(evaluated)} {name} questions, whose scores do not tell how "
        f"well new ones are answered: take them out of one of the two (the first: {shown})"
    )


def fault_of_unanswerable(splits: Mapping[str, Dataset], version_2_with_negative: bool) -> str | None:
    """Return a sentence if questions have no answer and every answer is to be one, without the flag for them."""
    counts = {name: sum(not answers["text"] for answers in rows["answers"]) for name, rows in splits.items()}
    if version_2_with_negative or not any(counts.values()):
        return None
    found = " and ".join(f"{count} of {len(splits[name])} {name}" for name, count in counts.items() if count)
    return f"there is no answer to {found} questions, but a reader gives one: add --version_2_with_negative"


def warn(fault: str | None) -> None:
    """Log a fault of the data, if it is one, once for all processes of a run."""
    if fault is not None and is_first_process():
        logger.warning("%s", fault)
