"""Recall, MRR and nDCG of retrieved rows: worked out by hand, and against scikit-learn."""

from __future__ import annotations

import math
import unicodedata

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics import ndcg_score

from loading.corpus import Corpus
from retrieval.metrics import GoldPassages, answerable, answers_among, ranking_metrics, recall_at

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
