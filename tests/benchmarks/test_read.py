"""The comparison of reading many questions together and one by one, on a tiny reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import read


def test_both_ways_answer_alike_at_every_depth(
    trained_reader: str, dataset_path: str, tmp_path: Path, fp32: None, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--reader", trained_reader, "--dataset", dataset_path]
    command += ["--corpus", f"{dataset_path}/wikipedia_documents.json", "--index_dir", str(tmp_path)]
    read.main([*command, "--ks", "3", "1", "--passages", "6", "--batch_size", "4"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = [line.strip("| ").split(" | ") for line in lines[2:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [("1", "6", "6"), ("3", "2", "2")]
    assert all(float(cell) > 0 for row in rows for cell in row[2:6])
