"""Negative passages: what was retrieved and holds no gold answer."""

from __future__ import annotations


def test_negatives_never_hold_an_answer(pool: dict[str, list[dict[str, str]]]) -> None:
    assert {question: [passage["document_id"] for passage in passages] for question, passages in pool.items()} == {
        "q1": ["7", "8", "9"]
    }
