from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import score
from runtime.errors import DataError, UserError

ROOT = Path(__file__).parents[1]

ANSWERS = {"q1": ["훈민정음", "한글"], "q2": ["1443년"], "q3": ["집현전"], "q4": []}
CONTEXT = "세종은 1443년에 집현전 학자들과 《훈민정음》, 곧 한글을 만들었다."
PREDICTIONS = {"q1": "《훈민정음》", "q2": "1443", "q3": "세종", "q4": ""}


@pytest.fixture
def gold(tmp_path):
    questions = [
        {
            "id": name,
            "question": f"물음 {name}",
            "is_impossible": not texts,
            "answers": [{"text": text, "answer_start": CONTEXT.index(text)} for text in texts],
        }
        for name, texts in ANSWERS.items()
    ]
    articles = [{"title": "세종", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]
    path = tmp_path / "KorQuAD_dev.json"
    path.write_text(json.dumps({"version": "v2.0", "data": articles}, ensure_ascii=False), encoding="utf-8")
    return str(path)


@pytest.fixture
def predictions(tmp_path):
    """Write the content (JSON, text or bytes) of a predictions file and return its path."""

    def write(content):
        path = tmp_path / "predictions.json"
        if not isinstance(content, (str, bytes)):
            content = json.dumps(content, ensure_ascii=False)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@pytest.fixture
def warnings():
    """The lines that the command warns with."""
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    score.logger.addHandler(handler)
    yield lines
    score.logger.removeHandler(handler)


def run(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("metric", "overlap_name", "exact_match", "overlap"),
    [
        ("korquad", "f1", 50, 100 * (1 + 8 / 9 + 0 + 1) / 4),  # 1443 against 1443년: 2 * 4 / (4 + 5)
        ("squad", "f1", 25, 25),  # 《》 stay, and 1443년 is another word
        ("klue", "rouge_w", 50, 100 * (1 + 8 / 9 + 0 + 1) / 4),
    ],
)
def test_figures(gold, predictions, warnings, metric, overlap_name, exact_match, overlap):
    words = ["--gold", gold, "--predictions", predictions(PREDICTIONS), "--metric", metric]
    figures = score.main(words)
    assert list(figures) == [
        "questions",
        "exact_match",
        "exact_match_low",
        "exact_match_high",
        overlap_name,
        f"{overlap_name}_low",
        f"{overlap_name}_high",
    ]
    assert figures["questions"] == 4
    assert figures["exact_match"] == pytest.approx(exact_match)
    assert figures[overlap_name] == pytest.approx(overlap)
    assert 0 <= figures["exact_match_low"] < exact_match < figures["exact_match_high"] <= 100
    assert warnings == []
    assert score.main(words) == figures


@pytest.mark.parametrize(("samples", "seed"), [(1000, 42), (7, 42), (7, 1)])
def test_the_table_and_its_intervals(gold, predictions, capsys, samples, seed):
    words = ["--gold", gold, "--predictions", predictions(PREDICTIONS)]
    if (samples, seed) != (1000, 42):  # the defaults
        words += ["--bootstrap_samples", str(samples), "--score_seed", str(seed)]
    score.main(words)

    def interval(values):
        drawn = np.random.default_rng(seed).integers(4, size=(samples, 4))
        low, high = np.percentile(100 * np.array(values)[drawn].mean(axis=1), [2.5, 97.5])
        return f"(95 % interval {low:.2f} to {high:.2f})"

    assert capsys.readouterr().out.splitlines() == [
        "metric        korquad",
        "questions           4",
        f"exact_match     50.00 %  {interval([1, 0, 0, 1])}",
        f"f1              72.22 %  {interval([1, 8 / 9, 0, 1])}",
    ]


def test_missing_and_unknown_ids_are_named_and_missing_ones_are_wrong(gold, predictions, warnings):
    content = {"q1": "한글", **{f"x{n}": "답" for n in range(7)}}
    figures = score.main(["--gold", gold, "--predictions", predictions(content)])
    assert figures["questions"] == 4
    assert figures["exact_match"] == figures["f1"] == 25
    assert warnings == [
        "questions without a prediction, counted as wrong: 3 of 4 (q2, q3, q4)",
        "predictions for ids that no question has, ignored: 7 (x0, x1, x2, x3, x4, ...)",
    ]


def test_gold_without_any_answer_is_pointed_out(gold, predictions, warnings, monkeypatch):
    monkeypatch.setattr(score, "references_of", lambda examples: {"q1": [], "q2": [""]})
    score.main(["--gold", gold, "--predictions", predictions({"q1": "", "q2": ""})])
    assert warnings == ["no question has a gold answer, so only empty predictions are right"]


def test_predictions_may_start_with_a_byte_order_mark(predictions):
    assert score.read_predictions(predictions(b"\xef\xbb\xbf" + '{"q1": "한글"}'.encode())) == {"q1": "한글"}


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
        score.read_predictions(path)
    assert str(caught.value) == message.format(path=path)


def test_files_that_cannot_be_read(tmp_path):
    missing = tmp_path / "nowhere.json"
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read: No such file or directory$"):
        score.read_predictions(str(missing))
    with pytest.raises(UserError, match=r"cannot be read: Is a directory$"):
        score.read_predictions(str(tmp_path))


def test_gold_errors_reach_the_user(tmp_path, predictions):
    with pytest.raises(UserError, match="nowhere"):
        score.main(["--gold", str(tmp_path / "nowhere.json"), "--predictions", predictions(PREDICTIONS)])
    bad = tmp_path / "bad.json"
    bad.write_text('{"data": [{"paragraphs": [{"context": "가", "qas": [{"id": "q1"}]}]}]}', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.json"):
        score.main(["--gold", str(bad), "--predictions", predictions(PREDICTIONS)])


def test_the_command_prints_the_table_on_stdout_and_warns_on_stderr(gold, predictions):
    path = predictions({"q1": "한글", "q2": "1443년", "q3": "집현전", "x": ""})
    finished = run("score.py", "--gold", gold, "--predictions", path, "--metric", "klue", "--bootstrap_samples", "1")
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[:2] == ["metric           klue", "questions           4"]
    assert [line.split("%")[0] for line in finished.stdout.splitlines()[2:]] == [
        "exact_match     75.00 ",
        "rouge_w         75.00 ",
    ]
    assert [line.split(" ", 1)[1] for line in finished.stderr.splitlines()] == [
        "WARNING questions without a prediction, counted as wrong: 1 of 4 (q4)",
        "WARNING predictions for ids that no question has, ignored: 1 (x)",
    ]


def test_the_command_fails_in_one_sentence(gold, tmp_path):
    finished = run("score.py", "--gold", gold, "--predictions", str(tmp_path / "nowhere.json"))
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == (
        f"error: --predictions {tmp_path / 'nowhere.json'} cannot be read: No such file or directory\n"
    )


def test_flags(capsys):
    assert score.parse(["--gold", "g", "--predictions", "p"]).metric == "korquad"
    with pytest.raises(SystemExit):
        score.parse(["--predictions", "p"])
    assert "score.py: error: the following arguments are required: --gold\n" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        score.parse(["--gold", "g", "--predictions", "p", "--metric", "rouge"])
    assert "score.py: error: argument --metric: invalid choice: 'rouge'" in capsys.readouterr().err


def test_importing_the_command_is_silent_and_loads_no_heavy_library():
    finished = run("-c", "import sys, score; print(sorted({'torch', 'datasets', 'pandas'} & set(sys.modules)))")
    assert (finished.stdout, finished.stderr) == ("[]\n", "")
