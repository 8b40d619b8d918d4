"""The vectorised search for the best spans is the exhaustive one."""

from __future__ import annotations

import random

import numpy as np
import pytest

import reading.decoding
from reading.decoding import FORBIDDEN, best_spans


def exhaustive(start_logits, end_logits, allowed, max_answer_length, n_best, segments) -> list[tuple[int, int, float]]:
    """The definition, as two loops: (start, end, score), best first, ties by start, then by length."""
    spans = []
    for i in range(len(start_logits)):
        for j in range(i, min(i + max_answer_length, len(start_logits))):
            score = np.float32(start_logits[i]) + np.float32(end_logits[j])
            same = segments is None or segments[i] == segments[j]
            if allowed[i] and allowed[j] and same and score > FORBIDDEN:
                spans.append((-score, i, j))
    return [(i, j, -score) for score, i, j in sorted(spans)[:n_best]]


def best_spans_of_one(start_logits, end_logits, allowed, max_answer_length, n_best, segments=None) -> list[tuple]:
    """The same by the code, as the only window there is."""
    of_window = [None if array is None else array[None] for array in (start_logits, end_logits, allowed, segments)]
    rows, *found = best_spans(*of_window[:3], max_answer_length, n_best, of_window[3])
    assert not rows.any()
    return list(zip(*found, strict=True))


def test_equals_two_loops_on_random_logits() -> None:
    rng, numpy_rng = random.Random(0), np.random.default_rng(0)
    ties = empty = 0
    for case in range(1500):
        tokens = rng.randint(1, 20)
        if case % 2:  # few different values: many ties
            start_logits, end_logits = numpy_rng.integers(-2, 2, (2, tokens)).astype(np.float32)
        else:
            start_logits, end_logits = numpy_rng.normal(size=(2, tokens)).astype(np.float32)
        start_logits[numpy_rng.random(tokens) < 0.05] = FORBIDDEN
        allowed = numpy_rng.random(tokens) < rng.choice([0.1, 0.6, 1.0])
        segments = np.sort(numpy_rng.integers(0, 4, tokens)) if rng.random() < 0.5 else None
        max_answer_length, n_best = rng.choice([1, 2, 5, 30]), rng.choice([1, 3, 20, 1000])
        found = best_spans_of_one(start_logits, end_logits, allowed, max_answer_length, n_best, segments)
        expected = exhaustive(start_logits, end_logits, allowed, max_answer_length, n_best, segments)
        assert found == expected
        ties += len(expected) > len({score for *_, score in expected})
        empty += not expected
    assert ties > 300 and empty > 50


def test_ties_at_the_cut_go_to_the_earlier_start_then_the_shorter_span() -> None:
    zeros = np.zeros(4, dtype=np.float32)
    found = best_spans_of_one(zeros, zeros, np.ones(4, dtype=bool), 3, 5)
    assert [span[:2] for span in found] == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize("segments", [None, np.array([1, 1, 2])])
def test_nothing_allowed_gives_no_span(segments: np.ndarray | None) -> None:
    logits = np.ones(3, dtype=np.float32)
    assert best_spans_of_one(logits, logits, np.zeros(3, dtype=bool), 30, 20, segments) == []
    nothing = np.zeros((0, 3), dtype=np.float32)
    assert [len(part) for part in best_spans(nothing, nothing, nothing > 0, 30, 20)] == [0, 0, 0, 0]


@pytest.mark.parametrize("at_once", [1, 1000, 2**22])
def test_windows_are_searched_together_and_each_for_itself(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.decoding, "_CELLS_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    for width, n_best in ((1, 3), (5, 20), (13, 20), (30, 200)):
        start_logits, end_logits = rng.integers(-3, 3, (2, 40, 24)).astype(np.float32)  # many ties
        allowed, segments = rng.random((40, 24)) < 0.8, np.sort(rng.integers(0, 4, (40, 24)))
        found = best_spans(start_logits, end_logits, allowed, width, n_best, segments)
        for row in range(40):
            of_row = [part[found.rows == row] for part in found[1:]]
            expected = exhaustive(start_logits[row], end_logits[row], allowed[row], width, n_best, segments[row])
            assert list(zip(*of_row, strict=True)) == expected
        assert (np.diff(found.rows) >= 0).all()


def test_the_inputs_are_left_alone() -> None:
    logits, allowed = np.arange(5, dtype=np.float32), np.array([False, True, True, True, False])
    best_spans_of_one(logits, logits, allowed, 2, 3, np.arange(5))
    assert logits.tolist() == [0, 1, 2, 3, 4] and allowed.tolist() == [False, True, True, True, False]
