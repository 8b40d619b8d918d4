"""hit@k, recall, MRR and nDCG: worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from sklearn.metrics import ndcg_score

from loading.chunking import Chunking, chunk_corpus
from loading.cleaning import clean_corpus
from loading.corpus import Corpus
from retrieval.base import SearchResults
from retrieval.metrics import (
    GoldPassages,
    answerable,
    answers_among,
    hit_at_k,
    ranking_metrics,
    ranks_in_table,
    recall_at,
)
from retrieval.table import retrieved_df


def table(**rows):
    """One question per keyword: its (document id, context) pairs, best first."""
    return pd.DataFrame(
        [
            {"id": name, "rank": rank, "document_id": document_id, "context": context}
            for name, passages in rows.items()
            for rank, (document_id, context) in enumerate(passages, start=1)
        ]
    )


def named_examples_of(*rows):
    answers = [{"text": texts, "answer_start": [0] * len(texts)} for _, _, _, texts in rows]
    names, contexts, document_ids, _ = zip(*rows, strict=True)
    return Dataset.from_dict({"id": names, "context": contexts, "document_id": document_ids, "answers": answers})


DF = table(
    by_id=[("7", "다른 글"), ("3", "한강은 서해로 흐른다")],
    by_text=[("1", "산"), ("2", "한강은  서해로\n흐른다 "), ("4", "한강은 서해로 흐른다")],
    missed=[("5", "산"), ("", "강"), ("6", "들"), ("8", "")],
)


def test_the_gold_passage_by_id_or_by_text():
    examples = named_examples_of(
        ("by_id", "처음 보는 글", "3", []), ("by_text", "한강은 서해로 흐른다", "", []), ("missed", "바다", "", [])
    )
    assert hit_at_k(DF, examples, [1, 2, 10]) == pytest.approx({"hit@1": 0, "hit@2": 200 / 3, "hit@10": 200 / 3})


def test_the_answer_in_the_passage():
    decomposed = unicodedata.normalize("NFD", "서해로 흐른다")
    examples = named_examples_of(
        ("by_id", "", "", ["남해", "다른"]), ("by_text", "", "", [decomposed]), ("missed", "", "", ["서해"]),
        ("not in the table", "", "", ["산"]),
    )  # fmt: skip
    assert hit_at_k(DF, examples, [1, 2, 3]) == {"answer_hit@1": 25.0, "answer_hit@2": 50.0, "answer_hit@3": 50.0}


def test_examples_without_the_fields_do_not_count():
    examples = named_examples_of(("by_id", "", "3", [""]), ("by_text", " ", "", ["바다"]), ("missed", "", "9", []))
    assert hit_at_k(DF, examples, [4]) == {"hit@4": 50.0, "answer_hit@4": 0.0}
    assert hit_at_k(DF, Dataset.from_dict({"id": ["by_id"], "question": ["?"]}), [1]) == {}


def test_the_rank_column_decides_not_the_order_of_rows():
    examples = named_examples_of(("by_id", "", "7", []), ("by_text", "", "4", []))
    assert hit_at_k(DF.iloc[::-1], examples, [1, 2, 3]) == {"hit@1": 50.0, "hit@2": 50.0, "hit@3": 100.0}


def test_several_passages_in_one_row_are_hit_where_one_of_them_is():
    df = table(
        by_id=[('["3", "4"]', "서울은 수도이다 부산은 항구이다")],
        by_text=[('["5", "6"]', "서울은 수도이다 부산은 항구이다")],
        missed=[('["7", "8"]', "산"), ("4", "들")],
    )
    examples = named_examples_of(
        ("by_id", "", "4", []), ("by_text", "부산은 항구이다", "", []), ("missed", "들판", "3", [])
    )
    assert hit_at_k(df, examples, [1]) == {"hit@1": pytest.approx(200 / 3)}


def test_ids_of_a_table_in_memory_may_be_numbers():
    df = table(by_id=[(3.0, "글")], by_text=[(4, "글")], missed=[(None, "글")])
    examples = named_examples_of(("by_id", "", "3", []), ("by_text", "", "4", []), ("missed", "", "5", []))
    assert hit_at_k(df, examples, [1]) == {"hit@1": pytest.approx(200 / 3)}


def test_ranks_of_the_gold_passage_and_of_the_answer():
    examples = named_examples_of(
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


CORPUS = Corpus(
    ["a", "b", "c", "d", "e"],
    ["", "", "", "", ""],
    ["한강은 서해로 흐른다", "백두산은 높다", "한강은  서해로\n흐른다", "달은 돈다", "금강은 서해로 흐른다"],
)


def examples_of(*rows):
    """(document id, context, answers) each."""
    answers = [{"text": texts, "answer_start": [0] * len(texts)} for _, _, texts in rows]
    ids, contexts, _ = zip(*rows, strict=True)
    names = [str(number) for number in range(len(rows))]
    return Dataset.from_dict({"id": names, "document_id": ids, "context": contexts, "answers": answers})


EXAMPLES = examples_of(
    ("d", "", ["돈다"]),  # by id alone
    ("", "한강은 서해로 흐른다 ", ["서해로 흐른다"]),  # by text alone, which is there twice
    ("b", unicodedata.normalize("NFD", "백두산은 높다"), [unicodedata.normalize("NFD", "높다"), "흐른다"]),
    ("x", "설악산은 푸르다", ["푸르다"]),  # not in the corpus
    ("", "", []),  # nothing is known of it
)


ROWS = np.array([[3, 0, 1], [2, 1, 0], [0, 1, 2], [0, 1, 2], [0, 1, 2]])


def test_gold_passages_by_id_and_by_text():
    gold = GoldPassages(EXAMPLES, CORPUS)
    assert gold.among(ROWS).tolist() == [
        [True, False, False],
        [True, False, True],
        [False, True, False],
        [False, False, False],
        [False, False, False],
    ]
    assert gold.known.tolist() == [True, True, True, True, False]
    assert gold.held.tolist() == [True, True, True, False, False]


def test_gold_answers_in_the_text():
    assert answers_among(ROWS, EXAMPLES, CORPUS).tolist() == [
        [True, False, False],
        [True, False, True],
        [True, True, True],
        [False, False, False],
        [False, False, False],
    ]
    assert answerable(EXAMPLES).tolist() == [True, True, True, True, False]


def test_a_gold_passage_by_another_name_of_it():
    corpus = Corpus(["a", "b"], ["", ""], ["한강", "백두산"], {"a2": "a"})
    examples = examples_of(("a2", "다른 말로 적은 글", []), ("a", "", []), ("b2", "", []))
    gold = GoldPassages(examples, corpus)
    assert gold.held.tolist() == [True, True, False]
    assert gold.among(np.array([[1, 0]] * 3)).tolist() == [[False, True], [False, True], [False, False]]


def test_blanks_and_forms_of_characters_make_no_other_passage_and_no_other_answer():
    corpus = Corpus(
        ["a", "b"], ["", "훈민정음"], ["\ufeffＫＢＳ는\u00a0방송국 이다\u200b", "세종이 훈민\u00ad정 음을 만들었다"]
    )
    examples = examples_of(("", "KBS는 방송국이다", ["KBS"]), ("", "", ["훈민정음", ""]), ("", "", ["\u200b"]))
    rows = np.array([[0, 1]] * 3)
    assert GoldPassages(examples, corpus).among(rows).tolist() == [[True, False], [False, False], [False, False]]
    assert answers_among(rows, examples, corpus).tolist() == [[True, False], [False, True], [False, False]]
    assert answerable(examples).tolist() == [True, True, False]
    titled = Corpus(["a"], ["훈민정음"], ["글"])
    assert not answers_among(np.array([[0]] * 3), examples, titled).any()  # readers read the text


def test_examples_whose_answers_are_missing():
    answers = [{"text": None, "answer_start": None}, None, {"text": [None, "물"], "answer_start": [0, 0]}]
    examples = Dataset.from_dict({"id": ["0", "1", "2"], "answers": answers})
    assert answerable(examples).tolist() == [False, False, True]


def test_examples_of_test_questions_have_neither():
    examples = Dataset.from_dict({"id": ["0"], "question": ["?"]})
    assert not GoldPassages(examples, CORPUS).among(ROWS[:1]).any()
    assert not answers_among(ROWS[:1], examples, CORPUS).any()
    assert not GoldPassages(examples, CORPUS).known.any()


def test_no_questions():
    nothing, none = np.empty((0, 3), np.int64), EXAMPLES.select([])
    for found in (GoldPassages(none, CORPUS).among(nothing), answers_among(nothing, none, CORPUS)):
        assert (found.shape, found.dtype) == ((0, 3), bool)
        assert ranking_metrics(found, [1])["recall@1"].shape == (0,)


def test_recall_is_one_from_the_first_rank_on():
    assert recall_at(2, [1, 2, 3, np.inf, np.nan]).tolist() == [1, 1, 0, 0, 0]


def test_metrics_by_hand():
    relevant = np.zeros((4, 12), dtype=bool)
    relevant[0, 0] = relevant[1, 2] = relevant[1, 5] = relevant[2, 10] = True
    values = {name: scores.tolist() for name, scores in ranking_metrics(relevant, [1, 3, 11, 50]).items()}
    assert values == {
        "recall@1": [1, 0, 0, 0],
        "recall@3": [1, 1, 0, 0],
        "recall@11": [1, 1, 1, 0],
        "recall@50": [1, 1, 1, 0],
        "mrr@10": [1, 1 / 3, 0, 0],
        "ndcg@10": [1, 1 / math.log2(4), 0, 0],
    }


def test_ndcg_is_that_of_scikit_learn_with_one_passage_to_find():
    rng = np.random.default_rng(0)
    relevant = rng.random((200, 25)) < 0.06
    first = np.zeros_like(relevant)
    first[np.arange(200), relevant.argmax(axis=1)] = relevant.any(axis=1)
    falling = np.tile(-np.arange(25.0), (200, 1))  # the scores that put the passages in this order
    values = ranking_metrics(relevant, [25])
    assert 0 < relevant.any(axis=1).mean() < 1
    assert values["ndcg@10"].mean() == pytest.approx(ndcg_score(first, falling, k=10), abs=1e-12)


# ------------------------------------------------------------------------------------------------------------- chunks

DOCUMENT = "한강은 서해로 흐른다. 길이는 약 494km이다. 서해는 한국의 서쪽 바다이다."
CHUNKED = chunk_corpus(
    Corpus(["8", "9"], ["", ""], ["달은 둥글다. 서해에도 뜬다.", DOCUMENT]), Chunking("sentences", 1)
)


def chunk_examples(*rows):
    """(id, context, document id, answer, its place)."""
    names, contexts, document_ids, texts, starts = zip(*rows, strict=True)
    answers = [
        {"text": [text] if text else [], "answer_start": [start] if text else []}
        for text, start in zip(texts, starts, strict=True)
    ]
    return Dataset.from_dict({"id": names, "context": contexts, "document_id": document_ids, "answers": answers})


CHUNK_EXAMPLES = chunk_examples(
    ("by text", DOCUMENT, "", "494km", DOCUMENT.index("494km")),
    ("second place", DOCUMENT, "9", "서해", DOCUMENT.rindex("서해")),
    ("another text", "한강의 길이는 494km이다.", "9", "494km", 8),
    ("across", DOCUMENT, "9", "흐른다. 길이는", DOCUMENT.index("흐른다. 길이는")),
    ("unanswerable", DOCUMENT, "9", "", 0),
    ("id alone", "", "8", "", 0),
    ("a chunk", "길이는 약 494km이다.", "", "", 0),
)


def test_the_gold_chunk_is_the_one_that_holds_the_answer_at_its_place():
    gold = GoldPassages(CHUNK_EXAMPLES, CHUNKED)
    assert CHUNKED.document_ids == ["8", "8", "9", "9", "9"]
    assert gold.rows == [[3], [4], [3], [], [2, 3, 4], [0, 1], [3]]
    assert gold.known.all() and gold.held.tolist() == [True, True, True, False, True, True, True]


def test_a_table_of_chunks_is_judged_as_their_corpus_is():
    n, k = len(CHUNK_EXAMPLES), len(CHUNKED)
    ids = np.tile(np.arange(k)[::-1], (n, 1))
    df = retrieved_df(CHUNK_EXAMPLES.add_column("question", ["?"] * n), CHUNKED, SearchResults(ids, -ids.astype("f4")))
    assert df["passage_start"].tolist()[:k] == CHUNKED.starts[::-1]
    expected = [ranks[0] if (ranks := np.flatnonzero(row) + 1).size else np.nan for row in gold_among(ids)]
    found = ranks_in_table(df, CHUNK_EXAMPLES)
    np.testing.assert_equal([found[name][0] for name in CHUNK_EXAMPLES["id"]], expected)


def gold_among(ids):
    return GoldPassages(CHUNK_EXAMPLES, CHUNKED).among(ids)


def test_a_cleaned_passage_is_that_of_the_question_by_text():
    context = "[[한강|강]]은 '''서해'''로 흐른다.[1]"
    examples = chunk_examples(("a", context, "", "서해", context.index("서해")))
    corpus = clean_corpus(Corpus(["1", "2"], ["", ""], ["달은 둥글다.", context]))
    assert GoldPassages(examples, corpus).rows == [[1]]
    df = table(a=[("1", corpus.texts[0]), ("2", corpus.texts[1])])
    assert hit_at_k(df, examples, [1, 2]) == {"hit@1": 0, "hit@2": 100, "answer_hit@1": 0, "answer_hit@2": 100}


def test_one_of_several_gold_passages_is_enough():
    examples = chunk_examples(("a", "", '["1", "3"]', "", 0))
    corpus = Corpus(["1", "2", "3"], [""] * 3, ["가", "나", "다"])
    assert GoldPassages(examples, corpus).among(np.array([[1, 2, 0]])).tolist() == [[False, True, True]]
    assert hit_at_k(table(a=[("2", "나"), ("3", "다")]), examples, [1, 2]) == {"hit@1": 0, "hit@2": 100}
