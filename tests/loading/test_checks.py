"""Every kind of bad row gives its exact sentence, and a good one its canonical form."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pandas as pd
import pytest
from written_examples import CONTEXT, GOLD, ROW, WAY_OUT, answer, error_text, question, squad, table, write

from loading.examples import load_examples

pytestmark = pytest.mark.usefixtures("_work_in")
BLANKS = ["\u200b", "\ufeff \u200e", "\x00", "\u00ad", "\u3164"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (squad(question(id=...)), f"{ROW}: id is missing"),
        (squad(question(id=" ")), f"{ROW}: id is empty"),
        (squad(question(id=1.5)), f"{ROW}: id is not text: it is 1.5"),
        (squad(question(question=...)), f"{ROW} (id q1): question is missing"),
        (squad(question(question="\n")), f"{ROW} (id q1): question is empty"),
        (squad(question(question=["무엇?"])), f"{ROW} (id q1): question is not text: it is ['무엇?']"),
        (squad(question(), context=...), f"{ROW} (id q1): context is missing"),
        (squad(question(), context="  "), f"{ROW} (id q1): context is empty"),
        (squad(question(), context=7), f"{ROW} (id q1): context is not text: it is 7"),
        (squad(question(title=3)), f"{ROW} (id q1): title is not text: it is 3"),
        *((squad(question(id=blank)), f"{ROW}: id is empty") for blank in BLANKS),
        *((squad(question(question=blank)), f"{ROW} (id q1): question is empty") for blank in BLANKS),
        *((squad(question(), context=blank), f"{ROW} (id q1): context is empty") for blank in BLANKS),
        *((squad(question(**answer(blank, 0))), f"{ROW} (id q1): answer text is empty") for blank in BLANKS),
        (squad(question(id=None, guid=1.5)), f"{ROW}: id is not text: it is 1.5"),
        (squad(question(id=None, guid=None)), f"{ROW}: id is missing"),
        (squad(question(id=float("nan"))), f"{ROW}: id is missing"),
        (squad(question(document_id=1.5)), f"{ROW} (id q1): document_id is not text: it is 1.5"),
        (squad(question(**answer("서해", 11.5))), f"{ROW} (id q1): answer_start is not a whole number: it is 11.5"),
        (
            squad(question(answers=[None])),
            f"{ROW} (id q1): answers is not a list of text and answer_start: it is [None]",
        ),
        (squad(question(answers={"text": None, "answer_start": None})), f"{ROW} (id q1): answers is missing"),
        (squad(question(answers=...)), f"{ROW} (id q1): answers is missing"),
        (squad(question(answers=None)), f"{ROW} (id q1): answers is missing"),
        (squad(question(answers=7)), f"{ROW} (id q1): answers is not a list of text and answer_start: it is 7"),
        (squad(question(answers="동해")), f"{ROW} (id q1): answer_start is missing: '동해' is nowhere in the context"),
        (
            squad(question(answers=["은", "서"])),
            f"{ROW} (id q1): answer_start is missing: '서' occurs 2 times in the context",
        ),
        (
            squad(question(answers="서해", answer_start=10)),
            f"{ROW} (id q1): answer is not at answer_start: at 10 stands ' 서'; '서해' first occurs at 11",
        ),
        (
            squad(question(answers={"text": ["서해"], "answer_start": [11, 12]})),
            f"{ROW} (id q1): answers is not a list of text and answer_start: "
            "it is {'text': ['서해'], 'answer_start': [11, 12]}",
        ),
        (squad(question(answers=[{"answer_start": 1}])), f"{ROW} (id q1): answer text is missing"),
        (squad(question(**answer("", 11))), f"{ROW} (id q1): answer text is empty"),
        (squad(question(**answer(494, 11))), f"{ROW} (id q1): answer text is not text: it is 494"),
        (
            squad(question(**answer("서해", "11 쪽"))),
            f"{ROW} (id q1): answer_start is not a whole number: it is '11 쪽'",
        ),
        (squad(question(**answer("서해", True))), f"{ROW} (id q1): answer_start is not a whole number: it is True"),
        (
            squad(question(**answer("서해", 10))),
            f"{ROW} (id q1): answer is not at answer_start: at 10 stands ' 서'; '서해' first occurs at 11",
        ),
        (
            squad(question(**answer("동해", 11))),
            f"{ROW} (id q1): answer is not at answer_start: at 11 stands '서해'; '동해' is nowhere in the context",
        ),
        (
            squad(question(**answer("이다.", -4))),
            f"{ROW} (id q1): answer is not at answer_start: at -4 stands nothing; '이다.' first occurs at 31",
        ),
        (
            squad(question(**answer("서해", 10**30))),
            f"{ROW} (id q1): answer is not at answer_start: at {10**30} stands nothing; '서해' first occurs at 11",
        ),
        (
            squad(question(is_impossible="no")),
            f"{ROW} (id q1): is_impossible is not true or false: it is 'no'",
        ),
        (
            squad(question(), question("q2"), question()),
            "train.json, data[0].paragraphs[0].qas[2] (id q1): id is used twice: first at data[0].paragraphs[0].qas[0]",
        ),
        ({"data": [["한강"]]}, "train.json, data[0]: is not an object"),
        ({"data": [{"title": "한강"}]}, 'train.json, data[0]: has no list "paragraphs"'),
        ({"data": [{"paragraphs": [{"qas": 1}]}]}, 'train.json, data[0].paragraphs[0]: has no list "qas"'),
    ],
)
def test_bad_row(content, problem):
    assert error_text(write("train.json", content), ["train"]) == f"1 problem in the data:\n  {problem}\n{WAY_OUT}"


def test_half_of_a_surrogate_pair_is_a_bad_row():
    Path("train.json").write_text(json.dumps(squad(question(question="강 \ud83c 은?"))), encoding="utf-8")
    assert error_text("train.json", ["train"]) == (
        "1 problem in the data:\n"
        f"  {ROW} (id q1): question is not valid Unicode: a lone surrogate at character 2\n"
        f"{WAY_OUT}"
    )


def test_answers_of_test_rows_are_checked_too():
    content = squad(question(), context="")
    assert error_text(write("test.json", content), ["test"]) == (
        "1 problem in the data:\n  test.json, data[0].paragraphs[0].qas[0] (id q1): answer is not at answer_start: "
        f"at 11 stands nothing; '서해' is nowhere in the context\n{WAY_OUT}"
    )


@pytest.mark.parametrize(
    ("nothing", "problem"),
    [
        (None, "answers is missing"),
        ({"text": None, "answer_start": None}, "answers is missing"),
        ({"text": [None], "answer_start": [None]}, "answer text is missing"),
        ({"text": ["서해", "서울"], "answer_start": [11]}, "answers is not a list of text and answer_start: it is {"),
    ],
)
def test_answers_of_nothing_are_one_bad_row(nothing, problem):
    gold = {name: [value] for name, value in GOLD.items()}
    table("a", "b", answers=[gold, nothing]).save_to_disk("mine")
    text = error_text("mine", ["train"])
    assert text.startswith(f"1 problem in the data:\n  mine, row 1 (id b): {problem}")
    assert load_examples("mine", ["train"], skip_bad_rows=True)["train"]["id"] == ["a"]


def test_whole_numbers_that_pandas_made_floats_are_whole_numbers():
    gold = {"text": ["서해"], "answer_start": [11.0]}
    frame = pd.DataFrame(
        {
            "id": [7.0, None],
            "guid": [None, 8.0],
            "question": "무엇?",
            "title": float("nan"),
            "context": CONTEXT,
            "answers": [gold, gold],
            "document_id": [3, None],
        }
    )
    datasets.Dataset.from_pandas(frame).save_to_disk("mine")
    read = load_examples("mine", ["train"])["train"]
    assert read.select_columns(["id", "title", "document_id"]).to_dict() == {
        "id": ["7", "8"], "title": ["", ""], "document_id": ["3", ""],
    }  # fmt: skip
    assert read["answers"][0] == {"text": ["서해"], "answer_start": [11]}


def test_ids_of_json_are_whole_numbers_also_as_floats():
    content = squad(
        question(3.0, document_id=7.0), question(None, guid="g"), question("4.0", document_id="5.0"),
        question("q", document_id="\u200b"), question("3.10", document_id=None),
    )  # fmt: skip
    read = load_examples(write("train.json", content), ["train"])["train"]
    assert list(read["id"]) == ["3", "g", "4.0", "q", "3.10"]
    assert list(read["document_id"]) == ["7", "", "5.0", "", ""]


def test_invisible_edges_of_titles_are_cut_and_those_of_answers_stay():
    content = squad(question(**answer("\u200b서해\ufeff", 3)), context="강은 \u200b서해\ufeff로")
    content["data"][0]["title"] = "\ufeff 고대_노르드어\u200b"
    (row,) = load_examples(write("train.json", content), ["train"])["train"]
    assert (row["title"], row["answers"]["text"]) == ("고대 노르드어", ["\u200b서해\ufeff"])
