"""A TREC run, character by character."""

from __future__ import annotations

import numpy as np
import pytest

from loading.corpus import Corpus
from retrieval.base import SearchResults
from retrieval.trec import write_trec_run
from runtime.errors import UserError

RESULTS = SearchResults(np.array([[2, 0], [1, 2]]), np.array([[12.5, 1 / 3], [0, -1e-9]], np.float32))


def corpus_of(*ids):
    return Corpus(list(ids), [""] * len(ids), list(ids))


def test_one_line_a_passage(tmp_path):
    write_trec_run(tmp_path / "new/run.trec", ["q1", "질문"], corpus_of("a", "b", "c"), RESULTS, "bm25")
    assert (tmp_path / "new/run.trec").read_bytes().decode("utf-8") == (
        "q1 Q0 c 1 12.5 bm25\nq1 Q0 a 2 0.333333343 bm25\n질문 Q0 b 1 0 bm25\n질문 Q0 c 2 -9.99999972e-10 bm25\n"
    )


@pytest.mark.parametrize(
    ("question_ids", "document_ids", "tag", "faulty"),
    [
        (["q 1", "q2"], "abc", "t", "'q 1'"),
        (["q1", "q2"], ["a", "b", "c\u3000d"], "t", r"'c\u3000d'"),
        (["q1", ""], "abc", "t", "''"),
        (["q1", "q2"], "abc", "a tag", "'a tag'"),
    ],
)
def test_white_space_would_end_a_field(question_ids, document_ids, tag, faulty, tmp_path):
    with pytest.raises(UserError) as caught:
        write_trec_run(tmp_path / "run.trec", question_ids, corpus_of(*document_ids), RESULTS, tag)
    assert str(caught.value) == (
        f"a TREC run cannot hold {faulty}, white space would end the field: {tmp_path / 'run.trec'}"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_passage_goes_by_the_name_that_its_question_has_for_it(tmp_path):
    corpus = Corpus(["a", "b", "c"], [""] * 3, list("가나다"), {"c2": "c", "b2": "b"})
    write_trec_run(tmp_path / "run.trec", ["q1", "q2"], corpus, RESULTS, "t", ["c2", "a"])
    names = [line.split()[2] for line in (tmp_path / "run.trec").read_text(encoding="utf-8").splitlines()]
    assert names == ["c2", "a", "b", "c"]
