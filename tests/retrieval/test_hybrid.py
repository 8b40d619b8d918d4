"""Fusion against dictionaries of sums, worked out one passage at a time."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from arguments import RetrieverArguments
from retrieval import create_retriever
from retrieval.base import SearchResults, top_k
from retrieval.hybrid import HybridRetrieval, weighted_points
from runtime.errors import UserError


class Scripted:
    """A retriever whose scores (n, N) were written beforehand; a question is the number of its row."""

    name = "Scripted"
    libraries = ()

    def __init__(self, scores):
        self.scores = np.asarray(scores, dtype=np.float32)
        self.depths = []

    def parameters(self):
        return {"scores": self.scores.tolist()}

    def search(self, questions, k):
        self.depths.append(k)
        rows = np.array([int(question) for question in questions], dtype=np.int64)
        return top_k(self.scores[rows], k)


def fused_by_hand(retrievers, question, depth, fusion, weights, k):
    """The k best (row, score) of one question."""
    sums = {}
    for retriever, weight in zip(retrievers, weights, strict=True):
        ranked = sorted(enumerate(retriever.scores[question].tolist()), key=lambda pair: (-pair[1], pair[0]))[:depth]
        high, low = ranked[0][1], ranked[-1][1]
        for rank, (row, score) in enumerate(ranked, start=1):
            scaled = (score - low) / (high - low) if high > low else 0.0
            points = 1 / (60 + rank) if fusion == "rrf" else scaled
            sums[row] = sums.get(row, 0.0) + weight * points
    return sorted(sums.items(), key=lambda pair: (-np.float32(pair[1]), pair[0]))[:k]


@pytest.mark.parametrize("fusion", ["rrf", "weighted"])
@pytest.mark.parametrize("weights", [None, [0.3, 0.0, 2.0]])
@pytest.mark.parametrize(("depth", "k"), [(8, 5), (8, 8), (3, 20), (100, 7), (2, 1)])
def test_fusion_against_dictionaries(fusion, weights, depth, k):
    rng = random.Random(f"{fusion} {weights} {depth} {k}")
    # few different scores, so that there are ties; a question for which the first part says nothing
    parts = [Scripted([[rng.choice([-1, 0, 0.5, 3]) for _ in range(30)] for _ in range(20)]) for _ in range(3)]
    parts[0].scores[4] = 7
    hybrid = HybridRetrieval(parts, fusion, weights, depth)
    found = hybrid.search([str(question) for question in range(20)], k)
    assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)
    for question in range(20):
        expected = fused_by_hand(parts, question, max(depth, k), fusion, weights or [1, 1, 1], k)
        assert found.ids[question].tolist() == [row for row, _ in expected]
        np.testing.assert_allclose(found.scores[question], [score for _, score in expected], rtol=1e-6)


def test_why_a_passage_was_found_names_rank_score_and_weight_of_each_retriever():
    parts = [Scripted([[9.0, 5.0, 1.0, 0.0]]), Scripted([[0.0, 0.5, 0.0, 0.75]])]
    hybrid = HybridRetrieval(parts, "weighted", [0.5, 2.0], depth=2)
    explanation = hybrid.explain("0", [3, 0, 2], 2)
    assert explanation.cuts == {}  # neither says what it cuts
    assert [[tuple(part) for part in of_passage] for of_passage in explanation.parts] == [
        [("Scripted", 2.0, "rank 1, score 0.75, weight 2", ()), ("Scripted", 0.0, "not among its 2 best", ())],
        [("Scripted", 0.5, "rank 1, score 9, weight 0.5", ()), ("Scripted", 0.0, "not among its 2 best", ())],
        [("Scripted", 0.0, "not among its 2 best", ()), ("Scripted", 0.0, "not among its 2 best", ())],
    ]


def test_more_passages_than_any_part_was_asked_for():
    parts = [Scripted([[3, 2, 1, 0, -1]]), Scripted([[-1, 0, 1, 2, 3]])]
    hybrid = HybridRetrieval(parts, "rrf", depth=2)
    assert hybrid.search(["0"], 2).ids.tolist() == [[0, 4]]  # equal sums: the lower row first
    assert sorted(hybrid.search(["0"], 9).ids[0].tolist()) == [0, 1, 2, 3, 4]
    assert parts[0].depths == [2, 9]
    assert hybrid.search([], 3).ids.shape == (0, 3)


def test_scores_are_scaled_per_question_and_equal_ones_say_nothing():
    scores = np.array([[4, 3, 2], [40, 20, 0], [5, 5, 5]], np.float32)
    assert weighted_points(scores).tolist() == [[1, 0.5, 0], [1, 0.5, 0], [0, 0, 0]]


def test_other_weights_can_be_tried_on_what_was_found():
    parts = [Scripted([[3, 2, 1]]), Scripted([[1, 2, 3.5]])]
    hybrid = HybridRetrieval(parts, weights=[1, 0], depth=3)
    found = hybrid.search_parts(["0"], 3)
    assert hybrid.fuse(found, 1).ids.tolist() == [[0]]
    assert hybrid.fuse(found, 1, [0, 1]).ids.tolist() == [[2]]
    assert [part.depths for part in parts] == [[3], [3]]


@pytest.mark.parametrize(
    ("parts", "weights", "complaint"),
    [
        (1, None, "--hybrid_retrievers must name two or more retrievers, not 1"),
        (2, [1], "--fusion_weights 1 must hold a number for each of the 2 retrievers"),
        (2, [1, -0.5], "--fusion_weights 1 -0.5 must hold a number for each of the 2 retrievers, none below 0"),
        (2, [0, 0], "--fusion_weights 0 0 must hold .* one at least above"),
        (2, [1, float("nan")], "--fusion_weights 1 nan must hold"),
    ],
)
def test_what_cannot_be_fused_is_refused(parts, weights, complaint):
    with pytest.raises(UserError, match=complaint):
        HybridRetrieval([Scripted([[1]])] * parts, weights=weights)


def test_its_parameters_are_those_of_all_that_it_is_made_of(corpus, tmp_path):
    specs = ["SparseRetrieval_BM25P,analyzer=bigram", "SparseRetrieval_TFIDF,tfidf_features=char"]
    arguments = RetrieverArguments(
        retriever_type="HybridRetrieval", hybrid_retrievers=specs, fusion_weights=[0.4, 0.6], fusion="rrf", bm25_k1=0.9
    )
    hybrid = create_retriever(arguments)
    assert hybrid.parameters() == {
        "fusion": "rrf",
        "weights": [0.4, 0.6],
        "depth": 100,
        "parts": [{"retriever": part.name, "parameters": part.parameters()} for part in hybrid.parts],
    }
    assert hybrid.parts[0].parameters()["k1"] == 0.9  # what the parts share is given outside
    hybrid.build(corpus)
    hybrid.save(tmp_path / "index")
    manifests = [json.loads(path.read_text("utf-8")) for path in sorted((tmp_path / "index").rglob("manifest.json"))]
    assert [manifest["retriever"] for manifest in manifests] == [
        "SparseRetrieval_BM25P", "SparseRetrieval_TFIDF", "HybridRetrieval",
    ]  # fmt: skip


def test_a_reranker_reorders_what_was_fused_not_each_part(monkeypatch):
    def around(retriever, arguments):
        return retriever, arguments.reranker

    monkeypatch.setattr("retrieval.RerankedRetrieval.around", around)
    specs = ["SparseRetrieval_BM25P,analyzer=bigram", "SparseRetrieval_TFIDF,tfidf_features=char"]
    hybrid, reranker = create_retriever(
        RetrieverArguments(retriever_type="HybridRetrieval,reranker=there", hybrid_retrievers=specs)
    )
    assert reranker == "there"
    assert [type(part).__name__ for part in hybrid.parts] == ["SparseRetrieval_BM25P", "SparseRetrieval_TFIDF"]


def test_results_are_the_same_whatever_questions_are_asked_together():
    rng = np.random.default_rng(0)
    hybrid = HybridRetrieval([Scripted(rng.normal(size=(6, 12))) for _ in range(2)], depth=5)
    together = hybrid.search(list("012345"), 4)
    alone = SearchResults(*map(np.concatenate, zip(*(hybrid.search([name], 4) for name in "012345"), strict=True)))
    np.testing.assert_array_equal(together.ids, alone.ids)
    np.testing.assert_array_equal(together.scores, alone.scores)


def test_why_a_passage_was_found_below_the_depth_of_the_retriever_inside():
    """Whoever asks a hybrid for more than its own depth is told of all that it then fuses."""
    scripted = [Scripted([[9.0, 5.0, 1.0, 0.5, 0.0]]), Scripted([[0.0, 0.5, 0.25, 0.75, 1.0]])]
    inner = HybridRetrieval(scripted, "weighted", depth=2)
    outer = HybridRetrieval([inner, Scripted([[1.0, 2.0, 3.0, 4.0, 5.0]])], "weighted", depth=5)
    of_inner, _ = outer.search_parts(["0"], 2)
    rows = of_inner.ids[0].tolist()
    for of_passage, score in zip(outer.explain("0", rows, 2).parts, of_inner.scores[0].tolist(), strict=True):
        (part,) = (part for part in of_passage if part.name == "HybridRetrieval")
        assert sum(own.score for own in part.parts) == pytest.approx(score)
