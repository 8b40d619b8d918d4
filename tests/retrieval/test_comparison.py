"""What retrievers are compared by, and what a comparison leaves to train on."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from loading.corpus import Corpus
from loading.dpr_json import read_dpr_json, write_dpr_json
from loading.examples import example_features
from retrieval.base import SearchResults
from retrieval.comparison import measure, questions_of, training_examples

TEXTS = [
    "세종은 글자를 만들었다.",
    "글자의 이름이다.",
    "훈민정음을 만든 왕이다.",
    "이순신은 장군이다.",
    "장영실은 학자이다.",
]
CORPUS = Corpus(list("abcde"), ["세종", "훈민 정음", "왕", "장군", "학자"], TEXTS)


def examples_of(context: str, answer: str) -> Dataset:
    row = {"id": "1", "title": "", "question": "글자는?", "context": context, "document_id": ""}
    return Dataset.from_list([row | {"answers": {"text": [answer], "answer_start": [0]}}], features=example_features())


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_no_hard_negative_holds_the_answer_in_title_or_text(form: str, tmp_path: Path) -> None:
    questions = questions_of(examples_of(f" {TEXTS[0]}", unicodedata.normalize(form, "훈민정음")), CORPUS, seed=0)
    results = SearchResults(np.array([[4, 2, 1, 0, 3]]), np.zeros((1, 5), np.float32))
    write_dpr_json(tmp_path / "train.json", training_examples(results, questions))
    (example,) = read_dpr_json(tmp_path / "train.json")
    assert [passage.passage_id for passage in example.negatives] == ["e", "d"]  # in the order they were found


def test_questions_without_a_passage_are_not_trained_on() -> None:
    questions = questions_of(examples_of("", "훈민정음"), CORPUS, seed=0)
    results = SearchResults(np.array([[4, 2]]), np.zeros((1, 2), np.float32))
    assert list(training_examples(results, questions)) == []


def test_figures_of_either_definition_by_hand() -> None:
    questions = questions_of(examples_of(TEXTS[0], "훈민정음"), CORPUS, seed=0)
    figures = measure(SearchResults(np.array([[1, 2, 0]]), np.zeros((1, 3), np.float32)), questions)
    assert figures["gold_passage"]["recall_curve"] == [0, 0, 100]
    assert figures["answer_in_text"]["recall_curve"] == [0, 100, 100]  # a title answers nothing
    assert figures["gold_passage"]["recall@1"] == {"mean": 0, "low": 0, "high": 0}
    assert figures["answer_in_text"]["mrr@10"] == {"mean": 50, "low": 50, "high": 50}
    nothing = questions_of(Dataset.from_dict({"id": ["1"], "question": ["글자는?"]}), CORPUS, seed=0)
    assert measure(SearchResults(np.array([[0]]), np.zeros((1, 1), np.float32)), nothing) == {}
