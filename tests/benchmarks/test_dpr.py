"""The comparison of dense trainings, on a tiny encoder."""

from __future__ import annotations

import json

import pytest

from benchmarks import dpr


@pytest.mark.parametrize("row", [dpr.OURS, *dpr.PEERS])
def test_every_row_trains_and_finds(
    row: str, encoder_path: str, dataset_path: str, fp32: None, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--model",
        encoder_path,
        "--data",
        dataset_path,
        "--dev",
        dataset_path,
        "--corpus",
        f"{dataset_path}/wikipedia_documents.json",
    ]
    words += ["--tokens", "64", "--batch_size", "4", "--chunk_size", "2", "--learning_rate", "1e-2"]
    dpr.main([*words, "--steps", "12", "--warmup", "2", "--row", row])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["speed"] > 0 and found["memory"] > 0
    assert found["recall"] > 80  # of six passages five by chance are 83
