"""QAProcessor: examples, features and answers of one data set, read once and together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from squad_metrics import SquadMetric
from transformers import PreTrainedTokenizerFast

import processor
from arguments import DatasetArguments
from processor import QAProcessor
from reading.metrics import compute_metrics
from reading.passages import joined_passages, separate_passages
from runtime.errors import DataError, UserError


@pytest.fixture
def flags(dataset_path: str, tmp_path: Path) -> dict[str, Any]:
    return {"dataset_path": dataset_path, "max_seq_len": 128, "stride_len": 16, "cache_dir": str(tmp_path / "cache")}


@pytest.fixture
def make(flags: dict[str, Any], bert_tokenizer: PreTrainedTokenizerFast):
    """Return a processor of the tiny data set, with flags of its own."""

    def build(concat: bool = False, **own: Any) -> QAProcessor:
        return QAProcessor(DatasetArguments(**flags | own), bert_tokenizer, concat=concat)

    return build


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The splits that were read, call by call."""
    calls: list[list[str]] = []
    original = processor.load_examples

    def load_examples(path: str, splits: list[str], *options: Any) -> Any:
        calls.append(list(splits))
        return original(path, splits, *options)

    monkeypatch.setattr(processor, "load_examples", load_examples)
    return calls


def _squad(path: Path, answers: list[dict], count: int = 1) -> str:
    """Write a SQuAD-format file with ``count`` questions that have these answers."""
    qas = [{"id": f"q{number}", "question": "누가?", "answers": answers} for number in range(count)]
    article = {"title": "", "paragraphs": [{"context": "세종은 왕이다.", "qas": qas}]}
    path.write_text(json.dumps({"data": [article]}, ensure_ascii=False), encoding="utf-8")
    return str(path)


def _logits(features: Dataset, answers: dict[int, tuple[int, int]] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Logits (features, tokens) that peak on the labels, or on the given tokens."""
    start_logits, end_logits = np.full((2, len(features), max(features["length"])), -10, dtype=np.float32)
    for row, feature in enumerate(features):
        start, end = (answers or {}).get(row, (feature["start_positions"], feature["end_positions"]))
        start_logits[row, start] = end_logits[row, end] = 10
    return start_logits, end_logits


# ------------------------------------------------------------------------------------------------ examples and features


def test_splits_are_those_of_the_data_set(make: Any) -> None:
    qa_processor = make()
    for examples, prefix, count in (
        (qa_processor.get_train_examples(), "train", 12),
        (qa_processor.get_eval_examples(), "validation", 6),
        (qa_processor.get_test_examples(), "test", 6),
    ):
        assert list(examples["id"]) == [f"{prefix}-{number}" for number in range(count)]
        assert set(examples.column_names) == {"id", "title", "question", "context", "answers", "document_id"}
    assert set(qa_processor.get_test_examples()["context"]) == {""}


def test_nothing_is_read_before_it_is_asked_for_and_nothing_twice(make: Any, loaded: list[list[str]]) -> None:
    qa_processor = make(max_train_samples=2)
    assert loaded == []
    qa_processor.get_eval_features()
    assert loaded == [["validation"]]
    qa_processor.load("train", "validation")
    qa_processor.get_train_features()
    qa_processor.get_train_features()
    qa_processor.get_eval_examples()
    assert loaded == [["validation"], ["train"]]


def test_samples_are_the_first_so_many(make: Any) -> None:
    qa_processor = make(max_train_samples=3, max_eval_samples=2)
    assert list(qa_processor.get_train_examples()["id"]) == ["train-0", "train-1", "train-2"]
    assert list(qa_processor.get_eval_examples()["id"]) == ["validation-0", "validation-1"]
    assert list(qa_processor.get_test_examples()["id"]) == ["test-0", "test-1"]
    assert len(make(max_train_samples=1000).get_train_examples()) == 12
    assert sorted(set(qa_processor.get_train_features()["example_index"])) == [0, 1, 2]


def test_training_and_evaluation_features_are_built_alike(make: Any, dataset_path: str) -> None:
    """The original masked question tokens in one of them only."""
    same = make(test_eval_dataset_path=f"{dataset_path}/train.json")
    train, evaluation = same.get_train_features(), same.get_eval_features()
    assert train.to_dict() == evaluation.to_dict()
    assert all(span is None for offsets in train["offset_mapping"] for span in offsets[:3])
    assert "start_positions" in evaluation.column_names


def test_features_are_kept_in_memory_and_in_the_cache(make: Any, flags: dict[str, Any]) -> None:
    qa_processor = make()
    assert qa_processor.get_train_features() is qa_processor.get_train_features()
    cache = Path(flags["cache_dir"])
    assert len(list(cache.glob("*.arrow"))) == 1
    make().get_train_features()
    assert len(list(cache.glob("*.arrow"))) == 1
    qa_processor.make_features(qa_processor.get_eval_examples(), cached=False)
    assert len(list(cache.glob("*.arrow"))) == 1
    assert len(qa_processor.get_test_features()) == 6


def test_concat_trains_on_both_and_evaluates_elsewhere_or_not_at_all(make: Any, dataset_path: str) -> None:
    qa_processor = make(concat=True)
    assert len(qa_processor.get_train_examples()) == 18
    with pytest.raises(UserError, match="--concat_eval trains on the validation examples: name others with --test_eva"):
        qa_processor.get_eval_examples()
    elsewhere = make(concat=True, test_eval_dataset_path=f"{dataset_path}/test_answers.json")
    assert list(elsewhere.get_eval_examples()["id"]) == [f"test-{number}" for number in range(6)]
    assert len(elsewhere.get_train_examples()) == 18


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("data", "data/own.json"),
        ("data/", "own.json"),
        ("data/train_dataset", "data/train_dataset/own.json"),
        ("data/train_dataset/", "data/own.json"),
        ("data/train.json", "data/own.json"),
    ],
)
def test_data_to_evaluate_on_may_be_in_or_beside_the_data_set(
    make: Any, tmp_path: Path, given: str, place: str, log_lines: list[str]
) -> None:
    (tmp_path / "data" / "train_dataset").mkdir(parents=True)
    for path in ("data/train.json", place):
        _squad(tmp_path / path, [{"text": "세종", "answer_start": 0}], count=len(path))
    qa_processor = make(dataset_path=f"{tmp_path}/{given}", test_eval_dataset_path="own.json")
    assert len(qa_processor.get_eval_examples()) == len(place)
    assert f"INFO own.json: found as {tmp_path / place}" in log_lines


def test_data_to_evaluate_on_that_is_nowhere_is_missed_at_every_place(make: Any, tmp_path: Path) -> None:
    path = _squad(tmp_path / "train.json", [])
    for given, looked in ((str(tmp_path), f"{tmp_path}/own, nor {tmp_path.parent}/own"), (path, f"{tmp_path}/own")):
        with pytest.raises(UserError) as refusal:
            make(dataset_path=given, test_eval_dataset_path="own").get_eval_examples()
        assert str(refusal.value).startswith(f"own does not exist here, nor {looked}, and the hub does not give it (")
    with pytest.raises(UserError, match=r"^own\.json does not exist; a data set is "):
        make(dataset_path="klue:mrc", test_eval_dataset_path="own.json").get_eval_examples()


def test_a_path_is_taken_as_it_is_where_that_exists(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for count, place in enumerate(("own.json", "data/own.json"), start=1):
        _squad(tmp_path / place, [], count)
    monkeypatch.chdir(tmp_path)
    assert len(make(dataset_path="data", test_eval_dataset_path="own.json").get_eval_examples()) == 1
    monkeypatch.chdir(tmp_path / "data")
    with pytest.raises(UserError, match=r"^none\.json does not exist, nor \.\./none\.json; "):
        make(dataset_path=".", test_eval_dataset_path="none.json").get_eval_examples()


def test_a_model_that_reads_less_is_refused_at_once(make: Any) -> None:
    with pytest.raises(UserError, match="--max_seq_len 512 is more than"):
        make(max_seq_len=512)


def test_columns_with_other_names_are_read_when_they_are_told(make: Any, tmp_path: Path) -> None:
    path = Path(_squad(tmp_path / "train.json", [{"text": "세종", "answer_start": 0}]))
    path.write_text(path.read_text(encoding="utf-8").replace('"question"', '"query"'), encoding="utf-8")
    qa_processor = make(dataset_path=str(path))
    with pytest.raises(DataError, match="question is missing"):
        qa_processor.get_train_examples()
    qa_processor.set_column_names(question="query")
    assert list(qa_processor.get_train_examples()["question"]) == ["누가?"]


# --------------------------------------------------------------------------------------------------------------- errors


def test_problems_of_every_data_set_are_told_at_once(make: Any, tmp_path: Path) -> None:
    wrong = [{"text": "이순신", "answer_start": 0}]
    train, elsewhere = _squad(tmp_path / "train.json", wrong), _squad(tmp_path / "dev.json", wrong, count=2)
    qa_processor = make(dataset_path=train, test_eval_dataset_path=elsewhere)
    with pytest.raises(DataError) as refusal:
        qa_processor.load("train", "evaluation")
    assert [problem.file for problem in refusal.value.problems] == [train, elsewhere, elsewhere]
    assert refusal.value.way_out.endswith("--skip_bad_rows.")


def test_bad_rows_are_left_out_on_request(make: Any, tmp_path: Path) -> None:
    path = Path(_squad(tmp_path / "train.json", [{"text": "세종", "answer_start": 0}], count=3))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] = 5
    path.write_text(json.dumps(content), encoding="utf-8")
    assert list(make(dataset_path=str(path), skip_bad_rows=True).get_train_examples()["id"]) == ["q0", "q2"]


# -------------------------------------------------------------------------------------------------------------- answers


def test_logits_on_the_labels_give_the_gold_answers(make: Any) -> None:
    qa_processor = make()
    examples, features = qa_processor.get_eval_examples(), qa_processor.get_eval_features()
    result = qa_processor.post_processing_function(examples, features, _logits(features))
    assert [row["id"] for row in result.predictions] == list(examples["id"])
    assert result.label_ids == [{"id": row["id"], "answers": row["answers"]} for row in examples]
    gold = [row["answers"]["text"] for row in examples]
    assert [[row["prediction_text"]] for row in result.predictions] == gold
    again = qa_processor.post_processing_function(examples, features, _logits(features), "predict")
    assert again.predictions == result.predictions


def test_answers_are_what_metrics_of_squad_take(make: Any) -> None:
    qa_processor = make()
    examples, features = qa_processor.get_eval_examples(), qa_processor.get_eval_features()
    wrong = _logits(features, {0: (0, 0), 1: (9, 9)})
    for logits in (_logits(features), wrong):
        pred = qa_processor.post_processing_function(examples, features, logits)
        measured = SquadMetric().compute(predictions=pred.predictions, references=pred.label_ids)
        ours = compute_metrics(pred)
        assert measured == pytest.approx({name: ours[f"squad_{name}"] for name in measured})
    assert measured["exact_match"] == pytest.approx(100 * 4 / 6)


def test_with_unanswerable_questions_there_is_a_probability_of_no_answer(make: Any) -> None:
    qa_processor = make(version_2_with_negative=True, n_best_size=3)
    examples, features = qa_processor.get_eval_examples(), qa_processor.get_eval_features()
    answers = [{"text": [], "answer_start": []}, *list(examples["answers"])[1:]]
    examples = examples.remove_columns("answers").add_column("answers", answers, feature=examples.features["answers"])
    pred = qa_processor.post_processing_function(examples, features, _logits(features, {0: (0, 0)}))
    assert SquadMetric(no_answer=True).compute(predictions=pred.predictions, references=pred.label_ids) == {
        "exact_match": 100,
        "f1": 100,
    }
    says_none, *others = pred.predictions
    assert says_none["prediction_text"] == "" and says_none["no_answer_probability"] > 0.99
    assert all(row["no_answer_probability"] < 0.01 for row in others)


def test_references_are_those_of_the_examples_that_are_given(make: Any) -> None:
    """The original took them from the evaluation set, whatever it was asked about."""
    qa_processor = make()
    examples, features = qa_processor.get_train_examples(), qa_processor.get_train_features()
    result = qa_processor.post_processing_function(examples, features, _logits(features))
    for rows in (result.predictions, result.label_ids):
        assert [row["id"] for row in rows] == [f"train-{number}" for number in range(12)]


def test_the_flags_of_answers_are_obeyed(make: Any) -> None:
    def read(**own: Any) -> list:
        qa_processor = make(**own)
        examples, features = qa_processor.get_eval_examples().select([0]), qa_processor.get_eval_features().select([0])
        return qa_processor.find_answers(examples, features, _logits(features, {0: (0, 0)}))["validation-0"]

    assert len(read(n_best_size=7, postprocess="none")) == 7
    shortest = read(max_ans_len=2, n_best_size=500, postprocess="none")
    assert max(len(answer.text) for answer in shortest) <= 3 * 2  # a piece is up to 3
    raw, tidied = read(postprocess="none"), read(postprocess="particles")
    assert "세종은" in [answer.text for answer in raw] and "세종은" not in [answer.text for answer in tidied]
    assert sum(answer.probability for answer in tidied) == pytest.approx(sum(answer.probability for answer in raw))
    assert read()[0].text != ""
    assert read(version_2_with_negative=True)[0].text == ""
    assert read(version_2_with_negative=True, null_score_diff_threshold=1000.0)[0].text != ""


@pytest.mark.parametrize("read", [separate_passages, joined_passages])
def test_retrieved_passages_are_answered_with_their_document(make: Any, read: Any) -> None:
    contexts = ["세종은 조선의 왕이다.", "이순신은 조선의 장군이다."]
    rows = [
        ("q", "누구인가?", rank, f"d{rank}", "조선", context, 1.0) for rank, context in enumerate(contexts, start=1)
    ]
    columns = ["id", "question", "rank", "document_id", "title", "context", "score"]
    examples = read(pd.DataFrame(rows, columns=columns))
    qa_processor = make()
    features = qa_processor.make_features(examples, cached=False)
    peak = {}
    for row, feature in enumerate(features):
        context = examples[feature["example_index"]]["context"]
        for token, span in enumerate(feature["offset_mapping"]):
            if span and context[span[0] :].startswith("이순신"):
                peak[row] = (token, token + 2)
    answers = qa_processor.find_answers(examples, features, _logits(features, peak), retrieval_weight=0.5)
    best = answers["q"][0]
    assert (best.text, best.document_id, best.rank, best.start, best.end) == ("이순신", "d2", 2, 0, 3)
