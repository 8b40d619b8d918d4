"""DPR JSON: what is written comes back, what others wrote is read, what is wrong is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from right_and_wrong import NONE_BUT_RIGHT, OTHER, POSITIVE, WRONG

from loading.dpr_json import find_dpr_json, read_dpr_json, write_dpr_json
from loading.retrieval_examples import Passage, RetrievalExample
from runtime.errors import DataError

EXAMPLES = [
    RetrievalExample(f"q{n}", "?" * (n + 1), ["한강"], Passage("", f" 한강의 {n}번째 글이다. "), []) for n in range(5)
]


def test_dpr_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = [example._replace(negatives=[Passage("제목", "글", "7"), Passage("", "다른 글")]) for example in EXAMPLES]
    write_dpr_json(tmp_path / "train.json", written)
    assert read_dpr_json(tmp_path / "train.json") == written
    assert find_dpr_json(tmp_path, "train") == find_dpr_json(tmp_path / "train.json", "validation")
    assert find_dpr_json(tmp_path, "validation") is None


def test_the_format_of_others_is_read(tmp_path: Path, dataset_path: str) -> None:
    row = {
        "dataset": "nq_train",
        "question": "누구?",
        "answers": ["세종"],
        "positive_ctxs": [{"title": "왕", "text": "세종", "score": 1000, "title_score": 1, "passage_id": 12}],
        "negative_ctxs": [{"title": "", "text": "아무 글", "psg_id": "3"}],
        "hard_negative_ctxs": [],
    }
    path = tmp_path / "dev.json"
    path.write_text("\ufeff " + json.dumps([row]), encoding="utf-8")
    assert read_dpr_json(path) == [
        RetrievalExample("0", "누구?", ["세종"], Passage("왕", "세종", "12"), [Passage("", "아무 글", "3")])
    ]
    assert find_dpr_json(tmp_path, "validation") == path
    assert find_dpr_json(dataset_path, "train") is None  # SQuAD format


def _written(path: Path, *rows: dict) -> Path:
    good = {"question": "?", "answers": []}
    path.write_text(json.dumps([good | row for row in rows]), encoding="utf-8")
    return path


def test_all_positives_are_read_and_none_of_them_is_a_negative(tmp_path: Path) -> None:
    positives = [POSITIVE._asdict(), OTHER._asdict()]
    hard = [passage._asdict() for passage in (*NONE_BUT_RIGHT, WRONG[0])]
    rows = [
        {"positive_ctxs": positives, "hard_negative_ctxs": hard},
        {"positive_ctxs": positives, "hard_negative_ctxs": hard[:5], "negative_ctxs": [hard[0], WRONG[1]._asdict()]},
        {"positive_ctxs": positives, "hard_negative_ctxs": hard[:5]},
    ]
    examples = read_dpr_json(_written(tmp_path / "train.json", *rows))
    assert {example.positives for example in examples} == {(POSITIVE, OTHER)}
    assert [example.negatives for example in examples] == [[WRONG[0]], [WRONG[1]], []]
    write_dpr_json(tmp_path / "again.json", examples)
    assert read_dpr_json(tmp_path / "again.json") == examples


def test_ids_in_dpr_json(tmp_path: Path) -> None:
    def row(identifier: object, **names: object) -> dict:
        return {"id": identifier, "positive_ctxs": [{"title": "\u200b", "text": "글", **names}]}

    rows = [row(3.0, passage_id=7.0), row(None, passage_id=None, psg_id=8), row("x", passage_id="9.0"), row(4)]
    examples = read_dpr_json(_written(tmp_path / "a.json", *rows))
    assert [example.id for example in examples] == ["3", "1", "x", "4"]
    assert [example.positive for example in examples] == [Passage("", "글", name) for name in ("7", "8", "9.0", "")]
    bad = [row([1]), row(1, passage_id={}), row("y") | {"question": "\ufeff"}]
    with pytest.raises(DataError) as caught:
        read_dpr_json(_written(tmp_path / "b.json", *bad))
    assert [problem.reason for problem in caught.value.problems] == [
        "id is neither text nor a whole number",
        "positive_ctxs[0] has a passage_id that is neither text nor a whole number",
        "question is not a text, or is empty",
    ]


def test_every_bad_row_is_told_at_once(tmp_path: Path) -> None:
    good = {"question": "?", "answers": [], "positive_ctxs": [{"text": "글"}]}
    rows = [
        good, "?", {"question": " ", "answers": "a"}, {**good, "positive_ctxs": []},
        {**good, "hard_negative_ctxs": [{"text": "글"}, {"title": 3, "text": "글"}]},
    ]  # fmt: skip
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_dpr_json(path)
    assert str(error.value).splitlines() == [
        "4 problems in the data:",
        f"  {path}, [1]: is not an object",
        f"  {path}, [2]: question is not a text, or is empty; answers is not a list of texts; "
        "positive_ctxs is not a list",
        f"  {path}, [3]: positive_ctxs holds no passage",
        f"  {path}, [4]: hard_negative_ctxs[1] has no text, or a title that is no text",
        "Correct these rows, or leave them out with --skip_bad_rows.",
    ]
    assert len(read_dpr_json(path, skip_bad_rows=True)) == 1
    for content, reason in (("{}", "expected a list, not a dict"), ("[", "not valid JSON"), ("[]", "no question")):
        path.write_text(content)
        with pytest.raises(DataError, match=re.escape(reason)):
            read_dpr_json(path)
