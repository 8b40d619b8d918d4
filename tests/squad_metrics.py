"""The metrics ``squad`` and ``squad_v2`` as the packages of metrics offer them: the same call, the same strictness.

Written for these tests from the definitions of Rajpurkar et al. (2016 and 2018); ``compute`` takes rows of exactly the
columns that the packages declare, and returns percent.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any


class SquadMetric:
    """``metric.compute(predictions=..., references=...)`` of ``squad``, or of ``squad_v2`` with ``no_answer``."""

    def __init__(self, no_answer: bool = False) -> None:
        self.columns = {"id", "prediction_text", *(["no_answer_probability"] if no_answer else [])}
        self.no_answer = no_answer

    def compute(self, *, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        assert len(predictions) == len(references) > 0
        texts = {}
        for row in predictions:
            assert set(row) == self.columns
            assert isinstance(row["id"], str) and isinstance(row["prediction_text"], str)
            assert 0.0 <= row.get("no_answer_probability", 0.0) <= 1.0
            texts[row["id"]] = row["prediction_text"]
        exact, f1 = [], []
        for row in references:
            assert set(row) == {"id", "answers"} and set(row["answers"]) == {"text", "answer_start"}
            assert all(isinstance(start, int) for start in row["answers"]["answer_start"])
            golds = list(row["answers"]["text"])
            if self.no_answer and not golds:
                golds = [""]
            exact.append(max(_words(texts[row["id"]]) == _words(gold) for gold in golds))
            f1.append(max(_f1(_words(texts[row["id"]]), _words(gold)) for gold in golds))
        return {"exact_match": 100 * sum(exact) / len(exact), "f1": 100 * sum(f1) / len(f1)}


def _words(text: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return [word for word in re.split(r"\s+", kept) if word not in ("", "a", "an", "the")]


def _f1(prediction: list[str], gold: list[str]) -> float:
    if not prediction or not gold:
        return float(prediction == gold)
    same = sum((Counter(prediction) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(prediction), same / len(gold)
    return 2 * precision * recall / (precision + recall)
