"""The comparison of ways to read many passages, on a tiny reader."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import inference
from benchmarks import passages


def test_a_row_for_each_k_and_a_column_for_each_way_that_inference_answers_alike(
    trained_reader: str,
    dataset_path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = f"{dataset_path}/wikipedia_documents.json"
    command = ["--reader", trained_reader, "--shared_reader", trained_reader, "--dataset", dataset_path]
    command += ["--corpus", corpus, "--ks", "3", "1", "--analyzer", "bigram", "--output_dir", str(tmp_path)]
    passages.main(command)
    printed = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("|")]
    assert rows[0] == rows[4] == ["k", "joined", "separate", "+ retrieval weight", "+ shared normalization"]
    assert [row[0] for row in (*rows[2:4], *rows[6:])] == ["1", "3"] * 2
    cell = r"-?[\d.]+ \(-?[\d.]+ to -?[\d.]+\)"
    assert all(re.fullmatch(cell, value) for row in (*rows[2:4], *rows[6:]) for value in row[1:])
    assert rows[6][1] == "0.0 (0.0 to 0.0)"

    flags = f"--model {trained_reader} --dataset_path {dataset_path} --do_eval --analyzer bigram --top_k_retrieval 3"
    flags += f" --index_dir {tmp_path}/index --output_dir {tmp_path}/out"
    for file, index, way in (
        ("joined", 0, "--passage_reading joined --retrieval_weight 0"),
        ("separate", 0, "--retrieval_weight 0"),
        ("separate", 1, "--retrieval_weight 2"),
    ):
        inference.main([*flags.split(), *way.split()])
        expected = json.loads((tmp_path / "out" / "predictions.json").read_text())
        (kept,) = tmp_path.glob(f"{file}-*.json")
        assert json.loads(kept.read_text())[index]["3"] == expected
    capsys.readouterr()

    monkeypatch.setattr(passages.Reader, "from_arguments", lambda *_: pytest.fail("read again"))
    passages.main(command)
    assert capsys.readouterr().out == printed
