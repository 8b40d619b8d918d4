"""A BEIR folder gives questions with their relevant passages."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from written_examples import error_text

from loading.corpus import find_corpus, load_corpus
from loading.examples import load_examples
from runtime.errors import UserError

pytestmark = pytest.mark.usefixtures("_work_in")


def folder(qrels, queries=(("q1", "강은?"), ("q2", "달은?"), ("q3", "별은?"))):
    Path("beir/qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": name, "text": text, "metadata": {}}, ensure_ascii=False) for name, text in queries]
    Path("beir/queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    Path("beir/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrels, encoding="utf-8")
    text = '{"_id": "d1", "title": "강", "text": "한강", "metadata": {}}\n'
    Path("beir/corpus.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    return "beir"


def test_questions_have_the_passages_that_are_judged_relevant():
    path = folder("q2\td1\t1\nq1\td3\t0\nq1\td4\t2\nq1\td5\t1\nq3\td1\t0\n")
    rows = load_examples(path, ["test"])["test"]
    assert [(row["id"], row["question"], row["document_id"]) for row in rows] == [
        ("q2", "달은?", "d1"), ("q1", "강은?", '["d4", "d5"]'),
    ]  # fmt: skip
    assert load_corpus(find_corpus(path)).texts == ["한강"]
    with pytest.raises(UserError, match=r"beir has no validation split \(found test\)"):
        load_examples(path, ["validation"])


def test_judgements_that_cannot_be_read_are_listed():
    path = folder("q1\td1\n\td1\t1\nq1\td1\thigh\nq9\td1\t1\n")
    assert error_text(path, ["test"]) == (
        "4 problems in the data:\n"
        "  beir/qrels/test.tsv, line 2: is not query-id, corpus-id and a whole score\n"
        "  beir/qrels/test.tsv, line 3: is not query-id, corpus-id and a whole score\n"
        "  beir/qrels/test.tsv, line 4: is not query-id, corpus-id and a whole score\n"
        "  beir/qrels/test.tsv, line 5: judges the question 'q9', which queries.jsonl lacks"
    )
