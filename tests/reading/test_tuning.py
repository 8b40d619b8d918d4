"""Settings that are chosen: all tried as they are answered with, and scored on what they were not chosen by."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from reading.answers import FoundSpan, Reading, weigh
from reading.arguments import AnswerArguments
from reading.comparison import Resampling
from reading.metrics import ExampleScores, score_examples
from reading.postprocessing import DEFAULT_RULES, Passage
from reading.tuning import Settings, Trials, as_flags, choose, record, report, tune

PASSAGES, QUESTIONS = 6, 24


@pytest.fixture(scope="module")
def readings() -> dict[str, list[Reading]]:
    """What a reader found in six passages of every question: up to five spans of few texts, random scores."""
    rng = random.Random(0)

    def span(rank: int) -> FoundSpan:
        start, score, text, _ = rng.randint(0, 50), rng.gauss(0, 3), rng.choice("가나다라"), rng.gauss(5, 2)
        return FoundSpan(text, rank, start, start + 2, score)

    def reading(rank: int) -> Reading:
        spans = [span(rank) for _ in range(rng.randint(0, 5))]
        source = {"document_id": f"d{rank}", "score": rng.gauss(5, 2) - rank}
        return Reading({rank: Passage("가나다라." * 12)}, {rank: source}, spans, rng.gauss(0, 3))

    return {f"q{number}": [reading(rank) for rank in range(1, PASSAGES + 1)] for number in range(QUESTIONS)}


@pytest.fixture(scope="module")
def references() -> dict[str, list[str]]:
    rng = random.Random(1)
    return {f"q{number}": rng.choice([["가"], ["나", "다"], []]) for number in range(QUESTIONS)}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("may_be_none", [False, True])
def test_every_setting_is_scored_as_answering_with_it_would_be(
    readings: dict[str, list[Reading]], references: dict[str, list[str]], may_be_none: bool, shared: bool
) -> None:
    answering = AnswerArguments(version_2_with_negative=may_be_none, shared_normalization=shared, n_best_size=4)
    given = Settings(PASSAGES, 2.5, 0.7, "edges")
    trials = Trials(answering, given)
    names = list(readings)
    for part in (names[:10], names[10:]):  # as they are read, some at a time
        trials.add({name: readings[name] for name in part})
    scores = trials.scores(references)
    assert given in scores
    several = product((2, 3, 5, 6), (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0))
    assert {settings[:2] for settings in scores} == {(1, 2.5), *several}
    assert {settings.postprocess for settings in scores} == {"edges", "none", DEFAULT_RULES}
    assert len(scores) > 123 if may_be_none else len(scores) == 123
    for settings, found in list(scores.items())[::7]:
        depth, weight, threshold, rules = settings
        arguments = AnswerArguments(
            version_2_with_negative=may_be_none,
            shared_normalization=shared,
            null_score_diff_threshold=threshold,
            n_best_size=4,
            postprocess=rules,
        )
        texts = {}
        for name, passages in readings.items():
            answers = weigh([one for one in passages if one.rank <= depth], arguments, weight)
            texts[name] = answers[0].text if answers else ""
        for values, expected in zip(found, score_examples(texts, references, "korquad"), strict=True):
            assert values.tolist() == expected.tolist(), settings


def _scores(exact_match: list[float]) -> ExampleScores:
    return ExampleScores(np.array(exact_match), np.array(exact_match) / 2)


FEW, MORE, MOST = Settings(1, 0.0, 0.0, "all"), Settings(5, 2.0, 0.0, "all"), Settings(5, 4.0, 0.0, "all")
GRID = {FEW: _scores([1, 1, 1, 0, 0, 0]), MORE: _scores([0, 0, 0, 1, 1, 1]), MOST: _scores([0, 0, 0, 1, 1, 1])}
FIRST_HALF = np.array([True] * 3 + [False] * 3)


def test_the_best_is_chosen_and_of_equals_the_first() -> None:
    assert choose(GRID, FIRST_HALF) == FEW
    assert choose(GRID, ~FIRST_HALF) == MORE
    assert choose(GRID, np.ones(6, dtype=bool)) == FEW
    better = ExampleScores(GRID[MOST].exact_match, GRID[MOST].overlap + 0.1)
    assert choose(GRID | {MOST: better}, ~FIRST_HALF) == MOST  # F1 decides between equals


def test_each_question_is_scored_with_what_the_others_chose() -> None:
    """What is best for one half is worst for the other: in sample 50, held out 0."""
    tuned = tune(GRID, MORE, FIRST_HALF, Resampling(100, 0))
    assert tuned.of_halves == [FEW, MORE]
    assert [value.mean for value in tuned.in_sample] == [50, 25]
    assert [value.mean for value in tuned.held_out] == [0, 0]
    assert (tuned.gain.exact_match.mean, tuned.gain.only_first, tuned.gain.only_second) == (-50, 0, 3)
    written = record(tuned, GRID)
    assert written["chosen"] == FEW._asdict()
    assert written["gain_held_out"]["exact_match"]["mean"] == -50 and len(written["tried"]) == 3


def test_only_flags_with_a_choice_are_written() -> None:
    assert as_flags(MORE, GRID) == {"top_k_retrieval": 5, "retrieval_weight": 2.0}
    assert as_flags(FEW, [FEW, FEW._replace(null_score_diff_threshold=1.0)]) == {"null_score_diff_threshold": 0.0}
    assert as_flags(FEW, [FEW, FEW._replace(postprocess="none")]) == {"postprocess": "all"}


def test_the_report_fits_a_terminal_and_says_what_its_figures_are() -> None:
    lines = report(tune(GRID, MORE, FIRST_HALF, Resampling(100, 0)), GRID, Resampling(100, 0)).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["passages", "weight", "exact", "match", "F1"]
    assert [line.split()[:2] for line in lines[1:4]] == [["*", "1"], ["5", "2"], ["5", "4"]]
    assert lines[7].startswith("held out") and lines[7].split()[2] == "0.00"
    assert lines[10:12] == ["* --top_k_retrieval 1", "  --retrieval_weight 0"]
    assert lines[-1] == "Held out, choosing is not better than the flags as given by more than chance."
    assert "Its scores are too high: it was chosen by these 6 questions. Held out: chosen" in lines
