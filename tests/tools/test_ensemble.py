"""python -m tools.ensemble end to end, on what inference.py wrote and on predictions of other programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from forking import run
from tiny_data import QUESTIONS, squad

import inference
import train_mrc
from reading.metrics import mean_scores
from runtime.errors import DataError, UserError
from tools import ensemble


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def members(encoder_path: str, dataset_path: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The answers of two little trained readers to the validation questions, each from its own passage."""
    folder, found = tmp_path_factory.mktemp("members"), []
    shared = f"--dataset_path {dataset_path} --max_seq_len 128 --stride_len 16 --precision fp32"
    for name in ("a", "b"):
        train_mrc.main(
            f"--model {encoder_path} {shared} --output_dir {folder}/{name}/run --cache_dir {folder}/cache "
            f"--seed {ord(name)} --per_device_train_batch_size 4 --num_train_epochs 3 --learning_rate 3e-3".split()
        )
        inference.main(
            f"--do_eval --model {folder}/{name}/run/best {shared} --output_dir {folder}/{name}/out "
            "--retriever_type none".split()
        )
        found.append(f"{folder}/{name}/out")
    return found


def exact_match(folder: str | Path, gold: dict[str, list[str]]) -> float:
    return mean_scores(read_json(Path(folder) / "predictions.json"), gold)["exact_match"]


@pytest.mark.parametrize("method", ["soft", "hard", "logits"])
def test_two_readers_become_one(members: list[str], dataset_path: str, tmp_path: Path, method: str) -> None:
    words = ["--members", *members, "--output_dir", str(tmp_path), "--method", method, "--weights", "1", "2"]
    assert ensemble.main(words) == {}
    first = read_json(Path(members[0]) / "predictions.json")
    predictions, nbest = (read_json(tmp_path / f"{name}.json") for name in ("predictions", "nbest_predictions"))
    assert list(predictions) == list(nbest) == list(first)
    for question, choices in nbest.items():
        assert predictions[question] == choices[0]["text"]
        assert set(choices[0]) == {"text", "probability", "votes"}
        assert sum(choice["votes"] for choice in choices) == 3
        assert sum(choice["probability"] for choice in choices) <= 1 + 1e-6
    assert read_json(tmp_path / "ensemble.json") == {
        "method": method, "members": members, "tuned": False, "weights": [1.0, 2.0]
    }  # fmt: skip
    assert not (tmp_path / "error_correlation.png").exists()


@pytest.mark.parametrize("method", ["soft", "hard", "logits"])
def test_tuned_weights_are_no_worse_than_the_best_member(
    members: list[str], dataset_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    words = ["--members", *members, "--method", method, "--tune", "--gold", dataset_path, "--output_dir"]
    scores = ensemble.main([*words, str(tmp_path / "tuned")])
    record = read_json(tmp_path / "tuned/ensemble.json")
    assert scores == record["scores"] and scores["exact_match"] == pytest.approx(record["steps"][-1]["exact_match"])
    assert scores["exact_match"] >= max(member["exact_match"] for member in record["member_scores"])
    for folder, member in zip(members, record["member_scores"], strict=True):
        assert member["exact_match"] == pytest.approx(read_json(Path(folder) / "metrics.json")["exact_match"])
    assert (tmp_path / "tuned/error_correlation.png").read_bytes().startswith(b"\x89PNG")

    shown = capsys.readouterr().out
    assert "| correlation of errors " in shown and f"| 2 {members[1]}" in shown
    *_, flags = shown.splitlines()
    ensemble.main(["--members", *members, "--output_dir", str(tmp_path / "again"), *flags.split()])
    again, tuned = (read_json(tmp_path / name / "predictions.json") for name in ("again", "tuned"))
    assert again == tuned


@pytest.fixture
def plain(tmp_path: Path) -> list[str]:
    """Predictions of three other programs, which agree on a mistake in q-1 alone."""
    paths = []
    for wrong in ({0, 1}, {1, 2}, {2, 3, 4}):
        texts = {f"q-{n}": "몰라" * len(wrong) if n in wrong else answer for n, (_, _, answer) in enumerate(QUESTIONS)}
        paths.append(str(tmp_path / f"other{len(paths)}.json"))
        Path(paths[-1]).write_text(json.dumps(texts), encoding="utf-8")
    return paths


@pytest.fixture
def gold(tmp_path: Path) -> str:
    path = tmp_path / "gold/validation.json"
    path.parent.mkdir()
    path.write_text(json.dumps(squad(QUESTIONS, "q")), encoding="utf-8")
    return str(path.parent)


def test_predictions_of_other_programs_vote(
    plain: list[str], gold: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    scores = ensemble.main(["--members", *plain, "--method", "hard", "--gold", gold, "--output_dir", str(out)])
    assert scores["exact_match"] == pytest.approx(
        100 * 11 / 12
    )  # of three answers to q-2, the right one is the shortest
    assert "| vote (hard)" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"predictions.json", "nbest_predictions.json", "ensemble.json"}


def test_what_cannot_vote_is_one_sentence(plain: list[str], gold: str, dataset_path: str, tmp_path: Path) -> None:
    words = ["--output_dir", str(tmp_path / "out"), "--members", *plain]
    with pytest.raises(UserError, match=r"other0\.json has no span scores and offsets"):
        ensemble.main([*words, "--method", "logits"])
    with pytest.raises(UserError, match=r"has none of the questions that .*other0\.json answers"):
        ensemble.main([*words, "--gold", dataset_path])
    with pytest.raises(DataError, match=r"nowhere: cannot be read"):
        ensemble.main([*words, str(tmp_path / "nowhere")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--members a", "--members takes two or more: one alone has nobody to vote with"),
        ("--members a b --weights 1", "--members names 2, --weights gives 1: give one for each member"),
        ("--members a b --weights 0 0", "--weights are all 0, so nobody votes: give one member more"),
        ("--members a b --weights 1 -1", "--weights -1 must be at least 0"),
        ("--members a b --tune", "--tune chooses by gold answers: add --gold"),
        ("--members a b --tune --gold g --weights 1 2", "--tune chooses the weights: leave out --weights"),
        (
            "--members a out/predictions.json",
            "--output_dir out holds one of --members, whose answers would be replaced",
        ),
    ],
)
def test_flags_that_do_not_go_together(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ensemble.parse(["--output_dir", "out", *words.split()])
    assert f"tools.ensemble: error: {complaint}\nsee python -m tools.ensemble --help\n" in capsys.readouterr().err


def test_it_runs_as_a_module(plain: list[str], tmp_path: Path) -> None:
    words = ["-m", "tools.ensemble", "--output_dir", str(tmp_path / "out"), "--members"]
    result = run(*words, *plain)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    result = run(*words, "nowhere", plain[0])
    assert result.returncode == 2 and "error: 1 problem in the data:\n  nowhere: cannot be read" in result.stderr
    result = run(*words[:2], "--help", "vote")
    assert result.stdout.startswith("vote (python -m tools.ensemble)\n")
