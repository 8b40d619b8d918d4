"""Which settings answer best: a grid of them, tried on one reading of the passages.

Reading takes the time; what comes after, how many passages count, what the retriever's preference is worth, when there
is no answer and which rules tidy one, is tried again and again on what was read.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from reading.answers import Reading, comparable_spans, weigh
from reading.arguments import AnswerArguments
from reading.comparison import Difference, Estimate, Resampling, difference, estimate, within
from reading.metrics import ExampleScores, score_examples
from reading.postprocessing import DEFAULT_RULES, postprocess, rules_in
from runtime.statistics import percent

DEPTHS = (1, 2, 3, 5, 10, 20, 30, 50, 100)
WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_QUANTILES = np.linspace(0, 1, 21)


class Settings(NamedTuple):
    """What is chosen, each field by the name of its flag."""

    top_k_retrieval: int
    retrieval_weight: float
    null_score_diff_threshold: float
    postprocess: str


class Trials:
    """The answers of every question with each of the settings; readings are added some questions at a time.

    ``given`` are the settings of the flags, which are among those that are tried: up to its number of passages, with
    several weights, and where questions may have no answer with thresholds from the lowest to the highest that makes
    a difference, with the rules given, the usual ones and none. ``retrieved`` is False for passages that no retriever
    found, whose number and weight stay.
    """

    def __init__(self, answering: AnswerArguments, given: Settings, retrieved: bool = True) -> None:
        self.given = given
        self._may_be_none = answering.version_2_with_negative
        self._answering = dataclasses.replace(
            answering, version_2_with_negative=False, null_score_diff_threshold=0.0, postprocess="none"
        )
        self._rules = {names: rules_in(names) for names in (given.postprocess, DEFAULT_RULES, "none")}
        most, weight = given.top_k_retrieval, given.retrieval_weight
        self._depths = sorted({*(k for k in DEPTHS if k < most), most} if retrieved else {most})
        weights = _nearest_first({*WEIGHTS, weight} if retrieved else {weight}, weight)
        self._weights = {k: weights if k > 1 else [weight] for k in self._depths}  # one passage has no rival
        self._texts: dict[tuple[int, float, str], dict[str, str]] = defaultdict(dict)
        self._null_leads: dict[int, list[float]] = defaultdict(list)  # by how much "no answer" is ahead

    def add(self, readings: Mapping[str, list[Reading]]) -> None:
        """Try every setting on what was read of some questions, in passages by themselves."""
        for question, found in readings.items():
            for depth in self._depths:
                passages = [reading for reading in found if reading.rank <= depth]
                spans = comparable_spans(passages, self._answering)
                texts = {rank: text for reading in passages for rank, text in reading.passages.items()}
                self._null_leads[depth].append(-max((score for score, _ in spans), default=float("-inf")))
                for weight in self._weights[depth]:
                    answers = weigh(passages, self._answering, weight)
                    for names, rules in self._rules.items():
                        best = postprocess(answers, texts, rules)[:1]
                        self._texts[depth, weight, names][question] = best[0].text if best else ""

    def scores(self, references: Mapping[str, Sequence[str]]) -> dict[Settings, ExampleScores]:
        """Return the scores of every setting; ``references`` are of the questions in the order in which they came.

        Fewer passages come first, and of as many what is nearest to the settings as given.
        """
        scores = {}
        nothing = score_examples(dict.fromkeys(references, ""), references, "korquad")
        for (depth, weight, rules), texts in sorted(self._texts.items(), key=lambda item: item[0][0]):
            something = score_examples(texts, references, "korquad")
            leads = np.array(self._null_leads[depth])  # (questions,)
            for threshold in self._thresholds(leads):
                says_none = (leads > threshold) & self._may_be_none  # (questions,)
                pairs = zip(nothing, something, strict=True)
                values = (np.where(says_none, none, some) for none, some in pairs)  # (questions,) each
                scores[Settings(depth, weight, threshold, rules)] = ExampleScores(*values)
        return scores

    def _thresholds(self, leads: np.ndarray) -> list[float]:
        given, finite = self.given.null_score_diff_threshold, leads[np.isfinite(leads)]
        if not (self._may_be_none and len(finite)):
            return [given]
        return _nearest_first({given, *np.quantile(finite, _QUANTILES).round(2).tolist()}, given)


def _nearest_first(values: Iterable[float], given: float) -> list[float]:
    return sorted(values, key=lambda value: (abs(value - given), value))


class Tuned(NamedTuple):
    """What was chosen, and how good choosing is.

    ``chosen`` is the best on all questions, ``in_sample`` its scores on these, which are too high. ``of_halves`` are
    the best on each half; ``held_out`` are the scores of each question with what the other half chose, ``gain`` is how
    much better they are than with the settings as given.
    """

    chosen: Settings
    in_sample: list[Estimate]
    of_halves: list[Settings]
    held_out: list[Estimate]
    as_given: list[Estimate]
    gain: Difference


def tune(
    scores: Mapping[Settings, ExampleScores], given: Settings, first_half: np.ndarray, resampling: Resampling
) -> Tuned:
    """Choose by exact match, of equals by F1, of equals the first; ``first_half`` is boolean (questions,)."""
    folds = [choose(scores, half) for half in (first_half, ~first_half)]
    held_out = ExampleScores(
        *(
            np.where(first_half, of_second, of_first)  # (questions,)
            for of_first, of_second in zip(*(scores[setting] for setting in folds), strict=True)
        )
    )
    chosen = choose(scores, np.ones_like(first_half))
    return Tuned(
        chosen,
        estimates(scores[chosen], resampling),
        folds,
        estimates(held_out, resampling),
        estimates(scores[given], resampling),
        difference(held_out, scores[given], resampling),
    )


def choose(scores: Mapping[Settings, ExampleScores], group: np.ndarray) -> Settings:
    """Return the best settings for the questions in ``group``, boolean (questions,)."""
    return max(scores, key=lambda settings: tuple(values.mean() for values in within(scores[settings], group)))


def estimates(scores: ExampleScores, resampling: Resampling) -> list[Estimate]:
    """Return exact match and F1 with their intervals."""
    return [estimate(values, resampling) for values in scores]


def as_flags(settings: Settings, scores: Mapping[Settings, Any]) -> dict[str, Any]:
    """Return the settings that were chosen among several, by flag, as ``--config`` reads them."""
    columns = zip(*scores, strict=True)
    return {
        name: value
        for (name, value), tried in zip(settings._asdict().items(), columns, strict=True)
        if len(set(tried)) > 1
    }


def report(tuned: Tuned, scores: Mapping[Settings, ExampleScores], resampling: Resampling) -> str:
    """Return what was tried, one line for each depth and weight with the best of the rest, and what came out."""
    best: dict[tuple[int, float], list[Settings]] = defaultdict(list)
    for settings in scores:
        best[settings[:2]].append(settings)
    count = len(next(iter(scores.values())).exact_match)
    with_threshold = len({settings.null_score_diff_threshold for settings in scores}) > 1
    header = f"{'passages':>10}{'weight':>8}" + f"{'threshold':>11}" * with_threshold
    lines = [f"{header:30}{'exact match':>24}{'F1':>24}"]
    for cell in sorted(best):
        settings = choose({one: scores[one] for one in best[cell]}, np.ones(count, dtype=bool))
        depth, weight, threshold, _ = settings
        mark = "*" if settings == tuned.chosen else " "
        name = f"{mark}{depth:9}{weight:8g}" + f"{threshold:11g}" * with_threshold
        lines.append(_line(name, estimates(scores[settings], resampling)))
    rows = {
        "flags as given": tuned.as_given,
        "* best on these questions": tuned.in_sample,
        "held out": tuned.held_out,
        "held out, minus as given": [tuned.gain.exact_match, tuned.gain.overlap],
    }
    flags = "\n  ".join(
        f"--{name} {value if isinstance(value, str) else format(value, 'g')}"
        for name, value in as_flags(tuned.chosen, scores).items()
    )
    return "\n".join(
        [
            *lines,
            "",
            *(_line(name, values) for name, values in rows.items()),
            "",
            f"* {flags}",
            f"Its scores are too high: it was chosen by these {count} questions. Held out: chosen",
            "by the questions about one half of the passages and scored on those about the",
            "other half, both ways.",
            *([] if tuned.gain.exact_match.low > 0 else [_NO_GAIN]),
        ]
    )


_NO_GAIN = "Held out, choosing is not better than the flags as given by more than chance."


def _line(name: str, figures: Sequence[Estimate]) -> str:
    return f"{name:30}" + "".join(f"{f'{mean:.2f} ({low:.2f} to {high:.2f})':>24}" for mean, low, high in figures)


def record(tuned: Tuned, scores: Mapping[Settings, ExampleScores]) -> dict[str, Any]:
    """Return everything that :func:`report` tells, and every setting that was tried, for a JSON file."""

    def named(values: Sequence[Estimate]) -> dict[str, dict[str, float]]:
        return {name: value._asdict() for name, value in zip(("exact_match", "f1"), values, strict=True)}

    gain = tuned.gain
    return {
        "chosen": tuned.chosen._asdict(),
        "chosen_on_halves": [settings._asdict() for settings in tuned.of_halves],
        "in_sample": named(tuned.in_sample),
        "held_out": named(tuned.held_out),
        "as_given": named(tuned.as_given),
        "gain_held_out": named([gain.exact_match, gain.overlap]) | {"p": gain.p},
        "tried": [
            settings._asdict() | {"exact_match": percent(values.exact_match), "f1": percent(values.overlap)}
            for settings, values in scores.items()
        ],
    }
