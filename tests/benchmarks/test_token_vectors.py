"""A row for each form and pooling of an index of token vectors, whose passages are small and found."""

from __future__ import annotations

import torch

from arguments import RetrieverArguments
from benchmarks import token_vectors
from models.token_encoder import load_token_encoder_to_train, save_token_encoder


def test_a_row_for_each_form_and_pooling(encoder_path, dataset_path, tmp_path, capsys):
    torch.manual_seed(0)
    flags = RetrieverArguments(question_max_len=32, passage_max_len=64)
    save_token_encoder(load_token_encoder_to_train(encoder_path, flags, 16, None), tmp_path)
    words = ["--encoder", str(tmp_path), "--data", dataset_path, "--corpus", f"{dataset_path}/wikipedia_documents.json"]
    token_vectors.main([*words, "--passages", "4", "--questions", "3", "--poolings", "1", "2"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[:2] for row in rows[2:]] == [
        [form, pooling] for pooling in "12" for form in ("float16", "int8", "binary")
    ]
    kept = [int(row[2].replace(",", "")) for row in rows[2:]]
    half, quarter = kept[0], kept[1]
    assert abs(half - 2 * quarter) <= 1 and abs(kept[2] - half * 17 / 16) <= 1 and kept[3] < 0.6 * half
    assert int(rows[4][3]) * 16 <= half + 16  # bits alone are read through
    assert all(row[7] == "100.0%" for row in rows[2:])  # of so few passages, all are among the first hundred
