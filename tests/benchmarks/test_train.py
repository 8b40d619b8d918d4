"""The comparison of trainings, on a tiny encoder."""

from __future__ import annotations

import json

import pytest

from benchmarks import train


@pytest.mark.parametrize("row", [*train.TRAINERS, *train.OURS])
def test_every_row_trains_the_same_windows(
    row: str, encoder_path: str, dataset_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", encoder_path, "--data", dataset_path, "--max_seq_len", "128", "--stride_len", "16"]
    train.main([*words, "--steps", "4", "--warmup", "2", "--batch_size", "4", "--row", row])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["speed"] > 0 and found["memory"] > 0
    assert found["loss"] == pytest.approx(4.5, abs=1)  # that of guessing among some ninety tokens
