"""Reranking against brute force: every pair scored, the k best sorted anew."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from comparing import assert_close

from arguments import RetrieverArguments
from models.cross_encoder import Pair, load_cross_encoder
from retrieval import create_retriever, load_or_build
from retrieval.rerank import RerankedRetrieval
from runtime.errors import NotFiniteError, UserError

ARGUMENTS = RetrieverArguments(analyzer="bigram")
QUESTIONS = ["서울을 지나는 강", "왕은 누구인가", "화산이 터져 생긴 섬", "없는말뿐", ""]


class Characters:
    """An honest reranker: the characters of the question that title and text hold, the title's counting double."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, pairs, progress) -> np.ndarray:
        self.calls.append(len(pairs))
        progress(len(pairs))
        scores = [len(set(p.question) & set(p.text)) + 2 * len(set(p.question) & set(p.title)) for p in pairs]
        return np.array(scores, dtype=np.float32)


class Constant:
    def score(self, pairs, progress) -> np.ndarray:
        return np.full(len(pairs), 3.5, dtype=np.float32)


def reranked(reranker, depth, corpus, retriever=None):
    retriever = RerankedRetrieval(retriever or create_retriever(ARGUMENTS), "stub", depth)
    retriever.reranker = reranker
    retriever.build(corpus)
    return retriever


@pytest.mark.usefixtures("fp32")
def test_the_order_is_that_of_all_pairs_scored(corpus, reranker_path):
    retriever = create_retriever(dataclasses.replace(ARGUMENTS, reranker=reranker_path, rerank_depth=len(corpus)))
    retriever.build(corpus)
    cross_encoder = load_cross_encoder(reranker_path)
    results = retriever.search(QUESTIONS, len(corpus))
    for question, ids, scores in zip(QUESTIONS, *results, strict=True):
        pairs = [Pair(question, *passage) for passage in zip(corpus.titles, corpus.texts, strict=True)]
        expected = cross_encoder.score(pairs)
        assert_close(scores, np.sort(expected)[::-1])
        assert_close(expected[ids], scores)
    assert len({tuple(ids) for ids in results.ids.tolist()}) > 1  # questions are told apart


@pytest.mark.parametrize("k", [3, 8, 100])
def test_what_is_beyond_the_depth_follows_in_its_order(k, corpus):
    retriever, reranker = reranked(Characters(), 5, corpus), Characters()
    inner = retriever.retriever.search(QUESTIONS, len(corpus)).ids
    results = retriever.search(QUESTIONS, k)
    assert results.ids.shape == results.scores.shape == (len(QUESTIONS), min(k, len(corpus)))
    assert (results.ids.dtype, results.scores.dtype) == (np.int64, np.float32)
    for question, before, ids, scores in zip(QUESTIONS, inner, *results, strict=True):
        pairs = [Pair(question, corpus.titles[row], corpus.texts[row]) for row in before[:5]]
        own = reranker.score(pairs, abs)
        order = sorted(range(5), key=lambda rank: (-own[rank], rank))  # ties by the rank they had
        assert ids.tolist() == [*(before[rank] for rank in order), *before[5:]][:k]
        assert scores[:5].tolist() == [own[rank] for rank in order][:k]
        assert (np.diff(scores[4:]) < 0).all()
        assert (scores[5:] >= own.min() - 1).all()


def test_equal_scores_change_nothing(corpus):
    retriever = reranked(Constant(), 6, corpus)
    np.testing.assert_array_equal(retriever.search(QUESTIONS, 12).ids, retriever.retriever.search(QUESTIONS, 12).ids)


def test_what_holds_for_every_retriever(corpus, tmp_path):
    retriever = reranked(Characters(), 4, corpus)
    titles = corpus.titles[:-1]  # the last passage has none
    assert retriever.search(titles, 1).ids.tolist() == [[row] for row in range(len(titles))]
    assert retriever.search(titles, 3).ids.shape == (len(titles), 3)
    assert retriever.search(titles[4:6], 1).ids.tolist() == [[4], [5]]
    assert retriever.search([], 3).ids.shape == (0, 3)
    retriever.save(tmp_path / "index")
    loaded = RerankedRetrieval(create_retriever(ARGUMENTS), "stub", 4)
    loaded.reranker = Characters()
    loaded.load(tmp_path / "index", corpus)
    for before, after in zip(retriever.search(titles, 6), loaded.search(titles, 6), strict=True):
        np.testing.assert_array_equal(before, after)
    (tmp_path / "index").rename(tmp_path / "alone")
    create_retriever(ARGUMENTS).load(tmp_path / "alone", corpus)  # what is saved is the retriever's own


def test_it_shares_the_index_and_is_loaded_for_the_first_question(corpus, tmp_path, monkeypatch):
    loads = []

    def load(name, backend):
        loads.append(name)
        return Characters()

    monkeypatch.setattr("models.cross_encoder.load_cross_encoder", load)
    load_or_build(create_retriever(ARGUMENTS), corpus, tmp_path)
    retriever = load_or_build(RerankedRetrieval(create_retriever(ARGUMENTS), "stub", 4), corpus, tmp_path)
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == [retriever.name] == ["SparseRetrieval_BM25P"]
    assert loads == []
    assert retriever.search(["한강"], 1).ids.tolist() == retriever.search(["한강"], 1).ids.tolist() == [[2]]
    assert loads == ["stub"]


def test_questions_come_in_blocks_of_bounded_size(corpus, monkeypatch):
    reranker = Characters()
    retriever = reranked(reranker, 4, corpus)
    whole = retriever.search(QUESTIONS, 6)
    monkeypatch.setattr("retrieval.rerank._PAIRS_AT_ONCE", 9)
    in_blocks = retriever.search(QUESTIONS, 6)
    for one, other in zip(whole, in_blocks, strict=True):
        np.testing.assert_array_equal(one, other)
    assert reranker.calls == [20, 8, 8, 4]
    monkeypatch.setattr("retrieval.rerank._PAIRS_AT_ONCE", 1)  # a question is not divided
    assert retriever.search(QUESTIONS, 6).ids.tolist() == whole.ids.tolist()


def test_a_score_that_is_no_number_is_not_ranked(corpus):
    class Broken:
        def score(self, pairs, progress):
            return np.full(len(pairs), np.nan, dtype=np.float32)

    with pytest.raises(NotFiniteError, match="gives question 0 scores that are not finite numbers"):
        reranked(Broken(), 4, corpus).search(QUESTIONS, 2)


def test_the_flags_name_it_and_a_wrong_one_fails_before_anything_is_built(encoder_path, reranker_path, tmp_path):
    retriever = create_retriever(dataclasses.replace(ARGUMENTS, reranker=reranker_path, rerank_depth=7))
    assert retriever.name == "SparseRetrieval_BM25P"
    parameters = retriever.parameters()
    assert parameters == create_retriever(ARGUMENTS).parameters() | {
        "reranker": parameters["reranker"], "rerank_depth": 7
    }  # fmt: skip
    copy = shutil.copytree(reranker_path, tmp_path / "copy")
    same = create_retriever(dataclasses.replace(ARGUMENTS, reranker=str(copy), rerank_depth=7))
    assert same.parameters() == parameters  # known by its content
    (copy / "reranker.json").write_text('{"max_len": 32}')
    assert same.parameters() != parameters
    with pytest.raises(UserError, match=r"--reranker .*encoder.* holds no trained reranker: train one with train_rer"):
        create_retriever(dataclasses.replace(ARGUMENTS, reranker=encoder_path))


def test_why_a_passage_is_where_it_is_says_where_it_was(corpus):
    retriever, question = reranked(Characters(), 3, corpus), QUESTIONS[0]
    before, after = retriever.retriever.search([question], 6), retriever.search([question], 6)
    rows = [*after.ids[0].tolist(), 11]
    explanation, own = (one.explain(question, rows, 6) for one in (retriever, retriever.retriever))
    assert 11 not in before.ids and explanation.cuts == own.cuts
    for row, score, of_passage, of_retriever in zip(
        rows, [*after.scores[0], 0.0], explanation.parts, own.parts, strict=True
    ):
        (part,) = of_passage
        assert (part.score, part.parts) == (score, of_retriever)
        if row == 11:
            assert (part.name, part.detail) == ("reranker", "not among the 6 best")
        else:
            rank = before.ids[0].tolist().index(row) + 1
            assert part.name == ("reranker" if rank <= 3 else "below those re-ordered")
            assert part.detail == f"before: rank {rank}, score {before.scores[0, rank - 1]:.4g}"


def test_what_computes_the_reranker_is_part_of_what_it_is(reranker_path):
    int8, fp32 = (
        RerankedRetrieval(create_retriever(ARGUMENTS), reranker_path, 3, backend=backend).parameters()
        for backend in ("openvino", "torch")
    )
    assert int8 == fp32 | {"reranker_backend": "openvino"}


def test_why_a_passage_was_found_goes_as_deep_as_what_is_re_ordered(corpus):
    parts = ["SparseRetrieval_BM25P,analyzer=bigram", "SparseRetrieval_TFIDF,tfidf_features=char"]
    hybrid = create_retriever(
        RetrieverArguments(retriever_type="HybridRetrieval", hybrid_retrievers=parts, fusion_depth=2)
    )
    retriever, question = reranked(Characters(), 6, corpus, hybrid), QUESTIONS[0]
    before = hybrid.search([question], 6)
    (parts,) = zip(*retriever.explain(question, before.ids[0].tolist(), 2).parts, strict=True)
    for part, score in zip(parts, before.scores[0].tolist(), strict=True):
        assert sum(own.score for own in part.parts) == pytest.approx(score)
