"""Whatever is in a file of a user: it is read, or one sentence says what is wrong with it."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loading.corpus import load_corpus
from loading.dpr_json import read_dpr_json
from loading.examples import load_examples, load_gold
from reading.predictions import read_nbest, read_predictions
from reading.voting import read_member
from retrieval.table import get_retrieved_df
from runtime.errors import UserError

NONSENSE = st.sampled_from(
    [
        None, True, False, 0, -1, 3.5, 10**40, -(10**40), 1e300, math.nan, math.inf, -math.inf, "", " ", "\x1b[2J\x07",
        "\ud800", "a\0b", "=1+1", "q1", "\u202e\n", [], [None], [[]], ["a", 1], {}, {"": None}, {"text": {}},
        {"text": [], "answer_start": [1]}, {"data": 3}, [{"text": "a"}], "['a'", "{'a': array([",
    ]
)  # fmt: skip
QUESTION = {"id": "q1", "question": "수도는?", "answers": [{"text": "서울", "answer_start": 0}]}
PASSAGE = {"id": "1", "document_id": 1, "title": "서울", "text": "서울은 수도이다."}
ANSWER = {
    "text": "서울", "probability": 1.0, "score": 2.0, "span_score": 2.0, "retrieval_score": 0.0, "document_id": "1",
    "rank": 1, "start": 0, "end": 2
}  # fmt: skip
ROW = {
    "id": "q1", "question": "수도는?", "rank": 1, "document_id": "1", "title": "서울", "context": "서울은 수도이다.",
    "score": 1.5, "answers": "{}",
}  # fmt: skip
ASKED = Dataset.from_dict({"id": ["q1"], "question": ["수도는?"], "document_id": ["1"]})
SQUAD = {"data": [{"title": "서울", "paragraphs": [{"context": "서울은 수도이다.", "qas": [QUESTION]}]}]}
DPR = [{"question": "수도는?", "answers": ["서울"], "positive_ctxs": [PASSAGE], "hard_negative_ctxs": []}]
FORMATS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "squad.json": (SQUAD, load_gold),
    "flat.json": ([QUESTION | {"context": "서울은 수도이다."}], load_gold),
    "questions.json": (SQUAD, lambda path: load_examples(path, ["test"], skip_bad_rows=True)),
    "dpr.json": (DPR, read_dpr_json),
    "wikipedia_documents.json": ({"0": PASSAGE}, load_corpus),
    "passages.json": ([PASSAGE], load_corpus),
    "predictions.json": ({"q1": "서울"}, read_predictions),
    "nbest_predictions.json": ({"q1": [ANSWER]}, read_nbest),
    "member.json": ({"q1": [ANSWER]}, read_member),
}


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every value in ``content`` stands, itself included."""
    yield place
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*place, key))


def with_value(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Return ``content`` with ``value`` in one place."""
    if not place:
        return value
    changed = copy.deepcopy(content)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def assert_read_or_said(read: Callable[[str], Any], path: Path) -> None:
    try:
        read(str(path))
    except UserError as error:
        assert str(error)


ONE_FOLDER = [HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_any_value_in_any_place_is_read_or_said(name: str, data: st.DataObject, tmp_path: Path) -> None:
    content, read = FORMATS[name]
    place = data.draw(st.sampled_from(list(places(content))))
    changed = with_value(content, place, data.draw(NONSENSE))
    (tmp_path / name).write_text(json.dumps(changed), encoding="utf-8")
    assert_read_or_said(read, tmp_path / name)


@pytest.mark.parametrize("name", [*FORMATS, "rows.jsonl", "rows.csv", "rows.tsv", "rows.jsonl.gz", "rows.parquet"])
@settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_any_bytes_are_read_or_said(name: str, data: st.DataObject, tmp_path: Path) -> None:
    content, read = FORMATS.get(name, ([PASSAGE], load_corpus))
    whole = json.dumps(content).encode()
    start = data.draw(st.integers(0, len(whole)))
    changed = whole[:start] + data.draw(st.binary(max_size=8)) + whole[data.draw(st.integers(0, len(whole))) :]
    (tmp_path / name).write_bytes(changed)
    assert_read_or_said(read, tmp_path / name)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> bool:
    """Write ``rows`` as pandas does; return whether a file of this kind can hold them."""
    try:
        df = pd.DataFrame(rows, dtype=object)
        if path.suffix == ".jsonl":
            df.to_json(path, orient="records", lines=True)
        else:
            df.to_csv(path, index=False) if path.suffix == ".csv" else df.to_parquet(path)
    except (ValueError, OverflowError, pyarrow.ArrowException):
        return False
    return True


@pytest.mark.parametrize(
    ("row", "read", "suffixes"),
    [
        (ROW, lambda path: get_retrieved_df(path, ASKED), [".csv", ".parquet"]),
        (QUESTION | {"context": "서울은 수도이다."}, load_gold, [".csv", ".parquet", ".jsonl"]),
        (PASSAGE, load_corpus, [".csv", ".parquet", ".jsonl"]),
    ],
)
@settings(max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=ONE_FOLDER)
@given(data=st.data())
def test_any_cell_of_a_table_is_read_or_said(
    row: dict[str, Any], read: Callable[[str], Any], suffixes: list[str], data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / f"table{data.draw(st.sampled_from(suffixes))}"
    changed = row | {data.draw(st.sampled_from(list(row))): data.draw(NONSENSE)}
    if write_rows(path, [row | {"id": "q0", "document_id": "0"}, changed]):
        assert_read_or_said(read, path)
