"""What is counted in examples, and the sentences about what should not be there."""

from __future__ import annotations

import pytest
from datasets import Dataset

from loading.statistics import (
    Lengths,
    fault_of_seen_questions,
    fault_of_unanswerable,
    lengths_of,
    overlap,
    question_word,
    statistics_of,
    warn,
)


def examples(*rows: tuple[str, str, str, list[str]]) -> Dataset:
    """Rows of id, question, context and answers."""
    names = ("id", "question", "context")
    return Dataset.from_list(
        [
            dict(zip(names, row[:3], strict=True)) | {"answers": {"text": row[3], "answer_start": [0] * len(row[3])}}
            for row in rows
        ]
    )


ROWS = examples(
    ("1", "누가 만들었나?", "세종은 왕이다.", ["세종"]),
    ("2", "누가  만들었나?", "세종은 왕이다. ", ["세종", "세종은"]),  # the same but for blanks
    ("3", "누가 만들었나?", "장영실은 과학자다.", []),
    ("4", "언제인가?", "장영실은 과학자다.", ["장영실"]),
)


def test_a_split_is_counted() -> None:
    found = statistics_of(ROWS)
    assert (found.questions, found.unanswerable, found.several_answers, found.passages) == (4, 1, 1, 2)
    assert (found.repeated, found.repeated_of_passage) == (2, 1)
    assert found.characters == {
        "question": Lengths(8, 9, 9), "passage": Lengths(10, 10, 10), "answer": Lengths(3, 3, 3)
    }  # fmt: skip
    assert {word: count for word, count in found.question_words.items() if count} == {"누구": 3, "언제": 1}


def test_questions_without_passages_are_counted_too() -> None:
    found = statistics_of(examples(("1", "왜 그런가?", "", []), ("2", "왜 그런가?", "", [])))
    assert (found.passages, found.repeated, list(found.characters)) == (0, 1, ["question"])


def test_lengths() -> None:
    assert lengths_of(range(1, 101)) == Lengths(51, 96, 100)
    assert lengths_of([7]) == Lengths(7, 7, 7)
    assert lengths_of([]) is None


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("자격루를 만든 사람은 누구인가?", "누구"),
        ("누가 한글을 만들었는가?", "누구"),
        ("누가복음은 신약의 몇 번째 책인가?", "몇"),
        ("이순신이 왜군을 이긴 곳은 어디인가?", "어디"),
        ("왜 이겼는가?", "왜"),
        ("이긴 이유는 왜인가?", "왜"),
        ("어느 해에 누구를 만났는가?", "누구"),  # the last one is what is asked for
        ("인구는 얼마인가?", "몇"),
        ("언제나 푸른 나무는?", "other"),
        ("어떻게 만들었나?", "어떻게"),
        ("어떤 배인가?", "어느, 어떤"),
        ("이순신이 이긴 곳은 어느 곳인가?", "어디"),
        ("무슨 색인가?", "무엇"),
        ("왜구가 쳐들어온 곳은 어디인가?", "어디"),
        ("왜구의 본거지가 있던 섬의 이름은?", "other"),
    ],
)
def test_question_words(question: str, word: str) -> None:
    assert question_word(question) == word


def test_what_two_splits_share() -> None:
    others = examples(
        ("1", "누가 만들었나?", "세종은 왕이다.", ["세종"]),
        ("9", "어디인가?", "한강이 흐른다.", ["한강"]),
    )
    found = overlap(ROWS, others)
    assert (found.ids, found.questions, found.passages, found.questions_of_passages) == (1, 3, 2, 2)
    found = overlap(examples(("5", "어디인가?", "", [])), examples(("6", "어디인가?", "", [])))
    assert (found.questions, found.passages, found.questions_of_passages) == (1, 0, 0)


def test_questions_that_are_trained_on_are_named() -> None:
    question = "자격루를 만든 사람의 이름은 무엇이며 그는 어느 왕의 명으로 그것을 만들었는가?"
    assert fault_of_seen_questions(["가?", question], ["나?", question.replace(" ", "  "), "다?"], "validation") == (
        "the training data include 1 of 3 validation questions, whose scores do not tell how well new ones are "
        "answered: take them out of one of the two "
        "(the first: 자격루를 만든 사람의 이름은 무엇이며 그는 어느 왕의 명으로 그것을 만들…)"
    )
    assert fault_of_seen_questions(["가?"], ["나?"]) is None
    assert fault_of_seen_questions(["가?"], []) is None


def test_questions_without_an_answer_need_their_flag() -> None:
    splits = {"train": ROWS, "evaluation": ROWS.select([0, 2])}
    assert fault_of_unanswerable(splits, False) == (
        "there is no answer to 1 of 4 train and 1 of 2 evaluation questions, but a reader gives one: "
        "add --version_2_with_negative"
    )
    assert fault_of_unanswerable(splits, True) is None
    assert fault_of_unanswerable({"train": ROWS.select([0])}, False) is None


def test_only_the_first_of_several_processes_warns(log_lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warn(None)
    warn("a fault of 100 %")
    monkeypatch.setenv("RANK", "1")
    warn("another fault")
    assert log_lines == ["WARNING a fault of 100 %"]
