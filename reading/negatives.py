"""Passages that a retriever found for training questions and that do not answer them."""

from __future__ import annotations

import pandas as pd
from datasets import Dataset

from runtime.log import get_logger
from runtime.text import answer_in_passage, comparable, is_blank

logger = get_logger(__name__)


def answer_free(examples: Dataset, retrieved: pd.DataFrame) -> dict[str, list[dict[str, str]]]:
    """Return per question id those of its retrieved passages (see ``retrieval/table.py``) that hold no gold answer.

    Neither in the title nor in the text (see :func:`runtime.text.answer_in_passage`); what says the same comes once. A
    question without gold answer gets none, since nobody knows what would answer it.
    """
    golds: dict[str, list[str]] = {}
    for example in examples:  # train and validation together may use an id twice
        golds.setdefault(example["id"], []).extend(text for text in example["answers"]["text"] if not is_blank(text))
    free: dict[str, list[dict[str, str]]] = {}
    taken: set[tuple[str, str]] = set()
    columns = retrieved[["id", "document_id", "title", "context"]]
    for question, document_id, title, context in columns.itertuples(index=False):
        answers = golds.get(question)
        key = (question, comparable(context))
        if answers and key not in taken and not answer_in_passage(answers, title, context):
            taken.add(key)
            passage = {"document_id": document_id, "title": title, "context": context}
            free.setdefault(question, []).append(passage)
    logger.info("%d of %d questions have retrieved passages without their answer", len(free), len(golds))
    return free
