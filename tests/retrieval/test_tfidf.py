"""TF-IDF against scikit-learn used directly."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from loading.corpus import Corpus
from retrieval.analyzers import BigramAnalyzer, WhitespaceAnalyzer, create_analyzer
from retrieval.tfidf import SparseRetrieval_TFIDF
from runtime.errors import UserError

QUESTIONS = [
    "왕은 누구인가",
    "서울을 지나는 강",
    "달 달 무슨 달",
    "유전 정보를 담은 DNA",
    "화산이 터져 생긴 섬",
    "없는말뿐",
    "",
]


def cosines(texts, questions, **options):
    vectorizer = TfidfVectorizer(sublinear_tf=True, lowercase=True, **options)
    passages = vectorizer.fit_transform(texts).toarray()
    return vectorizer.transform(questions).toarray() @ passages.T


def expected_scores(features, texts, questions):
    word = cosines(texts, questions, ngram_range=(1, 2), token_pattern=r"\S+")
    char = cosines(texts, questions, ngram_range=(2, 3), analyzer="char_wb")
    return {"word": word, "char": char, "word_char": (word + char) / 2}[features]


@pytest.mark.parametrize("features", ["word", "char", "word_char"])
def test_scores_and_ranking_are_those_of_scikit_learn(features, corpus, monkeypatch):
    monkeypatch.setattr("retrieval.base._BLOCK_SCORES", 3 * len(corpus))  # blocks of three questions
    retriever = SparseRetrieval_TFIDF(WhitespaceAnalyzer(), features)
    retriever.build(corpus)
    results = retriever.search(QUESTIONS, len(corpus))
    expected = expected_scores(features, corpus.search_texts(), QUESTIONS)
    by_row = np.empty_like(results.scores)
    np.put_along_axis(by_row, results.ids, results.scores, axis=1)
    np.testing.assert_allclose(by_row, expected, atol=1e-6)
    assert (np.diff(results.scores, axis=1) <= 0).all()
    assert results.scores[:5, 0].min() > 0.1
    assert results.ids[-1].tolist() == list(range(len(corpus)))  # an empty question: the order of the corpus


def test_random_words_are_ranked_as_by_scikit_learn(random_corpus, questions):
    retriever = SparseRetrieval_TFIDF(WhitespaceAnalyzer(), "word")
    retriever.build(random_corpus)
    expected = np.sort(expected_scores("word", random_corpus.texts, questions), axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(retriever.search(questions, 10).scores, expected, atol=1e-6)


def test_words_come_from_the_analyzer(corpus):
    retriever = SparseRetrieval_TFIDF(BigramAnalyzer(), "word")
    retriever.build(corpus)
    assert retriever.search(["서울"], 1).ids.tolist() == [[2]]  # only as 서울을 in the passage
    assert retriever.search(["서"], 1).scores.tolist() == [[0.0]]


def test_characters_find_one_syllable_words(corpus):
    retriever = SparseRetrieval_TFIDF(WhitespaceAnalyzer(), "char")
    retriever.build(corpus)
    assert retriever.search(["달"], 1).ids.tolist() == [[6]]


def test_a_corpus_without_any_term_is_refused_with_the_way_out(corpus):
    retriever = SparseRetrieval_TFIDF(create_analyzer("mecab", tags=["IC"]))
    with pytest.raises(UserError) as refusal:
        retriever.build(Corpus(["1", "2"], ["", ""], ["왕", "물"]))
    assert str(refusal.value) == (
        "no passage holds a term of --analyzer mecab: choose another analyzer or other --analyzer_tags, "
        "or --tfidf_features char"
    )
