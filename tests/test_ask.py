"""ask.py: one question, or some at a prompt, answered in a terminal."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparing import close_to
from tiny_data import PASSAGES, QUESTIONS

import ask
import inference
from pipeline import FoundAnswer
from runtime.errors import UserError
from runtime.terminal import columns_of

QUESTION, TEXT = QUESTIONS[7][1:]  # 부산은 몇 번째 도시인가?


@pytest.fixture
def command(trained_reader: str, dataset_path: str, tmp_path: Path) -> list[str]:
    flags = {"model": trained_reader, "dataset_path": dataset_path, "index_dir": tmp_path / "index"}
    flags |= {"analyzer": "bigram", "precision": "fp32", "top_k_retrieval": 3}
    return [word for name, value in flags.items() for word in (f"--{name}", str(value))]


@pytest.fixture
def asked(command: list[str], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def ask_them(*words: str) -> str:
        ask.main([*words, *command])
        return capsys.readouterr().out

    return ask_them


def found_answer(**fields: Any) -> FoundAnswer:
    usual = {"probability": 0.5, "score": 1.0, "span_score": 1.0, "retrieval_score": 2.0, "document_id": "1", "rank": 1}
    return FoundAnswer(**usual | {"title": "제목", "passage": "", "text": "", "start": 0, "end": 0} | fields)


def test_a_question_is_answered_with_its_passages_in_80_columns(
    asked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = asked(QUESTION, "--show", "2")
    lines = shown.splitlines()
    assert lines[0] == f"question  {QUESTION}"
    assert re.fullmatch(rf"answer   [01]\.\d\d  {TEXT}", lines[1])
    assert re.fullmatch(r"  2\.     [01]\.\d\d  \S.*", lines[2]) and lines[3] == ""
    assert re.fullmatch(r"부산 \(passage [123], score [\d.]{3,6}\)", lines[4])
    assert f"[{TEXT}]" in " ".join(shown.split())
    assert max(map(columns_of, lines)) <= 80 and "\x1b" not in shown


def test_json_lines_hold_what_inference_answers(
    asked: Callable[..., str], command: list[str], tmp_path: Path, dataset_path: str
) -> None:
    given = json.loads(asked(*QUESTION.split(), "--json"))  # words without quotation marks
    assert (given["question"], given["answer"]) == (QUESTION, TEXT)
    inference.main([*command, "--do_predict", "--output_dir", str(tmp_path / "out")])
    nbest = json.loads((tmp_path / "out" / "nbest_predictions.json").read_text(encoding="utf-8"))
    answers, expected = (
        {
            (row["document_id"], row["start"], row["end"]): row["probability"]
            for row in rows
            if row["probability"] > 0.01
        }
        for rows in (given["answers"], nbest["test-3"])
    )
    assert answers == close_to(expected) and set(nbest["test-3"][0]) < set(given["answers"][0])
    assert {row["passage"] for row in given["answers"]} <= {text for _, text in PASSAGES}


def test_questions_come_from_standard_input_until_an_empty_line(
    asked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [question for _, question, _ in QUESTIONS[:3]]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{questions[0]}\n {questions[1]} \n\n{questions[2]}\n"))
    lines = asked("--json").splitlines()
    assert [json.loads(line)["question"] for line in lines] == questions[:2]
    monkeypatch.setattr("sys.stdin", io.StringIO(questions[2]))  # the end of the input ends it as well
    assert asked().startswith(f"question  {questions[2]}\nanswer ")


def test_a_prompt_asks_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["하나?", "둘?", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True, raising=False)
    assert list(ask.typed_questions()) == ["하나?", "둘?"]

    def end(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end)  # Ctrl-D
    assert list(ask.typed_questions()) == []


def test_nothing_in_a_passage_commands_the_terminal() -> None:
    passage = "\x1b]0;x\x07앞 \x9b31m글\u202e \r\n정\u200b답\x1b[2J 뒤\u2028글"
    start = passage.index("정")
    answer = found_answer(
        text="정\u200b답", passage=passage, title="제\x1b[1m목", start=start, end=start + 3, document_id="\x9b"
    )
    shown = ask.as_text("질\x1b문", [answer])
    assert [character for character in shown if not character.isprintable() and character != "\n"] == []
    assert "[정답]" in shown
    line = ask.as_json("질\x1b문", [answer])
    assert line.isprintable() and "\\u009b" in line
    assert json.loads(line)["answers"][0]["passage"] == passage


def test_a_long_passage_is_shown_around_its_answer_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ask.shows_colour", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    passage = "가나다 " * 200 + "정답" + " 라마바" * 200
    *_, text = ask.as_text("?", [found_answer(text="정답", passage=passage, start=800, end=802)]).split("\n\n")
    assert "\x1b[1;32m정답\x1b[0m" in text and text.count("…") == 2
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert max(map(columns_of, plain.splitlines())) <= 40 and 600 < len(plain) < 900


def test_no_answer_and_none_at_all_are_said() -> None:
    assert "(no answer)" in ask.as_text("?", [found_answer(text="", rank=0, title="")])
    assert "none was found" in ask.as_text("?", [])
    assert json.loads(ask.as_json("?", []))["answer"] == ""


def test_what_is_no_question_is_refused_before_anything_is_loaded(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ask.Pipeline, "from_arguments", lambda args: pytest.fail("loaded"))
    with pytest.raises(UserError, match="the question is blank"):
        ask.main(["  ", *command])
    with pytest.raises(UserError, match="is not UTF-8 text"):  # what is typed
        ask.check_question("a\udcff?")
    with pytest.raises(SystemExit):
        ask.main(["a\udcff?", *command])
    assert r"QUESTION 'a\udcff?' is not UTF-8" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ask.main(["a?", *command, "--max_eval_samples", "3"])
    assert "inference.py answers those of a data set" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ask.main(["a?", "--retriever_type", "none"])
    assert "no retriever is named none; choose from: " in capsys.readouterr().err
