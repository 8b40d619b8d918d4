"""Dense retrieval beside its peers on tiny vectors, and that few bits scored again find what all bits find."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import dense


def test_a_row_for_each_way_and_vectors_as_sentence_transformers_gives_them(encoder_path, dataset_path, capsys):
    pytest.importorskip("faiss")
    command = ["--model", encoder_path, "--corpus", f"{dataset_path}/wikipedia_documents.json", "--encoded", "5"]
    command += ["--tokens", "64"]
    dense.main([*command, "--sizes", "300", "600", "--width", "16", "--questions", "20", "--repeats", "1"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:5]] == [
        rows[2][0],
        *(f"sentence-transformers, {p}, batch 32" for p in ("fp32", "bf16")),
    ]
    assert all(float(row[3]) > 0.99 for row in rows[2:5])
    assert rows[5] == ["search, milliseconds per question", "300", "600", "exponent", "overlap"]
    assert [row[0] for row in rows[7:]] == [
        "ours, float32", "ours, float16", "float16, scored again", "int8, scored again", "faiss, flat", "numpy"
    ]  # fmt: skip
    assert all(re.fullmatch(r"\d+\.\d\d \(0\.0 MB\)", cell) for row in rows[7:] for cell in row[1:3])
    overlaps = {row[0]: row[4] for row in rows[7:]}
    assert {overlaps[name] for name in ("ours, float32", "float16, scored again", "faiss, flat", "numpy")} == {"100.0%"}


def test_what_is_scored_again_has_the_exact_scores_and_order():
    vectors, questions = dense.made_vectors(500, 32, 20)
    expected = np.argsort(-(questions @ vectors.T), axis=1)[:, :5]
    found = dense.search_again(questions, np.rint(vectors * 10).astype(np.int8), vectors, 5, 20)  # 7 values or so
    np.testing.assert_array_equal(found.ids, expected)
    np.testing.assert_allclose(found.scores, np.take_along_axis(questions @ vectors.T, expected, axis=1), rtol=1e-5)


def test_a_model_needs_passages(capsys):
    with pytest.raises(SystemExit):
        dense.parse_arguments(["--model", "m"])
    assert "--model needs --corpus" in capsys.readouterr().err
