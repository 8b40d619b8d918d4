"""Percent and bootstrap intervals: worked out by hand, and against a loop."""

from __future__ import annotations

import numpy as np
import pytest

from runtime import statistics
from runtime.statistics import bootstrap_interval, percent


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
