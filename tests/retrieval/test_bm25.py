"""BM25+ against rank_bm25, the independent implementation, for both engines."""

from __future__ import annotations

import numpy as np
import pytest
from rank_bm25 import BM25Plus

from loading.corpus import Corpus
from retrieval.analyzers import BigramAnalyzer, WhitespaceAnalyzer
from retrieval.bm25 import ENGINES, SparseRetrieval_BM25P

pytestmark = pytest.mark.parametrize("backend", list(ENGINES))


def build(corpus, backend, analyzer=None, **parameters):
    retriever = SparseRetrieval_BM25P(analyzer or WhitespaceAnalyzer(), backend=backend, **parameters)
    retriever.build(corpus)
    return retriever


def check_against_rank_bm25(corpus, questions, k, backend, k1=1.5, b=0.75, delta=1.0, analyzer=None):
    analyzer = analyzer or WhitespaceAnalyzer()
    oracle = BM25Plus(analyzer.analyze(corpus.search_texts()), k1=k1, b=b, delta=delta)
    scores = np.array([oracle.get_scores(terms) for terms in analyzer.analyze(questions)]).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    results = build(corpus, backend, analyzer, k1=k1, b=b, delta=delta).search(questions, k)
    np.testing.assert_array_equal(results.ids, expected)
    np.testing.assert_array_max_ulp(results.scores, np.take_along_axis(scores, expected, axis=1), maxulp=1)


@pytest.mark.parametrize(("k1", "b", "delta"), [(1.5, 0.75, 1.0), (0.9, 0.4, 0.5), (2.0, 0.0, 0.0), (1.2, 1.0, 1.0)])
def test_scores_and_ranking_are_those_of_rank_bm25(random_corpus, questions, backend, k1, b, delta):
    check_against_rank_bm25(random_corpus, questions, 50, backend, k1, b, delta)


@pytest.mark.parametrize("block", [1, 7, 25, 50])
def test_blocks_of_passages_change_nothing(random_corpus, questions, backend, block, monkeypatch):
    monkeypatch.setattr("retrieval.bm25._CACHED_SUMS", block)
    check_against_rank_bm25(random_corpus, questions, 50, backend)


def test_korean_sentences(corpus, backend):
    questions = ["왕은 누구인가", "서울을 지나는 강", "달 달 무슨 달", "유전 정보를 담은 DNA", "없는말뿐"]
    check_against_rank_bm25(corpus, questions, 5, backend, analyzer=BigramAnalyzer())


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, 10])
def test_tiny_corpora(random_corpus, questions, backend, size, k):
    corpus = Corpus(random_corpus.document_ids[:size], random_corpus.titles[:size], random_corpus.texts[:size])
    check_against_rank_bm25(corpus, questions, k, backend)


def test_a_score_by_hand(backend):
    corpus = Corpus(["0", "1", "2"], [""] * 3, ["왕 왕 조선 강", "강", "달"])
    results = build(corpus, backend, k1=2.0, b=0.5, delta=0.5).search(["왕 왕"], 3)
    idf = np.log(4 / 1)  # one of three passages
    frequency = 3.0 * 2 / (2.0 * (0.5 + 0.5 * 4 / 2.0) + 2)  # tf 2, length 4, mean length 2
    assert results.ids.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(results.scores, [[2 * idf * (0.5 + frequency), 2 * idf * 0.5, 2 * idf * 0.5]], rtol=1e-6)


def test_why_a_passage_was_found_by_hand(backend):
    corpus = Corpus(["0", "1", "2"], [""] * 3, ["왕 왕 조선 강", "강", "달"])
    retriever = build(corpus, backend, k1=2.0, b=0.5, delta=0.5)
    explanation = retriever.explain("왕 달 왕 용", [0, 2], 3)
    idf = np.log(4 / 1)
    frequency = 3.0 * 2 / (2.0 * (0.5 + 0.5 * 4 / 2.0) + 2)
    assert explanation.cuts == {"whitespace": ["왕", "달", "왕", "용"]}
    expected = [
        ("왕", 2 * idf * (0.5 + frequency), "2×"),  # it is asked for twice
        ("달", idf * 0.5, "not in it"),
        ("용", 0.0, "in no passage"),
    ]
    assert [(part.name, pytest.approx(part.score), part.detail) for part in explanation.parts[0]] == expected
    assert [(part.name, part.detail) for part in explanation.parts[1]] == [
        ("달", "1×"), ("왕", "not in it"), ("용", "in no passage"),
    ]  # fmt: skip


def test_a_question_without_a_known_term_scores_zero_everywhere(corpus, backend):
    results = build(corpus, backend).search(["", "우주정거장"], 3)
    assert results.ids.tolist() == [[0, 1, 2]] * 2
    assert results.scores.tolist() == [[0.0] * 3] * 2


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # in bm25s, when no passage has a term
@pytest.mark.parametrize("b", [0.75, 1.0])
@pytest.mark.parametrize("texts", [["!!", "??"], ["!!", "왕 강"]])
def test_passages_without_terms_have_finite_scores(backend, b, texts):
    results = build(Corpus(["0", "1"], ["", ""], texts), backend, BigramAnalyzer(), b=b).search(["왕", "산"], 2)
    assert np.isfinite(results.scores).all()
    assert results.ids[0, 0] == texts.index("왕 강") if "왕 강" in texts else not results.scores.any()
