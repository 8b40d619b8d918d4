"""How high the passages that matter are ranked.

A passage matters to a question if it is the gold passage, by document id or by text, whatever its blanks and Unicode
forms (``runtime.text.comparable``); or, by the weaker definition, if a gold answer occurs in its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from loading.corpus import Corpus
from runtime.identifiers import identifier, identifiers_in
from runtime.statistics import percent
from runtime.text import answer_in_text, comparable, is_blank

KS = (1, 5, 10, 20, 50, 100)  # of the recall@k and hit@k that are reported
_DEPTH = 10  # of MRR and nDCG


class GoldPassages:
    """Where the gold passages of n examples are in ``corpus``.

    ``known`` says which examples name their passage, ``held`` which of these passages the corpus holds, both boolean
    (n,). Any retriever misses the others.
    """

    def __init__(self, examples: Dataset, corpus: Corpus) -> None:
        ids, texts = _gold(examples)
        self._numbered = [
            _numbered([corpus.also_known_as.get(gold_id, gold_id) for gold_id in ids], corpus.document_ids),
            _numbered(texts, map(comparable, corpus.texts)),
        ]
        self.known = np.array([bool(gold_id or text) for gold_id, text in zip(ids, texts, strict=True)], dtype=bool)
        self.held = np.any([np.isin(of_question, of_row) for of_question, of_row in self._numbered], axis=0)  # (n,)

    def among(self, results_ids: np.ndarray) -> np.ndarray:
        """Return which of the passages retrieved, rows (n, k) of the corpus, are gold: boolean (n, k).

        Several in a row where the corpus holds the gold passage more than once, none where it does not.
        """
        by_id, by_text = (of_row[results_ids] == of_question[:, None] for of_question, of_row in self._numbered)
        return by_id | by_text


def answers_among(results_ids: np.ndarray, examples: Dataset, corpus: Corpus) -> np.ndarray:
    """Return in which of the passages retrieved, rows (n, k) of ``corpus``, a gold answer occurs: boolean (n, k).

    In the text, which a reader answers from, whatever the title says.
    """
    found = [
        [answer_in_text(answers, corpus.texts[row]) for row in rows]
        for rows, answers in zip(results_ids.tolist(), _answers(examples), strict=True)
    ]
    return np.array(found, dtype=bool).reshape(results_ids.shape)  # (n, k), also where n is 0


def answerable(examples: Dataset) -> np.ndarray:
    """Return which examples have a gold answer: boolean (n,)."""
    return np.array([bool(answers) for answers in _answers(examples)], dtype=bool)


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
    for example_id, gold_id, gold_text, answers in zip(
        examples["id"], *_gold(examples), _answers(examples), strict=True
    ):
        rank, answer_rank = found.get(example_id, (np.nan, np.nan))
        if gold_id or gold_text:
            ranks["hit"].append(rank)
        if answers:
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
    golds = zip(examples["id"], *_gold(examples), _answers(examples), strict=True)
    gold_of = {example_id: (gold_id, gold_text, answers) for example_id, gold_id, gold_text, answers in golds}
    found: dict[str, tuple[float, float]] = {}
    for block in [df] if isinstance(df, pd.DataFrame) else df:
        block = block[block["id"].isin(gold_of)]
        for example_id, table in block.groupby("id"):
            gold_id, gold_text, answers = gold_of[example_id]
            passages = list(zip(table["document_id"], table["context"], strict=True))
            is_gold = [_is_gold(gold_id, gold_text, *passage) for passage in passages]
            has_answer = [answer_in_text(answers, context) for _, context in passages]
            found[example_id] = (table["rank"][is_gold].min(), table["rank"][has_answer].min())
    return found


def _is_gold(gold_id: str, gold_text: str, document_id: Any, context: str) -> bool:
    """Whether a row of a table is, or holds, the gold passage of which id and comparable text are given, if any."""
    ids, text = identifiers_in(document_id), comparable(context)
    if gold_id and (gold_id == document_id or gold_id in ids):
        return True
    return bool(gold_text) and (gold_text in text if len(ids) > 1 else gold_text == text)


def _numbered(gold: Sequence[str], values: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return a number per question (n,) and per row (N,), equal where the gold value is the row's and not empty."""
    number = {value: i for i, value in enumerate(dict.fromkeys(gold)) if value}
    of_question = [number.get(value, -2) for value in gold]
    return np.array(of_question, dtype=np.int64), np.array([number.get(value, -1) for value in values], dtype=np.int64)


def _gold(examples: Dataset) -> tuple[list[str], list[str]]:
    """Return the document ids and the comparable contexts of the gold passages, empty where there is none."""
    ids = [identifier(value) or "" for value in _column(examples, "document_id")]
    return ids, [comparable(value or "") for value in _column(examples, "context")]


def _answers(examples: Dataset) -> list[list[str]]:
    """Return the gold answers of every example, without blank ones."""
    texts = [(value or {}).get("text") or [] for value in _column(examples, "answers")]
    return [[text for text in dict.fromkeys(golds) if text and not is_blank(text)] for golds in texts]


def _column(examples: Dataset, name: str) -> Sequence:
    return list(examples[name]) if name in examples.column_names else [None] * len(examples)
