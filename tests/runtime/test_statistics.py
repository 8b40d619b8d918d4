"""Percent and bootstrap intervals: worked out by hand, and against a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from runtime import statistics
from runtime.statistics import (
    bootstrap_interval,
    mcnemar_p,
    paired_bootstrap_interval,
    percent,
    smallest_difference,
)


def test_percent_is_the_mean_of_shares_times_a_hundred():
    assert percent([0, 1, 1, 0.5]) == 62.5
    assert percent(np.array([True, False])) == 50


def test_bootstrap_equals_a_direct_loop_over_the_same_indices(monkeypatch):
    values, samples = [0.0, 0.25, 1.0, 1.0, 0.5], 101
    indices = np.random.default_rng(7).integers(5, size=(samples, 5))
    means = sorted(sum(values[i] for i in row) / 5 for row in indices.tolist())

    def percentile(share):
        below, fraction = divmod(share * (samples - 1), 1)
        return means[int(below)] * (1 - fraction) + means[int(below) + 1] * fraction

    expected = pytest.approx((percentile(0.025), percentile(0.975)))
    assert bootstrap_interval(values, samples, seed=7) == expected
    monkeypatch.setattr(statistics, "_CELLS", 15)  # three resamples at once: the same draws
    assert bootstrap_interval(values, samples, seed=7) == expected
    monkeypatch.setattr(statistics, "_CELLS", 1)
    assert bootstrap_interval(values, samples, seed=7) == expected


def test_bootstrap_is_deterministic_contains_the_mean_and_follows_the_normal_law():
    values = np.random.default_rng(0).random(400)
    low, high = bootstrap_interval(values, 2000, seed=1)
    assert (low, high) == bootstrap_interval(values, 2000, seed=1)
    assert (low, high) != bootstrap_interval(values, 2000, seed=2)
    margin = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.1 * margin)


def test_bootstrap_of_constant_values_collapses():
    assert bootstrap_interval([0.5] * 30, 200, seed=0) == (0.5, 0.5)
    assert bootstrap_interval([1.0], 1, seed=0) == (1.0, 1.0)


def test_paired_bootstrap_equals_a_loop_that_draws_the_same_questions_of_both():
    generator = np.random.default_rng(3)
    for n in (2, 5, 9):
        first, second = generator.random(n), generator.integers(2, size=n).astype(float)
        indices = np.random.default_rng(11).integers(n, size=(57, n))
        means = [sum(first[i] for i in row) / n - sum(second[i] for i in row) / n for row in indices.tolist()]
        expected = tuple(np.percentile(means, [2.5, 97.5]))
        assert paired_bootstrap_interval(first, second, 57, seed=11) == pytest.approx(expected)


def test_what_is_equal_has_no_difference():
    assert paired_bootstrap_interval([0, 1, 1], [0, 1, 1], 100, seed=0) == (0, 0)


def test_mcnemar_sums_the_binomial_terms_that_are_as_unlikely():
    for first in range(8):
        for second in range(8):
            n = first + second
            terms = [math.comb(n, k) / 2**n for k in range(n + 1)]
            expected = sum(term for term in terms if term <= terms[first] * (1 + 1e-9))
            assert mcnemar_p(first, second) == pytest.approx(expected)
    assert mcnemar_p(0, 0) == 1
    assert mcnemar_p(0, 5) == pytest.approx(2 / 32)


def test_the_smallest_difference_is_half_the_interval_of_so_many_questions(monkeypatch):
    differences = np.array([1.0, 0.0, 0.0, -1.0, 0.5])
    indices = np.random.default_rng(5).integers(5, size=(31, 3))
    means = [sum(differences[i] for i in row) / 3 for row in indices.tolist()]
    low, high = np.percentile(means, [2.5, 97.5])
    assert smallest_difference(differences, 3, 31, seed=5) == pytest.approx((high - low) / 2)
    monkeypatch.setattr(statistics, "_CELLS", 7)  # two resamples at once: the same draws
    assert smallest_difference(differences, 3, 31, seed=5) == pytest.approx((high - low) / 2)


def test_four_times_the_questions_show_half_the_difference():
    differences = np.random.default_rng(0).integers(-1, 2, size=1000).astype(float)
    few, many = (smallest_difference(differences, size, 4000, seed=1) for size in (100, 400))
    assert few == pytest.approx(1.96 * differences.std() / 10, rel=0.06)
    assert few == pytest.approx(2 * many, rel=0.08)
