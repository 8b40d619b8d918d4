"""Files of predictions: what is read, and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reading.answers import Answer
from reading.predictions import check_same_questions, first_of, read_nbest, read_predictions
from runtime.errors import DataError, UserError


def test_predictions_may_start_with_a_byte_order_mark(predictions):
    assert read_predictions(predictions(b"\xef\xbb\xbf" + '{"q1": "한글"}'.encode())) == {"q1": "한글"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "--predictions {path} is not valid JSON: Expecting value at line 1, column 1"),
        ('{"q1": "한글",\n "q2": 한글}', "--predictions {path} is not valid JSON: Expecting value at line 2, column 8"),
        (
            '{"q1": "한글"}'.encode("cp949"),
            "--predictions {path} is not UTF-8: byte 0xc7 at offset 8; it reads as CP949, which iconv -f CP949 -t "
            "UTF-8 predictions.json > utf-8-predictions.json converts",
        ),
        ("[" * 100_000, "--predictions {path} cannot be read: it nests too deeply"),
        (
            '{"q1": ' + "1" * 5000 + "}",
            "--predictions {path} cannot be read: it holds a number of more than 4300 digits",
        ),
        (
            '{"q1": "\\ud800"}',
            "1 problem in the data:\n"
            "  {path}, id 'q1': holds half of a surrogate pair, which is no character\n"
            "--predictions takes one text for each id, as in predictions.json.",
        ),
        ([{"id": "q1"}], "--predictions {path} must hold one mapping {{id: text}}"),
        ("null", "--predictions {path} must hold one mapping {{id: text}}"),
        (
            '{"q1": null, "q2": "한글", "q3": 3, "q4": [{"text": "훈민정음"}], "q2": ""}',
            "4 problems in the data:\n"
            "  {path}, id 'q2': answered more than once\n"
            "  {path}, id 'q1': the answer must be text, not null\n"
            "  {path}, id 'q3': the answer must be text, not 3\n"
            '  {path}, id \'q4\': the answer must be text, not [{{"text": "훈민정음"}}]\n'
            "--predictions takes one text for each id, as in predictions.json.",
        ),
    ],
)
def test_what_is_wrong_with_a_predictions_file(predictions, content, message):
    path = predictions(content)
    with pytest.raises(UserError) as caught:
        read_predictions(path)
    assert str(caught.value) == message.format(path=path)


def test_files_that_cannot_be_read(tmp_path):
    missing = tmp_path / "nowhere.json"
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read: No such file or directory$"):
        read_predictions(str(missing))
    with pytest.raises(UserError, match=r"cannot be read: Is a directory$"):
        read_predictions(str(tmp_path))


def test_files_that_lack_what_others_answer_are_all_named():
    files = {"A": "a.json", "B": "b.json", "C": "c.json"}
    references = {name: [] for name in ("q1", "q2", "q3")}
    answers = {"A": {"q1": "", "q2": "나"}, "B": {"q1": "가", "x": "다"}, "C": {"q2": "라"}}
    with pytest.raises(DataError) as caught:
        check_same_questions(files, answers, references)
    assert str(caught.value) == (
        "2 problems in the data:\n"
        "  b.json: lacks 1 of the questions that another file answers (q2)\n"
        "  c.json: lacks 1 of the questions that another file answers (q1)\n"
        "Compare files of the same questions; an empty text says that there is no answer."
    )
    check_same_questions(files, {name: {"q1": "", "q2": ""} for name in files}, references)  # nobody answers q3


def test_a_message_names_the_first_few():
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(["a", "b", "c"], 2) == "a, b, ..."


ANSWER = {
    "text": "세종", "probability": 1.0, "score": 2.0, "span_score": 2.0, "retrieval_score": 0.0, "document_id": "d",
    "rank": 1, "start": 0, "end": 2
}  # fmt: skip


def test_n_best_answers_are_read_from_their_folder_or_file(predictions):
    path = Path(predictions({"q1": [ANSWER], "q2": []}))
    assert read_nbest(str(path)) == {"q1": [Answer(**ANSWER)], "q2": []}
    path.rename(path.with_name("nbest_predictions.json"))
    assert read_nbest(str(path.parent)) == {"q1": [Answer(**ANSWER)], "q2": []}


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("score", float("nan"), "score is nan, which is no score and no place"),
        ("probability", "1", "probability is '1', and must be a number"),
        ("start", 0.5, "start is '0.5', and must be a whole number"),
        ("rank", True, "rank is 'True', and must be a whole number"),
        ("rank", 10**40, "rank is 1" + "0" * 39 + ", which is no score and no place"),
        ("text", None, "text is 'None', and must be a text"),
        ("document_id", "\ud800", "document_id holds half of a surrogate pair, which is no character"),
    ],
)
def test_what_is_no_value_of_an_answer_is_named(predictions, name, value, fault):
    path = predictions(json.dumps({"q1": [ANSWER, ANSWER | {name: value}]}))
    with pytest.raises(DataError) as caught:
        read_nbest(path)
    assert f"{path}, id 'q1', answer 2: {fault}\n" in str(caught.value)


@pytest.mark.parametrize("content", [{"q1": "세종"}, ["q1"], {"q1": [{"text": "세종"}]}, {"q1": None}, 3])
def test_another_form_is_no_list_of_n_best_answers(predictions, content):
    path = predictions(content)
    with pytest.raises(DataError) as caught:
        read_nbest(path)
    assert f"{path}: must map every id to a list of answers, each with text, probability, score," in str(caught.value)


def test_answers_that_rules_have_changed_are_refused(predictions):
    path = Path(predictions({"q1": [ANSWER]}))
    path.with_name("arguments.json").write_text('{"postprocess": "edges,units"}')
    with pytest.raises(UserError, match=r"was written with --postprocess edges,units: run inference\.py with --pos"):
        read_nbest(str(path))
    path.with_name("arguments.json").write_text('{"seed": 3}')  # of a run before there were rules
    assert list(read_nbest(str(path))) == ["q1"]
