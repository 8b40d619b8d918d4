"""BM25+ beside its peers on tiny corpora: a row for every size, a column for every engine, the same scores."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import bm25
from benchmarks.timing import exponent


def test_a_row_for_each_size_and_a_column_for_each_engine(dataset_path, capsys, monkeypatch):
    monkeypatch.setattr(bm25, "find_spec", lambda name: None)  # compiling takes longer than all the rest
    corpus = f"{dataset_path}/wikipedia_documents.json"
    command = ["--corpus", corpus, "--questions", dataset_path, "--sizes", "40", "20", "--rank_bm25_up_to", "20"]
    bm25.main([*command, "--k", "3", "--analyzers", "bigram", "whitespace", "--repeats", "1"])
    tables = [table.splitlines() for table in capsys.readouterr().out.split("\n\n") if table.startswith("|")]
    rows = [[[cell.strip() for cell in line.strip("|").split("|")] for line in table] for table in tables]
    assert [row[0] for row in rows[0][2:]] == ["bigram", "whitespace"]
    assert all(re.fullmatch(r"[\d,]+", row[1]) for row in rows[0][2:])
    assert [table[0][0] for table in rows[1:]] == ["build, seconds", "search, milliseconds per question"]
    for table in rows[1:]:
        assert table[0][1:] == ["ours", "bm25s, numpy", "rank_bm25"]
        assert [row[0] for row in table[2:]] == ["20", "40", "exponent of the size"]
        assert table[3][3] == "–" and table[4][3] == "nan"  # rank_bm25 is left out of the larger one
        assert all(re.fullmatch(r"-?\d+\.\d\d", cell) for row in table[2:] for cell in row[1:3])


def test_scores_that_differ_stop_the_comparison(monkeypatch):
    passages, arguments = [["왕"], ["강", "왕"], ["달"]], bm25.parse_arguments(["--corpus", "", "--questions", ""])
    arguments.k, arguments.repeats = 2, 1
    monkeypatch.setattr(bm25, "find_spec", lambda name: None)
    monkeypatch.setattr(bm25.BM25Plus, "get_scores", lambda self, terms: np.array([9.0, 8.0, 7.0]))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bm25.compare(passages, [["강"]], arguments)


def test_passages_are_sentences_of_the_corpus_and_the_same_every_time():
    sentences = [["가", "나"], ["다"], ["라", "마", "바"]]
    passages = bm25.recombined(sentences, np.array([1, 2]), 30)
    singles = {tuple(terms) for terms in sentences}
    pairs = {one + two for one in singles for two in singles}
    assert len(passages) == 30 and {tuple(terms) for terms in passages} <= singles | pairs
    assert bm25.recombined(sentences, np.array([1, 2]), 30) == passages


def test_the_exponent_is_that_of_the_power():
    assert exponent([10, 100, 1000], [3 * size**1.5 for size in (10, 100, 1000)]) == pytest.approx(1.5)
    assert np.isnan(exponent([10], [1.0]))
