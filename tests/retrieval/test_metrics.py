"""hit@k by gold passage and by answer, worked out by hand."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest
from datasets import Dataset

from retrieval.metrics import hit_at_k, ranks_in_table


def table(**rows):
    """One question per keyword: its (document id, context) pairs, best first."""
    return pd.DataFrame(
        [
            {"id": name, "rank": rank, "document_id": document_id, "context": context}
            for name, passages in rows.items()
            for rank, (document_id, context) in enumerate(passages, start=1)
        ]
    )


def examples_of(*rows):
    answers = [{"text": texts, "answer_start": [0] * len(texts)} for _, _, _, texts in rows]
    names, contexts, document_ids, _ = zip(*rows, strict=True)
    return Dataset.from_dict({"id": names, "context": contexts, "document_id": document_ids, "answers": answers})


DF = table(
    by_id=[("7", "다른 글"), ("3", "한강은 서해로 흐른다")],
    by_text=[("1", "산"), ("2", "한강은  서해로\n흐른다 "), ("4", "한강은 서해로 흐른다")],
    missed=[("5", "산"), ("", "강"), ("6", "들"), ("8", "")],
)


def test_the_gold_passage_by_id_or_by_text():
    examples = examples_of(
        ("by_id", "처음 보는 글", "3", []), ("by_text", "한강은 서해로 흐른다", "", []), ("missed", "바다", "", [])
    )
    assert hit_at_k(DF, examples, [1, 2, 10]) == pytest.approx({"hit@1": 0, "hit@2": 200 / 3, "hit@10": 200 / 3})


def test_the_answer_in_the_passage():
    decomposed = unicodedata.normalize("NFD", "서해로 흐른다")
    examples = examples_of(
        ("by_id", "", "", ["남해", "다른"]), ("by_text", "", "", [decomposed]), ("missed", "", "", ["서해"]),
        ("not in the table", "", "", ["산"]),
    )  # fmt: skip
    assert hit_at_k(DF, examples, [1, 2, 3]) == {"answer_hit@1": 25.0, "answer_hit@2": 50.0, "answer_hit@3": 50.0}


def test_examples_without_the_fields_do_not_count():
    examples = examples_of(("by_id", "", "3", [""]), ("by_text", " ", "", ["바다"]), ("missed", "", "9", []))
    assert hit_at_k(DF, examples, [4]) == {"hit@4": 50.0, "answer_hit@4": 0.0}
    assert hit_at_k(DF, Dataset.from_dict({"id": ["by_id"], "question": ["?"]}), [1]) == {}


def test_the_rank_column_decides_not_the_order_of_rows():
    examples = examples_of(("by_id", "", "7", []), ("by_text", "", "4", []))
    assert hit_at_k(DF.iloc[::-1], examples, [1, 2, 3]) == {"hit@1": 50.0, "hit@2": 50.0, "hit@3": 100.0}


def test_several_passages_in_one_row_are_hit_where_one_of_them_is():
    df = table(
        by_id=[('["3", "4"]', "서울은 수도이다 부산은 항구이다")],
        by_text=[('["5", "6"]', "서울은 수도이다 부산은 항구이다")],
        missed=[('["7", "8"]', "산"), ("4", "들")],
    )
    examples = examples_of(("by_id", "", "4", []), ("by_text", "부산은 항구이다", "", []), ("missed", "들판", "3", []))
    assert hit_at_k(df, examples, [1]) == {"hit@1": pytest.approx(200 / 3)}


def test_ids_of_a_table_in_memory_may_be_numbers():
    df = table(by_id=[(3.0, "글")], by_text=[(4, "글")], missed=[(None, "글")])
    examples = examples_of(("by_id", "", "3", []), ("by_text", "", "4", []), ("missed", "", "5", []))
    assert hit_at_k(df, examples, [1]) == {"hit@1": pytest.approx(200 / 3)}


def test_ranks_of_the_gold_passage_and_of_the_answer():
    examples = examples_of(
        ("by_id", "", "3", ["다른"]),
        ("by_text", "한강은 서해로 흐른다", "", ["서해로"]),
        ("missed", "바다", "", ["들"]),
        ("not in the table", "", "5", ["산"]),
    )
    nan = float("nan")
    expected = {"by_id": (2, 1), "by_text": (2, 2), "missed": (nan, 3)}
    for blocks in (DF, [DF[DF["id"] == "missed"], DF[DF["id"] != "missed"]]):
        assert ranks_in_table(blocks, examples) == {
            name: pytest.approx(ranks, nan_ok=True) for name, ranks in expected.items()
        }
