"""The table of retrieved passages: exact round trips, the old form, and every error at once."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
import sys

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loading.corpus import Corpus
from retrieval.base import SearchResults
from retrieval.metrics import hit_at_k
from retrieval.table import COLUMNS, get_retrieved_df, retrieved_df, write_retrieved_df
from runtime.errors import DataError, UserError

ODD_TEXTS = [
    '그는 "예, 아니오"라고\n말했다.\r\n끝',
    "NA",
    "null",
    "001",
    "",
    ",",
    '"',
    "\r",
    "  앞뒤 빈칸 ",
    "#태그\t😀\u2028",
    "nan",
]


def examples_of(*ids, **columns):
    return Dataset.from_dict({"id": list(ids), "question": [f'{name}의 물음, "무엇"?' for name in ids], **columns})


@pytest.fixture
def odd_corpus():
    return Corpus(ODD_TEXTS, ODD_TEXTS[::-1], [f"{text}{text}" for text in ODD_TEXTS])


def test_one_row_per_question_and_rank(corpus):
    answers = [{"text": ["서해"], "answer_start": [3]}, {"text": [], "answer_start": []}]
    results = SearchResults(np.array([[2, 0], [11, 2]]), np.array([[3.5, 1], [0.25, 0]], dtype=np.float32))
    df = retrieved_df(examples_of("q2", "q1", answers=answers), corpus, results)
    assert df.columns.tolist() == [*COLUMNS, "answers"]
    assert df.drop(columns=["context", "question"]).to_dict("list") == {
        "id": ["q2", "q2", "q1", "q1"],
        "rank": [1, 2, 1, 2],
        "document_id": ["102", "100", "111", "102"],
        "title": ["한강", "왕", "", "한강"],
        "score": [3.5, 1.0, 0.25, 0.0],
        "answers": ['{"text": ["서해"], "answer_start": [3]}'] * 2 + ['{"text": [], "answer_start": []}'] * 2,
    }
    assert df["context"].tolist() == [corpus.texts[row] for row in (2, 0, 11, 2)]
    assert df["question"].tolist() == ['q2의 물음, "무엇"?'] * 2 + ['q1의 물음, "무엇"?'] * 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_round_trip_is_exact(suffix, odd_corpus, tmp_path):
    size = len(odd_corpus)
    examples = Dataset.from_dict({"id": ["007", "NA", "1.0", ""], "question": ["null", "", '"', "a\rb"]})
    ids = np.array([np.roll(np.arange(size), shift) for shift in range(4)])
    scores = np.random.default_rng(0).normal(10, 5, size=(4, size)).astype(np.float32)
    df = retrieved_df(examples, odd_corpus, SearchResults(ids, scores))
    write_retrieved_df(df, tmp_path / f"table{suffix}")
    read = get_retrieved_df(tmp_path / f"table{suffix}", examples, size)
    pd.testing.assert_frame_equal(read, df)
    assert read["context"].tolist() == [odd_corpus.texts[row] for row in ids.ravel()]
    assert read["score"].tolist() == scores.ravel().tolist()
    assert [path.name for path in tmp_path.iterdir()] == [f"table{suffix}"]


def test_csv_gives_back_any_text(tmp_path):
    rng = random.Random(0)
    characters = "가a'\",;\r\n\t \\\ufeff" + ("\x00" if sys.version_info >= (3, 11) else "")
    texts = ["".join(rng.choices(characters, k=rng.randint(0, 6))) for _ in range(300)]
    examples = examples_of(*(f"q{row}" for row in range(300)))
    results = SearchResults(np.arange(300)[:, None], np.random.default_rng(0).random((300, 1), dtype=np.float32))
    df = retrieved_df(examples, Corpus(texts, texts, texts), results)
    write_retrieved_df(df, tmp_path / "table.csv")
    pd.testing.assert_frame_equal(get_retrieved_df(tmp_path / "table.csv", examples, 1), df)


def test_what_python_3_10_cannot_write_is_said_in_one_sentence(tmp_path, corpus, monkeypatch):
    def to_csv(*_, **__):
        raise csv.Error("need to escape, but no escapechar set")

    df = retrieved_df(examples_of("q"), corpus, SearchResults(np.array([[0]]), np.ones((1, 1), dtype=np.float32)))
    monkeypatch.setattr(pd.DataFrame, "to_csv", to_csv)
    with pytest.raises(UserError, match=r"U\+0000, which only Python 3\.11 and later can write as CSV: take it out"):
        write_retrieved_df(df, tmp_path / "table.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_reading_follows_the_examples_and_top_k(suffix, corpus, tmp_path, log_lines):
    results = SearchResults(np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]]), np.ones((3, 3), dtype=np.float32))
    df = retrieved_df(examples_of("a", "b", "c"), corpus, results)
    write_retrieved_df(df.sample(frac=1, random_state=0), tmp_path / f"table{suffix}")
    read = get_retrieved_df(tmp_path / f"table{suffix}", examples_of("c", "a"), 2)
    assert read[["id", "rank", "document_id"]].values.tolist() == [
        ["c", 1, "106"], ["c", 2, "107"], ["a", 1, "100"], ["a", 2, "101"],
    ]  # fmt: skip
    assert log_lines == []


def test_a_table_for_other_questions_or_too_short_is_told(corpus, tmp_path, log_lines):
    path = tmp_path / "table.csv"
    results = SearchResults(np.array([[0, 1], [2, 3]]), np.ones((2, 2), dtype=np.float32))
    write_retrieved_df(retrieved_df(examples_of("a", "b"), corpus, results), path)
    get_retrieved_df(path, Dataset.from_dict({"id": ["a", "b"], "question": ["딴 물음", 'b의 물음, "무엇"?']}), 5)
    assert log_lines == [
        f"WARNING {path}: 1 of its questions read otherwise in the data set; is it for other data?",
        f"WARNING {path}: holds at most 2 passages a question, fewer than 5",
    ]


def test_the_old_form_is_read_as_rank_1(tmp_path, log_lines):
    path = tmp_path / "old.csv"
    old = pd.DataFrame(
        {
            "question": ["첫째?", "둘째?"],
            "id": ["mrc-1", "mrc-0"],
            "context_id": [17, 4],
            "context": ["글 하나 글 둘", "NA"],
            "answers": ["{'answer_start': [0], 'text': ['글']}"] * 2,
        }
    )
    old.to_csv(path)  # with the row numbers that were usual then
    examples = Dataset.from_dict({"id": ["mrc-0", "mrc-1"], "question": ["둘째?", "첫째?"]})
    assert get_retrieved_df(path, examples, 1).to_dict("records") == [
        {"id": "mrc-0", "question": "둘째?", "rank": 1, "document_id": "4", "title": "", "context": "NA", "score": 0.0},
        {
            "id": "mrc-1",
            "question": "첫째?",
            "rank": 1,
            "document_id": "17",
            "title": "",
            "context": "글 하나 글 둘",
            "score": 0.0,
        },
    ]
    assert log_lines == [f"INFO {path}: the old form, one row of joined passages per question; each is read as rank 1"]


def test_everything_wrong_is_listed_at_once(tmp_path):
    path = tmp_path / "table.csv"
    rows = [("a", "1", "1.5"), ("a", "1", "1.5"), ("b", "0", "2"), ("c", "1.5", "x"), ("e", "2", "1")]
    table = pd.DataFrame(rows, columns=["id", "rank", "score"])
    table.assign(question="?", document_id="1", title="", context="글").to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        get_retrieved_df(path, examples_of("a", "d", "e"), 1)
    assert str(caught.value).splitlines() == [
        "6 problems in the data:",
        f"  {path}, row 3: rank is not a whole number from 1",
        f"  {path}, row 4: rank is not a whole number from 1",
        f"  {path}, row 4: score is not a number",
        f"  {path}, id a, rank 1: 2 rows",
        f"  {path}, id d: a question of the data set that has no row of rank 1",
        f"  {path}, id e: a question of the data set that has no row of rank 1",
        "Write a table for this data set; inference.py writes one beside its answers.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", None, "cannot be read: No such file or directory"),
        ("a.parquet", None, "cannot be read: No such file or directory"),
        ("a.csv", b"", "not a table: No columns to parse from file"),
        ("a.csv", "id,질문\n".encode("cp949"), "not a table: 'utf-8' codec can't decode byte 0xc1 in position 3"),
        (
            "a.csv",
            b"id,rank,text\n1,2,3\n",
            "no column question, document_id, title, context, score; found id, rank, text",
        ),
        ("a.csv", b"id,context_id\n1,2\n", "no column question, context; found id, document_id, rank, title, score"),
        ("a.parquet", b"no parquet", "cannot be read as Parquet: "),
    ],
)
def test_a_file_that_is_no_table(name, content, problem, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        get_retrieved_df(path, examples_of("a"), 1)
    assert str(caught.value).startswith(f"1 problem in the data:\n  {path}: {problem}")


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.csv or \.parquet, not .*table\.xlsx"):
        write_retrieved_df(pd.DataFrame(), tmp_path / "table.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_titles_missing_in_parquet_are_empty(tmp_path):
    row = {"id": 7, "question": "q?", "rank": 1, "document_id": 3, "title": None, "context": "글", "score": 1.5}
    pd.DataFrame([row]).to_parquet(tmp_path / "table.parquet")
    read = get_retrieved_df(tmp_path / "table.parquet", Dataset.from_dict({"id": ["7"], "question": ["q?"]}), 1)
    assert read.to_dict("records") == [row | {"id": "7", "document_id": "3", "title": ""}]


def test_answers_are_json(corpus):
    answers = {"text": ["서해", '"따옴표"'], "answer_start": [3, 9]}
    results = SearchResults(np.array([[2]]), np.ones((1, 1), dtype=np.float32))
    df = retrieved_df(examples_of("a", answers=[answers]), corpus, results)
    assert json.loads(df["answers"][0]) == answers


def one_passage(**columns):
    """A table of one passage for each of some questions."""
    n = len(columns["id"])
    row = {"question": "?", "rank": 1, "document_id": "1", "title": "", "context": "글", "score": 1.0}
    return pd.DataFrame({name: [value] * n for name, value in row.items()} | columns)


def ids_read(df, path, examples, name="document_id"):
    df.to_csv(path, index=False) if path.suffix == ".csv" else df.to_parquet(path)
    return get_retrieved_df(path, examples, 5)[name].tolist()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([3, None, 5], ["3", "", "5"]),  # pandas makes floats of them
        ([3, 4, 5], ["3", "4", "5"]),
        (["3.0", "", "5.0"], ["3", "", "5"]),
        (["3.10", "3.0", "5"], ["3.10", "3.0", "5"]),
        (["wiki-3.0", "3.0", None], ["wiki-3.0", "3.0", ""]),
        (pd.array([3, None, 5], dtype="Int64"), ["3", "", "5"]),
        (pd.array([2**53 + 1, None, 5], dtype="Int64"), ["9007199254740993", "", "5"]),  # which no float is
        (pd.Categorical(["a", None, "b"]), ["a", "", "b"]),
    ],
)
def test_ids_that_became_floats_are_whole_numbers_again(suffix, column, expected, tmp_path):
    df = one_passage(id=["a", "b", "c"], document_id=column)
    assert ids_read(df, tmp_path / f"table{suffix}", examples_of("a", "b", "c")) == expected


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_question_ids_that_became_floats_are_found(suffix, tmp_path):
    df = one_passage(id=[3.0, 7.0])
    assert ids_read(df, tmp_path / f"table{suffix}", examples_of("7", "3"), "id") == ["7", "3"]


def test_ids_that_the_data_has_like_this_stay(tmp_path):
    df = one_passage(id=["3.0", "7.0"], document_id=["1.0", "2.0"])
    examples = examples_of("3.0", "7.0", document_id=["2.0", "x"])
    assert ids_read(df, tmp_path / "table.csv", examples, "id") == ["3.0", "7.0"]
    assert ids_read(df, tmp_path / "table.csv", examples) == ["1.0", "2.0"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("ids", [[3, 4], ["3", "4"], np.array([3, 4]), [np.int64(3), np.int64(4)]])
def test_the_old_form_may_hold_a_list_of_ids(suffix, ids, tmp_path):
    path = tmp_path / f"old{suffix}"
    old = pd.DataFrame({"question": ["수도는?"], "id": ["a"], "context": ["서울은 수도이다 부산은 항구이다"]})
    old["context_id"] = [ids]
    examples = Dataset.from_dict(
        {"id": ["a"], "question": ["수도는?"], "context": [""], "document_id": ["4"], "answers": [None]}
    )
    assert ids_read(old, path, examples) == ['["3", "4"]']
    read = get_retrieved_df(path, examples, 5)
    assert hit_at_k(read, examples, [1]) == {"hit@1": 100.0}
    write_retrieved_df(read, tmp_path / "again.csv")
    assert hit_at_k(get_retrieved_df(tmp_path / "again.csv", examples, 5), examples, [1]) == {"hit@1": 100.0}


@pytest.mark.parametrize("score", ["1e39", "-1e39", "inf", "nan", "1e400", ""])
def test_a_score_that_is_no_number_of_32_bits_is_a_bad_row(score, tmp_path):
    path = tmp_path / "table.csv"
    one_passage(id=["a", "b"], score=["3e38", score]).to_csv(path, index=False)
    with pytest.raises(DataError) as caught:
        get_retrieved_df(path, examples_of("a", "b"), 5)
    (problem,) = caught.value.problems
    assert problem.row == "row 2"
    assert problem.reason == ("score is too large for 32 bits" if "39" in score else "score is not a number")


def test_a_passage_goes_by_the_name_that_its_question_has_for_it(tmp_path):
    corpus = Corpus(["0", "2"], ["", ""], ["나루", "들샘"], {"1": "0"})
    examples = examples_of("a", "b", document_id=["1", "2"], context=["나루 (옛 글)", "들샘"])
    df = retrieved_df(examples, corpus, SearchResults(np.array([[0, 1], [0, 1]]), np.ones((2, 2), np.float32)))
    assert df["document_id"].tolist() == ["1", "2", "0", "2"]
    write_retrieved_df(df, tmp_path / "table.parquet")
    assert hit_at_k(get_retrieved_df(tmp_path / "table.parquet", examples, 2), examples, [1]) == {"hit@1": 50.0}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_where_chunks_start_is_written_and_read(suffix, corpus, tmp_path):
    starts = list(range(0, 5 * len(corpus), 5))
    chunked = dataclasses.replace(corpus, starts=starts)
    results = SearchResults(np.array([[3, 1]]), np.array([[2.0, 1.0]], dtype=np.float32))
    df = retrieved_df(examples_of("a"), chunked, results)
    write_retrieved_df(df, tmp_path / f"table{suffix}")
    read = get_retrieved_df(tmp_path / f"table{suffix}", examples_of("a"))
    assert (read["passage_start"].tolist(), read["passage_start"].dtype) == ([15, 5], np.int64)
    bad = df.assign(passage_start=[-1, 1.5])
    write_retrieved_df(bad, tmp_path / f"bad{suffix}")
    with pytest.raises(DataError) as caught:
        get_retrieved_df(tmp_path / f"bad{suffix}", examples_of("a"))
    assert [str(problem).split(", ")[1] for problem in caught.value.problems] == [
        f"row {row}: passage_start is not a whole number from 0" for row in (1, 2)
    ]


_ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="" if sys.version_info >= (3, 11) else "\0"))
_PASSAGES = st.lists(st.tuples(_ANY_TEXT, _ANY_TEXT, st.floats(width=32, allow_nan=False, allow_infinity=False)))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@settings(
    max_examples=40, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(question=_ANY_TEXT, passages=_PASSAGES.filter(len))
def test_whatever_is_in_a_table_comes_back(suffix, question, passages, tmp_path):
    titles, texts, scores = zip(*passages, strict=True)
    corpus = Corpus([f"d{row}" for row in range(len(passages))], list(titles), list(texts))
    examples = Dataset.from_dict({"id": ["q"], "question": [question]})
    found = SearchResults(np.arange(len(passages))[None], np.array([scores], dtype=np.float32))
    df = retrieved_df(examples, corpus, found)
    write_retrieved_df(df, tmp_path / f"table{suffix}")
    pd.testing.assert_frame_equal(get_retrieved_df(tmp_path / f"table{suffix}", examples, len(passages)), df)
