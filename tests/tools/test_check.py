"""python -m tools.check end to end: what is wrong with data, what they are like, which flags suit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forking import run
from tiny_data import PASSAGES, QUESTIONS, squad

import train_mrc
import train_reranker
from runtime.errors import UserError
from runtime.terminal import columns_of
from tools import check


def write(folder: Path, **splits: Any) -> str:
    folder.mkdir(exist_ok=True)
    for name, content in splits.items():
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(folder)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def shared(tmp_path: Path) -> str:
    """Data whose validation asks two questions of train, one of them of the same passage, and one without an answer."""
    validation = squad(QUESTIONS[6:9], "validation")
    validation["data"][2]["paragraphs"][0]["context"] += " 태양계에 있다."
    validation["data"][1]["paragraphs"][0]["qas"][0] |= {"answers": [], "question": "부산의 첫 시장은 누구인가?"}
    return write(tmp_path / "shared", train=squad(QUESTIONS[:9], "train"), validation=validation)


def test_clean_data_with_a_tokenizer(
    dataset_path: str, encoder_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write(tmp_path / "clean", train=squad(QUESTIONS[:6], "a"), validation=squad(QUESTIONS[6:], "b"))
    corpus = f"{dataset_path}/wikipedia_documents.json"
    words = [train, "--model", encoder_path, "--context_path", corpus, "--max_seq_len", "64", "--stride_len", "16"]
    report = check.main([*words, "--output_file", str(tmp_path / "out/report.json")])
    assert report == read_json(tmp_path / "out/report.json")
    assert report["errors"] == report["findings"] == []
    assert {name: split["questions"] for name, split in report["splits"].items()} == {"train": 6, "validation": 6}
    assert report["shared"] == {
        "validation in train": {"ids": 0, "questions": 0, "passages": 0, "questions_of_passages": 0}
    }
    assert report["corpus"]["passages"] == len(PASSAGES)
    assert report["corpus"]["splits"]["train"] == {"questions": 6, "missing": 0, "missing_ids": []}
    tokens = report["tokens"]
    assert tokens["settings"] == {"max_seq_len": 64, "stride_len": 16, "max_ans_len": 30}
    assert [(one["max_seq_len"], one["most_windows"]) for one in tokens["windows"]] == [(64, 2), (128, 1)]
    assert report["flags"] == {"max_seq_len": 128, "stride_len": 64, "max_ans_len": 10}

    shown = capsys.readouterr().out
    assert "--max_seq_len 128 --stride_len 64 --max_ans_len 10\n" in shown
    assert max(map(columns_of, shown.splitlines())) <= 80


def test_what_should_be_looked_at(shared: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shared/wikipedia_documents.json").write_text(json.dumps({"0": {"title": "", "text": PASSAGES[0][1]}}))
    report = check.main([shared])
    assert report["shared"]["validation in train"] == {
        "ids": 0, "questions": 2, "passages": 2, "questions_of_passages": 1
    }  # fmt: skip
    assert report["findings"] == [
        "there is no answer to 1 of 3 validation questions, but a reader gives one: add --version_2_with_negative",
        "the training data include 2 of 3 validation questions, whose scores do not tell how well new ones are "
        "answered: take them out of one of the two (the first: 부산의 바닷가는 어디인가?)",
        "the training data include the passages of 2 of 3 validation questions",
        "the corpus lacks the passages of 7 of 9 train questions: no retriever can find them",
        "the corpus lacks the passages of 3 of 3 validation questions: no retriever can find them",
    ]
    assert report["flags"] == {"version_2_with_negative": True}
    shown = capsys.readouterr().out
    assert "\n- the corpus lacks the passages of 7 of 9 train questions: no retriever can find\n  them\n" in shown
    assert shown.endswith("\n\n--version_2_with_negative\n")
    assert max(map(columns_of, shown.splitlines())) <= 80
    (fault, *_) = check.main([shared, "--version_2_with_negative"])["findings"]
    assert fault.startswith("the training data include 2 of 3 validation questions")


def test_answers_that_are_lost(dataset_path: str, encoder_path: str) -> None:
    flags = ["--tokenizer", encoder_path, "--max_seq_len", "44", "--stride_len", "0", "--max_ans_len", "3"]
    *_, cut, long = check.main([dataset_path, *flags])["findings"]
    assert cut == (
        "no window holds the whole answer to 1 of 18 questions, which are learnt as if they had none: "
        "raise --stride_len 0 or --max_seq_len 44"
    )
    assert long == "a reader gives shorter answers than any to 7 of 18 questions: raise --max_ans_len 3"


def test_a_trained_reader_brings_its_settings(trained_reader: str, dataset_path: str) -> None:
    settings = {"max_seq_len": 128, "stride_len": 16, "max_ans_len": 30}
    assert check.main([dataset_path, "--model", trained_reader])["tokens"]["settings"] == settings


def test_errors_come_all_at_once_and_the_other_rows_are_counted(
    shared: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = read_json(Path(shared) / "train.json")
    train["data"][3]["paragraphs"][0]["qas"][0]["question"] = " "
    train["data"][4]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 1
    write(Path(shared), train=train)
    (tmp_path / "corpus.jsonl").write_text('{"id": "1", "title": "", "text": " "}\n', encoding="utf-8")
    report = tmp_path / "report.json"
    with pytest.raises(SystemExit) as end:
        check.main([shared, "--context_path", str(tmp_path / "corpus.jsonl"), "--output_file", str(report)])
    assert end.value.code == 1
    shown, found = capsys.readouterr().out, read_json(report)
    assert [error["reason"].partition(":")[0] for error in found["errors"]] == [
        "question is empty", "answer is not at answer_start", "text is empty"
    ]  # fmt: skip
    assert shown.startswith("**Errors** (3)\n\n- ")
    assert f"- {shared}/train.json, data[3].paragraphs[0].qas[0] (id train-3): question is empty\n" in shown
    assert (found["splits"]["train"]["questions"], found["corpus"]) == (7, None)


def test_a_file_is_one_split_and_others_may_stand_beside_it(
    shared: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = check.main([f"{shared}/train.json", "--test_eval_dataset_path", f"{shared}/validation.json"])
    assert list(report["splits"]) == ["examples", "evaluation"]
    assert report["shared"]["evaluation in examples"]["questions"] == 2
    write(Path(shared), test=squad(QUESTIONS, "test", with_answers=False))
    report = check.main([shared, "--test_eval_dataset_path", "validation.json"])
    assert list(report["splits"]) == ["train", "validation", "test", "evaluation"]
    assert list(report["shared"])[-1] == "evaluation in test" and len(report["shared"]) == 6
    assert max(map(columns_of, capsys.readouterr().out.splitlines())) <= 80


def test_nothing_to_look_at_is_one_sentence(shared: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no data set"):
        check.main([str(tmp_path / "empty")])
    with pytest.raises(UserError, match=r"nowhere\.json does not exist"):
        check.main([shared, "--test_eval_dataset_path", "nowhere.json"])


def test_it_runs_as_a_module_and_its_status_tells_of_errors(shared: str) -> None:
    write(Path(shared), validation={"data": [{}]})
    result = run("-m", "tools.check", shared)
    assert result.returncode == 1 and result.stdout.startswith("**Errors** (1)\n\n- "), result.stderr


def test_the_data_set_is_named_with_or_without_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    given = [["a"], ["--dataset_path", "a"], ["--data_dir", "a"]]
    assert [check.parse(["--context_path", "c", *words]).dataset_path for words in given] == ["a"] * 3
    assert check.parse(["a", "--context_path", "c"]) == check.parse(["--context_path", "c", "a"])
    assert check.parse([]).dataset_path == "../data"
    with pytest.raises(SystemExit):
        check.parse(["a", "b", "--output_file", "c.txt"])
    shown = capsys.readouterr().err
    assert "do not know what to do with b" in shown and "--output_file 'c.txt' must end in .json" in shown


# ------------------------------------------------------------------------------------------------------------ training


SEEN = "the training data include 2 of {} evaluation questions"


def test_training_a_reader_warns_of_the_same(shared: str, training_command: list[str], log_lines: list[str]) -> None:
    words = [*training_command, "--dataset_path", shared, "--do_eval", "--max_steps", "1", "--warmup_steps", "5"]
    words[words.index("--num_train_epochs") : words.index("--num_train_epochs") + 2] = []
    train_mrc.main(words)
    warnings = [line for line in log_lines if line.startswith("WARNING")]
    assert any("there is no answer to 1 of 3 evaluation questions" in line for line in warnings)
    assert any(SEEN.format(3) in line for line in warnings)
    assert any("the warm-up takes 5 optimizer steps and the run has 1" in line for line in warnings)
    assert len(warnings) == 3


def test_training_a_reranker_warns_of_questions_seen(
    shared: str, reranker_path: str, tmp_path: Path, log_lines: list[str]
) -> None:
    corpus = {str(number): {"title": title, "text": text} for number, (title, text) in enumerate(PASSAGES)}
    write(Path(shared), wikipedia_documents=corpus)
    train_reranker.main(
        f"--reranker_model {reranker_path} --dataset_path {shared} --output_dir {tmp_path}/run --do_eval --max_steps 1 "
        f"--analyzer bigram --index_dir {tmp_path}/index --reranker_max_len 128 --precision fp32".split()
    )
    assert [line for line in log_lines if SEEN.format(2) in line]
