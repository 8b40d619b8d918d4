"""Scores of a teacher: what is written is read, and what is wrong with a file is said row by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loading.retrieval_examples import Passage
from loading.teacher_scores import TeacherScores, read_teacher_scores, write_teacher_scores
from runtime.errors import DataError

PASSAGES = [
    {"id": "7", "title": " 한강 ", "text": "서울을 지난다.", "score": 3},
    {"id": 8, "text": "강릉은 도시다.", "score": -1.5},
]
ROW = {"id": "q1", "question": "서울의 강은?", "passages": PASSAGES}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "scores.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_scores_are_read_by_question(tmp_path):
    read = read_teacher_scores(written(tmp_path, ROW, {**ROW, "id": 2}))
    passages = [Passage("한강", "서울을 지난다.", "7"), Passage("", "강릉은 도시다.", "8")]
    assert read == {name: TeacherScores("서울의 강은?", passages, [3.0, -1.5]) for name in ("q1", "2")}


def test_what_is_written_is_read(tmp_path):
    passages = [Passage("한강", '서울을 "지난다".\n', "7"), Passage("", "강릉은 도시다.", "8")]
    scores = {name: TeacherScores("서울의 강은?", passages, [0.1, -1.5e-9]) for name in ("q1", "2")}
    write_teacher_scores(tmp_path / "new" / "scores.jsonl", scores.items())
    assert read_teacher_scores(tmp_path / "new" / "scores.jsonl") == scores
    with pytest.raises(ValueError):
        write_teacher_scores(tmp_path / "scores.jsonl", [("q", TeacherScores("?", passages, [1.0, float("nan")]))])
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_passage_is_found_by_its_text_whatever_its_blanks():
    scores = TeacherScores("?", [Passage("", "서울을  지난다."), Passage("", "서울을 지난다.\n")], [2.0, 1.0])
    assert list(scores.by_text.values()) == [2.0]


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    bad = [
        {"id": None, "question": " ", "passages": []},
        {**ROW, "passages": [{**PASSAGES[0], "score": True}, {**PASSAGES[0], "text": ""}, 3]},
        ROW,
        ROW,
        [1],
    ]
    with pytest.raises(DataError) as caught:
        read_teacher_scores(written(tmp_path, *bad))
    path = tmp_path / "scores.jsonl"
    assert str(caught.value).splitlines() == [
        "4 problems in the data:",
        f"  {path}, line 1: id is neither text nor a whole number; question is not a text, or is empty; "
        "passages is not a list, or is empty",
        f"  {path}, line 2: passages[0] has no score, or one that is no finite number; "
        "passages[1] has no id, no text, or a title that is no text; "
        "passages[2] has no id, no text, or a title that is no text",
        f"  {path}, line 4: the question q1 stands in it twice",
        f"  {path}, line 5: not a JSON object",
        "Write the file with retrieve.py --write scores.",
    ]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_score_is_a_finite_number(number, tmp_path):
    path = written(tmp_path, ROW)
    path.write_text(path.read_text(encoding="utf-8").replace("-1.5", number), encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: passages\[1\] has no score, or one that is no finite number"):
        read_teacher_scores(path)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no question in it"):
        read_teacher_scores(written(tmp_path))
