"""What retrieval models are trained on: questions with the passage that answers them, and passages that do not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import count

import torch

from loading.corpus import Corpus
from loading.retrieval_examples import Passage, Positives, RetrievalExample
from runtime.text import answer_in_passage, comparable

_KEYS_KEPT = 2**17
_RANDOM_TRIES = 50  # passages looked at for each random negative, of which nearly every one will do


@lru_cache(maxsize=_KEYS_KEPT)
def passage_key(text: str) -> int:
    """Return a number (64 bits, signed) that is the same for passages that :func:`runtime.text.comparable` says are."""
    digest = hashlib.sha256(comparable(text).encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def corpus_passages(corpus: Corpus) -> list[Passage]:
    """Return every passage of ``corpus``, in its order."""
    return list(map(Passage, corpus.titles, corpus.texts, corpus.document_ids))


def with_gold_passages(corpus: Corpus, passages: Iterable[Passage]) -> tuple[Corpus, list[int]]:
    """Return ``corpus`` with those of ``passages`` at its end that it lacks, and the row of each of ``passages``.

    Passages are the same if their texts are, whatever blanks and Unicode forms; of several rows with one text the first
    is meant. What is added keeps its document id unless the corpus has that for another text.
    """
    row_of: dict[str, int] = {}
    for row, text in enumerate(corpus.texts):
        row_of.setdefault(comparable(text), row)
    ids, rows = {*corpus.document_ids, *corpus.also_known_as}, []
    added: list[Passage] = []
    for passage in passages:
        key = comparable(passage.text)
        if key not in row_of:
            row_of[key] = len(corpus) + len(added)
            document_id = passage.passage_id
            if not document_id or document_id in ids:
                document_id = next(name for number in count(len(added)) if (name := f"added-{number}") not in ids)
            ids.add(document_id)
            added.append(passage._replace(passage_id=document_id))
        rows.append(row_of[key])
    if added:
        corpus = Corpus(
            corpus.document_ids + [passage.passage_id for passage in added],
            corpus.titles + [passage.title for passage in added],
            corpus.texts + [passage.text for passage in added],
            corpus.also_known_as,
            None if corpus.starts is None else corpus.starts + [0] * len(added),
        )
    return corpus, rows


class TrainingQuestions:
    """Questions in batches, each with its passages: the positive first, then ``negatives`` hard negatives.

    All of it is a function of the seed, the epoch and the row: a resumed run, and every process of a distributed one,
    draws the same. ``passages`` are where a random negative comes from once an example's own are used up; there are
    fewer negatives only where these hold no more that would do. None is a positive of the question, and no text is
    drawn twice. ``teacher_scores`` are those of passages, by the question's id and by what makes a text the same.
    """

    def __init__(
        self,
        examples: Sequence[RetrievalExample],
        passages: Sequence[Passage],
        negatives: int,
        seed: int,
        teacher_scores: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.examples = examples
        self.passages = passages
        self.negatives = negatives
        self.seed = seed
        self.teacher_scores = teacher_scores or {}

    def __len__(self) -> int:
        return len(self.examples)

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of the questions ``rows``."""
        return [self.examples[row].id for row in rows]

    def batches(self, epoch: int, batch_size: int) -> list[list[int]]:
        """Return the rows of every batch of ``epoch``, shuffled; the last batch may be smaller."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        rows = torch.randperm(len(self.examples), generator=generator)  # (rows,)
        return [batch.tolist() for batch in rows.split(batch_size)]

    def draw(self, row: int, epoch: int) -> list[Passage]:
        """Return the passages that the question of ``row`` is trained on in ``epoch``, the positive first."""
        example, rng = self.examples[row], random.Random(f"{self.seed} {epoch} {row}")
        positives = Positives(example)
        drawn: dict[str, Passage] = {}  # by what makes a text the same

        def take(passages: Iterable[Passage]) -> None:
            for passage in passages:
                if len(drawn) == self.negatives:
                    break
                if passage not in positives:
                    drawn.setdefault(comparable(passage.text), passage)

        take(rng.sample(example.negatives, min(self.negatives, len(example.negatives))))
        take(example.negatives)  # where one of those was drawn twice, or is right
        if missing := self.negatives - len(drawn):
            tries = min(len(self.passages), missing * _RANDOM_TRIES)
            candidates = (self.passages[index] for index in rng.sample(range(len(self.passages)), tries))
            answers = example.answers
            take(passage for passage in candidates if not answer_in_passage(answers, passage.title, passage.text))
        return [example.positive, *drawn.values()]
