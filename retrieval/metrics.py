"""How high the passages that matter are ranked.

A passage matters to a question if it is the gold passage, by document id or, after white space and Unicode form (NFC)
are normalised, by text; or, by the weaker definition, if a gold answer occurs in it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from datasets import Dataset

from retrieval.corpus import Corpus

_DEPTH = 10  # of MRR and nDCG
_TEXTS_KEPT = 2**16  # normalised passages kept while answers are looked for: some 100 MB


class GoldPassages:
    """Where the gold passages of n examples are in ``corpus``.

    ``known`` says which examples name their passage, ``held`` which of these passages the corpus holds, both boolean
    (n,). Any retriever misses the others.
    """

    def __init__(self, examples: Dataset, corpus: Corpus) -> None:
        ids, texts = _gold(examples)
        self._numbered = [
            _numbered(ids, corpus.document_ids),
            _numbered(texts, map(normalize_text, corpus.texts)),
        ]
        self.known = np.array([bool(gold_id or text) for gold_id, text in zip(ids, texts, strict=True)], dtype=bool)
        self.held = np.any([np.isin(of_question, of_row) for of_question, of_row in self._numbered], axis=0)  # (n,)

    def among(self, results_ids: np.ndarray) -> np.ndarray:
        """Return which of the passages retrieved, rows (n, k) of the corpus, are gold: boolean (n, k)."""
        by_id, by_text = (of_row[results_ids] == of_question[:, None] for of_question, of_row in self._numbered)
        return by_id | by_text


def relevant_by_id(results_ids: np.ndarray, examples: Dataset, corpus: Corpus) -> np.ndarray:
    """Return which of the passages retrieved, rows (n, k) of ``corpus``, are the gold passages of n examples.

    Boolean (n, k); several in a row where the corpus holds the gold passage more than once, none where it does not.
    """
    return GoldPassages(examples, corpus).among(results_ids)


def relevant_by_answer(results_ids: np.ndarray, examples: Dataset, corpus: Corpus) -> np.ndarray:
    """Return in which of the passages retrieved, rows (n, k) of ``corpus``, a gold answer occurs: boolean (n, k)."""

    @lru_cache(maxsize=_TEXTS_KEPT)
    def text(row: int) -> str:
        return normalize_text(corpus.texts[row])

    found = [
        [any(answer in text(row) for answer in answers) for row in rows]
        for rows, answers in zip(results_ids.tolist(), _answers(examples), strict=True)
    ]
    return np.array(found, dtype=bool).reshape(results_ids.shape)  # (n, k), also where n is 0


def has_answer(examples: Dataset) -> np.ndarray:
    """Return which examples have a gold answer: boolean (n,)."""
    return np.array([bool(answers) for answers in _answers(examples)], dtype=bool)


def ranking_metrics(relevant: np.ndarray, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return per question, (n,) float64, ``recall@k`` for every k, ``mrr@10`` and ``ndcg@10`` of ``relevant`` (n, k).

    One passage that matters is enough: recall@k is 1 if there is one among the first k, mrr@10 is 1 / its rank and
    ndcg@10 is 1 / log2(1 + its rank) if the first one's rank is at most 10, else all are 0. That is the usual nDCG
    (Järvelin & Kekäläinen 2002) with exactly one passage to find.
    """
    found = relevant.any(axis=1)  # (n, k) -> (n,)
    rank = np.where(found, relevant.argmax(axis=1) + 1 if relevant.size else 1, np.inf)  # (n,), from 1
    near = np.where(rank <= _DEPTH, rank, np.inf)
    return {
        **{f"recall@{k}": (rank <= k).astype(np.float64) for k in ks},
        f"mrr@{_DEPTH}": 1 / near,
        f"ndcg@{_DEPTH}": 1 / np.log2(1 + near),
    }


def hit_at_k(df: pd.DataFrame | Iterable[pd.DataFrame], examples: Dataset, ks: Sequence[int]) -> dict[str, float]:
    """Return the percentage of examples with a hit among the first k passages of ``df``, for every k.

    ``hit@k``: the gold passage, by document id or, after white space is normalised, by text; over examples that have
    one of the two. ``answer_hit@k``: a passage in which a gold answer occurs, white space and Unicode form (NFC)
    normalised; over examples with an answer. A definition that no example has the fields for is left out. The table
    may come in blocks, each with all rows of its questions.
    """
    golds = list(zip(examples["id"], *_gold(examples), _answers(examples), strict=True))
    gold_of = {example_id: gold for example_id, *gold in golds}
    found: dict[str, tuple[float, float]] = {}  # ranks of the first passage and of the first answer; NaN for none
    for block in [df] if isinstance(df, pd.DataFrame) else df:
        block = block[block["id"].isin(gold_of)]
        for example_id, table in block.assign(context=block["context"].map(normalize_text)).groupby("id"):
            gold_id, gold_text, answers = gold_of[example_id]
            is_gold = table["document_id"].isin({gold_id} - {""}) | table["context"].isin({gold_text} - {""})
            has_answer = [any(answer in context for answer in answers) for context in table["context"]]
            found[example_id] = (table["rank"][is_gold].min(), table["rank"][has_answer].min())
    first_ranks: dict[str, list[float]] = {"hit": [], "answer_hit": []}
    for example_id, gold_id, gold_text, answers in golds:
        rank, answer_rank = found.get(example_id, (np.nan, np.nan))
        if gold_id or gold_text:
            first_ranks["hit"].append(rank)
        if answers:
            first_ranks["answer_hit"].append(answer_rank)
    return {
        f"{name}@{k}": 100 * float(np.mean(np.array(ranks) <= k))  # NaN is not <= k
        for name, ranks in first_ranks.items()
        if ranks
        for k in ks
    }


def _numbered(gold: Sequence[str], values: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return a number per question (n,) and per row (N,), equal where the gold value is the row's and not empty."""
    number = {value: i for i, value in enumerate(dict.fromkeys(gold)) if value}
    of_question = [number.get(value, -2) for value in gold]
    return np.array(of_question, dtype=np.int64), np.array([number.get(value, -1) for value in values], dtype=np.int64)


def _gold(examples: Dataset) -> tuple[list[str], list[str]]:
    """Return the document ids and the normalised contexts of the gold passages, empty where there is none."""
    ids = [value or "" for value in _column(examples, "document_id")]
    return ids, [normalize_text(value or "") for value in _column(examples, "context")]


def _answers(examples: Dataset) -> list[set[str]]:
    """Return the normalised gold answers of every example."""
    texts = [(value or {}).get("text", []) for value in _column(examples, "answers")]
    return [{normalize_text(text) for text in golds} - {""} for golds in texts]


def _column(examples: Dataset, name: str) -> Sequence:
    return list(examples[name]) if name in examples.column_names else [None] * len(examples)


def normalize_text(text: str) -> str:
    """Return ``text`` composed (NFC), with single blanks: texts that agree in this are the same text."""
    return " ".join(unicodedata.normalize("NFC", text).split())
