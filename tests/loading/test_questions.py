"""The questions that retrieval models are trained and evaluated on: where they come from, and which are left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset

from arguments import DatasetArguments
from loading.dpr_json import write_dpr_json
from loading.examples import example_features
from loading.questions import from_reading_examples, load_questions, load_retrieval_examples
from loading.retrieval_examples import Passage, RetrievalExample
from runtime.errors import UserError

EXAMPLES = [
    RetrievalExample(f"q{n}", "?" * (n + 1), ["한강"], Passage("", f" 한강의 {n}번째 글이다. "), []) for n in range(5)
]


def test_questions_that_their_passage_does_not_answer_name_no_passage_to_find() -> None:
    row = {"title": "강", "question": "?", "context": "한강이 흐른다.", "document_id": "7"}
    answers = [{"text": ["한강"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    rows = [row | {"id": str(n), "answers": answers[n]} for n in range(2)]
    examples = from_reading_examples(Dataset.from_list(rows, features=example_features()))
    assert examples == [RetrievalExample("0", "?", ["한강"], Passage("강", "한강이 흐른다.", "7"), [])]


def test_reading_examples_and_dpr_json_of_one_data_set(dataset_path: str, tmp_path: Path, log_lines: list[str]) -> None:
    splits = load_retrieval_examples(dataset_path, ["train", "validation"])
    assert all(example.answers and example.negatives == [] for examples in splits.values() for example in examples)
    write_dpr_json(tmp_path / "train.json", splits["train"])
    assert load_retrieval_examples(str(tmp_path), ["train"]) == {"train": splits["train"]}
    assert load_retrieval_examples([str(tmp_path / "none"), dataset_path], ["validation"]) == {
        "validation": splits["validation"]
    }


def test_validation_questions_may_be_trained_on(dataset_path: str) -> None:
    arguments = DatasetArguments(dataset_path=dataset_path)
    train, evaluation = load_questions(arguments, evaluate=True)
    assert load_questions(arguments, evaluate=False) == (train, [])
    assert load_questions(replace(arguments, concat_eval=True), evaluate=True) == (train + evaluation, [])
    cut = replace(arguments, max_train_samples=2, max_eval_samples=1)
    assert load_questions(cut, evaluate=True) == (train[:2], evaluation[:1])


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    rows = [{"id": "1", "title": "강", "question": "?", "context": "한강이 흐른다.", "answers": []}]
    for name in ("train", "validation"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": rows}, ensure_ascii=False), encoding="utf-8")
    for evaluate in (True, False):
        with pytest.raises(UserError, match=f"^--dataset_path {tmp_path} holds no question to train on: each needs a "):
            load_questions(DatasetArguments(dataset_path=str(tmp_path)), evaluate)


def test_questions_to_evaluate_on_may_be_in_or_beside_the_data_set(tmp_path: Path) -> None:
    write_dpr_json(tmp_path / "data" / "train.json", EXAMPLES)
    write_dpr_json(tmp_path / "mine.json", EXAMPLES[:2])
    arguments = DatasetArguments(dataset_path=str(tmp_path / "data"), test_eval_dataset_path="mine.json")
    train, evaluation = load_questions(arguments, evaluate=True)
    assert (len(train), [example.question for example in evaluation]) == (5, ["?", "??"])
    with pytest.raises(UserError) as refusal:
        load_questions(replace(arguments, test_eval_dataset_path="none.json"), evaluate=True)
    inside, beside = tmp_path / "data" / "none.json", tmp_path / "none.json"
    assert str(refusal.value).startswith(f"none.json does not exist, nor {inside}, nor {beside}; ")
