"""Several predictions on the same questions: how much better is one than another, and is that more than chance?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reading.metrics import ExampleScores
from runtime.statistics import (
    bootstrap_interval,
    mcnemar_p,
    paired_bootstrap_interval,
    percent,
    smallest_difference,
)

if TYPE_CHECKING:
    import datasets

_TIE = 1e-9  # sums of the same scores in another order differ by less


class Resampling(NamedTuple):
    """How often is drawn, from which seed."""

    samples: int
    seed: int


class Estimate(NamedTuple):
    """A mean, or a difference of two, with its 95 % interval: all in percent."""

    mean: float
    low: float
    high: float

    def signed(self, digits: int) -> str:
        """Return a difference as it is printed, ``+0.50 (-0.10 to +1.10)``; a zero has no minus."""
        mean, low, high = (f"{round(value, digits) + 0.0:+.{digits}f}" for value in self)
        return f"{mean} ({low} to {high})"


class Difference(NamedTuple):
    """By how much the first of two is better, and what McNemar's exact test says of their exact matches."""

    exact_match: Estimate
    overlap: Estimate
    only_first: int
    only_second: int
    p: float


class Lead(NamedTuple):
    """How two fare on random leaderboards by one score: shares of the draws in percent, difference in points.

    ``first_leads`` in public, ``first_stays`` of these in private; likewise the second. Nobody leads in a tie, and
    what never leads has no share that stays. ``smallest`` is the difference that a half can show.
    """

    first_leads: float
    first_stays: float | None
    second_leads: float
    second_stays: float | None
    smallest: float


# ----------------------------------------------------------------------------------------------------------- questions


def groups_of(examples: datasets.Dataset) -> dict[str, np.ndarray]:
    """Return the groups of questions that are looked at separately, each as boolean (n,): all of them first.

    Answerable and unanswerable ones where there are both, then those of each ``question_type``, if ``examples`` have
    that column and it parts them.
    """
    answerable = np.array([bool(answers["text"]) for answers in examples["answers"]], dtype=bool)  # (n,)
    groups = {"all": np.ones(len(examples), dtype=bool)}
    if answerable.any() and not answerable.all():
        groups |= {"answerable": answerable, "unanswerable": ~answerable}
    if "question_type" in examples.column_names:
        types = np.array(examples["question_type"], dtype=object)  # (n,)
        kinds = sorted(set(types), key=lambda kind: (not kind, len(kind), kind))  # 2 before 10
        if len(kinds) > 1:
            groups |= {f"question_type {kind}" if kind else "no question_type": types == kind for kind in kinds}
    return groups


def within(scores: ExampleScores, group: np.ndarray) -> ExampleScores:
    """Return the scores of the questions in ``group``, boolean (n,)."""
    return ExampleScores(scores.exact_match[group], scores.overlap[group])


# ----------------------------------------------------------------------------------------------------------- measuring


def estimate(values: np.ndarray, resampling: Resampling) -> Estimate:
    """Return the mean of ``values`` (n,), from 0 to 1, and its bootstrap interval."""
    return Estimate(percent(values), *bootstrap_interval(100 * values, *resampling))


def gain(first: np.ndarray, second: np.ndarray, resampling: Resampling) -> Estimate:
    """Return by how much the mean of ``first`` is above that of ``second``, (n,) each from 0 to 1, of the same n."""
    return Estimate(
        percent(first) - percent(second), *paired_bootstrap_interval(100 * first, 100 * second, *resampling)
    )


def difference(first: ExampleScores, second: ExampleScores, resampling: Resampling) -> Difference:
    """Return by how much ``first`` is better than ``second`` on the same questions; no other pairs are meant."""
    exact, overlap = (gain(ours, theirs, resampling) for ours, theirs in zip(first, second, strict=True))
    only_first = int((first.exact_match > second.exact_match).sum())
    only_second = int((first.exact_match < second.exact_match).sum())
    return Difference(exact, overlap, only_first, only_second, mcnemar_p(only_first, only_second))


def simulate_leaderboard(first: np.ndarray, second: np.ndarray, size: int, resampling: Resampling) -> Lead:
    """Draw a public and a private half of ``size`` questions each, none in both, and see who leads in them.

    ``first`` and ``second`` (n,) are one score of two predictions, from 0 to 1; n is at least 2 ``size``. The same
    seed draws the same halves for any pair.
    """
    differences = 100 * (first - second)  # (n,)
    generator = np.random.default_rng(resampling.seed)
    draws = (generator.permutation(len(differences))[: 2 * size] for _ in range(resampling.samples))
    halves = np.array([differences[drawn].reshape(2, size).sum(axis=1) for drawn in draws])  # (samples, 2)
    leads, stays = zip(*(_lead(*(sign * halves > _TIE).T) for sign in (1, -1)), strict=True)
    return Lead(leads[0], stays[0], leads[1], stays[1], smallest_difference(differences, size, *resampling))


def _lead(public: np.ndarray, private: np.ndarray) -> tuple[float, float | None]:
    """Return the share of draws led in public, and of these the share led in private; boolean (samples,) each."""
    return percent(public), percent(private[public]) if public.any() else None


# ------------------------------------------------------------------------------------------------------ every question


class Member(NamedTuple):
    """One file of predictions: its answers, its scores, and what is known of the passages it read.

    ``ranks`` maps ids to the ranks of the first gold passage and of the first with a gold answer, NaN for none; None
    where there is no table of passages.
    """

    answers: Mapping[str, str]
    scores: ExampleScores
    ranks: Mapping[str, tuple[float, float]] | None


def error_table(
    examples: datasets.Dataset, members: Mapping[str, Member], overlap_name: str
) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows, one a question: ``id, question, gold_answers`` (JSON) and some for each member.

    These are, after the member's name, ``_answer``, ``_exact_match``, its overlap, and if its passages are known
    ``_gold_rank`` and ``_missed``: what a wrong answer is owed to. That is ``retrieval`` where neither the gold passage
    nor one with a gold answer was found, else ``reader``; a question without an answer leaves nothing to be found.
    """
    columns = ["id", "question", "gold_answers"]
    for name, member in members.items():
        columns += [f"{name}_answer", f"{name}_exact_match", f"{name}_{overlap_name}"]
        columns += [f"{name}_gold_rank", f"{name}_missed"] if member.ranks is not None else []
    rows = []
    for index, example in enumerate(examples.select_columns(["id", "question", "answers"])):
        example_id, golds = example["id"], example["answers"]["text"]
        row = [example_id, example["question"], json.dumps(golds, ensure_ascii=False)]
        for member in members.values():
            exact, overlap = (float(values[index]) for values in member.scores)
            row += [member.answers.get(example_id, ""), int(exact), round(overlap, 4)]
            if member.ranks is not None:
                row += _blame(member.ranks.get(example_id), right=exact == 1, answerable=bool(golds))
        rows.append(row)
    return columns, rows


def _blame(ranks: tuple[float, float] | None, right: bool, answerable: bool) -> list[Any]:
    """Return the rank of the gold passage and what missed, each empty where there is nothing to say."""
    if ranks is None:  # the table has no passages of the question
        return ["", ""]
    gold_rank = "" if np.isnan(ranks[0]) else int(ranks[0])
    if right:
        return [gold_rank, ""]
    return [gold_rank, "retrieval" if answerable and np.isnan(ranks).all() else "reader"]
