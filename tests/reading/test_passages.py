"""Reading examples: what is read, and where each passage of it came from."""

from __future__ import annotations

import pandas as pd
import pytest
from datasets import Dataset

from reading.passages import gold_passages, joined_passages, separate_passages

NO_ANSWERS = {"text": [], "answer_start": []}


@pytest.fixture
def retrieved() -> pd.DataFrame:
    """Two passages for one question, one for another, with a column that reading does not need."""
    rows = [
        ("b", "누가?", 1, "7", "세종", "세종은 왕이다.", 2.5),
        ("b", "누가?", 2, "3", "이순신", "이순신은 장군이다.", 1.5),
        ("a", "어디?", 1, "9", "서울", "서울", 0.25),
    ]
    return pd.DataFrame(rows, columns=["id", "question", "rank", "document_id", "title", "context", "score"])


def _passage(start: int, title: str, document_id: str, rank: int, score: float) -> dict:
    own = {"start": start, "title": title, "document_id": document_id, "rank": rank, "score": score}
    return own | {"passage_start": 0}


def test_gold_passages_are_the_examples_own_contexts(examples: Dataset) -> None:
    read = gold_passages(examples)
    assert read.column_names == ["id", "question", "context", "answers", "passages"]
    for name in ("id", "question", "context", "answers"):
        assert list(read[name]) == list(examples[name])
    titles_and_ids = zip(examples["title"], examples["document_id"], strict=True)
    assert list(read["passages"]) == [
        [_passage(0, title, document_id, 1, 0.0)] for title, document_id in titles_and_ids
    ]


def test_separate_passages_are_one_example_each(retrieved: pd.DataFrame) -> None:
    assert separate_passages(retrieved).to_list() == [
        {"id": row_id, "question": question, "context": context, "answers": NO_ANSWERS, "passages": [passage]}
        for row_id, question, context, passage in [
            ("b", "누가?", "세종은 왕이다.", _passage(0, "세종", "7", 1, 2.5)),
            ("b", "누가?", "이순신은 장군이다.", _passage(0, "이순신", "3", 2, 1.5)),
            ("a", "어디?", "서울", _passage(0, "서울", "9", 1, 0.25)),
        ]
    ]


def test_joined_passages_are_one_example_a_question_and_know_where_each_begins(retrieved: pd.DataFrame) -> None:
    read = joined_passages(retrieved)
    assert list(read["id"]) == ["b", "a"]  # in the order of the table
    first, second = read
    assert first["context"] == "세종은 왕이다.\n\n이순신은 장군이다."
    assert first["passages"] == [_passage(0, "세종", "7", 1, 2.5), _passage(10, "이순신", "3", 2, 1.5)]
    assert first["context"][10:] == "이순신은 장군이다."
    assert first["answers"] == second["answers"] == NO_ANSWERS
    assert (second["context"], second["passages"]) == ("서울", [_passage(0, "서울", "9", 1, 0.25)])
