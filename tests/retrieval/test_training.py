"""Training questions: the passages and batches of every epoch, and the corpus that holds their positives."""

from __future__ import annotations

from collections import Counter

import pytest
from right_and_wrong import NONE_BUT_RIGHT, OTHER, POSITIVE, WRONG, questions_of

from loading.corpus import Corpus
from loading.retrieval_examples import Passage, RetrievalExample
from retrieval.training import TrainingQuestions, corpus_passages, with_gold_passages


@pytest.fixture
def examples(corpus: Corpus) -> list[RetrievalExample]:
    return questions_of(corpus)


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
    again, _ = with_gold_passages(whole, [Passage("", "셋")])
    assert again.document_ids[14:] == ["added-1"]  # the name of another passage by now is none


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
