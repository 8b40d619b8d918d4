"""How high the passages that matter are ranked.

A passage matters to a question if it is the gold passage, by document id or by text, whatever its blanks and Unicode
forms (``runtime.text.comparable``); or, by the weaker definition, if a gold answer occurs in its text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from datasets import Dataset

from loading.cleaning import clean
from loading.corpus import Corpus
from runtime.identifiers import identifiers_in
from runtime.statistics import percent
from runtime.text import answer_in_text, comparable, is_blank

KS = (1, 5, 10, 20, 50, 100)  # of the recall@k and hit@k that are reported
_DEPTH = 10  # of MRR and nDCG


class GoldPassages:
    """Where the gold passages of n examples are in ``corpus``.

    ``known`` says which examples name their passage, ``held`` which of these passages the corpus holds, both boolean
    (n,). Any retriever misses the others. ``rows`` are those of each example. Of a document in chunks the ones with a
    gold answer are gold.
    """

    def __init__(self, examples: Dataset, corpus: Corpus) -> None:
        golds = _golds(examples)
        ids = [{corpus.also_known_as.get(gold_id, gold_id) for gold_id in gold.ids} for gold in golds]
        texts = [gold.texts for gold in golds]
        rows_of_id = _rows_of(set().union(*ids), ((row, name) for row, name in enumerate(corpus.document_ids)))
        rows_of_text = _rows_of(set().union(*texts), _comparable_texts(corpus))
        self.rows = []
        for gold, own_ids, own_texts in zip(golds, ids, texts, strict=True):
            rows = {row for name in own_ids for row in rows_of_id[name]}
            rows |= {row for text in own_texts for row in rows_of_text[text]}
            if corpus.starts is not None:
                rows = {row for row in rows if gold.is_answered_by(corpus.texts[row], corpus.starts[row])}
            self.rows.append(sorted(rows))
        self.known = np.array([gold.is_known for gold in golds], dtype=bool)
        self.held = np.array([bool(rows) for rows in self.rows], dtype=bool)

    def among(self, results_ids: np.ndarray) -> np.ndarray:
        """Return which of the passages retrieved, rows (n, k) of the corpus, are gold: boolean (n, k).

        Several in a row where the corpus holds the gold passage more than once, none where it does not.
        """
        found = [np.isin(ids, rows) for ids, rows in zip(results_ids, self.rows, strict=True)]
        return np.array(found, dtype=bool).reshape(results_ids.shape)  # (n, k), also where n is 0


def answers_among(results_ids: np.ndarray, examples: Dataset, corpus: Corpus) -> np.ndarray:
    """Return in which of the passages retrieved, rows (n, k) of ``corpus``, a gold answer occurs: boolean (n, k).

    In the text, which a reader answers from, whatever the title says.
    """
    found = [
        [answer_in_text(answers, corpus.texts[row]) for row in rows]
        for rows, answers in zip(results_ids.tolist(), (gold.answers for gold in _golds(examples)), strict=True)
    ]
    return np.array(found, dtype=bool).reshape(results_ids.shape)  # (n, k), also where n is 0


def answerable(examples: Dataset) -> np.ndarray:
    """Return which examples have a gold answer: boolean (n,)."""
    return np.array([bool(gold.answers) for gold in _golds(examples)], dtype=bool)


def first_ranks(relevant: np.ndarray) -> np.ndarray:
    """Return the rank, from 1, of the first passage that matters of each question: (n,) float64, inf for none.

    ``relevant`` (n, k), boolean, says which of its passages matter, best first.
    """
    found = relevant.any(axis=1)  # (n, k) -> (n,)
    return np.where(found, relevant.argmax(axis=1) + 1 if relevant.size else 1, np.inf)  # (n, k) -> (n,)


def recall_at(k: int, ranks: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return recall@k per question, (n,) float64: 1 where the first passage that matters is among the first k.

    ``ranks`` (n,) are those of :func:`first_ranks`; one passage that matters is enough.
    """
    return (np.asarray(ranks) <= k).astype(np.float64)


def ranking_metrics(relevant: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return per question, (n,) float64, ``recall@k`` for every k, ``mrr@10`` and ``ndcg@10`` of ``relevant`` (n, k).

    recall@k is that of :func:`recall_at`. Where the first passage that matters has a rank of at most 10, mrr@10 is
    1 / rank and ndcg@10 is 1 / log2(1 + rank), else both are 0. That is the usual nDCG (Järvelin & Kekäläinen 2002)
    with exactly one passage to find.
    """
    ranks = first_ranks(relevant)  # (n,)
    near = np.where(ranks <= _DEPTH, ranks, np.inf)
    return {
        **{f"recall@{k}": recall_at(k, ranks) for k in ks},
        f"mrr@{_DEPTH}": 1 / near,
        f"ndcg@{_DEPTH}": 1 / np.log2(1 + near),
    }


def hit_at_k(df: pd.DataFrame | Iterable[pd.DataFrame], examples: Dataset, ks: Sequence[int]) -> dict[str, float]:
    """Return the percentage of examples with a hit among the first k passages of ``df``, recall@k, for every k.

    ``hit@k``: the gold passage, by document id or by text; over examples that have one of the two. ``answer_hit@k``: a
    passage in which a gold answer occurs; over examples with an answer. A definition that no example has the fields
    for is left out. Several passages joined in one row, as tables of the old form have them, are hit where one of them
    is. The table may come in blocks, each with all rows of its questions.
    """
    return hits_of(ranks_in_table(df, examples), examples, ks)


def hits_of(found: Mapping[str, tuple[float, float]], examples: Dataset, ks: Sequence[int]) -> dict[str, float]:
    """Return what :func:`hit_at_k` does of ranks that :func:`ranks_in_table` found."""
    ranks: dict[str, list[float]] = {"hit": [], "answer_hit": []}
    for example_id, gold in zip(examples["id"], _golds(examples), strict=True):
        rank, answer_rank = found.get(example_id, (np.nan, np.nan))
        if gold.is_known:
            ranks["hit"].append(rank)
        if gold.answers:
            ranks["answer_hit"].append(answer_rank)
    return {
        f"{name}@{k}": percent(recall_at(k, of_examples))  # NaN is not <= k
        for name, of_examples in ranks.items()
        if of_examples
        for k in ks
    }


def ranks_in_table(df: pd.DataFrame | Iterable[pd.DataFrame], examples: Dataset) -> dict[str, tuple[float, float]]:
    """Map the id of each example in ``df`` to the ranks of the first gold passage and the first with a gold answer.

    NaN stands for none. Both are those of :func:`hit_at_k`, which says what the table may be.
    """
    golds = dict(zip(examples["id"], _golds(examples), strict=True))
    found: dict[str, tuple[float, float]] = {}
    for block in [df] if isinstance(df, pd.DataFrame) else df:
        block = block[block["id"].isin(golds)]
        for example_id, table in block.groupby("id"):
            gold, answers = golds[example_id], golds[example_id].answers
            starts = table["passage_start"] if "passage_start" in table.columns else [None] * len(table)
            passages = list(zip(table["document_id"], table["context"], starts, strict=True))
            is_gold = [gold.is_row(*passage) for passage in passages]
            has_answer = [answer_in_text(answers, context) for _, context, _ in passages]
            found[example_id] = (table["rank"][is_gold].min(), table["rank"][has_answer].min())
    return found


class _Gold(NamedTuple):
    """What an example says of its gold passage: its ids, its text, and where the answers are in that."""

    ids: frozenset[str]
    context: str
    spans: list[tuple[str, int | None]]

    @property
    def answers(self) -> list[str]:
        """The answers, each once."""
        return list(dict.fromkeys(text for text, _ in self.spans))

    @property
    def is_known(self) -> bool:
        return bool(self.ids or comparable(self.context))

    @property
    def texts(self) -> set[str]:
        """The comparable text of the passage as it is, and as a corpus has it that was cleaned."""
        return {comparable(self.context), comparable(clean(self.context))} - {""}

    def is_row(self, document_id: Any, text: str, start: int | None) -> bool:
        """Whether a row of a table is, or holds, this passage; of a chunk, which has a ``start``, it must be answered.

        Several passages in one row hold it where one of them is it.
        """
        if start is not None and self._is_cut_from_here(text, int(start)):
            return self.is_answered_by(text, int(start))
        ids, row_text = identifiers_in(document_id), comparable(text)
        if self.ids & {document_id, *ids}:
            return start is None or self.is_answered_by(text, int(start))
        return any(gold in row_text if len(ids) > 1 else gold == row_text for gold in self.texts)

    def is_answered_by(self, text: str, start: int) -> bool:
        """Whether a chunk of the gold document holds a gold answer: at its place where that is known, else anywhere.

        A document without gold answers is gold as a whole.
        """
        if not self.spans:
            return True
        places = [(at, at + len(answer)) for answer, at in self.spans if at is not None]
        if places and self._is_cut_from_here(text, start):
            return any(start <= begin and end <= start + len(text) for begin, end in places)
        return answer_in_text(self.answers, text)

    def _is_cut_from_here(self, text: str, start: int) -> bool:
        return bool(text) and self.context[start : start + len(text)] == text


def _golds(examples: Dataset) -> list[_Gold]:
    """Return what every example says of its gold passage; answers that are blank say nothing."""
    columns = (_column(examples, name) for name in ("document_id", "context", "answers"))
    golds = []
    for document_id, context, answers in zip(*columns, strict=True):
        ids = frozenset(filter(None, identifiers_in(document_id)))
        pairs = zip_longest(*((answers or {}).get(name) or [] for name in ("text", "answer_start")))
        golds.append(_Gold(ids, context or "", [(text, at) for text, at in pairs if text and not is_blank(text)]))
    return golds


def _rows_of(wanted: Collection[str], values: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    """Return the rows of each of the values that are ``wanted``."""
    rows: dict[str, list[int]] = {value: [] for value in wanted}
    for row, value in values:
        if value in rows:
            rows[value].append(row)
    return rows


def _comparable_texts(corpus: Corpus) -> Iterator[tuple[int, str]]:
    """Yield every row with its comparable text, a chunk with that of its document as well."""
    yield from enumerate(map(comparable, corpus.texts))
    if corpus.starts is None:
        return
    rows = zip(range(len(corpus)), corpus.starts, corpus.texts, corpus.document_ids, strict=True)
    for _, chunks in groupby(rows, key=lambda chunk: chunk[3]):
        text, numbers = "", []
        for row, start, part, _ in chunks:
            text = text[:start].ljust(start) + part  # only blanks stand between chunks, others overlap
            numbers.append(row)
        document = comparable(text)
        yield from ((row, document) for row in numbers)


def _column(examples: Dataset, name: str) -> Sequence:
    return list(examples[name]) if name in examples.column_names else [None] * len(examples)
