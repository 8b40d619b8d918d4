"""The comparison of int8 with torch, on tiny models."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from benchmarks import int8


def test_three_rows_for_each_model_with_what_int8_costs(
    trained_reader: str,
    encoder_path: str,
    reranker_path: str,
    dataset_path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr("models.quantized._MEASURED", 4)
    command = ["--data", dataset_path, "--corpus", f"{dataset_path}/wikipedia_documents.json", "--k", "2"]
    for name, source in (("reader", trained_reader), ("encoder", encoder_path), ("reranker", reranker_path)):
        command += [f"--{name}", shutil.copytree(source, str(tmp_path / name))]
    (tmp_path / "encoder" / "encoder.json").write_text('{"passage_max_len": 64}', encoding="utf-8")
    int8.main(command)
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert lines[0] == ["what, quality", "engine", "MB", "speed", "times fp32", "quality", "difference (95 %)"]
    whats = ["reader, exact match", "encoder, recall@2", "reranker, recall@1"]
    engines = ["torch, fp32", "torch, bf16", "openvino, int8"]
    assert [row[:2] for row in lines[2:]] == [[what, engine] for what in whats for engine in engines]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in lines[2:])
    assert [row[6] for row in lines[2::3]] == ["–"] * 3
    interval = r"[+-]\d+\.\d \([+-]\d+\.\d to [+-]\d+\.\d\)"
    assert all(re.fullmatch(interval, row[6]) for row in lines[2:] if row[1] != "torch, fp32")
    assert [float(row[5]) for row in lines[2:5]] == [100.0] * 3  # it knows the answers, in int8 too


def test_what_is_searched_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        int8.parse_arguments(["--data", "d", "--encoder", "e"])
    assert "need --corpus" in capsys.readouterr().err
