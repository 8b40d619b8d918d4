"""Questions with the passages that answer them and passages that do not, for training: one meaning of both for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from loading.corpus import Corpus
from runtime.text import answer_in_passage, comparable


class Passage(NamedTuple):
    """A passage; its id may be empty."""

    title: str
    text: str
    passage_id: str = ""


class RetrievalExample(NamedTuple):
    """A question, its answers, a passage that holds one, passages that are near and hold none, and other right ones."""

    id: str
    question: str
    answers: list[str]
    positive: Passage
    negatives: list[Passage]
    other_positives: tuple[Passage, ...] = ()

    @property
    def positives(self) -> tuple[Passage, ...]:
        """All right passages."""
        return (self.positive, *self.other_positives)


class Positives:
    """The right passages of a question; ``corpus`` says which other ids they have.

    A passage is one of them if its text is the same but for blanks and Unicode forms, whatever its title, or if it has
    the same id.
    """

    def __init__(self, example: RetrievalExample, corpus: Corpus | None = None) -> None:
        other_ids = corpus.also_known_as if corpus else {}
        self._texts = {comparable(passage.text) for passage in example.positives}
        self._ids = {other_ids.get(passage.passage_id, passage.passage_id) for passage in example.positives} - {""}

    def __contains__(self, passage: Passage) -> bool:
        return passage.passage_id in self._ids or comparable(passage.text) in self._texts


def given_negatives(example: RetrievalExample, passages: Iterable[Passage]) -> list[Passage]:
    """Return those of ``passages``, chosen by whoever made the data, that are no positive of ``example``."""
    positives = Positives(example)
    return [passage for passage in passages if passage not in positives]


def wrong_passages(example: RetrievalExample, passages: Iterable[Passage]) -> list[Passage]:
    """Return those of ``passages`` that are no positive of ``example`` and hold no answer to it.

    An answer in the title counts (see :func:`runtime.text.answer_in_passage`).
    """
    positives = Positives(example)
    return [passage for passage in passages if _is_wrong(passage, example, positives)]


def wrong_rows(example: RetrievalExample, rows: Iterable[int], corpus: Corpus) -> list[int]:
    """Return those of ``rows`` of ``corpus`` whose passages are wrong as :func:`wrong_passages` has it."""
    positives = Positives(example, corpus)
    passages = ((row, Passage(corpus.titles[row], corpus.texts[row], corpus.document_ids[row])) for row in rows)
    return [row for row, passage in passages if _is_wrong(passage, example, positives)]


def _is_wrong(passage: Passage, example: RetrievalExample, positives: Positives) -> bool:
    return passage not in positives and not answer_in_passage(example.answers, passage.title, passage.text)
