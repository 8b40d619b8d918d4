"""Figures of many values: their mean in percent and its interval."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

_CELLS = 1 << 20  # drawn values held at once: 8 MB, and as much for their indices


def percent(values: Sequence[float] | np.ndarray) -> float:
    """Return the mean of ``values``, each from 0 to 1, in percent: the scale of every figure that is written."""
    return 100 * float(np.mean(values))


def bootstrap_interval(values: Sequence[float] | np.ndarray, samples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of the mean of ``values`` (at least one), in their unit.

    ``samples`` times as many values are drawn with replacement; the interval spans the 2.5th to the 97.5th
    percentile of the means. Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    from scipy import stats  # slow to import, and most commands need it late or never

    values = np.asarray(values, dtype=np.float64)  # (n,)
    if (values == values[0]).all():  # a single value, of which SciPy gives no interval, included
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one resample has no standard error, which is not read
        result = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=samples,
            batch=max(1, _CELLS // len(values)),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = result.confidence_interval
    return float(low), float(high)
