"""What a reader reads for a question: examples whose context is one passage, or several joined.

Such an example has, besides ``id``, ``question``, ``context`` and ``answers``, a list ``passages`` that says where
in the context each passage starts and where it came from: ``{start, title, document_id, rank, score}`` and
``passage_start``, where in its document it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from datasets import Dataset, Features, List, Value

_SEPARATOR = "\n\n"
_SOURCE = ("title", "document_id", "rank", "score", "passage_start")
_ANSWERS = {"text": List(Value("string")), "answer_start": List(Value("int64"))}
_NO_ANSWERS: dict[str, list] = {"text": [], "answer_start": []}
_READING_EXAMPLE = Features(
    {
        "id": Value("string"),
        "question": Value("string"),
        "context": Value("string"),
        "answers": _ANSWERS,
        "passages": List(
            {
                "start": Value("int64"),
                "title": Value("string"),
                "document_id": Value("string"),
                "rank": Value("int64"),
                "score": Value("float32"),
                "passage_start": Value("int64"),
            }
        ),
    }
)


def gold_passages(examples: Dataset) -> Dataset:
    """Return one reading example per example: its own context, with its answers as labels."""
    return Dataset.from_list(
        [
            {
                **{name: example[name] for name in ("id", "question", "context", "answers")},
                "passages": [
                    {"start": 0, "rank": 1, "score": 0.0, "passage_start": 0}
                    | {name: example[name] for name in ("title", "document_id")}
                ],
            }
            for example in examples
        ],
        features=_READING_EXAMPLE,
    )


def separate_passages(retrieved: pd.DataFrame) -> Dataset:
    """Return one reading example per row of the retrieved passages (see ``retrieval/table.py``)."""
    return Dataset.from_list([_reading_example([row]) for row in _rows(retrieved)], features=_READING_EXAMPLE)


def joined_passages(retrieved: pd.DataFrame) -> Dataset:
    """Return one reading example per question: all its retrieved passages joined, best first."""
    return Dataset.from_list(
        [_reading_example(_rows(passages)) for _, passages in retrieved.groupby("id", sort=False)],
        features=_READING_EXAMPLE,
    )


def passage_texts(example: Mapping[str, Any]) -> list[str]:
    """Return the text of every one of a reading example's ``passages``."""
    starts = [passage["start"] for passage in example["passages"]]
    ends = [start - len(_SEPARATOR) for start in starts[1:]]
    return [example["context"][start:end] for start, end in zip(starts, [*ends, None], strict=True)]


def _rows(retrieved: pd.DataFrame) -> list[dict]:
    columns = ["id", "question", "rank", "document_id", "title", "context", "score", "passage_start"]
    return retrieved.reindex(columns=columns, fill_value=0).to_dict("records")


def _reading_example(rows: list[dict]) -> dict:
    passages, start = [], 0
    for row in rows:
        passages.append({"start": start, **{name: row[name] for name in _SOURCE}})
        start += len(row["context"]) + len(_SEPARATOR)
    return {
        "id": rows[0]["id"],
        "question": rows[0]["question"],
        "context": _SEPARATOR.join(row["context"] for row in rows),
        "answers": _NO_ANSWERS,
        "passages": passages,
    }
