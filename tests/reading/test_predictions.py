"""Files of predictions: what is read, and what is wrong with one."""

from __future__ import annotations

import pytest

from reading.predictions import check_same_questions, first_of, read_predictions
from runtime.errors import DataError, UserError


def test_predictions_may_start_with_a_byte_order_mark(predictions):
    assert read_predictions(predictions(b"\xef\xbb\xbf" + '{"q1": "한글"}'.encode())) == {"q1": "한글"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "--predictions {path} is not valid JSON: Expecting value at line 1, column 1"),
        ('{"q1": "한글",\n "q2": 한글}', "--predictions {path} is not valid JSON: Expecting value at line 2, column 8"),
        ('{"q1": "한글"}'.encode("cp949"), "--predictions {path} is not UTF-8 (byte 8): save it as UTF-8"),
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
