from __future__ import annotations

import csv
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
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


def test_a_folder_stands_for_the_predictions_in_it(gold, tmp_path):
    (tmp_path / "run").mkdir()
    file = tmp_path / "run" / "predictions.json"
    file.write_text(json.dumps(PREDICTIONS), encoding="utf-8")
    words = ["--gold", gold, "--predictions"]
    assert score.main([*words, str(tmp_path / "run")]) == score.main([*words, str(file)])


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


# ------------------------------------------------------------------------------------------------------ several files


OTHER = {"q1": "한글", "q2": "1443년", "q3": "집현전", "q4": "=세종"}


@pytest.fixture
def two_files(tmp_path):
    """Two folders with predictions.json, the first with a table of passages too."""
    paths = []
    for name, content in (("a", PREDICTIONS), ("b", OTHER)):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "predictions.json")
        paths[-1].write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return [str(path) for path in paths]


def write_passages(folder, contexts):
    """Write retrieved_passages.csv with the passages of each question, best first."""
    rows = ["id,question,rank,document_id,title,context,score"]
    for name, texts in contexts.items():
        rows += [f'{name},물음 {name},{rank},d{rank},,"{text}",{-rank}' for rank, text in enumerate(texts, 1)]
    (folder / "retrieved_passages.csv").write_text("\n".join(rows), encoding="utf-8")


def test_several_files_are_compared_over_all_questions_and_over_groups(gold, two_files, capsys, warnings):
    figures = score.main(["--gold", gold, "--predictions", *two_files])
    lines = capsys.readouterr().out.splitlines()

    def interval(values, sign=""):
        drawn = np.random.default_rng(42).integers(len(values), size=(1000, len(values)))
        low, high = np.percentile(100 * np.array(values, float)[drawn].mean(axis=1), [2.5, 97.5])
        return f"(95 % interval {low:{sign}.2f} to {high:{sign}.2f})"

    assert lines[:12] == [
        "metric        korquad",
        "questions           4",
        f"A            {two_files[0]}",
        f"B            {two_files[1]}",
        "",
        "all (n = 4)",
        f"A      exact_match     50.00 %  {interval([1, 0, 0, 1])}",
        f"A      f1              72.22 %  {interval([1, 8 / 9, 0, 1])}",
        f"B      exact_match     75.00 %  {interval([1, 1, 1, 0])}",
        f"B      f1              75.00 %  {interval([1, 1, 1, 0])}",
        f"A - B  exact_match    -25.00    {interval([0, -1, -1, 1], '+')}",
        f"A - B  f1              -2.78    {interval([0, -1 / 9, -1, 1], '+')}",
    ]
    assert lines[12] == "A - B  McNemar p           1    (right alone: A 1, B 2)"
    assert [line for line in lines if "(n = " in line] == ["all (n = 4)", "answerable (n = 3)", "unanswerable (n = 1)"]
    assert list(figures) == ["questions", "groups", "leaderboard"]
    answerable = figures["groups"]["answerable"]
    assert answerable["A"]["exact_match"] == pytest.approx(100 / 3)
    assert answerable["A - B"].exact_match.mean == pytest.approx(-200 / 3)
    assert figures["groups"]["unanswerable"]["A - B"].exact_match == (100, 100, 100)
    assert figures["leaderboard"] == {}
    assert warnings == []
    assert max(len(line) for line in lines if "predictions.json" not in line) <= 80


def test_question_types_are_groups_where_the_data_names_them(gold, two_files):
    content = json.loads(Path(gold).read_text(encoding="utf-8"))
    for number, question in enumerate(content["data"][0]["paragraphs"][0]["qas"][:3]):
        question["question_type"] = 1 + number // 2
    Path(gold).write_text(json.dumps(content), encoding="utf-8")
    groups = score.main(["--gold", gold, "--predictions", *two_files])["groups"]
    assert {name: group["questions"] for name, group in groups.items()} == {
        "all": 4,
        "answerable": 3,
        "unanswerable": 1,
        "question_type 1": 2,
        "question_type 2": 1,
        "no question_type": 1,
    }
    assert groups["question_type 1"]["B"]["exact_match"] == 100


def test_three_files_give_three_pairs(gold, two_files, tmp_path):
    third = tmp_path / "c.json"
    third.write_text(json.dumps(OTHER), encoding="utf-8")
    group = score.main(["--gold", gold, "--predictions", *two_files, str(third)])["groups"]["all"]
    assert list(group) == ["questions", "A", "B", "C", "A - B", "A - C", "B - C"]
    assert group["B - C"] == ((0, 0, 0), (0, 0, 0), 0, 0, 1)


def test_a_leaderboard_is_simulated(gold, two_files, capsys):
    words = ["--gold", gold, "--predictions", *two_files, "--simulate_leaderboard", "2"]
    figures = score.main(words)["leaderboard"]
    assert list(figures) == ["A - B"] and list(figures["A - B"]) == ["exact_match", "f1"]
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("leaderboards: 2 public and 2 other, private questions, drawn 1000 times")
    lead = figures["A - B"]["exact_match"]
    # Of -1, -1, 0, 1 a half of 2 is positive only as {0, 1}, and then the other is negative.
    assert lead.first_leads == pytest.approx(100 / 6, abs=4) and lead.first_stays == 0
    assert lines[start + 1 : start + 4] == [
        f"A - B  exact_match  2 questions can show a difference of {lead.smallest:.2f}",
        f"{'':20}A leads in public in {lead.first_leads:.1f} %, in 0.0 % of these in private too",
        f"{'':20}B leads in public in {lead.second_leads:.1f} %, in {lead.second_stays:.1f} % of these in private too",
    ]
    assert score.main(words)["leaderboard"] == figures
    with pytest.raises(UserError, match=r"^--simulate_leaderboard 3 draws two halves .*: at most 2 of these 4 "):
        score.main([*words[:-1], "3"])


def test_every_question_is_written_for_spreadsheets(gold, two_files, tmp_path):
    write_passages(
        tmp_path / "a",
        {"q1": ["딴 글", CONTEXT], "q2": ["딴 글", "또 딴 글"], "q3": ["집현전의 글", "딴 글"], "q4": ["딴 글"]},
    )
    path = tmp_path / "errors.csv"
    score.main(["--gold", gold, "--predictions", *two_files, "--errors", str(path)])
    df = pd.read_csv(path, dtype=str, na_filter=False)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert rows == [list(df.columns), *df.to_numpy().tolist()]
    assert rows[0] == [
        *("id", "question", "gold_answers"),
        *("A_answer", "A_exact_match", "A_f1", "A_gold_rank", "A_missed"),
        *("B_answer", "B_exact_match", "B_f1"),
    ]
    assert json.loads(df["gold_answers"][0]) == ["훈민정음", "한글"]
    assert rows[1][3:] == ["《훈민정음》", "1", "1.0", "2", "", "한글", "1", "1.0"]
    assert rows[2][3:] == ["1443", "0", "0.8889", "", "retrieval", "1443년", "1", "1.0"]
    assert rows[3][3:] == ["세종", "0", "0.0", "", "reader", "집현전", "1", "1.0"]  # an answer was found elsewhere
    assert rows[4][3:] == ["", "1", "1.0", "", "", "'=세종", "0", "0.0"]


def test_the_errors_of_one_file_change_nothing_that_is_printed(gold, two_files, tmp_path, capsys):
    words = ["--gold", gold, "--predictions", two_files[0]]
    figures = score.main(words)
    printed = capsys.readouterr().out
    assert score.main([*words, "--errors", str(tmp_path / "new" / "errors.csv")]) == figures
    assert capsys.readouterr().out == printed
    assert list(pd.read_csv(tmp_path / "new" / "errors.csv").columns)[3:] == ["A_answer", "A_exact_match", "A_f1"]


def test_a_broken_table_of_passages_is_said_before_anything_is_printed(gold, two_files, tmp_path, capsys):
    (tmp_path / "b" / "retrieved_passages.csv").write_text("id,rank\nq1,1\n")
    with pytest.raises(DataError, match=r"b/retrieved_passages\.csv: no column question, "):
        score.main(["--gold", gold, "--predictions", *two_files, "--errors", str(tmp_path / "errors.csv")])
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "errors.csv").exists()


def test_ids_missing_in_one_file_stop_a_comparison_and_in_all_are_warned_of(gold, two_files, warnings):
    Path(two_files[0]).write_text(json.dumps({"q1": "한글", "q2": "세종"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"a/predictions\.json: lacks 2 of the questions that .* \(q3, q4\)"):
        score.main(["--gold", gold, "--predictions", *two_files])
    Path(two_files[1]).write_text(json.dumps({"q1": "한글", "q2": "세종", "x": ""}), encoding="utf-8")
    score.main(["--gold", gold, "--predictions", *two_files])
    assert warnings == [
        "A: questions without a prediction, counted as wrong: 2 of 4 (q3, q4)",
        "B: questions without a prediction, counted as wrong: 2 of 4 (q3, q4)",
        "B: predictions for ids that no question has, ignored: 1 (x)",
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["a", "--simulate_leaderboard", "9"], "--simulate_leaderboard would be ignored: it compares: give "),
        (["a", "b", "--simulate_leaderboard", "0"], "--simulate_leaderboard 0 must be at least 1"),
        (["a", "b", "./a"], "--predictions names ./a twice: a comparison takes different files"),
        (["a", "--errors", "errors.xlsx"], "--errors 'errors.xlsx' must end in .csv"),
        ([f"{n}" for n in range(27)], "--predictions takes at most 26 files, not 27"),
    ],
)
def test_what_is_wrong_with_the_flags_of_a_comparison(words, complaint, capsys):
    with pytest.raises(SystemExit):
        score.parse(["--gold", "g", "--predictions", *words])
    assert f"score.py: error: {complaint}" in capsys.readouterr().err
