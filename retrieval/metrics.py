"""How often the passage or the answer is among the first k passages retrieved."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
import pandas as pd
from datasets import Dataset


def hit_at_k(df: pd.DataFrame, examples: Dataset, ks: Sequence[int]) -> dict[str, float]:
    """Return the percentage of examples with a hit among the first k passages of ``df``, for every k.

    ``hit@k``: the gold passage, by document id or, after white space is normalised, by text; over examples that have
    one of the two. ``answer_hit@k``: a passage in which a gold answer occurs, white space and Unicode form (NFC)
    normalised; over examples with an answer. A definition that no example has the fields for is left out.
    """
    tables = dict(iter(df.assign(context=df["context"].map(_normalize)).groupby("id")))
    first_ranks: dict[str, list[float]] = {"hit": [], "answer_hit": []}
    for example in examples:
        table = tables.get(example["id"], df[:0])
        gold_id, gold_context = example.get("document_id") or "", _normalize(example.get("context") or "")
        answers = {_normalize(answer) for answer in (example.get("answers") or {}).get("text", [])} - {""}
        if gold_id or gold_context:
            is_gold = table["document_id"].isin({gold_id} - {""}) | table["context"].isin({gold_context} - {""})
            first_ranks["hit"].append(table["rank"][is_gold].min())
        if answers:
            has_answer = [any(answer in context for answer in answers) for context in table["context"]]
            first_ranks["answer_hit"].append(table["rank"][has_answer].min())
    return {
        f"{name}@{k}": 100 * float(np.mean(np.array(ranks) <= k))  # NaN, no hit at all, is not <= k
        for name, ranks in first_ranks.items()
        if ranks
        for k in ks
    }


def _normalize(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
