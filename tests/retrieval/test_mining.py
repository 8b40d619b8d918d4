"""Hard negatives: the best ranked that are wrong, mined once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from right_and_wrong import NONE_BUT_RIGHT, OTHER, POSITIVE, WRONG, questions_of

from loading.corpus import Corpus
from loading.retrieval_examples import Passage, RetrievalExample, wrong_rows
from models.cross_encoder import Pair, load_cross_encoder
from retrieval.arguments import MiningArguments
from retrieval.base import SearchResults
from retrieval.mining import (
    find_hard_negatives,
    mine_hard_negatives,
    with_hard_negatives,
    without_false_negatives,
)
from runtime.errors import UserError


class Ranked:
    """A retriever that ranks rows by (row * 7 + length of the question) modulo the size of the corpus."""

    name, libraries = "Ranked", ()
    asked = 0

    def __init__(self, version: int = 1) -> None:
        self.version = version

    def parameters(self):
        return {"version": self.version}

    def load(self, folder, corpus):
        raise AssertionError("nothing is saved")

    def build(self, corpus):
        self.size = len(corpus)

    def save(self, folder):
        pass

    def search(self, questions, k):
        self.asked += len(questions)
        scores = np.array([[(row * 7 + len(q)) % self.size for row in range(self.size)] for q in questions], np.float32)
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return SearchResults(ids, np.take_along_axis(scores, ids, axis=1))


@pytest.fixture
def examples(corpus: Corpus) -> list[RetrievalExample]:
    return questions_of(corpus)


def test_mined_are_the_best_ranked_that_are_wrong(
    corpus: Corpus, examples: list[RetrievalExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.mining._BLOCK", 2)
    retriever = Ranked()
    retriever.build(corpus)
    mined = mine_hard_negatives(examples, corpus, retriever, 8)
    assert len(mined) == 5 and all(mined)
    plain = ["한강", "이순신", "훈민정음", "2744미터", "강"]
    for example, answer, rows in zip(examples, plain, mined, strict=True):
        ranking = retriever.search([example.question], 8).ids[0].tolist()
        wrong = [r for r in ranking if answer not in f"{corpus.titles[r]} {corpus.texts[r]}"]
        assert rows == [row for row in wrong if corpus.texts[row] != example.positive.text.strip()]


def test_mined_negatives_are_kept_under_all_that_they_depend_on(
    corpus: Corpus, examples: list[RetrievalExample], reranker_path: str, tmp_path: Path
) -> None:
    def mine(examples=examples, corpus=corpus, version=1, depth=8, **judged):
        retriever = Ranked(version)
        arguments = MiningArguments(mining_depth=depth, **judged)
        return find_hard_negatives(examples, corpus, retriever, arguments, tmp_path), retriever.asked

    first = mine()
    assert first[1] == 5
    assert mine() == (first[0], 0)
    other = Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "다른 글"])
    judge = {"negatives_judge": reranker_path}
    for change in (
        judge, judge | {"negatives_margin": 2.0},
        {"depth": 7}, {"version": 2}, {"corpus": other}, {"examples": examples[::-1]},
        {"examples": [examples[0]._replace(answers=["서울"]), *examples[1:]]},
        {"examples": [examples[0]._replace(positive=Passage("", "다른 글")), *examples[1:]]},
    ):  # fmt: skip
        assert mine(**change)[1] == 5
    assert len(list(tmp_path.glob("negatives-*.json"))) == 9


def test_mined_are_never_a_positive_nor_hold_an_answer_in_any_form(tmp_path: Path) -> None:
    passages = [
        *NONE_BUT_RIGHT,
        Passage("훈민 정음", "글자이다.", "t"),
        Passage("", "훈민\u00ad정 음을 만들었다.", "u"),
        *WRONG,
    ]
    texts = [passage.text for passage in passages]
    ids = [passage.passage_id or f"p{row}" for row, passage in enumerate(passages)]
    corpus = Corpus(ids, [passage.title for passage in passages], texts, {"old": "1"})
    for identifier in ("1", "old"):  # another name of the same passage
        positive = POSITIVE._replace(passage_id=identifier)
        example = RetrievalExample("q", "?", ["훈민정음", " "], positive, [WRONG[0]], (OTHER,))
        assert wrong_rows(example, range(len(corpus)), corpus) == [7, 8, 9]
        (mined,) = with_hard_negatives([example], corpus, Ranked(), MiningArguments(mining_depth=len(corpus)), tmp_path)
        assert {passage.text for passage in mined.negatives} == {passage.text for passage in WRONG}


def test_what_the_judge_scores_as_high_as_the_right_passage_is_no_negative(
    corpus: Corpus, examples: list[RetrievalExample], reranker_path: str, tmp_path: Path, monkeypatch, log_lines
) -> None:
    monkeypatch.setattr("retrieval.mining._JUDGED", 2)
    retriever = Ranked()
    retriever.build(corpus)
    examples[0] = examples[0]._replace(other_positives=(Passage("", "다른 글"),))
    mined, judge = mine_hard_negatives(examples, corpus, retriever, 8), load_cross_encoder(reranker_path)

    def score(example: RetrievalExample, passage: Passage) -> float:
        return float(judge.score([Pair(example.question, passage.title, passage.text)])[0])

    def left(margin: float) -> list[list[int]]:
        return [
            [
                row
                for row in rows
                if score(example, Passage(corpus.titles[row], corpus.texts[row]))
                <= max(score(example, positive) for positive in example.positives) - margin
            ]
            for example, rows in zip(examples, mined, strict=True)
        ]

    margin = 0.11
    found = without_false_negatives(examples, mined, corpus, reranker_path, margin)
    assert found == left(margin) and 0 < sum(map(len, found)) < sum(map(len, mined))
    arguments = MiningArguments(mining_depth=8, negatives_judge=reranker_path, negatives_margin=margin)
    assert find_hard_negatives(examples, corpus, Ranked(), arguments, tmp_path) == found
    before, out = sum(map(len, mined)), sum(map(len, mined)) - sum(map(len, found))
    assert f"INFO --negatives_judge: {out} of {before} passages may be right, and are no negatives" in log_lines


def test_a_judge_must_be_a_reranker(corpus: Corpus, examples: list[RetrievalExample], encoder_path: str, tmp_path):
    arguments = MiningArguments(negatives_judge=encoder_path)
    with pytest.raises(UserError, match="holds no trained reranker"):
        find_hard_negatives(examples, corpus, Ranked(), arguments, tmp_path)
