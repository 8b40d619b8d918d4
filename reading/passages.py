"""What a reader reads for a question: examples whose context is one passage, or several joined.

Such an example has, besides ``id``, ``question``, ``context`` and ``answers``, a list ``passages`` that says where
in the context each passage starts and where it came from: ``{start, title, document_id, rank, score}`` and
``passage_start``, where in its document it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
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
    columns = {name: _column(examples, name) for name in ("id", "question", "context", "answers")}
    zeros, ones = (np.full(len(examples), value) for value in (0, 1))  # (examples,) each
    of_passages = {"start": zeros, "rank": ones, "score": zeros.astype(np.float32), "passage_start": zeros}
    of_passages |= {name: _column(examples, name) for name in ("title", "document_id")}
    sources = pa.StructArray.from_arrays(list(map(pa.array, of_passages.values())), names=list(of_passages))
    passages = pa.ListArray.from_arrays(np.arange(len(examples) + 1, dtype=np.int32), sources)  # one each
    return Dataset.from_dict(columns | {"passages": passages}, features=_READING_EXAMPLE)


def _column(examples: Dataset, name: str) -> pa.Array:
    return examples.select_columns(name).with_format("arrow")[:][name].combine_chunks()


def separate_passages(retrieved: pd.DataFrame) -> Dataset:
    """Return one reading example per row of the retrieved passages (see ``retrieval/table.py``)."""
    return Dataset.from_list([_reading_example([row]) for row in _rows(retrieved)], features=_READING_EXAMPLE)


def joined_passages(retrieved: pd.DataFrame) -> Dataset:
    """Return one reading example per question: all its retrieved passages joined, best first."""
    return Dataset.from_list(
        [_reading_example(_rows(passages)) for _, passages in retrieved.groupby("id", sort=False)],
        features=_READING_EXAMPLE,
    )


def passage_texts(context: str, passages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the text of every one of the ``passages`` that a reading example's ``context`` is made of."""
    starts = [passage["start"] for passage in passages]
    ends = [start - len(_SEPARATOR) for start in starts[1:]]
    return [context[start:end] for start, end in zip(starts, [*ends, None], strict=True)]


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
