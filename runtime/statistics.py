"""Figures of many values: their mean in percent, its interval, and whether two things differ."""

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


def paired_bootstrap_interval(
    first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray, samples: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ``first`` less that of ``second``, (n,) each, one pair a question.

    Every resample takes the same questions of both, those that :func:`bootstrap_interval` draws with this seed, so
    what is hard or easy for both does not widen it. Source: Efron and Tibshirani 1993, chapter 8; for systems that
    answer the same questions, Berg-Kirkpatrick et al. 2012, https://aclanthology.org/D12-1091/.
    """
    return bootstrap_interval(np.asarray(first, np.float64) - np.asarray(second, np.float64), samples, seed)


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test: are two things equally often right?

    ``only_first`` and ``only_second`` count the questions that just one of them has right. Were both equally good,
    each of these would fall to either with probability 1/2, so the counts follow a binomial law; 1 where there are
    none. Source: McNemar 1947, https://doi.org/10.1007/BF02295996.
    """
    from scipy import stats

    if not (discordant := only_first + only_second):
        return 1.0
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue)


def smallest_difference(differences: np.ndarray, size: int, samples: int, seed: int) -> float:
    """Return the smallest mean difference that ``size`` questions can tell from zero, in the unit of ``differences``.

    It is half the width of the 95 % paired bootstrap interval of so many questions, drawn with replacement from
    ``differences`` (n,): a larger one leaves zero outside.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _CELLS // size)
    means = [
        differences[generator.integers(len(differences), size=(min(at_once, samples - start), size))].mean(axis=1)
        for start in range(0, samples, at_once)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return float(high - low) / 2
