"""The times of features and decoding: a table, and answers that are checked."""

from __future__ import annotations

import re

import pytest

from benchmarks import features
from runtime.errors import UserError


def test_prints_a_table_and_compares_answers(encoder_path: str, dataset_path: str, capsys, monkeypatch) -> None:
    command = ["--model", encoder_path, "--data", dataset_path, "--max_seq_len", "64", "--stride_len", "12"]
    features.main([*command, "--repeats", "1"])
    machine, _, *rows, _, compared = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    work = [r"features of \d+ questions", r"features of \d+ questions, each about another context", r"answers to .*"]
    for row, name in zip(rows[2:], work, strict=True):
        assert re.fullmatch(rf"\| {name} \| [a-z ]+ \| [\d.]+ \| [\d.]+ \| [\d.]+× (its time|faster) \|", row)
    assert re.fullmatch(r"The spans of \d+ questions are the best of all pairs\.", compared)

    monkeypatch.setattr(features, "_MAX_ANS_LEN", 2)  # of what is compared
    settings = features.DatasetArguments
    monkeypatch.setattr(features, "DatasetArguments", lambda **flags: settings(**flags | {"max_ans_len": 30}))
    with pytest.raises(UserError, match="are not the best of all pairs"):
        features.main([*command, "--repeats", "1"])
