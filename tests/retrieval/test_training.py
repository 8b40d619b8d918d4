"""Hard negatives and training questions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from right_and_wrong import NONE_BUT_RIGHT, OTHER, POSITIVE, WRONG

from loading.corpus import Corpus
from loading.retrieval_examples import Passage, RetrievalExample, wrong_rows
from retrieval.base import SearchResults
from retrieval.joint_batch import JointBatch
from retrieval.mining import find_hard_negatives, mine_hard_negatives, with_hard_negatives
from retrieval.training import (
    TrainingQuestions,
    corpus_passages,
    with_gold_passages,
)
from runtime.text import answer_in_passage

DECOMPOSED = "\u1112\u1161\u11ab\u1100\u1161\u11bc"  # 한강, as some files have it


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
    golds = [(2, DECOMPOSED), (5, "이순신"), (1, "훈민정음"), (3, "2744미터"), (2, "강")]
    return [
        RetrievalExample(f"q{n}", "?" * (n + 1), [answer], Passage("", f" {corpus.texts[row]} "), [])
        for n, (row, answer) in enumerate(golds)
    ]


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
    corpus: Corpus, examples: list[RetrievalExample], tmp_path: Path
) -> None:
    def mine(examples=examples, corpus=corpus, version=1, depth=8):
        retriever = Ranked(version)
        return find_hard_negatives(examples, corpus, retriever, depth, tmp_path), retriever.asked

    first = mine()
    assert first[1] == 5
    assert mine() == (first[0], 0)
    other = Corpus(corpus.document_ids, corpus.titles, [*corpus.texts[:-1], "다른 글"])
    for change in (
        {"depth": 7}, {"version": 2}, {"corpus": other}, {"examples": examples[::-1]},
        {"examples": [examples[0]._replace(answers=["서울"]), *examples[1:]]},
        {"examples": [examples[0]._replace(positive=Passage("", "다른 글")), *examples[1:]]},
    ):  # fmt: skip
        assert mine(**change)[1] == 5
    assert len(list(tmp_path.glob("negatives-*.json"))) == 7


def test_each_epoch_draws_exactly_n_negatives_of_the_pool_topped_up_with_others(corpus: Corpus) -> None:
    passages = corpus_passages(corpus)
    example = RetrievalExample("a", "?", ["한강"], passages[0], [passages[3], passages[4], passages[5]])
    questions = TrainingQuestions([example], passages, 2, seed=3)
    drawn = [questions.draw(0, epoch) for epoch in range(40)]
    assert all(passage == passages[0] for passage, *_ in drawn)
    assert all(set(negatives) < set(example.negatives) and len(set(negatives)) == 2 for _, *negatives in drawn)
    assert min(Counter(passage for _, *rest in drawn for passage in rest).values()) > 15  # all alike
    assert drawn == [TrainingQuestions([example], passages, 2, seed=3).draw(0, epoch) for epoch in range(40)]

    topped_up = TrainingQuestions([example], passages, 6, seed=3)
    for epoch in range(40):
        positive, *negatives = topped_up.draw(0, epoch)
        assert len(set(negatives)) == 6 and set(example.negatives) < set(negatives) and positive not in negatives
        assert passages[2] not in negatives  # holds the answer
    everything = TrainingQuestions([example], passages, 50, seed=3).draw(0, 0)
    assert len(everything) == 11  # there are no more


def test_batches_are_every_row_once_and_a_function_of_the_epoch(examples: list[RetrievalExample]) -> None:
    questions = TrainingQuestions(examples, [], 0, seed=1)
    epochs = [questions.batches(epoch, 2) for epoch in range(6)]
    assert all([len(batch) for batch in batches] == [2, 2, 1] for batches in epochs)
    assert all(sorted(row for batch in batches for row in batch) == list(range(5)) for batches in epochs)
    assert len({str(batches) for batches in epochs}) > 3 and epochs[2] == questions.batches(2, 2)


def test_gold_passages_that_the_corpus_lacks_are_added_once(corpus: Corpus) -> None:
    wanted = [
        Passage("", f"{corpus.texts[4]}\n"),
        Passage("새", "새 글", "100"),
        Passage("새", "새  글"),
        Passage("", "또", "n"),
    ]
    whole, rows = with_gold_passages(corpus, wanted)
    assert rows == [4, 12, 12, 13]
    assert whole.texts == [*corpus.texts, "새 글", "또"]
    assert whole.document_ids[12:] == ["added-0", "n"]  # 100 stands for another text there


def test_an_answer_is_found_whatever_its_unicode_form_and_blanks() -> None:
    assert answer_in_passage([f"{DECOMPOSED}\n이야기"], "", "긴  한강 이야기")
    assert answer_in_passage(["한강"], "한강", "글")
    assert not answer_in_passage(["한강", "", " "], "한", "강")


@pytest.mark.parametrize("answers", [["4대"], []])
def test_what_says_the_same_as_a_positive_is_never_a_negative(answers: list[str]) -> None:
    example = RetrievalExample("q", "?", answers, POSITIVE, [], (OTHER,))
    everything = [*NONE_BUT_RIGHT, *WRONG]
    given = TrainingQuestions([example._replace(negatives=everything)], [], 8, seed=1)
    random_ones = TrainingQuestions([example], everything, 8, seed=1)
    few = TrainingQuestions([example._replace(negatives=everything[:6])], WRONG, 2, seed=1)
    for epoch in range(20):
        assert given.draw(0, epoch)[0] == random_ones.draw(0, epoch)[0] == POSITIVE
        assert set(given.draw(0, epoch)[1:]) == set(random_ones.draw(0, epoch)[1:]) == set(WRONG)
        _, own, topped_up = few.draw(0, epoch)
        assert own == WRONG[0] and topped_up in WRONG[1:]


def test_a_negative_is_drawn_once_however_often_it_is_there() -> None:
    twice = [WRONG[0], Passage("제목", "부산은  항구이다.\ufeff"), WRONG[1]]
    example = RetrievalExample("q", "?", [], POSITIVE, twice)
    for epoch in range(20):
        _, *drawn = TrainingQuestions([example], [], 2, seed=0).draw(0, epoch)
        assert len(drawn) == 2 and WRONG[1] in drawn
        _, *drawn = TrainingQuestions([example], [*twice, WRONG[2]], 3, seed=0).draw(0, epoch)
        assert {WRONG[1], WRONG[2]} < set(drawn) and len(drawn) == 3


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
        (mined,) = with_hard_negatives([example], corpus, Ranked(), len(corpus), tmp_path)
        assert {passage.text for passage in mined.negatives} == {passage.text for passage in WRONG}


def test_another_positive_in_the_batch_counts_neither_for_nor_against_a_question() -> None:
    first = RetrievalExample("a", "?", [], POSITIVE, [], (OTHER,))
    second = RetrievalExample("b", "?", [], OTHER._replace(text=f"{OTHER.text} "), [WRONG[0]])
    third = RetrievalExample("c", "?", [], NONE_BUT_RIGHT[0], [])
    labels, same = JointBatch(TrainingQuestions([first, second, third], [], 1, 0), [0, 1, 2], 0, 1).targets()
    assert labels.tolist() == [0, 1, 3]
    assert same.tolist() == [[False, True, False, True], [False] * 4, [True, False, False, False]]
