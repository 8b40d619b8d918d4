"""pipeline.py: answers from Python, the same as those of inference.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from comparing import close_to
from tiny_data import PASSAGES, QUESTIONS

import inference
from pipeline import Pipeline, Reader
from runtime.errors import UserError


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    index_dir = str(tmp_path_factory.mktemp("index"))
    return {"analyzer": "bigram", "index_dir": index_dir, "precision": "fp32"}


@pytest.fixture(scope="module")
def pipeline(trained_reader: str, dataset_path: str, flags: dict[str, Any]) -> Pipeline:
    return Pipeline.load(trained_reader, corpus=f"{dataset_path}/wikipedia_documents.json", **flags)


def test_a_reader_answers_a_question_in_a_text_as_it_was_trained(trained_reader: str, log_lines: list[str]) -> None:
    reader = Reader.load(trained_reader, precision="fp32")
    assert any("--max_seq_len 128, --stride_len 16" in line for line in log_lines)
    right = 0
    for passage, question, text in QUESTIONS:
        context = PASSAGES[passage][1]
        answers = reader.read(question, context)
        assert all(context[answer.start : answer.end] == answer.text for answer in answers)
        assert [a.probability for a in answers] == sorted((a.probability for a in answers), reverse=True)
        right += answers[0].text == text
    assert right >= 10  # it was trained on these questions


def test_a_pipeline_answers_as_inference_does(
    pipeline: Pipeline, trained_reader: str, dataset_path: str, flags: dict[str, Any], tmp_path: Path
) -> None:
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    words += ["--do_eval", "--model", trained_reader, "--dataset_path", f"{dataset_path}/test_answers.json"]
    inference.main([*words, "--top_k_retrieval", "3", "--output_dir", str(tmp_path)])
    nbest = json.loads((tmp_path / "nbest_predictions.json").read_text(encoding="utf-8"))
    found = pipeline.answer([question for _, question, _ in QUESTIONS[1::2]], k=3)
    assert len(found) == len(nbest) == 6
    texts = dict(PASSAGES)
    for answers, expected in zip(found, nbest.values(), strict=True):
        assert answers[0].text == expected[0]["text"]
        probable = {(a.document_id, a.start, a.end): a.probability for a in answers if a.probability > 0.01}
        assert probable == close_to(
            {(a["document_id"], a["start"], a["end"]): a["probability"] for a in expected if a["probability"] > 0.01}
        )
        for answer in answers:
            assert answer.passage == texts[answer.title] and answer.rank <= 3
            assert answer.passage[answer.start : answer.end] == answer.text


def test_the_passages_that_were_read_come_with_the_answers(pipeline: Pipeline) -> None:
    questions = [question for _, question, _ in QUESTIONS[:2]]
    found = pipeline.answer_with_passages(questions, k=4)
    assert [answers for answers, _ in found] == pipeline.answer(questions, k=4)
    for answers, passages in found:
        assert [passage.rank for passage in passages] == [1, 2, 3, 4]
        assert [passage.score for passage in passages] == sorted((one.score for one in passages), reverse=True)
        assert {(passage.title, passage.text) for passage in passages} < set(PASSAGES)
        assert {(answer.rank, answer.passage) for answer in answers} <= {(one.rank, one.text) for one in passages}


def test_no_answer_has_no_passage(
    trained_reader: str, dataset_path: str, flags: dict[str, Any], pipeline: Pipeline
) -> None:
    corpus = f"{dataset_path}/wikipedia_documents.json"
    either = Pipeline.load(trained_reader, corpus=corpus, version_2_with_negative=True, n_best_size=3, **flags)
    for answers in either.answer(["자격루를 만든 사람은 누구인가?"]):
        (none,) = [answer for answer in answers if not answer.text]
        assert (none.title, none.passage, none.rank) == ("", "", 0) and len(answers) == 3


def test_says_what_cannot_be_answered(pipeline: Pipeline, trained_reader: str, encoder_path: str) -> None:
    assert pipeline.answer([]) == []
    assert pipeline.answer_with_passages([]) == []
    with pytest.raises(UserError, match="question 2 of 2 is blank"):
        pipeline.answer(["부산의 바닷가는 어디인가?", "\u200b "])
    with pytest.raises(UserError, match="k is 0"):
        pipeline.answer(["부산의 바닷가는 어디인가?"], k=0)
    with pytest.raises(UserError, match=r"write \[question\]"):
        pipeline.answer("부산의 바닷가는 어디인가?")
    with pytest.raises(UserError, match="the context to read is blank"):
        pipeline.reader.read("부산의 바닷가는 어디인가?", "\n")
    with pytest.raises(UserError, match="encoder but no trained reader"):
        Reader.load(encoder_path, max_seq_len=128, stride_len=16)
    with pytest.raises(UserError, match="name the corpus with --context_path"):
        Pipeline.load(trained_reader, dataset_path="nowhere", analyzer="bigram")
