"""python -m tools.postprocess: what each rule gains, on answers made by hand and on what inference.py wrote."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import inference
from reading.answers import Answer
from runtime.errors import DataError, UserError
from tools import postprocess

# A passage, the answers read in it with their probabilities, the gold answer.
READ = [
    ("세종이 글자를 만들었다.", [("세종이", 0.6), ("글자를", 0.4)], "세종"),  # particles
    ("그는 《토지》를 읽었다.", [("《토지", 0.9)], "토지"),  # normalised away by the metric: right before and after
    ("그는 『토지』를 읽었다.", [("『토지』", 0.9)], "토지"),  # brackets
    ("그날은 1443년 12월이었다.", [("12", 0.9)], "12월"),  # units
    ("세종은 왕이고 문종은 왕자였다.", [("왕", 0.4), ("문종", 0.35), ("문종은", 0.25)], "왕"),  # lost by particles
    ("가나다 라마바", [("라마", 0.5), ("나다", 0.3), ("가나다", 0.25)], "라마"),  # lost by nested
    ("이순신은 장군이다.", [("장군이다", 0.9)], "장군"),  # particles
    ("답은 없다.", [("", 1.0)], "답은 없다"),
]


def write(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def gold(tmp_path: Path) -> str:
    paragraphs = [
        {"context": text, "qas": [{"id": f"q{number}", "question": "?",
                                   "answers": [{"text": answer, "answer_start": text.index(answer)}]}]}
        for number, (text, _, answer) in enumerate(READ)
    ]  # fmt: skip
    return write(tmp_path / "gold/dev.json", {"data": [{"title": "t", "paragraphs": paragraphs}]})


@pytest.fixture
def nbest() -> dict[str, list[dict[str, Any]]]:
    def answer(text: str, probability: float, passage: str) -> dict[str, Any]:
        start = passage.index(text)
        return asdict(Answer(text, probability, 1.0, 1.0, 0.0, "d", int(bool(text)), start, start + len(text)))

    return {
        f"q{number}": [answer(*found, passage) for found in answers]
        for number, (passage, answers, _) in enumerate(READ)
    }


def test_each_rule_alone_and_beside_the_others(
    gold: str, nbest: dict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = postprocess.main(["--nbest", write(tmp_path / "out/nbest_predictions.json", nbest), "--gold", gold])
    one = 100 / len(READ)
    assert figures["questions"] == len(READ) and figures["without"][0] == pytest.approx(3 * one)
    alone = {name: found.exact_match.mean for name, found in figures["alone"].items()}
    beside = {name: found.exact_match.mean for name, found in figures["beside_the_others"].items()}
    expected = {"edges": 0.0, "units": one, "particles": one, "brackets": one, "nested": -2 * one}
    assert alone == pytest.approx(expected)
    assert (figures["alone"]["particles"].only_first, figures["alone"]["particles"].only_second) == (2, 1)
    assert beside == pytest.approx(expected | {"nested": -one, "particles": 2 * one})  # which lose q4 as nested does
    assert figures["all"].exact_match.mean == pytest.approx(2 * one)
    assert figures["default"].exact_match.mean == pytest.approx(3 * one)
    shown = capsys.readouterr().out
    assert shown.startswith("8 questions; without rules: exact match 37.50, f1 ")
    assert "| nested " in shown and "-25.00 (" in shown
    assert shown.endswith("\n--postprocess edges,units,particles,brackets\n")


def test_half_of_the_questions(gold: str, nbest: dict, tmp_path: Path) -> None:
    words = ["--nbest", write(tmp_path / "out/nbest_predictions.json", nbest), "--gold", gold, "--half"]
    first, second = (postprocess.main([*words, half]) for half in ("first", "second"))
    assert first["questions"] == second["questions"] == 4
    assert first["alone"]["units"].exact_match.mean == 0 and second["alone"]["units"].exact_match.mean == 25


def test_the_figures_are_those_of_a_run_with_the_rules(reader_path: str, dataset_path: str, tmp_path: Path) -> None:
    shared = (
        f"--do_eval --model {reader_path} --dataset_path {dataset_path} --max_seq_len 128 --stride_len 16 "
        f"--precision fp32 --analyzer bigram --top_k_retrieval 2 --index_dir {tmp_path}/index"
    )
    runs = {
        rules: inference.main(f"{shared} --postprocess {rules} --output_dir {tmp_path}/{rules}".split())
        for rules in ("none", "all")
    }
    figures = postprocess.main(["--nbest", str(tmp_path / "none"), "--gold", dataset_path])
    assert figures["without"] == pytest.approx([runs["none"]["exact_match"], runs["none"]["f1"]])
    gained = [figures["all"].exact_match.mean, figures["all"].overlap.mean]
    assert gained == pytest.approx([runs["all"][name] - runs["none"][name] for name in ("exact_match", "f1")])
    nbest = {rules: json.loads((tmp_path / rules / "nbest_predictions.json").read_text()) for rules in runs}
    assert nbest["none"] != nbest["all"]
    with pytest.raises(UserError, match=r"nbest_predictions\.json was written with --postprocess all: run inference"):
        postprocess.main(["--nbest", str(tmp_path / "all"), "--gold", dataset_path])


def test_what_does_not_belong_together(gold: str, dataset_path: str, nbest: dict, tmp_path: Path) -> None:
    path = write(tmp_path / "out/nbest_predictions.json", nbest)
    with pytest.raises(UserError, match=r"--gold .* has none of the questions of --nbest .*: name their gold file"):
        postprocess.main(["--nbest", path, "--gold", dataset_path])
    nbest["q0"][1]["start"] -= 1
    nbest["q1"][0]["rank"] = 2
    path = write(tmp_path / "out/nbest_predictions.json", nbest)
    with pytest.raises(DataError) as caught:
        postprocess.main(["--nbest", path, "--gold", gold])
    assert str(caught.value) == (
        "2 problems in the data:\n"
        f"  {path}, id 'q0': '글자를' is not at characters 3 to 7 of its passage of rank 1\n"
        f"  {path}, id 'q1': '《토지' is not at characters 3 to 6 of its passage of rank 2\n"
        "Name with --passages the table of passages that these answers were read from."
    )
