"""The comparison of heads, end to end on tiny readers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import heads


def test_prints_one_row_per_head_and_repeats_nothing(
    encoder_path: str,
    dataset_path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [
        "--model",
        encoder_path,
        "--train",
        f"{dataset_path}/train.json",
        "--dev",
        f"{dataset_path}/validation.json",
    ]
    command += ["--heads", "linear", "cnn", "--questions", "4", "--epochs", "1", "--max_seq_len", "128"]
    command += ["--stride_len", "16", "--output_dir", str(tmp_path)]
    heads.main(command)
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["`linear`", "`cnn`"]
    number, interval = r"[\d.]+", r"[\d.]+ to [\d.]+"
    row = rf"\| \S+ \| {number} \| {interval} \| {number}, {number} \| {number} \| {interval} \| \d+ \|"
    assert all(re.fullmatch(row, line) for line in table[2:])
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "linear-1", "linear-2", "cnn-1", "cnn-2"}

    monkeypatch.setattr(heads.train_mrc, "main", lambda argv: pytest.fail("trained again"))
    heads.main(command)
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")] == table
