"""Comparisons of predictions, against loops over small random cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from datasets import Dataset

from reading.comparison import (
    Member,
    Resampling,
    difference,
    error_table,
    estimate,
    groups_of,
    simulate_leaderboard,
    within,
)
from reading.metrics import ExampleScores


def random_scores(generator, n):
    exact = generator.integers(2, size=n).astype(float)
    return ExampleScores(exact, np.maximum(exact, generator.integers(5, size=n) / 4))


def examples(answers, **columns):
    rows = {
        "id": [f"q{n}" for n in range(len(answers))],
        "question": [f"물음 {n}" for n in range(len(answers))],
        "answers": [{"text": texts, "answer_start": [0] * len(texts)} for texts in answers],
    }
    return Dataset.from_dict(rows | columns)


@pytest.mark.parametrize("n", [2, 7, 20])
def test_a_difference_equals_brute_force(n):
    generator = np.random.default_rng(n)
    first, second = random_scores(generator, n), random_scores(generator, n)
    found = difference(first, second, Resampling(83, 9))
    indices = np.random.default_rng(9).integers(n, size=(83, n)).tolist()
    for estimated, ours, theirs in zip(found[:2], first, second, strict=True):
        means = [100 * sum(ours[i] - theirs[i] for i in row) / n for row in indices]
        assert estimated.mean == pytest.approx(100 * (sum(ours) - sum(theirs)) / n)
        assert estimated[1:] == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    wins = sum(a > b for a, b in zip(first.exact_match, second.exact_match, strict=True))
    losses = sum(a < b for a, b in zip(first.exact_match, second.exact_match, strict=True))
    assert (found.only_first, found.only_second) == (wins, losses)
    discordant, fewer = wins + losses, min(wins, losses)
    tail = sum(math.comb(discordant, k) for k in range(fewer + 1)) / 2**discordant
    assert found.p == pytest.approx(min(1, 2 * tail))


def test_the_opposite_difference_is_its_mirror_image():
    generator = np.random.default_rng(1)
    first, second = random_scores(generator, 30), random_scores(generator, 30)
    there, back = (difference(*pair, Resampling(200, 4)) for pair in ((first, second), (second, first)))
    assert there.overlap == pytest.approx((-back.overlap.mean, -back.overlap.high, -back.overlap.low))
    assert (there.only_first, there.p) == (back.only_second, back.p)


def test_an_estimate_is_in_percent():
    assert estimate(np.array([0.5, 0.5]), Resampling(10, 0)) == (50, 50, 50)


@pytest.mark.parametrize(("n", "size"), [(6, 3), (9, 2), (40, 15)])
def test_leads_equal_a_loop_over_the_same_halves(n, size):
    generator = np.random.default_rng(size)
    first, second = generator.integers(5, size=n) / 4, generator.integers(5, size=n) / 4
    lead = simulate_leaderboard(first, second, size, Resampling(150, 6))
    draws = np.random.default_rng(6)
    led, stayed = [0, 0], [0, 0]
    for _ in range(150):
        order = draws.permutation(n).tolist()
        public, private = (
            4 * sum(first[i] for i in half) - 4 * sum(second[i] for i in half)
            for half in (order[:size], order[size : 2 * size])
        )
        for side, sign in enumerate((1, -1)):
            led[side] += sign * public > 0
            stayed[side] += sign * public > 0 and sign * private > 0
    assert (lead.first_leads, lead.second_leads) == pytest.approx((led[0] / 1.5, led[1] / 1.5))
    assert lead.first_stays == pytest.approx(100 * stayed[0] / led[0])
    assert lead.second_stays == pytest.approx(100 * stayed[1] / led[1])


def test_equals_never_lead_and_the_better_everywhere_always_does():
    ones, zeros = np.ones(8), np.zeros(8)
    assert simulate_leaderboard(ones, ones, 4, Resampling(50, 0)) == (0, None, 0, None, 0)
    assert simulate_leaderboard(ones, zeros, 4, Resampling(50, 0)) == (100, 100, 0, None, 0)


def test_a_tie_of_sums_in_another_order_is_a_tie():
    first, second = np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3]), np.array([0.3, 0.1, 0.2, 0.2, 0.3, 0.1])
    halves = simulate_leaderboard(first, second, 3, Resampling(400, 2))
    order = np.random.default_rng(2)
    ties = sum(abs(sum(np.rint(10 * (first - second))[order.permutation(6)[:3]])) == 0 for _ in range(400))
    assert ties > 0
    assert halves.first_leads + halves.second_leads == pytest.approx(100 - ties / 4)


def test_groups_are_named_where_they_part_the_questions():
    kinds = groups_of(examples([["가"], [], ["나"], ["다"]], question_type=["10", "2", "", "2"]))
    assert {name: rows.tolist() for name, rows in kinds.items()} == {
        "all": [True] * 4,
        "answerable": [True, False, True, True],
        "unanswerable": [False, True, False, False],
        "question_type 2": [False, True, False, True],
        "question_type 10": [True, False, False, False],
        "no question_type": [False, False, True, False],
    }
    assert list(kinds)[3:] == ["question_type 2", "question_type 10", "no question_type"]
    assert list(groups_of(examples([["가"], ["나"]], question_type=["1", "1"]))) == ["all"]
    assert list(groups_of(examples([[], []]))) == ["all"]
    scores = ExampleScores(np.array([1.0, 0, 0, 1]), np.array([1, 0.5, 0, 1]))
    assert [part.tolist() for part in within(scores, kinds["question_type 2"])] == [[0, 1], [0.5, 1]]


def test_the_error_table_says_what_missed():
    nan = float("nan")
    scores = ExampleScores(np.array([1.0, 0, 0, 0, 0, 0]), np.array([1.0, 2 / 3, 0, 0, 0, 0]))
    ranks = {"q0": (nan, nan), "q1": (3.0, 1.0), "q2": (nan, 2.0), "q3": (nan, nan), "q4": (nan, nan)}
    members = {"A": Member({"q0": "가", "q1": "나다"}, scores, ranks), "B": Member({}, scores, None)}
    columns, rows = error_table(examples([["가"], ["나"], ["다"], ["라"], [], ["마"]]), members, "f1")
    assert columns == [
        *("id", "question", "gold_answers"),
        *("A_answer", "A_exact_match", "A_f1", "A_gold_rank", "A_missed"),
        *("B_answer", "B_exact_match", "B_f1"),
    ]
    assert rows[0] == ["q0", "물음 0", '["가"]', "가", 1, 1.0, "", "", "", 1, 1.0]
    assert rows[1] == ["q1", "물음 1", '["나"]', "나다", 0, 0.6667, 3, "reader", "", 0, 0.6667]
    assert [row[6:8] for row in rows[2:]] == [["", "reader"], ["", "retrieval"], ["", "reader"], ["", ""]]
