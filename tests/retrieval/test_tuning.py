"""The search for weights, on qualities that are known beforehand."""

from __future__ import annotations

from datasets import Dataset

from retrieval.tuning import Quality, halves, tune_weights


def test_two_weights_are_tried_on_a_grid():
    best, tried = tune_weights(lambda weights: Quality(1 - abs(weights[0] - 0.3), 0.0), 2)
    assert best == [0.3, 0.7]
    assert list(tried) == [(round(0.1 * step, 1), round(1 - 0.1 * step, 1)) for step in range(11)]
    assert tried[0.3, 0.7] == (1.0, 0.0)


def test_recall_decides_then_mrr_then_the_first():
    def quality(weights):
        return Quality(0.5 if weights[0] < 0.5 else 0.4, {0.0: 0.1, 0.2: 0.3, 0.4: 0.3, 0.8: 0.9}.get(weights[0], 0.2))

    assert tune_weights(quality, 2)[0] == [0.2, 0.8]


def test_three_weights_one_at_a_time():
    target = (0.2, 1.0, 0.6)
    asked = []

    def quality(weights):
        asked.append(tuple(weights))
        return Quality(-sum((a - b) ** 2 for a, b in zip(weights, target, strict=True)), 0.0)

    best, tried = tune_weights(quality, 3)
    assert best == list(target)
    assert asked[0] == (1.0, 1.0, 1.0)
    assert len(asked) == len(set(asked)) == len(tried)  # none is tried twice
    assert (0.0, 0.0, 0.0) not in tried


def test_halves_are_of_passages_not_of_questions():
    contexts = [f"글 {number % 40}" for number in range(200)]
    examples = Dataset.from_dict({"context": contexts, "document_id": [""] * 200})
    first = halves(examples)
    assert 40 < first.sum() < 160
    for number in range(40):
        assert len(set(first[number::40])) == 1
    assert halves(examples.select(range(5))).tolist() == first[:5].tolist()
    by_id = Dataset.from_dict({"context": [""] * 40, "document_id": contexts[:40]})
    assert halves(by_id).tolist() == first[:40].tolist()
