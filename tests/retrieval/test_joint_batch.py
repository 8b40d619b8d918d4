"""The batch of all processes: which passages count for a question."""

from __future__ import annotations

from right_and_wrong import NONE_BUT_RIGHT, OTHER, POSITIVE, WRONG

from loading.retrieval_examples import RetrievalExample
from retrieval.joint_batch import JointBatch
from retrieval.training import TrainingQuestions
from runtime.text import comparable


def test_another_positive_in_the_batch_counts_neither_for_nor_against_a_question() -> None:
    first = RetrievalExample("a", "?", [], POSITIVE, [], (OTHER,))
    second = RetrievalExample("b", "?", [], OTHER._replace(text=f"{OTHER.text} "), [WRONG[0]])
    third = RetrievalExample("c", "?", [], NONE_BUT_RIGHT[0], [])
    questions = TrainingQuestions([first, second, third], [], 1, 0)
    labels, same, teacher = JointBatch(questions, [0, 1, 2], 0, 1).targets()
    assert labels.tolist() == [0, 1, 3]
    assert same.tolist() == [[False, True, False, True], [False] * 4, [True, False, False, False]]
    assert teacher is None


def test_a_teacher_scores_only_what_was_drawn_for_its_question() -> None:
    right, wrong = POSITIVE, WRONG[0]
    taught = RetrievalExample("a", "?", [], right, [wrong])
    questions = TrainingQuestions(
        [taught, taught._replace(id="b")], [], 1, 0, {"a": {comparable(f" {wrong.text}"): -1.0, "다른 글": 9.0}}
    )
    *_, teacher = JointBatch(questions, [1, 0], 0, 1).targets()
    none = float("-inf")
    assert teacher is not None and teacher.tolist() == [[none] * 4, [none, none, none, -1.0]]
