"""Votes: compared with brute force over random members, and with hand-made ties."""

from __future__ import annotations

import itertools
import json
import math
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reading.metrics import normalize_korean, score_examples
from reading.predictions import predictions_of
from reading.voting import (
    METHODS,
    Candidate,
    Member,
    check_spans,
    error_correlations,
    read_member,
    read_members,
    select,
    vote,
    weights_of,
)
from runtime.errors import DataError, UserError

# Several spellings of some answers; sixteenths and small whole scores, so that ties are frequent and sums exact.
TEXTS = ["세종", "《세종》", "'세종'", "세종은", "Seoul", "seoul", "서울", "", "()", "1443년"]
QUESTIONS = [f"q{number}" for number in range(12)]


def candidate(text: str, probability: float = 1.0, score: float | None = None, start: int = 0) -> Candidate:
    place = None if score is None else ("d", start, start + len(text))
    return Candidate(text, normalize_korean(text), probability, place, score or 0.0)


def random_member(rng: random.Random, name: str) -> Member:
    candidates = {}
    for question in QUESTIONS:
        texts = rng.sample(TEXTS, rng.choice([0, 1, 1, 2, 3, 5]))
        drawn = [candidate(text, rng.randint(0, 4) / 16, float(rng.randint(-2, 2))) for text in texts]
        candidates[question] = drawn
    return Member(name, candidates)


def brute_force(members: list[Member], weights: list[float], method: str, question: str) -> list[tuple[str, float]]:
    """The texts, best first, with their probabilities: every pair of texts is compared by the rules as written down."""
    voting = [(m.candidates[question], Fraction(w)) for m, w in zip(members, weights, strict=True) if w]
    listed = [one for found, _ in voting for one in found]

    def mass(accepts) -> Fraction:
        return sum((w * Fraction(c.probability) for found, w in voting for c in found if accepts(c)), Fraction(0))

    def votes(accepts) -> Fraction:
        return sum((w for found, w in voting if found and accepts(found[0])), Fraction(0))

    def logits(key: str) -> Fraction:
        total = Fraction(0)
        for found, w in voting:
            scores = [c.span_score for c in found if c.key == key] or [c.span_score for c in found]
            own = any(c.key == key for c in found)
            total += w * Fraction((max if own else min)(scores)) if scores else 0
        return total

    def shown(key: str) -> str:
        texts = [c.text for c in listed if c.key == key]
        best = texts[0]
        for text in texts[1:]:
            same = {t: (lambda c, t=t: c.text == t) for t in (text, best)}
            rank = {
                t: ((votes(same[t]) if method == "hard" else 0), mass(same[t]), -len(t)) for t in dict.fromkeys(same)
            }
            best = text if rank[text] > rank[best] else best
        return best

    keys = list(dict.fromkeys(c.key for c in listed))
    of = {key: (lambda c, key=key: c.key == key) for key in keys}
    decide = {"soft": lambda k: mass(of[k]), "hard": lambda k: votes(of[k]), "logits": logits}[method]
    total = sum(w for _, w in voting)
    if len(voting) > 1:
        ranks = {k: (decide(k), mass(of[k]), -len(shown(k)), -keys.index(k)) for k in keys}
        keys = sorted(keys, key=ranks.__getitem__, reverse=True)
    if method == "logits":
        exponentials = {k: math.exp(logits(k) / total) for k in keys}
        return [(shown(k), exponentials[k] / sum(exponentials.values())) for k in keys]
    return [(shown(k), float(mass(of[k]) / total)) for k in keys]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(20))
def test_votes_equal_brute_force(method: str, seed: int) -> None:
    rng = random.Random(seed)
    members = [random_member(rng, str(number)) for number in range(rng.randint(1, 5))]
    weights = [float(rng.choice([0, 0.5, 1, 1, 2])) for _ in members]
    weights[rng.randrange(len(weights))] = 1.0
    choices = vote(members, weights, method)
    assert list(choices) == QUESTIONS
    for question in QUESTIONS:
        expected = brute_force(members, weights, method, question)
        assert [choice.text for choice in choices[question]] == [text for text, _ in expected]
        assert [choice.probability for choice in choices[question]] == pytest.approx([value for _, value in expected])
        cast = sum(w for m, w in zip(members, weights, strict=True) if m.candidates[question])
        assert sum(choice.votes for choice in choices[question]) == cast


def ballots(*lists: list[Candidate]) -> list[Member]:
    return [Member(str(number), {"q": found}) for number, found in enumerate(lists)]


def winner(members: list[Member], method: str, weights: list[float] | None = None) -> str:
    return predictions_of(vote(members, weights or [1.0] * len(members), method))["q"]


def test_the_methods_can_disagree() -> None:
    members = ballots(
        [candidate("서울", 0.4, 9.0), candidate("부산", 0.3, 0.0)],
        [candidate("서울", 0.4, 0.0), candidate("부산", 0.3, 0.0)],
        [candidate("부산", 0.9, 2.0), candidate("서울", 0.0, -9.0)],
    )
    assert [winner(members, method) for method in METHODS] == ["부산", "서울", "부산"]
    assert winner(members, "hard", [1, 0, 2]) == winner(members, "hard", [0, 1, 1]) == "부산"


def test_ties_go_to_probability_then_the_shorter_text_then_the_first_member() -> None:
    assert winner(ballots([candidate("서울", 0.5)], [candidate("부산시", 0.6)]), "hard") == "부산시"
    assert winner(ballots([candidate("부산시", 0.5)], [candidate("서울", 0.5)]), "hard") == "서울"
    assert winner(ballots([candidate("부산")], [candidate("서울")]), "hard") == "부산"
    tenths = ballots([candidate("서울", 0.3)], [candidate("부산", 0.1)], [candidate("부산", 0.2)])
    assert (
        winner(tenths, "soft") == winner(tenths, "soft", [1e-20] * 3) == "서울"
    )  # 0.1 + 0.2 is more than 0.3 only in rounding


def test_one_text_is_shown_for_all_that_look_alike_to_the_metric() -> None:
    members = ballots(
        [candidate("《세종》")], [candidate("세종", 0.7)], [candidate("서울", 0.9)], [candidate("세종", 0.6)]
    )
    (first, second) = vote(members, [1, 1, 1, 1], "soft")["q"]
    assert first == ("세종", pytest.approx(2.3 / 4), 3.0) and second.text == "서울"
    assert winner(ballots([candidate("서울")], [candidate("서울")], [candidate("'서울'")]), "hard") == "서울"


def test_a_member_alone_keeps_its_order() -> None:
    """As where "no answer" stands first by a threshold, against its probability."""
    members = ballots([candidate("", 0.1), candidate("서울", 0.9)], [candidate("부산")])
    assert winner(members, "soft", [1, 0]) == ""


def test_who_lists_nothing_abstains() -> None:
    assert winner(ballots([], [candidate("서울", 0.1)]), "soft") == "서울"
    assert winner(ballots([], []), "logits") == ""


# --------------------------------------------------------------------------------------------------------------- tuning


def brute_greedy(members: list[Member], method: str, gold: dict[str, list[str]]) -> list[tuple[int, ...]]:
    """What greedy selection adds: each time the first of the best, of pairs where no single member gains."""

    def score(chosen: list[int]) -> float:
        if len(chosen) == 1:
            predictions = predictions_of(members[chosen[0]].candidates)
        else:
            counts = [float(chosen.count(index)) for index in range(len(members))]
            ranked = {q: brute_force(members, counts, method, q) for q in QUESTIONS}
            predictions = {q: found[0][0] if found else "" for q, found in ranked.items()}
        right = [any(normalize_korean(predictions[q]) == normalize_korean(g) for g in gold[q]) for q in gold]
        return float(np.mean(right))

    everyone = range(len(members))
    added: list[tuple[int, ...]] = [(max(everyone, key=lambda index: score([index])),)]
    while True:
        chosen = [index for some in added for index in some]
        for more in ([(i,) for i in everyone], [(i, j) for i in everyone for j in everyone if i <= j]):
            best = max(more, key=lambda some: score([*chosen, *some]))
            if score([*chosen, *best]) > score(chosen):
                added.append(best)
                break
        else:
            return added


@pytest.mark.parametrize(("seed", "method"), list(itertools.product(range(6), METHODS)))
def test_tuning_is_greedy_and_never_worse_than_the_best_member(seed: int, method: str) -> None:
    rng = random.Random(seed)
    members = [random_member(rng, str(number)) for number in range(4)]
    gold = {question: [rng.choice(["세종", "서울", "Seoul"])] for question in QUESTIONS}
    steps = select(members, method, gold)
    assert [step.added for step in steps] == brute_greedy(members, method, gold)
    voted = predictions_of(vote(members, weights_of(steps, 4), method))
    scores = [
        100 * score_examples(found, gold, "korquad").exact_match.mean()
        for found in (voted, *(predictions_of(member.candidates) for member in members))
    ]
    assert scores[0] == steps[-1].exact_match >= max(scores[1:])


def test_tuning_finds_members_that_complete_each_other() -> None:
    gold = {"a": ["1"], "b": ["2"], "c": ["3"]}
    members = [
        Member(str(n), {q: [candidate(text, p)] for q, text, p in zip("abc", texts, ps, strict=True)})
        for n, (texts, ps) in enumerate([("120", (0.9, 0.9, 0.1)), ("003", (0.1, 0.1, 0.9)), ("100", (0.5, 0.9, 0.9))])
    ]
    steps = select(members, "soft", gold)
    assert [step.added for step in steps] == [(0,), (1,)] and steps[-1].exact_match == 100
    assert weights_of(steps, 3) == [1, 1, 0]


def test_two_that_only_gain_together_are_found() -> None:
    """The majority of three that err on different questions, which any two of them leave at a tie."""
    gold = {"a": ["1"], "b": ["2"], "c": ["3"]}
    texts = ["923", "193", "129"]
    members = [Member(t, {q: [candidate(c)] for q, c in zip("abc", t, strict=True)}) for t in texts]
    steps = select(members, "hard", gold)
    assert steps[0].added == (0,) and weights_of(steps, 3) == [1, 1, 1]
    assert [round(step.exact_match) for step in steps] == [67, 100]


def test_correlations_of_errors() -> None:
    gold = {"a": ["1"], "b": ["2"], "c": ["3"], "d": ["4"]}
    texts = ["1200", "0034", "1030", "1234"]
    members = [Member(t, {q: [candidate(c)] for q, c in zip("abcd", t, strict=True)}) for t in texts]
    assert error_correlations(members, gold) == [
        [pytest.approx(1), pytest.approx(-1), pytest.approx(0), None],
        [pytest.approx(-1), pytest.approx(1), pytest.approx(0), None],
        [pytest.approx(0), pytest.approx(0), pytest.approx(1), None],
        [None] * 4,
    ]


# -------------------------------------------------------------------------------------------------------------- members


def written(folder: Path, name: str, content: Any) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return str(path)


def test_what_can_be_a_member(tmp_path: Path) -> None:
    answer = {"text": "서울", "probability": 0.5, "document_id": "7", "start": 3, "end": 5, "span_score": 2}
    written(tmp_path, "a/predictions.json", {"q": "부산"})
    assert read_member(str(tmp_path / "a")).candidates == {"q": [candidate("부산")]}
    written(tmp_path, "a/nbest_predictions.json", {"q": [answer], "r": []})
    found = read_member(str(tmp_path / "a")).candidates
    assert found == {"q": [Candidate("서울", "서울", 0.5, ("7", 3, 5), 2.0)], "r": []}
    other = written(tmp_path, "other.json", {"q": [{"text": "a", "probability": 1, "start_logit": 3.0}]})
    assert read_member(other).candidates["q"] == [candidate("a")]


ANSWER = {"text": "서울", "probability": 0.5}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "b.json: is not valid JSON: "),
        (b"\xff", "b.json: is not UTF-8: "),
        (["서울"], "b.json: must hold one mapping, of each id to a text or to a list of answers"),
        ({}, "b.json: answers no question"),
        ({"q": 3}, "b.json, id 'q': the answer must be a text or a list of answers, not 3"),
        ({"q": None, "r": 1}, "not None (and so on: 2 of 2 ids are wrong)"),
        ({"q": [ANSWER, {"probability": 1}]}, "b.json, id 'q': answer 2 has no text"),
        ({"q": ["서울"]}, "b.json, id 'q': answer 1 has no text"),
        ({"q": [ANSWER | {"probability": "1"}]}, "answer 1 needs a probability from 0 to 1, not 1"),
        ({"q": [ANSWER | {"probability": float("nan")}]}, "answer 1 needs a probability from 0 to 1, not nan"),
        ({"q": [ANSWER | {"probability": 10**400}]}, "answer 1 needs a probability from 0 to 1, not 1000"),
        ({"q": [{"text": "서울"}]}, "answer 1 needs a probability from 0 to 1, not None"),
        ({"x": "서울"}, "b.json: answers none of the questions of "),
        ({"q": "서울"}, "does not answer 1 of the 2 questions of "),
        ({"q": "1", "r": "2", "s": "3"}, "b.json: answers 1 questions that "),
    ],
)
def test_a_broken_or_foreign_member_is_one_sentence(tmp_path: Path, content: Any, sentence: str) -> None:
    good = written(tmp_path, "a.json", {"q": "서울", "r": "부산"})
    bad = written(tmp_path, "b.json", content)
    with pytest.raises(DataError) as caught:
        read_members([good, bad])
    (problem,) = map(str, caught.value.problems)
    assert sentence in problem and problem.startswith(bad)


def test_missing_members_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        read_members([str(tmp_path / "nowhere"), str(tmp_path / "empty")])
    assert [str(problem) for problem in caught.value.problems] == [
        f"{tmp_path}/nowhere: cannot be read: No such file or directory",
        f"{tmp_path}/empty: the folder has no nbest_predictions.json and no predictions.json",
    ]


def spans(name: str, *places: tuple[str, int]) -> Member:
    return Member(name, {f"q{n}": [candidate(text, 1.0, 1.0, start)] for n, (text, start) in enumerate(places)})


def test_span_scores_are_summed_only_of_the_same_spans() -> None:
    first = spans("first", ("서울", 3), ("부산", 0), ("한강", 5))
    check_spans([first, spans("one span differs", ("서울", 3), ("부산", 0), ("한강은", 5))])
    with pytest.raises(UserError, match=r"plain has no span scores and offsets.*use --method soft"):
        check_spans([first, Member("plain", {"q0": [candidate("서울")]})])
    with pytest.raises(UserError, match="other and first disagree on what characters 3 to 5 of document 'd' are"):
        check_spans([first, spans("other", ("부산", 3), ("부산", 0), ("한강", 5))])
    with pytest.raises(UserError, match=r"shifted shares a span .* with first for 1 of 3 questions only"):
        check_spans([first, spans("shifted", ("서울", 2), ("부산", 0), ("한강", 4))])
