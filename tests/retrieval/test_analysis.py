"""The analysis of a corpus is made once, and one that is not whole or not this one's is never read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from arguments import RetrieverArguments
from loading.corpus import Corpus
from retrieval import create_retriever
from retrieval.analysis import analyze_corpus
from retrieval.analyzers import create_analyzer


class CountingAnalyzer:
    """Words, and how many passages were analysed."""

    def __init__(self, name="kiwi", **description):
        self.description = {"name": name, **description}
        self.passages = 0

    def analyze(self, texts):
        self.passages += len(texts)
        return [text.split() for text in texts]


def test_a_corpus_is_analysed_once(corpus, tmp_path, log_lines):
    analyzer = CountingAnalyzer()
    expected = [text.split() for text in corpus.search_texts()]
    assert list(analyze_corpus(analyzer, corpus, tmp_path)) == expected
    assert list(analyze_corpus(analyzer, corpus, tmp_path)) == expected
    assert analyzer.passages == 12
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("analysis-")
    assert log_lines == [
        f"INFO analysis {folder}: made of 12 passages and saved",
        f"INFO analysis {folder}: loaded",
    ]


def test_what_is_kept(corpus, tmp_path):
    texts = ["왕 물 왕", " ", "", "물 강"]
    corpus = Corpus(list("abcd"), [""] * 4, texts)
    analyze_corpus(CountingAnalyzer(version="1"), corpus, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "vocabulary.json").read_text(encoding="utf-8")) == ["왕", "물", "강"]
    ids, offsets = np.load(folder / "ids.npy"), np.load(folder / "offsets.npy")
    assert (ids.tolist(), ids.dtype) == ([0, 1, 0, 1, 2], np.int32)
    assert (offsets.tolist(), offsets.dtype) == ([0, 3, 3, 3, 5], np.int64)
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8")) == {
        "format_version": 1,
        "analyzer": {"name": "kiwi", "version": "1"},
        "corpus_hash": corpus.hash,
    }
    assert list(analyze_corpus(CountingAnalyzer(version="1"), corpus, tmp_path)) == [
        ["왕", "물", "왕"],
        [],
        [],
        ["물", "강"],
    ]


@pytest.mark.parametrize("other", ["version", "tags", "corpus", "format", "fold"])
def test_another_analyzer_or_corpus_is_another_analysis(other, corpus, tmp_path, monkeypatch):
    analyze_corpus(CountingAnalyzer(version="1", tags=["NNG"]), corpus, tmp_path)
    description = {"version": "1", "tags": ["NNG"]}
    if other == "corpus":
        corpus = Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "바뀐 글"])
    elif other == "format":
        monkeypatch.setattr("retrieval.analysis.FORMAT_VERSION", 2)
    elif other == "fold":
        monkeypatch.setattr("retrieval.analysis.FOLD_VERSION", 0)
    else:
        description[other] = ["NNP"]
    analyzer = CountingAnalyzer(**description)
    assert list(analyze_corpus(analyzer, corpus, tmp_path)) == [text.split() for text in corpus.search_texts()]
    assert analyzer.passages == 12
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["manifest.json", "vocabulary.json", "ids.npy", "offsets.npy", "checksums.json"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "missing", "swapped", "flipped"])
def test_a_damaged_analysis_is_made_anew(name, damage, corpus, tmp_path, log_lines):
    expected = list(analyze_corpus(CountingAnalyzer(), corpus, tmp_path))
    (folder,) = tmp_path.iterdir()
    content = (folder / name).read_bytes()
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(
            {
                "empty": b"",
                "truncated": content[:-5],
                "swapped": b"[]" * 40,
                "flipped": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
            }[damage]
        )
    log_lines.clear()
    analyzer = CountingAnalyzer()
    assert list(analyze_corpus(analyzer, corpus, tmp_path)) == expected
    assert analyzer.passages == 12
    assert log_lines[0].startswith(f"WARNING analysis {folder} is damaged and is rebuilt: ") and len(log_lines) == 2
    assert (folder / name).read_bytes() == content


def test_a_failure_leaves_nothing(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("numpy.save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        analyze_corpus(CountingAnalyzer(), corpus, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "folder"), [("whitespace", True), ("bigram", True), ("kiwi", False)])
def test_what_is_faster_to_run_is_not_kept(name, folder, corpus, tmp_path):
    analyzer = CountingAnalyzer(name)
    for _ in range(2):
        analyze_corpus(analyzer, corpus, tmp_path if folder else None)
    assert analyzer.passages == 24
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["bm25s", "rank_bm25"])
def test_retrievers_share_an_analysis_and_score_as_without(backend, corpus, tmp_path, log_lines, monkeypatch):
    arguments = RetrieverArguments(analyzer="mecab", bm25_backend=backend, index_dir=str(tmp_path))
    tfidf = RetrieverArguments("SparseRetrieval_TFIDF", analyzer="mecab", index_dir=str(tmp_path))
    create_retriever(tfidf).build(corpus)
    (folder,) = tmp_path.iterdir()
    built = create_retriever(arguments)
    built.build(corpus)
    assert log_lines[-1] == f"INFO analysis {folder}: loaded"
    fresh = type(built)(create_analyzer("mecab"), backend=backend)
    fresh.build(corpus)
    for ours, theirs in zip(built.search(corpus.titles, 12), fresh.search(corpus.titles, 12), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert fresh.search(corpus.titles[:1], 1).scores.min() > 1
